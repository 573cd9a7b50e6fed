//! A file or stream of messages or receipts, judged line by line.

use std::collections::BTreeSet;
use std::io::Read;

use super::fields::Lines;
use super::judge::Judge;
use super::records::{Format, Record, Records};
use super::stream::Limits;
use super::{IngestError, LineFault};

/// The lines of one input and what its judge makes of them.
pub struct Judgements<'a, R: Read, J> {
    records: Records<R>,
    lines: Lines,
    judge: &'a J,
}

/// What became of one line.
#[derive(Debug)]
pub struct Judged<'a, Row> {
    /// Data lines from 1: header and blank lines are not counted.
    pub line: u64,
    /// As it came, to be quarantined where it is rejected.
    pub raw: &'a [u8],
    pub verdict: Result<Row, LineFault>,
}

impl<'a, R: Read, J: Judge> Judgements<'a, R, J> {
    /// Opens an input and checks its header. Without a format, the first byte tells it.
    pub fn open(input: R, format: Option<Format>, judge: &'a J) -> Result<Self, IngestError> {
        Judgements::with_limits(input, format, judge, Limits::default())
    }

    pub fn with_limits(
        input: R,
        format: Option<Format>,
        judge: &'a J,
        limits: Limits,
    ) -> Result<Self, IngestError> {
        let records = Records::open(input, format, limits)?;
        let lines = lines_of(records.header(), judge)?;
        Ok(Judgements { records, lines, judge })
    }

    /// The next line and its verdict; None at the end of the input.
    pub fn next_line(&mut self) -> Result<Option<Judged<'_, J::Row>>, IngestError> {
        let Some(record) = self.records.next_record()? else { return Ok(None) };
        let verdict = self.lines.read(&record).and_then(|fields| self.judge.judge(&fields));
        Ok(Some(Judged { line: record.line, raw: record.raw, verdict }))
    }

    pub fn format(&self) -> Format {
        self.records.format()
    }

    /// The header line of CSV; kept with the batch, a quarantined line can be judged again by it.
    pub fn header(&self) -> Option<&str> {
        self.records.header()
    }

    /// Bytes taken from the input so far, before decompression.
    pub fn bytes_read(&self) -> u64 {
        self.records.bytes_read()
    }

    /// SHA-256 of the decompressed content, complete at the end of the input.
    pub fn sha256(&self) -> [u8; 32] {
        self.records.sha256()
    }

    /// Columns and keys that mean nothing here, sorted; all that occur at the end of the input.
    pub fn ignored_names(&self) -> &BTreeSet<String> {
        self.lines.ignored()
    }
}

/// Judges a quarantined line again (D86), by its batch's header; without one it is NDJSON.
///
/// Not for lines that could not be cut or read ([`is_final`]): half a line may look like a whole.
pub fn judge_again<J: Judge>(
    header: Option<&str>,
    raw: &str,
    judge: &J,
) -> Result<Result<J::Row, LineFault>, IngestError> {
    let mut lines = lines_of(header, judge)?;
    let record = Record { line: 1, raw: raw.as_bytes(), text: Ok(raw), complete: true };
    Ok(lines.read(&record).and_then(|fields| judge.judge(&fields)))
}

/// Whether a rejected line stays rejected whatever changes outside it.
pub fn is_final(reason: &str) -> bool {
    [
        "incomplete_line",
        "line_too_long",
        "unbalanced_quote",
        "nul_byte",
        "bad_utf8",
        "bad_json",
        "duplicate_key",
        "column_count",
    ]
    .contains(&reason)
}

fn lines_of<J: Judge>(header: Option<&str>, judge: &J) -> Result<Lines, IngestError> {
    let lines = Lines::with_header(header, &judge.names())?;
    judge.check_header(&lines)?;
    Ok(lines)
}

#[cfg(test)]
mod tests;
