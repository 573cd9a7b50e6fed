//! Giving back: what failed within 72 hours goes back to plans, the rest as money (R86, R88-R95, R101,
//! R133, D4, D9-D12, D35, D48-D52, D60).
//!
//! A failed message goes to the plan in use, then to those before it, as far as they have room and
//! have not expired, whoever had paid for it, or with `same_source` only to the plan that had; what is
//! left over is money at the price of the day it was sent. One account's failures go in, in order of arrival;
//! out come what each gave back and the entries of the ledger.

use std::collections::BTreeMap;

use super::account::{Account, AccrualKey};
use super::charge::{Charge, Payer, Place};
use super::ledger::{Cause, Earned, Entry, Ledger, LedgerFault};
use super::money::{Micros, MoneyFault};
use super::period::{Timestamp, Zone};
use super::product::{Product, ReturnOrder};

/// Charged units that failed: a whole message, or one part of it.
#[derive(Clone, Debug)]
pub struct Failure<'a> {
    pub product: &'a Product,
    pub country: &'a str,
    /// When its receipt came: the plans of that moment take units back (D48).
    pub received_at: Timestamp,
    /// The start of the window in which it was charged.
    pub window: Timestamp,
    /// The month of that window was billed before (D5, D60).
    pub billed: bool,
    /// Its charge was final before, and an operator gives it back all the same (D47).
    pub was_final: bool,
    /// The units, by who paid for them, in the order in which they were charged.
    pub paid: Vec<Paid>,
}

/// Units of a message with one payer and price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paid {
    pub payer: Payer,
    pub units: i64,
    /// The pay-as-you-go price at the time, for plan units too (D4); None where none was known.
    pub unit_price: Option<Micros>,
    /// What they are worth in the books, without VAT.
    pub net: Micros,
    /// What a unit was billed at, where the month's end made that another price (D51).
    pub billed_price: Option<Micros>,
    /// When the plan that paid was bought. None: they were sold in the window in which they were charged.
    pub bought_at: Option<Timestamp>,
}

/// Who paid for the charged units of a message, from the charges of its class, window and run.
///
/// Nothing where it can't be told: books of before charges kept their first and last message may have
/// several in one window.
pub fn paid_units(charges: &[Charge], place: Place, units: i64) -> Vec<Paid> {
    if charges.len() > 1 && charges.iter().any(|charge| charge.span.is_none()) {
        return Vec::new();
    }
    let paid = charges.iter().map(|charge| (charge, charge.units_of(place, units)));
    paid.filter(|(_, units)| *units > 0)
        .map(|(charge, units)| Paid {
            payer: charge.payer,
            units,
            unit_price: charge.unit_price,
            net: charge.net.share_rounded(units, charge.units.max(1)),
            billed_price: None,
            bought_at: None,
        })
        .collect()
}

/// Parts of a message of which nothing is to be given back any more; 0 stands for the whole message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettledParts {
    /// They were known to have failed and left out of the charge.
    pub not_charged: Vec<i64>,
    pub returned: Vec<i64>,
}

/// The failed units of a message of so many: one part, or with 0 all that is left of it. None where
/// nothing is left.
pub fn failed_units(
    charges: &[Charge],
    place: Place,
    units: i64,
    part: i64,
    settled: &SettledParts,
) -> Option<Vec<Paid>> {
    let SettledParts { not_charged, returned } = settled;
    let is_open = |part: &i64| !not_charged.contains(part) && !returned.contains(part);
    if !is_open(&0) || not_charged.len() as i64 >= units {
        return None;
    }
    let charged = paid_units(charges, place, units - not_charged.len() as i64);
    if part == 0 && returned.is_empty() {
        return Some(charged);
    }
    // Parts that were left out have no place among the charged units.
    let place_of =
        |part: i64| part - 1 - not_charged.iter().filter(|left_out| **left_out < part).count() as i64;
    let parts = if part == 0 { 1..=units } else { part..=part };
    let open: Vec<i64> = parts.filter(is_open).collect();
    let failed = open.iter().filter_map(|part| one_unit(&charged, place_of(*part))).collect();
    (!open.is_empty()).then_some(failed)
}

/// The unit in this place, from 0, of a message's charged units: a part that failed alone (D77).
pub fn one_unit(paid: &[Paid], place: i64) -> Option<Paid> {
    let mut before = 0;
    for part in paid {
        if place < before + part.units {
            return Some(Paid { net: part.net.share_rounded(1, part.units), units: 1, ..*part });
        }
        before += part.units;
    }
    None
}

/// Where units, or the money for them, went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The plan of this number, as units.
    Plan(i64),
    /// What is accrued and not billed is lowered.
    Unbilled,
    /// The balance; first what is due is paid by it.
    Balance,
}

/// Units of a failed message that were given back in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenBack {
    pub from: Payer,
    pub to: To,
    pub units: i64,
    /// Of money: the price of a unit.
    pub unit_price: Option<Micros>,
    /// Of money: what the customer gets, with VAT.
    pub amount: Micros,
    /// What is no longer to be earned, without VAT.
    pub net: Micros,
}

/// Why a failed message gave nothing back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Money is called for, and no price was known when the plan paid (D67).
    NoPrice,
}

/// What settling an account's failures came to.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// For each failure what it gave back.
    pub returns: Vec<Result<Vec<GivenBack>, Kept>>,
    pub entries: Vec<Entry>,
}

/// The run that settles, and which portion of its failures it is at: the causes of the ledger's entries
/// are told apart by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledBy {
    pub run_no: i64,
    pub portion: i64,
}

/// A fault of one account; it parks the account's failures and leaves it as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleFault {
    #[error(transparent)]
    Money(#[from] MoneyFault),
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
}

/// Gives back what failed. `account.plans` holds every plan that ever paid.
///
/// # Example: the specification's A, B and C (R94)
/// A has expired; B has 1,500 of its units used, C, which pays now, 2,000 of 3,000. Of 4,500 failed
/// messages C takes 2,000, B 1,500, and 1,000 become money. See
/// `tests/scenarios/receipts/plans-a-b-c`.
pub fn settle_account(
    account: &mut Account,
    failures: &[Failure<'_>],
    zone: Zone,
    by: SettledBy,
) -> Result<Settled, SettleFault> {
    account.plans.sort_by_key(|plan| plan.return_order());
    let mut settler = Settler { account, zone, by, entries: BTreeMap::new() };
    let returns = failures.iter().map(|failure| settler.give_back(failure)).collect::<Result<_, _>>()?;
    let entries = std::mem::take(&mut settler.entries).into_values();
    let entries = entries.filter(|entry| !entry.postings.is_empty()).map(Entry::balanced);
    let entries = entries.collect::<Result<_, _>>()?;
    account.status = account.funds.status_after(account.status)?;
    Ok(Settled { returns, entries })
}

struct Settler<'a> {
    account: &'a mut Account,
    zone: Zone,
    by: SettledBy,
    /// By when the receipts came: the books show returns when they were known.
    entries: BTreeMap<Timestamp, Entry>,
}

impl Settler<'_> {
    fn give_back(&mut self, failure: &Failure<'_>) -> Result<Result<Vec<GivenBack>, Kept>, SettleFault> {
        let pieces = self.pieces(failure);
        if pieces.iter().any(|(piece, taker)| taker.is_none() && piece.unit_price.is_none()) {
            return Ok(Err(Kept::NoPrice));
        }
        let SettledBy { run_no, portion } = self.by;
        let cause = Cause::Return { received_at: failure.received_at, run_no, portion };
        let mut entry = self
            .entries
            .remove(&failure.received_at)
            .unwrap_or_else(|| Entry::new(cause, failure.received_at));
        let mut given = Vec::new();
        for (piece, taker) in pieces {
            given.push(match taker {
                Some(plan) => self.give_to_plan(&mut entry, failure, piece, plan)?,
                None => self.give_as_money(&mut entry, failure, piece)?,
            });
        }
        self.entries.insert(failure.received_at, entry);
        Ok(Ok(given))
    }

    /// What failed, in pieces that go back in one way, each with the plan that takes it; None: money. What was
    /// charged first goes to the plans, what was charged last becomes money (D50).
    fn pieces(&self, failure: &Failure<'_>) -> Vec<(Paid, Option<usize>)> {
        let mut takers = self.takers(failure);
        let mut pieces = Vec::new();
        // Free units are nobody's loss.
        for mut rest in failure.paid.iter().filter(|paid| paid.payer != Payer::Free).copied() {
            while rest.units > 0 {
                let plans = &self.account.plans;
                let takes = |(index, room): &&mut (usize, i64)| match failure.product.return_order {
                    ReturnOrder::Literal => *room > 0,
                    ReturnOrder::SameSource => *room > 0 && rest.payer == Payer::Plan(plans[*index].plan_no),
                };
                pieces.push(match takers.iter_mut().find(takes) {
                    Some((index, room)) => {
                        let piece = rest.split_off((*room).min(rest.units));
                        *room -= piece.units;
                        (piece, Some(*index))
                    }
                    None => (rest.split_off(rest.units), None),
                });
            }
        }
        pieces
    }

    /// The plans that take units back, in their order, with how many each can take: those that paid
    /// before, of the same product and for its country, valid when the receipt came.
    fn takers(&self, failure: &Failure<'_>) -> Vec<(usize, i64)> {
        let plans = self.account.plans.iter().enumerate();
        let takes = plans.filter(|(_, plan)| {
            plan.last_draw.is_some()
                && plan.product == failure.product.id
                && plan.is_valid(failure.received_at)
                && plan.countries.include(failure.country)
                && plan.room() > 0
        });
        takes.map(|(index, plan)| (index, plan.room())).collect()
    }

    fn give_to_plan(
        &mut self,
        entry: &mut Entry,
        failure: &Failure<'_>,
        piece: Paid,
        index: usize,
    ) -> Result<GivenBack, SettleFault> {
        let plan = &mut self.account.plans[index];
        plan.take_back(piece.units, piece.net);
        let (currency, commodity) = (&self.account.currency, &failure.product.commodity);
        entry.debit(failure.held_in(piece.payer), currency, piece.net.0)?;
        entry.credit(Ledger::ContractPlan(plan.plan_no), currency, piece.net.0)?;
        entry.debit(Ledger::QuotaPlan(plan.plan_no), commodity, piece.units)?;
        // Units that pay-as-you-go paid for are new to plans: the customer has bought them.
        entry.credit(failure.units_held_in(piece.payer), commodity, piece.units)?;
        Ok(GivenBack {
            from: piece.payer,
            to: To::Plan(plan.plan_no),
            units: piece.units,
            unit_price: None,
            amount: Micros::ZERO,
            net: piece.net,
        })
    }

    fn give_as_money(
        &mut self,
        entry: &mut Entry,
        failure: &Failure<'_>,
        piece: Paid,
    ) -> Result<GivenBack, SettleFault> {
        // Of a billed month what the bill asked for is given back, whatever was charged before (D51).
        let billed_price = piece.billed_price.filter(|_| failure.billed && piece.payer == Payer::Payg);
        let unit_price = billed_price.or(piece.unit_price);
        let gross = unit_price.unwrap_or_default().times(piece.units)?;
        // Value left its order at the VAT rate of that day, and comes out of what was invoiced at that rate.
        let vat_ppm = failure.product.vat_at(piece.bought_at.unwrap_or(failure.window));
        let currency = self.account.currency.clone();
        let (to, net) = match piece.payer {
            Payer::Payg if !failure.billed => {
                let month = self.zone.month_of(failure.window).number();
                let key: AccrualKey = (month, failure.product.id.clone(), vat_ppm);
                let lowered = self.account.accruals.entry(key).or_default().add(Micros(-gross.0), vat_ppm)?;
                self.account.funds.unbilled = self.account.funds.unbilled.minus(gross)?;
                entry.credit(Ledger::Unbilled, &currency, gross.0)?;
                (To::Unbilled, Micros(-lowered.0))
            }
            _ => {
                entry.post_paid_in(&mut self.account.funds, &currency, gross)?;
                (To::Balance, piece.net)
            }
        };
        entry.debit(failure.held_in(piece.payer), &currency, net.0)?;
        let net_of_gross = match piece.payer {
            Payer::Payg if billed_price.is_none() => net,
            Payer::Free => net,
            Payer::Payg | Payer::Plan(_) => gross.net_of_vat(vat_ppm),
        };
        entry.debit(Ledger::VatPending, &currency, gross.minus(net_of_gross)?.0)?;
        entry.debit(Ledger::RefundDifference, &currency, net_of_gross.minus(net)?.0)?;
        if let Payer::Plan(_) = piece.payer {
            let commodity = &failure.product.commodity;
            entry.debit(Ledger::QuotaIssued, commodity, piece.units)?;
            entry.credit(failure.units_held_in(piece.payer), commodity, piece.units)?;
        }
        Ok(GivenBack { from: piece.payer, to, units: piece.units, unit_price, amount: gross, net })
    }
}

impl Failure<'_> {
    /// Where the value of the units waits for the receipt, or was earned since.
    fn held_in(&self, payer: Payer) -> Ledger {
        let earned = match payer {
            Payer::Plan(_) => Earned::Plan,
            Payer::Payg | Payer::Free => Earned::Payg,
        };
        if self.was_final {
            Ledger::Income(self.product.income.clone(), earned)
        } else {
            Ledger::PendingReceipt
        }
    }

    fn units_held_in(&self, payer: Payer) -> Ledger {
        match payer {
            Payer::Payg | Payer::Free => Ledger::QuotaIssued,
            Payer::Plan(_) if self.was_final => Ledger::QuotaConsumed,
            Payer::Plan(_) => Ledger::QuotaPending,
        }
    }
}

impl Paid {
    /// Takes so many units off, with their share of the value; what stays keeps the rest, so that
    /// nothing is lost to rounding.
    fn split_off(&mut self, units: i64) -> Paid {
        let net = self.net.share_rounded(units, self.units.max(1));
        self.units -= units;
        self.net = Micros(self.net.0 - net.0);
        Paid { units, net, ..*self }
    }
}

/// Charged units of one product and payer whose receipts came or can't come any more, less what was
/// given back.
#[derive(Clone, Debug)]
pub struct Lapsed<'a> {
    pub product: &'a Product,
    pub earned: Earned,
    pub units: i64,
    pub net: Micros,
}

/// The entry that makes them final: what is left of them is earned (R100, R101).
pub fn finalise(
    currency: &std::sync::Arc<str>,
    lapsed: &[Lapsed<'_>],
    at: Timestamp,
    cause: Cause,
) -> Result<Entry, LedgerFault> {
    let mut entry = Entry::new(cause, at);
    for item in lapsed {
        entry.post_final(item.product, currency, item.earned, item.units, item.net)?;
    }
    entry.balanced()
}

#[cfg(test)]
pub mod tests;
