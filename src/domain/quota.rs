//! Daily sending quotas: how many messages an account may send a day, reviewed weekly (R16-R21, D31).
//!
//! A new sender begins low and is raised level by level, so that its domains, addresses and IPs warm
//! up: one level where the week before used the quota and went well, one down where it went badly.
//! What an account buys does not count.

use std::fmt;

/// The rules of a product, shares in millionths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaRules {
    /// Daily quotas, ascending; accounts begin with the first.
    pub levels: Vec<i64>,
    pub raise: Raise,
    pub lower: Lower,
    /// Fewer answers than that in a week say nothing of a sender.
    pub least: i64,
}

/// What a week must have shown for the next level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raise {
    /// Of the quota, at least, on the day that used it most.
    pub used: i64,
    /// Of the answers, at least.
    pub delivered: i64,
    /// Of the answers, at most.
    pub invalid: i64,
    /// Of what was delivered, at most.
    pub complained: i64,
}

/// What a week must not have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lower {
    /// Of the answers, less than that.
    pub delivered: i64,
    /// Of the answers, more than that.
    pub invalid: i64,
    /// Of what was delivered, more than that.
    pub complained: i64,
}

impl QuotaRules {
    /// What an account may send a day before its first review (R19).
    pub fn initial(&self) -> i64 {
        self.levels.first().copied().unwrap_or(0)
    }

    /// The level of a daily quota, from 1: the highest that it reaches.
    pub fn level(&self, daily: i64) -> i64 {
        self.levels.partition_point(|level| *level <= daily).max(1) as i64
    }

    fn above(&self, daily: i64) -> Option<i64> {
        self.levels.iter().copied().find(|level| *level > daily)
    }

    fn below(&self, daily: i64) -> Option<i64> {
        self.levels.iter().copied().rev().find(|level| *level < daily)
    }
}

/// What an account sent in a week, and what was answered in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Week {
    /// Messages that the gateway took.
    pub sent: i64,
    /// Of these, those of the day with the most.
    pub busiest: i64,
    pub delivered: i64,
    /// Failed for any reason.
    pub failed: i64,
    /// Of these, those whose address does not exist.
    pub invalid: i64,
    /// Called spam by their recipients.
    pub complained: i64,
}

impl Week {
    pub fn answered(&self) -> i64 {
        self.delivered + self.failed
    }

    /// How much of a daily quota the busiest day used, in millionths.
    pub fn used(&self, daily: i64) -> i64 {
        share_ppm(self.busiest, daily)
    }

    pub fn delivered_share(&self) -> i64 {
        share_ppm(self.delivered, self.answered())
    }

    pub fn invalid_share(&self) -> i64 {
        share_ppm(self.invalid, self.answered())
    }

    pub fn complained_share(&self) -> i64 {
        share_ppm(self.complained, self.delivered)
    }
}

/// A share in millionths, rounded down; of nothing it is nothing, or all.
fn share_ppm(part: i64, whole: i64) -> i64 {
    match whole {
        0 if part == 0 => 0,
        0 => 1_000_000,
        whole => (i128::from(part) * 1_000_000 / i128::from(whole)) as i64,
    }
}

/// What a review came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Raised,
    Kept,
    Lowered,
}

/// What decided, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    TooFewAnswers,
    Complaints,
    InvalidAddresses,
    Undelivered,
    NotUsed,
    HighestLevel,
    UsedWell,
}

impl Decision {
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Raised => "raised",
            Decision::Kept => "kept",
            Decision::Lowered => "lowered",
        }
    }
}

impl Reason {
    pub const ALL: [Reason; 7] = [
        Reason::TooFewAnswers,
        Reason::Complaints,
        Reason::InvalidAddresses,
        Reason::Undelivered,
        Reason::NotUsed,
        Reason::HighestLevel,
        Reason::UsedWell,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::TooFewAnswers => "too_few_answers",
            Reason::Complaints => "complaints",
            Reason::InvalidAddresses => "invalid_addresses",
            Reason::Undelivered => "undelivered",
            Reason::NotUsed => "not_used",
            Reason::HighestLevel => "highest_level",
            Reason::UsedWell => "used_well",
        }
    }

    pub fn parse(word: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// For the customer.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::TooFewAnswers => "too few messages were answered to judge by",
            Reason::Complaints => "recipients called too many messages spam",
            Reason::InvalidAddresses => "too many addresses do not exist",
            Reason::Undelivered => "too few messages were delivered",
            Reason::NotUsed => "the quota was not used up",
            Reason::HighestLevel => "there is no higher level",
            Reason::UsedWell => "the quota was used, and the messages arrived",
        })
    }
}

/// A review of an account's week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Review {
    pub from: i64,
    pub to: i64,
    pub reason: Reason,
}

impl Review {
    pub fn decision(&self) -> Decision {
        match self.to.cmp(&self.from) {
            std::cmp::Ordering::Greater => Decision::Raised,
            std::cmp::Ordering::Equal => Decision::Kept,
            std::cmp::Ordering::Less => Decision::Lowered,
        }
    }
}

/// Reviews a week in which the quota was `daily`: raises it one level, lowers it one, or keeps it.
///
/// # Example: a quota that was used up and went well
/// ```
/// use quittance::domain::quota::*;
/// let rules = QuotaRules {
///     levels: vec![2_000, 5_000, 10_000],
///     raise: Raise { used: 800_000, delivered: 950_000, invalid: 20_000, complained: 1_000 },
///     lower: Lower { delivered: 800_000, invalid: 100_000, complained: 5_000 },
///     least: 100,
/// };
/// let week = Week { sent: 9_000, busiest: 2_000, delivered: 8_950, failed: 50, ..Week::default() };
/// assert_eq!(review(&rules, 2_000, &week).to, 5_000);
/// ```
pub fn review(rules: &QuotaRules, daily: i64, week: &Week) -> Review {
    let keep = |reason| Review { from: daily, to: daily, reason };
    let QuotaRules { raise, lower, .. } = rules;
    if week.answered() < rules.least {
        return keep(Reason::TooFewAnswers);
    }
    let (delivered, invalid) = (week.delivered_share(), week.invalid_share());
    let complained = week.complained_share();
    let worst = [
        (complained > lower.complained, Reason::Complaints),
        (invalid > lower.invalid, Reason::InvalidAddresses),
        (delivered < lower.delivered, Reason::Undelivered),
    ];
    if let Some((_, reason)) = worst.into_iter().find(|(bad, _)| *bad) {
        return Review { to: rules.below(daily).unwrap_or(daily), ..keep(reason) };
    }
    let short = [
        (complained > raise.complained, Reason::Complaints),
        (invalid > raise.invalid, Reason::InvalidAddresses),
        (delivered < raise.delivered, Reason::Undelivered),
        (week.used(daily) < raise.used, Reason::NotUsed),
    ];
    match (short.into_iter().find(|(bad, _)| *bad), rules.above(daily)) {
        (Some((_, reason)), _) => keep(reason),
        (None, None) => keep(Reason::HighestLevel),
        (None, Some(to)) => Review { to, ..keep(Reason::UsedWell) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> QuotaRules {
        QuotaRules {
            levels: vec![2_000, 5_000, 10_000],
            raise: Raise { used: 800_000, delivered: 950_000, invalid: 20_000, complained: 1_000 },
            lower: Lower { delivered: 800_000, invalid: 100_000, complained: 5_000 },
            least: 100,
        }
    }

    /// A week of 10,000 messages at a quota that it used up.
    fn good(daily: i64) -> Week {
        let failed = 500;
        Week { sent: 10_000, busiest: daily, delivered: 9_500, failed, invalid: 200, complained: 9 }
    }

    fn of(daily: i64, week: Week) -> (i64, Reason) {
        let review = review(&rules(), daily, &week);
        (review.to, review.reason)
    }

    #[test]
    fn a_week_at_every_bound_of_a_raise_is_good_enough() {
        let week = Week { busiest: 1_600, ..good(2_000) };
        assert_eq!(of(2_000, week), (5_000, Reason::UsedWell));
        assert_eq!(of(5_000, good(5_000)), (10_000, Reason::UsedWell));
        assert_eq!(of(10_000, good(10_000)), (10_000, Reason::HighestLevel));
    }

    #[test]
    fn one_more_than_a_bound_of_a_raise_keeps_the_level() {
        let base = good(2_000);
        assert_eq!(of(2_000, Week { busiest: 1_599, ..base }), (2_000, Reason::NotUsed));
        assert_eq!(of(2_000, Week { invalid: 201, ..base }), (2_000, Reason::InvalidAddresses));
        assert_eq!(of(2_000, Week { complained: 10, ..base }), (2_000, Reason::Complaints));
        assert_eq!(of(2_000, Week { delivered: 9_499, failed: 501, ..base }), (2_000, Reason::Undelivered));
    }

    #[test]
    fn a_bad_week_lowers_by_one_level_and_never_below_the_first() {
        let base = good(10_000);
        for (week, reason) in [
            (Week { complained: 48, ..base }, Reason::Complaints),
            (Week { failed: 2_000, delivered: 8_000, invalid: 1_001, ..base }, Reason::InvalidAddresses),
            (Week { failed: 2_001, delivered: 7_999, ..base }, Reason::Undelivered),
        ] {
            assert_eq!(of(10_000, week), (5_000, reason), "{week:?}");
            assert_eq!(of(5_000, week), (2_000, reason), "{week:?}");
            assert_eq!(of(2_000, week), (2_000, reason), "{week:?}");
        }
        // At the bound of a lowering it is kept.
        let edge = Week { failed: 2_000, delivered: 8_000, invalid: 1_000, complained: 40, ..base };
        assert_eq!(of(10_000, edge), (10_000, Reason::Complaints));
    }

    #[test]
    fn too_few_answers_decide_nothing() {
        let week = Week { sent: 2_000, busiest: 2_000, delivered: 0, failed: 99, invalid: 99, complained: 5 };
        assert_eq!(of(5_000, week), (5_000, Reason::TooFewAnswers));
        assert_eq!(of(5_000, Week { failed: 100, ..week }).0, 2_000);
        assert_eq!(of(2_000, Week::default()), (2_000, Reason::TooFewAnswers));
    }

    #[test]
    fn a_quota_of_levels_that_were_changed_goes_to_the_next_of_the_new_ones() {
        let rules = rules();
        assert_eq!([1, 2_000, 4_000, 9_999, 99_999].map(|daily| rules.level(daily)), [1, 1, 1, 2, 3]);
        assert_eq!(of(4_000, good(4_000)).0, 5_000);
        assert_eq!(of(4_000, Week { complained: 99, ..good(4_000) }).0, 2_000);
    }
}
