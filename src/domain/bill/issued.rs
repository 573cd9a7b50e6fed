//! A bill as it was issued, which never changes: what it says, and the hash that proves it.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::Line;
use crate::domain::money::Micros;
use crate::domain::period::Timestamp;

/// An issued bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Its number: `CNY-202603-000001`, gapless in its currency and month.
    pub bill_id: String,
    pub account_id: String,
    /// 202603.
    pub month: i64,
    pub currency: String,
    pub lines: Vec<Line>,
    pub total: Micros,
    /// What the balance paid when it was issued.
    pub paid: Micros,
    pub accrued: Micros,
    pub issued_at: Timestamp,
    /// What waits in suspense, as [`suspense_note`] says it.
    pub note: Option<String>,
}

/// What a bill says of so many messages of its time that wait in suspense (D65).
pub fn suspense_note(messages: i64) -> Option<String> {
    match messages {
        0 => None,
        1 => Some("1 message of this time waits in suspense and is not on this bill".to_owned()),
        many => Some(format!("{many} messages of this time wait in suspense and are not on this bill")),
    }
}

impl Bill {
    /// How many messages of its time waited in suspense when it was issued; None where its note doesn't tell.
    pub fn suspended(&self) -> Option<i64> {
        let Some(note) = &self.note else { return Some(0) };
        note.split(' ').next()?.parse().ok()
    }

    /// SHA-256 over all that it says, in hexadecimal: a bill that was changed has another.
    pub fn hash(&self) -> String {
        // Each text goes with its length: no text can pass for two.
        let text = |text: &Option<String>| match text {
            Some(text) => format!("{}:{text}", text.len()),
            None => "-".to_owned(),
        };
        let number = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
        let head = [&self.bill_id, &self.account_id, &self.currency].map(|word| text(&Some(word.clone())));
        let mut content = head.join("\t");
        let numbers = [self.month, self.total.0, self.paid.0, self.accrued.0, self.issued_at.0];
        let numbers = numbers.map(|number| number.to_string()).join("\t");
        let _ = writeln!(content, "\t{numbers}\t{}", text(&self.note));
        for line in &self.lines {
            let words = [&line.product, &line.template_type, &line.country, &line.reference].map(text);
            let price = number(line.unit_price.map(|price| price.0));
            let numbers = [number(line.units), price, number(line.vat_ppm)].join("\t");
            let (kind, settled) = (line.kind.as_str(), i64::from(line.settled));
            let (amount, net) = (line.amount.0, line.net.0);
            let _ = writeln!(content, "{kind}\t{}\t{numbers}\t{amount}\t{net}\t{settled}", words.join("\t"));
        }
        Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
