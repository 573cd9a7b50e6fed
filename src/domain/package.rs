//! Packages: what can be bought as a plan, and at which price (R22, R103, R137, D34, D72, D73).

use std::sync::Arc;

use super::countries::Countries;
use super::money::Micros;
use super::period::{Timestamp, Validity};
use super::price::{Buyer, Problem, Scope};

/// What comes with a plan of a package for nothing (R63, D72).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gift {
    /// Units beyond those that are sold; they are part of the plan's size.
    pub units: i64,
    /// Months by which the plan is valid longer.
    pub months: u32,
    /// The amount of a coupon; zero: none.
    pub coupon: Micros,
}

/// A prepaid package that can be bought as a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    pub id: Arc<str>,
    pub product: Arc<str>,
    /// Units that are sold.
    pub size: i64,
    pub currency: Arc<str>,
    pub validity: Validity,
    pub gift: Gift,
    /// The countries that its plans pay for.
    pub countries: Countries,
    /// Most specific scope first.
    pub prices: Vec<(Scope, Micros)>,
    /// On sale `from <= purchase < until`.
    pub from: Timestamp,
    pub until: Option<Timestamp>,
    /// What auto-renewal takes off the price, in millionths: 10 % is 100,000 (R41, D73).
    pub renewal_discount_ppm: Option<i64>,
    /// Validity of a renewed plan, where it differs from a bought one's (R41, D73).
    pub renewal_validity: Option<Validity>,
}

impl Package {
    /// The most units that one package may hold.
    pub const MAX_SIZE: i64 = 1_000_000_000_000;
    /// The most months by which a gift may lengthen a plan: ten years.
    pub const MAX_GIFT_MONTHS: u32 = 120;
    /// The largest gift coupon: a million currency units.
    pub const MAX_GIFT_COUPON: Micros = Micros(1_000_000 * Micros::PER_UNIT);
    /// Renewal is tried this many days before the end (R39), so a renewed plan must outlast them.
    pub const RENEWED_BEFORE_DAYS: u32 = 10;

    /// The price that this buyer is shown, which is final once ordered (R103). None where the
    /// package is in another currency or not for this buyer.
    ///
    /// # Example: an account's own price comes first
    /// ```
    /// use quittance::domain::{countries::Countries, money::Micros, period::{Timestamp, Validity}, price::*};
    /// let package = Package { id: "sms-domestic-1500".into(), product: "sms-domestic".into(), size: 1500,
    ///     currency: "CNY".into(), validity: Validity::Months(24), gift: Default::default(), countries: Countries::All,
    ///     prices: vec![(Scope::Account("A1".into()), Micros(70_000_000)), (Scope::Everyone, Micros(75_000_000))],
    ///     from: Timestamp(0), until: None, renewal_discount_ppm: None, renewal_validity: None };
    /// let buyer = |account_id| Buyer { account_id, kind: "enterprise", currency: "CNY" };
    /// assert_eq!(package.price_for(buyer("A1")), Some(Micros(70_000_000)));
    /// assert_eq!(package.price_for(buyer("A2")), Some(Micros(75_000_000)));
    /// ```
    pub fn price_for(&self, buyer: Buyer<'_>) -> Option<Micros> {
        let price = self.prices.iter().find(|(scope, _)| scope.includes(buyer));
        price.filter(|_| *self.currency == *buyer.currency).map(|(_, price)| *price)
    }

    /// Whether the package can be bought at a moment.
    pub fn on_sale(&self, at: Timestamp) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }

    /// What a renewal pays where the account is shown so much: the discount comes off, to the micro-unit
    /// (R41, D73).
    ///
    /// # Example: 5 % off 64.00 are 60.80
    /// ```
    /// use quittance::domain::{money::Micros, period::{Timestamp, Validity}, price::Package};
    /// let package = Package { id: "p".into(), product: "sms-domestic".into(), size: 2000, currency: "CNY".into(),
    ///     validity: Validity::Months(24), gift: Default::default(), countries: Default::default(), prices: vec![],
    ///     from: Timestamp(0), until: None, renewal_discount_ppm: Some(50_000), renewal_validity: None };
    /// assert_eq!(package.renewal_price(Micros(64_000_000)), Micros(60_800_000));
    /// ```
    pub fn renewal_price(&self, price: Micros) -> Micros {
        let off = self.renewal_discount_ppm.unwrap_or(0).clamp(0, 1_000_000);
        price.share_rounded(1_000_000 - off, 1_000_000)
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=Self::MAX_SIZE).contains(&self.size) {
            problems.push(Problem::SizeOutOfRange(self.size));
        }
        let room = Self::MAX_SIZE.saturating_sub(self.size);
        if self.gift.units < 0 || self.gift.units > room.max(0) {
            problems.push(Problem::GiftUnits(self.gift.units));
        }
        if self.gift.months > Self::MAX_GIFT_MONTHS {
            problems.push(Problem::GiftMonths(self.gift.months));
        }
        if !(Micros::ZERO..=Self::MAX_GIFT_COUPON).contains(&self.gift.coupon) {
            problems.push(Problem::GiftCoupon(self.gift.coupon));
        }
        if self.prices.is_empty() {
            problems.push(Problem::NoPrice);
        }
        for (index, (scope, price)) in self.prices.iter().enumerate() {
            if *price < Micros::ZERO {
                problems.push(Problem::PriceNegative(*price));
            }
            if self.prices[..index].iter().any(|(earlier, _)| earlier == scope) {
                problems.push(Problem::PriceTwice(scope.clone()));
            }
        }
        if self.until.is_some_and(|until| until <= self.from) {
            problems.push(Problem::EndsBeforeStart);
        }
        if self.renewal_discount_ppm.is_some_and(|discount| !(0..1_000_000).contains(&discount)) {
            problems.push(Problem::DiscountOutOfRange);
        }
        problems.extend(self.renewal_too_short());
        problems
    }

    fn renewal_too_short(&self) -> Option<Problem> {
        let renewable = self.renewal_discount_ppm.is_some() || self.renewal_validity.is_some();
        match self.renewal_validity.unwrap_or(self.validity) {
            Validity::Days(days) if renewable && days <= Self::RENEWED_BEFORE_DAYS => {
                Some(Problem::RenewalTooShort(Validity::Days(days)))
            }
            _ => None,
        }
    }
}
