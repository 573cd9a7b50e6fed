//! Monthly bills: what an account used, bought and got back in a month (R79-R81, R121, D1, D3, D5, D13, D51,
//! D55, D56, D59, D60, D78-D80).
//!
//! Sums of a month's charges and returns go in; out come the bill's lines, its total, and the entry that
//! settles it. What was settled at once (orders, refunds, penalties, money for failures of billed months) is
//! listed and not in the total. A bill never changes: what comes later stands on a later one.

mod issued;
mod volume;

use std::collections::{BTreeMap, BTreeSet};

pub use self::issued::{Bill, suspense_note};
use self::volume::true_up;
pub use self::volume::{BilledPrice, billed_price};
use super::account::{Funds, Kind, Split};
use super::ledger::{Cause, Earned, Entry, Ledger, LedgerFault};
use super::money::{Micros, MoneyFault};
use super::order::order_id;
use super::period::{Month, Timestamp, Zone};
use super::price::{Buyer, PriceBook};
use super::product::{Catalog, Product};

/// What a line is, in the order in which they stand on a bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineKind {
    /// Pay-as-you-go units at one price.
    Payg,
    /// Units that plans paid for.
    Plan,
    /// What failed and is not to be paid.
    Return,
    /// What the month's end makes of `volume` prices (D51).
    Adjustment,
    Order,
    /// Money that went back to the balance: for orders, and for failures that no open month could take.
    Refund,
    Penalty,
    /// What the total leaves out, or adds, to be whole hundredths (D13).
    RoundDown,
}

impl LineKind {
    const ALL: [LineKind; 8] = [
        LineKind::Payg,
        LineKind::Plan,
        LineKind::Return,
        LineKind::Adjustment,
        LineKind::Order,
        LineKind::Refund,
        LineKind::Penalty,
        LineKind::RoundDown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            LineKind::Payg => "payg",
            LineKind::Plan => "plan",
            LineKind::Return => "return",
            LineKind::Adjustment => "adjustment",
            LineKind::Order => "order",
            LineKind::Refund => "refund",
            LineKind::Penalty => "penalty",
            LineKind::RoundDown => "round_down",
        }
    }

    pub fn parse(word: &str) -> Option<LineKind> {
        LineKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A line of a bill. Charges, orders and penalties are positive, credits negative (D79).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub kind: LineKind,
    pub product: Option<String>,
    pub template_type: Option<String>,
    pub country: Option<String>,
    pub units: Option<i64>,
    pub unit_price: Option<Micros>,
    /// With VAT.
    pub amount: Micros,
    /// Of what is unsettled: what it is worth without VAT in the books.
    pub net: Micros,
    /// The VAT rate of what is unsettled, in millionths.
    pub vat_ppm: Option<i64>,
    /// Paid or paid back when it was made, so that it is not in the total (D55).
    pub settled: bool,
    /// The earlier month (`2026-03`) that what came late belongs to, the order, the penalty's number.
    pub reference: Option<String>,
}

/// What a sum of a month is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Payg,
    Plan,
    /// Taken off what is accrued and not billed.
    Return,
    /// Money for failures that went to the balance.
    Failure,
    /// An order of this number, and what was paid in cash for it.
    Order(i64),
    /// Plans of one product that the order of this number bought: what they cost in cash.
    Bought(i64),
    /// Of the order of this number.
    Refund(i64),
    /// What penalties kept of refunds of the order of this number.
    Kept(i64),
    Penalty(i64),
}

/// A sum of a month: of units that have all its other parts in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub what: What,
    pub product: String,
    pub template_type: String,
    pub country: String,
    pub unit_price: Option<Micros>,
    /// The earliest window of them. Price lists, VAT rates and months begin where parts do.
    pub since: Timestamp,
    pub units: i64,
    pub amount: Micros,
    pub net: Micros,
    /// Of charges and returns: what the account was when they were charged, where its kind was changed since.
    pub kind: Option<Kind>,
}

/// How the total becomes whole hundredths (D13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    #[default]
    Down,
    /// To the nearest, halves up.
    HalfUp,
}

/// Whose bill it is, of which month, under which rules.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub buyer: Buyer<'a>,
    pub month: Month,
    pub zone: Zone,
    pub catalog: &'a Catalog,
    pub book: &'a PriceBook,
    pub rounding: Rounding,
    /// Of months billed before.
    pub billed_prices: &'a [BilledPrice],
}

/// A bill that is not issued yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    pub lines: Vec<Line>,
    /// The sum of the unsettled lines, in whole hundredths.
    pub total: Micros,
    /// What it takes off the account's unbilled amount: charges less returns.
    pub accrued: Micros,
    /// Prices that its month's `volume` lists came to.
    pub prices: Vec<BilledPrice>,
}

/// A fault of one account; its bill waits until it is mended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BillFault {
    #[error(transparent)]
    Money(#[from] MoneyFault),
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
    #[error("its charges are of product `{0}`, which is not configured: put it back into products.toml")]
    UnknownProduct(String),
    #[error("{accrued} are to be billed of the {unbilled} that it has unbilled: its books disagree")]
    Disagree { accrued: Micros, unbilled: Micros },
}

/// Draws up an account's bill from the sums of its month.
///
/// # Example: a total is rounded down to hundredths, and a line says so (D13)
/// See `tests/scenarios/bills/failure-before-and-after`: 3 x 0.045 = 0.135 are billed as 0.13.
pub fn draw_up(parts: &[Part], terms: &Terms<'_>) -> Result<Draft, BillFault> {
    let mut draft = Draft::default();
    let mut lines: BTreeMap<LineKey, Sums> = BTreeMap::new();
    for part in parts {
        let (kind, sign) = match part.what {
            What::Payg => (LineKind::Payg, 1),
            What::Plan => (LineKind::Plan, 1),
            What::Return => (LineKind::Return, -1),
            What::Failure => (LineKind::Refund, -1),
            _ => continue,
        };
        let product = terms.product(&part.product)?;
        let key = LineKey::of(kind, part, product, terms);
        lines.entry(key).or_default().add(part, sign)?;
        if matches!(part.what, What::Payg | What::Return) {
            draft.accrued = draft.accrued.plus(part.amount.times(sign)?)?;
        }
    }
    draft.lines.extend(lines.into_iter().map(|(key, sums)| key.line(sums)));
    true_up(parts, terms, &mut draft)?;
    list_orders(parts, terms, &mut draft)?;
    draft.lines.sort_by_key(|line| line.kind);
    let unsettled = draft.lines.iter().filter(|line| !line.settled);
    let exact = unsettled.map(|line| line.amount).try_fold(Micros::ZERO, Micros::plus)?;
    draft.total = terms.rounding.whole(exact)?;
    let rounded = draft.total.minus(exact)?;
    if rounded != Micros::ZERO {
        draft.lines.push(Line { amount: rounded, net: rounded, ..Line::bare(LineKind::RoundDown, false) });
    }
    Ok(draft)
}

impl<'a> Terms<'a> {
    fn product(&self, id: &str) -> Result<&'a Product, BillFault> {
        self.catalog.get(id).ok_or_else(|| BillFault::UnknownProduct(id.to_owned()))
    }
}

impl Rounding {
    /// An amount in whole hundredths.
    fn whole(self, amount: Micros) -> Result<Micros, MoneyFault> {
        const CENT: i64 = 10_000;
        let amount = match self {
            Rounding::Down => amount,
            Rounding::HalfUp => amount.plus(Micros(CENT / 2))?,
        };
        Micros(amount.0.div_euclid(CENT)).times(CENT)
    }
}

/// Whether lines are taxed at several VAT rates, which may be all that tells two of them apart.
pub fn has_several_rates(lines: &[Line]) -> bool {
    lines.iter().filter_map(|line| line.vat_ppm).collect::<BTreeSet<_>>().len() > 1
}

/// Lines as a clerk reads them: `payg  sms-domestic verification CN  3 units @ 0.045 = 0.135`; with ` VAT 0.06`
/// where there are several rates.
pub fn words(lines: &[Line]) -> Vec<String> {
    let told = has_several_rates(lines);
    let rate = |line: &Line| line.vat_ppm.filter(|_| told).map(|ppm| format!("  VAT {}", Micros(ppm)));
    lines.iter().map(|line| line.words() + &rate(line).unwrap_or_default()).collect()
}

impl Line {
    fn words(&self) -> String {
        let class = [&self.product, &self.template_type, &self.country];
        let class: Vec<&str> = class.into_iter().filter_map(|word| word.as_deref()).collect();
        let mut words = vec![self.kind.as_str().replace('_', "-")];
        words.extend((!class.is_empty()).then(|| class.join(" ")));
        words.extend(self.reference.as_ref().map(|reference| format!("of {reference}")));
        let price = self.unit_price.map_or(String::new(), |price| format!(" @ {price}"));
        let settled = if self.settled { " (settled)" } else { "" };
        words.push(match self.units {
            Some(units) => format!("{units} units{price} = {}{settled}", self.amount),
            None => format!("{}{settled}", self.amount),
        });
        words.join("  ")
    }

    fn bare(kind: LineKind, settled: bool) -> Line {
        Line {
            kind,
            product: None,
            template_type: None,
            country: None,
            units: None,
            unit_price: None,
            amount: Micros::ZERO,
            net: Micros::ZERO,
            vat_ppm: None,
            settled,
            reference: None,
        }
    }
}

/// What the units of a line have in common. Of several prices the highest comes first: tiers fall.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LineKey {
    kind: LineKind,
    product: String,
    template_type: String,
    country: String,
    /// The earlier month that they belong to.
    late: Option<i64>,
    price: std::cmp::Reverse<Option<Micros>>,
    vat_ppm: Option<i64>,
}

impl LineKey {
    fn of(kind: LineKind, part: &Part, product: &Product, terms: &Terms<'_>) -> LineKey {
        let own = terms.zone.month_of(part.since).number();
        let priced = matches!(kind, LineKind::Payg | LineKind::Return);
        LineKey {
            kind,
            product: part.product.clone(),
            template_type: part.template_type.clone(),
            country: part.country.clone(),
            late: Some(own).filter(|own| *own != terms.month.number()),
            price: std::cmp::Reverse(part.unit_price.filter(|_| priced)),
            vat_ppm: priced.then(|| product.vat_at(part.since)),
        }
    }

    fn line(self, sums: Sums) -> Line {
        let LineKey { kind, product, template_type, country, late, price, vat_ppm } = self;
        let said = |word: String| Some(word).filter(|word| !word.is_empty());
        Line {
            kind,
            product: said(product),
            template_type: said(template_type),
            country: said(country),
            units: Some(sums.units).filter(|_| kind != LineKind::Refund),
            unit_price: price.0,
            amount: sums.amount,
            net: sums.net,
            vat_ppm,
            settled: matches!(kind, LineKind::Plan | LineKind::Refund),
            reference: late.map(month_text),
        }
    }
}

/// A month number as people write it: 202603 is `2026-03`.
pub fn month_text(number: i64) -> String {
    format!("{:04}-{:02}", number / 100, number % 100)
}

#[derive(Default)]
struct Sums {
    units: i64,
    amount: Micros,
    net: Micros,
}

impl Sums {
    fn add(&mut self, part: &Part, sign: i64) -> Result<(), MoneyFault> {
        self.units = self.units.checked_add(sign * part.units).ok_or(MoneyFault::Overflow)?;
        if part.what != What::Plan {
            self.amount = self.amount.plus(part.amount.times(sign)?)?;
        }
        if matches!(part.what, What::Payg | What::Return) {
            self.net = self.net.plus(part.net.times(sign)?)?;
        }
        Ok(())
    }
}

/// Lists what was bought, given back and claimed; an order by the products of its plans, which share its cash.
fn list_orders(parts: &[Part], terms: &Terms<'_>, draft: &mut Draft) -> Result<(), BillFault> {
    for part in parts {
        let order = |order_no| Some(order_id(terms.buyer.account_id, order_no));
        let settled = |kind, reference| Line { amount: part.amount, reference, ..Line::bare(kind, true) };
        match part.what {
            What::Order(order_no) => {
                let plans = parts.iter().filter(|plans| plans.what == What::Bought(order_no));
                draft.lines.extend(plans.map(|plans| Line {
                    product: Some(plans.product.clone()),
                    units: Some(plans.units),
                    amount: plans.amount,
                    ..settled(LineKind::Order, order(order_no))
                }));
            }
            What::Refund(order_no) => draft.lines.push(settled(LineKind::Refund, order(order_no))),
            What::Kept(order_no) => draft.lines.push(settled(LineKind::Penalty, order(order_no))),
            What::Penalty(number) => {
                draft.lines.push(settled(LineKind::Penalty, Some(number.to_string())));
            }
            _ => {}
        }
    }
    Ok(())
}

impl Draft {
    /// Whether there is anything to bill or to list (D80).
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Settles the bill: the balance pays the total as far as it goes, the rest is due, and what was
    /// accrued for its month is cleared to nothing (D55, D56). A total below zero is paid in. No entry
    /// where no money moves.
    pub fn settle(
        &self,
        terms: &Terms<'_>,
        funds: &mut Funds,
        at: Timestamp,
    ) -> Result<(Option<Entry>, Split), BillFault> {
        let currency = terms.buyer.currency.into();
        let unbilled = funds.unbilled.minus(self.accrued)?;
        if unbilled < Micros::ZERO {
            return Err(BillFault::Disagree { accrued: self.accrued, unbilled: funds.unbilled });
        }
        funds.unbilled = unbilled;
        let mut entry = Entry::new(Cause::Bill { month: terms.month.number() }, at);
        let split = if self.total < Micros::ZERO {
            let credit = Micros::ZERO.minus(self.total)?;
            entry.post_paid_in(funds, &currency, credit)?;
            Split { balance: self.total, due: Micros::ZERO }
        } else {
            entry.post_claimed(funds, &currency, self.total)?
        };
        entry.credit(Ledger::Unbilled, &currency, self.accrued.0)?;
        for line in &self.lines {
            match (line.kind, &line.product) {
                (LineKind::RoundDown, _) => entry.credit(Ledger::RoundDown, &currency, line.amount.0)?,
                (LineKind::Adjustment, Some(product)) => {
                    let income = terms.product(product)?.income.clone();
                    entry.credit(Ledger::Income(income, Earned::Payg), &currency, line.net.0)?;
                    entry.credit(Ledger::VatPending, &currency, line.amount.minus(line.net)?.0)?;
                }
                _ => {}
            }
        }
        let entry = entry.balanced()?;
        Ok((Some(entry).filter(|entry| !entry.postings.is_empty()), split))
    }
}

#[cfg(test)]
mod tests;
