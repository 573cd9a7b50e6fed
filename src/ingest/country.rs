//! The country of a phone number, from Google's numbering data.

use std::sync::OnceLock;

use phonenumber::metadata::DATABASE;

use super::recipient::PhoneNumber;
use crate::domain::message::Country;

/// The country that a number belongs to.
///
/// Most calling codes belong to one country and decide alone, whatever the digits behind them: the
/// carrier routes by the code, and the charge is due on submission even for a number that does not
/// exist (R87). Of a code that countries share (+1, +7, +44, ...) the whole number decides, and
/// its main country where the number fits none. An unknown code is [`Country::UNKNOWN`].
///
/// # Example: Canada and the United States share +1
/// ```
/// use quittance::ingest::{country::country_of, recipient::{BareNumber, PhoneNumber}};
/// let country = |text| country_of(&PhoneNumber::parse(text, BareNumber::Chinese).unwrap());
/// assert_eq!(country("+1 613 782 7274").as_str(), "CA");
/// assert_eq!(country("+1 520 878 2491").as_str(), "US");
/// assert_eq!(country("13800138000").as_str(), "CN");
/// ```
pub fn country_of(number: &PhoneNumber) -> Country {
    let digits = number.digits();
    if digits.starts_with("86") {
        return Country::CHINA;
    }
    if digits.starts_with('0') {
        return Country::UNKNOWN;
    }
    // No calling code is the beginning of another, so the first that fits is the one.
    let codes = CALLING_CODES.get_or_init(read_calling_codes);
    let code = (1..=3).find_map(|length| codes.get(digits.get(..length)?.parse::<usize>().ok()?)?.as_ref());
    match code {
        None => Country::UNKNOWN,
        Some(CallingCode { main, shared: false }) => *main,
        Some(CallingCode { main, shared: true }) => by_whole_number(digits).unwrap_or(*main),
    }
}

struct CallingCode {
    main: Country,
    shared: bool,
}

static CALLING_CODES: OnceLock<Vec<Option<CallingCode>>> = OnceLock::new();

/// The codes 0 to 999; None where no country has it, as with +800 (freephone everywhere).
fn read_calling_codes() -> Vec<Option<CallingCode>> {
    let of_code = |code: u16| {
        let countries = DATABASE.region(&code)?;
        let main = Country::parse(countries.first()?)?;
        Some(CallingCode { main, shared: countries.len() > 1 })
    };
    (0..1000).map(of_code).collect()
}

fn by_whole_number(digits: &str) -> Option<Country> {
    let number = phonenumber::parse(None, format!("+{digits}")).ok()?;
    Country::parse(number.country().id()?.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::countries::is_destination;
    use crate::ingest::recipient::BareNumber;

    fn country(text: &str) -> String {
        country_of(&PhoneNumber::parse(text, BareNumber::Chinese).unwrap()).as_str().to_owned()
    }

    #[test]
    fn each_country_is_found_by_its_calling_code() {
        for (number, expected) in [
            ("+8613800138000", "CN"),
            ("+85261234567", "HK"),
            ("+85366123456", "MO"),
            ("+886912345678", "TW"),
            ("+6581234567", "SG"),
            ("+49151123", "DE"),
            ("+201001234567", "EG"),
        ] {
            assert_eq!(country(number), expected, "{number}");
        }
    }

    #[test]
    fn countries_that_share_a_code_are_told_apart_by_the_number() {
        for (number, expected) in [
            ("+14155550100", "US"),
            ("+14165550100", "CA"),
            ("+18765550100", "JM"),
            ("+79161234567", "RU"),
            ("+77011234567", "KZ"),
            ("+447400123456", "GB"),
            ("+447700900123", "GB"),
            ("+447797712345", "JE"),
            ("+39312345678", "IT"),
        ] {
            assert_eq!(country(number), expected, "{number}");
        }
    }

    #[test]
    fn a_number_that_fits_nowhere_belongs_to_its_codes_main_country() {
        assert_eq!(country("+1000"), "US");
        assert_eq!(country("+7000"), "RU");
        assert_eq!(country("+440"), "GB");
    }

    #[test]
    fn wherever_a_number_belongs_can_have_a_price() {
        let codes = DATABASE.iter().map(|region| region.id()).filter(|id| *id != "001");
        let strangers: Vec<&str> = codes.filter(|id| !is_destination(id)).collect();
        assert!(strangers.is_empty(), "{strangers:?}");
        assert!(is_destination(Country::UNKNOWN.as_str()));
    }

    #[test]
    fn a_code_of_no_country_is_unknown() {
        for number in ["+80012345678", "+999123456", "+0123456", "+210123456", "+883510000000"] {
            assert_eq!(country(number), "ZZ", "{number}");
        }
    }
}
