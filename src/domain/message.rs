//! A message as the store keeps it: judged, measured, without its text and its recipient.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::period::Timestamp;

/// One judged message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    pub account_id: String,
    pub key: MessageKey,
    /// The id as the source wrote it; None where the key gives it back ([`MessageKey::original`]).
    pub raw_id: Option<String>,
    /// Product id.
    pub product: Arc<str>,
    /// `verification`, `notification`, `promotional`, or empty where the source names none (R104).
    pub template_type: &'static str,
    pub country: Country,
    pub disposition: Disposition,
    /// Why the gateway rejected the message: `blacklist`, `throttled`, `insufficient_balance`, ...
    pub reject_code: Option<String>,
    /// Billable segments; 0 only where the message is never charged and its size is not known.
    pub units: i64,
    /// Longer than 500 characters although accepted: waits in suspense (D69).
    pub too_long: bool,
    /// The source's own count of segments, where it is not ours.
    pub size_differs: Option<i64>,
    pub submit_time: Timestamp,
    pub biz_id: Option<String>,
    pub out_id: Option<String>,
    /// Keyed hash of the recipient, by which receipts find the message; never the recipient.
    pub recipient_hash: Option<i64>,
}

/// What a message is to billing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// Accepted by the gateway: to be charged.
    Billable,
    /// Refused by the gateway: stored, never charged (D24, D70).
    Rejected,
    /// Sent by the customer's customer: free (R97).
    Inbound,
}

impl Disposition {
    pub fn as_str(self) -> &'static str {
        match self {
            Disposition::Billable => "billable",
            Disposition::Rejected => "rejected",
            Disposition::Inbound => "inbound",
        }
    }
}

/// An ISO 3166-1 alpha-2 country code; `ZZ` where a number's calling code belongs to none;
/// empty where the product is not sold by country.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    pub const NONE: Country = Country([0; 2]);
    pub const CHINA: Country = Country(*b"CN");
    pub const UNKNOWN: Country = Country(*b"ZZ");

    /// Reads two letters of either case.
    ///
    /// # Example
    /// ```
    /// use quittance::domain::message::Country;
    /// assert_eq!(Country::parse("sg").unwrap().as_str(), "SG");
    /// assert_eq!(Country::parse("SGP"), None);
    /// ```
    pub fn parse(code: &str) -> Option<Country> {
        let letters: [u8; 2] = code.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_alphabetic).then(|| Country(letters.map(|b| b.to_ascii_uppercase())))
    }

    pub fn as_str(&self) -> &str {
        if *self == Country::NONE { "" } else { str::from_utf8(&self.0).unwrap_or("") }
    }
}

/// A message id in 16 bytes: a UUID's own, or the first half of the SHA-256 of any other id.
///
/// Sixteen bytes index several times faster than text, and half of a SHA-256 makes a chance
/// collision of two ids of one account less likely than a failure of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey {
    pub hi: i64,
    pub lo: i64,
}

impl MessageKey {
    /// The key of an id. A UUID in its hyphenated form has the same key in upper and lower case.
    ///
    /// # Example
    /// ```
    /// use quittance::domain::message::MessageKey;
    /// let key = MessageKey::of("018f4e2a-0000-7000-8000-0000000000ff");
    /// assert_eq!((key.hi, key.lo), (0x018f_4e2a_0000_7000, i64::MIN | 0xff));
    /// assert_eq!(key.original(None), "018f4e2a-0000-7000-8000-0000000000ff");
    /// assert_ne!(MessageKey::of("m1"), MessageKey::of("M1"));
    /// ```
    pub fn of(id: &str) -> MessageKey {
        let number = uuid(id).map_or_else(
            || {
                let hash = Sha256::digest(id);
                hash.iter().take(16).fold(0, |number, &byte| number << 8 | u128::from(byte))
            },
            |uuid| uuid.number,
        );
        MessageKey { hi: (number >> 64) as i64, lo: number as i64 }
    }

    /// What to keep of an id beside its key: None where [`MessageKey::original`] can write it again.
    pub fn raw_id(id: &str) -> Option<String> {
        if uuid(id).is_some_and(|uuid| uuid.lower_case) { None } else { Some(id.to_owned()) }
    }

    /// The id as the source wrote it, from what [`MessageKey::raw_id`] kept.
    pub fn original(self, raw_id: Option<&str>) -> String {
        raw_id.map_or_else(
            || {
                let hex = format!("{:016x}{:016x}", self.hi, self.lo);
                [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
            },
            str::to_owned,
        )
    }
}

struct Uuid {
    number: u128,
    lower_case: bool,
}

/// Reads a UUID in the hyphenated form of 36 characters only: other spellings are other ids.
fn uuid(id: &str) -> Option<Uuid> {
    let bytes: &[u8; 36] = id.as_bytes().try_into().ok()?;
    let (mut number, mut lower_case) = (0_u128, true);
    for (position, &byte) in bytes.iter().enumerate() {
        if matches!(position, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => {
                lower_case = false;
                byte - b'A' + 10
            }
            _ => return None,
        };
        number = number << 4 | u128::from(digit);
    }
    Some(Uuid { number, lower_case })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOWER: &str = "e4d909c2-90d0-4f6e-8b1a-0123456789ab";

    #[test]
    fn a_uuid_is_its_own_key_in_either_case() {
        let upper = LOWER.to_uppercase();
        assert_eq!(MessageKey::of(LOWER), MessageKey::of(&upper));
        assert_eq!(MessageKey::raw_id(LOWER), None);
        assert_eq!(MessageKey::raw_id(&upper), Some(upper.clone()));
        for id in [LOWER, &upper, "SM123", "00000000-0000-0000-0000-000000000000"] {
            assert_eq!(MessageKey::of(id).original(MessageKey::raw_id(id).as_deref()), id);
        }
    }

    #[test]
    fn other_spellings_of_a_uuid_are_other_ids() {
        let plain = LOWER.replace('-', "");
        for id in
            [plain.as_str(), &format!("{{{LOWER}}}"), &LOWER.replace('e', "g"), &LOWER.replace('-', "_")]
        {
            assert_ne!(MessageKey::of(id), MessageKey::of(LOWER), "{id}");
            assert_eq!(MessageKey::raw_id(id).as_deref(), Some(id));
        }
    }

    #[test]
    fn any_other_id_is_the_first_half_of_its_sha_256() {
        // printf abc | sha256sum
        let key = MessageKey::of("abc");
        assert_eq!(format!("{:x}{:x}", key.hi, key.lo), "ba7816bf8f01cfea414140de5dae2223");
    }

    #[test]
    fn countries_are_two_letters_or_nothing() {
        assert_eq!(Country::parse("hk").unwrap().as_str(), "HK");
        assert_eq!(Country::NONE.as_str(), "");
        for text in ["", "C", "C1", "CHN", "中"] {
            assert_eq!(Country::parse(text), None, "{text}");
        }
    }
}
