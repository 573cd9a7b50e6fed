use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn shanghai() -> Zone {
    Zone::parse("Asia/Shanghai").unwrap()
}

#[test]
fn windows_are_half_open() {
    assert_eq!(window_start(at("2026-03-01T09:04:59.999999+08:00")), at("2026-03-01T09:00:00+08:00"));
    assert_eq!(window_start(at("2026-03-01T09:05:00+08:00")), at("2026-03-01T09:05:00+08:00"));
    assert_eq!(window_start(Timestamp(-1)), Timestamp(-WINDOW));
}

#[test]
fn months_begin_at_local_midnight() {
    let zone = shanghai();
    assert_eq!(zone.month_of(at("2026-02-28T16:00:00Z")).to_string(), "2026-03");
    assert_eq!(zone.month_of(at("2026-02-28T15:59:59.999999Z")).to_string(), "2026-02");
    assert_eq!(zone.month_start("2026-03".parse().unwrap()), at("2026-03-01T00:00:00+08:00"));
}

#[test]
fn months_are_added_to_the_purchase_day_and_clamped() {
    let zone = shanghai();
    let end = |start: &str, months| zone.format(zone.end_of_validity(at(start), Validity::Months(months)));
    assert_eq!(end("2024-02-29T10:00:00+08:00", 24), "2026-02-28T10:00:00+08:00");
    assert_eq!(end("2026-08-31T10:00:00+08:00", 6), "2027-02-28T10:00:00+08:00");
    assert_eq!(end("2026-01-31T10:00:00+08:00", 2), "2026-03-31T10:00:00+08:00");
}

#[test]
fn a_day_that_a_zone_skips_ends_at_its_first_moment_after() {
    let apia = Zone::parse("Pacific/Apia").unwrap();
    let end = apia.end_of_validity(at("2011-11-30T12:00:00-10:00"), Validity::Months(1));
    assert_eq!(apia.format(end), "2011-12-31T00:00:00+14:00");
}

#[test]
fn days_have_as_many_hours_as_their_zone_gives_them() {
    let berlin = Zone::parse("Europe/Berlin").unwrap();
    let days = berlin.days(at("2026-03-27T23:00:00Z"), at("2026-03-30T10:00:00Z"));
    let told: Vec<_> =
        days.iter().map(|(day, from, upto)| (day.to_string(), (upto.0 - from.0) / Timestamp::HOUR)).collect();
    let day = |date: &str, hours| (date.to_owned(), hours);
    assert_eq!(told, [day("2026-03-28", 24), day("2026-03-29", 23), day("2026-03-30", 12)]);
    let last = days[2].0;
    assert_eq!((last.number(), Day::from_number(20_260_330)), (20_260_330, Some(last)));
    assert_eq!(Day::from_number(20_260_230), None);
    assert_eq!(berlin.day_start(last), at("2026-03-29T22:00:00Z"));
}

#[test]
fn validities_read_back_as_written() {
    for text in ["24 months", "180 days", "1 month"] {
        assert_eq!(text.parse::<Validity>().unwrap().to_string(), text);
    }
    for text in ["0 months", "2 years", "months", "-1 days", "99999999999 days"] {
        assert!(text.parse::<Validity>().is_err(), "{text}");
    }
}

/// Zones whose clocks change at midnight, by half an hour, or over a whole day.
const ZONES: [&str; 7] = [
    "America/Santiago",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Asuncion",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Shanghai",
];

fn zones() -> impl Iterator<Item = Zone> {
    ZONES.into_iter().map(|name| Zone::parse(name).unwrap())
}

/// The moment is when clocks first show this local time, or the first that they show after a gap.
#[track_caller]
fn assert_first_shows(zone: Zone, moment: Timestamp, local: NaiveDateTime) {
    let shown = |at: Timestamp| zone.local(at).naive_local();
    assert!(shown(moment) >= local, "{} shows {} at the end {local}", zone.name(), shown(moment));
    let exists = !matches!(zone.0.from_local_datetime(&local), LocalResult::None);
    assert_eq!(shown(moment) == local, exists, "{} at {local}", zone.name());
    assert!(shown(moment.plus_micros(-1)) < local, "{} shows {local} before the end", zone.name());
}

/// The day of a later month as a clerk counts it, without the calendar's own addition of months.
fn counted(year: i32, month: u32, day: u32, months: u32) -> NaiveDate {
    let later = month - 1 + months;
    let (year, month) = (year + (later / 12) as i32, later % 12 + 1);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let last = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    NaiveDate::from_ymd_opt(year, month, day.min(last)).unwrap()
}

#[test]
fn f43_validities_of_months_end_on_the_day_of_their_start_or_the_last_of_the_month() {
    let times = [(0, 0), (0, 30), (1, 45), (2, 20), (23, 59)];
    let times = times.map(|(hour, minute)| chrono::NaiveTime::from_hms_opt(hour, minute, 0).unwrap());
    for zone in zones() {
        let mut last_ends = [Timestamp(i64::MIN); 5];
        let starts = (2024..=2032).flat_map(|year| (1..=12).map(move |month| (year, month)));
        for (year, month) in starts {
            for day in 28..=31 {
                let Some(date) = NaiveDate::from_ymd_opt(year, month, day) else { continue };
                for (time, last_end) in times.iter().zip(&mut last_ends) {
                    let start = zone.resolve(date.and_time(*time));
                    // In a gap the clock shows another time at the start, and that one counts.
                    let shown = zone.local(start).time();
                    for months in [1, 2, 6, 11, 12, 24] {
                        let end = zone.end_of_validity(start, Validity::Months(months));
                        let local = counted(year, month, day, months).and_time(shown);
                        assert_first_shows(zone, end, local);
                        assert!(end > start);
                    }
                    if shown != *time {
                        continue;
                    }
                    // Bought on a later day at the same time, it never ends earlier.
                    let end = zone.end_of_validity(start, Validity::Months(1));
                    assert!(end >= *last_end, "{} {year}-{month}-{day}", zone.name());
                    *last_end = end;
                }
            }
        }
    }
}

#[test]
fn f40_months_and_days_meet_without_gap_or_overlap_where_clocks_change_at_midnight() {
    for zone in zones() {
        let mut month: Month = "2010-12".parse().unwrap();
        while month.year < 2033 {
            let (start, end) = (zone.month_start(month), zone.month_start(month.next()));
            assert_eq!((zone.month_of(start), zone.month_of(end.plus_micros(-1))), (month, month));
            assert_ne!(zone.month_of(start.plus_micros(-1)), month);
            let days = zone.days(start, end);
            assert_eq!((days[0].1, days[days.len() - 1].2), (start, end), "{} {month}", zone.name());
            assert!(days.windows(2).all(|pair| pair[0].2 == pair[1].1 && pair[0].0 < pair[1].0));
            let dates = counted(month.year, month.month, 31, 0).day() as usize;
            // Samoa went over the date line and had no 30 December 2011.
            let skipped = usize::from(zone.name() == "Pacific/Apia" && month.to_string() == "2011-12");
            assert_eq!(days.len(), dates - skipped, "{} {month}", zone.name());
            month = month.next();
        }
    }
}

#[test]
fn f40_what_ends_in_a_gap_ends_with_it_and_in_an_overlap_at_its_first_passing() {
    let end = |zone: &str, start: &str, validity| {
        let zone = Zone::parse(zone).unwrap();
        zone.format(zone.end_of_validity(at(start), validity))
    };
    let month = Validity::Months(1);
    // Midnight to 1:00 is skipped in Santiago on 8 September 2024, 2:00 to 2:30 on Lord Howe on 6 October.
    let santiago = end("America/Santiago", "2024-08-08T00:20:00-04:00", month);
    assert_eq!(santiago, "2024-09-08T01:00:00-03:00");
    let lord_howe = end("Australia/Lord_Howe", "2024-09-06T02:10:00+10:30", month);
    assert_eq!(lord_howe, "2024-10-06T02:30:00+11:00");
    // 23:00 to midnight passes twice in Cairo on 31 October 2024.
    let cairo = end("Africa/Cairo", "2024-08-31T23:30:00+03:00", Validity::Months(2));
    assert_eq!(cairo, "2024-10-31T23:30:00+03:00");
    // A day of 23 hours is a day.
    let beirut = end("Asia/Beirut", "2024-03-30T12:00:00+02:00", Validity::Days(1));
    assert_eq!(beirut, "2024-03-31T12:00:00+03:00");
}

#[test]
fn a_leap_day_is_clamped_from_itself_never_from_a_clamped_day() {
    let zone = shanghai();
    let ends: Vec<String> = [12, 24, 36, 48]
        .map(|months| zone.end_of_validity(at("2024-02-29T10:00:00+08:00"), Validity::Months(months)))
        .map(|end| zone.format(end)[..10].to_owned())
        .into();
    assert_eq!(ends, ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]);
}

#[test]
fn an_end_beyond_the_calendar_is_still_a_moment() {
    let far = Timestamp(i64::MAX / 2);
    for zone in zones() {
        assert!(zone.end_of_validity(far, Validity::Months(1_200)) > far);
    }
}

#[test]
fn weeks_begin_on_monday() {
    let day = |number| Day::from_number(number).unwrap();
    // 2 March 2026 is a Monday.
    for number in 20_260_302..=20_260_308 {
        assert_eq!(day(number).monday(), day(20_260_302), "{number}");
    }
    assert_eq!((day(20_260_301).monday(), day(20_260_302).week_before()), (day(20_260_223), day(20_260_223)));
}
