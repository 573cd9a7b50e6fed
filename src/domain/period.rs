//! Times, 5-minute windows, months and validities, all judged in the billing zone.

use std::fmt;
use std::str::FromStr;

use chrono::{
    DateTime, Datelike, Days, LocalResult, Months, NaiveDate, NaiveDateTime, SecondsFormat, TimeZone, Utc,
};
use chrono_tz::Tz;

/// A moment in microseconds since the epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub const MINUTE: i64 = 60_000_000;
    pub const HOUR: i64 = 60 * Self::MINUTE;
    pub const DAY: i64 = 24 * Self::HOUR;

    /// Reads RFC 3339 with an offset, to the microsecond; finer digits are cut off.
    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        DateTime::parse_from_rfc3339(text).ok().map(|t| Timestamp(t.timestamp_micros()))
    }

    pub fn plus_micros(self, micros: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(micros))
    }

    fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

/// Length of an accrual window in microseconds: five minutes (R125).
pub const WINDOW: i64 = 5 * Timestamp::MINUTE;

/// The start of the 5-minute window that holds `at`: `start <= at < start + 5 min`.
///
/// Every zone's offset is a whole number of 5 minutes today, so windows aligned in UTC are
/// aligned in the billing zone, too (D1).
pub fn window_start(at: Timestamp) -> Timestamp {
    Timestamp(at.0.div_euclid(WINDOW) * WINDOW)
}

/// Local times that no clock shows are looked for this far around their UTC namesake.
const GAP_WITHIN: i64 = 26 * Timestamp::HOUR;

/// The billing zone: months, days and validities follow its calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    pub fn parse(name: &str) -> Option<Zone> {
        Tz::from_str(name).ok().map(Zone)
    }

    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The date and time that clocks in this zone show.
    pub fn local(self, at: Timestamp) -> DateTime<Tz> {
        at.utc().with_timezone(&self.0)
    }

    /// RFC 3339 in this zone, with as many fraction digits as the time has.
    pub fn format(self, at: Timestamp) -> String {
        at.utc().with_timezone(&self.0).to_rfc3339_opts(SecondsFormat::AutoSi, false)
    }

    /// Date and time for tables: `2026-03-01 09:05`.
    pub fn format_short(self, at: Timestamp) -> String {
        at.utc().with_timezone(&self.0).format("%Y-%m-%d %H:%M").to_string()
    }

    pub fn month_of(self, at: Timestamp) -> Month {
        let local = at.utc().with_timezone(&self.0);
        Month { year: local.year(), month: local.month() }
    }

    /// The first moment of a month in this zone.
    pub fn month_start(self, month: Month) -> Timestamp {
        let first = NaiveDate::from_ymd_opt(month.year, month.month, 1).unwrap_or(NaiveDate::MAX);
        self.resolve(first.and_time(chrono::NaiveTime::MIN))
    }

    /// The day that holds a moment.
    pub fn day_of(self, at: Timestamp) -> Day {
        Day(self.local(at).date_naive())
    }

    /// The first moment of a day in this zone.
    pub fn day_start(self, day: Day) -> Timestamp {
        self.resolve(day.0.and_time(chrono::NaiveTime::MIN))
    }

    /// The days from one moment up to another, each with its first moment and the first after it: 23
    /// or 25 hours where clocks are changed. The first may begin, and the last end, within its day.
    pub fn days(self, from: Timestamp, upto: Timestamp) -> Vec<(Day, Timestamp, Timestamp)> {
        let mut days = Vec::new();
        let mut begins = from;
        while begins < upto {
            let day = self.day_of(begins);
            let mut ends = self.day_start(day.next()).min(upto);
            if ends <= begins {
                // A calendar without a next day.
                ends = upto;
            }
            days.push((day, begins, ends));
            begins = ends;
        }
        days
    }

    /// The end of something valid from `start`, half-open: calendar months are added to the
    /// start's own day and clamped to the month's last day, at the same local time (D21).
    pub fn end_of_validity(self, start: Timestamp, validity: Validity) -> Timestamp {
        let local = start.utc().with_timezone(&self.0).naive_local();
        let end = match validity {
            Validity::Months(n) => local.checked_add_months(Months::new(n)),
            Validity::Days(n) => local.checked_add_days(Days::new(n.into())),
        };
        self.resolve(end.unwrap_or(NaiveDateTime::MAX))
    }

    /// The same local time a number of calendar months earlier, clamped to that month's last day.
    pub fn months_before(self, at: Timestamp, months: u32) -> Timestamp {
        let earlier = self.local(at).naive_local().checked_sub_months(Months::new(months));
        earlier.map_or(Timestamp(i64::MIN), |earlier| self.resolve(earlier))
    }

    /// A local time as a moment: in a gap the first moment after it, in an overlap the earlier.
    pub fn resolve(self, local: NaiveDateTime) -> Timestamp {
        match self.0.from_local_datetime(&local) {
            LocalResult::Single(t) | LocalResult::Ambiguous(t, _) => Timestamp(t.timestamp_micros()),
            LocalResult::None => self.after_gap(local),
        }
    }

    /// The moment at which clocks jump over a local time: the first at which they show it or a later one.
    fn after_gap(self, local: NaiveDateTime) -> Timestamp {
        // No zone is further than this from UTC, on either side of the jump.
        let utc = Timestamp(local.and_utc().timestamp_micros());
        let (mut before, mut after) = (utc.plus_micros(-GAP_WITHIN), utc.plus_micros(GAP_WITHIN));
        while after.0 - before.0 > 1 {
            let middle = Timestamp(before.0 + (after.0 - before.0) / 2);
            match self.local(middle).naive_local() < local {
                true => before = middle,
                false => after = middle,
            }
        }
        after
    }
}

/// A calendar month of the billing zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    pub year: i32,
    pub month: u32,
}

impl Month {
    /// The month as one integer that sorts: 202603.
    pub fn number(self) -> i64 {
        i64::from(self.year) * 100 + i64::from(self.month)
    }

    pub fn next(self) -> Month {
        if self.month == 12 {
            Month { year: self.year + 1, month: 1 }
        } else {
            Month { month: self.month + 1, ..self }
        }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = String;

    fn from_str(text: &str) -> Result<Month, String> {
        let parsed = text.split_once('-').and_then(|(y, m)| {
            (y.len() == 4 && m.len() == 2).then_some(())?;
            Some(Month { year: y.parse().ok()?, month: m.parse().ok()? })
        });
        parsed
            .filter(|m| (1..=12).contains(&m.month) && m.year > 0)
            .ok_or_else(|| format!("`{text}` is not a month: write YYYY-MM"))
    }
}

/// A calendar day of the billing zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(NaiveDate);

impl Day {
    /// The day as one integer that sorts: 20260301.
    pub fn number(self) -> i64 {
        i64::from(self.0.year()) * 10_000 + i64::from(self.0.month()) * 100 + i64::from(self.0.day())
    }

    /// The day of such an integer, where there is one.
    pub fn from_number(number: i64) -> Option<Day> {
        let year = i32::try_from(number / 10_000).ok()?;
        let (month, day) = (u32::try_from(number / 100 % 100).ok()?, u32::try_from(number % 100).ok()?);
        NaiveDate::from_ymd_opt(year, month, day).map(Day)
    }

    /// The Monday of its week.
    pub fn monday(self) -> Day {
        let back = Days::new(self.0.weekday().num_days_from_monday().into());
        self.0.checked_sub_days(back).map_or(self, Day)
    }

    /// The same weekday of the week before.
    pub fn week_before(self) -> Day {
        self.0.checked_sub_days(Days::new(7)).map_or(self, Day)
    }

    pub fn next(self) -> Day {
        Day(self.0.succ_opt().unwrap_or(NaiveDate::MAX))
    }

    /// The day so many days earlier.
    pub fn days_before(self, days: u32) -> Day {
        Day(self.0.checked_sub_days(Days::new(days.into())).unwrap_or(NaiveDate::MIN))
    }

    /// How many days there are from this one to a later one; below 0 where that is earlier.
    pub fn days_until(self, later: Day) -> i64 {
        (later.0 - self.0).num_days()
    }

    /// Days since 1970.
    pub fn epoch_days(self) -> i64 {
        i64::from(self.0.to_epoch_days())
    }

    /// The day that is so many days after the first of 1970, where there is one.
    pub fn from_epoch_days(days: i64) -> Option<Day> {
        NaiveDate::from_epoch_days(i32::try_from(days).ok()?).map(Day)
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Day, String> {
        let plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| plain).map(Day);
        day.ok_or_else(|| format!("`{text}` is not a day: write YYYY-MM-DD"))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How long a plan is valid from its purchase (D21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Months(u32),
    Days(u32),
}

impl FromStr for Validity {
    type Err = String;

    /// Reads `24 months` or `180 days`.
    fn from_str(text: &str) -> Result<Validity, String> {
        let fault = || format!("`{text}` is not a validity: write such as \"24 months\" or \"180 days\"");
        let (count, unit) = text.split_once(' ').ok_or_else(fault)?;
        let count: u32 = count.parse().map_err(|_| fault())?;
        match (count, unit) {
            (1..=1200, "month" | "months") => Ok(Validity::Months(count)),
            (1..=36500, "day" | "days") => Ok(Validity::Days(count)),
            _ => Err(fault()),
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self {
            Validity::Months(n) => (n, "month"),
            Validity::Days(n) => (n, "day"),
        };
        write!(f, "{count} {unit}{}", if *count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests;
