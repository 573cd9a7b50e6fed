//! Times as sources write them (F45).

use chrono::{DateTime, FixedOffset, NaiveDateTime};

use super::{LineFault, excerpt};
use crate::domain::period::{Timestamp, Zone};

/// How a source writes times, beside RFC 3339 with an offset, which every source may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeForms {
    /// The zone of `2026-03-01 09:05:00`; None where a time must say its offset.
    pub zoneless: Option<ZonelessIn>,
    /// `Thu, 25 Nov 2021 10:27:00 +0800`.
    pub rfc2822: bool,
    /// What a time of digits alone is; None where it is none.
    pub digits: Option<Digits>,
}

/// What a time of digits alone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    /// Milliseconds since the epoch, of 13 digits.
    EpochMillis,
    /// `2603010905` or `260301090500`: the year without its century, and no zone.
    Calendar,
}

/// The zone of times that name none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZonelessIn {
    /// Hours east of UTC.
    Offset(i64),
    Zone(Zone),
}

/// Reads a time to the microsecond. A leap second is the last microsecond before it: no message
/// may fall into the next minute, month or price list because of it.
///
/// Years outside 2000 to 2100 are refused: they are seconds read as milliseconds, a clock that
/// was never set, or a placeholder.
pub fn read_time(text: &str, forms: TimeForms) -> Result<Timestamp, LineFault> {
    let fault = |why: &str| LineFault::new("bad_time", format!("`{}` {why}", excerpt(text)));
    let time = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => at(time),
        Err(_) => other_form(text, forms).ok_or_else(|| {
            fault(match forms.zoneless {
                None => "is not a time: write RFC 3339 with an offset, such as 2026-03-01T09:05:00+08:00",
                Some(_) => "is not a time: write 2026-03-01 09:05:00, or RFC 3339 with an offset",
            })
        })?,
    };
    if is_of_our_time(time) { Ok(time) } else { Err(fault("is not in the years 2000 to 2100")) }
}

/// Whether a time may stand in the books.
pub fn is_of_our_time(time: Timestamp) -> bool {
    (FIRST..END).contains(&time)
}

/// 2000-01-01 and 2101-01-01, 00:00 UTC.
const FIRST: Timestamp = Timestamp(10_957 * Timestamp::DAY);
const END: Timestamp = Timestamp(47_847 * Timestamp::DAY);

fn other_form(text: &str, forms: TimeForms) -> Option<Timestamp> {
    let first = text.bytes().next()?;
    if forms.rfc2822 && first.is_ascii_alphabetic() {
        return DateTime::parse_from_rfc2822(text).ok().map(at);
    }
    // Providers write offsets without the colon, too, as ISO 8601 allows.
    if (forms.rfc2822 || forms.digits.is_some() || forms.zoneless.is_some())
        && let Ok(time) = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z")
    {
        return Some(at(time));
    }
    let digits = forms.digits.filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    if digits == Some(Digits::EpochMillis) {
        return text.parse::<i64>().ok()?.checked_mul(1_000).map(Timestamp);
    }
    let zone = forms.zoneless?;
    if let Ok(time) = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S %z") {
        return Some(at(time));
    }
    let written: &[&str] = match (digits, text.len()) {
        (Some(_), 10) => &["%y%m%d%H%M"],
        (Some(_), 12) => &["%y%m%d%H%M%S"],
        (None, 19..) => &["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"],
        _ => return None,
    };
    let local = written.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?;
    let local = without_leap_second(local);
    Some(match zone {
        ZonelessIn::Offset(hours) => Timestamp(local.and_utc().timestamp_micros() - hours * Timestamp::HOUR),
        ZonelessIn::Zone(zone) => zone.resolve(local),
    })
}

fn at(time: DateTime<FixedOffset>) -> Timestamp {
    Timestamp(without_leap_second(time.naive_utc()).and_utc().timestamp_micros())
}

/// Chrono keeps second 60 as second 59 with a thousand million nanoseconds or more.
fn without_leap_second(time: NaiveDateTime) -> NaiveDateTime {
    use chrono::Timelike;
    if time.nanosecond() < 1_000_000_000 { time } else { time.with_nanosecond(999_999_999).unwrap_or(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC3339: TimeForms = TimeForms { zoneless: None, rfc2822: false, digits: None };
    const ALL: TimeForms =
        TimeForms { zoneless: Some(ZonelessIn::Offset(8)), rfc2822: true, digits: Some(Digits::EpochMillis) };
    const COMPACT: TimeForms = TimeForms { digits: Some(Digits::Calendar), ..ALL };

    fn utc(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn every_form_gives_the_same_moment() {
        let moment = utc("2021-11-25T02:27:00Z");
        for text in [
            "2021-11-25T10:27:00+08:00",
            "2021-11-25 10:27:00",
            "2021-11-25T10:27:00",
            "Thu, 25 Nov 2021 10:27:00 +0800",
            "1637807220000",
            "2021-11-24T21:27:00.000-05:00",
            "2021-11-25 02:27:00 +0000",
            "2021-11-25T02:27:00+0000",
            "2021-11-25T10:27:00.000+0800",
        ] {
            assert_eq!(read_time(text, ALL), Ok(moment), "{text}");
        }
        for text in ["2111251027", "211125102700", "2021-11-25 10:27:00"] {
            assert_eq!(read_time(text, COMPACT), Ok(moment), "{text}");
        }
        let zone = Zone::parse("America/New_York").map(ZonelessIn::Zone);
        let there = TimeForms { zoneless: zone, ..RFC3339 };
        assert_eq!(read_time("2021-11-24 21:27:00", there), Ok(moment));
    }

    #[test]
    fn a_leap_second_stays_in_its_minute() {
        let last = utc("2016-12-31T23:59:59.999999Z");
        assert_eq!(read_time("2016-12-31T23:59:60Z", RFC3339), Ok(last));
        assert_eq!(read_time("2017-01-01T07:59:60.5+08:00", RFC3339), Ok(last));
        assert_eq!(read_time("2017-01-01 07:59:60", ALL), Ok(last));
    }

    #[test]
    fn the_years_2000_to_2100_are_read() {
        assert_eq!(read_time("2000-01-01T00:00:00Z", RFC3339).unwrap(), FIRST);
        assert_eq!(read_time("2100-12-31T23:59:59.999999Z", RFC3339).unwrap(), Timestamp(END.0 - 1));
        for text in
            ["1999-12-31T23:59:59.999999Z", "2101-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1637807220"]
        {
            assert_eq!(read_time(text, ALL).unwrap_err().reason, "bad_time", "{text}");
        }
    }

    #[test]
    fn a_time_that_leaves_something_open_is_refused() {
        for text in [
            "",
            "2021-11-25",
            "2021-11-25 10:27:00",
            "2021-11-25T10:27:00",
            "2021-11-25T10:27:00+0800",
            "2021-11-25T10:27+08:00",
            "2021-13-25T10:27:00Z",
            "2021-02-29T10:27:00Z",
            "2021-11-25T24:00:00Z",
            "1637807220000",
            "1637807220",
            "25/11/2021 10:27",
            "Thu, 25 Nov 2021 10:27:00 +0800",
            "９999-12-31T23:59:59Z",
            "now",
        ] {
            assert_eq!(read_time(text, RFC3339).unwrap_err().reason, "bad_time", "{text}");
        }
        for text in ["2021-11-25", "99999999999999999999", "Thu, 25 Nov 2021 10:27:00", "2021-11-25 10:27"] {
            assert_eq!(read_time(text, ALL).unwrap_err().reason, "bad_time", "{text}");
        }
        for text in ["2113251027", "2111252460", "211125 027", "21112510270", "1637807220000", "9911251027"] {
            assert_eq!(read_time(text, COMPACT).unwrap_err().reason, "bad_time", "{text}");
        }
    }
}
