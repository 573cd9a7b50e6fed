//! When jobs are due: slots of a cron expression, counted in the billing zone.
//!
//! A slot is the scheduled time itself, so that it has the same name on every host and after every
//! restart, whenever its run really takes place.

use chrono::DateTime;
use croner::Cron;
use croner::parser::{CronParser, Seconds};

use crate::domain::period::{Timestamp, Zone};

/// A cron expression of five fields: minute, hour, day of month, month, day of week; or of six, the
/// first of them seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    cron: Cron,
}

/// Slots that are counted one by one; a longer absence is "at least so many".
const COUNTED: usize = 100_000;

/// The first slot is looked for from here, the beginning of 2026 in nanoseconds since the epoch: the same
/// text is judged alike whenever it is read.
const JUDGED_FROM: i64 = 1_767_225_600_000_000_000;

impl Schedule {
    /// Reads an expression that has at least one slot.
    ///
    /// # Errors
    /// Why it is none, or that it never comes, as with the 31st of February.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let cron = parser.parse(text).map_err(|error| {
            format!(
                "`{text}` is not a schedule ({error}): write minute, hour, day of month, month and day of \
                 week, such as \"*/5 * * * *\" or \"30 0 1 * *\", or \"off\""
            )
        })?;
        if cron.find_next_occurrence(&DateTime::from_timestamp_nanos(JUDGED_FROM), false).is_err() {
            return Err(format!("`{text}` never comes: name a day that there is, or write \"off\""));
        }
        Ok(Schedule { text: text.to_owned(), cron })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// In words: "Every 5 minutes."
    pub fn describe(&self) -> String {
        self.cron.describe()
    }

    /// The first slot after a moment; None where there is none any more.
    pub fn next_after(&self, at: Timestamp, zone: Zone) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&zone.local(at), false).ok()?;
        Some(Timestamp(next.timestamp_micros()))
    }

    /// The latest slot up to a moment, itself included.
    pub fn latest_up_to(&self, at: Timestamp, zone: Zone) -> Option<Timestamp> {
        let previous = self.cron.find_previous_occurrence(&zone.local(at), true).ok()?;
        Some(Timestamp(previous.timestamp_micros()))
    }

    /// How many slots there are after `after` and up to `upto`.
    pub fn count(&self, after: Timestamp, upto: Timestamp, zone: Zone) -> i64 {
        let slots = self.cron.iter_after(zone.local(after)).take(COUNTED);
        slots.take_while(|slot| slot.timestamp_micros() <= upto.0).count() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap()
    }

    fn time(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn slots_follow_the_zone() {
        let monthly = Schedule::parse("30 0 1 * *").unwrap();
        let next = |zone_name: &str| monthly.next_after(time("2026-03-15T00:00:00Z"), zone(zone_name));
        assert_eq!(next("Asia/Shanghai"), Some(time("2026-04-01T00:30:00+08:00")));
        assert_eq!(next("UTC"), Some(time("2026-04-01T00:30:00Z")));
    }

    #[test]
    fn a_slot_is_up_to_its_own_moment_and_after_the_one_before() {
        let every_5 = Schedule::parse("*/5 * * * *").unwrap();
        let utc = zone("UTC");
        let slot = time("2026-03-01T09:05:00Z");
        for (at, latest) in
            [("2026-03-01T09:05:00Z", slot), ("2026-03-01T09:09:59.999999Z", slot)].map(|(a, l)| (time(a), l))
        {
            assert_eq!(every_5.latest_up_to(at, utc), Some(latest));
            assert_eq!(every_5.next_after(at, utc), Some(time("2026-03-01T09:10:00Z")));
        }
        assert_eq!(every_5.count(slot, time("2026-03-11T09:05:00Z"), utc), 2_880);
    }

    #[test]
    fn f40_slots_neither_repeat_nor_go_missing_where_clocks_change() {
        for name in
            ["Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Asia/Beirut", "Africa/Cairo"]
        {
            let zone = zone(name);
            let every_30 = Schedule::parse("*/30 * * * *").unwrap();
            let (mut at, end) = (time("2026-01-01T00:00:00Z"), time("2027-01-01T00:00:00Z"));
            let mut slots = 0;
            while let Some(next) = every_30.next_after(at, zone).filter(|next| *next <= end) {
                assert!(next > at, "{name}: {next:?} does not follow {at:?}");
                assert!(next.0 - at.0 <= Timestamp::HOUR, "{name}: a hole after {at:?}");
                assert_eq!(every_30.latest_up_to(next, zone), Some(next), "{name}");
                (at, slots) = (next, slots + 1);
            }
            // Half an hour more or less where a change is not a whole hour.
            assert!((17_515..=17_525).contains(&slots), "{name}: {slots} slots in the year");
        }
    }

    #[test]
    fn what_never_comes_is_refused_and_what_seldom_comes_is_not() {
        for text in ["0 0 31 2 *", "0 0 30 2 1-5", "59 23 31 4,6,9,11 *", "0 0 0 1 1 * 2020"] {
            // A day of week would make slots of its own beside an impossible day of month.
            let never = !text.ends_with("1-5");
            let parsed = Schedule::parse(text);
            assert_eq!(parsed.is_err_and(|refused| refused.contains("never comes")), never, "{text}");
        }
        for text in ["0 0 29 2 *", "0 0 31 * *", "0 0 L 2 *", "0 0 * * 5#5"] {
            assert!(Schedule::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_an_example() {
        for text in ["", "* * * *", "61 * * * *", "* * * * * * * *", "every minute", "0 0 31 2 *x"] {
            let refused = Schedule::parse(text).unwrap_err();
            assert!(refused.contains("*/5 * * * *"), "{text}: {refused}");
        }
    }
}
