//! The words that templates may use: facts of a notice, written out for its reader.

use std::collections::BTreeMap;

use minijinja::{Error, ErrorKind, State, Value};
use serde_json::{Map, Value as Json, json};

use super::Told;
use crate::domain::notice::Fact;

/// What a template of a notice is given: each fact by its name, and who writes to whom.
pub fn context(told: &Told, sender: &str) -> Value {
    let mut words: BTreeMap<String, Value> = BTreeMap::new();
    for (name, fact) in &told.facts {
        let value = match fact {
            Fact::Money(amount) => {
                words.insert(format!("{name}_is_zero"), (amount.0 == 0).into());
                format!("{} {}", grouped_decimal(&amount.for_people()), told.currency).into()
            }
            Fact::Count(count) => (*count).into(),
            Fact::Time(at) => told.zone.format_short(*at).into(),
            Fact::Text(text) => harmless(text).into(),
        };
        words.insert(name.clone(), value);
    }
    let own = [
        ("name", harmless(&told.name)),
        ("account_id", told.account_id.clone()),
        ("kind", told.kind.as_str().to_owned()),
        ("locale", told.locale.clone()),
        ("unit", told.unit.clone()),
        ("at", told.zone.format_short(told.at)),
        ("sender", sender.to_owned()),
    ];
    words.extend(own.map(|(name, value)| (name.to_owned(), value.into())));
    Value::from_pairs(words)
}

/// The facts for machines: amounts as decimal strings, counts as integers, times RFC 3339.
pub fn json(told: &Told) -> Json {
    let value = |fact: &Fact| match fact {
        Fact::Money(amount) => json!(amount.to_string()),
        Fact::Count(count) => json!(count),
        Fact::Time(at) => json!(told.zone.format(*at)),
        Fact::Text(text) => json!(text),
    };
    Json::Object(told.facts.iter().map(|(name, fact)| (name.clone(), value(fact))).collect::<Map<_, _>>())
}

/// Text from elsewhere, without what would move or hide the words around it: control characters, and
/// marks that turn the direction of writing (F104).
fn harmless(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).filter(|c| !turns(*c)).collect()
}

/// `1,234,567`.
pub fn group(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut grouped = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn grouped_decimal(text: &str) -> String {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    match whole.parse() {
        // A minus before nothing is lost with the nothing.
        Ok(number) if number != 0 => format!("{}.{fraction}", group(number)),
        _ => text.to_owned(),
    }
}

/// A count with its unit, in the language of the letter: `1 message`, `1,500 messages`, `1,500 条`.
pub fn units(state: &State<'_, '_>, count: i64) -> Result<String, Error> {
    let word = |name: &str| state.lookup(name).map(|value| value.to_string()).unwrap_or_default();
    let number = group(count);
    Ok(match (word("locale").as_str(), word("unit").as_str()) {
        ("zh-CN", "message") => format!("{number} 条"),
        ("zh-CN", "email") => format!("{number} 封"),
        ("zh-CN", _) => format!("{number} 个"),
        (_, "") => return Err(Error::new(ErrorKind::UndefinedError, "`units` needs a product")),
        (_, unit) => format!("{number} {unit}{}", if count == 1 { "" } else { "s" }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_grouped_with_their_decimals() {
        for (text, shown) in [
            ("1234567.80", "1,234,567.80"),
            ("-1234.5", "-1,234.5"),
            ("0.045", "0.045"),
            ("-0.045", "-0.045"),
            ("999.00", "999.00"),
            ("-9223372036854.775808", "-9,223,372,036,854.775808"),
        ] {
            assert_eq!(grouped_decimal(text), shown);
        }
    }

    #[test]
    fn f104_text_from_elsewhere_can_not_turn_the_words_around_it() {
        assert_eq!(harmless("a\u{202e}b\r\nBcc: c\u{2066}"), "ab  Bcc: c");
    }
}
