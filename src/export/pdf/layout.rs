//! Where everything of a document stands: letterhead, parties, facts, the table of its lines over as many
//! pages as it takes, VAT by rate, totals, notes, and a foot on each page.

use super::Printer;
use super::frame::{ACROSS, Column, Row, Set};
use super::sheet::{Face, Ink, LEFT, Mark, SMALL, Sheets, Stack};
use super::words::Words;
use crate::domain::invoice::{InvoiceKind, InvoiceType, Party, VatShare};
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
        let number = (self.words.number, self.document.number());
        let (whose, title) = (&self.document.invoice().seller.name, self.title());
        self.sheets.letterhead(self.printer.logo.as_ref(), whose, title, number);
    }

    fn parties(&mut self) {
        let invoice = self.document.invoice();
        let gap = 24.0;
        let width = (ACROSS - gap) / 2.0;
        let seller = self.party(LEFT, width, self.words.seller, &invoice.seller);
        let buyer = self.party(LEFT + width + gap, width, self.words.buyer, &invoice.buyer);
        self.sheets.side_by_side(vec![seller, buyer]);
        self.sheets.y += 12.0;
    }

    fn party(&self, x: f32, width: f32, role: &str, party: &Party) -> Stack {
        let stack = |text: &str, face: Face| self.sheets.stack(x, width, text, face);
        let name = stack(&party.name, Face::new(10.5, Ink::Text).bold());
        let mut said = stack(role, SMALL.bold()).above(5.0, name);
        let words = self.words;
        let told =
            [(words.tax_id, &party.tax_id), (words.address, &party.address), (words.bank, &party.bank)];
        for (label, value) in told {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                said = said.above(0.0, stack(&format!("{label}: {value}"), Face::new(8.5, Ink::Text)));
            }
        }
        said
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
            column("#", 26.0, Set::Wrapped),
            column(words.item, 155.28, Set::Wrapped),
            column(words.quantity, 62.0, Set::Right),
            column(words.unit_price, 68.0, Set::Right),
            column(words.net, 72.0, Set::Right),
            column(words.vat_rate, 40.0, Set::Right),
            column(words.gross, 72.0, Set::Right),
        ];
        let rows = self.rows();
        self.sheets.table(LEFT, &columns, &rows);
        self.sheets.y += 16.0;
    }

    /// What was supplied, and what refunds took back of it.
    fn rows(&self) -> Vec<Row> {
        let (invoice, words) = (self.document.invoice(), self.words);
        let rate = |vat_ppm| format!("{} %", percent(vat_ppm));
        let mut rows = Vec::new();
        for line in &invoice.lines {
            let product = self.printer.names.get(&line.product).unwrap_or(&line.product);
            let counted = [count(line.units), unit_price(line.net, line.units)];
            let amounts = [amount(line.net), rate(line.vat_ppm), amount(line.gross)];
            rows.push((line.description.clone(), product.clone(), counted, amounts));
        }
        for allowance in &invoice.allowances {
            let minus = |of: Micros| amount(Micros(-of.0));
            let amounts = [minus(allowance.net), rate(allowance.vat_ppm), minus(allowance.gross)];
            rows.push((words.allowance.to_owned(), String::new(), Default::default(), amounts));
        }
        let row = |(number, (item, by_the_way, counted, amounts)): (usize, (_, _, [_; 2], [_; 3]))| {
            let cells = [number.to_string(), item].into_iter().chain(counted).chain(amounts).collect();
            Row { cells, by_the_way, about: 1 }
        };
        (1..).zip(rows).map(row).collect()
    }

    /// VAT by rate on the left, totals on the right, on one page.
    fn summary(&mut self) {
        let invoice = self.document.invoice();
        let words = self.words;
        let totals = self.totals();
        let height = 14.0 + Sheets::plain_height(invoice.breakdown.len());
        self.sheets.make_room(height.max(totals.len() as f32 * 19.0 + 12.0));
        let (top, page) = (self.sheets.y, self.sheets.pages.len());
        let totals_end = self.sheets.totals(top, &totals);
        self.sheets.text(LEFT, top + 8.0, words.vat_summary, SMALL.bold());
        self.sheets.y = top + 14.0;
        let column = |heading, width| Column { heading, width, set: Set::Right };
        let columns = [
            column(words.vat_rate, 42.0),
            column(words.net, 74.0),
            column(words.vat, 70.0),
            column(words.gross, 74.0),
        ];
        let row = |share: &VatShare| {
            let rate = format!("{} %", percent(share.vat_ppm));
            let cells = vec![rate, amount(share.net), amount(share.vat), amount(share.gross)];
            Row { cells, ..Row::default() }
        };
        self.sheets.table(LEFT, &columns, &invoice.breakdown.iter().map(row).collect::<Vec<_>>());
        if self.sheets.pages.len() == page {
            self.sheets.y = self.sheets.y.max(totals_end);
        }
        self.sheets.y += 14.0;
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
            self.sheets.note(note);
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
    use crate::export::pdf::sheet::{BOTTOM, HEIGHT, MARGIN, RIGHT};
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

    /// No text leaves the margins, stands below the foot, or covers another.
    pub fn assert_on_the_page(pages: &[Vec<Mark>], printer: &Printer) {
        for page in pages {
            let mut boxes: Vec<(f32, f32, f32, f32, &str)> = Vec::new();
            for mark in page {
                let Mark::Text { x, y, text, face } = mark else { continue };
                let right = x + printer.fonts.width(text, face.size);
                let is_foot = *y == HEIGHT - 38.0;
                assert!(*x >= LEFT - 0.1 && right <= RIGHT + 0.1, "{text} is off the page");
                assert!(is_foot || (MARGIN..=BOTTOM).contains(y), "{text} is above or below the page");
                let (top, bottom) = (y - face.size * 0.7, y + face.size * 0.15);
                for (left, end, high, low, other) in &boxes {
                    let apart = right <= *left || end <= x || bottom <= *high || *low <= top;
                    assert!(apart, "{text} covers {other}");
                }
                boxes.push((*x, right, top, bottom, text));
            }
        }
    }

    /// Names as long as they may be: without a space, in wide letters, and in many scripts.
    pub fn long_names() -> [String; 4] {
        let mixed = "深圳市Łódź Škoda Ελλάδα Москва Việt Nam カタカナ（北京）株式会社，".repeat(5);
        [
            "W".repeat(1_000),
            "深圳".repeat(160),
            mixed,
            "A product's name of many words that goes on ".repeat(22),
        ]
    }

    #[test]
    fn long_documents_go_over_pages_with_their_heads_and_numbers() {
        let mut invoice = sample();
        invoice.lines = (0..200).map(|_| invoice.lines[0].clone()).collect();
        let printer = printer();
        let pages = pages(Document::Invoice(&invoice), &printer, Language::English.words());
        let texts = texts(&pages);
        assert!(texts.len() > 2, "{} pages", texts.len());
        for (index, page) in texts.iter().enumerate() {
            let number = format!("Page {} of {}", index + 1, texts.len());
            assert!(page.contains(&number.as_str()), "{page:?}");
        }
        let rows = |page: &Vec<&str>| page.iter().filter(|text| **text == "12,000").count();
        assert!(texts.iter().all(|page| rows(page) == 0 || page.contains(&"Quantity")), "{texts:?}");
        assert_eq!(texts.iter().map(rows).sum::<usize>(), 200);
        assert_on_the_page(&pages, &printer);
    }

    #[test]
    fn the_longest_names_are_told_whole_and_stay_apart() {
        for name in long_names() {
            let mut invoice = returned();
            for party in [&mut invoice.seller, &mut invoice.buyer] {
                party.name = name.clone();
                (party.address, party.bank) = (Some(name.clone()), Some(name.clone()));
            }
            invoice.account_id = "x".repeat(64);
            invoice.lines = (0..30).map(|line| invoice.lines[line % 3].clone()).collect();
            for line in &mut invoice.lines {
                (line.gross, line.net, line.units) = (Micros(i64::MAX), Micros(i64::MAX / 100), i64::MAX);
            }
            // A line that is higher than a page.
            invoice.lines[1].description = name.clone();
            let long = invoice.lines.iter().map(|line| (line.product.clone(), name.clone()));
            let printer = Printer { names: long.collect(), ..printer() };
            let note = invoice.returned.as_ref().unwrap();
            for document in [Document::Invoice(&invoice), Document::CreditNote(&invoice, note)] {
                for language in [Language::English, Language::Chinese] {
                    let pages = pages(document, &printer, language.words());
                    assert_on_the_page(&pages, &printer);
                    let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
                    let told = letters(&texts(&pages).concat().concat());
                    let last = letters(&name).chars().rev().take(5).collect::<Vec<_>>();
                    let last: String = last.into_iter().rev().collect();
                    assert!(told.matches(&last).count() > 30, "{last} is not in {told}");
                }
            }
            assert!(printer.fonts.take_missing().is_empty());
        }
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
