//! The end of a plan: what is left of it is forfeited (R10, R50, R54, D12, D43, D48, D64).

use std::sync::Arc;

use super::ledger::{Cause, Entry, Ledger, LedgerFault};
use super::money::Micros;
use super::plan::Plan;
use super::product::Product;

/// What a plan's end came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Units that are forfeited.
    pub units: i64,
    /// What they were worth, without VAT: revenue now.
    pub value: Micros,
    /// None where nothing was left.
    pub entry: Option<Entry>,
}

/// Ends a plan whose validity is over and of which nobody needs units any more. It is booked at the end
/// of the validity, whenever that is done.
///
/// # Example: 3 of 10 units are left of a plan over 9.433962 net
/// They are forfeited, and the 2.830189 that they were worth are revenue. See
/// `tests/scenarios/expiry/rest-forfeited`.
pub fn end_plan(plan: &mut Plan, product: &Product, currency: &Arc<str>) -> Result<Ended, LedgerFault> {
    let (units, value) = plan.forfeit();
    let mut entry = Entry::new(Cause::Expiry { plan_no: plan.plan_no }, plan.expires_at);
    entry.debit(Ledger::ContractPlan(plan.plan_no), currency, value.0)?;
    entry.credit(Ledger::Breakage, currency, value.0)?;
    entry.debit(Ledger::QuotaExpired, &product.commodity, units)?;
    entry.credit(Ledger::QuotaPlan(plan.plan_no), &product.commodity, units)?;
    let entry = entry.balanced()?;
    Ok(Ended { units, value, entry: (!entry.postings.is_empty()).then_some(entry) })
}
