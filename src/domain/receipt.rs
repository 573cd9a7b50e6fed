//! A delivery receipt as the store keeps it: what a carrier says became of a message.

use sha2::{Digest, Sha256};

use super::message::MessageKey;
use super::period::Timestamp;

/// One judged receipt. Neither the recipient nor the carrier's free text is kept: both tell who
/// was written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRow {
    /// None where the provider names none: whose message it is then follows from the message.
    pub account_id: Option<String>,
    /// The message's key. Where the receipt names a request and a recipient instead of a message,
    /// the key of a message that was ingested without an id of its own.
    pub key: MessageKey,
    /// The id as the source wrote it, as with messages ([`MessageKey::raw_id`]).
    pub raw_id: Option<String>,
    /// Set where the receipt names no message but these two: a message that was ingested with an
    /// id of its own is found by them.
    pub request: Option<Request>,
    /// None: the receipt is for the whole message (D19).
    pub part: Option<Part>,
    pub status: ReceiptStatus,
    /// The source's word for the status, where it is another than ours.
    pub raw_status: Option<String>,
    pub err_code: Option<String>,
    /// It failed because there is no such address.
    pub invalid_address: bool,
    /// When the carrier reported; None where the source does not say, and then the time of the
    /// receipt's arrival counts (D47).
    pub report_time: Option<Timestamp>,
    /// Segments as the source counted them.
    pub source_units: Option<i64>,
    /// The source's own id of the receipt.
    pub receipt_id: Option<String>,
}

/// A request that sent to several recipients, and one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub biz_id: String,
    /// Keyed hash, as with messages.
    pub recipient_hash: i64,
}

/// One segment of a message: the `number`th of `of`, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub number: i64,
    pub of: i64,
}

/// What a receipt says, in our words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReceiptStatus {
    Delivered,
    Failed,
    /// Not delivered before the message's validity ended.
    Expired,
    /// Refused by the carrier.
    Rejected,
    /// The carrier does not know, and may never.
    Unknown,
    /// On its way.
    Enroute,
    /// Taken by the carrier, not yet delivered.
    Accepted,
    /// The recipient called it spam: it was delivered, and nothing changes.
    Complained,
}

/// How a message ended. Failed, expired and rejected are one answer (D81).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Delivered,
    Failed,
}

impl ReceiptStatus {
    pub const ALL: [ReceiptStatus; 8] = [
        ReceiptStatus::Delivered,
        ReceiptStatus::Failed,
        ReceiptStatus::Expired,
        ReceiptStatus::Rejected,
        ReceiptStatus::Unknown,
        ReceiptStatus::Enroute,
        ReceiptStatus::Accepted,
        ReceiptStatus::Complained,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ReceiptStatus::Delivered => "delivered",
            ReceiptStatus::Failed => "failed",
            ReceiptStatus::Expired => "expired",
            ReceiptStatus::Rejected => "rejected",
            ReceiptStatus::Unknown => "unknown",
            ReceiptStatus::Enroute => "enroute",
            ReceiptStatus::Accepted => "accepted",
            ReceiptStatus::Complained => "complained",
        }
    }

    pub fn parse(word: &str) -> Option<ReceiptStatus> {
        ReceiptStatus::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// How the message ended; None where the receipt changes nothing (D17).
    ///
    /// # Example: an expired message has failed, an accepted one is not over
    /// ```
    /// use quittance::domain::receipt::{Outcome, ReceiptStatus};
    /// assert_eq!(ReceiptStatus::Expired.outcome(), Some(Outcome::Failed));
    /// assert_eq!(ReceiptStatus::Accepted.outcome(), None);
    /// ```
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            ReceiptStatus::Delivered => Some(Outcome::Delivered),
            ReceiptStatus::Failed | ReceiptStatus::Expired | ReceiptStatus::Rejected => Some(Outcome::Failed),
            ReceiptStatus::Unknown
            | ReceiptStatus::Enroute
            | ReceiptStatus::Accepted
            | ReceiptStatus::Complained => None,
        }
    }
}

/// What makes two receipts the same receipt, in 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiptKey {
    pub hi: i64,
    pub lo: i64,
}

impl ReceiptRow {
    /// The source's id of the receipt where it has one, else message, part, status and time
    /// (D15). A source that numbers its receipts afresh in each file must not make receipts of two
    /// messages one, so the message counts in either case.
    pub fn identity(&self) -> ReceiptKey {
        let mut hash = Sha256::new();
        let mut text = |text: Option<&str>| {
            let text = text.unwrap_or("");
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        text(self.account_id.as_deref());
        text(self.receipt_id.as_deref());
        if self.receipt_id.is_none() {
            text(Some(self.status.as_str()));
        }
        let part = self.part.map_or([0; 2], |part| [part.number, part.of]);
        let time = self.report_time.filter(|_| self.receipt_id.is_none());
        for number in [self.key.hi, self.key.lo, part[0], part[1], time.map_or(i64::MIN, |time| time.0)] {
            hash.update(number.to_be_bytes());
        }
        let number = hash.finalize().iter().take(16).fold(0_u128, |number, &b| number << 8 | u128::from(b));
        ReceiptKey { hi: (number >> 64) as i64, lo: number as i64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> ReceiptRow {
        ReceiptRow {
            account_id: Some("a1".to_owned()),
            key: MessageKey::of("m1"),
            raw_id: Some("m1".to_owned()),
            request: None,
            part: None,
            status: ReceiptStatus::Failed,
            raw_status: Some("UNDELIV".to_owned()),
            err_code: Some("001".to_owned()),
            invalid_address: false,
            report_time: Some(Timestamp(0)),
            source_units: Some(1),
            receipt_id: None,
        }
    }

    #[test]
    fn every_status_is_known_by_its_word() {
        for status in ReceiptStatus::ALL {
            assert_eq!(ReceiptStatus::parse(status.as_str()), Some(status));
        }
        for word in ["", "Delivered", "DELIVRD", "read"] {
            assert_eq!(ReceiptStatus::parse(word), None, "{word}");
        }
    }

    #[test]
    fn a_receipt_is_the_same_by_what_it_says_and_not_by_how_it_was_spelled() {
        let first = receipt();
        let respelled =
            ReceiptRow { raw_status: None, err_code: None, source_units: None, raw_id: None, ..receipt() };
        assert_eq!(first.identity(), respelled.identity());
        for other in [
            ReceiptRow { account_id: Some("a2".to_owned()), ..receipt() },
            ReceiptRow { account_id: None, ..receipt() },
            ReceiptRow { key: MessageKey::of("m2"), ..receipt() },
            ReceiptRow { part: Some(Part { number: 1, of: 2 }), ..receipt() },
            ReceiptRow { status: ReceiptStatus::Delivered, ..receipt() },
            ReceiptRow { report_time: Some(Timestamp(1)), ..receipt() },
            ReceiptRow { report_time: None, ..receipt() },
            ReceiptRow { receipt_id: Some("r1".to_owned()), ..receipt() },
        ] {
            assert_ne!(first.identity(), other.identity(), "{other:?}");
        }
    }

    #[test]
    fn the_id_of_a_receipt_stands_for_status_and_time_but_not_for_the_message() {
        let named = |row: ReceiptRow| ReceiptRow { receipt_id: Some("r1".to_owned()), ..row }.identity();
        let later =
            ReceiptRow { status: ReceiptStatus::Delivered, report_time: Some(Timestamp(9)), ..receipt() };
        assert_eq!(named(receipt()), named(later));
        assert_ne!(named(receipt()), named(ReceiptRow { key: MessageKey::of("m2"), ..receipt() }));
    }
}
