//! The month, product and VAT rate of what is accrued, and the VAT of money that went back.

use std::sync::Arc;

use super::{Charged, Class, Recount};
use crate::domain::period::Timestamp;

/// Money that went to the balance for units of one message, as the books say it.
#[derive(Clone, Debug)]
pub struct MoneyBack {
    pub run_no: i64,
    pub class: Class,
    /// The window and the run that charged the units.
    pub window: i64,
    pub charge_run: i64,
    /// The plan that had paid; 0: pay-as-you-go.
    pub from_plan: i64,
    pub amount: i64,
    /// What the units were worth.
    pub net: i64,
}

impl Recount<'_> {
    /// Accrues pay-as-you-go of a window; less, where it goes back before it is billed.
    pub(super) fn accrue(&mut self, product: &Arc<str>, window: i64, amount: i128) {
        self.add("unbilled", amount);
        let at = Timestamp(window);
        if let Some(known) = self.rules.catalog.get(product) {
            let (month, vat_ppm) = (self.rules.zone.month_of(at).number(), known.vat_at(at));
            self.add(&format!("accrued {month} {product} {vat_ppm}"), amount);
        }
    }

    /// Of money for plan units, and of such whose bill had another price, what the customer gets is not what
    /// the units were worth: VAT is split off the money, at the rate of when they or their plan were sold, and
    /// the rest is the difference.
    pub(super) fn split_money_back(&mut self) {
        let history = self.history;
        for MoneyBack { run_no, class, window, charge_run, from_plan, amount, net } in &history.money_back {
            let Some(product) = self.rules.catalog.get(&class[0]) else { continue };
            let charged =
                Charged { class: class.clone(), window: *window, run_no: *charge_run, units: Vec::new() };
            if *from_plan == 0 && self.billed(&charged, *run_no).flatten().is_none() {
                continue;
            }
            let plan = history.plans.iter().find(|plan| plan.plan_no == *from_plan);
            let sold_at = Timestamp(plan.map_or(*window, |plan| plan.effective_at));
            let of_net = net_of(i128::from(*amount), i128::from(product.vat_at(sold_at)));
            self.add("refund difference", of_net - i128::from(*net));
        }
    }
}

/// What is left of an amount without its VAT, halves away from zero.
fn net_of(gross: i128, vat_ppm: i128) -> i128 {
    let whole = 1_000_000 + vat_ppm;
    (gross.abs() * 1_000_000 + whole / 2) / whole * gross.signum()
}
