//! Files and streams in, judged rows out. Knows no database.
//!
//! ```text
//! bytes --stream--> content --records--> records --fields--> fields --judge--> rows or line faults
//!                                           source: what each provider calls its columns and means
//! ```
//! [`judgements`] goes that way line by line; what is told of a line are [`messages`] or
//! [`receipts`].
//! A fault of one line rejects that line and reading goes on; only a fault of the whole input
//! ([`IngestError`]) stops it. Every record is either a row or a [`LineFault`], so that
//! lines = rows + faults always (I28).

pub mod stream;
pub mod records;
pub mod fields;
mod csv;
mod ndjson;
pub mod source;
pub mod times;
pub mod recipient;
pub mod country;
pub mod judge;
pub mod judgements;
pub mod message_ids;
pub mod messages;
pub mod receipts;
mod receipt_text;

use std::fmt;
use std::io;

/// What an input is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Messages,
    Receipts,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Messages, Kind::Receipts];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Messages => "messages",
            Kind::Receipts => "receipts",
        }
    }

    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Why one line was rejected. It is quarantined with its number and its raw text (D86).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFault {
    /// A word that scripts can group by: `missing_field`, `bad_time`, ...
    pub reason: &'static str,
    /// What is wrong, where, and how to mend it.
    pub detail: String,
}

impl LineFault {
    pub fn new(reason: &'static str, detail: impl Into<String>) -> LineFault {
        LineFault { reason, detail: detail.into() }
    }
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

/// The first characters of a value, for a fault's detail: a value may be as long as a record.
fn excerpt(value: &str) -> String {
    const SHOWN: usize = 40;
    let mut shown: String =
        value.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if value.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Why a whole input was refused. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("the input could not be read after byte {offset}: try again, nothing of it was kept")]
    Unreadable { offset: u64, source: io::Error },
    #[error(
        "the gzip data is cut off or damaged near byte {offset}: send the file again, or unpack it and see"
    )]
    BadGzip { offset: u64, source: io::Error },
    #[error(
        "the gzip data unpacks to more than {ratio} times its size: unpack it, check it, and send it plain"
    )]
    GzipBomb { ratio: u64 },
    #[error("the content is larger than {limit} bytes: split the file")]
    TooLarge { limit: u64 },
    #[error("the input is in UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`")]
    Utf16,
    #[error("the input is a JSON array: write one object a line, as `jq -c '.[]'` does")]
    JsonArray,
    #[error("the header line {fault}")]
    BadHeader { fault: String },
    #[error("the header has no column for `{field}`: {mend}")]
    MissingColumn { field: &'static str, mend: String },
    #[error("`{name}` is not a source: use one of {known}")]
    UnknownSource { name: String, known: String },
    #[error(
        "source `{source_name}` carries receipts, not messages: use `ingest receipts --source {source_name}`"
    )]
    ReceiptsOnly { source_name: &'static str },
    #[error("`{name}` is not a format: use csv or ndjson")]
    UnknownFormat { name: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_printable() {
        assert_eq!(excerpt("abc"), "abc");
        assert_eq!(excerpt("a\nb"), "a\u{fffd}b");
        assert_eq!(excerpt(&"码".repeat(1000)), format!("{}…", "码".repeat(40)));
    }
}
