//! Pay-as-you-go price lists: tiers, whom they are for, and what a month costs by them
//! (R46, R47, R124, R126, R135, R138, D3, D34, D51).

use std::fmt;
use std::sync::Arc;

use super::money::{Micros, MoneyFault};
use super::period::Timestamp;

pub use super::book::{BookFault, BookItem, PriceBook, Problem, Stretch};
pub use super::package::Package;

/// Whom a price is for, the most specific first (D34).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    Account(Arc<str>),
    /// `individual` or `enterprise`.
    Kind(Arc<str>),
    Everyone,
}

impl Scope {
    /// Sorts the most specific first, and compares with a buyer's words without owning them.
    fn key(&self) -> (u8, &str) {
        match self {
            Scope::Account(account_id) => (0, account_id),
            Scope::Kind(kind) => (1, kind),
            Scope::Everyone => (2, ""),
        }
    }

    /// Whom it is for, in a word; an account's own scope says no name.
    pub fn whom(&self) -> &str {
        match self {
            Scope::Account(_) => "account",
            Scope::Kind(kind) => kind,
            Scope::Everyone => "everyone",
        }
    }

    /// Whether a price for this scope is for this buyer, too.
    pub fn includes(&self, buyer: Buyer<'_>) -> bool {
        buyer.scopes().contains(&self.key())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Account(account_id) => write!(f, "account {account_id}"),
            Scope::Kind(kind) => write!(f, "{kind} accounts"),
            Scope::Everyone => write!(f, "everyone"),
        }
    }
}

/// How tiers price a month (D3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Each unit at the price of the tier that it falls into.
    Graduated,
    /// All units of the month at the price of the tier that the month's total reaches: charged
    /// at the marginal price first, trued up at the month's end (D51).
    Volume,
}

/// One price for the units `over < position <= up_to` of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    pub over: i64,
    /// None: no upper bound.
    pub up_to: Option<i64>,
    /// Per unit.
    pub price: Micros,
}

/// One pay-as-you-go price list, valid `from <= submit_time < until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    pub product: Arc<str>,
    pub currency: Arc<str>,
    pub scope: Scope,
    /// Template type or country as the product is priced; empty where by nothing.
    pub class: Arc<str>,
    pub from: Timestamp,
    /// None: until further notice.
    pub until: Option<Timestamp>,
    pub method: Method,
    /// Ascending, from 0, without gap or overlap; the last is unbounded.
    pub tiers: Vec<Tier>,
}

impl Rate {
    /// The price of the next unit after `position` units of the month, and how many units have it.
    ///
    /// # Example: unit 100,001 of the month costs 0.040
    /// ```
    /// use quittance::domain::{money::Micros, price::*, period::Timestamp};
    /// let tiers = vec![
    ///     Tier { over: 0, up_to: Some(100_000), price: Micros(45_000) },
    ///     Tier { over: 100_000, up_to: None, price: Micros(40_000) },
    /// ];
    /// let rate = Rate { product: "sms-domestic".into(), currency: "CNY".into(), scope: Scope::Everyone,
    ///     class: "verification".into(), from: Timestamp(0), until: None, method: Method::Graduated, tiers };
    /// assert_eq!(rate.next_unit(99_999), (Micros(45_000), 1));
    /// assert_eq!(rate.next_unit(100_000), (Micros(40_000), i64::MAX - 100_000));
    /// ```
    pub fn next_unit(&self, position: i64) -> (Micros, i64) {
        let tier = self.tiers.iter().find(|t| t.up_to.is_none_or(|bound| position < bound));
        tier.map_or((Micros::ZERO, i64::MAX), |t| (t.price, t.up_to.unwrap_or(i64::MAX) - position.max(0)))
    }

    /// What a month of `units` costs by this list's method. A bound belongs to the tier below it:
    /// 100,000 units are still in the tier `up_to = 100_000`.
    pub fn month_total(&self, units: i64) -> Result<Micros, MoneyFault> {
        match self.method {
            Method::Volume => self.next_unit(units.max(1) - 1).0.times(units),
            Method::Graduated => self.tiers.iter().try_fold(Micros::ZERO, |total, tier| {
                let in_tier = units.min(tier.up_to.unwrap_or(i64::MAX)) - tier.over;
                total.plus(tier.price.times(in_tier.max(0))?)
            }),
        }
    }

    /// What the month's end adds to what was charged unit by unit at the marginal price: the month's
    /// total minus `charged` (D3, D51). Negative where the whole month became cheaper, as `volume`
    /// makes it; zero with `graduated`.
    ///
    /// # Example: the 100,001st unit makes the whole month cheaper
    /// ```
    /// use quittance::domain::{money::Micros, price::*, period::Timestamp};
    /// let tiers = vec![
    ///     Tier { over: 0, up_to: Some(100_000), price: Micros(45_000) },
    ///     Tier { over: 100_000, up_to: None, price: Micros(40_000) },
    /// ];
    /// let rate = Rate { product: "sms-domestic".into(), currency: "CNY".into(), scope: Scope::Everyone,
    ///     class: "verification".into(), from: Timestamp(0), until: None, method: Method::Volume, tiers };
    /// let charged = Micros::parse("4500.04").unwrap();
    /// assert_eq!(rate.true_up(charged, 100_001), Micros::parse("-500"));
    /// ```
    pub fn true_up(&self, charged: Micros, units: i64) -> Result<Micros, MoneyFault> {
        self.month_total(units)?.minus(charged)
    }

    /// What the list is for, as a clerk would say it: `sms-international HK in USD for everyone`.
    pub fn title(&self) -> String {
        let class = if self.class.is_empty() { String::new() } else { format!(" {}", self.class) };
        format!("{}{class} in {} for {}", self.product, self.currency, self.scope)
    }

    /// Lists of one key follow each other in time; no two of them are valid at once.
    pub(super) fn key(&self) -> ListKey<'_> {
        (&self.product, &self.currency, &self.class, self.scope.key())
    }

    /// What is wrong with the tiers, where the list is the book's number `rate`.
    pub(super) fn tier_faults(&self, rate: usize, faults: &mut Vec<BookFault>) {
        let Some(last) = self.tiers.len().checked_sub(1) else {
            return faults.push(BookFault { item: BookItem::Rate(rate), problem: Problem::NoTier });
        };
        // The end of the tiers so far; None after an unbounded one.
        let mut reached = Some(0);
        for (index, tier) in self.tiers.iter().enumerate() {
            let mut fault =
                |problem| faults.push(BookFault { item: BookItem::Tier { rate, tier: index }, problem });
            let over = tier.over;
            match reached {
                None => fault(Problem::AfterUnbounded),
                Some(0) if index == 0 && over != 0 => fault(Problem::StartsOver(over)),
                Some(bound) if bound < over => fault(Problem::TierGap { bound, over }),
                Some(bound) if bound > over => fault(Problem::TierOverlap { bound, over }),
                Some(_) => {}
            }
            match tier.up_to {
                Some(up_to) if up_to <= over => fault(Problem::TierEmpty { over, up_to }),
                Some(up_to) if index == last => fault(Problem::LastTierBounded(up_to)),
                _ => {}
            }
            if tier.price < Micros::ZERO {
                fault(Problem::PriceNegative(tier.price));
            }
            reached = tier.up_to;
        }
    }
}

/// Product, currency, class and scope.
pub(super) type ListKey<'a> = (&'a str, &'a str, &'a str, (u8, &'a str));

/// Who asks for a price.
#[derive(Clone, Copy, Debug)]
pub struct Buyer<'a> {
    pub account_id: &'a str,
    pub kind: &'a str,
    pub currency: &'a str,
}

impl<'a> Buyer<'a> {
    /// The scopes that hold for this buyer, the most specific first.
    pub(super) fn scopes(self) -> [(u8, &'a str); 3] {
        [(0, self.account_id), (1, self.kind), (2, "")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The domestic list for verification messages.
    fn verification(method: Method) -> Rate {
        let bounds = [0, 100_000, 300_000, 500_000, 1_000_000, 3_000_000];
        let prices = [45_000, 40_000, 39_000, 38_000, 37_000, 36_000];
        let tier = |(index, price): (usize, i64)| Tier {
            over: bounds[index],
            up_to: bounds.get(index + 1).copied(),
            price: Micros(price),
        };
        Rate {
            product: "sms-domestic".into(),
            currency: "CNY".into(),
            scope: Scope::Everyone,
            class: "verification".into(),
            from: Timestamp(0),
            until: None,
            method,
            tiers: prices.into_iter().enumerate().map(tier).collect(),
        }
    }

    /// Units of a month, and its total graduated and whole-volume.
    const GOLDEN: [(i64, &str, &str); 8] = [
        (100_000, "4500", "4500"),
        (100_001, "4500.04", "4000.04"),
        (111_000, "4940", "4440"),
        (300_000, "12500", "12000"),
        (500_000, "20300", "19500"),
        (1_000_000, "39300", "38000"),
        (3_000_000, "113300", "111000"),
        (3_000_001, "113300.036", "108000.036"),
    ];

    #[test]
    fn months_cost_what_the_published_examples_say() {
        for (units, graduated, volume) in GOLDEN {
            let total = |method| verification(method).month_total(units).unwrap().to_string();
            assert_eq!(
                (total(Method::Graduated).as_str(), total(Method::Volume).as_str()),
                (graduated, volume)
            );
        }
        for method in [Method::Graduated, Method::Volume] {
            assert_eq!(verification(method).month_total(0), Ok(Micros::ZERO));
        }
    }

    #[test]
    fn charging_unit_by_unit_sums_to_the_graduated_month() {
        let rate = verification(Method::Graduated);
        for (units, graduated, _) in GOLDEN {
            let (mut position, mut charged) = (0, Micros::ZERO);
            while position < units {
                let (price, room) = rate.next_unit(position);
                let taken = room.min(units - position).min(7_777);
                charged = charged.plus(price.times(taken).unwrap()).unwrap();
                position += taken;
            }
            assert_eq!(charged.to_string(), graduated);
            assert_eq!(rate.true_up(charged, units), Ok(Micros::ZERO));
        }
    }

    #[test]
    fn the_true_up_turns_marginal_charges_into_the_volume_month() {
        for (units, graduated, volume) in GOLDEN {
            let charged = Micros::parse(graduated).unwrap();
            let true_up = verification(Method::Volume).true_up(charged, units).unwrap();
            assert_eq!(charged.plus(true_up).unwrap().to_string(), volume);
        }
    }

    #[test]
    fn a_month_larger_than_the_books_is_a_fault() {
        for method in [Method::Graduated, Method::Volume] {
            assert_eq!(verification(method).month_total(i64::MAX), Err(MoneyFault::Overflow));
        }
    }

    #[test]
    fn lists_are_named_as_a_clerk_would_say() {
        let rate = verification(Method::Graduated);
        assert_eq!(rate.title(), "sms-domestic verification in CNY for everyone");
        let own = Rate { class: "".into(), scope: Scope::Account("A1".into()), ..rate };
        assert_eq!(own.title(), "sms-domestic in CNY for account A1");
    }
}
