//! Readers of single values: each takes a TOML value and gives it parsed, or says what is wrong
//! with it and how to mend it.

use toml::de::DeValue;

use super::reader::{Reading, closest, type_of};
use std::net::SocketAddr;
use std::time::Duration;

use crate::domain::account::{ID_RULE, is_id};
use crate::domain::countries::{is_country, is_destination, is_of_the_standard, meant_by};
use crate::domain::money::{Micros, MoneyFault, check_currency};
use crate::domain::period::{Timestamp, Validity, Zone, window_start};
use crate::ingest::message_ids::IdForm;
use crate::schedule::Schedule;

/// Any text that says something.
pub fn text(value: &DeValue<'_>) -> Reading<String> {
    match value.as_str() {
        Some(text) if !text.trim().is_empty() && text.len() <= 1_000 => Ok(text.to_owned()),
        Some(_) => Err("the text is empty or longer than 1000 bytes: shorten or fill it".to_owned()),
        None => Err(format!("this is {}: write a text in quotes", type_of(value))),
    }
}

/// An id or a word that stands in commands and exports: small letters, digits, `-`, `_` and `.`.
pub fn word(value: &DeValue<'_>) -> Reading<String> {
    let word = text(value)?;
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    if word.len() <= 64 && word.bytes().all(allowed) {
        return Ok(word);
    }
    Err(format!("`{word}` is not a word for commands: use up to 64 small letters, digits, - _ and ."))
}

/// The id of an account, which may be added later.
pub fn account_id(value: &DeValue<'_>) -> Reading<String> {
    let id = text(value)?;
    check_account_id(&id).map(|()| id)
}

/// The same where it is a key.
pub fn check_account_id(id: &str) -> Reading<()> {
    if is_id(id) { Ok(()) } else { Err(format!("`{id}` can't be an account: {ID_RULE}")) }
}

/// One of the words that have a meaning.
pub fn one_of<T: Copy>(choices: &[(&str, T)]) -> impl Fn(&DeValue<'_>) -> Reading<T> {
    move |value| {
        let word = text(value)?;
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let found = choices.iter().find(|(name, _)| *name == word).map(|(_, meaning)| *meaning);
        found.ok_or_else(|| match closest(&word, &names) {
            Some(near) => format!("`{word}` is unknown: did you mean `{near}`?"),
            None => format!("`{word}` is unknown: use one of {}", names.join(", ")),
        })
    }
}

pub fn flag(value: &DeValue<'_>) -> Reading<bool> {
    value.as_bool().ok_or_else(|| format!("this is {}: write true or false", type_of(value)))
}

pub fn integer(value: &DeValue<'_>) -> Reading<i64> {
    match value {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| format!("{number} is larger than the books can hold")),
        DeValue::Float(number) => Err(format!("{number} is not a whole number: write it without a point")),
        DeValue::String(text) => Err(format!("\"{text}\" is a text: write the number without quotes")),
        other => Err(format!("this is {}: write a whole number", type_of(other))),
    }
}

/// How often something may be done: 1 to 1,000.
pub fn count(value: &DeValue<'_>) -> Reading<i64> {
    match integer(value)? {
        count @ 1..=1_000 => Ok(count),
        other => Err(format!("{other} is not a count from 1 to 1000")),
    }
}

/// An amount of money or a price, as a text: a bare number would go through a float.
pub fn money(value: &DeValue<'_>) -> Reading<Micros> {
    let bare =
        |number: String| format!("the number {number} is not kept exactly: put it in quotes, \"{number}\"");
    match value {
        DeValue::String(text) => Micros::parse(text).map_err(|fault| match fault {
            MoneyFault::TooFine(_) => format!("{fault}: write at most six decimals"),
            _ => fault.to_string(),
        }),
        DeValue::Integer(number) => Err(bare(number.to_string())),
        DeValue::Float(number) => Err(bare(number.to_string())),
        other => Err(format!("this is {}: write an amount in quotes, such as \"0.045\"", type_of(other))),
    }
}

/// What a unit may cost: a slip of the pen with more would stop bills and digests by its sums (F75, F114).
const DEAREST: Micros = Micros(1_000_000 * Micros::PER_UNIT);

/// A price for one unit, written per `per` units. It must come to whole micro-units a unit (D38):
/// 0.29 per 1000 is 290 micro-units.
pub fn unit_price(per: i64) -> impl Fn(&DeValue<'_>) -> Reading<Micros> {
    move |value| {
        let price = money(value)?;
        if price.0 / per > DEAREST.0 {
            return Err(format!("a unit costs at most {DEAREST}, so that sums stay countable"));
        }
        if price.0 % per == 0 {
            return Ok(Micros(price.0 / per));
        }
        let finest = Micros(per);
        Err(format!(
            "{price} per {per} units is no whole number of micro-units a unit: use steps of {finest}"
        ))
    }
}

/// A rate below 1 in millionths: "0.06" is 60,000.
pub fn rate_ppm(value: &DeValue<'_>) -> Reading<i64> {
    match money(value)? {
        Micros(ppm @ 0..1_000_000) => Ok(ppm),
        other => Err(format!("{other} is not a rate: write \"0\" to \"0.999999\", \"0.06\" for 6 %")),
    }
}

/// A moment: RFC 3339 with its offset, as a TOML time or as a text.
pub fn moment(value: &DeValue<'_>) -> Reading<Timestamp> {
    let written = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        other => return Err(format!("this is {}: {MOMENT_HINT}", type_of(other))),
    };
    Timestamp::parse_rfc3339(&written).ok_or_else(|| format!("`{written}` is not a moment: {MOMENT_HINT}"))
}

/// A moment at which a 5-minute window begins: what is booked window by window changes with one.
pub fn window(value: &DeValue<'_>) -> Reading<Timestamp> {
    let at = moment(value)?;
    if window_start(at) == at {
        Ok(at)
    } else {
        Err("what is booked by 5-minute windows changes with one: write a time such as 00:00:00 or 08:05:00"
            .into())
    }
}

const MOMENT_HINT: &str = "write date, time with seconds, and offset, such as 2026-03-01T00:00:00+08:00";

pub fn validity(value: &DeValue<'_>) -> Reading<Validity> {
    text(value)?.parse()
}

/// A number of months, as `13 months`.
pub fn months(value: &DeValue<'_>) -> Reading<u32> {
    match validity(value)? {
        Validity::Months(months) => Ok(months),
        Validity::Days(_) => Err("this is counted in months: write such as \"13 months\"".to_owned()),
    }
}

/// A number of minutes up to a day, as `5 minutes`.
pub fn minutes(value: &DeValue<'_>) -> Reading<i64> {
    let written = text(value)?;
    let count = written.strip_suffix(" minutes").or_else(|| written.strip_suffix(" minute"));
    let minutes = count.and_then(|count| count.parse().ok()).filter(|minutes| (0..=1_440).contains(minutes));
    minutes.ok_or_else(|| {
        format!("`{written}` is not a number of minutes up to a day: write such as \"5 minutes\"")
    })
}

/// A number of hours up to a month, as `48 hours`.
pub fn hours(value: &DeValue<'_>) -> Reading<i64> {
    let written = text(value)?;
    let count = written.strip_suffix(" hours").or_else(|| written.strip_suffix(" hour"));
    let hours = count.and_then(|count| count.parse().ok()).filter(|hours| (1..=744).contains(hours));
    hours.ok_or_else(|| {
        format!("`{written}` is not a number of hours up to a month: write such as \"48 hours\"")
    })
}

/// A number of days up to a year, as `3 days`.
pub fn days(value: &DeValue<'_>) -> Reading<u32> {
    let written = text(value)?;
    let count = written.strip_suffix(" days").or_else(|| written.strip_suffix(" day"));
    let days = count.and_then(|count| count.parse().ok()).filter(|days| (1..=366).contains(days));
    days.ok_or_else(|| format!("`{written}` is not a number of days up to a year: write such as \"3 days\""))
}

/// A number of seconds up to an hour, as `30 seconds`.
pub fn seconds(value: &DeValue<'_>) -> Reading<Duration> {
    let written = text(value)?;
    let count = written.strip_suffix(" seconds").or_else(|| written.strip_suffix(" second"));
    let seconds = count.and_then(|count| count.parse().ok()).filter(|seconds| (1..=3_600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        format!("`{written}` is not a number of seconds up to an hour: write such as \"30 seconds\"")
    })
}

/// A cron expression, or `off`.
pub fn schedule(value: &DeValue<'_>) -> Reading<Option<Schedule>> {
    match text(value)?.as_str() {
        "off" => Ok(None),
        written => Schedule::parse(written).map(Some),
    }
}

/// An address to listen on, or `off`. Only this machine's own: what is told there is not for others.
pub fn address(value: &DeValue<'_>) -> Reading<Option<SocketAddr>> {
    let written = text(value)?;
    if written == "off" {
        return Ok(None);
    }
    let address: SocketAddr = written.parse().map_err(|_| {
        format!("`{written}` is not an address: write such as \"127.0.0.1:9464\", or \"off\"")
    })?;
    if address.ip().is_loopback() {
        return Ok(Some(address));
    }
    Err(format!(
        "`{written}` can be reached from other machines: write 127.0.0.1 or [::1], and put a proxy before it"
    ))
}

pub fn zone(value: &DeValue<'_>) -> Reading<Zone> {
    let name = text(value)?;
    Zone::parse(&name).ok_or_else(|| format!("`{name}` is not a time zone: write such as \"Asia/Shanghai\""))
}

pub fn id_form(value: &DeValue<'_>) -> Reading<IdForm> {
    IdForm::parse(&text(value)?)
}

pub fn currency(value: &DeValue<'_>) -> Reading<String> {
    let code = text(value)?;
    check_currency(&code).map(|()| code)
}

/// The commodity of a product's units in the books. Currencies have three letters, units more: what
/// reads the ledger tells them apart by that.
pub fn commodity(value: &DeValue<'_>) -> Reading<String> {
    let name = text(value)?;
    let letters = (4..=24).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_uppercase());
    if letters {
        Ok(name)
    } else {
        Err(format!("`{name}` is not a commodity: write 4 to 24 capital letters, such as SMSD"))
    }
}

/// A branch of the income accounts that hledger, ledger and beancount all take.
pub fn income_branch(value: &DeValue<'_>) -> Reading<String> {
    let branch = text(value)?;
    let part = |part: &str| {
        let begins = part.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit());
        begins && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if branch.split(':').all(part) {
        return Ok(branch);
    }
    Err(format!(
        "`{branch}` is no branch of the accounts: write words that begin with a capital, such as SMS:Domestic"
    ))
}

/// A country, by its code of ISO 3166-1 alpha-2 in capitals.
pub fn country(value: &DeValue<'_>) -> Reading<String> {
    country_code(text(value)?, is_country)
}

/// The country of a side of an invoice: one of the standard.
pub fn country_of_the_standard(value: &DeValue<'_>) -> Reading<String> {
    country_code(text(value)?, is_of_the_standard)
}

/// Where messages go: a country, or what numbers of none have in its place.
pub fn destination(value: &DeValue<'_>) -> Reading<String> {
    destination_code(&text(value)?)
}

/// The same where it is a key.
pub fn destination_code(code: &str) -> Reading<String> {
    country_code(code.to_owned(), is_destination)
}

fn country_code(code: String, exists: impl Fn(&str) -> bool) -> Reading<String> {
    if code.len() != 2 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(format!("`{code}` is not a country: write its two capital letters, such as HK"));
    }
    if exists(&code) {
        return Ok(code);
    }
    Err(match meant_by(&code) {
        Some(meant) => format!("`{code}` is not a country of ISO 3166: did you mean `{meant}`?"),
        None => format!("`{code}` is not a country of ISO 3166: write one that is, such as HK"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(reader: impl Fn(&DeValue<'_>) -> Reading<T>, toml: &str) -> Reading<T> {
        reader(DeValue::parse(toml).unwrap().get_ref())
    }

    #[test]
    fn prices_per_thousand_stay_exact() {
        assert_eq!(read(unit_price(1000), "\"0.29\""), Ok(Micros(290)));
        assert_eq!(read(unit_price(1), "\"0.000001\""), Ok(Micros(1)));
        let fault = "0.0005 per 1000 units is no whole number of micro-units a unit: use steps of 0.001";
        assert_eq!(read(unit_price(1000), "\"0.0005\""), Err(fault.to_owned()));
    }

    #[test]
    fn moments_are_read_bare_or_quoted_but_never_without_an_offset() {
        let moment_at = |toml| read(moment, toml).ok();
        let expected = Timestamp::parse_rfc3339("2025-02-28T16:00:00Z");
        assert_eq!(moment_at("2025-03-01T00:00:00+08:00"), expected);
        assert_eq!(moment_at("\"2025-03-01T00:00:00+08:00\""), expected);
        for toml in
            ["2025-03-01", "2025-03-01T00:00:00", "2025-03-01T00:00+08:00", "\"soon\"", "1", "00:00:00"]
        {
            assert!(read(moment, toml).is_err(), "{toml}");
        }
    }

    #[test]
    fn words_numbers_and_codes_are_taken_or_refused_whole() {
        assert_eq!(read(integer, "100_000"), Ok(100_000));
        assert_eq!(read(integer, "0x10"), Ok(16));
        for toml in ["1.0", "\"1\"", "true", "99999999999999999999"] {
            assert!(read(integer, toml).is_err(), "{toml}");
        }
        assert_eq!(read(rate_ppm, "\"0.06\""), Ok(60_000));
        assert!(read(rate_ppm, "\"6\"").is_err() && read(rate_ppm, "\"-0.06\"").is_err());
        assert_eq!(read(minutes, "\"5 minutes\""), Ok(5));
        assert!(read(minutes, "\"5 hours\"").is_err() && read(minutes, "\"1441 minutes\"").is_err());
        assert_eq!(read(months, "\"13 months\""), Ok(13));
        assert!(read(months, "\"390 days\"").is_err());
        assert!(read(income_branch, "\"SMS:Intl-2\"").is_ok());
        for toml in ["\"SMS:\"", "\"sms\"", "\"SMS:Über\"", "\"SMS Domestic\""] {
            assert!(read(income_branch, toml).is_err(), "{toml}");
        }
        for toml in ["\"hk\"", "\"HKG\"", "\"QQ\"", "\"UK\"", "\"ZZ\"", "\"\""] {
            assert!(read(country, toml).is_err(), "{toml}");
        }
        assert!(read(country, "\"HK\"").is_ok() && read(country, "\"XK\"").is_ok());
        assert!(read(country_of_the_standard, "\"HK\"").is_ok());
        assert!(read(country_of_the_standard, "\"XK\"").unwrap_err().contains("ISO 3166"));
        assert!(read(destination, "\"ZZ\"").is_ok() && read(destination, "\"QQ\"").is_err());
        assert!(read(word, "\"sms-domestic\"").is_ok() && read(word, "\"SMS:1\"").is_err());
    }
}
