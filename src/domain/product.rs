//! Products: what is sold and the rules that differ between them, as data (R66-R69, R134-R138).

use std::sync::Arc;

use super::allowance::Allowance;
use super::period::{Timestamp, Validity};
use super::quota::QuotaRules;

/// How message text becomes billable units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthRule {
    /// Every character 1; up to 70 one message, else 67 each (R109, R110).
    Domestic,
    /// GSM-7 where every character is in it (160/153), else UCS-2 (70/67) (R112-R118).
    International,
    /// One unit a message whatever its text, as e-mail.
    One,
    /// As many as the source counts, as minutes of a call.
    Given,
}

/// How a character outside the Basic Multilingual Plane counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Astral {
    /// Two: its UTF-16 code units. The default.
    Utf16,
    /// One: a Unicode scalar value.
    Scalar,
}

/// How long after submission a failure receipt gives back what was charged, in microseconds: 72
/// hours by carrier time (R101, D14), and as much longer as a receipt may be on its way (D47).
pub const REFUND_WINDOW: i64 = 72 * Timestamp::HOUR;
pub const RECEIPT_GRACE: i64 = 24 * Timestamp::HOUR;

/// When a charge is made final (R86, R87).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeOn {
    /// Charged first, given back on a failure receipt within 72 hours.
    Receipt,
    /// Charged on submission, never given back.
    Submission,
}

impl ChargeOn {
    pub const ALL: [ChargeOn; 2] = [ChargeOn::Receipt, ChargeOn::Submission];

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            ChargeOn::Receipt => "receipt",
            ChargeOn::Submission => "submission",
        }
    }
}

/// What the pay-as-you-go price of a product is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PricedBy {
    /// Tiers by monthly volume and template type (R46, R135).
    TemplateType,
    /// A price per country, not tiered (R126, R138).
    Country,
    /// One list for all messages.
    Nothing,
}

/// Where the units of a failed message go back to (D9, D10, D52).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnOrder {
    /// To the plan in use, then to those before it, whoever had paid; the rest as money (R90-R93).
    #[default]
    Literal,
    /// To the plan that had paid, as money where it has expired; as money where money had paid.
    SameSource,
}

impl ReturnOrder {
    pub const ALL: [ReturnOrder; 2] = [ReturnOrder::Literal, ReturnOrder::SameSource];

    pub fn as_str(self) -> &'static str {
        match self {
            ReturnOrder::Literal => "literal",
            ReturnOrder::SameSource => "same_source",
        }
    }
}

/// Domestic or international, from the sender's home country (R138).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Region {
    Domestic,
    International,
}

/// A VAT rate in millionths (6 % is 60,000), valid from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VatRate {
    pub from: Timestamp,
    pub ppm: i64,
}

/// One product of the catalogue.
#[derive(Clone, Debug)]
pub struct Product {
    pub id: Arc<str>,
    pub name: String,
    /// The `channel` of messages that belong to this product: `sms`, `email`, ...
    pub channel: String,
    /// Restricts the product to one region of its channel.
    pub region: Option<Region>,
    pub length: LengthRule,
    pub astral: Astral,
    pub charge_on: ChargeOn,
    /// Of products that are charged on receipt.
    pub return_order: ReturnOrder,
    pub priced_by: PricedBy,
    /// The commodity of its units in the books: `SMSD`, `SMSI`, `MAIL`.
    pub commodity: Arc<str>,
    /// Its branch of the income accounts: `SMS:Domestic` gives `Income:SMS:Domestic:Plan`.
    pub income: Arc<str>,
    /// Validity of its plans where a package names none (D21).
    pub validity: Validity,
    /// Ascending by `from`; the first is valid from the beginning of time.
    pub vat: Vec<VatRate>,
    /// Whether plan-covered units advance the price tiers (D3; off).
    pub tier_counts_plan: bool,
    /// Whether individual accounts may send promotional messages (R70, D68).
    pub individual_promotional: bool,
    /// Whether buying and activating need a verified account (R2, D85).
    pub needs_verification: bool,
    /// Whether use needs the product to be activated once (R9, R14, D33, D85).
    pub needs_activation: bool,
    /// Whether its plans may be renewed automatically (R35, R40, R142).
    pub renewal: bool,
    /// The region for which a verified account must be verified to buy and activate it; None: any (R3).
    pub verified_region: Option<String>,
    /// Units that cost nothing (R30). Of products that are charged on submission only: a free unit
    /// that failed would have to go back to its day.
    pub free: Option<Allowance>,
    /// How many messages an account may send a day (R16-R21); None: as many as it likes.
    pub quota: Option<QuotaRules>,
}

impl Product {
    /// Whether a charge for a message sent then can't change any more (D88).
    pub fn is_final(&self, submit_time: Timestamp, now: Timestamp) -> bool {
        match self.charge_on {
            ChargeOn::Submission => true,
            ChargeOn::Receipt => now > submit_time.plus_micros(REFUND_WINDOW + RECEIPT_GRACE),
        }
    }

    /// The region for which an account must be verified first, where it is not (R3).
    pub fn lacks_region(&self, verified: Option<&str>) -> Option<&str> {
        self.verified_region.as_deref().filter(|region| verified != Some(*region))
    }

    /// What the price of a message is looked up by, of its template type and its country.
    pub fn price_class<'a>(&self, template_type: &'a str, country: &'a str) -> &'a str {
        match self.priced_by {
            PricedBy::TemplateType => template_type,
            PricedBy::Country => country,
            PricedBy::Nothing => "",
        }
    }

    /// The VAT rate at a moment, in millionths.
    pub fn vat_at(&self, at: Timestamp) -> i64 {
        self.vat.iter().rev().find(|rate| rate.from <= at).or(self.vat.first()).map_or(0, |rate| rate.ppm)
    }
}

/// All products, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub products: Vec<Product>,
}

impl Catalog {
    pub fn get(&self, id: &str) -> Option<&Product> {
        self.products.iter().find(|p| &*p.id == id)
    }

    /// The product of a message: its channel's, for its region where the channel knows regions.
    pub fn of_message(&self, channel: &str, region: Region) -> Option<&Product> {
        self.products.iter().find(|p| p.channel == channel && p.region.is_none_or(|r| r == region))
    }
}
