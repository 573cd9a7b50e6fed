//! The fields of one record under the names that billing knows, from CSV or JSON.

use std::collections::BTreeSet;
use std::io::Read;

use super::csv::CsvLines;
use super::ndjson::JsonLines;
use super::records::{Record, Records};
use super::{IngestError, LineFault};

/// A field of a message or a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    MessageId,
    AccountId,
    Channel,
    Direction,
    BizId,
    OutId,
    Recipient,
    Country,
    Region,
    SignName,
    TemplateCode,
    TemplateType,
    Content,
    ContentUnits,
    Encoding,
    SubmitTime,
    SubmitStatus,
    RejectCode,
    SmsSize,
    ReceiptId,
    Status,
    RawStatus,
    ErrCode,
    ErrMsg,
    SendTime,
    ReportTime,
    Part,
    Parts,
    /// A whole SMPP receipt as one text.
    ReceiptText,
    /// What kind of event a line is.
    Event,
    /// Whether a status is a message's last.
    IsFinal,
    /// In which way an e-mail failed.
    FailedType,
}

impl Field {
    const COUNT: usize = Field::FailedType as usize + 1;

    /// The canonical column name and JSON key.
    pub fn name(self) -> &'static str {
        match self {
            Field::MessageId => "message_id",
            Field::AccountId => "account_id",
            Field::Channel => "channel",
            Field::Direction => "direction",
            Field::BizId => "biz_id",
            Field::OutId => "out_id",
            Field::Recipient => "recipient",
            Field::Country => "country",
            Field::Region => "region",
            Field::SignName => "sign_name",
            Field::TemplateCode => "template_code",
            Field::TemplateType => "template_type",
            Field::Content => "content",
            Field::ContentUnits => "content_units",
            Field::Encoding => "encoding",
            Field::SubmitTime => "submit_time",
            Field::SubmitStatus => "submit_status",
            Field::RejectCode => "reject_code",
            Field::SmsSize => "sms_size",
            Field::ReceiptId => "receipt_id",
            Field::Status => "status",
            Field::RawStatus => "raw_status",
            Field::ErrCode => "err_code",
            Field::ErrMsg => "err_msg",
            Field::SendTime => "send_time",
            Field::ReportTime => "report_time",
            Field::Part => "part",
            Field::Parts => "parts",
            Field::ReceiptText => "receipt_text",
            Field::Event => "event",
            Field::IsFinal => "is_final",
            Field::FailedType => "failed_type",
        }
    }

    /// Whether it holds a number of units, which must be whole.
    pub fn is_count(self) -> bool {
        matches!(self, Field::ContentUnits | Field::SmsSize | Field::Part | Field::Parts)
    }
}

/// What an input may call a field: a CSV column, or a JSON key, or a path of keys such as
/// `data.rcpt`. Where a field has several names, the earlier one with a value wins.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    pub column: &'static str,
    pub field: Field,
}

/// Reads the fields of each record; lent out until the next one.
pub enum Lines {
    Csv(Box<CsvLines>),
    Ndjson(Box<JsonLines>),
}

impl Lines {
    /// A reader for the records of an input, by its format and header.
    pub fn of<R: Read>(records: &Records<R>, names: &[Name]) -> Result<Lines, IngestError> {
        Lines::with_header(records.header(), names)
    }

    /// With a header CSV, without one NDJSON.
    pub fn with_header(header: Option<&str>, names: &[Name]) -> Result<Lines, IngestError> {
        Ok(match header {
            Some(header) => Lines::Csv(Box::new(CsvLines::new(header, names)?)),
            None => Lines::Ndjson(Box::new(JsonLines::new(names))),
        })
    }

    /// Whether an input can bring the field at all; always so in NDJSON, which has no header.
    pub fn may_have(&self, field: Field) -> bool {
        match self {
            Lines::Csv(lines) => lines.has(field),
            Lines::Ndjson(_) => true,
        }
    }

    pub fn read<'a>(&'a mut self, record: &Record<'a>) -> Result<Fields<'a>, LineFault> {
        let text = record.text.as_ref().map_err(Clone::clone)?;
        match self {
            Lines::Csv(lines) => lines.read(text),
            Lines::Ndjson(lines) => lines.read(text, record.complete),
        }
    }

    /// Columns and keys that nothing asks for, sorted, as far as they have been met.
    pub fn ignored(&self) -> &BTreeSet<String> {
        match self {
            Lines::Csv(lines) => lines.ignored(),
            Lines::Ndjson(lines) => lines.ignored(),
        }
    }
}

/// A stretch of the record's text. What a table does not tell is an empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// Where an object does not have the field.
    pub const ABSENT: Span = Span { start: u32::MAX, end: u32::MAX };
}

/// For each field the places where its value may stand, the first to be preferred.
#[derive(Debug, Default)]
pub(super) struct Places([Vec<u16>; Field::COUNT]);

impl Places {
    pub fn add(&mut self, field: Field, place: u16) {
        self.0[field as usize].push(place);
    }

    pub fn has(&self, field: Field) -> bool {
        !self.0[field as usize].is_empty()
    }
}

/// The fields of one record.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    pub(super) text: &'a str,
    pub(super) spans: &'a [Span],
    pub(super) places: &'a Places,
    /// An object leaves out what it does not tell; a table has a cell for it, which is empty.
    pub(super) is_object: bool,
}

impl<'a> Fields<'a> {
    /// The field's value; None where it is absent or empty.
    pub fn get(&self, field: Field) -> Option<&'a str> {
        self.places.0[field as usize].iter().find_map(|&place| {
            let span = self.spans.get(usize::from(place))?;
            self.text.get(span.start as usize..span.end as usize).filter(|value| !value.is_empty())
        })
    }

    /// Whether a field is told, as nothing.
    pub fn is_empty(&self, field: Field) -> bool {
        self.is_object
            && self.places.0[field as usize].iter().any(|&place| {
                let span = self.spans.get(usize::from(place));
                span.is_some_and(|span| *span != Span::ABSENT && span.start == span.end)
            })
    }

    /// The value of a field that a line must have.
    pub fn require(&self, field: Field) -> Result<&'a str, LineFault> {
        self.get(field).ok_or_else(|| missing(field))
    }
}

pub(super) fn missing(field: Field) -> LineFault {
    LineFault::new("missing_field", format!("`{}` is missing or empty: every line needs it", field.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::stream::Limits;

    const NAMES: &[Name] = &[
        Name { column: "message_id", field: Field::MessageId },
        Name { column: "sid", field: Field::MessageId },
        Name { column: "sms_size", field: Field::SmsSize },
        Name { column: "data.rcpt", field: Field::Recipient },
        Name { column: "success", field: Field::Status },
    ];

    /// (message id, size, recipient, status) of the only line, or the reason it was rejected.
    fn read(content: &str) -> Result<[Option<String>; 4], &'static str> {
        let mut records = Records::open(content.as_bytes(), None, Limits::default()).unwrap();
        let mut lines = Lines::of(&records, NAMES).unwrap();
        let record = records.next_record().unwrap().unwrap();
        let fields = lines.read(&record).map_err(|fault| fault.reason)?;
        let of = |field| fields.get(field).map(str::to_owned);
        Ok([of(Field::MessageId), of(Field::SmsSize), of(Field::Recipient), of(Field::Status)])
    }

    fn values(of: [&str; 4]) -> Result<[Option<String>; 4], &'static str> {
        Ok(of.map(|value| (!value.is_empty()).then(|| value.to_owned())))
    }

    #[test]
    fn csv_and_json_give_the_same_fields() {
        assert_eq!(read("sms_size,x,message_id\n3,,m1\n"), values(["m1", "3", "", ""]));
        assert_eq!(read("sms_size,\"message_id\"\n3,\"m,\"\"1\n\"\n"), values(["m,\"1\n", "3", "", ""]));
        assert_eq!(read(r#"{"sms_size":3,"x":[{}],"message_id":"m1"}"#), values(["m1", "3", "", ""]));
        let nested = r#"{"data":{"rcpt":"a@b.c","rcpt2":1},"message_id":"m\"\u00e9","success":true}"#;
        assert_eq!(read(nested), values(["m\"é", "", "a@b.c", "true"]));
    }

    #[test]
    fn the_earlier_name_with_a_value_wins() {
        assert_eq!(read("sid,message_id\nSM1,m1\n"), values(["m1", "", "", ""]));
        assert_eq!(read("sid,message_id\nSM1,\n"), values(["SM1", "", "", ""]));
        assert_eq!(read(r#"{"sid":"SM1","message_id":null}"#), values(["SM1", "", "", ""]));
        assert_eq!(read(r#"{"sid":"SM1","message_id":""}"#), values(["SM1", "", "", ""]));
    }

    #[test]
    fn lines_of_another_shape_are_rejected() {
        let deep = format!("{{\"message_id\":{}", "[".repeat(100_000));
        for (content, reason) in [
            ("message_id,sms_size\nm1\n", "column_count"),
            ("message_id,sms_size\nm1,2,3\n", "column_count"),
            ("message_id,sms_size\n\"m1\",2,3\n", "column_count"),
            ("message_id,sms_size\n\"m1\"\n", "column_count"),
            (r#"{"message_id":"m1","message_id":"m2"}"#, "duplicate_key"),
            (r#"{"message_id":"m1","message\u005fid":"m1"}"#, "duplicate_key"),
            (r#"{"message_id":["m1"]}"#, "bad_json"),
            (r#"{"message_id":1.5}"#, "bad_json"),
            (r#"{"message_id":"\ud800"}"#, "bad_json"),
            (r#"{"message_id":"m1"} x"#, "bad_json"),
            ("{\"message_id\":\"m1\"\n", "bad_json"),
            (r#"{"message_id":"m1""#, "incomplete_line"),
            (r#"{"sms_size":1.5}"#, "bad_units"),
            (r#"{"sms_size":1e3}"#, "bad_units"),
            (r#"{"sms_size":18446744073709551616}"#, "bad_units"),
            (&format!("{deep}\n"), "bad_json"),
        ] {
            assert_eq!(read(content), Err(reason), "{}", &content[..content.len().min(80)]);
        }
    }

    #[test]
    fn a_million_columns_or_nested_brackets_stay_bounded() {
        let wide = format!("message_id,sms_size\nm1{}\n", ",".repeat(1_000_000));
        assert_eq!(read(&wide), Err("column_count"));
        let unknown = format!("{{\"x\":{}{},\"sms_size\":1}}\n", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(read(&unknown), Ok(_) | Err("bad_json")));
    }

    #[test]
    fn unknown_names_are_collected_once_and_sorted() {
        let content = "{\"z\":1,\"sms_size\":1}\n{\"a\":1,\"z\":2,\"data\":{\"esp\":1}}\n";
        let mut records = Records::open(content.as_bytes(), None, Limits::default()).unwrap();
        let mut lines = Lines::of(&records, NAMES).unwrap();
        while let Some(record) = records.next_record().unwrap() {
            lines.read(&record).unwrap();
        }
        assert_eq!(lines.ignored().iter().collect::<Vec<_>>(), ["a", "data.esp", "z"]);
        let lines = Lines::with_header(Some("zip,message_id,age"), NAMES).unwrap();
        assert_eq!(lines.ignored().iter().collect::<Vec<_>>(), ["age", "zip"]);
    }

    #[test]
    fn headers_that_are_ambiguous_are_refused() {
        let wide = "x,".repeat(2_000);
        for header in [
            "message_id,message_id",
            "message_id,,sms_size",
            "message_id,",
            "message_id,sms_size\rm1,1",
            "message_id,\"sms\nsize\"",
            "message_id,x\tsms_size",
            wide.as_str(),
        ] {
            assert!(
                matches!(Lines::with_header(Some(header), NAMES), Err(IngestError::BadHeader { .. })),
                "{header}"
            );
        }
        assert!(
            Lines::with_header(Some(" message_id , \"sms_size\""), NAMES).unwrap().may_have(Field::MessageId)
        );
    }
}
