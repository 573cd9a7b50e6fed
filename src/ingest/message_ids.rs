//! How a message centre writes a message's id in its receipts, where that is not how the message has it: the answer
//! to the submission has it in hexadecimal digits and the receipt in decimal ones, or only one of them has zeros
//! before it.

use std::borrow::Cow;
use std::fmt::Write;

/// A way to write numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Decimal,
    Hex,
    UpperHex,
}

/// The number that an id is, written as messages have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdForm {
    receipts: Base,
    messages: Base,
    /// Zeros fill ids of messages up to so many digits.
    digits: usize,
}

const MOST_DIGITS: usize = 64;

impl IdForm {
    /// Reads `decimal to %08x`: how receipts write the id, and how messages do, in the words of `printf`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<IdForm, String> {
        let form = || {
            let (receipts, messages) = text.split_once(" to ")?;
            let receipts = match receipts {
                "decimal" => Base::Decimal,
                "hex" => Base::Hex,
                _ => return None,
            };
            let messages = messages.strip_prefix('%')?;
            let (digits, base) = messages.split_at_checked(messages.len().checked_sub(1)?)?;
            let messages = match base {
                "d" => Base::Decimal,
                "x" => Base::Hex,
                "X" => Base::UpperHex,
                _ => return None,
            };
            let digits = match digits {
                "" => 0,
                digits => digits.strip_prefix('0')?.parse().ok().filter(|n| (1..=MOST_DIGITS).contains(n))?,
            };
            Some(IdForm { receipts, messages, digits })
        };
        form().ok_or_else(|| {
            format!(
                "`{text}` is no form of ids: write `decimal` or `hex`, as receipts have it, and `%d`, `%x`, `%X` or \
                 `%08x`, as messages do, such as \"decimal to %08x\""
            )
        })
    }

    /// An id as its message has it. What is no such number stays as it is.
    pub fn of_message<'a>(&self, id: &'a str) -> Cow<'a, str> {
        let Some(number) = number(id, self.receipts) else { return Cow::Borrowed(id) };
        let mut text = String::new();
        let width = self.digits;
        let written = match self.messages {
            Base::Decimal => write!(text, "{number:0width$}"),
            Base::Hex => write!(text, "{number:0width$x}"),
            Base::UpperHex => write!(text, "{number:0width$X}"),
        };
        written.map_or(Cow::Borrowed(id), |()| Cow::Owned(text))
    }
}

/// The number that an id is: digits alone, no sign.
fn number(id: &str, base: Base) -> Option<u128> {
    let radix = if base == Base::Decimal { 10 } else { 16 };
    let digits = id.chars().all(|c| c.is_digit(radix));
    u128::from_str_radix(id, radix).ok().filter(|_| digits)
}

/// Whether two ids may be the same one, each written in its own way.
pub(super) fn may_be_same(one: &str, other: &str) -> bool {
    let numbers = |id| [Base::Decimal, Base::Hex].map(|base| number(id, base));
    let same = |number: &Option<u128>| number.is_some() && numbers(other).contains(number);
    one == other || numbers(one).iter().any(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::MessageKey;
    use crate::ingest::judge::Terms;
    use crate::ingest::judgements::judge_again;
    use crate::ingest::messages::tests::{catalog, terms};
    use crate::ingest::receipts::ReceiptJudge;
    use crate::ingest::source::Source;

    #[test]
    fn a_receipt_is_of_the_message_that_its_source_means() {
        let catalog = catalog();
        let id = |form: Option<&str>, line: &str| {
            let message_ids = form.map(|form| IdForm::parse(form).unwrap());
            let judge = ReceiptJudge::new(&Terms { message_ids, ..terms(&catalog, Source::Smpp) });
            judge_again(None, line, &judge).unwrap().map(|row| row.key).map_err(|fault| fault.reason)
        };
        let text = |id: &str, said: &str| format!("{{{id}\"short_message\":\"id:{said} stat:UNDELIV\"}}");
        let of = |id: &str| Ok(MessageKey::of(id));
        assert_eq!(id(None, &text("", "0000001023")), of("0000001023"));
        assert_eq!(id(Some("decimal to %X"), &text("", "0000001023")), of("3FF"));
        // The column wins, where the text may mean the same.
        let column = "\"receipted_message_id\":\"3ff\",";
        assert_eq!(id(None, &text(column, "0000001023")), of("3ff"));
        assert_eq!(id(Some("hex to %d"), &text(column, "0000001023")), of("1023"));
        assert_eq!(id(None, &text(column, "3FF")), of("3ff"));
        assert_eq!(id(None, &text(column, "1024")), Err("bad_receipt_text"));
    }

    #[test]
    fn ids_are_written_as_messages_have_them() {
        for (form, id, expected) in [
            ("decimal to %x", "305419896", "12345678"),
            ("decimal to %X", "3735928559", "DEADBEEF"),
            ("decimal to %08x", "0000001023", "000003ff"),
            ("hex to %d", "00003FF", "1023"),
            ("hex to %010d", "3ff", "0000001023"),
            ("decimal to %d", "0000000012345678", "12345678"),
            ("decimal to %d", "0", "0"),
            ("hex to %X", "dead", "DEAD"),
            (
                "decimal to %d",
                "340282366920938463463374607431768211455",
                "340282366920938463463374607431768211455",
            ),
        ] {
            assert_eq!(IdForm::parse(form).unwrap().of_message(id), expected, "{form} {id}");
        }
    }

    #[test]
    fn what_is_no_number_stays_as_it_is() {
        let form = IdForm::parse("decimal to %08x").unwrap();
        for id in ["", "12ab", "+12", "-1", "1.0", " 1", "١", "340282366920938463463374607431768211456"] {
            assert_eq!(form.of_message(id), id);
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "decimal",
            "octal to %x",
            "decimal to x",
            "decimal to %8x",
            "decimal to %0x",
            "decimal to %065x",
            "decimal to %",
            "decimal to %08xy",
            "decimal  to %x",
            "decimal to %é",
        ] {
            assert!(IdForm::parse(text).unwrap_err().contains("decimal to %08x"), "{text}");
        }
    }

    #[test]
    fn two_ids_may_be_one() {
        for (one, other) in [("1f", "1F"), ("0012", "12"), ("255", "ff"), ("ff", "255"), ("x-1", "x-1")] {
            assert!(may_be_same(one, other), "{one} {other}");
        }
        for (one, other) in [("1", "2"), ("x-1", "X-1"), ("", "0"), ("abc", "abd")] {
            assert!(!may_be_same(one, other), "{one} {other}");
        }
    }
}
