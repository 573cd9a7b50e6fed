//! Free units: so many a day and in total cost nothing, outside plans and pay-as-you-go (R30, D31).

use std::collections::BTreeMap;

/// How many units of a product each account has free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Ever.
    pub total: i64,
    /// On a day of the billing zone, by the message's own submit time.
    pub per_day: i64,
}

/// The free units that an account has had of a product, by day (20260301). Days without are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreeUse {
    total: i64,
    days: BTreeMap<i64, DayUse>,
}

/// What was had of a day. A day keeps the allowance that its first unit was had under: one that is changed
/// in the middle of it counts from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayUse {
    pub units: i64,
    pub allowance: Allowance,
}

impl FreeUse {
    /// How many more units are free on a day, where the configuration allows `now`.
    ///
    /// # Example: 200 a day, 2000 in all
    /// ```
    /// use quittance::domain::allowance::{Allowance, FreeUse};
    /// let allowance = Some(Allowance { total: 2_000, per_day: 200 });
    /// let mut used = FreeUse::default();
    /// used.take(allowance, 20260301, 150);
    /// assert_eq!((used.left(allowance, 20260301), used.left(allowance, 20260302)), (50, 200));
    /// (2..=10).for_each(|day| used.take(allowance, 20260300 + day, 200));
    /// assert_eq!((used.left(allowance, 20260301), used.left(allowance, 20260311)), (50, 50));
    /// ```
    pub fn left(&self, now: Option<Allowance>, day: i64) -> i64 {
        let Some(allowance) = self.in_force(now, day) else { return 0 };
        let today = allowance.per_day - self.of_day(day);
        // An allowance that was lowered may have been passed before.
        today.min(allowance.total - self.total).max(0)
    }

    pub fn of_day(&self, day: i64) -> i64 {
        self.days.get(&day).map_or(0, |had| had.units)
    }

    /// Takes units that cost nothing.
    pub fn take(&mut self, now: Option<Allowance>, day: i64, units: i64) {
        let allowance = self.in_force(now, day).unwrap_or_default();
        self.add(day, DayUse { units, allowance });
    }

    /// Notes units that were had before.
    pub fn add(&mut self, day: i64, had: DayUse) {
        self.total += had.units;
        self.days.entry(day).and_modify(|known| known.units += had.units).or_insert(had);
    }

    fn in_force(&self, now: Option<Allowance>, day: i64) -> Option<Allowance> {
        self.days.get(&day).map(|had| had.allowance).or(now)
    }

    /// The days on which there is more now than there was in `before`, with what they hold.
    pub fn since<'a>(&'a self, before: Option<&'a FreeUse>) -> impl Iterator<Item = (i64, DayUse)> + 'a {
        let known = move |day: &i64| before.map_or(0, |before| before.of_day(*day));
        self.days.iter().filter(move |(day, had)| known(day) != had.units).map(|(day, had)| (*day, *had))
    }
}
