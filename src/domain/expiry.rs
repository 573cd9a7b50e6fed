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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::period::Timestamp;

    fn plan(size: i64, net: i64) -> Plan {
        Plan {
            plan_no: 2,
            product: "sms".into(),
            size,
            remaining: size,
            countries: Default::default(),
            forfeited: 0,
            net: Micros(net),
            released: Micros::ZERO,
            carried: Micros::ZERO,
            effective_at: Timestamp(0),
            expires_at: Timestamp(100),
            last_draw: None,
        }
    }

    fn end(plan: &mut Plan) -> Ended {
        end_plan(plan, &crate::domain::settle::tests::sms(), &"CNY".into()).unwrap()
    }

    #[test]
    fn the_rest_and_its_value_are_booked_at_the_end_of_the_plan() {
        let mut plan = plan(10, 9_433_962);
        plan.draw(7);
        let ended = end(&mut plan);
        assert_eq!((ended.units, ended.value), (3, Micros(2_830_189)));
        let entry = ended.entry.unwrap();
        assert_eq!((entry.cause.to_string(), entry.at), ("expiry:2".into(), Timestamp(100)));
        let lines: Vec<_> = entry.postings.iter().map(|((l, c), a)| format!("{l} {c} {a}")).collect();
        let posted = [
            "Liabilities:Contract:Plan CNY 2830189",
            "Income:Breakage CNY -2830189",
            "Quota:Plan SMSD -3",
            "Equity:Quota:Expired SMSD 3",
        ];
        assert_eq!(lines, posted);
    }

    #[test]
    fn a_plan_that_was_used_up_has_nothing_to_book_unless_it_is_worth_something() {
        let mut plan = plan(3, 100);
        plan.draw(3);
        assert_eq!(end(&mut plan.clone()).entry, None);
        plan.carried = Micros(1);
        let ended = end(&mut plan);
        assert_eq!((ended.units, ended.value, plan.liability()), (0, Micros(1), Micros::ZERO));
        assert_eq!(ended.entry.unwrap().postings.len(), 2);
    }

    proptest! {
        /// Drawn, given back at any value, and ended: every unit and every micro-unit is somewhere.
        #[test]
        fn whatever_happens_units_and_value_of_a_plan_add_up(
            size in 1..500_i64,
            net in 0..10_000_000_i64,
            steps in prop::collection::vec((any::<bool>(), 0..100_i64, 0..200_000_i64), 0..40),
        ) {
            let mut plan = plan(size, net);
            let (mut used, mut earned) = (0, 0);
            for (draws, share, price) in steps {
                let units = if draws { plan.remaining } else { plan.room() } * share / 100;
                if units == 0 {
                    continue;
                }
                if draws {
                    used += units;
                    earned += plan.draw(units).0;
                } else {
                    used -= units;
                    earned -= units * price;
                    plan.take_back(units, Micros(units * price));
                }
                prop_assert_eq!(plan.remaining + used, size);
                prop_assert_eq!(plan.liability().0 + earned, net);
                // Used up, it is worth nothing: there is nothing to end.
                prop_assert!(plan.remaining > 0 || plan.liability() == Micros::ZERO);
            }
            let ended = end(&mut plan);
            prop_assert_eq!((plan.remaining, plan.liability(), plan.room() * i64::from(ended.units > 0)),
                (0, Micros::ZERO, 0));
            prop_assert_eq!((ended.units + used, ended.value.0 + earned), (size, net));
            prop_assert_eq!(plan.forfeited, ended.units);
        }
    }
}
