//! Recipients: one spelling for each, then only a keyed hash. The plain number is never stored.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What digits without `+` or `00` are in a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareNumber {
    /// Eleven digits that begin with 1 are a Chinese number, all others carry a calling code.
    Chinese,
    /// Every number carries its calling code.
    International,
}

/// A phone number as its digits with calling code: E.164 without the plus.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PhoneNumber {
    digits: [u8; PhoneNumber::LONGEST],
    length: usize,
    /// It was written with `+` or `00`.
    marked: bool,
}

impl PhoneNumber {
    /// E.164 allows 15 digits; some networks use more.
    const LONGEST: usize = 20;
    const SHORTEST: usize = 3;

    /// Reads a phone number in any common spelling; None where the text is something else.
    ///
    /// # Example: one number, three spellings
    /// ```
    /// use quittance::ingest::recipient::{BareNumber::Chinese, PhoneNumber};
    /// for text in ["+86 138-0013-8000", "008613800138000", "13800138000"] {
    ///     assert_eq!(PhoneNumber::parse(text, Chinese).unwrap().digits(), "8613800138000");
    /// }
    /// assert!(PhoneNumber::parse("a@example.com", Chinese).is_none());
    /// ```
    pub fn parse(text: &str, bare: BareNumber) -> Option<PhoneNumber> {
        let (plus, text) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
        let mut number = PhoneNumber { digits: [0; PhoneNumber::LONGEST], length: 0, marked: plus };
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' => number.push(byte)?,
                b' ' | b'-' | b'(' | b')' | b'.' => {}
                _ => return None,
            }
        }
        if !plus && number.digits().starts_with("00") {
            number.digits.copy_within(2.., 0);
            number.length -= 2;
            number.marked = true;
        } else if !plus && bare == BareNumber::Chinese && number.length == 11 && number.digits[0] == b'1' {
            number.digits.copy_within(..11, 2);
            number.digits[..2].copy_from_slice(b"86");
            number.length += 2;
        }
        (number.length >= PhoneNumber::SHORTEST).then_some(number)
    }

    /// Whether its calling code can be told: a few digits without `+` or `00` are a short code.
    pub fn has_calling_code(&self) -> bool {
        const LONGEST_SHORT_CODE: usize = 9;
        self.marked || self.length > LONGEST_SHORT_CODE
    }

    pub fn digits(&self) -> &str {
        str::from_utf8(&self.digits[..self.length]).unwrap_or("")
    }

    /// A Chinese number as it is dialled at home, without the calling code: eleven digits.
    pub fn domestic_digits(&self) -> Option<&str> {
        self.digits().strip_prefix("86").filter(|home| home.len() == 11 && home.starts_with('1'))
    }

    fn push(&mut self, digit: u8) -> Option<()> {
        *self.digits.get_mut(self.length)? = digit;
        self.length += 1;
        Some(())
    }
}

/// Only the last two digits, so that a log or a test failure does not tell the number.
impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhoneNumber(…{})", &self.digits()[self.length.saturating_sub(2)..])
    }
}

/// The key of the recipient hashes, ready for use.
#[derive(Clone)]
pub struct RecipientKey(Hmac<Sha256>);

impl RecipientKey {
    pub fn new(key: &[u8; 32]) -> RecipientKey {
        // HMAC pads a short key with zeros to a block; done here, there is no length to refuse.
        let mut block = [0; 64];
        block[..32].copy_from_slice(key);
        RecipientKey(Hmac::new(&block.into()))
    }

    /// The first 8 bytes of the HMAC-SHA256 of the recipient: a phone number by its digits with
    /// calling code, any other address (e-mail, or a hash that the source made) in lower case.
    pub fn hash(&self, recipient: &str, bare: BareNumber) -> i64 {
        match PhoneNumber::parse(recipient, bare) {
            Some(number) => self.hash_of(number.digits().as_bytes()),
            None => self.hash_of(recipient.trim().to_lowercase().as_bytes()),
        }
    }

    fn hash_of(&self, recipient: &[u8]) -> i64 {
        let hash = self.0.clone().chain_update(recipient).finalize().into_bytes();
        hash.iter().take(8).fold(0, |number, &byte| number << 8 | i64::from(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::BareNumber::{Chinese, International};
    use super::*;

    fn digits(text: &str, bare: BareNumber) -> Option<String> {
        PhoneNumber::parse(text, bare).map(|number| number.digits().to_owned())
    }

    #[test]
    fn eleven_bare_digits_are_chinese_only_where_the_source_writes_them_so() {
        assert_eq!(digits("16502530000", Chinese).unwrap(), "8616502530000");
        assert_eq!(digits("16502530000", International).unwrap(), "16502530000");
        assert_eq!(digits("+16502530000", Chinese).unwrap(), "16502530000");
        assert_eq!(digits("0016502530000", Chinese).unwrap(), "16502530000");
        assert_eq!(digits("85261234567", Chinese).unwrap(), "85261234567");
    }

    #[test]
    fn what_is_no_phone_number_is_left_alone() {
        for text in ["", "+", "12", "0012", "a@b.c", "123456789012345678901", "１３８", "++86138", "5d41402a"]
        {
            assert_eq!(digits(text, Chinese), None, "{text}");
        }
    }

    #[test]
    fn spellings_of_one_recipient_hash_alike_and_others_do_not() {
        let key = RecipientKey::new(&[7; 32]);
        let hash = |text| key.hash(text, Chinese);
        assert_eq!(hash("+86 138 0013 8000"), hash("13800138000"));
        assert_eq!(hash("Ann@Example.com"), hash("ann@example.com "));
        assert_ne!(hash("13800138000"), hash("13800138001"));
        assert_ne!(hash("13800138000"), RecipientKey::new(&[8; 32]).hash("13800138000", Chinese));
    }

    #[test]
    fn the_hash_is_hmac_sha256() {
        // printf 8613800138000 | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707…07
        assert_eq!(RecipientKey::new(&[7; 32]).hash("13800138000", Chinese), 390_951_964_042_525_808);
    }

    #[test]
    fn a_number_shows_two_digits_in_logs() {
        assert_eq!(format!("{:?}", PhoneNumber::parse("13800138042", Chinese).unwrap()), "PhoneNumber(…42)");
    }
}
