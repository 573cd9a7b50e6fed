//! Buying, coupons and refunds in a scenario.

use std::fmt::Write as _;

use super::stage::{Said, Stage};
use super::verbs::{Arguments, money, need, refusal, time};
use crate::desk::orders::{Purchase, Wanted, buy};
use crate::desk::{coupons, refunds};
use crate::domain::money::Micros;
use crate::domain::refund::MultiPlan;
use crate::runner::describe;
use crate::store::coupons::{CouponRow, NewCoupon, list};
use crate::store::orders::PlanRow;

impl Stage {
    pub(super) fn order(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "an account")?;
        let (reference, coupon) = (given.take_key("reference"), given.take_key("coupon"));
        let mut wanted = Vec::new();
        while let Some(item) = given.next_pos() {
            wanted.push(Wanted::parse(&item.replacen('*', ":", 1))?);
        }
        let purchase = Purchase { wanted: &wanted, coupon, reference };
        let placed = buy(&self.db, &self.config, id, purchase, self.now);
        let order = self.runtime.block_on(placed).map_err(refusal)?;
        let mut said = format!("{}  paid {}", order.order_id, order.paid.for_people());
        if let Some(coupon) = &order.coupon_id {
            let _ = write!(said, "  {} by {coupon}", order.coupon.for_people());
        }
        said.push('\n');
        for plan in &order.plans {
            let until = self.zone().format(plan.expires_at);
            let price = plan.price.for_people();
            let _ = writeln!(said, "{}  {} units for {price} until {until}", plan.plan_id, plan.size);
        }
        Ok(said)
    }

    pub(super) fn coupon(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let (id, amount) = (need(given, "an account")?, money(need(given, "an amount")?)?);
        let zone = self.zone();
        let new = NewCoupon {
            amount,
            product: given.take_key("product").map(str::to_owned),
            min_order: given.take_key("min-order").map_or(Ok(Micros::ZERO), money)?,
            expires_at: given.take_key("expires").map(|text| time(text, zone)).transpose()?,
            plan_no: None,
        };
        let added = self.runtime.block_on(coupons::add(&self.db, &self.config, id, &new, self.now));
        Ok(self.coupon_line(&added.map_err(refusal)?))
    }

    pub(super) fn coupon_lines(&self, id: &str) -> Said<String> {
        let all = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            list(&mut tx, id).await
        });
        let all = all.map_err(|error: crate::store::StoreError| describe(&error))?;
        Ok(all.iter().map(|row| self.coupon_line(row)).collect())
    }

    fn coupon_line(&self, row: &CouponRow) -> String {
        let coupon = &row.coupon;
        let (left, amount) = (coupon.balance.for_people(), coupon.amount.for_people());
        let mut said = format!("{}  {left} of {amount} left", coupon.coupon_id);
        if let Some(at) = coupon.expires_at {
            let _ = write!(said, "  until {}", self.zone().format(at));
        }
        if let Some(plan) = &row.gift_of {
            let _ = write!(said, "  came with {plan}");
        }
        format!("{said}  {}\n", coupon.state(self.now).as_str().replace('_', " "))
    }

    /// `policy faq` and `policy overview` choose the text that holds for several plans; `auto_reject=`
    /// and `used_once_is_used=` are the other switches of refunds.
    pub(super) fn policy(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let multi_plan = match given.next_pos() {
            None => None,
            Some("faq") => Some(MultiPlan::Faq),
            Some("overview") => Some(MultiPlan::Overview),
            Some(other) => return Err(format!("{other} is no policy: it is overview or faq")),
        };
        let mut flag = |key: &str| {
            let given = given.take_key(key);
            given.map(|word| word.parse::<bool>().map_err(|_| format!("{key}= is true or false"))).transpose()
        };
        let (auto_reject, used_once) = (flag("auto_reject")?, flag("used_once_is_used")?);
        self.configure(|config| {
            let policy = &mut config.refund;
            policy.multi_plan = multi_plan.unwrap_or(policy.multi_plan);
            policy.auto_reject = auto_reject.unwrap_or(policy.auto_reject);
            policy.used_once_is_used = used_once.unwrap_or(policy.used_once_is_used);
            Ok(())
        })
    }

    pub(super) fn refund(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let (id, plan) = (need(given, "an order")?, given.take_key("plan"));
        let done = self.runtime.block_on(refunds::ask(&self.db, &self.config, id, plan, self.now));
        Ok(order_words(&done.map_err(refusal)?))
    }

    /// `grant ORDER` approves a request for a refund, `decline ORDER` rejects it.
    pub(super) fn decide(&mut self, verb: &str, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "an order")?;
        let (db, config, now) = (&self.db, &self.config, self.now);
        let done = match verb {
            "grant" => self.runtime.block_on(refunds::approve_request(db, config, id, now)),
            _ => self.runtime.block_on(refunds::reject_request(db, config, id, now)),
        };
        Ok(order_words(&done.map_err(refusal)?))
    }

    pub(super) fn order_lines(&self, id: &str) -> Said<String> {
        let shown = self.runtime.block_on(refunds::show(&self.db, &self.config, id, self.now));
        let shown = shown.map_err(refusal)?;
        let mut said = order_words(&shown);
        for plan in &shown.order.plans {
            let state = plan.state(self.now).as_str();
            let mut line = format!("{}  {} for {}", plan.plan_id, plan.package, paid(plan));
            if plan.coupon > Micros::ZERO {
                let _ = write!(line, " and {} by coupon", plan.coupon.for_people());
            }
            let _ = writeln!(said, "{line}  {} of {} left  {state}", plan.remaining, plan.size);
        }
        Ok(said)
    }
}

/// What of a plan's price was paid in cash.
fn paid(plan: &PlanRow) -> String {
    Micros(plan.price.0 - plan.coupon.0).for_people()
}

/// `acme-o1  partly refunded  paid 30.00  refunded 10.00  refundable 20.00`
fn order_words(shown: &refunds::Shown) -> String {
    let order = &shown.order;
    let mut said = format!("{}  {}", order.order_id, order.status.as_str().replace('_', " "));
    let _ = write!(said, "  paid {}  refunded {}", order.paid.for_people(), order.refunded.for_people());
    if order.kept > Micros::ZERO {
        let _ = write!(said, "  kept {}", order.kept.for_people());
    }
    format!("{said}  refundable {}\n", shown.refundable.for_people())
}
