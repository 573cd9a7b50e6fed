//! What the recount gives back, unit by unit: to the plan in use, or as money (R88-R95, D4).

use super::{Charged, Failed, Plan, Recount, Unit};
use crate::domain::product::ReturnOrder;

impl Recount<'_> {
    /// Gives back what failed, in the order in which the receipts came. What came to no money and no units
    /// has no entry, and goes with the next that has one.
    pub(super) fn give_back(&mut self, received_at: i64, run_no: i64) {
        let history = self.history;
        while let Some(failed) = history.failed.get(self.failed) {
            if (failed.run_no, failed.received_at) > (run_no, received_at) {
                break;
            }
            self.failed += 1;
            let Some(mut charged) = self.charged.remove(&failed.key) else {
                self.take_return(failed);
                continue;
            };
            let billed = self.billed(&charged, failed.run_no);
            let mut units = std::mem::take(&mut charged.units);
            let back = units.iter_mut().filter(|unit| failed.part == 0 || unit.part == failed.part);
            for unit in back.filter(|unit| !unit.given_back) {
                unit.given_back = true;
                self.give_back_unit(unit, &charged, failed, billed);
            }
            self.charged.insert(failed.key, Charged { units, ..charged });
        }
    }

    fn give_back_unit(&mut self, unit: &Unit, of: &Charged, failed: &Failed, billed: Option<Option<i128>>) {
        let [product, _, country] = &of.class;
        let to_source = self.rules.catalog.get(product).map(|product| product.return_order);
        let to_source = to_source == Some(ReturnOrder::SameSource);
        let takes = |plan: &&mut Plan| {
            plan.drawn.is_some()
                && (!to_source || plan.bought.plan_no == unit.plan_no)
                && plan.bought.product == *product
                && plan.bought.countries.include(country)
                && plan.bought.effective_at <= failed.received_at
                && failed.received_at < plan.bought.expires_at
                && plan.remaining < plan.bought.size
                && !plan.ended
        };
        let taker = self.plans.iter_mut().filter(takes).max_by_key(|plan| {
            (plan.drawn, plan.bought.expires_at, plan.bought.effective_at, plan.bought.plan_no)
        });
        let is_taken = taker.is_some();
        let price = unit.price.unwrap_or_default();
        let to = match (taker, unit.plan_no) {
            (None, 0) if billed.is_some() => {
                let price = billed.flatten().unwrap_or(price);
                self.pay_in(price);
                format!("balance at {price}")
            }
            (Some(plan), _) => {
                plan.remaining += 1;
                format!("plan {}", plan.bought.plan_no)
            }
            (None, 0) => {
                self.accrue(product, of.window, -price);
                self.awaits_bill(&of.class, (of.window, of.run_no), -1, -price);
                format!("unbilled at {price}")
            }
            (None, _) => {
                self.pay_in(price);
                format!("balance at {price}")
            }
        };
        if !is_taken && unit.price.is_none() {
            self.lacks_price(&of.class, of.window);
        }
        let (hi, lo) = failed.key;
        self.add(&format!("return {hi} {lo} part {} from {} to {to}", failed.part, unit.plan_no), 1);
    }
}
