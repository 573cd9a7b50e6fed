//! Amounts of money: whole micro-units (1e-6 of the currency unit), never floats (D13).

use std::fmt;

use iso_currency::Currency;
use rust_decimal::Decimal;

/// An amount or a price in micro-units of its account's currency: 0.045 CNY is 45,000.
///
/// All arithmetic is checked: an overflow is a [`MoneyFault`], which parks one account
/// instead of corrupting its books (F75).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

/// Why an amount could not be read or computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyFault {
    #[error("`{0}` is not an amount: write digits with an optional decimal point, such as 12.50")]
    NotAnAmount(String),
    #[error("`{0}` is finer than a millionth of the currency unit")]
    TooFine(String),
    #[error("the amount is larger than the books can hold")]
    Overflow,
}

/// Checks the code of a currency that books can be kept in: one of ISO 4217, with hundredths, for that is what
/// is billed, invoiced and paid (D13, F77).
///
/// # Errors
/// What is wrong with it, in words.
///
/// # Example
/// ```
/// use quittance::domain::money::check_currency;
/// assert!(check_currency("CNY").is_ok());
/// assert!(check_currency("JPY").unwrap_err().contains("no hundredths"));
/// ```
pub fn check_currency(code: &str) -> Result<(), String> {
    match Currency::from_code(code).map(|currency| currency.exponent()) {
        Some(Some(2)) => Ok(()),
        Some(exponent) => {
            let has = exponent.map_or("none at all".into(), |places| format!("{places} decimal places"));
            Err(format!("`{code}` has no hundredths ({has}), which bills and payments are counted in"))
        }
        None => Err(format!("`{code}` is not a currency: write three capital letters, such as CNY")),
    }
}

impl Micros {
    pub const ZERO: Micros = Micros(0);
    /// Micro-units in one currency unit.
    pub const PER_UNIT: i64 = 1_000_000;

    /// Reads a plain decimal: digits, at most one point, an optional leading minus.
    ///
    /// # Example: the first price of the domestic list
    /// ```
    /// use quittance::domain::money::Micros;
    /// assert_eq!(Micros::parse("0.045").unwrap(), Micros(45_000));
    /// assert!(Micros::parse("1e3").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Micros, MoneyFault> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if text.len() > 40 || !plain(whole) || !plain(fraction) {
            return Err(MoneyFault::NotAnAmount(text.chars().take(40).collect()));
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 6 {
            return Err(MoneyFault::TooFine(text.to_owned()));
        }
        let whole: i64 = whole.parse().map_err(|_| MoneyFault::Overflow)?;
        let fraction: i64 = format!("{fraction:0<6}").parse().map_err(|_| MoneyFault::Overflow)?;
        let micros = whole
            .checked_mul(Self::PER_UNIT)
            .and_then(|w| w.checked_add(fraction))
            .ok_or(MoneyFault::Overflow)?;
        Ok(Micros(if text.starts_with('-') { -micros } else { micros }))
    }

    pub fn plus(self, other: Micros) -> Result<Micros, MoneyFault> {
        self.0.checked_add(other.0).map(Micros).ok_or(MoneyFault::Overflow)
    }

    pub fn minus(self, other: Micros) -> Result<Micros, MoneyFault> {
        self.0.checked_sub(other.0).map(Micros).ok_or(MoneyFault::Overflow)
    }

    /// A price times a number of units.
    pub fn times(self, units: i64) -> Result<Micros, MoneyFault> {
        self.0.checked_mul(units).map(Micros).ok_or(MoneyFault::Overflow)
    }

    /// The net part of a VAT-inclusive amount, rounded half away from zero to a micro-unit.
    /// `rate_ppm` is the rate in millionths: 6 % is 60,000.
    ///
    /// # Example: 65 yuan at 6 % are 61.320755 net
    /// ```
    /// use quittance::domain::money::Micros;
    /// assert_eq!(Micros::parse("65").unwrap().net_of_vat(60_000), Micros(61_320_755));
    /// ```
    pub fn net_of_vat(self, rate_ppm: i64) -> Micros {
        self.share_rounded(1_000_000, 1_000_000 + rate_ppm)
    }

    /// `self * numerator / denominator`, rounded half away from zero. The result is never larger
    /// than `self` where `0 <= numerator <= denominator`, so it can't overflow there.
    pub fn share_rounded(self, numerator: i64, denominator: i64) -> Micros {
        debug_assert!(denominator > 0 && (0..=denominator).contains(&numerator));
        let product = i128::from(self.0) * i128::from(numerator);
        let half = i128::from(denominator) / 2;
        let rounded = (product.abs() + half) / i128::from(denominator) * product.signum();
        Micros(rounded as i64)
    }

    /// Towards zero to whole hundredths, the least that is billed and paid (D13).
    pub fn round_down_to_cents(self) -> Micros {
        Micros(self.0 - self.0 % (Self::PER_UNIT / 100))
    }

    /// The amount as people read it: at least two decimals, more only where they say something.
    pub fn for_people(self) -> String {
        let mut decimal = self.decimal();
        if decimal.scale() < 2 {
            decimal.rescale(2);
        }
        decimal.to_string()
    }

    fn decimal(self) -> Decimal {
        Decimal::new(self.0, 6).normalize()
    }
}

/// A decimal string without trailing zeros, as `--json` prints money: `40.04`, `0.045`, `0`.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.decimal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_as_they_were_written() {
        for text in ["0", "40.04", "0.045", "-3.5", "100", "0.000001", "9223372036854.775807"] {
            assert_eq!(Micros::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Micros::parse("40").unwrap().for_people(), "40.00");
        assert_eq!(Micros::parse("0.0405").unwrap().for_people(), "0.0405");
    }

    #[test]
    fn what_is_not_a_plain_decimal_is_refused() {
        for text in ["", "-", ".", "5.", ".5", "+1", "1e3", "1_000", "1,5", "0x1", "½", "1.1.1", " 1", "NaN"]
        {
            assert!(Micros::parse(text).is_err(), "{text}");
        }
        assert_eq!(Micros::parse("0.0000001"), Err(MoneyFault::TooFine("0.0000001".into())));
        assert_eq!(Micros::parse("9223372036855"), Err(MoneyFault::Overflow));
    }

    #[test]
    fn cents_are_cut_off_towards_zero() {
        let cut = |micros| Micros(micros).round_down_to_cents().0;
        assert_eq!([0, 9_999, 10_000, 19_999, -9_999, -10_001].map(cut), [0, 0, 10_000, 10_000, 0, -10_000]);
    }

    #[test]
    fn shares_round_half_away_from_zero() {
        assert_eq!(Micros(5).share_rounded(1, 2), Micros(3));
        assert_eq!(Micros(-5).share_rounded(1, 2), Micros(-3));
        assert_eq!(Micros(i64::MAX).share_rounded(1, 1), Micros(i64::MAX));
    }
}
