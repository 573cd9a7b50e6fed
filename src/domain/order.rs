//! Orders: packages bought from the balance become plans, effective at once
//! (R8, R37, R54, R65, R73, R77, R103, R145, D2, D21, D34, D54, D76, D85).

use std::sync::Arc;

use super::account::{Funds, Status};
use super::ledger::{Cause, Entry, Ledger, LedgerFault};
use super::money::{Micros, MoneyFault};
use super::period::{Timestamp, Validity, Zone};
use super::product::Product;

/// The buyer as an order sees it.
#[derive(Clone, Debug)]
pub struct Customer {
    pub account_id: Arc<str>,
    pub currency: Arc<str>,
    pub status: Status,
    pub verified: bool,
    pub funds: Funds,
    /// Numbers of the last order and the last plan.
    pub orders: i64,
    pub plans: i64,
}

/// One line of an order: so many plans of one package at the price that the account is shown.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    pub package_id: Arc<str>,
    pub product: &'a Product,
    pub size: i64,
    pub validity: Validity,
    pub price: Micros,
    pub quantity: i64,
}

/// A plan that an order makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPlan {
    pub plan_no: i64,
    pub plan_id: String,
    pub product: Arc<str>,
    pub package_id: Arc<str>,
    pub size: i64,
    pub price: Micros,
    /// Price without VAT: the liability until it is used.
    pub net: Micros,
    pub effective_at: Timestamp,
    pub expires_at: Timestamp,
}

/// An order that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub order_no: i64,
    pub order_id: String,
    pub placed_at: Timestamp,
    pub total: Micros,
    pub plans: Vec<NewPlan>,
    pub entry: Entry,
}

/// Why an order is refused, in order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefusal {
    #[error("account {0} is closed")]
    AccountClosed(Arc<str>),
    #[error("an order needs between 1 and {MAX_PLANS} plans")]
    QuantityOutOfRange,
    #[error("{product} can be bought by verified accounts only; run `quittance account verify {account_id}`")]
    NotVerified { account_id: Arc<str>, product: Arc<str> },
    #[error("purchase not allowed: {available} {currency} are available; top up until it is more than 0")]
    PurchaseNotAllowed { available: Micros, currency: Arc<str> },
    #[error("the order costs {total} {currency}, {available} {currency} are available; top up first")]
    InsufficientBalance { total: Micros, available: Micros, currency: Arc<str> },
    #[error("the order can't be booked: {0}")]
    Money(#[from] MoneyFault),
    #[error("the order can't be booked: {0}")]
    Ledger(#[from] LedgerFault),
}

/// Plans that one order may hold.
pub const MAX_PLANS: i64 = 1_000;

impl OrderRefusal {
    /// The name that scripts read.
    pub fn code(&self) -> &'static str {
        match self {
            OrderRefusal::AccountClosed(_) => "account_closed",
            OrderRefusal::QuantityOutOfRange => "quantity_out_of_range",
            OrderRefusal::NotVerified { .. } => "not_verified",
            OrderRefusal::PurchaseNotAllowed { .. } => "purchase_not_allowed",
            OrderRefusal::InsufficientBalance { .. } => "insufficient_balance",
            OrderRefusal::Money(_) | OrderRefusal::Ledger(_) => "amount_out_of_range",
        }
    }
}

/// The id of an account's so many-eth order.
pub fn order_id(account_id: &str, order_no: i64) -> String {
    format!("{account_id}-o{order_no}")
}

/// Takes an order at `now`, paid whole from the balance, or says why not.
pub fn place_order(
    customer: &Customer,
    items: &[Item<'_>],
    now: Timestamp,
    zone: Zone,
) -> Result<Order, OrderRefusal> {
    let total = judge(customer, items)?;
    let order_no = customer.orders + 1;
    let mut entry = Entry::new(Cause::Order { order_no }, now);
    let mut plans = Vec::new();
    let bought = items.iter().flat_map(|item| (0..item.quantity).map(move |_| item));
    for (item, plan_no) in bought.zip(customer.plans + 1..) {
        let net = item.price.net_of_vat(item.product.vat_at(now));
        entry.credit(Ledger::ContractPlan(plan_no), &customer.currency, net.0)?;
        entry.credit(Ledger::VatPending, &customer.currency, item.price.minus(net)?.0)?;
        entry.debit(Ledger::QuotaPlan(plan_no), &item.product.commodity, item.size)?;
        entry.credit(Ledger::QuotaIssued, &item.product.commodity, item.size)?;
        plans.push(NewPlan {
            plan_no,
            plan_id: format!("{}-p{plan_no}", customer.account_id),
            product: item.product.id.clone(),
            package_id: item.package_id.clone(),
            size: item.size,
            price: item.price,
            net,
            effective_at: now,
            expires_at: zone.end_of_validity(now, item.validity),
        });
    }
    entry.debit(Ledger::Balance, &customer.currency, total.0)?;
    Ok(Order {
        order_no,
        order_id: order_id(&customer.account_id, order_no),
        placed_at: now,
        total,
        plans,
        entry: entry.balanced()?,
    })
}

/// The order's total, or the first reason against it.
fn judge(customer: &Customer, items: &[Item<'_>]) -> Result<Micros, OrderRefusal> {
    let account_id = || customer.account_id.clone();
    if customer.status == Status::Closed {
        return Err(OrderRefusal::AccountClosed(account_id()));
    }
    let in_range = items.iter().all(|item| (1..=MAX_PLANS).contains(&item.quantity));
    let count: i64 = items.iter().map(|item| item.quantity.clamp(0, MAX_PLANS + 1)).sum();
    if !in_range || !(1..=MAX_PLANS).contains(&count) {
        return Err(OrderRefusal::QuantityOutOfRange);
    }
    if let Some(item) = items.iter().find(|item| item.product.needs_verification && !customer.verified) {
        return Err(OrderRefusal::NotVerified { account_id: account_id(), product: item.product.id.clone() });
    }
    let available = customer.funds.available()?;
    // At exactly 0 an account is not overdue, but "greater than 0" is what buying asks (D2, R73).
    if customer.status == Status::Suspended || available <= Micros::ZERO {
        let currency = customer.currency.clone();
        return Err(OrderRefusal::PurchaseNotAllowed { available, currency });
    }
    let mut total = Micros::ZERO;
    for item in items {
        total = total.plus(item.price.times(item.quantity)?)?;
    }
    if available < total {
        let currency = customer.currency.clone();
        return Err(OrderRefusal::InsufficientBalance { total, available, currency });
    }
    Ok(total)
}
