use super::*;
use crate::domain::message::MessageKey;
use crate::domain::period::Validity;
use crate::domain::period::{Timestamp, Zone};
use crate::domain::product::{Astral, ChargeOn, ReturnOrder};
use crate::ingest::judgements::judge_again;
use crate::ingest::recipient::{BareNumber, RecipientKey};

fn product(
    id: &str,
    channel: &str,
    region: Option<Region>,
    length: LengthRule,
    priced_by: PricedBy,
) -> Product {
    Product {
        id: id.into(),
        name: id.to_owned(),
        channel: channel.to_owned(),
        region,
        length,
        astral: Astral::Utf16,
        charge_on: ChargeOn::Receipt,
        return_order: ReturnOrder::Literal,
        priced_by,
        commodity: "X".into(),
        income: "X".into(),
        validity: Validity::Months(24),
        vat: Vec::new(),
        tier_counts_plan: false,
        individual_promotional: true,
        needs_verification: true,
        needs_activation: false,
        renewal: false,
        verified_region: None,
        free: None,
        quota: None,
    }
}

pub fn catalog() -> Catalog {
    use LengthRule::{Domestic, International, One};
    let (home, abroad) = (Some(Region::Domestic), Some(Region::International));
    Catalog {
        products: vec![
            product("sms-domestic", "sms", home, Domestic, PricedBy::TemplateType),
            product("sms-international", "sms", abroad, International, PricedBy::Country),
            product("direct-mail", "email", None, One, PricedBy::Nothing),
            product("fax-home", "fax", home, One, PricedBy::Nothing),
        ],
    }
}

pub const AS_OF: &str = "2026-03-31T12:00:00+08:00";

pub fn terms(catalog: &Catalog, source: Source) -> Terms<'_> {
    Terms {
        catalog,
        source,
        as_of: Timestamp::parse_rfc3339(AS_OF).unwrap(),
        zone: Zone::parse("Asia/Shanghai").unwrap(),
        source_zone: None,
        message_ids: None,
        dedupe_months: 13,
        retired_before: Timestamp(i64::MIN),
        max_ahead_minutes: 5,
        recipient_key: &[7; 32],
    }
}

fn judge_json(source: Source, line: &str) -> Result<MessageRow, LineFault> {
    let catalog = catalog();
    let judge = MessageJudge::new(terms(&catalog, source)).unwrap();
    judge_again(None, line, &judge).unwrap()
}

/// A complete domestic line with some fields replaced, added, or (by null) taken away.
fn line(changes: &str) -> String {
    let base = r#"{"message_id":"m1","account_id":"a1","channel":"sms","recipient":"13800138000",
        "submit_time":"2026-03-01T09:00:00+08:00","submit_status":"accepted","sms_size":"1"}"#;
    let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(base).unwrap();
    let changes: serde_json::Map<String, serde_json::Value> = serde_json::from_str(changes).expect(changes);
    fields.extend(changes);
    serde_json::to_string(&fields).unwrap()
}

fn judged(changes: &str) -> MessageRow {
    judge_json(Source::Generic, &line(changes)).unwrap_or_else(|fault| panic!("{changes}: {fault}"))
}

#[test]
fn a_complete_line_becomes_a_row() {
    let row =
        judged(r#"{"template_type":"verification","biz_id":"b1","out_id":7,"sms_size":2,"extra":{"x":[1]}}"#);
    assert_eq!((row.account_id.as_str(), row.raw_id.as_deref()), ("a1", Some("m1")));
    assert_eq!(row.key, MessageKey::of("m1"));
    assert_eq!(
        (&*row.product, row.template_type, row.country),
        ("sms-domestic", "verification", Country::CHINA)
    );
    assert_eq!((row.disposition, row.units, row.too_long), (Disposition::Billable, 2, false));
    assert_eq!(row.submit_time, Timestamp::parse_rfc3339("2026-03-01T01:00:00Z").unwrap());
    assert_eq!((row.biz_id.as_deref(), row.out_id.as_deref()), (Some("b1"), Some("7")));
    assert_eq!(
        row.recipient_hash,
        Some(RecipientKey::new(&[7; 32]).hash("+8613800138000", BareNumber::Chinese))
    );
}

#[test]
fn each_bad_line_is_rejected_with_its_reason() {
    let long = "x".repeat(129);
    let long_id = format!(r#"{{"message_id":"{long}"}}"#);
    for (changes, reason) in [
        (r#"{"message_id":null}"#, "missing_field"),
        (r#"{"account_id":""}"#, "missing_field"),
        (r#"{"channel":null}"#, "missing_field"),
        (r#"{"submit_time":null}"#, "missing_field"),
        (r#"{"submit_status":null}"#, "missing_field"),
        (&long_id, "bad_text"),
        (r#"{"message_id":"a\u0000b"}"#, "bad_text"),
        (r#"{"account_id":"a\nb"}"#, "bad_text"),
        (r#"{"biz_id":"\u001b[2J"}"#, "bad_text"),
        (r#"{"channel":"pigeon"}"#, "unknown_channel"),
        (r#"{"channel":"SMS"}"#, "unknown_channel"),
        (r#"{"direction":"up"}"#, "bad_direction"),
        (r#"{"region":"moon"}"#, "bad_region"),
        (r#"{"country":"CHN"}"#, "bad_country"),
        (r#"{"region":"domestic","country":"HK"}"#, "region_mismatch"),
        (r#"{"region":"international","country":"CN"}"#, "region_mismatch"),
        (r#"{"region":"international"}"#, "region_mismatch"),
        (r#"{"region":"domestic","recipient":"+85261234567"}"#, "region_mismatch"),
        (r#"{"recipient":null}"#, "country_missing"),
        (r#"{"recipient":"0a5bc9e1"}"#, "country_missing"),
        (r#"{"recipient":null,"region":"international"}"#, "country_missing"),
        (r#"{"channel":"fax","recipient":"+4915112345678"}"#, "no_product"),
        (r#"{"template_type":"spam"}"#, "bad_template_type"),
        (r#"{"template_type":"0"}"#, "bad_template_type"),
        (r#"{"submit_time":"2026-03-01 09:00:00"}"#, "bad_time"),
        (r#"{"submit_time":1772326800000}"#, "bad_time"),
        (r#"{"submit_time":"0001-01-01T00:00:00Z"}"#, "bad_time"),
        (r#"{"submit_time":"9999-12-31T23:59:59Z"}"#, "bad_time"),
        (r#"{"submit_time":"2026-04-02T09:00:00+08:00"}"#, "future"),
        (r#"{"submit_time":"2025-02-27T09:00:00+08:00"}"#, "too_old"),
        (r#"{"submit_status":"maybe"}"#, "bad_submit_status"),
        (r#"{"sms_size":null}"#, "no_size"),
        (r#"{"content_units":70,"encoding":"UTF-8"}"#, "bad_encoding"),
        (r#"{"content_units":70,"encoding":"GSM-7"}"#, "encoding_mismatch"),
        (r#"{"content_units":70,"country":"SG"}"#, "encoding_missing"),
        (r#"{"content_units":70,"country":"SG","encoding":"DOM"}"#, "encoding_mismatch"),
    ] {
        let result = judge_json(Source::Generic, &line(changes));
        assert_eq!(result.map_err(|fault| fault.reason), Err(reason), "{changes}");
    }
}

#[test]
fn numbers_that_are_no_counts_are_rejected() {
    let bad = [
        "0",
        "-1",
        "1.5",
        "1.0",
        "1e3",
        "9223372036854775808",
        "18446744073709551616",
        "1000001",
        "+1",
        " 1",
        "½",
        "1,0",
    ];
    for field in ["sms_size", "content_units"] {
        for number in bad {
            let changes = format!(r#"{{"{field}":"{number}"}}"#);
            let result = judge_json(Source::Generic, &line(&changes));
            assert_eq!(result.map_err(|fault| fault.reason), Err("bad_units"), "{changes}");
        }
        for number in ["0", "-1", "1.5", "1e3", "9223372036854775808", "18446744073709551616"] {
            let line = format!(r#"{{"{field}":{number},"message_id":"m1"}}"#);
            let result = judge_json(Source::Generic, &line);
            assert!(result.is_err(), "{line}");
        }
    }
    assert_eq!(judged(r#"{"sms_size":1000000}"#).units, 1_000_000);
}

#[test]
fn times_are_bounded_to_the_microsecond() {
    let of = |time: &str| {
        judge_json(Source::Generic, &line(&format!(r#"{{"submit_time":"{time}"}}"#))).map_err(|f| f.reason)
    };
    assert!(of("2026-03-31T12:05:00+08:00").is_ok());
    assert_eq!(of("2026-03-31T12:05:00.000001+08:00"), Err("future"));
    // Thirteen months before 31 March 2026 12:00 is the last day of February 2025.
    assert!(of("2025-02-28T12:00:00+08:00").is_ok());
    assert_eq!(of("2025-02-28T11:59:59.999999+08:00"), Err("too_old"));
}

#[test]
fn the_destination_decides_product_and_country() {
    for (changes, product, country) in [
        (r#"{}"#, "sms-domestic", "CN"),
        (r#"{"recipient":"+85261234567"}"#, "sms-international", "HK"),
        (r#"{"recipient":"+85366123456"}"#, "sms-international", "MO"),
        (r#"{"recipient":"+886912345678"}"#, "sms-international", "TW"),
        (r#"{"recipient":"+80012345678"}"#, "sms-international", "ZZ"),
        (r#"{"recipient":null,"country":"sg"}"#, "sms-international", "SG"),
        (r#"{"recipient":null,"region":"domestic"}"#, "sms-domestic", "CN"),
        (r#"{"recipient":"+85261234567","country":"CN"}"#, "sms-domestic", "CN"),
        (r#"{"channel":"email","recipient":"a@b.c","sms_size":null}"#, "direct-mail", ""),
        (r#"{"channel":"email","recipient":null,"country":"SG"}"#, "direct-mail", ""),
    ] {
        let row = judged(changes);
        assert_eq!((&*row.product, row.country.as_str()), (product, country), "{changes}");
    }
}

#[test]
fn the_size_is_ours_where_it_can_be_measured() {
    let text = |count: usize| "码".repeat(count);
    let size = |changes: &str| {
        let row = judged(changes);
        (row.units, row.size_differs, row.too_long)
    };
    assert_eq!(size(&format!(r#"{{"content":"{}"}}"#, text(71))), (2, Some(1), false));
    assert_eq!(size(&format!(r#"{{"content":"{}","sms_size":null}}"#, text(70))), (1, None, false));
    assert_eq!(size(&format!(r#"{{"content":"{}","sign_name":"店"}}"#, text(68))), (2, Some(1), false));
    assert_eq!(size(r#"{"content_units":160,"sms_size":3}"#), (3, None, false));
    assert_eq!(size(r#"{"content_units":160,"encoding":"UCS-2","sms_size":2}"#), (3, Some(2), false));
    assert_eq!(size(r#"{"content_units":160,"encoding":"GSM-7","country":"SG"}"#), (1, None, false));
    assert_eq!(size(r#"{"content_units":161,"encoding":"GSM-7","country":"SG"}"#), (2, Some(1), false));
    assert_eq!(size(r#"{"sms_size":5}"#), (5, None, false));
    assert_eq!(size(r#"{"channel":"email","sms_size":null}"#), (1, None, false));
    assert_eq!(size(r#"{"channel":"email","sms_size":3}"#), (1, Some(3), false));
}

#[test]
fn more_than_500_characters_wait_unless_they_are_free() {
    let content =
        |count: usize, more: &str| judged(&format!(r#"{{"content":"{}"{more}}}"#, "码".repeat(count)));
    assert!(!content(500, "").too_long);
    assert!(content(501, "").too_long);
    assert!(content(497, r#","sign_name":"店铺""#).too_long);
    assert!(!content(501, r#","submit_status":"rejected""#).too_long);
    assert!(!content(501, r#","direction":"mo""#).too_long);
    assert!(!content(501, r#","channel":"email""#).too_long);
    let units = |changes: &str| judged(changes).too_long;
    assert!(!units(r#"{"content_units":500}"#) && units(r#"{"content_units":501}"#));
    assert!(!units(r#"{"content_units":1000,"encoding":"GSM-7","country":"SG"}"#));
    assert!(units(r#"{"content_units":1001,"encoding":"GSM-7","country":"SG"}"#));
}

/// An object that tells an empty text tells a message; a table that has an empty cell tells nothing.
#[test]
fn an_empty_text_is_one_message() {
    let size = |changes: &str| judged(&format!(r#"{{"sms_size":null,{changes}}}"#)).units;
    assert_eq!(size(r#""content":"""#), 1);
    assert_eq!(size(r#""content":"","sign_name":"云""#), 1);
    assert_eq!(size(r#""content":"","content_units":71"#), 2);
    let nothing = judge_json(Source::Generic, &line(r#"{"sms_size":null,"content":null}"#));
    assert_eq!(nothing.unwrap_err().reason, "no_size");
}

#[test]
fn a_number_without_calling_code_is_of_the_region_that_is_named() {
    for recipient in ["13800138000", "+8613800138000", "5d41402a", "95588"] {
        let row = judged(&format!(r#"{{"region":"domestic","country":null,"recipient":"{recipient}"}}"#));
        assert_eq!((&*row.product, row.country.as_str()), ("sms-domestic", "CN"), "{recipient}");
    }
}

/// The events of a message come up to three days after it was handed in (R126, D5).
#[test]
fn a_message_of_aws_was_handed_in_when_it_was_requested() {
    let line = |place: &str, event: &str| {
        let fields = format!(
            r#""messageId":"w-1","destinationPhoneNumber":"+6591234567","totalMessageParts":1,
               "messageRequestTimestamp":1772326798000,"eventTimestamp":{event},"messageStatus":"DELIVERED""#
        )
        .replace('\n', "");
        let line = if place.is_empty() { fields } else { format!(r#""{place}":{{{fields}}}"#) };
        format!(r#"{{"account_id":"acme",{line}}}"#)
    };
    for (place, event) in [("", "1772326805000"), ("", "1772326798500"), ("detail", "1772326805000")] {
        let row = judge_json(Source::Aws, &line(place, event)).unwrap();
        assert_eq!(row.submit_time.0, 1_772_326_798_000_000, "{place} {event}");
    }
}

#[test]
fn rejected_and_inbound_messages_need_no_size() {
    let row = judged(r#"{"submit_status":"rejected","reject_code":"blacklist","sms_size":null}"#);
    assert_eq!(
        (row.disposition, row.units, row.reject_code.as_deref()),
        (Disposition::Rejected, 0, Some("blacklist"))
    );
    let row = judged(r#"{"submit_status":"rejected","sms_size":0}"#);
    assert_eq!((row.units, row.reject_code), (0, None));
    let row = judged(r#"{"direction":"mo","sms_size":null,"submit_status":null}"#);
    assert_eq!((row.disposition, row.units), (Disposition::Inbound, 0));
    let long = format!(r#"{{"submit_status":"rejected","reject_code":"{}"}}"#, "x".repeat(65));
    assert_eq!(judge_json(Source::Generic, &line(&long)).unwrap_err().reason, "bad_text");
}

#[test]
fn what_is_free_needs_no_destination() {
    for changes in [
        r#"{"direction":"mo","country":null,"recipient":"10690001"}"#,
        r#"{"submit_status":"rejected","country":null,"recipient":null}"#,
    ] {
        let row = judged(changes);
        assert_eq!((&*row.product, row.country), ("sms-domestic", Country::NONE), "{changes}");
    }
    let accepted = judge_json(Source::Generic, &line(r#"{"country":null,"recipient":null}"#));
    assert_eq!(accepted.unwrap_err().reason, "country_missing");
}

#[test]
fn hostile_ids_are_kept_as_they_are() {
    for id in ["'; drop table messages;--", "=1+1", "../../etc/passwd", "{{7*7}}", "码"] {
        let changes = serde_json::json!({ "message_id": id, "account_id": id }).to_string();
        let row = judged(&changes);
        assert_eq!((row.raw_id.as_deref(), row.account_id.as_str()), (Some(id), id));
    }
}

#[test]
fn an_aliyun_row_without_id_is_known_by_request_and_number_but_does_not_keep_the_number() {
    let row = judge_json(
        Source::Aliyun,
        r#"{"account_id":"a1","BizId":"b7","PhoneNum":"13800138042","SendStatus":3,"ErrCode":"DELIVERED",
            "TemplateType":2,"Content":"【店】hi","SendDate":"2026-03-01 09:00:00","OutId":"o1"}"#,
    )
    .unwrap();
    assert_eq!(row.key, MessageKey::of("b7/13800138042"));
    assert_eq!(row.raw_id.as_deref(), Some("b7/…042"));
    assert_eq!((row.template_type, row.units), ("promotional", 1));
    assert_eq!(row.submit_time, Timestamp::parse_rfc3339("2026-03-01T01:00:00Z").unwrap());
    assert!(!format!("{row:?}").contains("13800138042"));
}

#[test]
fn a_zone_for_a_source_moves_only_times_without_one() {
    let catalog = catalog();
    let judge = |source| {
        let source_zone = Zone::parse("UTC");
        MessageJudge::new(Terms { source_zone, ..terms(&catalog, source) }).unwrap()
    };
    let row = r#"{"account_id":"a1","BizId":"b","PhoneNum":"13800138042","Content":"x",
        "SendDate":"2026-03-01 09:00:00"}"#;
    let time = judge_again(None, row, &judge(Source::Aliyun)).unwrap().unwrap().submit_time;
    assert_eq!(time, Timestamp::parse_rfc3339("2026-03-01T09:00:00Z").unwrap());
    let bare = line(r#"{"submit_time":"2026-03-01 09:00:00"}"#);
    assert!(judge_again(None, &bare, &judge(Source::Generic)).unwrap().is_err());
}

#[test]
fn a_judge_of_receipts_is_refused() {
    let catalog = catalog();
    assert!(matches!(
        MessageJudge::new(terms(&catalog, Source::Smpp)),
        Err(IngestError::ReceiptsOnly { .. })
    ));
}

#[test]
fn a_header_without_a_needed_column_says_what_to_add() {
    let catalog = catalog();
    let check = |source: Source, header: &str| {
        let judge = MessageJudge::new(terms(&catalog, source)).unwrap();
        let lines = Lines::with_header(Some(header), &judge.names()).unwrap();
        judge.check_header(&lines).map_err(|error| error.to_string())
    };
    assert_eq!(check(Source::Generic, "message_id,account_id,channel,submit_time,submit_status"), Ok(()));
    assert_eq!(check(Source::Aliyun, "account_id,BizId,PhoneNum,SendDate"), Ok(()));
    assert_eq!(check(Source::Twilio, "sid,account_sid,to,date_created"), Ok(()));
    for (source, header, missing) in [
        (Source::Generic, "message_id,account_id,channel,submit_time", "`submit_status`"),
        (Source::Generic, "account_id,channel,submit_time,submit_status", "`message_id`"),
        (Source::Aliyun, "BizId,PhoneNum,SendDate", "`account_id`: source aliyun has none of its own"),
        (Source::Aliyun, "account_id,BizId,SendDate", "`message_id`"),
        (Source::Aws, "messageId,account_id", "aws brings it as messageRequestTimestamp"),
    ] {
        let error = check(source, header).unwrap_err();
        assert!(error.contains(missing), "{error}");
    }
}
