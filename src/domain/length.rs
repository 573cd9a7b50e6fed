//! Message length: text becomes billable segments (R104-R119, D25, D69).
//!
//! The count is plain arithmetic, as the price list writes it out: the length divided by the size
//! of a part, rounded up. Nothing is normalised and no character is replaced by a cheaper one.

use super::product::{Astral, LengthRule};

/// The longest content that may be sent: code points of signature and text (R106, D69).
pub const MAX_CHARACTERS: i64 = 500;

/// How the characters of a message are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Every character 1 (R109).
    Domestic,
    /// The GSM 03.38 alphabet: 1 each, 2 for the extended characters (R112).
    Gsm7,
    /// Every character 1 (R117); beyond the Basic Multilingual Plane as [`Astral`] says.
    Ucs2,
}

impl Encoding {
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Domestic => "domestic",
            Encoding::Gsm7 => "gsm-7",
            Encoding::Ucs2 => "ucs-2",
        }
    }
}

/// The measured length of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    pub encoding: Encoding,
    /// In the units of `encoding`.
    pub units: i64,
    /// Code points of the signature with its brackets and the text: what the limit of 500 counts.
    pub characters: i64,
    /// Billable segments, at least 1: an empty message is one message.
    pub segments: i64,
}

/// Measures a message: its signature and its text as the recipient sees them (R105, R107, R108).
///
/// The signature comes without its brackets, which are added and counted: 【】 at home, `[]`
/// abroad (R107, R115). A signature that already carries brackets is taken as it is.
///
/// # Example: 160 characters at home are 67 + 67 + 26 (R111)
/// ```
/// use quittance::domain::length::{Encoding, measure};
/// use quittance::domain::product::{Astral, LengthRule};
/// let length = measure(LengthRule::Domestic, Astral::Utf16, None, &"码".repeat(160));
/// assert_eq!((length.encoding, length.units, length.segments), (Encoding::Domestic, 160, 3));
/// ```
/// # Example: 350 GSM-7 characters abroad are 153 + 153 + 44 (R116)
/// ```
/// # use quittance::domain::length::{Encoding, measure};
/// # use quittance::domain::product::{Astral, LengthRule};
/// let length = measure(LengthRule::International, Astral::Utf16, None, &"a".repeat(350));
/// assert_eq!((length.encoding, length.units, length.segments), (Encoding::Gsm7, 350, 3));
/// ```
/// # Example: 150 characters in UCS-2 are 67 + 67 + 16 (R119)
/// ```
/// # use quittance::domain::length::{Encoding, measure};
/// # use quittance::domain::product::{Astral, LengthRule};
/// let length = measure(LengthRule::International, Astral::Utf16, None, &"码".repeat(150));
/// assert_eq!((length.encoding, length.units, length.segments), (Encoding::Ucs2, 150, 3));
/// ```
pub fn measure(rule: LengthRule, astral: Astral, signature: Option<&str>, text: &str) -> Length {
    let signature = signature.unwrap_or("");
    // 【】 and [] are two characters either way; only GSM-7 has the latter, and counts it four.
    let brackets = if signature.is_empty() || carries_brackets(signature) { "" } else { "[]" };
    let parts = [brackets, signature, text];

    let characters = parts.iter().map(|part| code_points(part)).sum();
    let utf16_extra = match astral {
        Astral::Utf16 => parts.iter().map(|part| surrogate_pairs(part)).sum(),
        Astral::Scalar => 0,
    };
    let all_in_gsm = || parts.iter().try_fold(0, |units, part| Some(units + gsm_units(part)?));
    let (encoding, units) = match rule {
        LengthRule::Domestic | LengthRule::One | LengthRule::Given => {
            (Encoding::Domestic, characters + utf16_extra)
        }
        LengthRule::International => match all_in_gsm() {
            Some(units) => (Encoding::Gsm7, units),
            None => (Encoding::Ucs2, characters + utf16_extra),
        },
    };
    let whole = matches!(rule, LengthRule::One | LengthRule::Given);
    let segments = if whole { 1 } else { segments(encoding, units) };
    Length { encoding, units, characters, segments }
}

/// Billable segments of a message of `units` in `encoding` (R110, R114, R118).
///
/// # Example: one unit more than fits makes two parts, each smaller than the whole was
/// ```
/// use quittance::domain::length::{Encoding, segments};
/// assert_eq!((segments(Encoding::Ucs2, 70), segments(Encoding::Ucs2, 71)), (1, 2));
/// assert_eq!((segments(Encoding::Gsm7, 160), segments(Encoding::Gsm7, 161)), (1, 2));
/// ```
pub fn segments(encoding: Encoding, units: i64) -> i64 {
    let (whole, part) = match encoding {
        Encoding::Domestic | Encoding::Ucs2 => (70, 67),
        Encoding::Gsm7 => (160, 153),
    };
    if units <= whole { 1 } else { (units - 1) / part + 1 }
}

fn carries_brackets(signature: &str) -> bool {
    [('【', '】'), ('[', ']')]
        .iter()
        .any(|&(open, close)| signature.starts_with(open) && signature.ends_with(close))
}

fn code_points(text: &str) -> i64 {
    text.bytes().map(|byte| i64::from(byte & 0xC0 != 0x80)).sum()
}

/// Characters that UTF-16 writes as two units: those that UTF-8 writes as four bytes.
fn surrogate_pairs(text: &str) -> i64 {
    text.bytes().map(|byte| i64::from(byte >= 0xF0)).sum()
}

/// Length in GSM-7 units; None where a character is not in the alphabet (R113).
fn gsm_units(text: &str) -> Option<i64> {
    let mut units = 0;
    for character in text.chars() {
        units += match character {
            '^' | '{' | '}' | '\\' | '[' | '~' | ']' | '|' | '€' => 2,
            ' '..='_' | 'a'..='z' | '\n' | '\r' => 1,
            _ if GSM_BEYOND_ASCII.contains(character) => 1,
            // Form feed is in the standard's extension table but not among the nine characters
            // that the price list names, so it takes the whole message to UCS-2 (R113).
            _ => return None,
        };
    }
    Some(units)
}

/// The GSM 03.38 basic alphabet outside ASCII. Of ASCII it has all of space to underscore and
/// a to z (four of them in the extension table), line feed and carriage return; not the backtick.
const GSM_BEYOND_ASCII: &str = "£¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà";

#[cfg(test)]
mod tests {
    use super::*;

    const GSM_ALPHABET: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡\
        ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

    fn home(text: &str) -> Length {
        measure(LengthRule::Domestic, Astral::Utf16, None, text)
    }

    fn abroad(text: &str) -> Length {
        measure(LengthRule::International, Astral::Utf16, None, text)
    }

    #[test]
    fn a_segment_begins_one_unit_after_each_bound() {
        for (units, expected) in [(0, 1), (1, 1), (70, 1), (71, 2), (134, 2), (135, 3), (201, 3), (202, 4)] {
            assert_eq!(segments(Encoding::Domestic, units), expected, "domestic {units}");
            assert_eq!(segments(Encoding::Ucs2, units), expected, "ucs-2 {units}");
            assert_eq!(home(&"a".repeat(units as usize)).segments, expected, "text of {units}");
        }
        for (units, expected) in [(0, 1), (160, 1), (161, 2), (306, 2), (307, 3), (459, 3), (460, 4)] {
            assert_eq!(segments(Encoding::Gsm7, units), expected, "gsm-7 {units}");
            assert_eq!(abroad(&"a".repeat(units as usize)).segments, expected, "text of {units}");
        }
    }

    #[test]
    fn the_gsm_alphabet_has_127_characters_of_one_unit() {
        assert_eq!(GSM_ALPHABET.chars().count(), 127);
        for character in GSM_ALPHABET.chars() {
            let length = abroad(&character.to_string());
            assert_eq!((length.encoding, length.units), (Encoding::Gsm7, 1), "{character:?}");
        }
        assert_eq!(abroad(GSM_ALPHABET).units, 127);
    }

    #[test]
    fn exactly_nine_characters_count_two() {
        for character in "|^€{}[]~\\".chars() {
            let length = abroad(&character.to_string());
            assert_eq!(
                (length.encoding, length.units, length.characters),
                (Encoding::Gsm7, 2, 1),
                "{character:?}"
            );
        }
        let in_gsm = (0..=0xFFFF).filter_map(char::from_u32).filter(|c| gsm_units(&c.to_string()).is_some());
        assert_eq!(in_gsm.count(), 127 + 9);
    }

    #[test]
    fn any_other_character_takes_the_whole_message_to_ucs2() {
        for other in ["\u{c}", "`", "ç", "ê", "á", "\t", "\u{a0}", "\u{1b}", "‘", "Α", "中", "【"] {
            let length = abroad(&format!("{{x}}{other}"));
            assert_eq!((length.encoding, length.units), (Encoding::Ucs2, 4), "{other:?}");
        }
    }

    #[test]
    fn a_signature_counts_with_its_brackets() {
        let signed = |rule, signature| measure(rule, Astral::Utf16, Some(signature), "abc");
        assert_eq!(signed(LengthRule::Domestic, "阿里").units, 3 + 2 + 2);
        assert_eq!(signed(LengthRule::Domestic, "【阿里】").units, 3 + 2 + 2);
        assert_eq!(signed(LengthRule::International, "Shop").units, 3 + 4 + 4);
        assert_eq!(signed(LengthRule::International, "[Shop]").units, 3 + 4 + 4);
        assert_eq!(signed(LengthRule::International, "Shop").characters, 3 + 4 + 2);
        let chinese = signed(LengthRule::International, "店");
        assert_eq!((chinese.encoding, chinese.units), (Encoding::Ucs2, 3 + 1 + 2));
        assert_eq!(signed(LengthRule::International, "【Shop】").encoding, Encoding::Ucs2);
        assert_eq!(signed(LengthRule::Domestic, "").units, 3);
    }

    #[test]
    fn emoji_count_two_utf16_units_unless_told_otherwise() {
        let family = "👨\u{200d}👩\u{200d}👧\u{200d}👦";
        assert_eq!(abroad(family).units, 11);
        assert_eq!(home("😀").units, 2);
        assert_eq!(home("😀").characters, 1);
        assert_eq!(measure(LengthRule::International, Astral::Scalar, None, family).units, 7);
        assert_eq!(home(&"😀".repeat(35)).segments, 1);
        assert_eq!(home(&"😀".repeat(36)).segments, 2);
    }

    #[test]
    fn line_ends_and_emptiness_count_as_they_stand() {
        assert_eq!(abroad("\r\n").units, 2);
        assert_eq!(home("\r\n").units, 2);
        assert_eq!((home("").units, home("").segments), (0, 1));
        assert_eq!((abroad("").encoding, abroad("").segments), (Encoding::Gsm7, 1));
    }

    #[test]
    fn the_limit_of_500_counts_code_points() {
        assert_eq!(abroad(&"€".repeat(500)).characters, MAX_CHARACTERS);
        assert_eq!(abroad(&"😀".repeat(500)).characters, MAX_CHARACTERS);
    }

    #[test]
    fn a_product_that_counts_messages_has_one_segment_whatever_its_text() {
        let mail = measure(LengthRule::One, Astral::Utf16, Some("Shop"), &"x".repeat(5_000));
        assert_eq!(mail.segments, 1);
    }
}
