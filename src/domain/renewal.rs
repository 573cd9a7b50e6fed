//! Auto-renewal: a new plan bought from the balance when few units are left, or ten days before the plan in
//! use ends (R34-R45, R139-R142, D20, D62, D73, D75).
//!
//! What decides is the state at a run: units left, plans, the money there is, and what was renewed before.
//! A purchase lifts what is left above the threshold and uses up the time of the plan in use, so that the
//! next run finds nothing due, however often it is run.

use std::sync::Arc;

use super::money::Micros;
use super::order::{Customer, Item, Order, OrderRefusal, place_order};
use super::period::{Timestamp, Validity, Zone};
use super::plan::Plan;
use super::price::{Buyer, Package, PriceBook};
use super::product::{Catalog, Product};

/// How long before the end of the plan in use a renewal is due (R39).
pub const BEFORE_END: i64 = Package::RENEWED_BEFORE_DAYS as i64 * Timestamp::DAY;

/// What an account wants renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub product: Arc<str>,
    pub package: Arc<str>,
    /// Renewal is due when no more units than these are left.
    pub threshold: i64,
}

/// What made a renewal due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueBy {
    /// Few units are left (R38).
    Threshold,
    /// The plan in use ends within ten days (R39).
    Time,
    Both,
}

impl DueBy {
    pub fn parse(word: &str) -> Option<DueBy> {
        [DueBy::Threshold, DueBy::Time, DueBy::Both].into_iter().find(|due_by| due_by.as_str() == word)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            DueBy::Threshold => "threshold",
            DueBy::Time => "time",
            DueBy::Both => "both",
        }
    }
}

/// What was renewed before, of the same product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Plans that were in use when a renewal was bought: their time is used up.
    pub used_up: Vec<i64>,
    /// Purchases of the day, in the billing zone.
    pub today: i64,
}

/// A renewal that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub by: DueBy,
    /// The plan in use; None where the account never had one.
    pub plan_no: Option<i64>,
    /// Units left in all plans that can pay.
    pub remaining: i64,
}

/// The package of a renewal at the renewal's own price and validity (R41, D73).
#[derive(Clone, Debug)]
pub struct Offer<'a> {
    pub product: &'a Product,
    pub package: &'a Package,
    /// What the account pays without renewal.
    pub list_price: Micros,
    pub discount_ppm: i64,
    pub price: Micros,
    pub validity: Validity,
}

/// Why nothing is renewed, in order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewalRefusal {
    #[error("account {0} is closed")]
    AccountClosed(Arc<str>),
    #[error("there is no package `{0}`; see `quittance package list`")]
    UnknownPackage(Arc<str>),
    #[error("plans of {0} are not renewed automatically; buy the next one with `quittance order place`")]
    NotAllowed(Arc<str>),
    #[error(
        "package `{package}` is sold in {sold}, account `{account_id}` pays in {pays}; see `quittance package list --account {account_id}`"
    )]
    OtherCurrency { package: Arc<str>, sold: Arc<str>, account_id: Arc<str>, pays: Arc<str> },
    #[error(
        "package `{package}` is not on sale for account `{account_id}` now; see `quittance package list --account {account_id}`"
    )]
    NotOnSale { package: Arc<str>, account_id: Arc<str> },
    #[error(
        "package `{package}` has {size} units, no more than the threshold of {threshold}: the next one would \
         be due at once; lower the threshold or take a larger package"
    )]
    TooSmall { package: Arc<str>, size: i64, threshold: i64 },
    #[error(
        "a renewed plan of package `{package}` would be valid for {validity}, and the next one is due {} days \
         before its end: take a package that is valid longer",
        Package::RENEWED_BEFORE_DAYS
    )]
    TooShort { package: Arc<str>, validity: Validity },
    #[error("{product} was renewed {count} times today, as often as it may be; it is tried again tomorrow")]
    DailyLimit { product: Arc<str>, count: i64 },
    #[error(transparent)]
    Order(#[from] OrderRefusal),
}

impl RenewalRefusal {
    /// The name that scripts read.
    pub fn code(&self) -> &'static str {
        match self {
            RenewalRefusal::AccountClosed(_) => "account_closed",
            RenewalRefusal::UnknownPackage(_) => "unknown_package",
            RenewalRefusal::NotAllowed(_) => "renewal_not_allowed",
            RenewalRefusal::OtherCurrency { .. } => "other_currency",
            RenewalRefusal::NotOnSale { .. } => "not_on_sale",
            RenewalRefusal::TooSmall { .. } => "renewal_too_small",
            RenewalRefusal::TooShort { .. } => "renewal_too_short",
            RenewalRefusal::DailyLimit { .. } => "daily_limit",
            RenewalRefusal::Order(refusal) => refusal.code(),
        }
    }
}

/// What a run does about one setting.
#[derive(Clone, Debug)]
pub enum Decision<'a> {
    Nothing,
    /// It was due and could not be done: nothing is used up, the next run tries again.
    Refuse(Due, RenewalRefusal),
    Buy(Due, Offer<'a>, Box<Order>),
}

/// The rules of a run.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub catalog: &'a Catalog,
    pub book: &'a PriceBook,
    pub zone: Zone,
    /// How often a product is renewed for an account in a day of the billing zone (D62).
    pub max_per_day: i64,
    pub now: Timestamp,
}

/// Decides about one setting of an account. `plans` are all of the account's plans of the product, `kind`
/// is the account's kind as prices know it.
///
/// # Example: the threshold, exactly
/// 100 of 1,000 messages are left and the threshold is 100: a plan is bought, at most one a run. See
/// `tests/scenarios/renewal/threshold`.
pub fn decide<'a>(
    customer: &Customer,
    kind: &str,
    plans: &[Plan],
    setting: &Setting,
    before: &Before,
    rules: Rules<'a>,
) -> Decision<'a> {
    let Some(due) = due(plans, setting, before, rules.now) else { return Decision::Nothing };
    match buy(customer, kind, setting, before, rules) {
        Ok((offer, order)) => Decision::Buy(due, offer, Box::new(order)),
        Err(refusal) => Decision::Refuse(due, refusal),
    }
}

/// Whether a renewal is due, and by what (D62).
pub fn due(plans: &[Plan], setting: &Setting, before: &Before, now: Timestamp) -> Option<Due> {
    let paying = || plans.iter().filter(|plan| plan.is_valid(now) && plan.remaining > 0);
    let remaining = paying().map(|plan| plan.remaining).sum();
    let drawn = plans.iter().filter(|plan| plan.last_draw.is_some());
    let in_use = paying()
        .min_by_key(|plan| plan.burn_order())
        .or_else(|| drawn.max_by_key(|plan| (plan.last_draw, plan.burn_order())));
    let few = remaining <= setting.threshold;
    // Who bought the next plan by hand in those days needs no other (D75).
    let bought = |plan: &Plan, since| {
        let later = |at| at >= since && at > plan.effective_at;
        paying().any(|other| later(other.effective_at))
    };
    let soon = in_use.is_some_and(|plan| {
        let since = plan.expires_at.plus_micros(-BEFORE_END);
        now >= since && !before.used_up.contains(&plan.plan_no) && !bought(plan, since)
    });
    let by = match (few, soon) {
        (true, true) => DueBy::Both,
        (true, false) => DueBy::Threshold,
        (false, true) => DueBy::Time,
        (false, false) => return None,
    };
    Some(Due { by, plan_no: in_use.map(|plan| plan.plan_no), remaining })
}

fn buy<'a>(
    customer: &Customer,
    kind: &str,
    setting: &Setting,
    before: &Before,
    rules: Rules<'a>,
) -> Result<(Offer<'a>, Order), RenewalRefusal> {
    let offer = offer(customer, kind, setting, rules)?;
    if before.today >= rules.max_per_day {
        let product = setting.product.clone();
        return Err(RenewalRefusal::DailyLimit { product, count: before.today });
    }
    let item = Item {
        package_id: offer.package.id.clone(),
        product: offer.product,
        size: offer.package.size,
        validity: offer.validity,
        gift: offer.package.gift,
        countries: offer.package.countries.clone(),
        price: offer.price,
        quantity: 1,
    };
    let order = place_order(customer, &[item], None, rules.now, rules.zone)?;
    Ok((offer, order))
}

/// The package that a setting names as it would be renewed now, or why it can't be.
pub fn offer<'a>(
    customer: &Customer,
    kind: &str,
    setting: &Setting,
    rules: Rules<'a>,
) -> Result<Offer<'a>, RenewalRefusal> {
    use RenewalRefusal::*;
    let account_id = || customer.account_id.clone();
    if customer.status == super::account::Status::Closed {
        return Err(AccountClosed(account_id()));
    }
    let known = rules.book.package(&setting.package);
    let package = known.ok_or_else(|| UnknownPackage(setting.package.clone()))?;
    let product = rules.catalog.get(&package.product).filter(|product| product.id == setting.product);
    let product = product.ok_or_else(|| UnknownPackage(setting.package.clone()))?;
    if !product.renewal {
        return Err(NotAllowed(product.id.clone()));
    }
    customer.check_verified(product)?;
    let id = || package.id.clone();
    if package.currency != customer.currency {
        let (sold, pays) = (package.currency.clone(), customer.currency.clone());
        return Err(OtherCurrency { package: id(), sold, account_id: account_id(), pays });
    }
    let buyer = Buyer { account_id: &customer.account_id, kind, currency: &customer.currency };
    let list_price = package.price_for(buyer).filter(|_| package.on_sale(rules.now));
    let list_price = list_price.ok_or_else(|| NotOnSale { package: id(), account_id: account_id() })?;
    if package.size <= setting.threshold {
        return Err(TooSmall { package: id(), size: package.size, threshold: setting.threshold });
    }
    let validity = package.renewal_validity.unwrap_or(package.validity);
    if matches!(validity, Validity::Days(days) if days <= Package::RENEWED_BEFORE_DAYS) {
        return Err(TooShort { package: id(), validity });
    }
    let discount_ppm = package.renewal_discount_ppm.unwrap_or(0);
    let price = package.renewal_price(list_price);
    Ok(Offer { product, package, list_price, discount_ppm, price, validity })
}

#[cfg(test)]
mod tests;
