//! What the recount takes as the books say it: charges of runs whose messages are no longer kept (I36), and of
//! products of which the configuration doesn't say any more how they were charged (I34); and what went back of
//! them. Plans, tiers, free units and money move by them, so that all that came later is worked out anew from
//! where they left off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Class, FREE, Failed, Recount};
use crate::domain::period::Timestamp;

/// Charges and returns of retired runs, and of some products.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The last retired run; 0: none.
    pub run_no: i64,
    pub products: BTreeSet<Arc<str>>,
    /// By run and window.
    pub charges: Vec<GivenCharge>,
    /// By message and part.
    pub returns: BTreeMap<((i64, i64), i64), Vec<GivenReturn>>,
}

#[derive(Clone, Debug)]
pub struct GivenCharge {
    pub run_no: i64,
    pub window: i64,
    pub class: Class,
    /// 0: pay-as-you-go; below: nobody.
    pub plan_no: i64,
    pub unit_price: i64,
    pub units: i64,
}

#[derive(Clone, Debug)]
pub struct GivenReturn {
    pub from_plan: i64,
    /// 0: money.
    pub to_plan: i64,
    /// `unbilled` or `balance`.
    pub money_to: String,
    pub unit_price: i64,
    pub units: i64,
    /// Where it was charged.
    pub window: i64,
    pub charge_run: i64,
    pub class: Class,
}

impl Recount<'_> {
    /// Takes the charges of a window that a run made, as far as they are given.
    pub(super) fn take_charges(&mut self, window: i64, run_no: i64) {
        let charges = &self.history.given.charges;
        let first = charges.partition_point(|charge| (charge.run_no, charge.window) < (run_no, window));
        let in_window = |charge: &&GivenCharge| (charge.run_no, charge.window) == (run_no, window);
        charges[first..].iter().take_while(in_window).for_each(|charge| self.take_charge(charge));
    }

    fn take_charge(&mut self, charge: &GivenCharge) {
        let GivenCharge { run_no, window, class, plan_no, units, .. } = charge;
        let (units, at) = (*units, Timestamp(*window));
        let [product, template_type, country] = class;
        self.needs_product(product);
        let place = format!("charge {window} run {run_no} {product} {template_type} {country}");
        let price = i128::from(charge.unit_price);
        match *plan_no {
            0 => {
                self.add(&format!("{place} at {price}"), units.into());
                self.accrue(product, *window, price * i128::from(units));
                self.awaits_bill(class, (*window, *run_no), units.into(), price * i128::from(units));
            }
            FREE => {
                self.add(&format!("{place} free"), units.into());
                let day = self.rules.zone.day_of(at).number();
                for day in [0, day] {
                    *self.free.entry((product.clone(), day)).or_default() += units;
                }
                return;
            }
            plan_no => {
                self.add(&format!("{place} from plan {plan_no}"), units.into());
                self.counted_in_tiers(class, (*window, *run_no), units.into());
                for plan in self.plans.iter_mut().filter(|plan| plan.bought.plan_no == plan_no) {
                    (plan.remaining, plan.drawn) = (plan.remaining - units, Some(*run_no));
                }
            }
        }
        let counts_plan = self.rules.catalog.get(product).is_some_and(|product| product.tier_counts_plan);
        if *plan_no == 0 || counts_plan {
            let month = self.rules.zone.month_of(at).number();
            *self.tiers.entry((month, product.clone(), self.priced_by(class))).or_default() += units;
        }
    }

    /// Takes what a message gave back whose charge was given.
    pub(super) fn take_return(&mut self, failed: &Failed) {
        let history = self.history;
        let Some(given) = history.given.returns.get(&(failed.key, failed.part)) else { return };
        let (hi, lo) = failed.key;
        for back in given {
            let GivenReturn { from_plan, to_plan, money_to, unit_price, units, window, .. } = back;
            let money = i128::from(*unit_price) * i128::from(*units);
            let to = match (*to_plan, money_to.as_str()) {
                (0, "unbilled") => {
                    self.accrue(&back.class[0], *window, -money);
                    self.awaits_bill(&back.class, (*window, back.charge_run), -i128::from(*units), -money);
                    format!("unbilled at {unit_price}")
                }
                (0, _) => {
                    self.pay_in(money);
                    format!("balance at {unit_price}")
                }
                (to_plan, _) => {
                    for plan in self.plans.iter_mut().filter(|plan| plan.bought.plan_no == to_plan) {
                        plan.remaining += units;
                    }
                    format!("plan {to_plan}")
                }
            };
            self.add(
                &format!("return {hi} {lo} part {} from {from_plan} to {to}", failed.part),
                (*units).into(),
            );
        }
    }
}
