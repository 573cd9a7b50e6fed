//! The fields of CSV records, placed by the header.

use std::collections::BTreeSet;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use memchr::memchr;

use super::fields::{Field, Fields, Name, Places, Span};
use super::records::CR_ALONE;
use super::{IngestError, LineFault, excerpt};

/// More columns than any export has: a header beyond it is no header.
const MAX_COLUMNS: usize = 1_000;

/// Reads CSV records under one header.
pub struct CsvLines {
    columns: usize,
    places: Places,
    ignored: BTreeSet<String>,
    spans: Vec<Span>,
    quoted: QuotedRecord,
}

impl CsvLines {
    pub fn new(header: &str, names: &[Name]) -> Result<CsvLines, IngestError> {
        let refuse = |fault: String| IngestError::BadHeader { fault };
        // Lines that no line end divides would be columns that mean nothing, and nobody would miss them.
        if header.trim().contains('\r') {
            return Err(refuse(format!("holds a line end: {CR_ALONE}")));
        }
        let mut quoted = QuotedRecord::new();
        let mut spans = Vec::new();
        let Some(text) = split(header, MAX_COLUMNS, &mut spans, &mut quoted) else {
            return Err(refuse(format!("has more than {MAX_COLUMNS} columns")));
        };
        let columns: Vec<&str> =
            spans.iter().map(|span| text[span.start as usize..span.end as usize].trim()).collect();
        if let Some(unnamed) = columns.iter().position(|column| column.is_empty()) {
            return Err(refuse(format!("has no name for column {}: name it or drop it", unnamed + 1)));
        }
        if let Some(place) = columns.iter().position(|column| column.contains(char::is_control)) {
            let place = place + 1;
            let fault = format!("has a line end, tab or control character in the name of column {place}");
            return Err(refuse(format!("{fault}: divide columns by commas and lines by line ends")));
        }
        let mut known = BTreeSet::new();
        if let Some(twice) = columns.iter().find(|column| !known.insert(**column)) {
            return Err(refuse(format!("has the column `{}` twice: drop or rename one", excerpt(twice))));
        }
        let mut places = Places::default();
        for name in names {
            if let Some(place) = columns.iter().position(|column| *column == name.column) {
                places.add(name.field, place as u16);
            }
        }
        let asked_for = |column: &&&str| names.iter().any(|name| name.column == **column);
        let ignored = columns.iter().filter(|column| !asked_for(column)).map(|c| excerpt(c)).collect();
        Ok(CsvLines { columns: columns.len(), places, ignored, spans, quoted })
    }

    pub fn has(&self, field: Field) -> bool {
        self.places.has(field)
    }

    pub fn ignored(&self) -> &BTreeSet<String> {
        &self.ignored
    }

    pub fn read<'a>(&'a mut self, record: &'a str) -> Result<Fields<'a>, LineFault> {
        let CsvLines { columns, places, spans, quoted, .. } = self;
        let text = split(record, *columns, spans, quoted);
        match text {
            Some(text) if spans.len() == *columns => Ok(Fields { text, spans, places, is_object: false }),
            _ => {
                let found = if text.is_some() { spans.len().to_string() } else { "more".to_owned() };
                let detail =
                    format!("the header has {columns} columns, the line {found}: quote fields with commas");
                Err(LineFault::new("column_count", detail))
            }
        }
    }
}

/// Splits a record into at most `columns` fields and gives the text they lie in: the record
/// itself, or a copy with its quotes resolved. None where there are more fields.
fn split<'a>(
    record: &'a str,
    columns: usize,
    spans: &mut Vec<Span>,
    quoted: &'a mut QuotedRecord,
) -> Option<&'a str> {
    spans.clear();
    if memchr(b'"', record.as_bytes()).is_some() {
        return quoted.split(record, columns, spans);
    }
    let mut start = 0;
    for comma in memchr::memchr_iter(b',', record.as_bytes()) {
        if spans.len() == columns {
            return None;
        }
        spans.push(Span { start: start as u32, end: comma as u32 });
        start = comma + 1;
    }
    spans.push(Span { start: start as u32, end: record.len() as u32 });
    Some(record)
}

/// The rarer record with quotes, which `csv-core` takes apart into a copy.
struct QuotedRecord {
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl QuotedRecord {
    fn new() -> QuotedRecord {
        // A carriage return inside a field is text: the record's own line end is already off.
        let reader = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        QuotedRecord { reader, text: Vec::new(), ends: Vec::new() }
    }

    fn split(&mut self, record: &str, columns: usize, spans: &mut Vec<Span>) -> Option<&str> {
        self.reader.reset();
        self.text.resize(record.len() + 1, 0);
        self.ends.resize(columns + 1, 0);
        let (mut read, mut written, mut fields) = (0, 0, 0);
        loop {
            let input = &record.as_bytes()[read..];
            let (result, nin, nout, nends) =
                self.reader.read_record(input, &mut self.text[written..], &mut self.ends[fields..]);
            (read, written, fields) = (read + nin, written + nout, fields + nends);
            match result {
                // An empty input tells csv-core that the record is over.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record | ReadRecordResult::End => break,
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => return None,
            }
        }
        let mut start = 0;
        for &end in &self.ends[..fields] {
            spans.push(Span { start, end: end as u32 });
            start = end as u32;
        }
        str::from_utf8(&self.text[..written]).ok()
    }
}
