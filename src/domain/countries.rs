//! For which countries a package or plan is: all, some, or all but some (R66, R67, R137).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

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
    fn a_message_without_a_country_is_in_no_list() {
        let include = |text: &str, country| text.parse::<Countries>().unwrap().include(country);
        assert!(include("", "") && include("except US", "") && !include("only US", ""));
        assert!(include("only US", "US") && !include("except US", "US"));
    }
}
