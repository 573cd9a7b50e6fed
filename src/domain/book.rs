//! The price book: all price lists and packages, checked as a whole
//! (R46, R47, R103, R137, D3, D34, D37).
//!
//! A list is found by product, currency and class (template type or country) at the message's own
//! submit time, the account's own list before its kind's before the general one (D34). Where the
//! more specific one has nothing for that moment, the next answers.

use std::sync::Arc;

use super::money::Micros;
use super::package::Package;
use super::period::{Timestamp, Validity};
use super::price::{Buyer, ListKey, Method, Rate, Scope};

/// All price lists and packages, complete and checked. Only [`PriceBook::new`] makes one: looking
/// up relies on the order of the lists.
#[derive(Clone, Debug, Default)]
pub struct PriceBook {
    /// Sorted by product, currency, class, scope (the most specific first) and start.
    pub rates: Vec<Rate>,
    /// In the order of the configuration.
    pub packages: Vec<Package>,
}

/// The price list at a moment and how long that answer holds: `from <= submit_time < until`.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<'a> {
    /// None: there is no price.
    pub rate: Option<&'a Rate>,
    pub from: Timestamp,
    pub until: Timestamp,
}

impl PriceBook {
    /// Checks lists and packages; a book that exists has no fault. The faults name lists and
    /// packages by their place in the given order.
    ///
    /// # Errors
    /// Every fault at once: tiers that do not cover all units from 0 on exactly once, negative
    /// prices, lists for the same buyers that overlap in time or leave a gap, packages of an
    /// impossible size or without a price, ids used twice.
    pub fn new(rates: Vec<Rate>, mut packages: Vec<Package>) -> Result<PriceBook, Vec<BookFault>> {
        let mut faults = Vec::new();
        for (index, rate) in rates.iter().enumerate() {
            rate.tier_faults(index, &mut faults);
            if rate.until.is_some_and(|until| until <= rate.from) {
                faults.push(BookFault { item: BookItem::Rate(index), problem: Problem::EndsBeforeStart });
            }
        }
        let mut rates: Vec<(usize, Rate)> = rates.into_iter().enumerate().collect();
        rates.sort_by(|(_, a), (_, b)| a.key().cmp(&b.key()).then(a.from.cmp(&b.from)));
        for ((other, earlier), (index, later)) in rates.iter().zip(rates.iter().skip(1)) {
            let gap = earlier.until.is_some_and(|until| until < later.from);
            // Between two offers to some the general list holds; nothing is behind the general one.
            let meant = gap && later.scope != Scope::Everyone;
            if earlier.key() == later.key() && earlier.until != Some(later.from) && !meant {
                let (list, other) = (later.title(), *other);
                let problem =
                    if gap { Problem::Gap { list, other } } else { Problem::Overlap { list, other } };
                faults.push(BookFault { item: BookItem::Rate(*index), problem });
            }
        }
        for (index, package) in packages.iter().enumerate() {
            let item = BookItem::Package(index);
            faults.extend(package.problems().into_iter().map(|problem| BookFault { item, problem }));
            if let Some(other) = packages[..index].iter().position(|earlier| earlier.id == package.id) {
                let problem = Problem::IdTaken { id: package.id.clone(), other };
                faults.push(BookFault { item, problem });
            }
        }
        let rates = rates.into_iter().map(|(_, rate)| rate).collect();
        packages.iter_mut().for_each(|package| package.prices.sort());
        if faults.is_empty() { Ok(PriceBook { rates, packages }) } else { Err(faults) }
    }

    /// The price list of a product and class (template type, country, or empty) for this buyer at
    /// a message's submit time (D34).
    pub fn rate(&self, product: &str, class: &str, buyer: Buyer<'_>, at: Timestamp) -> Option<&Rate> {
        self.stretch(product, class, buyer, at).rate
    }

    /// The same, with the time for which it holds: what the charging loop remembers.
    pub fn stretch(&self, product: &str, class: &str, buyer: Buyer<'_>, at: Timestamp) -> Stretch<'_> {
        let mut stretch = Stretch { rate: None, from: Timestamp(i64::MIN), until: Timestamp(i64::MAX) };
        for scope in buyer.scopes() {
            let lists = self.lists((product, buyer.currency, class, scope));
            let (begun, to_come) = lists.split_at(lists.partition_point(|rate| rate.from <= at));
            if let Some(next) = to_come.first() {
                stretch.until = stretch.until.min(next.from);
            }
            match begun.last().map(|rate| (rate, rate.from, rate.until.unwrap_or(Timestamp(i64::MAX)))) {
                Some((rate, from, until)) if at < until => {
                    stretch.rate = Some(rate);
                    stretch.from = stretch.from.max(from);
                    stretch.until = stretch.until.min(until);
                    break;
                }
                Some((_, _, ended)) => stretch.from = stretch.from.max(ended),
                None => {}
            }
        }
        stretch
    }

    /// Times at which `volume` lists, or those they stand beside, begin or end: units before and after one
    /// of them are priced apart at the month's end (D51). None where there are no such lists.
    pub fn volume_cuts(&self) -> Vec<Timestamp> {
        let volume = |product: &str| {
            self.rates.iter().any(|rate| rate.method == Method::Volume && *rate.product == *product)
        };
        let of_volume = self.rates.iter().filter(|rate| volume(&rate.product));
        of_volume.flat_map(|rate| [Some(rate.from), rate.until]).flatten().collect()
    }

    /// The lists of one key, by start.
    fn lists(&self, key: ListKey<'_>) -> &[Rate] {
        let from = self.rates.partition_point(|rate| rate.key() < key);
        let lists = &self.rates[from..];
        &lists[..lists.partition_point(|rate| rate.key() == key)]
    }

    pub fn package(&self, id: &str) -> Option<&Package> {
        self.packages.iter().find(|package| &*package.id == id)
    }

    /// What this buyer is offered at a moment and at which price, in the order of the
    /// configuration: packages on sale, in the buyer's currency, with a price for the buyer (R103).
    pub fn packages_for(&self, buyer: Buyer<'_>, at: Timestamp) -> Vec<(&Package, Micros)> {
        let on_sale = self.packages.iter().filter(|package| package.on_sale(at));
        on_sale.filter_map(|package| Some((package, package.price_for(buyer)?))).collect()
    }
}

/// What a fault of the book belongs to, by index into what [`PriceBook::new`] was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookItem {
    Rate(usize),
    Tier { rate: usize, tier: usize },
    Package(usize),
}

/// A fault of one list or package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct BookFault {
    pub item: BookItem,
    pub problem: Problem,
}

/// What is wrong with a list or package, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the list has no tier: give it at least one")]
    NoTier,
    #[error("the first tier begins over {0}: begin it over 0")]
    StartsOver(i64),
    #[error("between {bound} and {over} units there is no price: begin this tier over {bound}")]
    TierGap { bound: i64, over: i64 },
    #[error("the tier begins over {over}, but the one before ends at {bound}: begin it over {bound}")]
    TierOverlap { bound: i64, over: i64 },
    #[error("the tier before has no upper bound, so this one is never reached: give that one its up_to")]
    AfterUnbounded,
    #[error("the tier over {over} up to {up_to} holds no unit: make up_to larger than over")]
    TierEmpty { over: i64, up_to: i64 },
    #[error("over {0} units there is no price: leave up_to out of the last tier")]
    LastTierBounded(i64),
    #[error("the price {0} is negative: write 0 or more")]
    PriceNegative(Micros),
    #[error("the end is not after the start: mend one of the two times")]
    EndsBeforeStart,
    #[error("{list}: overlaps in time with the list before; let that one end when this one begins")]
    Overlap { list: String, other: usize },
    #[error("{list}: leaves a gap in time after the list before; let that one end when this one begins")]
    Gap { list: String, other: usize },
    #[error("the size {0} is not possible: write 1 to 1000000000000 units")]
    SizeOutOfRange(i64),
    #[error("the package has no price: give it one, for everyone, for a kind or for an account")]
    NoPrice,
    #[error("the package has two prices for {0}: keep one")]
    PriceTwice(Scope),
    #[error("a plan renewed for {0} would be renewed again at once: 11 days are the least (D62)")]
    RenewalTooShort(Validity),
    #[error("the discount is not below the whole price: write such as \"0.10\" for 10 %")]
    DiscountOutOfRange,
    #[error("the id `{id}` is taken by another package: ids are kept on orders, choose a new one")]
    IdTaken { id: Arc<str>, other: usize },
}

#[cfg(test)]
mod tests {
    use super::super::price::Tier;
    use super::*;

    const A1: Buyer<'_> = Buyer { account_id: "A1", kind: "enterprise", currency: "USD" };
    const A2: Buyer<'_> = Buyer { account_id: "A2", kind: "enterprise", currency: "USD" };
    const A3: Buyer<'_> = Buyer { account_id: "A3", kind: "individual", currency: "USD" };

    fn rate(scope: Scope, from: i64, until: Option<i64>, price: i64) -> Rate {
        Rate {
            product: "sms-international".into(),
            currency: "USD".into(),
            scope,
            class: "HK".into(),
            from: Timestamp(from),
            until: until.map(Timestamp),
            method: Method::Graduated,
            tiers: vec![Tier { over: 0, up_to: None, price: Micros(price) }],
        }
    }

    fn package(id: &str, prices: Vec<(Scope, Micros)>) -> Package {
        Package {
            id: id.into(),
            product: "sms-international".into(),
            size: 1_000,
            currency: "USD".into(),
            validity: Validity::Days(180),
            prices,
            from: Timestamp(10),
            until: Some(Timestamp(20)),
            renewal_discount_ppm: None,
            renewal_validity: None,
        }
    }

    fn account(id: &str) -> Scope {
        Scope::Account(id.into())
    }

    fn rate_problems(rates: Vec<Rate>) -> Vec<(BookItem, String)> {
        let faults = PriceBook::new(rates, Vec::new()).unwrap_err();
        faults.into_iter().map(|fault| (fault.item, fault.problem.to_string())).collect()
    }

    fn tier_problems(tiers: &[(i64, Option<i64>, i64)]) -> Vec<Problem> {
        let tier = |&(over, up_to, price)| Tier { over, up_to, price: Micros(price) };
        let tiers = tiers.iter().map(tier).collect();
        let book = PriceBook::new(vec![Rate { tiers, ..rate(Scope::Everyone, 0, None, 0) }], Vec::new());
        book.err().unwrap_or_default().into_iter().map(|fault| fault.problem).collect()
    }

    #[test]
    fn the_more_specific_list_answers_and_else_the_next() {
        let enterprise = Scope::Kind("enterprise".into());
        let book = PriceBook::new(
            vec![
                rate(Scope::Everyone, 0, None, 5),
                rate(account("A1"), 100, Some(200), 1),
                rate(enterprise, 150, None, 3),
            ],
            Vec::new(),
        )
        .unwrap();
        let price = |buyer, at| {
            let found = book.rate("sms-international", "HK", buyer, Timestamp(at));
            found.map(|rate| rate.next_unit(0).0.0)
        };
        assert_eq!([99, 100, 199, 200].map(|at| price(A1, at)), [5, 1, 1, 3].map(Some));
        assert_eq!([149, 150].map(|at| price(A2, at)), [5, 3].map(Some));
        assert_eq!(price(A3, 150), Some(5));
        assert_eq!(price(A3, -1), None);
        assert_eq!(price(Buyer { currency: "CNY", ..A1 }, 150), None);
        assert!(book.rate("sms-international", "SG", A1, Timestamp(150)).is_none());
        assert!(book.rate("sms-domestic", "HK", A1, Timestamp(150)).is_none());
    }

    #[test]
    fn a_stretch_holds_for_exactly_as_long_as_its_answer() {
        let book = PriceBook::new(
            vec![
                rate(Scope::Everyone, 0, Some(120), 5),
                rate(Scope::Everyone, 120, Some(300), 6),
                rate(account("A1"), 100, Some(110), 1),
                rate(account("A1"), 110, Some(200), 2),
            ],
            Vec::new(),
        )
        .unwrap();
        let asked = |at| book.stretch("sms-international", "HK", A1, Timestamp(at));
        let mut starts = Vec::new();
        for at in -5..320 {
            let stretch = asked(at);
            assert!(stretch.from.0 <= at && at < stretch.until.0, "{at}");
            for other in [stretch.from.0.max(-5), (stretch.until.0 - 1).min(320)] {
                assert_eq!(asked(other).rate, stretch.rate, "{at} and {other}");
            }
            if stretch.from.0 == at {
                starts.push(at);
            }
        }
        assert_eq!(starts, [0, 100, 110, 200, 300]);
    }

    #[test]
    fn lists_that_overlap_or_leave_a_gap_are_refused() {
        let everyone = |from, until| rate(Scope::Everyone, from, until, 5);
        assert!(PriceBook::new(vec![everyone(9, None), everyone(0, Some(9))], Vec::new()).is_ok());
        assert!(PriceBook::new(vec![everyone(0, None), rate(account("A1"), 0, None, 1)], Vec::new()).is_ok());
        let title = "sms-international HK in USD for everyone";
        for (first, second, says) in [
            (everyone(0, Some(10)), everyone(9, None), "overlaps in time with the list before"),
            (everyone(0, None), everyone(9, None), "overlaps in time with the list before"),
            (everyone(0, Some(9)), everyone(10, None), "leaves a gap in time after the list before"),
        ] {
            let message = format!("{title}: {says}; let that one end when this one begins");
            assert_eq!(
                rate_problems(vec![first.clone(), second.clone()]),
                [(BookItem::Rate(1), message.clone())]
            );
            assert_eq!(rate_problems(vec![second, first]), [(BookItem::Rate(0), message)]);
        }
        let backwards = rate_problems(vec![everyone(9, Some(9))]);
        let message = "the end is not after the start: mend one of the two times";
        assert_eq!(backwards, [(BookItem::Rate(0), message.to_owned())]);
    }

    #[test]
    fn tiers_must_cover_all_units_exactly_once() {
        assert_eq!(tier_problems(&[(0, Some(9), 2), (9, None, 1)]), []);
        assert_eq!(tier_problems(&[]), [Problem::NoTier]);
        assert_eq!(tier_problems(&[(1, None, 1)]), [Problem::StartsOver(1)]);
        assert_eq!(tier_problems(&[(0, Some(9), 1)]), [Problem::LastTierBounded(9)]);
        assert_eq!(tier_problems(&[(0, None, 1), (9, None, 1)]), [Problem::AfterUnbounded]);
        assert_eq!(tier_problems(&[(0, None, -1)]), [Problem::PriceNegative(Micros(-1))]);
        let gap = [Problem::TierGap { bound: 9, over: 10 }];
        assert_eq!(tier_problems(&[(0, Some(9), 1), (10, None, 1)]), gap);
        let overlap = [Problem::TierOverlap { bound: 9, over: 8 }];
        assert_eq!(tier_problems(&[(0, Some(9), 1), (8, None, 1)]), overlap);
        let empty = [Problem::TierEmpty { over: 9, up_to: 9 }];
        assert_eq!(tier_problems(&[(0, Some(9), 1), (9, Some(9), 1), (9, None, 1)]), empty);
    }

    #[test]
    fn impossible_packages_are_refused() {
        let sold = || package("p", vec![(Scope::Everyone, Micros(1))]);
        let problems = |package: Package| package.problems();
        assert_eq!(problems(sold()), []);
        assert_eq!(problems(Package { size: 0, ..sold() }), [Problem::SizeOutOfRange(0)]);
        let most = Package::MAX_SIZE;
        assert_eq!(problems(Package { size: most, ..sold() }), []);
        assert_eq!(problems(Package { size: most + 1, ..sold() }), [Problem::SizeOutOfRange(most + 1)]);
        assert_eq!(problems(package("p", Vec::new())), [Problem::NoPrice]);
        let twice = vec![(account("A1"), Micros(1)), (account("A1"), Micros(2))];
        assert_eq!(problems(package("p", twice)), [Problem::PriceTwice(account("A1"))]);
        let days = |n| Some(Validity::Days(n));
        let short = [Problem::RenewalTooShort(Validity::Days(10))];
        assert_eq!(problems(Package { renewal_validity: days(10), ..sold() }), short);
        assert_eq!(problems(Package { renewal_validity: days(11), ..sold() }), []);
        let own_validity = Package { validity: Validity::Days(10), renewal_discount_ppm: Some(0), ..sold() };
        assert_eq!(problems(own_validity), short);
        assert_eq!(problems(Package { validity: Validity::Days(10), ..sold() }), []);
        let free = Package { renewal_discount_ppm: Some(1_000_000), ..sold() };
        assert_eq!(problems(free), [Problem::DiscountOutOfRange]);
        let both = PriceBook::new(Vec::new(), vec![sold(), sold()]).unwrap_err();
        let problem = Problem::IdTaken { id: "p".into(), other: 0 };
        assert_eq!(both, [BookFault { item: BookItem::Package(1), problem }]);
    }

    #[test]
    fn each_account_is_shown_its_own_offers() {
        let individual = || Scope::Kind("individual".into());
        let in_cny = Package { currency: "CNY".into(), ..package("cny", vec![(Scope::Everyone, Micros(7))]) };
        let general =
            vec![(Scope::Everyone, Micros(9)), (individual(), Micros(8)), (account("A1"), Micros(7))];
        let packages =
            vec![package("own", vec![(account("A1"), Micros(3))]), package("all", general), in_cny];
        let book = PriceBook::new(Vec::new(), packages).unwrap();
        let shown = |buyer, at| {
            let offers = book.packages_for(buyer, Timestamp(at));
            offers.into_iter().map(|(package, price)| (package.id.to_string(), price.0)).collect::<Vec<_>>()
        };
        let offers =
            |offers: &[(&str, i64)]| offers.iter().map(|&(id, p)| (id.to_owned(), p)).collect::<Vec<_>>();
        assert_eq!(shown(A1, 10), offers(&[("own", 3), ("all", 7)]));
        assert_eq!(shown(A2, 19), offers(&[("all", 9)]));
        assert_eq!(shown(A3, 10), offers(&[("all", 8)]));
        assert_eq!(shown(Buyer { currency: "CNY", ..A3 }, 10), offers(&[("cny", 7)]));
        assert_eq!((shown(A1, 9), shown(A1, 20)), (Vec::new(), Vec::new()));
        assert_eq!(book.package("all").unwrap().price_for(A1), Some(Micros(7)));
        assert!(book.package("none").is_none());
    }
}
