use super::*;

#[test]
fn sources_are_known_by_name() {
    for source in Source::ALL {
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
