use std::io;

use super::*;

/// What became of each record: its text, or the reason of its fault.
fn cut(content: &[u8], format: Format) -> Vec<String> {
    let mut records = Records::open(content, Some(format), Limits::default()).unwrap();
    let mut seen = Vec::new();
    while let Some(record) = records.next_record().unwrap() {
        assert_eq!(record.line, seen.len() as u64 + 1);
        seen.push(record.text.map_or_else(|fault| format!("!{}", fault.reason), str::to_owned));
    }
    seen
}

fn csv(lines: &str) -> Vec<String> {
    cut(format!("a,b\n{lines}").as_bytes(), Format::Csv)
}

#[test]
fn lines_are_cut_at_either_line_end_and_blank_ones_are_not_counted() {
    assert_eq!(csv("1,2\r\n\n \t\r\n3,4\n"), ["1,2", "3,4"]);
    assert_eq!(cut(b"{}\r\n\n{}", Format::Ndjson), ["{}", "{}"]);
    assert_eq!(csv(""), Vec::<String>::new());
}

#[test]
fn a_quoted_field_may_hold_line_ends_commas_and_quotes() {
    assert_eq!(csv("1,\"x\ny\"\r\n3,4\n"), ["1,\"x\ny\"", "3,4"]);
    assert_eq!(csv("\"a,\"\"b\"\"\",2\n3,\"\"\n"), ["\"a,\"\"b\"\"\",2", "3,\"\""]);
}

#[test]
fn an_unbalanced_quote_rejects_its_own_line_only() {
    assert_eq!(csv("1,\"2\n3,4\n5,6\n"), ["!unbalanced_quote", "3,4", "5,6"]);
    assert_eq!(csv("1,\"2\n3,4\n5,\"6\"\n7,8\n"), ["!unbalanced_quote", "3,4", "5,\"6\"", "7,8"]);
    assert_eq!(csv("1,2\"\n3,4\n"), ["!unbalanced_quote", "3,4"]);
    assert_eq!(csv("1,\"2\"x\n3,4\n"), ["!unbalanced_quote", "3,4"]);
    assert_eq!(csv("1,\"2\n3,\"4\n5,6\n"), ["!unbalanced_quote", "!unbalanced_quote", "5,6"]);
}

#[test]
fn a_last_csv_line_without_a_line_end_is_incomplete() {
    assert_eq!(csv("1,2\n3,4"), ["1,2", "!incomplete_line"]);
    assert_eq!(csv("1,2\n3,\"4\""), ["1,2", "!incomplete_line"]);
    assert_eq!(csv("1,\"2\n3\""), ["!unbalanced_quote", "!incomplete_line"]);
    assert_eq!(csv("1,2\n  "), ["1,2"]);
}

#[test]
fn bytes_that_are_no_text_reject_their_line_with_the_offset() {
    let content = b"a,b\n1,\xff\n2,\0\n3,4\n";
    assert_eq!(cut(content, Format::Csv), ["!bad_utf8", "!nul_byte", "3,4"]);
    let mut records = Records::open(content.as_slice(), Some(Format::Csv), Limits::default()).unwrap();
    let record = records.next_record().unwrap().unwrap();
    assert_eq!(record.raw, b"1,\xff");
    assert!(record.text.unwrap_err().detail.starts_with("byte 2 "));
}

#[test]
fn byte_order_marks_are_skipped_or_explained() {
    let records = Records::open(b"\xEF\xBB\xBFa,b\n1,2\n".as_slice(), None, Limits::default()).unwrap();
    assert_eq!(records.header(), Some("a,b"));
    for utf16 in [b"\xFF\xFEa\0".as_slice(), b"\xFE\xFF\0a"] {
        assert!(matches!(Records::open(utf16, None, Limits::default()), Err(IngestError::Utf16)));
    }
}

#[test]
fn the_format_shows_in_the_first_byte() {
    let format = |content: &'static str| {
        Records::open(content.as_bytes(), None, Limits::default()).map(|r| r.format())
    };
    assert_eq!(format(" \n{\"a\":1}").unwrap(), Format::Ndjson);
    assert_eq!(format("a,b\n").unwrap(), Format::Csv);
    assert!(matches!(format("[{}]"), Err(IngestError::JsonArray)));
    for headless in ["", " \n", "a,b", "a,b ", "a,\"b\"", "a,b\r1,2\r"] {
        assert!(matches!(format(headless), Err(IngestError::BadHeader { .. })), "{headless:?}");
    }
}

/// `prefix`, then `fill` for a number of bytes, then `suffix`, made while it is read.
struct Generated {
    parts: [(u64, &'static [u8]); 3],
}

impl Read for Generated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((left, pattern)) = self.parts.iter_mut().find(|(left, _)| *left > 0) else { return Ok(0) };
        let count = buffer.len().min(*left as usize).min(8 << 10);
        let offset = pattern.len() - (*left as usize % pattern.len());
        for (position, byte) in buffer[..count].iter_mut().enumerate() {
            *byte = pattern[(offset + position) % pattern.len()];
        }
        *left -= count as u64;
        Ok(count)
    }
}

fn generated(fill: &'static [u8], count: u64) -> Records<Generated> {
    let parts = [(4, b"a,b\n".as_slice()), (count, fill), (9, b"\n1,2\n3,4\n")];
    Records::open(Generated { parts }, Some(Format::Csv), Limits::default()).unwrap()
}

#[test]
fn a_line_of_50_megabytes_is_rejected_in_bounded_memory() {
    let mut records = generated(b"x", 50 << 20);
    let long = records.next_record().unwrap().unwrap();
    assert_eq!((long.line, long.raw.len(), long.text.unwrap_err().reason), (1, HEAD, "line_too_long"));
    assert_eq!(records.next_record().unwrap().unwrap().text.unwrap(), "1,2");
    assert_eq!(records.next_record().unwrap().unwrap().line, 3);
    assert!(records.next_record().unwrap().is_none());
    assert!(records.buffer.len() <= 2 << 20, "{}", records.buffer.len());
}

#[test]
fn a_quote_that_never_closes_costs_one_line_and_bounded_memory() {
    let mut records = generated(b"\"y\n2,zz\n", 8);
    assert_eq!(records.next_record().unwrap().unwrap().text.unwrap_err().reason, "unbalanced_quote");
    let mut records = generated(b"x,y\n", 20 << 20);
    records.next_record().unwrap();
    let mut open = Records::open(
        Generated { parts: [(7, b"a,b\n1,\""), (20 << 20, b"x,y\n"), (4, b"3,4\n")] },
        Some(Format::Csv),
        Limits::default(),
    )
    .unwrap();
    assert_eq!(open.next_record().unwrap().unwrap().text.unwrap_err().reason, "unbalanced_quote");
    let mut good = 0;
    while let Some(record) = open.next_record().unwrap() {
        good += u64::from(record.text.is_ok());
    }
    assert_eq!(good, (20 << 20) / 4);
    assert!(open.buffer.len() <= 4 << 20, "{}", open.buffer.len());
}

#[test]
fn lines_that_all_open_a_quote_are_read_in_linear_time() {
    // Each line fails alone; were each looked at up to the limit, this would take hours.
    for pattern in [b"x\"\",\"\",y\n".as_slice(), b"x\",\",y\n", b"\"\n,,,", b"1,\"\"\"\n"] {
        let content = [b"a,b\n".as_slice(), &pattern.repeat(200_000)].concat();
        let mut records = Records::open(content.as_slice(), Some(Format::Csv), Limits::default()).unwrap();
        let mut count = 0;
        while records.next_record().unwrap().is_some() {
            count += 1;
        }
        assert!(count > 0, "{pattern:?}");
    }
}

#[test]
fn the_longest_record_is_read_and_one_byte_more_is_not() {
    let limits = Limits { record: 5_000, ..Limits::default() };
    for (length, fits) in [(5_000, true), (5_001, false)] {
        for quoted in [false, true] {
            let field = "x".repeat(length - if quoted { 2 } else { 0 });
            let line = if quoted { format!("\"{field}\"") } else { field };
            let content = format!("a\n{line}\n1\n");
            let mut records = Records::open(content.as_bytes(), Some(Format::Csv), limits).unwrap();
            assert_eq!(records.next_record().unwrap().unwrap().text.is_ok(), fits, "{length} {quoted}");
            assert_eq!(records.next_record().unwrap().unwrap().text.unwrap(), "1");
        }
    }
}

#[test]
fn the_hash_is_of_the_whole_content() {
    let content = b"\xEF\xBB\xBFa,b\n1,2\n3";
    let mut records = Records::open(content.as_slice(), None, Limits::default()).unwrap();
    while records.next_record().unwrap().is_some() {}
    use sha2::{Digest, Sha256};
    assert_eq!(records.sha256().as_slice(), Sha256::digest(content).as_slice());
    assert_eq!(records.bytes_read(), content.len() as u64);
}
