//! Refunds: an order that was not used gives back what was paid for it in cash (R6, R25, R50-R52, R55,
//! R57, R61-R63, R146-R149, D6, D7, D27, D28, D30, D32, D63, D83).
//!
//! | plans of the order  | the whole order                        | one plan of several                |
//! |---------------------|----------------------------------------|------------------------------------|
//! | all unused, valid   | refunded                               | refunded; policy `faq`: refused    |
//! | some used, expired  | a request that waits for an operator   | refused, `order_has_used_plan`     |
//! | all used, expired   | refused, `plan_used` or `plan_expired` | refused likewise                   |
//!
//! Plans that were refunded before are neither used nor unused. A plan gives back its price less its
//! share of the coupon; penalties against the order are kept of it. An approved request gives back the
//! unused plans and cancels the others: what is left of them is forfeited.

use std::sync::Arc;

use super::account::{Funds, Status};
use super::invoice::invoice_id;
use super::ledger::{Cause, Entry, Ledger, LedgerFault};
use super::money::{Micros, MoneyFault};
use super::period::Timestamp;
use super::plan::Plan;

/// Which of the specification's two texts holds for orders of several plans (D6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiPlan {
    /// One plan of an unused order can be refunded by itself (R147).
    Overview,
    /// Only the whole order (R55).
    Faq,
}

/// What an operator decides about refunds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefundPolicy {
    pub multi_plan: MultiPlan,
    /// Requests that would wait for an operator are rejected at once.
    pub auto_reject: bool,
    /// A plan that ever paid stays used when all of it has come back (D7).
    pub used_once_is_used: bool,
}

/// What has become of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    Paid,
    PartlyRefunded,
    Refunded,
    /// A request for its refund waits for an operator.
    PendingReview,
    /// The request was turned down; another may follow.
    Rejected,
}

impl OrderStatus {
    const ALL: [OrderStatus; 5] = [
        OrderStatus::Paid,
        OrderStatus::PartlyRefunded,
        OrderStatus::Refunded,
        OrderStatus::PendingReview,
        OrderStatus::Rejected,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            OrderStatus::Paid => "paid",
            OrderStatus::PartlyRefunded => "partly_refunded",
            OrderStatus::Refunded => "refunded",
            OrderStatus::PendingReview => "pending_review",
            OrderStatus::Rejected => "rejected",
        }
    }

    pub fn parse(word: &str) -> Option<OrderStatus> {
        OrderStatus::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// A plan of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bought {
    pub plan_id: Arc<str>,
    pub plan: Plan,
    /// The commodity of its units in the books.
    pub commodity: Arc<str>,
    /// Its price less its share of the coupon, VAT included.
    pub cash: Micros,
    /// A refund cancelled it before.
    pub cancelled: bool,
}

/// An order with all its plans, and the account's money.
#[derive(Clone, Debug)]
pub struct Sold {
    pub order_no: i64,
    pub order_id: Arc<str>,
    pub account_id: Arc<str>,
    pub currency: Arc<str>,
    pub account_status: Status,
    pub funds: Funds,
    pub status: OrderStatus,
    pub placed_at: Timestamp,
    /// The invoice that stands for it.
    pub invoice_no: Option<i64>,
    /// Number of its last refund.
    pub refunds: i64,
    /// Penalties against it that no refund has kept yet.
    pub penalties: Micros,
    pub plans: Vec<Bought>,
}

/// What waits to be charged or settled, and may yet touch the order's plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// The account has messages sent since the order that no run has charged.
    pub uncharged: bool,
    /// It has such messages in suspense (D82).
    pub suspense: bool,
    /// It has failures that no run has answered. They may go back to plans that were used.
    pub failures: bool,
}

/// How an order answers to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Refunded(Refund),
    /// It waits for an operator.
    Pending,
    /// It was turned down at once.
    Rejected,
}

/// What a refund does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    pub refund_no: i64,
    /// The order's status afterwards.
    pub status: OrderStatus,
    /// Cash shares of the plans that are given back.
    pub cash: Micros,
    /// What penalties keep of it.
    pub kept: Micros,
    /// What the account gets: cash - kept.
    pub amount: Micros,
    pub plans: Vec<Cancelled>,
    pub funds: Funds,
    pub entry: Entry,
}

/// A plan that a refund ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled {
    pub plan_no: i64,
    /// Units that ended with it.
    pub units: i64,
    /// The cash that it gives back; None for a used or expired one, which gives back nothing.
    pub cash: Option<Micros>,
}

/// Why an order is not refunded, in order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefundRefusal {
    #[error("order {order} is {status}: no request for its refund waits; see `quittance order show {order}`")]
    NotPending { order: Arc<str>, status: &'static str },
    #[error("account {0} is closed: nothing can be paid into it any more")]
    AccountClosed(Arc<str>),
    #[error("order {order} has no plan {plan}; see `quittance order show {order}`")]
    UnknownPlan { order: Arc<str>, plan: String },
    #[error("{what} was refunded before; see `quittance order show {order}` for what it gave back")]
    AlreadyRefunded { order: Arc<str>, what: String },
    #[error("plans of an order are not refunded by themselves: leave --plan out, for the whole of order {0}")]
    WholeOrderOnly(Arc<str>),
    #[error(
        "plan {plan} of order {order} is {why}: no plan of such an order is refunded by itself; leave --plan out to ask \
         for the whole order, which an operator decides"
    )]
    OrderHasUsedPlan { order: Arc<str>, plan: Arc<str>, why: &'static str },
    #[error("plan {0} was used: used plans are not refunded; what is left of it is good until it expires")]
    PlanUsed(Arc<str>),
    #[error("plan {0} has expired: expired plans are not refunded")]
    PlanExpired(Arc<str>),
    #[error(
        "invoice {invoice} stands for order {order}: return it first (`quittance invoice return {invoice}`), then ask again"
    )]
    InvoiceIssued { order: Arc<str>, invoice: String },
    #[error(
        "messages that account {0} sent since the order wait to be charged: run `quittance --run-job aggregate-charges`, \
         then ask again"
    )]
    Uncharged(Arc<str>),
    #[error(
        "messages that account {0} sent since the order are in suspense: mend what `quittance exception list` says of \
         them, charge, then ask again"
    )]
    Suspense(Arc<str>),
    #[error(
        "failed messages of account {0} wait to be given back: run `quittance --run-job settle-receipts`, then ask again"
    )]
    Unsettled(Arc<str>),
    #[error("the refund can't be booked: {0}")]
    Money(#[from] MoneyFault),
    #[error("the refund can't be booked: {0}")]
    Ledger(#[from] LedgerFault),
}

impl RefundRefusal {
    /// The name that scripts read.
    pub fn code(&self) -> &'static str {
        match self {
            RefundRefusal::NotPending { .. } => "not_pending",
            RefundRefusal::AccountClosed(_) => "account_closed",
            RefundRefusal::UnknownPlan { .. } => "unknown_plan",
            RefundRefusal::AlreadyRefunded { .. } => "already_refunded",
            RefundRefusal::WholeOrderOnly(_) => "whole_order_only",
            RefundRefusal::OrderHasUsedPlan { .. } => "order_has_used_plan",
            RefundRefusal::PlanUsed(_) => "plan_used",
            RefundRefusal::PlanExpired(_) => "plan_expired",
            RefundRefusal::InvoiceIssued { .. } => "invoice_issued",
            RefundRefusal::Uncharged(_) | RefundRefusal::Suspense(_) => "charging_behind",
            RefundRefusal::Unsettled(_) => "settling_behind",
            RefundRefusal::Money(_) | RefundRefusal::Ledger(_) => "amount_out_of_range",
        }
    }
}

/// A plan as a refund judges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// Refunded before.
    Cancelled,
    Unused,
    Used,
    Expired,
}

impl Bought {
    fn condition(&self, policy: RefundPolicy, now: Timestamp) -> Condition {
        let plan = &self.plan;
        let drawn = plan.size - plan.remaining - plan.forfeited;
        let used = drawn != 0 || (policy.used_once_is_used && plan.last_draw.is_some());
        match () {
            () if self.cancelled => Condition::Cancelled,
            () if used => Condition::Used,
            () if plan.expires_at <= now || plan.forfeited > 0 => Condition::Expired,
            () => Condition::Unused,
        }
    }

    fn refusal(&self, condition: Condition) -> RefundRefusal {
        match condition {
            Condition::Used => RefundRefusal::PlanUsed(self.plan_id.clone()),
            _ => RefundRefusal::PlanExpired(self.plan_id.clone()),
        }
    }
}

/// Answers a request to refund an order, or one plan of it.
pub fn request(
    order: &Sold,
    plan_id: Option<&str>,
    policy: RefundPolicy,
    behind: Behind,
    now: Timestamp,
) -> Result<Answer, RefundRefusal> {
    let judged = Judged::new(order, policy, now)?;
    let wanted = match plan_id {
        Some(plan_id) => judged.plan(plan_id)?,
        None => judged.whole()?,
    };
    let spent = judged.spent();
    let all_spent = spent.len() == order.plans.len();
    match (spent.first(), plan_id) {
        (Some(_), _) if all_spent => return Err(judged.why_spent(&wanted)),
        (Some((bought, condition)), Some(_)) => {
            let why = if *condition == Condition::Used { "used" } else { "expired" };
            let (order, plan) = (order.order_id.clone(), bought.plan_id.clone());
            return Err(RefundRefusal::OrderHasUsedPlan { order, plan, why });
        }
        _ => {}
    }
    order.is_free(Behind { failures: false, ..behind })?;
    if spent.is_empty() {
        return order.refund(&wanted, now).map(Answer::Refunded);
    }
    Ok(if policy.auto_reject { Answer::Rejected } else { Answer::Pending })
}

/// What the operator's approval of a request does: the amount is that of this moment (D63).
pub fn approve(
    order: &Sold,
    policy: RefundPolicy,
    behind: Behind,
    now: Timestamp,
) -> Result<Refund, RefundRefusal> {
    order.is_pending()?;
    let judged = Judged::new(order, policy, now)?;
    let open = judged.whole()?;
    if open.iter().all(|(_, condition)| *condition != Condition::Unused) {
        return Err(judged.why_spent(&open));
    }
    order.is_free(behind)?;
    order.refund(&open, now)
}

/// What an order would give back now: its unused plans, less penalties. Nothing is paid into a closed
/// account.
pub fn refundable(order: &Sold, policy: RefundPolicy, now: Timestamp) -> Micros {
    if order.account_status == Status::Closed {
        return Micros::ZERO;
    }
    let unused = order.plans.iter().filter(|bought| bought.condition(policy, now) == Condition::Unused);
    let cash: i64 = unused.map(|bought| bought.cash.0).sum();
    Micros(cash - cash.min(order.penalties.0.max(0)))
}

impl Sold {
    /// Whether a request waits for an operator.
    pub fn is_pending(&self) -> Result<(), RefundRefusal> {
        if self.status == OrderStatus::PendingReview {
            return Ok(());
        }
        Err(RefundRefusal::NotPending { order: self.order_id.clone(), status: self.status.as_str() })
    }

    /// Nothing stands for the order or waits that could still touch its plans.
    fn is_free(&self, behind: Behind) -> Result<(), RefundRefusal> {
        let account = || self.account_id.clone();
        match self.invoice_no {
            Some(invoice_no) => {
                let invoice = invoice_id(&self.account_id, invoice_no);
                Err(RefundRefusal::InvoiceIssued { order: self.order_id.clone(), invoice })
            }
            None if behind.uncharged => Err(RefundRefusal::Uncharged(account())),
            None if behind.suspense => Err(RefundRefusal::Suspense(account())),
            None if behind.failures => Err(RefundRefusal::Unsettled(account())),
            None => Ok(()),
        }
    }

    /// Ends these plans: the unused ones give back their cash, what is left of the others is forfeited.
    fn refund(&self, wanted: &[(&Bought, Condition)], now: Timestamp) -> Result<Refund, RefundRefusal> {
        let refund_no = self.refunds + 1;
        let mut entry = Entry::new(Cause::Refund { order_no: self.order_no, refund_no }, now);
        let mut cash = Micros::ZERO;
        let mut plans = Vec::new();
        for (bought, condition) in wanted {
            let given_back = *condition == Condition::Unused;
            let plan = &bought.plan;
            let (no, value) = (plan.plan_no, plan.liability());
            entry.debit(Ledger::ContractPlan(no), &self.currency, value.0)?;
            entry.credit(Ledger::QuotaPlan(no), &bought.commodity, plan.remaining)?;
            if given_back {
                cash = cash.plus(bought.cash)?;
                entry.debit(Ledger::VatPending, &self.currency, bought.cash.minus(plan.net)?.0)?;
                // Units that came back brought the value of where they had been.
                entry.debit(Ledger::RefundDifference, &self.currency, plan.net.minus(value)?.0)?;
                entry.debit(Ledger::QuotaIssued, &bought.commodity, plan.remaining)?;
            } else {
                entry.credit(Ledger::Breakage, &self.currency, value.0)?;
                entry.debit(Ledger::QuotaExpired, &bought.commodity, plan.remaining)?;
            }
            let cash = given_back.then_some(bought.cash);
            plans.push(Cancelled { plan_no: no, units: plan.remaining, cash });
        }
        let kept = self.penalties.max(Micros::ZERO).min(cash);
        let amount = cash.minus(kept)?;
        let mut funds = self.funds;
        entry.credit(Ledger::Penalty, &self.currency, kept.0)?;
        entry.post_paid_in(&mut funds, &self.currency, amount)?;
        let open = self.plans.iter().filter(|bought| !bought.cancelled).count();
        let status = if wanted.len() == open { OrderStatus::Refunded } else { OrderStatus::PartlyRefunded };
        Ok(Refund { refund_no, status, cash, kept, amount, plans, funds, entry: entry.balanced()? })
    }
}

/// An order's plans, each with its condition.
struct Judged<'s> {
    order: &'s Sold,
    policy: RefundPolicy,
    plans: Vec<(&'s Bought, Condition)>,
}

impl<'s> Judged<'s> {
    fn new(order: &'s Sold, policy: RefundPolicy, now: Timestamp) -> Result<Judged<'s>, RefundRefusal> {
        if order.account_status == Status::Closed {
            return Err(RefundRefusal::AccountClosed(order.account_id.clone()));
        }
        let plans = order.plans.iter().map(|bought| (bought, bought.condition(policy, now))).collect();
        Ok(Judged { order, policy, plans })
    }

    /// The plans that were not refunded before.
    fn whole(&self) -> Result<Vec<(&'s Bought, Condition)>, RefundRefusal> {
        let open = self.plans.iter().filter(|(_, condition)| *condition != Condition::Cancelled);
        let open: Vec<_> = open.copied().collect();
        if open.is_empty() {
            return Err(self.already_refunded());
        }
        Ok(open)
    }

    fn already_refunded(&self) -> RefundRefusal {
        let order = self.order.order_id.clone();
        RefundRefusal::AlreadyRefunded { what: format!("order {order}"), order }
    }

    /// Those that were used or have expired.
    fn spent(&self) -> Vec<(&'s Bought, Condition)> {
        let spent = |condition| matches!(condition, Condition::Used | Condition::Expired);
        self.plans.iter().filter(|(_, condition)| spent(*condition)).copied().collect()
    }

    /// One plan, where it may be asked for by itself.
    fn plan(&self, plan_id: &str) -> Result<Vec<(&'s Bought, Condition)>, RefundRefusal> {
        let order = &self.order.order_id;
        let found = self.plans.iter().find(|(bought, _)| *bought.plan_id == *plan_id);
        match found {
            None => Err(RefundRefusal::UnknownPlan { order: order.clone(), plan: plan_id.to_owned() }),
            Some((_, Condition::Cancelled)) => {
                Err(RefundRefusal::AlreadyRefunded { order: order.clone(), what: format!("plan {plan_id}") })
            }
            Some(_) if self.policy.multi_plan == MultiPlan::Faq && self.plans.len() > 1 => {
                Err(RefundRefusal::WholeOrderOnly(order.clone()))
            }
            Some(plan) => Ok(vec![*plan]),
        }
    }

    /// Why plans of which none is unused are not refunded: that one was used comes first.
    fn why_spent(&self, wanted: &[(&'s Bought, Condition)]) -> RefundRefusal {
        let used = wanted.iter().find(|(_, condition)| *condition == Condition::Used);
        match used.or(wanted.first()) {
            Some((bought, condition)) => bought.refusal(*condition),
            None => self.already_refunded(),
        }
    }
}

#[cfg(test)]
mod tests;
