//! Invoices: what was paid for a bill or an order, with its VAT, as a document that an accountant takes
//! (R59-R61, R78-R85, R122, D28, D29, D84).
//!
//! Prices include VAT. VAT is computed once for each rate of the document, net = round(gross / (1 + rate))
//! to a hundredth, and not line by line, so that a document is never a cent off itself. What refunds took
//! back is an allowance of the invoice of its bill or order, or, where that was issued before, of the next one.

mod deficit;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

pub use self::deficit::{Deficit, Refunded};
use super::money::{Micros, MoneyFault};
use super::period::Timestamp;

macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $($(#[$of:meta])* $variant:ident = $word:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $type { $($(#[$of])* $variant),+ }

        impl $type {
            /// The word in JSON and tables.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $word),+ }
            }

            pub fn parse(word: &str) -> Option<$type> {
                match word { $($word => Some($type::$variant),)+ _ => None }
            }
        }
    };
}

words!(
    /// What an invoice is about: one monthly bill, whole, or one order (R81, R82).
    InvoiceKind, Bill = "bill", Order = "order"
);
words!(
    /// General or special VAT invoice, both electronic (R78). Only a special one lets its buyer deduct VAT.
    InvoiceType, General = "general", Special = "special"
);

/// A side of an invoice. The seller is the invoicing entity, which need not be the payee (R83).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    pub name: String,
    pub tax_id: Option<String>,
    pub address: Option<String>,
    /// Bank and account number as they are printed.
    pub bank: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: String,
}

/// Characters that show nothing, or only change how others are shown.
const UNSEEN: &[RangeInclusive<char>] = &[
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Whether a party's name or the like can stand on an invoice: one line of 1 to 200 characters, something of
/// which is seen, and read in the order in which it is written.
pub fn is_printable(text: &str) -> bool {
    let seen = |c: char| !c.is_whitespace() && !UNSEEN.iter().any(|unseen| unseen.contains(&c));
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.chars().count() <= 200 && text.chars().any(seen) && !text.chars().any(|c| turns(c) || breaks(c))
}

/// A line of an invoice: what was supplied of one product under one VAT rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceLine {
    /// What is printed, such as `Technical service fee`.
    pub description: String,
    pub product: String,
    pub units: i64,
    /// VAT rate in millionths: 6 % is 60,000.
    pub vat_ppm: i64,
    /// With VAT, in whole hundredths; so is `net`, without it.
    pub gross: Micros,
    pub net: Micros,
}

/// What lowers the document: refunds of what it is about, or of what was invoiced before (R59).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub vat_ppm: i64,
    /// Positive, in whole hundredths.
    pub gross: Micros,
    pub net: Micros,
}

/// The document under one VAT rate: `net + vat = gross`, and net is that of the lines less the allowances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VatShare {
    pub vat_ppm: i64,
    pub net: Micros,
    pub vat: Micros,
    pub gross: Micros,
}

/// The red-letter document by which an invoice was taken back whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditNote {
    /// Its own number, of its own series.
    pub number: String,
    pub at: Timestamp,
}

/// The id of an account's so many-eth invoice.
pub fn invoice_id(account_id: &str, invoice_no: i64) -> String {
    format!("{account_id}-i{invoice_no}")
}

/// An issued invoice: all that an export needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// Unique among all invoices: `acme-i1`.
    pub invoice_id: String,
    /// Gapless in its series.
    pub number: String,
    pub account_id: String,
    pub kind: InvoiceKind,
    /// The bill's month (`2026-03`) or the order.
    pub reference: String,
    pub invoice_type: InvoiceType,
    pub seller: Party,
    pub buyer: Party,
    pub currency: String,
    pub issued_at: Timestamp,
    /// When it was supplied, from and until (exclusive): the bill's month. None for an order, which is
    /// supplied when it is paid.
    pub period: Option<(Timestamp, Timestamp)>,
    pub lines: Vec<InvoiceLine>,
    pub allowances: Vec<Allowance>,
    /// By rate, ascending.
    pub breakdown: Vec<VatShare>,
    pub net: Micros,
    pub vat: Micros,
    /// `net + vat`; paid already, so that nothing of it is payable.
    pub total: Micros,
    /// The number of the returned invoice for the same bill or order that this one replaces.
    pub replaces: Option<String>,
    /// Set where it was returned.
    pub returned: Option<CreditNote>,
}

impl Invoice {
    pub fn status(&self) -> &'static str {
        if self.returned.is_some() { "returned" } else { "issued" }
    }
}

/// What was supplied of one product under one VAT rate, exact, with VAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supply {
    pub product: String,
    pub units: i64,
    pub vat_ppm: i64,
    pub amount: Micros,
}

/// The figures of an invoice to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    pub lines: Vec<InvoiceLine>,
    pub allowances: Vec<Allowance>,
    pub breakdown: Vec<VatShare>,
    pub net: Micros,
    pub vat: Micros,
    pub total: Micros,
}

/// Why there is no invoice, in order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvoiceRefusal {
    #[error("all of it was given back, nothing is left to invoice")]
    GivenBack,
    #[error("nothing was paid for it that could be invoiced")]
    Nothing,
    #[error(
        "refunds of {deficit} that no invoice was lowered by yet leave nothing of its {amount} to invoice: return \
         an earlier invoice, or invoice something larger first"
    )]
    Deficit { amount: Micros, deficit: Micros },
    #[error(transparent)]
    Money(#[from] MoneyFault),
}

impl InvoiceRefusal {
    /// The name that scripts read.
    pub fn code(&self) -> &'static str {
        match self {
            InvoiceRefusal::GivenBack | InvoiceRefusal::Nothing => "nothing_to_invoice",
            InvoiceRefusal::Deficit { .. } => "invoice_deficit",
            InvoiceRefusal::Money(_) => "amount_out_of_range",
        }
    }
}

/// A hundredth of the currency unit in micro-units: what invoices are counted in (D13).
pub const CENT: i64 = 10_000;

/// Reckons an invoice over `amount`, what was paid for the supplies, less a deficit.
///
/// # Example: paid and invoiced 1,200, refunded 200; the next 500 are invoiced as 300
/// ```
/// use quittance::domain::invoice::{Deficit, Supply, figures};
/// use quittance::domain::money::Micros;
/// let money = |text: &str| Micros::parse(text).unwrap();
/// let supply = Supply { product: "sms-domestic".into(), units: 9, vat_ppm: 60_000, amount: money("500") };
/// let rates = [(60_000, money("200"))].into();
/// let deficit = Deficit { amount: money("200"), rates, ..Deficit::default() };
/// let invoice = figures(&[supply], money("500"), &deficit, "Technical service fee").unwrap();
/// assert_eq!((invoice.total, invoice.net, invoice.vat), (money("300"), money("283.02"), money("16.98")));
/// ```
pub fn figures(
    supplies: &[Supply],
    amount: Micros,
    deficit: &Deficit,
    content: &str,
) -> Result<Figures, InvoiceRefusal> {
    if deficit.own > Micros::ZERO && amount.minus(deficit.own)?.0 < CENT {
        return Err(InvoiceRefusal::GivenBack);
    }
    let amount = Micros(amount.0.div_euclid(CENT) * CENT);
    if amount <= Micros::ZERO {
        return Err(InvoiceRefusal::Nothing);
    }
    // A fraction of a cent that was refunded lowers the document by a whole one.
    let owed =
        Micros(deficit.amount.0.max(0).checked_add(CENT - 1).ok_or(MoneyFault::Overflow)? / CENT * CENT);
    if owed >= amount {
        return Err(InvoiceRefusal::Deficit { amount, deficit: deficit.amount });
    }
    let mut sums: BTreeMap<(i64, &str), (i64, Micros)> = BTreeMap::new();
    for supply in supplies {
        let sum = sums.entry((supply.vat_ppm, &supply.product)).or_default();
        sum.0 = sum.0.checked_add(supply.units).ok_or(MoneyFault::Overflow)?;
        sum.1 = sum.1.plus(supply.amount)?;
    }
    sums.retain(|_, (_, amount)| *amount != Micros::ZERO);
    let exact: Vec<i64> = sums.values().map(|(_, amount)| amount.0).collect();
    let lines = sums.iter().zip(to_cents(&exact, amount)).map(|((key, (units, _)), gross)| InvoiceLine {
        description: content.to_owned(),
        product: key.1.to_owned(),
        units: *units,
        vat_ppm: key.0,
        gross,
        net: net_cents(gross, key.0),
    });
    let mut lines: Vec<InvoiceLine> = lines.collect();
    let mut rates: BTreeMap<i64, Micros> = BTreeMap::new();
    for line in &lines {
        let gross = rates.entry(line.vat_ppm).or_default();
        *gross = gross.plus(line.gross)?;
    }
    let shares = owed_by_rate(&mut rates, owed, &deficit.rates);
    let mut allowances = Vec::new();
    let mut breakdown = Vec::new();
    for ((vat_ppm, gross), share) in rates.into_iter().zip(shares) {
        if share == Micros::ZERO && !lines.iter().any(|line| line.vat_ppm == vat_ppm) {
            // Less than a hundredth came back under it: the invoice knows nothing of that rate.
            continue;
        }
        let allowance = Allowance { vat_ppm, gross: share, net: net_cents(share, vat_ppm) };
        let gross = gross.minus(share)?;
        let net = net_cents(gross, vat_ppm);
        // What rounding line by line would leave goes to the largest line.
        let of_rate = lines.iter().filter(|line| line.vat_ppm == vat_ppm).map(|line| line.net.0).sum::<i64>();
        let off = net.0 - (of_rate - allowance.net.0);
        let largest = lines.iter_mut().filter(|line| line.vat_ppm == vat_ppm).max_by_key(|line| line.gross);
        if let Some(line) = largest {
            line.net = Micros(line.net.0 + off);
        }
        breakdown.push(VatShare { vat_ppm, net, vat: gross.minus(net)?, gross });
        allowances.extend((share != Micros::ZERO).then_some(allowance));
    }
    let sum = |of: fn(&VatShare) -> Micros| Micros(breakdown.iter().map(|share| of(share).0).sum());
    let (net, vat, total) = (sum(|share| share.net), sum(|share| share.vat), sum(|share| share.gross));
    Ok(Figures { lines, allowances, breakdown, net, vat, total })
}

/// Net of VAT in whole hundredths, halves away from zero.
fn net_cents(gross: Micros, vat_ppm: i64) -> Micros {
    let product = i128::from(gross.0) * 1_000_000;
    let unit = i128::from(1_000_000 + vat_ppm) * i128::from(CENT);
    let rounded = (product.abs() + unit / 2) / unit * product.signum();
    Micros(rounded as i64 * CENT)
}

/// Exact amounts as whole hundredths that sum to `total`: each is cut off, and the largest rests get what
/// is left over.
fn to_cents(exact: &[i64], total: Micros) -> Vec<Micros> {
    let mut cents: Vec<i64> = exact.iter().map(|amount| amount.div_euclid(CENT)).collect();
    let mut by_rest: Vec<usize> = (0..exact.len()).collect();
    by_rest.sort_by_key(|index| (std::cmp::Reverse(exact[*index].rem_euclid(CENT)), *index));
    let mut left = total.0 / CENT - cents.iter().sum::<i64>();
    let step = left.signum();
    for index in by_rest.iter().cycle() {
        if left == 0 {
            break;
        }
        cents[*index] += step;
        left -= step;
    }
    cents.into_iter().map(|cents| Micros(cents * CENT)).collect()
}

/// What is owed under each rate: as it was supplied, or as the invoice's own supplies where that is not known.
/// Rates that the invoice does not have are added to its own.
fn owed_by_rate(
    rates: &mut BTreeMap<i64, Micros>,
    owed: Micros,
    supplied: &BTreeMap<i64, Micros>,
) -> Vec<Micros> {
    let supplied: BTreeMap<i64, Micros> = supplied
        .iter()
        .filter(|(_, amount)| **amount > Micros::ZERO)
        .map(|(rate, gross)| (*rate, *gross))
        .collect();
    let weights: Vec<i64> = if owed == Micros::ZERO || supplied.is_empty() {
        rates.values().map(|gross| gross.0).collect()
    } else {
        supplied.keys().for_each(|rate| _ = rates.entry(*rate).or_default());
        rates.keys().map(|rate| supplied.get(rate).map_or(0, |gross| gross.0)).collect()
    };
    allot(&weights, owed.0)
}

/// Splits an amount in whole hundredths in proportion to others, by largest rest.
fn allot(shares: &[i64], amount: i64) -> Vec<Micros> {
    let whole: i128 = shares.iter().map(|share| i128::from((*share).max(0))).sum();
    let exact = |share: &i64| match whole {
        0 => 0,
        whole => (i128::from((*share).max(0)) * i128::from(amount) / whole) as i64,
    };
    to_cents(&shares.iter().map(exact).collect::<Vec<_>>(), Micros(amount))
}

/// A Chinese unified social credit code that was checked (GB 32100-2015): 18 characters, who registered it and
/// as what, six digits of the administrative division, the body's own code, and one that follows from the
/// others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditCode(String);

impl CreditCode {
    /// # Example: one character off is found
    /// ```
    /// use quittance::domain::invoice::CreditCode;
    /// assert!(CreditCode::parse("91330106673959654P").is_some());
    /// assert!(CreditCode::parse("91330106673959645P").is_none());
    /// assert!(CreditCode::parse("000000000000000000").is_none());
    /// ```
    pub fn parse(text: &str) -> Option<CreditCode> {
        const LETTERS: &[u8] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
        let values: Option<Vec<usize>> =
            text.bytes().map(|byte| LETTERS.iter().position(|letter| *letter == byte)).collect();
        let values = values.filter(|values| values.len() == 18)?;
        // Nobody registers as 0, and there is no division of letters or of nothing.
        let division = &values[2..8];
        let shaped = values[0] != 0 && division.iter().all(|value| *value < 10);
        if !shaped || division.iter().all(|value| *value == 0) {
            return None;
        }
        let mut weight = 1;
        let mut sum = 0;
        for value in &values[..17] {
            sum += value * weight;
            weight = weight * 3 % 31;
        }
        ((sum + values[17]) % 31 == 0).then(|| CreditCode(text.to_owned()))
    }
}

impl fmt::Display for CreditCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
