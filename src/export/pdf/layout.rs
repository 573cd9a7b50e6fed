//! Where everything of a document stands: letterhead, parties, facts, the table of its lines over as many
//! pages as it takes, VAT by rate, totals, notes, and a foot on each page.

use super::Printer;
use super::frame::{ACROSS, Column, Set};
use super::sheet::{Face, Ink, LEFT, Mark, SMALL, Sheets};
use super::words::Words;
use crate::domain::invoice::{InvoiceKind, InvoiceType, Party};
use crate::domain::money::Micros;
use crate::export::invoice::{Document, cents, percent};

/// The pages of a document.
pub fn pages(document: Document<'_>, printer: &Printer, words: &'static Words) -> Vec<Vec<Mark>> {
    let mut paper = Paper { sheets: Sheets::new(&printer.fonts), document, printer, words };
    paper.letterhead();
    paper.parties();
    paper.facts();
    paper.table();
    paper.summary();
    paper.notes();
    paper.sheets.feet(&document.invoice().seller, words.page);
    paper.sheets.pages
}

struct Paper<'a> {
    sheets: Sheets<'a>,
    document: Document<'a>,
    printer: &'a Printer,
    words: &'static Words,
}

impl Paper<'_> {
    fn title(&self) -> &'static str {
        if self.document.is_credit_note() { self.words.credit_note } else { self.words.invoice }
    }

    fn letterhead(&mut self) {
        let number = format!("{} {}", self.words.number, self.document.number());
        let (whose, title) = (&self.document.invoice().seller.name, self.title());
        self.sheets.letterhead(self.printer.logo.as_ref(), whose, title, &number);
    }

    fn parties(&mut self) {
        let invoice = self.document.invoice();
        let (top, gap) = (self.sheets.y, 24.0);
        let width = (ACROSS - gap) / 2.0;
        let left = self.party(LEFT, top, width, self.words.seller, &invoice.seller);
        let right = self.party(LEFT + width + gap, top, width, self.words.buyer, &invoice.buyer);
        self.sheets.y = left.max(right) + 8.0;
    }

    /// A party's block; gives where it ends.
    fn party(&mut self, x: f32, top: f32, width: f32, role: &str, party: &Party) -> f32 {
        self.sheets.text(x, top, role, SMALL.bold());
        let name = Face::new(10.5, Ink::Text).bold();
        let mut y = self.sheets.lines(x, top + 16.0, width, &party.name, name);
        let words = self.words;
        let told =
            [(words.tax_id, &party.tax_id), (words.address, &party.address), (words.bank, &party.bank)];
        for (label, value) in told {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                y = self.sheets.lines(x, y, width, &format!("{label}: {value}"), Face::new(8.5, Ink::Text));
            }
        }
        y
    }

    fn facts(&mut self) {
        let invoice = self.document.invoice();
        let words = self.words;
        let issued = self.printer.zone.day_of(self.document.issued_at()).to_string();
        let invoice_type = match invoice.invoice_type {
            InvoiceType::General => words.general,
            InvoiceType::Special => words.special,
        };
        let mut facts = vec![(words.issued, issued), (words.invoice_type, invoice_type.to_owned())];
        if let Some((first, last)) = self.document.period(self.printer.zone) {
            facts.push((words.period, format!("{first} {} {last}", words.to)));
        }
        if invoice.kind == InvoiceKind::Order {
            facts.push((words.order, invoice.reference.clone()));
        }
        facts.push((words.account, invoice.account_id.clone()));
        facts.push((words.currency, invoice.currency.clone()));
        match (self.document, &invoice.returned) {
            (Document::CreditNote(..), _) => {
                let day = self.printer.zone.day_of(invoice.issued_at);
                facts.push((words.takes_back, format!("{} ({day})", invoice.number)));
            }
            (Document::Invoice(_), Some(note)) => facts.push((words.returned_by, note.number.clone())),
            (Document::Invoice(_), None) => {}
        }
        if let Some(number) = invoice.replaces.as_ref().filter(|_| !self.document.is_credit_note()) {
            facts.push((words.replaces, number.clone()));
        }
        self.sheets.facts(&facts);
    }

    fn table(&mut self) {
        let words = self.words;
        let column = |heading, width, set| Column { heading, width, set };
        let columns = [
            column("#", 22.0, Set::Left),
            column(words.item, 159.28, Set::Wrapped),
            column(words.quantity, 62.0, Set::Right),
            column(words.unit_price, 68.0, Set::Right),
            column(words.net, 72.0, Set::Right),
            column(words.vat_rate, 40.0, Set::Right),
            column(words.gross, 72.0, Set::Right),
        ];
        self.sheets.head(LEFT, &columns);
        let invoice = self.document.invoice();
        let mut number = 0;
        let mut cells = |words: [String; 2], quantity: String, price: String, amounts: [String; 3]| {
            number += 1;
            let [net, rate, gross] = amounts;
            ([number.to_string(), words[0].clone(), quantity, price, net, rate, gross], words[1].clone())
        };
        let mut rows = Vec::new();
        for line in &invoice.lines {
            let product = self.printer.names.get(&line.product).unwrap_or(&line.product);
            let said = [line.description.clone(), product.clone()];
            let amounts = [amount(line.net), format!("{} %", percent(line.vat_ppm)), amount(line.gross)];
            rows.push(cells(said, count(line.units), unit_price(line.net, line.units), amounts));
        }
        for allowance in &invoice.allowances {
            let minus = |of: Micros| amount(Micros(-of.0));
            let amounts =
                [minus(allowance.net), format!("{} %", percent(allowance.vat_ppm)), minus(allowance.gross)];
            let said = [words.allowance.to_owned(), String::new()];
            rows.push(cells(said, String::new(), String::new(), amounts));
        }
        for (cells, by_the_way) in rows {
            let more = if by_the_way.is_empty() { 0.0 } else { 11.0 };
            let height = self.sheets.height_of(&columns, &cells, more);
            if self.make_room(height) {
                self.sheets.head(LEFT, &columns);
            }
            self.sheets.row(LEFT, &columns, &cells, height, &by_the_way);
        }
        self.sheets.y += 16.0;
    }

    fn make_room(&mut self, height: f32) -> bool {
        let title = format!("{} {}", self.title(), self.document.number());
        self.sheets.make_room(height, &title)
    }

    /// VAT by rate on the left, totals on the right, on one page.
    fn summary(&mut self) {
        let invoice = self.document.invoice();
        let words = self.words;
        let totals = self.totals();
        let rows = invoice.breakdown.len() as f32;
        let height = (20.0 + rows * 19.0 + 20.0).max(totals.len() as f32 * 19.0 + 12.0);
        self.make_room(height);
        let top = self.sheets.y;
        self.sheets.text(LEFT, top + 8.0, words.vat_summary, SMALL.bold());
        self.sheets.y = top + 14.0;
        let column = |heading, width| Column { heading, width, set: Set::Right };
        let columns = [
            column(words.vat_rate, 42.0),
            column(words.net, 74.0),
            column(words.vat, 70.0),
            column(words.gross, 74.0),
        ];
        self.sheets.head(LEFT, &columns);
        for share in &invoice.breakdown {
            let rate = format!("{} %", percent(share.vat_ppm));
            let cells = [rate, amount(share.net), amount(share.vat), amount(share.gross)];
            self.sheets.row(LEFT, &columns, &cells, 19.0, "");
        }
        let left_ends = self.sheets.y;
        let right_ends = self.sheets.totals(top, &totals);
        self.sheets.y = left_ends.max(right_ends) + 14.0;
    }

    fn totals(&self) -> Vec<(&'static str, String, bool)> {
        let (invoice, words) = (self.document.invoice(), self.words);
        let with_currency = |value: Micros| format!("{} {}", invoice.currency, amount(value));
        let mut totals = vec![
            (words.total_net, amount(invoice.net), false),
            (words.total_vat, amount(invoice.vat), false),
        ];
        match self.document.is_credit_note() {
            true => totals.push((words.credited, with_currency(invoice.total), true)),
            false => {
                totals.push((words.total, with_currency(invoice.total), true));
                totals.push((words.paid, amount(invoice.total), false));
                totals.push((words.payable, amount(Micros::ZERO), false));
            }
        }
        totals
    }

    fn notes(&mut self) {
        let words = self.words;
        let said = if self.document.is_credit_note() { words.note_credit } else { words.note_invoice };
        let fapiao = (self.document.invoice().seller.country == "CN").then_some(words.note_fapiao);
        for note in [said].into_iter().chain(fapiao) {
            self.make_room(14.0);
            self.sheets.y = self.sheets.lines(LEFT, self.sheets.y + 6.0, ACROSS, note, SMALL) - 4.0;
        }
    }
}

/// An amount as people read it: `1,234.50`.
fn amount(amount: Micros) -> String {
    let text = cents(amount);
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "00"));
    format!("{sign}{}.{decimals}", grouped(whole))
}

pub fn count(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", grouped(&number.unsigned_abs().to_string()))
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The net price of a unit to six decimals; nothing where there are no units.
fn unit_price(net: Micros, units: i64) -> String {
    let (net, units) = (i128::from(net.0).abs(), i128::from(units).abs());
    if units == 0 {
        return String::new();
    }
    let rounded = (net + units / 2) / units;
    Micros(i64::try_from(rounded).unwrap_or(i64::MAX)).for_people()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::export::invoice::tests::{money, returned, sample};
    use crate::export::pdf::Language;
    use crate::export::pdf::sheet::{HEIGHT, RIGHT};
    use crate::export::pdf::tests::printer;

    pub fn said(mark: &Mark) -> Option<&str> {
        match mark {
            Mark::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// All texts of the pages.
    pub fn texts(pages: &[Vec<Mark>]) -> Vec<Vec<&str>> {
        pages.iter().map(|page| page.iter().filter_map(said).collect()).collect()
    }

    pub fn assert_on_the_page(pages: &[Vec<Mark>], printer: &Printer) {
        for mark in pages.iter().flatten() {
            if let Mark::Text { x, y, text, face } = mark {
                let right = x + printer.fonts.width(text, face.size);
                assert!(*x >= LEFT - 0.1 && right <= RIGHT + 0.1 && *y < HEIGHT, "{text} is off the page");
            }
        }
    }

    #[test]
    fn long_documents_go_over_pages_with_their_heads_and_numbers() {
        let mut invoice = sample();
        invoice.lines = (0..80).map(|_| invoice.lines[0].clone()).collect();
        let printer = printer();
        let pages = pages(Document::Invoice(&invoice), &printer, Language::English.words());
        let texts = texts(&pages);
        assert!(texts.len() > 2, "{} pages", texts.len());
        for (index, page) in texts.iter().enumerate() {
            let number = format!("Page {} of {}", index + 1, texts.len());
            assert!(page.contains(&number.as_str()), "{page:?}");
        }
        assert_eq!(texts.iter().filter(|page| page.contains(&"Quantity")).count(), texts.len());
        let rows: Vec<&&str> = texts.iter().flatten().filter(|text| **text == "12,000").collect();
        assert_eq!(rows.len(), 80);
        assert_on_the_page(&pages, &printer);
    }

    #[test]
    fn a_credit_note_says_what_it_takes_back() {
        let invoice = returned();
        let note = Document::CreditNote(&invoice, invoice.returned.as_ref().unwrap());
        let printer = printer();
        let pages = pages(note, &printer, Language::Chinese.words());
        let texts = texts(&pages).concat();
        for text in ["红字冲销单", "编号 CN-2026-000007", "INV-2026-000042 (2026-04-01)", "CNY 4,776.44"]
        {
            assert!(texts.contains(&text), "{text} is not among {texts:?}");
        }
        assert!(printer.fonts.take_missing().is_empty());
    }

    #[test]
    fn numbers_are_grouped_and_prices_rounded() {
        assert_eq!(amount(money("-1234567.5")), "-1,234,567.50");
        assert_eq!(count(-1000), "-1,000");
        assert_eq!(unit_price(money("61.32"), 1500), "0.04088");
        assert_eq!(unit_price(money("200"), 3), "66.666667");
        assert_eq!(unit_price(money("2"), 0), "");
    }
}
