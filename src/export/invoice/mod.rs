//! Invoices as files: UBL for programs, CSV for spreadsheets, JSON for scripts, requests for the Chinese
//! tax platform. `export::pdf` prints the same documents.

pub mod csv;
pub mod fapiao;
pub mod json;
pub mod ubl;

use crate::domain::invoice::{CreditNote, Invoice};
use crate::domain::money::Micros;
use crate::domain::period::{Day, Timestamp, Zone};

/// A document: an invoice, or the credit note that takes it back whole.
#[derive(Clone, Copy, Debug)]
pub enum Document<'a> {
    Invoice(&'a Invoice),
    CreditNote(&'a Invoice, &'a CreditNote),
}

impl<'a> Document<'a> {
    /// The invoice that it is, or takes back.
    pub fn invoice(&self) -> &'a Invoice {
        match self {
            Document::Invoice(invoice) | Document::CreditNote(invoice, _) => invoice,
        }
    }

    pub fn number(&self) -> &'a str {
        match self {
            Document::Invoice(invoice) => &invoice.number,
            Document::CreditNote(_, note) => &note.number,
        }
    }

    pub fn issued_at(&self) -> Timestamp {
        match self {
            Document::Invoice(invoice) => invoice.issued_at,
            Document::CreditNote(_, note) => note.at,
        }
    }

    pub fn is_credit_note(&self) -> bool {
        matches!(self, Document::CreditNote(..))
    }

    /// The word in JSON and CSV.
    pub fn word(&self) -> &'static str {
        if self.is_credit_note() { "credit_note" } else { "invoice" }
    }

    /// How its amounts count where documents are summed: credit notes take away.
    fn sign(&self) -> i64 {
        if self.is_credit_note() { -1 } else { 1 }
    }

    /// An amount as it counts where documents are summed.
    fn signed(&self, amount: Micros) -> String {
        cents(Micros(amount.0 * self.sign()))
    }

    /// What its files are called, without their ending. Numbers are the operator's own: what could mean
    /// something to a file system is written as `=` and two hexadecimal digits.
    pub fn stem(&self) -> String {
        let word = if self.is_credit_note() { "credit-note" } else { "invoice" };
        let mut stem = format!("{word}-");
        for byte in self.number().bytes() {
            match byte {
                b'-' | b'_' | b'.' => stem.push(char::from(byte)),
                _ if byte.is_ascii_alphanumeric() => stem.push(char::from(byte)),
                _ => stem.push_str(&format!("={byte:02X}")),
            }
        }
        stem
    }

    /// The first and the last day of what it is about, where it is about a span of time.
    pub fn period(&self, zone: Zone) -> Option<(Day, Day)> {
        let (from, until) = self.invoice().period?;
        Some((zone.day_of(from), zone.day_of(until.plus_micros(-1))))
    }
}

/// An amount of whole hundredths with two decimals.
pub fn cents(amount: Micros) -> String {
    amount.for_people()
}

/// A rate in millionths as a percentage: `6`, `0.5`.
pub fn percent(ppm: i64) -> String {
    Micros(ppm.saturating_mul(100)).to_string()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::domain::invoice::{
        Allowance, Deficit, InvoiceKind, InvoiceLine, InvoiceType, Party, Supply, VatShare, figures,
    };

    pub fn zone() -> Zone {
        Zone::parse("Asia/Shanghai").unwrap()
    }

    pub fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    pub fn money(text: &str) -> Micros {
        Micros::parse(text).unwrap()
    }

    /// An invoice for a month's bill with two rates, a refund of an earlier one, and names that hurt.
    pub fn sample() -> Invoice {
        let supply = |product: &str, units, vat_ppm, amount: &str| Supply {
            product: product.into(),
            units,
            vat_ppm,
            amount: money(amount),
        };
        let supplies = [
            supply("direct-mail", 12_000, 60_000, "24"),
            supply("sms-domestic", 111_000, 60_000, "4940.04"),
            supply("sms-international", 31, 90_000, "12.4"),
        ];
        let deficit = Deficit { amount: money("200"), ..Deficit::default() };
        let reckoned = figures(&supplies, money("4976.44"), &deficit, "技术服务费").unwrap();
        let party = |name: &str, tax_id: &str| Party {
            name: name.into(),
            tax_id: Some(tax_id.into()),
            address: Some("浙江省杭州市西湖区三墩镇 5-7 号, \"A\" & <B>".into()),
            bank: Some("招商银行杭州分行 571 9057 1234".into()),
            country: "CN".into(),
        };
        Invoice {
            invoice_id: "acme-i1".into(),
            number: "INV-2026-000042".into(),
            account_id: "acme".into(),
            kind: InvoiceKind::Bill,
            reference: "2026-03".into(),
            invoice_type: InvoiceType::Special,
            seller: party("阿里云计算(北京)有限公司", "91110108769914581E"),
            buyer: party("=Müller & Söhne <script>有限公司", "91330106673959654P"),
            currency: "CNY".into(),
            issued_at: at("2026-04-01T09:00:00+08:00"),
            period: Some((at("2026-03-01T00:00:00+08:00"), at("2026-04-01T00:00:00+08:00"))),
            lines: reckoned.lines,
            allowances: reckoned.allowances,
            breakdown: reckoned.breakdown,
            net: reckoned.net,
            vat: reckoned.vat,
            total: reckoned.total,
            replaces: None,
            returned: None,
        }
    }

    /// The same, returned.
    pub fn returned() -> Invoice {
        let note = CreditNote { number: "CN-2026-000007".into(), at: at("2026-04-09T10:00:00+08:00") };
        Invoice { returned: Some(note), ..sample() }
    }

    #[test]
    fn files_are_named_so_that_no_number_leads_elsewhere() {
        let stem = |number: &str| Document::Invoice(&Invoice { number: number.into(), ..sample() }).stem();
        assert_eq!(stem("INV-2026.1"), "invoice-INV-2026.1");
        assert_eq!(stem("../../etc/x"), "invoice-..=2F..=2Fetc=2Fx");
        assert_eq!(stem("票 1"), "invoice-=E7=A5=A8=201");
        let invoice = returned();
        let note = invoice.returned.as_ref().unwrap();
        assert_eq!(Document::CreditNote(&invoice, note).stem(), "credit-note-CN-2026-000007");
    }

    #[test]
    fn rates_are_told_in_percent() {
        assert_eq!([60_000, 0, 5_000, 130_000].map(percent), ["6", "0", "0.5", "13"]);
    }

    #[test]
    fn the_sample_has_all_that_a_document_can_have() {
        let invoice = sample();
        let has = |rate: i64| invoice.breakdown.iter().any(|share: &VatShare| share.vat_ppm == rate);
        let lines: Vec<&InvoiceLine> = invoice.lines.iter().collect();
        let allowances: Vec<&Allowance> = invoice.allowances.iter().collect();
        assert!(has(60_000) && has(90_000) && lines.len() == 3 && allowances.len() == 2);
    }
}
