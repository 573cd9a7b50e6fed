//! A bill as its account gets it: who bills, whose bill it is, its lines as `bill show` tells them, and what
//! was paid and due when it was issued. All of it is fixed then, so that it is the same whenever it is drawn.

use super::Printer;
use super::frame::{Column, Row, Set};
use super::layout::count;
use super::sheet::{LEFT, Mark, Sheets};
use super::words::BillWords;
use crate::domain::bill::{Bill, Line, has_several_rates, month_text};
use crate::domain::invoice::Party;
use crate::domain::money::Micros;
use crate::export::invoice::percent;

/// Where the VAT rate of a line stands: after its unit price.
const RATE: usize = 6;

/// An issued bill with what it does not know itself.
#[derive(Clone, Copy, Debug)]
pub struct Issued<'a> {
    pub bill: &'a Bill,
    /// The invoicing entity.
    pub seller: &'a Party,
    /// The account's name.
    pub name: &'a str,
}

/// The pages of a bill.
pub fn pages(issued: Issued<'_>, printer: &Printer, words: &'static BillWords) -> Vec<Vec<Mark>> {
    let mut paper = Paper { sheets: Sheets::new(&printer.fonts), issued, printer, words };
    let number = (words.number, issued.bill.bill_id.as_str());
    paper.sheets.letterhead(printer.logo.as_ref(), &issued.seller.name, words.bill, number);
    paper.facts();
    paper.table();
    paper.totals();
    paper.notes();
    paper.sheets.feet(issued.seller, words.page);
    paper.sheets.pages
}

struct Paper<'a> {
    sheets: Sheets<'a>,
    issued: Issued<'a>,
    printer: &'a Printer,
    words: &'static BillWords,
}

impl Paper<'_> {
    fn facts(&mut self) {
        let (Issued { bill, name, .. }, words) = (self.issued, self.words);
        self.sheets.facts(&[
            (words.account, bill.account_id.clone()),
            (words.name, name.to_owned()),
            (words.month, month_text(bill.month)),
            (words.currency, bill.currency.clone()),
            (words.issued, self.printer.zone.format_short(bill.issued_at)),
        ]);
    }

    fn table(&mut self) {
        let (bill, words) = (self.issued.bill, self.words);
        if bill.lines.is_empty() {
            self.sheets.note(words.nothing);
            self.sheets.y += 10.0;
            return;
        }
        let column = |heading, width, set| Column { heading, width, set };
        let mut columns = vec![
            column(words.kind, 64.0, Set::Wrapped),
            column(words.product, 86.0, Set::Wrapped),
            column(words.template_type, 66.0, Set::Wrapped),
            column(words.country, 44.0, Set::Wrapped),
            column(words.units, 46.0, Set::Right),
            column(words.unit_price, 46.0, Set::Right),
            column(words.amount, 56.0, Set::Right),
            column(words.settled, 36.0, Set::Wrapped),
            column(words.of, 51.28, Set::Wrapped),
        ];
        let with_rates = has_several_rates(&bill.lines);
        if with_rates {
            columns.insert(RATE, column(words.vat_rate, 30.0, Set::Right));
            // What is wrapped makes room.
            [0, 1, 2].into_iter().for_each(|narrower| columns[narrower].width -= 10.0);
        }
        let row = |line| {
            let mut cells = cells(line, words);
            if with_rates {
                cells.insert(RATE, rate(line));
            }
            Row { cells, ..Row::default() }
        };
        self.sheets.table(LEFT, &columns, &bill.lines.iter().map(row).collect::<Vec<_>>());
        self.sheets.y += 16.0;
    }

    fn totals(&mut self) {
        let (bill, words) = (self.issued.bill, self.words);
        let money = |amount: Micros| format!("{} {}", amount.for_people(), bill.currency);
        let due = Micros(bill.total.0 - bill.paid.0);
        let totals =
            [(words.total, bill.total, true), (words.paid, bill.paid, false), (words.due, due, true)];
        let totals = totals.map(|(label, amount, strong)| (label, money(amount), strong));
        self.sheets.make_room(totals.len() as f32 * 19.0 + 15.0);
        self.sheets.y = self.sheets.totals(self.sheets.y, &totals) + 14.0;
    }

    fn notes(&mut self) {
        let (bill, words) = (self.issued.bill, self.words);
        if bill.lines.iter().any(|line| line.settled) {
            self.sheets.note(words.note_settled);
        }
        self.sheets.note(words.note_paid);
        if let Some(note) = &bill.note {
            match (words.note_suspended, bill.suspended()) {
                (Some(words), Some(count)) => self.sheets.note(&format!("{count} {words}")),
                _ => self.sheets.note(&format!("{note}.")),
            }
        }
    }
}

fn cells(line: &Line, words: &BillWords) -> Vec<String> {
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    vec![
        (words.line)(line.kind).to_owned(),
        word(&line.product),
        word(&line.template_type),
        word(&line.country),
        line.units.map(count).unwrap_or_default(),
        line.unit_price.map(|price| price.to_string()).unwrap_or_default(),
        line.amount.for_people(),
        if line.settled { words.yes.to_owned() } else { String::new() },
        word(&line.reference),
    ]
}

fn rate(line: &Line) -> String {
    line.vat_ppm.map_or(String::new(), |ppm| format!("{} %", percent(ppm)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bill::LineKind;
    use crate::domain::period::{Month, Timestamp};
    use crate::export::invoice::tests::{money, sample};
    use crate::export::pdf::Language;
    use crate::export::pdf::layout::tests::{assert_on_the_page, long_names, texts};
    use crate::export::pdf::tests::printer;

    fn line(kind: LineKind) -> Line {
        Line {
            kind,
            product: Some("sms-international".to_owned()),
            template_type: Some("notification".to_owned()),
            country: Some("DE".to_owned()),
            units: Some(1_234_567),
            unit_price: Some(money("0.0405")),
            amount: money("49999.9635"),
            net: money("47169.78"),
            vat_ppm: Some(60_000),
            settled: kind == LineKind::Order,
            reference: Some("a-very-long-account.of@a:customer+1-o12345".to_owned()),
        }
    }

    fn bill(lines: Vec<Line>) -> Bill {
        let month: Month = "2026-03".parse().unwrap();
        Bill {
            bill_id: "CNY-202603-000001".to_owned(),
            account_id: "acme".to_owned(),
            month: month.number(),
            currency: "CNY".to_owned(),
            lines,
            total: money("12.34"),
            paid: money("2.34"),
            accrued: money("12.34"),
            issued_at: Timestamp::parse_rfc3339("2026-04-01T00:30:00+08:00").unwrap(),
            note: Some("1 message of this time waits in suspense and is not on this bill".to_owned()),
        }
    }

    #[test]
    fn the_same_bill_gives_the_same_bytes() {
        let (bill, seller) = (bill(vec![line(LineKind::Payg)]), sample().seller);
        let issued = Issued { bill: &bill, seller: &seller, name: "Acme 短信" };
        let first = printer().print_bill(issued, Language::Chinese).unwrap();
        assert!(first.pdf.starts_with(b"%PDF-1.7") && first.missing.is_empty(), "{:?}", first.missing);
        let printer = printer();
        assert_ne!(printer.print_bill(issued, Language::English).unwrap(), first);
        assert_eq!(printer.print_bill(issued, Language::Chinese).unwrap(), first);
    }

    #[test]
    fn a_bill_of_many_lines_goes_over_pages_each_with_head_and_number() {
        let kinds = [LineKind::Payg, LineKind::Order, LineKind::Adjustment, LineKind::RoundDown];
        let bill = bill(kinds.into_iter().cycle().take(100).map(line).collect());
        let (seller, printer) = (sample().seller, printer());
        let issued = Issued { bill: &bill, seller: &seller, name: "Acme" };
        for (language, head) in [(Language::English, "Unit price"), (Language::Chinese, "单价")] {
            let words = language.bill_words();
            let pages = pages(issued, &printer, words);
            assert_on_the_page(&pages, &printer);
            let texts = texts(&pages);
            assert!(texts.len() > 3, "{} pages", texts.len());
            for (index, page) in texts.iter().enumerate() {
                assert!(page.contains(&(words.page)(index + 1, texts.len()).as_str()), "{page:?}");
            }
            assert_eq!(texts.iter().filter(|page| page.contains(&head)).count(), texts.len());
            let all = texts.concat();
            for (text, times) in [("1,234,567", 100), ("0.0405", 100), ("49999.9635", 100), (words.yes, 25)] {
                assert_eq!(all.iter().filter(|said| **said == text).count(), times, "{text}");
            }
            for text in ["12.34 CNY", "2.34 CNY", "10.00 CNY", "2026-03", "2026-04-01 00:30", "Acme"] {
                assert!(all.contains(&text), "{text} is not among {all:?}");
            }
        }
        assert!(printer.fonts.take_missing().is_empty());
    }

    /// Two of them may differ by nothing else.
    #[test]
    fn lines_tell_their_vat_rates_where_there_are_several() {
        let old = line(LineKind::Payg);
        let new = Line { vat_ppm: Some(90_000), ..old.clone() };
        let (seller, printer) = (sample().seller, printer());
        let told = |lines: &[&Line]| {
            let bill = bill(lines.iter().copied().cloned().collect());
            let issued = Issued { bill: &bill, seller: &seller, name: "Acme" };
            let pages = pages(issued, &printer, Language::English.bill_words());
            assert_on_the_page(&pages, &printer);
            let all = texts(&pages).concat();
            ["VAT", "6 %", "9 %"].map(|text| all.iter().filter(|said| **said == text).count())
        };
        let order = Line { vat_ppm: None, ..line(LineKind::Order) };
        assert_eq!(told(&[&old, &new, &old, &order]), [1, 2, 1]);
        assert_eq!(told(&[&old, &old, &order]), [0, 0, 0]);
    }

    #[test]
    fn the_longest_names_stay_on_the_page() {
        for name in long_names() {
            let long = |line: &Line| Line {
                product: Some("sms.".repeat(16)),
                template_type: Some("verification".repeat(5)),
                country: Some("HONGKONG".to_owned()),
                units: Some(i64::MAX),
                amount: Micros(i64::MIN + 1),
                reference: Some("x".repeat(80)),
                ..line.clone()
            };
            let mut bill = bill(vec![long(&line(LineKind::Adjustment)); 40]);
            (bill.total, bill.paid, bill.note) = (Micros(i64::MAX), Micros::ZERO, Some(name.clone()));
            let seller = Party { name: name.clone(), ..sample().seller };
            let (name, printer) = (&name[..name.len().min(600)], printer());
            for language in [Language::English, Language::Chinese] {
                let issued = Issued { bill: &bill, seller: &seller, name };
                assert_on_the_page(&pages(issued, &printer, language.bill_words()), &printer);
            }
        }
    }

    #[test]
    fn a_bill_of_nothing_says_so() {
        let (bill, seller, printer) = (bill(Vec::new()), sample().seller, printer());
        let issued = Issued { bill: &bill, seller: &seller, name: "Acme" };
        let pages = pages(issued, &printer, Language::English.bill_words());
        let all = texts(&pages).concat();
        assert!(
            all.contains(&"Nothing was used or bought in this month.") && !all.contains(&"Kind"),
            "{all:?}"
        );
    }
}
