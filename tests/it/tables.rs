//! Tables of pure arithmetic under `tests/scenarios/tables`: given columns, `|`, expected columns.
//!
//! The first line that is no comment names the columns. Columns are parted by spaces; `_` is an
//! empty one, and the last runs to the end of the line. A table is law: nothing rewrites it.

use std::collections::HashMap;
use std::path::Path;

use quittance::config::Config;
use quittance::domain::length::measure;
use quittance::domain::period::Timestamp;
use quittance::domain::price::{Buyer, Method, Rate};

/// A row's cells by the names of their columns, with the line that it stands in.
struct Row {
    line: usize,
    cells: HashMap<String, String>,
}

impl Row {
    fn cell(&self, name: &str) -> &str {
        self.cells.get(name).unwrap_or_else(|| panic!("line {}: there is no column {name}", self.line))
    }

    fn number(&self, name: &str) -> i64 {
        let digits = self.cell(name).replace(',', "");
        digits.parse().unwrap_or_else(|_| panic!("line {}: {digits} is no number", self.line))
    }
}

fn rows(table: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/tables").join(table);
    let text = std::fs::read_to_string(&path).expect("the table can be read");
    parse(&text)
}

fn parse(text: &str) -> Vec<Row> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let (_, header) = lines.next().expect("the table has a header");
    let names: Vec<&str> = header.split_whitespace().collect();
    let row = |(line, text): (usize, &str)| {
        let cells = cells(text, names.len());
        assert_eq!(cells.len(), names.len(), "line {line}: as many columns as the header");
        let divider = names.iter().position(|name| *name == "|").expect("the header has a `|`");
        assert_eq!(cells[divider], "|", "line {line}: `|` stands where the header has it");
        let filled = cells.iter().map(|cell| if *cell == "_" { String::new() } else { (*cell).to_owned() });
        Row { line, cells: names.iter().map(|name| (*name).to_owned()).zip(filled).collect() }
    };
    lines.map(row).collect()
}

/// Cuts a line into at most `count` cells; the last one keeps its spaces.
fn cells(line: &str, count: usize) -> Vec<&str> {
    let mut cells = Vec::new();
    let mut rest = line;
    while cells.len() + 1 < count {
        let Some((cell, after)) = rest.split_once(char::is_whitespace) else { break };
        cells.push(cell);
        rest = after.trim_start();
    }
    cells.push(rest);
    cells
}

/// Reads `69x字,1xU+000C`. The character may be a comma itself, so the text is cut run by run.
fn runs(text: &str) -> String {
    let mut rest = text;
    let mut written = String::new();
    while !rest.is_empty() {
        let (count, after) = rest.split_once('x').expect("a run is COUNTxCHARACTER");
        let count: usize = count.parse().expect("a run begins with its count");
        let code = after.strip_prefix("U+").and_then(|code| code.get(..4));
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
        let character = code.or(after.chars().next()).expect("a run has a character");
        written.extend(std::iter::repeat_n(character, count));
        let length = if code.is_some() { "U+0000".len() } else { character.len_utf8() };
        rest = &after[length..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    written
}

#[test]
fn messages_are_as_long_as_the_length_table_says() {
    let config = Config::built_in().expect("the shipped configuration");
    let rows = rows("length.table");
    assert!(rows.len() > 50, "only {} rows were read", rows.len());
    for row in rows {
        let product = config.catalog.get(&format!("sms-{}", row.cell("rule"))).expect("a product");
        let text = runs(row.cell("text"));
        // With its signature written out in the text, as the table has it.
        let length = measure(product.length, product.astral, None, &text);
        let said = (length.encoding.as_str(), length.units, length.segments);
        let expected = (row.cell("encoding"), row.number("length"), row.number("segments"));
        assert_eq!(said, expected, "line {}: {} {}", row.line, row.cell("rule"), row.cell("text"));
    }
}

#[test]
fn months_cost_what_the_tiers_table_says() {
    let config = Config::built_in().expect("the shipped configuration");
    let at = Timestamp::parse_rfc3339("2026-03-01T00:00:00+08:00").expect("a time");
    let buyer = Buyer { account_id: "acme", kind: "enterprise", currency: "CNY" };
    let rows = rows("tiers.table");
    assert!(rows.len() > 15, "only {} rows were read", rows.len());
    for row in rows {
        let list = config.book.stretch("sms-domestic", row.cell("type"), buyer, at).rate.expect("a list");
        for (column, method) in [("graduated", Method::Graduated), ("volume", Method::Volume)] {
            let total = Rate { method, ..list.clone() }.month_total(row.number("units")).expect("a total");
            let expected = row.cell(column).replace(',', "");
            assert_eq!(total.to_string(), expected, "line {}: {column}", row.line);
        }
    }
}

#[test]
fn the_reader_of_tables_understands_runs_and_columns() {
    assert_eq!(runs("2x,,1xU+000C,1xU,3x字"), ",,\u{c}U字字字");
    assert_eq!(runs("0xa"), "");
    let rows = parse("# head\n\na  | b  note\n|  | 1  two words\nx  | _  _\n");
    let read = |row: &Row| [row.cell("a"), row.cell("b"), row.cell("note")].map(str::to_owned);
    assert_eq!(read(&rows[0]), ["|", "1", "two words"]);
    assert_eq!(read(&rows[1]), ["x", "", ""]);
    assert_eq!((rows.len(), rows[1].line), (2, 5));
}
