//! Coupons: they pay before cash, one an order, and are never given back (R62, R63, D6, D27, D72).
//!
//! A coupon belongs to one account. It may be for one product, and for orders from an amount on. What an
//! order leaves of it stays usable until it expires: `now < expires_at`.

use std::cmp::Reverse;
use std::sync::Arc;

use super::money::Micros;
use super::period::Timestamp;

/// A coupon as an order sees it. Amounts are in the account's currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coupon {
    /// Its number among the account's coupons, from 1.
    pub coupon_no: i64,
    pub coupon_id: Arc<str>,
    pub amount: Micros,
    pub balance: Micros,
    /// None: for any product.
    pub product: Option<Arc<str>>,
    /// The least that an order must cost by its list prices.
    pub min_order: Micros,
    pub issued_at: Timestamp,
    /// None: it does not expire.
    pub expires_at: Option<Timestamp>,
    /// The plan that it was a gift to was refunded (R63).
    pub voided: bool,
}

/// What a coupon is good for at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CouponState {
    Usable,
    Voided,
    Expired,
    UsedUp,
}

impl CouponState {
    pub fn as_str(self) -> &'static str {
        match self {
            CouponState::Usable => "usable",
            CouponState::Voided => "voided",
            CouponState::Expired => "expired",
            CouponState::UsedUp => "used_up",
        }
    }
}

/// Why a coupon can't pay for an order, in order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CouponRefusal {
    #[error("coupon {0} was a gift to a plan that was refunded: leave it out, or take another coupon")]
    Voided(Arc<str>),
    #[error("coupon {0} has expired: leave it out, or take another coupon")]
    Expired(Arc<str>),
    #[error("nothing is left of coupon {0}: leave it out, or take another coupon")]
    UsedUp(Arc<str>),
    #[error(
        "coupon {coupon} is for {product} alone: order plans of other products by themselves, or leave it out"
    )]
    NotApplicable { coupon: Arc<str>, product: Arc<str> },
    #[error(
        "coupon {coupon} is for orders from {least}, this one costs {total}: order more, or leave it out"
    )]
    BelowMinimum { coupon: Arc<str>, least: Micros, total: Micros },
    #[error(
        "no coupon of account {0} is of use for this order: leave --coupon out; see `quittance coupon list {0}`"
    )]
    NoneApplies(Arc<str>),
}

impl CouponRefusal {
    /// The name that scripts read.
    pub fn code(&self) -> &'static str {
        match self {
            CouponRefusal::Voided(_) => "coupon_voided",
            CouponRefusal::Expired(_) => "coupon_expired",
            CouponRefusal::UsedUp(_) => "coupon_used_up",
            CouponRefusal::NotApplicable { .. } | CouponRefusal::NoneApplies(_) => "coupon_not_applicable",
            CouponRefusal::BelowMinimum { .. } => "order_below_minimum",
        }
    }
}

impl Coupon {
    /// Voided before expired before used up: the order in which it is refused.
    pub fn state(&self, now: Timestamp) -> CouponState {
        match () {
            () if self.voided => CouponState::Voided,
            () if self.expires_at.is_some_and(|end| end <= now) => CouponState::Expired,
            () if self.balance <= Micros::ZERO => CouponState::UsedUp,
            () => CouponState::Usable,
        }
    }

    /// What it pays of an order of these products that costs `total`, or the first reason against it.
    pub fn pays(&self, products: &[&str], total: Micros, now: Timestamp) -> Result<Micros, CouponRefusal> {
        let coupon = || self.coupon_id.clone();
        match self.state(now) {
            CouponState::Voided => return Err(CouponRefusal::Voided(coupon())),
            CouponState::Expired => return Err(CouponRefusal::Expired(coupon())),
            CouponState::UsedUp => return Err(CouponRefusal::UsedUp(coupon())),
            CouponState::Usable => {}
        }
        if let Some(product) = &self.product
            && products.iter().any(|other| **other != **product)
        {
            return Err(CouponRefusal::NotApplicable { coupon: coupon(), product: product.clone() });
        }
        if total < self.min_order {
            return Err(CouponRefusal::BelowMinimum { coupon: coupon(), least: self.min_order, total });
        }
        Ok(self.balance.min(total))
    }
}

/// Of those that can pay for an order the one that comes first: the largest balance, then the earliest
/// end, then the earliest issue, then the older.
pub fn best<'c>(
    coupons: &'c [Coupon],
    products: &[&str],
    total: Micros,
    now: Timestamp,
) -> Option<&'c Coupon> {
    let usable = coupons.iter().filter(|coupon| coupon.pays(products, total, now).is_ok());
    usable.max_by_key(|coupon| {
        let end = coupon.expires_at.unwrap_or(Timestamp(i64::MAX));
        (coupon.balance, Reverse((end, coupon.issued_at, coupon.coupon_no)))
    })
}

/// What a coupon pays, split over an order's plans by their list prices: rounded down to micro-units,
/// what is left over goes to the largest remainders, of equal ones to the plans that come first. The
/// shares sum to what the coupon pays, and none is larger than its price (D6, D63).
///
/// # Example: ten over three plans
/// ```
/// use quittance::domain::{coupon::shares, money::Micros};
/// let prices = [Micros(5), Micros(5), Micros(5)];
/// assert_eq!(shares(Micros(10), &prices), [Micros(4), Micros(3), Micros(3)]);
/// ```
pub fn shares(pays: Micros, prices: &[Micros]) -> Vec<Micros> {
    let total: i128 = prices.iter().map(|price| i128::from(price.0)).sum();
    if total == 0 {
        return vec![Micros::ZERO; prices.len()];
    }
    let product = |price: &Micros| i128::from(pays.0) * i128::from(price.0);
    let mut shares: Vec<i64> = prices.iter().map(|price| (product(price) / total) as i64).collect();
    let mut by_remainder: Vec<usize> = (0..prices.len()).collect();
    by_remainder.sort_by_key(|index| Reverse(product(&prices[*index]) % total));
    let left_over = pays.0 - shares.iter().sum::<i64>();
    for index in by_remainder.into_iter().take(usize::try_from(left_over).unwrap_or(0)) {
        shares[index] += 1;
    }
    shares.into_iter().map(Micros).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn coupon(coupon_no: i64, balance: i64) -> Coupon {
        Coupon {
            coupon_no,
            coupon_id: format!("acme-c{coupon_no}").into(),
            amount: Micros(100),
            balance: Micros(balance),
            product: None,
            min_order: Micros::ZERO,
            issued_at: Timestamp(0),
            expires_at: Some(Timestamp(10)),
            voided: false,
        }
    }

    #[test]
    fn what_is_left_over_goes_to_the_largest_remainders() {
        let split = |pays, prices: &[i64]| {
            shares(Micros(pays), &prices.iter().map(|p| Micros(*p)).collect::<Vec<_>>())
        };
        // 3.33.., 3.33.., 3.33..: the first takes the micro-unit that is left over.
        assert_eq!(split(10, &[7, 7, 7]), [Micros(4), Micros(3), Micros(3)]);
        // 0.9, 2.7, 5.4 of 9: 0, 2, 5 and two left over, for the remainders .9 and .7.
        assert_eq!(split(9, &[1, 3, 6]), [Micros(1), Micros(3), Micros(5)]);
        // A free plan takes nothing of it, and all of it pays all.
        assert_eq!(split(10, &[0, 10]), [Micros(0), Micros(10)]);
        assert_eq!(split(0, &[0, 0]), [Micros(0), Micros(0)]);
    }

    proptest! {
        #[test]
        fn shares_sum_exactly_and_none_is_larger_than_its_price(
            prices in prop::collection::vec(0..1_000_000_000_000_000i64, 1..50),
            part in 0..=1_000_000i64,
        ) {
            let prices: Vec<Micros> = prices.into_iter().map(Micros).collect();
            let total = Micros(prices.iter().map(|price| price.0).sum());
            let pays = total.share_rounded(part, 1_000_000);
            let shares = shares(pays, &prices);
            prop_assert_eq!(shares.iter().map(|share| share.0).sum::<i64>(), pays.0);
            for (share, price) in shares.iter().zip(&prices) {
                prop_assert!(*share >= Micros::ZERO && share <= price, "{share} of {price}");
                let exact = i128::from(pays.0) * i128::from(price.0);
                let off = (i128::from(share.0) * i128::from(total.0) - exact).abs();
                prop_assert!(off < i128::from(total.0.max(1)), "{share} of {price} is off by a unit or more");
            }
        }
    }

    #[test]
    fn reasons_against_a_coupon_come_in_their_order() {
        let sms = ["sms-domestic"];
        let code = |coupon: &Coupon, products: &[&str], total, now| {
            coupon.pays(products, Micros(total), Timestamp(now)).map_err(|refusal| refusal.code())
        };
        let mut worst = Coupon {
            product: Some("sms-domestic".into()),
            min_order: Micros(50),
            voided: true,
            ..coupon(1, 0)
        };
        let mixed = ["sms-domestic", "direct-mail"];
        assert_eq!(code(&worst, &mixed, 49, 10), Err("coupon_voided"));
        worst.voided = false;
        assert_eq!(code(&worst, &mixed, 49, 10), Err("coupon_expired"));
        assert_eq!(code(&worst, &mixed, 49, 9), Err("coupon_used_up"));
        worst.balance = Micros(30);
        assert_eq!(code(&worst, &mixed, 49, 9), Err("coupon_not_applicable"));
        assert_eq!(code(&worst, &sms, 49, 9), Err("order_below_minimum"));
        assert_eq!(code(&worst, &sms, 50, 9), Ok(Micros(30)));
        assert_eq!(code(&coupon(1, 80), &sms, 50, 9), Ok(Micros(50)));
    }

    #[test]
    fn the_largest_comes_first_then_the_earliest_end_then_the_earliest_issue() {
        let chosen = |coupons: &[Coupon]| {
            best(coupons, &["sms-domestic"], Micros(50), Timestamp(5)).map(|coupon| coupon.coupon_no)
        };
        let endless = Coupon { expires_at: None, ..coupon(1, 40) };
        let later = Coupon { issued_at: Timestamp(1), ..coupon(2, 40) };
        let all = [endless, later, coupon(3, 40), coupon(4, 40), coupon(5, 39)];
        assert_eq!(chosen(&all), Some(3));
        assert_eq!(chosen(&all[..2]), Some(2));
        assert_eq!(chosen(&[coupon(5, 39), coupon(6, 41)]), Some(6));
        // A larger one that can't pay is passed over.
        let mail = Coupon { product: Some("direct-mail".into()), ..coupon(7, 100) };
        assert_eq!(chosen(&[mail.clone(), coupon(5, 39)]), Some(5));
        assert_eq!(chosen(&[mail]), None);
    }
}
