//! Which countries there are, and for which of them a package or plan is: all, some, or all but some
//! (R66, R67, R137).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The codes of ISO 3166-1 alpha-2.
const ISO_3166: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS \
    BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE \
    EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM \
    HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC \
    LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA \
    NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW \
    SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO \
    TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// Kosovo has no code of the standard; everybody writes this one, the numbering data too.
const KOSOVO: &str = "XK";

/// Where messages go beside the countries: Ascension and Tristan da Cunha have numbers of their own, but
/// share the code of Saint Helena in the standard, and a calling code may belong to no country at all.
const OTHER_DESTINATIONS: [&str; 3] = ["AC", "TA", "ZZ"];

/// What is written for a country by those who don't know its code, and the code.
const MISTAKEN: [(&str, &str); 2] = [("UK", "GB"), ("EL", "GR")];

/// Whether there is a country of this code.
///
/// # Example: numbers of +44 are those of GB
/// ```
/// use quittance::domain::countries::is_country;
/// assert!(is_country("GB") && is_country("XK"));
/// assert!(!is_country("UK") && !is_country("gb"));
/// ```
pub fn is_country(code: &str) -> bool {
    code == KOSOVO || is_of_the_standard(code)
}

/// Whether the standard itself has this code: invoices by EN 16931 can name no other.
pub fn is_of_the_standard(code: &str) -> bool {
    ISO_3166.split(' ').any(|country| country == code)
}

/// Whether a message can have this code for where it goes.
pub fn is_destination(code: &str) -> bool {
    is_country(code) || OTHER_DESTINATIONS.contains(&code)
}

/// The code of the country that is meant by one that does not exist, where that is known.
pub fn meant_by(code: &str) -> Option<&'static str> {
    MISTAKEN.iter().find(|(mistaken, _)| *mistaken == code).map(|(_, meant)| *meant)
}

/// Countries by their ISO code, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Countries {
    #[default]
    All,
    Only(Arc<[Arc<str>]>),
    Except(Arc<[Arc<str>]>),
}

impl Countries {
    pub fn only(codes: impl IntoIterator<Item = String>) -> Countries {
        Countries::Only(sorted(codes))
    }

    pub fn except(codes: impl IntoIterator<Item = String>) -> Countries {
        Countries::Except(sorted(codes))
    }

    /// # Example: a plan for all countries but two
    /// ```
    /// use quittance::domain::countries::Countries;
    /// let countries: Countries = "except IN US".parse().unwrap();
    /// assert!(countries.include("HK") && !countries.include("US"));
    /// ```
    pub fn include(&self, country: &str) -> bool {
        let among = |codes: &[Arc<str>]| codes.iter().any(|code| **code == *country);
        match self {
            Countries::All => true,
            Countries::Only(codes) => among(codes),
            Countries::Except(codes) => !among(codes),
        }
    }

    /// The countries that are named, where it is for these only, or for all but these.
    pub fn named(&self) -> (Option<Vec<&str>>, Option<Vec<&str>>) {
        match self {
            Countries::All => (None, None),
            Countries::Only(codes) => (Some(codes.iter().map(|code| &**code).collect()), None),
            Countries::Except(codes) => (None, Some(codes.iter().map(|code| &**code).collect())),
        }
    }
}

fn sorted(codes: impl IntoIterator<Item = String>) -> Arc<[Arc<str>]> {
    let mut codes: Vec<Arc<str>> = codes.into_iter().map(Arc::from).collect();
    codes.sort();
    codes.dedup();
    codes.into()
}

/// As it is kept: `only HK MO`, `except US`, and nothing for all.
impl fmt::Display for Countries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Countries::All => Ok(()),
            Countries::Only(codes) => write!(f, "only {}", codes.join(" ")),
            Countries::Except(codes) => write!(f, "except {}", codes.join(" ")),
        }
    }
}

impl FromStr for Countries {
    type Err = String;

    fn from_str(text: &str) -> Result<Countries, String> {
        let mut words = text.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            None => Ok(Countries::All),
            Some("only") => Ok(Countries::only(words)),
            Some("except") => Ok(Countries::except(words)),
            Some(_) => Err(format!("`{text}` names no countries: write only HK MO, or except US")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_read_back_as_they_are_kept() {
        for text in ["", "only HK", "only HK MO TW", "except IN US"] {
            assert_eq!(text.parse::<Countries>().unwrap().to_string(), text);
        }
        assert_eq!("only TW HK HK".parse::<Countries>().unwrap().to_string(), "only HK TW");
        assert!("HK".parse::<Countries>().is_err());
    }

    #[test]
    fn each_country_of_the_standard_is_listed_once_in_order() {
        let codes: Vec<&str> = ISO_3166.split(' ').collect();
        assert_eq!(codes.len(), 249);
        assert!(codes.is_sorted_by(|a, b| a < b) && codes.iter().all(|code| code.len() == 2));
        let unknown = OTHER_DESTINATIONS.into_iter().chain(MISTAKEN.map(|(mistaken, _)| mistaken));
        assert!(unknown.chain([KOSOVO, "", "QQ", "A", "AD AE"]).all(|code| !codes.contains(&code)));
        assert!(MISTAKEN.iter().all(|(_, meant)| is_country(meant)));
        for (code, country, destination) in [
            ("GB", true, true),
            ("XK", true, true),
            ("ZZ", false, true),
            ("UK", false, false),
            ("", false, false),
        ] {
            assert_eq!((is_country(code), is_destination(code)), (country, destination), "{code}");
            assert_eq!(is_of_the_standard(code), country && code != KOSOVO, "{code}");
        }
    }

    #[test]
    fn a_message_without_a_country_is_in_no_list() {
        let include = |text: &str, country| text.parse::<Countries>().unwrap().include(country);
        assert!(include("", "") && include("except US", "") && !include("only US", ""));
        assert!(include("only US", "US") && !include("except US", "US"));
    }
}
