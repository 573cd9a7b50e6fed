//! CSV for spreadsheets, one line an invoice line, and a summary with one line a document. Credit notes
//! and allowances count negative, so that each column sums to what was invoiced in the end.
//!
//! Lines end with CRLF. What a spreadsheet would take for a formula in a text has an apostrophe before it;
//! numbers are left alone (F72).

use csv::{Terminator, WriterBuilder};

use super::{Document, percent};
use crate::domain::money::Micros;
use crate::domain::period::Zone;

/// What makes older spreadsheets read UTF-8.
pub const BOM: &[u8] = b"\xEF\xBB\xBF";

const DOCUMENT: [&str; 13] = [
    "number",
    "document",
    "invoice",
    "account_id",
    "kind",
    "ref",
    "type",
    "issued_at",
    "buyer",
    "buyer_tax_id",
    "seller",
    "seller_tax_id",
    "currency",
];
const LINE: [&str; 9] =
    ["line", "line_kind", "description", "product", "quantity", "vat_percent", "net", "vat", "gross"];
const TOTALS: [&str; 5] = ["status", "lines", "net", "vat", "total"];

/// The first line of the file of lines.
pub fn lines_header() -> Vec<u8> {
    record([&DOCUMENT[..], &LINE].concat().iter().map(|name| (*name).to_owned()).collect())
}

/// The first line of the summary.
pub fn summary_header() -> Vec<u8> {
    record([&DOCUMENT[..], &TOTALS].concat().iter().map(|name| (*name).to_owned()).collect())
}

/// The lines of a document, allowances after those of what was supplied.
pub fn lines(document: Document<'_>, zone: Zone) -> Vec<u8> {
    let invoice = document.invoice();
    let about = about(document, zone);
    let mut bytes = Vec::new();
    let mut number = 0;
    let mut put = |words: [&str; 3], quantity: String, vat_ppm: i64, net: Micros, gross: Micros| {
        number += 1;
        let [kind, description, product] = words;
        let vat = Micros(gross.0 - net.0);
        let amounts = [net, vat, gross].map(|amount| document.signed(amount));
        let mut cells = about.clone();
        cells.extend([number.to_string(), kind.to_owned(), guarded(description), guarded(product)]);
        cells.extend([quantity, percent(vat_ppm)]);
        cells.extend(amounts);
        bytes.extend(record(cells));
    };
    for line in &invoice.lines {
        let quantity = (line.units * document.sign()).to_string();
        put(["supply", &line.description, &line.product], quantity, line.vat_ppm, line.net, line.gross);
    }
    for allowance in &invoice.allowances {
        let (net, gross) = (Micros(-allowance.net.0), Micros(-allowance.gross.0));
        let words = ["allowance", "Refunds", ""];
        put(words, String::new(), allowance.vat_ppm, net, gross);
    }
    bytes
}

/// The document's line of the summary.
pub fn summary(document: Document<'_>, zone: Zone) -> Vec<u8> {
    let invoice = document.invoice();
    let mut cells = about(document, zone);
    let lines = invoice.lines.len() + invoice.allowances.len();
    cells.extend([invoice.status().to_owned(), lines.to_string()]);
    cells.extend([invoice.net, invoice.vat, invoice.total].map(|amount| document.signed(amount)));
    record(cells)
}

fn about(document: Document<'_>, zone: Zone) -> Vec<String> {
    let invoice = document.invoice();
    let tax_id = |tax_id: &Option<String>| guarded(tax_id.as_deref().unwrap_or_default());
    vec![
        guarded(document.number()),
        document.word().to_owned(),
        guarded(&invoice.number),
        guarded(&invoice.account_id),
        invoice.kind.as_str().to_owned(),
        guarded(&invoice.reference),
        invoice.invoice_type.as_str().to_owned(),
        zone.format(document.issued_at()),
        guarded(&invoice.buyer.name),
        tax_id(&invoice.buyer.tax_id),
        guarded(&invoice.seller.name),
        tax_id(&invoice.seller.tax_id),
        invoice.currency.clone(),
    ]
}

/// A text that no spreadsheet takes for a formula, also not one that takes full-width signs for it, or that
/// parts cells at semicolons or tabs, as many do where commas part decimals: there each part is a cell.
fn guarded(text: &str) -> String {
    // Some take what begins with a tab or a line break for a formula by itself.
    let mut guarded = if text.starts_with(['\t', '\r', '\n']) { "'".to_owned() } else { String::new() };
    let mut rest = text;
    loop {
        let cell = rest.split_once(PARTS_CELLS).map_or(rest, |(cell, _)| cell);
        // Some take spaces and quotes away before they look.
        let seen = cell.trim_start_matches(|c: char| c.is_whitespace() || c.is_control() || c == '"');
        if seen.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) {
            guarded.push('\'');
        }
        guarded.push_str(cell);
        let Some(parts) = rest[cell.len()..].chars().next() else { return guarded };
        guarded.push(parts);
        rest = &rest[cell.len() + parts.len_utf8()..];
    }
}

/// What parts cells or lines somewhere, within quotes, too.
const PARTS_CELLS: [char; 4] = [';', '\t', '\r', '\n'];

fn record(cells: Vec<String>) -> Vec<u8> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    // Into memory, with as many cells as it has: neither can fail.
    let written = writer.write_record(&cells).ok().and_then(|()| writer.into_inner().ok());
    written.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::invoice::tests::{returned, sample, zone};

    fn rows(bytes: &[u8], header: &[u8]) -> Vec<Vec<String>> {
        let all = [header, bytes].concat();
        let mut reader = csv::Reader::from_reader(&all[..]);
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    /// The sum of a column that holds amounts.
    fn sum(rows: &[Vec<String>], column: usize) -> i64 {
        rows.iter().map(|row| Micros::parse(&row[column]).unwrap().0).sum()
    }

    #[test]
    fn lines_sum_to_the_document_and_credit_notes_take_it_back() {
        let invoice = returned();
        let documents =
            [Document::Invoice(&invoice), Document::CreditNote(&invoice, invoice.returned.as_ref().unwrap())];
        let [issued, taken] = documents.map(|document| rows(&lines(document, zone()), &lines_header()));
        let net = DOCUMENT.len() + 6;
        for (column, amount) in [(net, invoice.net), (net + 1, invoice.vat), (net + 2, invoice.total)] {
            assert_eq!(sum(&issued, column), amount.0);
            assert_eq!(sum(&taken, column), -amount.0);
        }
        let [issued, taken] = documents.map(|document| rows(&summary(document, zone()), &summary_header()));
        assert_eq!(&issued[0][13..], ["returned", "5", "4505.77", "270.67", "4776.44"]);
        assert_eq!(&taken[0][13..], ["returned", "5", "-4505.77", "-270.67", "-4776.44"]);
    }

    #[test]
    fn formulas_are_defused_and_lines_end_for_spreadsheets() {
        let text = String::from_utf8(lines(Document::Invoice(&sample()), zone())).unwrap();
        assert!(text.contains(",'=Müller & Söhne <script>有限公司,"), "{text}");
        assert_eq!(text.matches("\r\n").count(), 5, "{text}");
        let formulas =
            ["=1", "+1", "-1", "@a", "＝1", "＋1", "－1", "＠a", " =1", "\u{a0}\"@a", "\u{3000}＝1"];
        for text in formulas.into_iter().chain(["\ta", "\ra"]) {
            assert_eq!(guarded(text), format!("'{text}"));
        }
        for text in ["a=1", "", "2026-03", "a; b", "'=1", "北京市；=1"] {
            assert_eq!(guarded(text), text);
        }
        // What is a cell of its own elsewhere.
        for (text, safe) in [
            ("x;=1+1", "x;'=1+1"),
            ("x; \"=1+1", "x;' \"=1+1"),
            ("a\t=1\r\n@a;;-b", "a\t'=1\r\n'@a;;'-b"),
            ("=1;+2", "'=1;'+2"),
        ] {
            assert_eq!(guarded(text), safe);
        }
    }
}
