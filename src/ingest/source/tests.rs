use super::*;

#[test]
fn sources_are_known_by_name() {
    for source in ALL {
        assert_eq!(Source::parse(source.name()).unwrap(), source);
    }
    let error = Source::parse("gmail").unwrap_err().to_string();
    assert!(error.contains("`gmail`") && error.contains("aliyun_intl"), "{error}");
}

#[test]
fn receipt_sources_bring_no_messages() {
    for source in [Source::Smpp, Source::Cmpp, Source::DmEvent] {
        assert!(matches!(source.message_names(), Err(IngestError::ReceiptsOnly { .. })));
    }
}

#[test]
fn a_header_without_a_needed_column_says_what_to_add() {
    let check = |source: Source, header: &str| {
        let lines = Lines::with_header(Some(header), &source.message_names().unwrap()).unwrap();
        source.check_message_header(&lines).map_err(|error| error.to_string())
    };
    assert_eq!(check(Source::Generic, "message_id,account_id,channel,submit_time,submit_status"), Ok(()));
    assert_eq!(check(Source::Aliyun, "account_id,BizId,PhoneNum,SendDate"), Ok(()));
    assert_eq!(check(Source::Twilio, "sid,account_sid,to,date_created"), Ok(()));
    for (source, header, missing) in [
        (Source::Generic, "message_id,account_id,channel,submit_time", "`submit_status`"),
        (Source::Generic, "account_id,channel,submit_time,submit_status", "`message_id`"),
        (Source::Aliyun, "BizId,PhoneNum,SendDate", "`account_id`: source aliyun has none of its own"),
        (Source::Aliyun, "account_id,BizId,SendDate", "`message_id`"),
        (Source::Aws, "messageId,account_id", "aws brings it as eventTimestamp"),
    ] {
        let error = check(source, header).unwrap_err();
        assert!(error.contains(missing), "{error}");
    }
}

#[test]
fn aliyun_submission_errors_are_told_from_carrier_answers() {
    for (code, refusal) in [
        ("isv.BLACK_KEY_CONTROL_LIMIT", Some("blacklist")),
        ("isv.BUSINESS_LIMIT_CONTROL", Some("throttled")),
        ("isv.AMOUNT_NOT_ENOUGH", Some("insufficient_balance")),
        ("isv.OUT_OF_SERVICE", Some("insufficient_balance")),
        ("isv.UNSUPPORTED_CONTENT", Some("isv.UNSUPPORTED_CONTENT")),
        ("AMOUNT_NOT_ENOUGH", Some("insufficient_balance")),
        ("DELIVERED", None),
        ("MOBILE_NOT_ON_SERVICE", None),
        ("REQUEST_SUCCESS", None),
    ] {
        assert_eq!(aliyun_refusal(code), refusal, "{code}");
    }
}

#[test]
fn a_status_that_nobody_knows_is_not_taken_for_accepted() {
    assert!(twilio_submission(Some("vanished")).is_err());
    assert!(vonage_submission(Some("vanished")).is_err());
    assert!(known_status(Some("9"), &["1", "2", "3"]).is_err());
    assert_eq!(twilio_submission(Some("undelivered")), Ok(Some(Submission::Accepted)));
    assert_eq!(
        vonage_submission(Some("9")),
        Ok(Some(Submission::Rejected(Some("insufficient_balance".into()))))
    );
}
