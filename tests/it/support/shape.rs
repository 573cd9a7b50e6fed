//! The shape of JSON that scripts rely on: which keys, of which types.

use serde_json::Value;

/// Checks that an object has all the named keys, each of its type, such as
/// `"account_id:text balance:money due:money? plans:list"`; with `?` it may be null.
///
/// text: a string that is not empty · money: a decimal in a string · count: a whole number from 0 ·
/// time: RFC 3339 in the billing zone · bool · list · object
#[track_caller]
pub fn assert_shape(json: &Value, keys: &str) {
    assert!(json.is_object(), "not an object: {json}");
    for wanted in keys.split_whitespace() {
        let (key, kind) = wanted.split_once(':').expect("KEY:KIND");
        let value = json.get(key).unwrap_or_else(|| panic!("there is no `{key}` in {json}"));
        let (kind, may_be_null) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
        assert!(
            is_of(value, kind) || (may_be_null && value.is_null()),
            "`{key}` is {value} and not of kind {kind} in {json}"
        );
    }
}

/// Checks each element of a list that is not empty.
#[track_caller]
pub fn assert_each(json: &Value, keys: &str) {
    let elements = json.as_array().unwrap_or_else(|| panic!("not a list: {json}"));
    assert!(!elements.is_empty(), "the list is empty");
    elements.iter().for_each(|element| assert_shape(element, keys));
}

fn is_of(value: &Value, kind: &str) -> bool {
    let text = || value.as_str().unwrap_or_default();
    match kind {
        "text" => !text().is_empty(),
        "money" => is_money(text()),
        "count" => value.is_u64(),
        "time" => text().ends_with("+08:00") && chrono::DateTime::parse_from_rfc3339(text()).is_ok(),
        "bool" => value.is_boolean(),
        "list" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("`{other}` is no kind of value"),
    }
}

/// `-12.3456`: digits, at most six after the point, and no exponent.
fn is_money(text: &str) -> bool {
    let (whole, fraction) = text.strip_prefix('-').unwrap_or(text).split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole.trim_start_matches('-')) && digits(fraction) && fraction.len() <= 6
}
