use std::io::Write;

use super::*;
use crate::domain::message::{Country, Disposition, MessageRow};
use crate::domain::period::Timestamp;
use crate::ingest::judge::Terms;
use crate::ingest::messages::tests::{catalog, terms};
use crate::ingest::messages::{MessageJudge, Messages};
use crate::ingest::source::Source;

fn with_judge<T>(source: Source, work: impl FnOnce(&MessageJudge<'_>) -> T) -> T {
    let catalog = catalog();
    work(&MessageJudge::new(terms(&catalog, source)).unwrap())
}

/// Every verdict of an input, having checked that no line is lost or counted twice.
fn verdicts(source: Source, content: &[u8]) -> Result<Vec<Result<MessageRow, LineFault>>, IngestError> {
    with_judge(source, |judge| {
        let mut messages = Messages::open(content, None, judge)?;
        let mut verdicts = Vec::new();
        while let Some(judged) = messages.next_line()? {
            verdicts.push(judged.verdict);
            assert_eq!(judged.line, verdicts.len() as u64);
        }
        Ok(verdicts)
    })
}

fn rows(source: Source, content: &[u8]) -> Vec<MessageRow> {
    verdicts(source, content)
        .unwrap()
        .into_iter()
        .map(|verdict| verdict.unwrap_or_else(|f| panic!("{f}")))
        .collect()
}

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/messages/", $name)).as_slice()
    };
}

/// (country, disposition, reject code, units, the source's own size where it differs)
fn told(row: &MessageRow) -> (&str, Disposition, Option<&str>, i64, Option<i64>) {
    (row.country.as_str(), row.disposition, row.reject_code.as_deref(), row.units, row.size_differs)
}

#[test]
fn the_sample_of_each_source_is_read() {
    use Disposition::*;
    let samples: [(Source, &[u8], &[_]); 7] = [
        (
            Source::Generic,
            fixture!("generic.csv"),
            &[
                ("CN", Billable, None, 1, None),
                ("CN", Billable, None, 1, None),
                ("SG", Billable, None, 2, None),
                ("CN", Rejected, Some("blacklist"), 0, None),
                ("", Billable, None, 1, None),
                ("CN", Inbound, None, 0, None),
            ],
        ),
        (
            Source::Generic,
            fixture!("generic.ndjson"),
            &[("CN", Billable, None, 1, None), ("HK", Billable, None, 1, None)],
        ),
        (
            Source::Aliyun,
            fixture!("aliyun.csv"),
            &[
                ("CN", Billable, None, 1, None),
                ("CN", Rejected, Some("blacklist"), 1, None),
                ("CN", Rejected, Some("throttled"), 1, None),
                ("CN", Billable, None, 1, None),
            ],
        ),
        (
            Source::AliyunIntl,
            fixture!("aliyun_intl.ndjson"),
            &[("SG", Billable, None, 2, None), ("HK", Billable, None, 1, None)],
        ),
        (
            Source::Twilio,
            fixture!("twilio.csv"),
            &[
                ("US", Billable, None, 1, None),
                ("CA", Rejected, Some("failed"), 1, None),
                ("US", Inbound, None, 1, None),
            ],
        ),
        (
            Source::Vonage,
            fixture!("vonage.ndjson"),
            &[("GB", Billable, None, 1, None), ("US", Rejected, Some("insufficient_balance"), 1, None)],
        ),
        (Source::Aws, fixture!("aws.ndjson"), &[("US", Billable, None, 1, None)]),
    ];
    for (source, content, expected) in samples {
        let rows = rows(source, content);
        assert_eq!(rows.iter().map(told).collect::<Vec<_>>(), expected, "{}", source.name());
        let nine = Timestamp::parse_rfc3339("2026-03-01T09:00:00+08:00").unwrap();
        assert!((0..=60_000_000).contains(&(rows[0].submit_time.0 - nine.0)), "{}", source.name());
    }
}

#[test]
fn the_same_message_reads_alike_from_csv_json_and_gzip() {
    let csv = rows(Source::Generic, fixture!("generic.csv"));
    let json = rows(Source::Generic, fixture!("generic.ndjson"));
    // Spelled in upper case there, so its own spelling is kept beside the same key.
    assert_eq!(MessageRow { raw_id: None, ..json[0].clone() }, csv[0]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(fixture!("generic.csv")).unwrap();
    assert_eq!(rows(Source::Generic, &encoder.finish().unwrap()), csv);
}

#[test]
fn ignored_columns_are_named_once() {
    with_judge(Source::Generic, |judge| {
        let messages = Messages::open(fixture!("generic.csv"), None, judge).unwrap();
        assert_eq!(messages.ignored_names().iter().collect::<Vec<_>>(), ["campaign"]);
    });
}

const THREE_LINES: &str = "message_id,account_id,channel,country,submit_time,submit_status,sms_size,content\n\
    m1,a1,sms,CN,2026-03-01T09:00:00+08:00,accepted,12,\n\
    m2,a1,sms,CN,2026-03-01T09:00:01+08:00,accepted,,\"two\nlines, \"\"quoted\"\"\"\n\
    m3,a1,sms,CN,2026-03-01T09:00:02+08:00,accepted,123,\n";

#[test]
fn a_csv_file_cut_anywhere_never_gives_a_wrong_row() {
    let whole = rows(Source::Generic, THREE_LINES.as_bytes());
    assert_eq!(whole.iter().map(|row| row.units).collect::<Vec<_>>(), [12, 1, 123]);
    let header = THREE_LINES.find('\n').unwrap();
    for cut in 0..=THREE_LINES.len() {
        match verdicts(Source::Generic, &THREE_LINES.as_bytes()[..cut]) {
            Err(error) => assert!(cut <= header, "cut at {cut}: {error}"),
            Ok(verdicts) => {
                let accepted: Vec<MessageRow> = verdicts.iter().flatten().cloned().collect();
                let complete = THREE_LINES[..cut].matches('\n').count().saturating_sub(1);
                let expected = [0, 1, 1, 2, 3][complete];
                assert_eq!(accepted, whole[..expected], "cut at {cut}");
            }
        }
    }
}

#[test]
fn an_ndjson_file_cut_anywhere_never_gives_a_wrong_row() {
    let line = |id: u8| {
        format!(
            r#"{{"message_id":"m{id}","account_id":"a1","channel":"sms","country":"CN","submit_time":"2026-03-01T09:00:00Z","submit_status":"accepted","sms_size":12}}"#
        )
    };
    let content = format!("{}\n{}\n{}\n", line(1), line(2), line(3));
    let whole = rows(Source::Generic, content.as_bytes());
    for cut in 1..=content.len() {
        let verdicts = verdicts(Source::Generic, &content.as_bytes()[..cut]).unwrap();
        let accepted: Vec<MessageRow> = verdicts.iter().flatten().cloned().collect();
        assert_eq!(accepted, whole[..(cut + 1) / (line(1).len() + 1)], "cut at {cut}");
        assert_eq!(
            verdicts.len() - accepted.len(),
            usize::from(cut % (line(1).len() + 1) < line(1).len()).min(cut % (line(1).len() + 1))
        );
    }
}

#[test]
fn a_bad_line_rejects_itself_only() {
    let good = "m1,a1,sms,CN,2026-03-01T09:00:00Z,accepted,1,x\n";
    let header = THREE_LINES.split_inclusive('\n').next().unwrap();
    for bad in
        ["\"", ",,,", "m,a,sms,CN,2026-03-01T09:00:00Z,accepted,1,\u{0}", "m,a,sms,CN,x,accepted,1,x", "=1"]
    {
        let content = format!("{header}{good}{bad}\n{good}");
        let verdicts = verdicts(Source::Generic, content.as_bytes()).unwrap();
        assert_eq!(verdicts.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true], "{bad}");
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
        (Source::Generic, fixture!("generic.ndjson")),
        (Source::Aliyun, fixture!("aliyun.csv")),
        (Source::Twilio, fixture!("twilio.csv")),
        (Source::Vonage, fixture!("vonage.ndjson")),
    ];
    let mut seed = 0x2026_0301;
    for round in 0..2_000 {
        let (source, sample) = samples[round % samples.len()];
        let mut content = sample.to_vec();
        for _ in 0..=random(&mut seed) % 12 {
            let at = random(&mut seed) as usize % content.len();
            match random(&mut seed) % 4 {
                0 => content[at] = random(&mut seed) as u8,
                1 => content[at] = b"\",\n\r\0{}[]:\\"[random(&mut seed) as usize % 11],
                2 => drop(content.remove(at)),
                _ => content.insert(at, b"\"\n,"[random(&mut seed) as usize % 3]),
            }
        }
        let _ = verdicts(source, &content);
        let noise: Vec<u8> = (0..random(&mut seed) % 300).map(|_| random(&mut seed) as u8).collect();
        let _ = verdicts(source, &noise);
    }
}

#[test]
fn a_quarantined_line_is_judged_again_by_its_header() {
    let header = THREE_LINES.lines().next();
    let raw = "m1,a1,sms,CN,2026-03-31T13:00:00+08:00,accepted,1,";
    let again = |as_of: &str| {
        let catalog = catalog();
        let as_of = Timestamp::parse_rfc3339(as_of).unwrap();
        let terms = Terms { as_of, ..terms(&catalog, Source::Generic) };
        judge_again(header, raw, &MessageJudge::new(terms).unwrap())
            .unwrap()
            .map(|row| row.country)
            .map_err(|f| f.reason)
    };
    assert_eq!(again("2026-03-31T12:00:00+08:00"), Err("future"));
    assert_eq!(again("2026-03-31T12:55:00+08:00"), Ok(Country::CHINA));
    assert!(is_final("incomplete_line") && !is_final("future"));
}
