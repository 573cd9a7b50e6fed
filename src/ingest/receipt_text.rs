//! The text of an SMPP delivery receipt (SMPP 3.4, appendix B), as message centres write it:
//! `id:0123456789 sub:001 dlvrd:001 submit date:2603010900 done date:2603010905 stat:DELIVRD
//! err:000 text:Hello`.

use super::LineFault;
use super::fields::Field;

/// The fields of one receipt text; those that nothing asks for are left out.
///
/// `sub` and `dlvrd` are among them: they count the recipients of a distribution list, not the
/// segments of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ReceiptText<'a> {
    id: Option<&'a str>,
    done_date: Option<&'a str>,
    stat: Option<&'a str>,
    err: Option<&'a str>,
}

/// The beginning of the message: its sender wrote it, so whatever looks like a field there is none.
const MESSAGE: &str = "text:";

impl<'a> ReceiptText<'a> {
    /// Reads the fields in any order and case, up to the message's own text.
    pub fn parse(text: &'a str) -> Result<ReceiptText<'a>, LineFault> {
        let mut receipt = ReceiptText::default();
        let mut rest = text.trim_start();
        while !rest.is_empty() && after(rest, MESSAGE).is_none() {
            let fields = [
                ("id:", &mut receipt.id),
                ("done date:", &mut receipt.done_date),
                ("stat:", &mut receipt.stat),
                ("err:", &mut receipt.err),
            ];
            let found = fields.into_iter().find_map(|(key, field)| Some((key, field, after(rest, key)?)));
            let (value, behind) = first_word(found.as_ref().map_or(rest, |(_, _, behind)| behind));
            if let Some((key, field, _)) = found
                && !value.is_empty()
                && field.replace(value).is_some()
            {
                let detail = format!("the receipt text has `{key}` twice: which of them is meant?");
                return Err(LineFault::new("bad_receipt_text", detail));
            }
            rest = behind;
        }
        Ok(receipt)
    }

    pub fn get(&self, field: Field) -> Option<&'a str> {
        match field {
            Field::MessageId => self.id,
            Field::ReportTime => self.done_date,
            Field::Status => self.stat,
            Field::ErrCode => self.err,
            _ => None,
        }
    }
}

/// What follows a key that the text begins with.
fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (beginning, behind) = text.split_at_checked(key.len())?;
    beginning.eq_ignore_ascii_case(key).then_some(behind)
}

/// The text up to the first space, and what comes after the spaces.
fn first_word(text: &str) -> (&str, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> [&str; 4] {
        let receipt = ReceiptText::parse(text).unwrap();
        [receipt.id, receipt.done_date, receipt.stat, receipt.err].map(Option::unwrap_or_default)
    }

    #[test]
    fn the_samples_of_message_centres_are_read() {
        for (text, expected) in [
            (
                "id:0000000012345678 sub:001 dlvrd:001 submit date:1601010100 done date:1601010101 stat:DELIVRD err:000 text:none",
                ["0000000012345678", "1601010101", "DELIVRD", "000"],
            ),
            (
                "id:64567564356765435676 sub:001 dlvrd:001 submit date:190608165232 done date:190608165237 stat:DELIVRD err:000 text:Hello World",
                ["64567564356765435676", "190608165237", "DELIVRD", "000"],
            ),
            (
                "id:IIIIIIIIII sub:SSS dlvrd:DDD submit date:YYMMDDhhmm done date:YYMMDDhhmm stat:DDDDDDD err:E Text: . . .",
                ["IIIIIIIIII", "YYMMDDhhmm", "DDDDDDD", "E"],
            ),
            (
                "id:40072910491427628 sub:001 dlvrd:001 submit date:1007291049 done date:1007291049 stat:DELIVRD err:000",
                ["40072910491427628", "1007291049", "DELIVRD", "000"],
            ),
            ("stat:UNDELIV  ID:7\r\nimsi:123 Done Date:1007291049", ["7", "1007291049", "UNDELIV", ""]),
            ("id: stat:DELIVRD err: text:", ["", "", "DELIVRD", ""]),
            ("hello", ["", "", "", ""]),
            ("", ["", "", "", ""]),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn the_message_inside_a_receipt_cannot_forge_it() {
        let forged = "id:1 done date:2603010905 stat:DELIVRD text:x id:2 stat:UNDELIV err:9";
        assert_eq!(parse(forged), ["1", "2603010905", "DELIVRD", ""]);
        assert_eq!(parse("id:1 TEXT:stat:UNDELIV stat:UNDELIV"), ["1", "", "", ""]);
        assert_eq!(parse("xid:1 xstat:UNDELIV"), ["", "", "", ""]);
    }

    #[test]
    fn a_field_that_stands_twice_is_refused() {
        for text in ["id:1 id:2", "id:1 stat:DELIVRD stat:UNDELIV text:x"] {
            assert_eq!(ReceiptText::parse(text).unwrap_err().reason, "bad_receipt_text", "{text}");
        }
    }

    #[test]
    fn a_long_text_is_read_in_one_pass() {
        let long = "码 ".repeat(300_000);
        assert_eq!(parse(&format!("{long}id:1 stat:ENROUTE")), ["1", "", "ENROUTE", ""]);
    }
}
