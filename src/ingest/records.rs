//! Content cut into records: one a line, or over several lines inside CSV quotes (F59-F61).
//!
//! Memory is bounded by [`Limits::record`] whatever the content is. A record that cannot be cut is
//! rejected by itself and reading goes on after it.

use std::io::Read;

use memchr::{memchr, memchr3};

use super::stream::{Content, Limits};
use super::{IngestError, LineFault};

/// What is kept of a record that is too long to be read.
const HEAD: usize = 4 << 10;

/// What old spreadsheets write: such a file is all header.
pub(super) const CR_ALONE: &str = "if its lines end in CR alone, make that LF, as `tr '\\r' '\\n'` does";

/// Room to read into; grows up to the longest record.
const BUFFER: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    /// One JSON object a line.
    Ndjson,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Ndjson => "ndjson",
        }
    }

    pub fn parse(name: &str) -> Result<Format, IngestError> {
        match name {
            "csv" => Ok(Format::Csv),
            "ndjson" => Ok(Format::Ndjson),
            _ => Err(IngestError::UnknownFormat { name: super::excerpt(name) }),
        }
    }

    /// By the extension, with or without `.gz`; None where it says nothing.
    ///
    /// # Example
    /// ```
    /// use quittance::ingest::records::Format;
    /// assert_eq!(Format::of_file_name("march.CSV.gz"), Some(Format::Csv));
    /// assert_eq!(Format::of_file_name("march.jsonl"), Some(Format::Ndjson));
    /// assert_eq!(Format::of_file_name("march.txt"), None);
    /// ```
    pub fn of_file_name(name: &str) -> Option<Format> {
        let name = name.to_ascii_lowercase();
        let (_, extension) = name.strip_suffix(".gz").unwrap_or(&name).rsplit_once('.')?;
        match extension {
            "csv" => Some(Format::Csv),
            "ndjson" | "jsonl" | "json" => Some(Format::Ndjson),
            _ => None,
        }
    }
}

/// One record of the content.
#[derive(Debug)]
pub struct Record<'a> {
    /// Records from 1; the header and blank lines are not counted.
    pub line: u64,
    /// As it came, without its line end; of a record that is too long its first 4 KiB.
    pub raw: &'a [u8],
    /// The record, or why it cannot be read.
    pub text: Result<&'a str, LineFault>,
    /// False for a last line without a line end: perhaps the rest is missing (F59).
    pub complete: bool,
}

/// The records of one input.
pub struct Records<R: Read> {
    content: Content<R>,
    format: Format,
    header: Option<String>,
    limit: usize,
    /// Bytes read and not yet given out: `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    /// The beginning of the last record that was too long.
    head: Vec<u8>,
    line: u64,
}

/// Where a record lies in the buffer, or why it could not be cut.
struct Cut {
    length: usize,
    complete: bool,
    fault: Option<LineFault>,
}

impl<R: Read> Records<R> {
    /// Opens an input and reads its header where it is CSV. Without a format, content that begins
    /// with `{` is NDJSON and any other CSV.
    pub fn open(input: R, format: Option<Format>, limits: Limits) -> Result<Records<R>, IngestError> {
        let mut records = Records {
            content: Content::open(input, limits)?,
            format: format.unwrap_or(Format::Csv),
            header: None,
            limit: limits.record.min(1 << 30),
            buffer: vec![0; BUFFER.min(limits.record.max(HEAD))],
            start: 0,
            end: 0,
            ended: false,
            head: Vec::new(),
            line: 0,
        };
        records.skip_byte_order_mark()?;
        let first = records.first_byte()?;
        records.format = format.unwrap_or(if first == Some(b'{') { Format::Ndjson } else { Format::Csv });
        if first == Some(b'[') && format != Some(Format::Csv) {
            return Err(IngestError::JsonArray);
        }
        if records.format == Format::Csv {
            records.header = Some(records.read_header()?);
        }
        Ok(records)
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// The header line of CSV content.
    pub fn header(&self) -> Option<&str> {
        self.header.as_deref()
    }

    /// Bytes taken from the input so far, as it is stored: what a progress bar shows.
    pub fn bytes_read(&self) -> u64 {
        self.content.bytes_read()
    }

    /// SHA-256 of the decompressed content, complete once the last record was given out.
    pub fn sha256(&self) -> [u8; 32] {
        self.content.sha256()
    }

    /// The next record that is not blank; None at the end.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, IngestError> {
        loop {
            let Some(cut) = self.cut()? else { return Ok(None) };
            let range = self.start..self.start + cut.length;
            self.start = (range.end + 1).min(self.end);
            let too_long = !self.head.is_empty();
            if !too_long && self.buffer[range.clone()].trim_ascii().is_empty() {
                continue;
            }
            self.line += 1;
            let raw = if too_long { self.head.as_slice() } else { &self.buffer[range] };
            let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
            let text = match cut.fault {
                Some(fault) => Err(fault),
                None => readable(raw),
            };
            return Ok(Some(Record { line: self.line, raw, text, complete: cut.complete }));
        }
    }

    /// Finds the end of the record that begins at `start`.
    fn cut(&mut self) -> Result<Option<Cut>, IngestError> {
        self.head.clear();
        let Some(line) = self.cut_line()? else { return Ok(None) };
        if self.format == Format::Ndjson || line.fault.is_some() {
            return Ok(Some(line));
        }
        if !line.complete {
            let detail = "the last line has no line end, so the file may be cut off: send it complete";
            return Ok(Some(Cut { fault: Some(LineFault::new("incomplete_line", detail)), ..line }));
        }
        if memchr(b'"', &self.buffer[self.start..self.start + line.length]).is_none() {
            return Ok(Some(line));
        }
        self.cut_quoted(line).map(Some)
    }

    /// A physical line, without looking into it.
    fn cut_line(&mut self) -> Result<Option<Cut>, IngestError> {
        let mut searched = 0;
        loop {
            if let Some(found) = memchr(b'\n', &self.buffer[self.start + searched..self.end]) {
                let length = searched + found;
                if length > self.limit {
                    return self.skip_long_line().map(Some);
                }
                return Ok(Some(Cut { length, complete: true, fault: None }));
            }
            searched = self.end - self.start;
            if searched > self.limit {
                return self.skip_long_line().map(Some);
            }
            if !self.fill()? {
                let rest = Cut { length: searched, complete: false, fault: None };
                return Ok((searched > 0).then_some(rest));
            }
        }
    }

    /// The record whose quotes open in `line`. Where they do not close, only that line is rejected:
    /// one stray quote must not swallow the lines after it.
    fn cut_quoted(&mut self, line: Cut) -> Result<Cut, IngestError> {
        let mut quotes = Quotes { position: 0, place: Place::FieldStart };
        let detail = loop {
            match quotes.follow(&self.buffer[self.start..self.end]) {
                Some(Verdict::EndsAt(length)) if length <= self.limit => return Ok(Cut { length, ..line }),
                Some(Verdict::EndsAt(_)) => break "a quoted field makes the record longer than the limit",
                Some(Verdict::Misplaced) => {
                    break "a quote stands inside a field: put the whole field in quotes and double the quotes in it";
                }
                None if quotes.position > self.limit => break "a quoted field does not end: close its quotes",
                None => {}
            }
            if !self.fill()? {
                let closed = matches!(quotes.place, Place::Bare | Place::FieldStart | Place::AfterQuote);
                break if closed {
                    "the record has no line end"
                } else {
                    "a quoted field does not end: close its quotes"
                };
            }
        };
        Ok(Cut { fault: Some(LineFault::new("unbalanced_quote", detail)), ..line })
    }

    /// Keeps the head of an overlong line and drops the rest, a buffer at a time. Without a header
    /// there is no use in reading on, perhaps without end.
    fn skip_long_line(&mut self) -> Result<Cut, IngestError> {
        if self.format == Format::Csv && self.header.is_none() {
            let fault = format!("is longer than {} bytes: is this a CSV file?", self.limit);
            return Err(IngestError::BadHeader { fault });
        }
        self.head.extend_from_slice(&self.buffer[self.start..(self.start + HEAD).min(self.end)]);
        let detail = format!("the line is longer than {} bytes; its first {HEAD} are kept", self.limit);
        let fault = Some(LineFault::new("line_too_long", detail));
        loop {
            if let Some(length) = memchr(b'\n', &self.buffer[self.start..self.end]) {
                return Ok(Cut { length, complete: true, fault });
            }
            self.start = self.end;
            if !self.fill()? {
                return Ok(Cut { length: 0, complete: false, fault });
            }
        }
    }

    /// Reads more behind `end`; false at the end of the content.
    fn fill(&mut self) -> Result<bool, IngestError> {
        if self.ended {
            return Ok(false);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let count = self.content.read(&mut self.buffer[self.end..])?;
        self.end += count;
        self.ended = count == 0;
        Ok(!self.ended)
    }

    fn skip_byte_order_mark(&mut self) -> Result<(), IngestError> {
        const UTF8: &[u8] = b"\xEF\xBB\xBF";
        while self.end < UTF8.len() && self.fill()? {}
        let beginning = &self.buffer[..self.end];
        if beginning.starts_with(b"\xFF\xFE") || beginning.starts_with(b"\xFE\xFF") {
            return Err(IngestError::Utf16);
        }
        if beginning.starts_with(UTF8) {
            self.start = UTF8.len();
        }
        Ok(())
    }

    fn first_byte(&mut self) -> Result<Option<u8>, IngestError> {
        loop {
            let known = self.buffer[self.start..self.end].trim_ascii_start();
            if !known.is_empty() || self.end - self.start > self.limit || !self.fill()? {
                return Ok(self.buffer[self.start..self.end].trim_ascii_start().first().copied());
            }
        }
    }

    fn read_header(&mut self) -> Result<String, IngestError> {
        let refuse = |fault: String| IngestError::BadHeader { fault };
        let (complete, header) = match self.next_record()? {
            None => return Err(refuse("is missing: the input is empty".to_owned())),
            // What is no text at all is told as that, not as a line that is cut off.
            Some(Record { complete: false, raw, .. }) => (false, readable(raw)),
            Some(record) => (true, record.text),
        };
        let header = header.map(str::to_owned).map_err(|fault| refuse(format!("cannot be read: {fault}")))?;
        if !complete {
            return Err(refuse(format!(
                "has no line end: if it was cut off, send the whole file; {CR_ALONE}"
            )));
        }
        self.line = 0;
        Ok(header)
    }
}

/// Text without NUL bytes; both databases refuse the one or the other.
fn readable(raw: &[u8]) -> Result<&str, LineFault> {
    if let Some(offset) = memchr(0, raw) {
        let detail = format!("byte {offset} of the line is NUL: send plain UTF-8 text");
        return Err(LineFault::new("nul_byte", detail));
    }
    str::from_utf8(raw).map_err(|error| {
        let detail = format!("byte {} of the line is not UTF-8: convert the file", error.valid_up_to());
        LineFault::new("bad_utf8", detail)
    })
}

/// Follows the quotes of one CSV record across its line ends.
///
/// Strict as RFC 4180: a quote opens a field only at its beginning and closes it only at its end.
/// So a stray quote is noticed at the next quote instead of swallowing lines up to it, and no line
/// is looked at more than twice however many quotes are stray.
struct Quotes {
    position: usize,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    FieldStart,
    Bare,
    Quoted,
    AfterQuote,
    AfterReturn,
}

enum Verdict {
    /// The position of the record's line end.
    EndsAt(usize),
    Misplaced,
}

impl Quotes {
    /// Goes on over `record`, all that is known of it so far; None where more is needed.
    fn follow(&mut self, record: &[u8]) -> Option<Verdict> {
        while let Some(&byte) = record.get(self.position) {
            self.place = match (self.place, byte) {
                (Place::Quoted, b'"') => Place::AfterQuote,
                (Place::Quoted, _) => {
                    self.position +=
                        memchr(b'"', &record[self.position..]).unwrap_or(record.len() - self.position);
                    continue;
                }
                (_, b'\n') => return Some(Verdict::EndsAt(self.position)),
                (Place::AfterReturn, _) => return Some(Verdict::Misplaced),
                (_, b',') => Place::FieldStart,
                (Place::FieldStart | Place::AfterQuote, b'"') => Place::Quoted,
                (Place::Bare, b'"') => return Some(Verdict::Misplaced),
                (Place::AfterQuote, b'\r') => Place::AfterReturn,
                (Place::AfterQuote, _) => return Some(Verdict::Misplaced),
                (Place::FieldStart | Place::Bare, _) => {
                    let rest = &record[self.position..];
                    self.position += memchr3(b',', b'"', b'\n', rest).unwrap_or(rest.len());
                    self.place = Place::Bare;
                    continue;
                }
            };
            self.position += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests;
