use super::*;
use crate::domain::message::MessageKey;
use crate::domain::period::{Timestamp, Zone};
use crate::domain::receipt::ReceiptStatus::{self, *};
use crate::ingest::judgements::{is_final, judge_again};
use crate::ingest::messages::MessageJudge;
use crate::ingest::messages::tests::{catalog, terms};
use crate::ingest::recipient::{BareNumber, RecipientKey};
use crate::ingest::stream::Limits;

fn judge(source: Source) -> ReceiptJudge {
    ReceiptJudge::new(&terms(&catalog(), source))
}

type Verdict = Result<ReceiptRow, LineFault>;

/// Every verdict of an input, having checked that no line is lost or counted twice.
fn verdicts(source: Source, content: &[u8]) -> Result<Vec<Verdict>, IngestError> {
    let judge = judge(source);
    let mut receipts = Receipts::open(content, None, &judge)?;
    let mut verdicts = Vec::new();
    while let Some(judged) = receipts.next_line()? {
        verdicts.push(judged.verdict);
        assert_eq!(judged.line, verdicts.len() as u64);
    }
    Ok(verdicts)
}

fn rows(source: Source, content: &[u8]) -> Vec<ReceiptRow> {
    let verdicts = verdicts(source, content).unwrap();
    verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(|fault| panic!("{fault}"))).collect()
}

fn reasons(source: Source, content: &[u8]) -> Vec<Result<ReceiptStatus, &'static str>> {
    let verdicts = verdicts(source, content).unwrap();
    verdicts.into_iter().map(|verdict| verdict.map(|row| row.status).map_err(|fault| fault.reason)).collect()
}

fn row_of(source: Source, line: &str) -> Verdict {
    judge_again(None, line, &judge(source)).unwrap()
}

fn at(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text)
}

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/receipts/", $name)).as_slice()
    };
}

/// Account, id, status, the source's word and code, seconds after nine, segments.
type Told<'a> = (&'a str, &'a str, ReceiptStatus, &'a str, &'a str, Option<i64>, Option<i64>);

fn told(row: &ReceiptRow) -> Told<'_> {
    let nine = at("2026-03-01T09:00:00+08:00").unwrap();
    fn text(text: &Option<String>) -> &str {
        text.as_deref().unwrap_or("")
    }
    let seconds = row.report_time.map(|time| (time.0 - nine.0) / 1_000_000);
    (
        text(&row.account_id),
        text(&row.raw_id),
        row.status,
        text(&row.raw_status),
        text(&row.err_code),
        seconds,
        row.source_units,
    )
}

#[test]
fn the_canonical_samples_are_read() {
    const UPPER: &str = "018F4E2A-0000-7000-8000-000000000002";
    let csv = rows(Source::Generic, fixture!("generic.csv"));
    let later = THREE_DAYS + 8 * 3_600 + 2;
    assert_eq!(
        csv.iter().map(told).collect::<Vec<_>>(),
        [
            ("acme", "", Delivered, "DELIVRD", "000", Some(5), Some(1)),
            ("acme", UPPER, Failed, "UNDELIV", "001", Some(6), Some(1)),
            ("acme", "m-3", Expired, "", "", Some(later), None),
            ("acme", "m-7", Unknown, "", "", None, None),
            ("acme", "req-1/…000", Rejected, "", "", Some(7), None),
        ]
    );
    assert_eq!(csv[0].receipt_id.as_deref(), Some("r-1"));
    assert_eq!(csv[1].key, MessageKey::of(&UPPER.to_lowercase()));
    assert_eq!(
        csv.iter().map(|row| row.part).collect::<Vec<_>>()[2..4],
        [Some(Part { number: 2, of: 2 }), None]
    );
    let json = rows(Source::Generic, fixture!("generic.ndjson"));
    assert_eq!(json[0], csv[0]);
    assert_eq!(json[1].part, Some(Part { number: 1, of: 2 }));
}

/// Reads samples of sources, each with what it tells.
fn check(samples: &[(Source, &[u8], &[Told<'_>])]) {
    for (source, content, expected) in samples {
        let rows = rows(*source, content);
        assert_eq!(rows.iter().map(told).collect::<Vec<_>>(), *expected, "{}", source.name());
        let plain = format!("{rows:?}");
        assert!(!plain.contains("1380013800") && !plain.contains("@"), "a recipient is kept: {plain}");
    }
}

const THREE_DAYS: i64 = 3 * 86_400;

#[test]
fn the_samples_of_alibaba_cloud_are_read() {
    check(&[
        (
            Source::Aliyun,
            fixture!("aliyun.ndjson"),
            &[
                ("", "123^0/…000", Delivered, "true", "DELIVERED", Some(5), Some(1)),
                ("", "126^0/…003", Failed, "false", "MOBILE_NOT_ON_SERVICE", Some(9), Some(1)),
                ("", "127^0/…004", Unknown, "false", "REQUEST_SUCCESS", Some(9), Some(1)),
                ("", "128^0/…005", Failed, "2", "UNKNOW", Some(9), Some(2)),
            ],
        ),
        (
            Source::Aliyun,
            fixture!("aliyun.csv"),
            &[
                ("acme", "123^0/…000", Delivered, "3", "DELIVERED", Some(5), None),
                ("acme", "126^0/…003", Failed, "2", "MOBILE_NOT_ON_SERVICE", Some(9), None),
                ("acme", "129^0/…006", Enroute, "1", "", None, None),
            ],
        ),
        (
            Source::AliyunIntl,
            fixture!("aliyun_intl.ndjson"),
            &[
                ("", "1008030300051811", Delivered, "1", "success", Some(5), Some(2)),
                ("", "1008030300051812", Expired, "6", "EXPIRED", Some(THREE_DAYS + 1), Some(1)),
                ("", "12441353", Failed, "2", "SP_UNKNOW_ERROR", Some(5), None),
            ],
        ),
        (
            Source::DmEvent,
            fixture!("dm_event.ndjson"),
            &[
                ("1234567890", "600000001/…com", Failed, "2", "554", Some(5), None),
                ("1234567890", "600000002/…com", Delivered, "0", "250", Some(6), None),
                ("1234567890", "600000002/…com", Complained, "dm:Feedback:FblReport", "", Some(3_606), None),
            ],
        ),
    ]);
}

#[test]
fn the_samples_of_message_centres_are_read() {
    check(&[
        (
            Source::Smpp,
            fixture!("smpp.csv"),
            &[
                ("acme", "0000000012345678", Delivered, "DELIVRD", "000", Some(300), None),
                ("acme", "64567564356765435676", Failed, "UNDELIV", "034", Some(309), None),
                ("", "40072910491427628", Enroute, "ENROUTE", "000", Some(360), None),
            ],
        ),
        (
            Source::Smpp,
            fixture!("smpp.ndjson"),
            &[
                ("", "0000000012345678", Delivered, "2", "", Some(300), None),
                ("acme", "0e999f21", Rejected, "REJECTD", "08b", Some(300), None),
            ],
        ),
        (
            Source::Cmpp,
            fixture!("cmpp.csv"),
            &[
                ("", "7312345678901234567", Delivered, "DELIVRD", "", Some(300), None),
                ("", "7312345678901234568", Failed, "MK:0001", "", Some(300), None),
                ("", "7312345678901234569", Unknown, "UNKNOWN", "", Some(300), None),
            ],
        ),
    ]);
}

#[test]
fn the_samples_of_other_providers_are_read() {
    check(&[
        (
            Source::Twilio,
            fixture!("twilio.ndjson"),
            &[
                ("AC01", "SM00000000000000000000000000000001", Delivered, "", "", None, None),
                ("AC01", "SM00000000000000000000000000000004", Failed, "undelivered", "30003", None, None),
                ("AC01", "SM00000000000000000000000000000005", Enroute, "sent", "", Some(5), None),
            ],
        ),
        (
            Source::Vonage,
            fixture!("vonage.ndjson"),
            &[
                ("abcd1234", "0A0000000123ABCD1", Delivered, "", "0", Some(5), None),
                ("abcd1234", "0A0000000123ABCD3", Enroute, "buffered", "0", Some(6), None),
                ("abcd1234", "0A0000000123ABCD4", Rejected, "", "50", Some(7), None),
            ],
        ),
        (
            Source::Aws,
            fixture!("aws.ndjson"),
            &[
                ("", "862a8790-60c0-4430-9b2b-658bdexample", Delivered, "SUCCESSFUL", "", Some(5), Some(1)),
                ("", "", Expired, "TTL_EXPIRED", "", Some(9), Some(2)),
                (
                    "",
                    "862a8790-60c0-4430-9b2b-658bdexampl3",
                    Unknown,
                    "UNKNOWN",
                    "",
                    Some(THREE_DAYS),
                    Some(1),
                ),
            ],
        ),
    ]);
}

#[test]
fn a_receipt_finds_its_message_however_the_number_is_spelled() {
    let catalog = catalog();
    let messages = MessageJudge::new(terms(&catalog, Source::Aliyun)).unwrap();
    for (ours, theirs) in [
        ("13800138042", "+86 138 0013 8042"),
        ("8613800138042", "13800138042"),
        ("+6581234567", "006581234567"),
    ] {
        let message = format!(
            r#"{{"account_id":"a1","BizId":"b7","PhoneNum":"{ours}","country":"CN","Content":"hi","SendDate":"2026-03-01 09:00:00"}}"#
        );
        let message = judge_again(None, &message, &messages).unwrap().unwrap();
        let receipt = format!(r#"{{"biz_id":"b7","phone_number":"{theirs}","success":false}}"#);
        let receipt = row_of(Source::Aliyun, &receipt).unwrap();
        assert_eq!((receipt.key, &receipt.raw_id), (message.key, &message.raw_id), "{ours} {theirs}");
        let request = receipt.request.unwrap();
        assert_eq!(Some(request.biz_id), message.biz_id);
        assert_eq!(Some(request.recipient_hash), message.recipient_hash);
    }
}

#[test]
fn an_id_of_the_message_makes_its_request_superfluous() {
    let line =
        r#"{"account_id":"a1","message_id":"m1","biz_id":"b7","recipient":"13800138042","status":"failed"}"#;
    let row = row_of(Source::Generic, line).unwrap();
    assert_eq!((row.key, row.request), (MessageKey::of("m1"), None));
    let mail = r#"{"env_id":"e1","rcpt":"Ann@Example.com","status":"2"}"#;
    let row = row_of(Source::DmEvent, mail).unwrap();
    assert_eq!(row.key, MessageKey::of("e1/ann@example.com"));
    let hash = RecipientKey::new(&[7; 32]).hash("ann@example.com", BareNumber::International);
    assert_eq!(row.request, Some(Request { biz_id: "e1".to_owned(), recipient_hash: hash }));
}

#[test]
fn each_bad_line_is_rejected_with_its_reason() {
    let base = r#""account_id":"a1","message_id":"m1","status":"failed""#;
    let long = "x".repeat(129);
    for (line, reason) in [
        (r#"{"message_id":"m1","status":"failed"}"#.to_owned(), "missing_field"),
        (r#"{"account_id":"a1","status":"failed"}"#.to_owned(), "missing_field"),
        (r#"{"account_id":"a1","biz_id":"b1","status":"failed"}"#.to_owned(), "missing_field"),
        (r#"{"account_id":"a1","message_id":"m1"}"#.to_owned(), "missing_field"),
        (r#"{"account_id":"a1","message_id":"m1","status":"lost"}"#.to_owned(), "unknown_status"),
        (r#"{"account_id":"a1","message_id":"m1","status":["failed"]}"#.to_owned(), "bad_json"),
        (format!(r#"{{"account_id":"a1","status":"failed","message_id":"{long}"}}"#), "bad_text"),
        (format!(r#"{{{base},"err_code":"a\u0000b"}}"#), "bad_text"),
        (format!(r#"{{{base},"raw_status":"\u001b[2J"}}"#), "bad_text"),
        (format!(r#"{{{base},"err_code":"{long}"}}"#), "bad_text"),
        (format!(r#"{{{base},"report_time":"2026-03-01 09:00:00"}}"#), "bad_time"),
        (format!(r#"{{{base},"report_time":"2603010900"}}"#), "bad_time"),
        (format!(r#"{{{base},"report_time":"2026-04-02T09:00:00+08:00"}}"#), "future"),
        (format!(r#"{{{base},"report_time":"2025-02-27T09:00:00+08:00"}}"#), "too_old"),
        (format!(r#"{{{base},"part":1}}"#), "missing_field"),
        (format!(r#"{{{base},"part":3,"parts":2}}"#), "part_out_of_range"),
        (format!(r#"{{{base},"part":0,"parts":2}}"#), "bad_units"),
        (format!(r#"{{{base},"part":1,"parts":18446744073709551616}}"#), "bad_units"),
        (format!(r#"{{{base},"part":1,"parts":1000001}}"#), "bad_units"),
        (format!(r#"{{{base},"sms_size":-1}}"#), "bad_units"),
        (format!(r#"{{{base},"status":"delivered"}}"#), "duplicate_key"),
    ] {
        let result = row_of(Source::Generic, &line).map(|row| row.status);
        assert_eq!(result.map_err(|fault| fault.reason), Err(reason), "{line}");
    }
    assert_eq!(row_of(Source::Generic, &format!(r#"{{{base},"parts":2}}"#)).unwrap().part, None);
}

#[test]
fn a_receipt_without_account_is_taken_from_providers_only() {
    for source in Source::ALL {
        let row = row_of(source, r#"{"message_id":"m1","status":"failed"}"#);
        match source {
            Source::Generic => assert_eq!(row.unwrap_err().reason, "missing_field"),
            _ => assert_eq!(row.unwrap().account_id, None, "{source:?}"),
        }
        let named = row_of(source, r#"{"message_id":"m1","status":"failed","account_id":"a1"}"#).unwrap();
        assert_eq!(named.account_id.as_deref(), Some("a1"), "{source:?}");
    }
}

#[test]
fn a_zone_for_a_source_moves_only_times_without_one() {
    let catalog = catalog();
    let source_zone = Zone::parse("Europe/Berlin");
    let judge = |source| ReceiptJudge::new(&Terms { source_zone, ..terms(&catalog, source) });
    let time = |source, line: &str| judge_again(None, line, &judge(source)).unwrap().unwrap().report_time;
    let text = r#"{"short_message":"id:1 done date:2603010905 stat:UNDELIV"}"#;
    assert_eq!(time(Source::Smpp, text), at("2026-03-01T08:05:00Z"));
    let aliyun = r#"{"message_id":"m1","success":true,"report_time":"2026-03-01 09:05:00"}"#;
    assert_eq!(time(Source::Aliyun, aliyun), at("2026-03-01T08:05:00Z"));
    let marked = r#"{"message_id":"m1","success":true,"report_time":"2026-03-01T09:05:00+08:00"}"#;
    assert_eq!(time(Source::Aliyun, marked), at("2026-03-01T01:05:00Z"));
}

#[test]
fn a_header_without_a_needed_column_says_what_to_add() {
    let check = |source: Source, header: &str| {
        let judge = judge(source);
        let lines = Lines::with_header(Some(header), &judge.names()).unwrap();
        judge.check_header(&lines).map_err(|error| error.to_string())
    };
    for (source, header) in [
        (Source::Generic, "message_id,account_id,status"),
        (Source::Generic, "biz_id,recipient,account_id,status"),
        (Source::Aliyun, "biz_id,phone_number,success"),
        (Source::Smpp, "short_message"),
        (Source::Smpp, "id,stat"),
        (Source::Cmpp, "Msg_Id,Stat"),
        (Source::Aws, "messageId,eventType"),
        (Source::DmEvent, "data.env_id,data.rcpt,type"),
    ] {
        assert_eq!(check(source, header), Ok(()), "{header}");
    }
    for (source, header, missing) in [
        (Source::Generic, "message_id,status", "`account_id`: add it, or name the source"),
        (Source::Generic, "account_id,status", "`message_id`"),
        (Source::Generic, "account_id,message_id", "`status`"),
        (Source::Aliyun, "biz_id,success", "`recipient`: source aliyun brings it as phone_number"),
        (Source::Aliyun, "phone_number,success", "`biz_id`: source aliyun brings it as BizId"),
        (Source::Smpp, "text", "`message_id`: source smpp brings it as receipted_message_id, id; or add"),
        (Source::Cmpp, "Msg_Id", "`status`: source cmpp brings it as Stat"),
    ] {
        let error = check(source, header).unwrap_err();
        assert!(error.contains(missing), "{header}: {error}");
    }
}

const HEADER: &str = "account_id,message_id,status,report_time,err_code\n";

#[test]
fn f59_a_csv_file_cut_anywhere_never_gives_a_wrong_row() {
    let content = format!(
        "{HEADER}a1,m1,failed,2026-03-01T09:00:00Z,12\na1,m2,failed,2026-03-01T09:00:00Z,\"1\n\"\"2\"\na1,m3,failed,,123\n"
    )
    .replace("1\n\"\"2", "1\"\"2");
    let whole = rows(Source::Generic, content.as_bytes());
    assert_eq!(
        whole.iter().map(|row| row.err_code.as_deref()).collect::<Vec<_>>(),
        [Some("12"), Some("1\"2"), Some("123")]
    );
    for cut in 0..=content.len() {
        match verdicts(Source::Generic, &content.as_bytes()[..cut]) {
            Err(error) => assert!(cut < HEADER.len(), "cut at {cut}: {error}"),
            Ok(verdicts) => {
                let accepted: Vec<ReceiptRow> = verdicts.into_iter().flatten().collect();
                let complete = content[..cut].matches('\n').count().saturating_sub(1);
                assert_eq!(accepted, whole[..complete], "cut at {cut}");
            }
        }
    }
}

#[test]
fn f59_an_ndjson_file_cut_anywhere_never_gives_a_wrong_row() {
    let content = fixture!("aliyun.ndjson");
    let whole = rows(Source::Aliyun, content);
    for cut in 1..=content.len() {
        let accepted: Vec<ReceiptRow> =
            verdicts(Source::Aliyun, &content[..cut]).unwrap().into_iter().flatten().collect();
        assert_eq!(accepted, whole[..accepted.len()], "cut at {cut}");
        assert!(
            accepted.len() >= content[..cut].iter().filter(|&&byte| byte == b'\n').count(),
            "cut at {cut}"
        );
    }
}

#[test]
fn f60_unreadable_lines_reject_themselves_only() {
    let good = "a1,m1,failed,,1\n";
    let lines: [(&[u8], &str); 6] = [
        (b"a1,m\xff1,failed,,1\n", "bad_utf8"),
        (b"a1,m\x001,failed,,1\n", "nul_byte"),
        (b"a1,\"m1,failed,,1\n", "unbalanced_quote"),
        (b"a1,m1,failed\n", "column_count"),
        (b"a1,m1,failed,yesterday,1\n", "bad_time"),
        (b"a1,m1,failed,,\"\x1b\"\n", "bad_text"),
    ];
    for (line, reason) in lines {
        let content = [HEADER.as_bytes(), good.as_bytes(), line, good.as_bytes()].concat();
        assert_eq!(reasons(Source::Generic, &content), [Ok(Failed), Err(reason), Ok(Failed)], "{reason}");
    }
    let with_mark = [b"\xEF\xBB\xBF".as_slice(), HEADER.as_bytes(), b"a1,m1,failed,,1\r\n"].concat();
    assert_eq!(reasons(Source::Generic, &with_mark), [Ok(Failed)]);
    let surrogate = r#"{"account_id":"a1","message_id":"\ud800","status":"failed"}"#;
    assert_eq!(row_of(Source::Generic, surrogate).unwrap_err().reason, "bad_json");
}

#[test]
fn f61_endless_lines_and_bottomless_json_stay_bounded() {
    let judge = judge(Source::Smpp);
    let long = format!("{{\"short_message\":\"id:1 stat:{}\"}}\n", "x".repeat(20_000));
    let good = "{\"short_message\":\"id:1 stat:UNDELIV\"}\n";
    let content = format!("{good}{long}{good}");
    let limits = Limits { record: 8_000, ..Limits::default() };
    let mut receipts = Receipts::with_limits(content.as_bytes(), None, &judge, limits).unwrap();
    let mut verdicts = Vec::new();
    while let Some(judged) = receipts.next_line().unwrap() {
        verdicts.push(judged.verdict.map(|row| row.status).map_err(|fault| fault.reason));
    }
    assert_eq!(verdicts, [Ok(Failed), Err("line_too_long"), Ok(Failed)]);

    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let deep = format!("{{\"data\":{open}{close}}}\n{{\"data\":{{\"rcpt\":{open}}}}}\n");
    assert_eq!(reasons(Source::DmEvent, deep.as_bytes()), [Err("bad_json"); 2]);
    let nested = format!("{}1{}\n", "{\"data\":".repeat(100_000), "}".repeat(100_000));
    let nested = reasons(Source::DmEvent, nested.as_bytes());
    assert!(nested[0].is_err(), "{nested:?}");
}

#[test]
fn f70_hostile_ids_are_kept_as_they_are() {
    for id in ["'; drop table receipts;--", "=1+1", "../../etc/passwd", "{{7*7}}", "码"] {
        let line =
            serde_json::json!({ "message_id": id, "account_id": id, "err_code": id, "status": "failed" });
        let row = row_of(Source::Generic, &line.to_string()).unwrap();
        assert_eq!((row.raw_id.as_deref(), row.account_id.as_deref()), (Some(id), Some(id)));
        assert_eq!(row.err_code.as_deref(), Some(id));
    }
}

/// Xorshift: the same bytes for the same seed.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn arbitrary_bytes_never_panic_and_every_line_is_accounted_for() {
    let samples = [
        (Source::Generic, fixture!("generic.csv")),
        (Source::Aliyun, fixture!("aliyun.ndjson")),
        (Source::Smpp, fixture!("smpp.csv")),
        (Source::Cmpp, fixture!("cmpp.csv")),
        (Source::Aws, fixture!("aws.ndjson")),
        (Source::DmEvent, fixture!("dm_event.ndjson")),
    ];
    let mut seed = 0x2026_0301;
    for round in 0..2_000 {
        let (source, sample) = samples[round % samples.len()];
        let mut content = sample.to_vec();
        for _ in 0..=random(&mut seed) % 12 {
            let at = random(&mut seed) as usize % content.len();
            match random(&mut seed) % 4 {
                0 => content[at] = random(&mut seed) as u8,
                1 => content[at] = b"\",\n\r\0{}[]:\\ "[random(&mut seed) as usize % 12],
                2 => drop(content.remove(at)),
                _ => content.insert(at, b"\"\n, :"[random(&mut seed) as usize % 5]),
            }
        }
        let _ = verdicts(source, &content);
    }
}

#[test]
fn a_quarantined_line_is_judged_again_by_its_header() {
    let raw = "a1,m1,failed,2026-03-31T13:00:00+08:00,";
    let catalog = catalog();
    let again = |as_of: &str| {
        let terms = Terms { as_of: at(as_of).unwrap(), ..terms(&catalog, Source::Generic) };
        let row = judge_again(Some(HEADER.trim_end()), raw, &ReceiptJudge::new(&terms)).unwrap();
        row.map(|row| row.status).map_err(|fault| fault.reason)
    };
    assert_eq!(again("2026-03-31T12:00:00+08:00"), Err("future"));
    assert_eq!(again("2026-03-31T12:55:00+08:00"), Ok(Failed));
    assert!(!is_final("future") && !is_final("unknown_status") && !is_final("bad_receipt_text"));
}
