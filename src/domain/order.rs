//! Orders: packages bought from the balance become plans, effective at once
//! (R8, R37, R54, R62, R63, R65, R73, R77, R103, R145, D2, D21, D34, D54, D72, D76, D85).
//!
//! A coupon pays before cash and lowers what the plans are worth in the books: their liability is the
//! cash share of each, without VAT. Gifts come for nothing: units inside a plan's size, months of
//! validity, coupons.

use std::sync::Arc;

use super::account::{Funds, Status};
use super::countries::Countries;
use super::coupon::{Coupon, CouponRefusal, shares};
use super::ledger::{Cause, Entry, Ledger, LedgerFault};
use super::money::{Micros, MoneyFault};
use super::package::Gift;
use super::period::{Timestamp, Validity, Zone};
use super::product::Product;

/// The buyer as an order sees it.
#[derive(Clone, Debug)]
pub struct Customer {
    pub account_id: Arc<str>,
    pub currency: Arc<str>,
    pub status: Status,
    pub verified: bool,
    /// For which region, where it is told (R3).
    pub verified_region: Option<String>,
    pub funds: Funds,
    /// Numbers of the last order and the last plan.
    pub orders: i64,
    pub plans: i64,
}

impl Customer {
    /// Whether a product may be activated, bought and renewed: some are for verified accounts, or for those
    /// that are verified for a region (R2, R3).
    pub fn check_verified(&self, product: &Product) -> Result<(), OrderRefusal> {
        let (account_id, product_id) = (self.account_id.clone(), product.id.clone());
        if product.needs_verification && !self.verified {
            return Err(OrderRefusal::NotVerified { account_id, product: product_id });
        }
        match product.lacks_region(self.verified_region.as_deref()) {
            Some(region) => {
                let region = region.to_owned();
                Err(OrderRefusal::NotVerifiedFor { account_id, product: product_id, region })
            }
            None => Ok(()),
        }
    }
}

/// One line of an order: so many plans of one package at the price that the account is shown.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    pub package_id: Arc<str>,
    pub product: &'a Product,
    /// Units that are sold.
    pub size: i64,
    pub validity: Validity,
    pub gift: Gift,
    pub countries: Countries,
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
    /// Gift units included.
    pub size: i64,
    /// Gift units.
    pub bonus: i64,
    pub countries: Countries,
    pub price: Micros,
    /// What the coupon paid of the price.
    pub coupon: Micros,
    /// What cash paid, without VAT: the liability until it is used.
    pub net: Micros,
    /// The amount of the coupon that comes with it; zero: none.
    pub gift_coupon: Micros,
    pub effective_at: Timestamp,
    pub expires_at: Timestamp,
}

/// An order that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub order_no: i64,
    pub order_id: String,
    pub placed_at: Timestamp,
    /// By list prices.
    pub total: Micros,
    /// The coupon that paid, and what it paid.
    pub coupon_no: Option<i64>,
    pub coupon: Micros,
    /// In cash.
    pub paid: Micros,
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
    #[error("{product} is for verified accounts only; run `quittance account verify {account_id}`")]
    NotVerified { account_id: Arc<str>, product: Arc<str> },
    #[error(
        "{product} is for accounts verified for {region} only; run \
         `quittance account verify {account_id} --region {region}`"
    )]
    NotVerifiedFor { account_id: Arc<str>, product: Arc<str>, region: String },
    #[error(
        "account {0} is suspended for a violation of the terms; `quittance account show {0}` says why, `quittance account release {0}` ends it"
    )]
    AccountHeld(Arc<str>),
    #[error("purchase not allowed: {available} {currency} are available; top up until it is more than 0")]
    PurchaseNotAllowed { available: Micros, currency: Arc<str> },
    #[error(transparent)]
    Coupon(#[from] CouponRefusal),
    #[error("the order costs {cash} {currency}{after}, {available} {currency} are available; top up first")]
    InsufficientBalance { cash: Micros, after: &'static str, available: Micros, currency: Arc<str> },
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
            OrderRefusal::NotVerified { .. } | OrderRefusal::NotVerifiedFor { .. } => "not_verified",
            OrderRefusal::AccountHeld(_) => "account_held",
            OrderRefusal::PurchaseNotAllowed { .. } => "purchase_not_allowed",
            OrderRefusal::Coupon(refusal) => refusal.code(),
            OrderRefusal::InsufficientBalance { .. } => "insufficient_balance",
            OrderRefusal::Money(_) | OrderRefusal::Ledger(_) => "amount_out_of_range",
        }
    }
}

/// The id of an account's so many-eth order.
pub fn order_id(account_id: &str, order_no: i64) -> String {
    format!("{account_id}-o{order_no}")
}

/// Takes an order at `now`, or says why not: a coupon pays first, the balance the rest.
pub fn place_order(
    customer: &Customer,
    items: &[Item<'_>],
    coupon: Option<&Coupon>,
    now: Timestamp,
    zone: Zone,
) -> Result<Order, OrderRefusal> {
    let Cost { total, coupon: pays, cash } = judge(customer, items, coupon, now)?;
    let order_no = customer.orders + 1;
    let mut entry = Entry::new(Cause::Order { order_no }, now);
    let mut plans = Vec::new();
    let bought: Vec<&Item<'_>> =
        items.iter().flat_map(|item| (0..item.quantity).map(move |_| item)).collect();
    let prices: Vec<Micros> = bought.iter().map(|item| item.price).collect();
    let shares = shares(pays, &prices);
    for ((item, share), plan_no) in bought.into_iter().zip(shares).zip(customer.plans + 1..) {
        let paid = item.price.minus(share)?;
        let net = paid.net_of_vat(item.product.vat_at(now));
        let size = item.size.checked_add(item.gift.units).ok_or(MoneyFault::Overflow)?;
        entry.credit(Ledger::ContractPlan(plan_no), &customer.currency, net.0)?;
        entry.credit(Ledger::VatPending, &customer.currency, paid.minus(net)?.0)?;
        entry.debit(Ledger::QuotaPlan(plan_no), &item.product.commodity, size)?;
        entry.credit(Ledger::QuotaIssued, &item.product.commodity, size)?;
        plans.push(NewPlan {
            plan_no,
            plan_id: format!("{}-p{plan_no}", customer.account_id),
            product: item.product.id.clone(),
            package_id: item.package_id.clone(),
            size,
            bonus: item.gift.units,
            countries: item.countries.clone(),
            price: item.price,
            coupon: share,
            net,
            gift_coupon: item.gift.coupon,
            effective_at: now,
            expires_at: expires_at(item, now, zone),
        });
    }
    entry.debit(Ledger::Balance, &customer.currency, cash.0)?;
    Ok(Order {
        order_no,
        order_id: order_id(&customer.account_id, order_no),
        placed_at: now,
        total,
        // A coupon that pays nothing, of a free order, is no part of it.
        coupon_no: coupon.filter(|_| pays > Micros::ZERO).map(|coupon| coupon.coupon_no),
        coupon: pays,
        paid: cash,
        plans,
        entry: entry.balanced()?,
    })
}

/// The end of a plan's validity: gift months are added to the same anchor, days after them (D21).
fn expires_at(item: &Item<'_>, now: Timestamp, zone: Zone) -> Timestamp {
    match (item.validity, item.gift.months) {
        (Validity::Months(months), gift) => {
            zone.end_of_validity(now, Validity::Months(months.saturating_add(gift)))
        }
        (days, 0) => zone.end_of_validity(now, days),
        (days, gift) => zone.end_of_validity(zone.end_of_validity(now, Validity::Months(gift)), days),
    }
}

/// What an order costs, and who pays: `total = coupon + cash`.
struct Cost {
    total: Micros,
    coupon: Micros,
    cash: Micros,
}

/// What the order costs, or the first reason against it.
fn judge(
    customer: &Customer,
    items: &[Item<'_>],
    coupon: Option<&Coupon>,
    now: Timestamp,
) -> Result<Cost, OrderRefusal> {
    let account_id = || customer.account_id.clone();
    if customer.status == Status::Closed {
        return Err(OrderRefusal::AccountClosed(account_id()));
    }
    let in_range = items.iter().all(|item| (1..=MAX_PLANS).contains(&item.quantity));
    let count: i64 = items.iter().map(|item| item.quantity.clamp(0, MAX_PLANS + 1)).sum();
    if !in_range || !(1..=MAX_PLANS).contains(&count) {
        return Err(OrderRefusal::QuantityOutOfRange);
    }
    for item in items {
        customer.check_verified(item.product)?;
    }
    if matches!(customer.status, Status::Held { .. }) {
        return Err(OrderRefusal::AccountHeld(account_id()));
    }
    let available = customer.funds.available()?;
    // At exactly 0 an account is not overdue, but "greater than 0" is what buying asks (D2, R73).
    if customer.status.is_suspended() || available <= Micros::ZERO {
        let currency = customer.currency.clone();
        return Err(OrderRefusal::PurchaseNotAllowed { available, currency });
    }
    let total = total(items)?;
    let pays = match coupon {
        Some(coupon) => coupon.pays(&products(items), total, now)?,
        None => Micros::ZERO,
    };
    let cash = total.minus(pays)?;
    if available < cash {
        let (currency, after) =
            (customer.currency.clone(), if pays.0 > 0 { " after its coupon" } else { "" });
        return Err(OrderRefusal::InsufficientBalance { cash, after, available, currency });
    }
    Ok(Cost { total, coupon: pays, cash })
}

/// What items cost by their list prices.
pub fn total(items: &[Item<'_>]) -> Result<Micros, MoneyFault> {
    items.iter().try_fold(Micros::ZERO, |sum, item| sum.plus(item.price.times(item.quantity)?))
}

/// The product of each item: what coupons look at.
pub fn products<'i>(items: &'i [Item<'_>]) -> Vec<&'i str> {
    items.iter().map(|item| &*item.product.id).collect()
}
