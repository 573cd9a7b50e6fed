//! What refunds and gifts may be set to.

use super::*;
use crate::domain::package::Gift;
use crate::domain::refund::{MultiPlan, RefundPolicy};

#[test]
fn refunds_follow_the_overview_unless_it_is_said_otherwise() {
    let defaults =
        RefundPolicy { multi_plan: MultiPlan::Overview, auto_reject: false, used_once_is_used: true };
    assert_eq!(Config::from_texts(QUITTANCE, PRODUCTS, PRICES, NAMES).unwrap().refund, defaults);
    assert_eq!(Config::built_in().unwrap().refund, defaults);
    let said = "[refund]\nmulti_plan = \"faq\"\nauto_reject = true\nused_once_is_used = false\n[retention]";
    let other = RefundPolicy { multi_plan: MultiPlan::Faq, auto_reject: true, used_once_is_used: false };
    assert_eq!(with("[retention]", said).unwrap().refund, other);
}

#[test]
fn gifts_are_read_with_their_package() {
    let said = "price = \"75\"\ngift_units = 100\ngift_months = 6\ngift_coupon = \"2.50\"";
    let config = with("price = \"75\"", said).unwrap();
    let gift = Gift { units: 100, months: 6, coupon: Micros(2_500_000) };
    assert_eq!(config.book.package("sms-1500").unwrap().gift, gift);
}

#[test]
fn faults_of_refunds_and_gifts_are_told() {
    let rows = [
        (
            "[retention]",
            "[refund]\nmulti_plan = \"fax\"\nauto_reject = 1\nused_once = true\n[retention]",
            "q.toml:3:14: `multi_plan`: `fax` is unknown: did you mean `faq`?\n\
             q.toml:4:15: `auto_reject`: this is a number: write true or false\n\
             q.toml:5:1: the key `used_once` is unknown here: use one of multi_plan, auto_reject, used_once_is_used",
        ),
        (
            "price = \"75\"",
            "price = \"75\"\ngift_units = -1",
            "prices.toml:28:14: -1 gift units are not possible: write 1 or more, up to 1000000000000 together with \
             the size",
        ),
        (
            "price = \"75\"",
            "price = \"75\"\ngift_units = 999_999_999_999",
            "prices.toml:28:14: 999999999999 gift units are not possible: write 1 or more, up to 1000000000000 \
             together with the size",
        ),
        (
            "price = \"75\"",
            "price = \"75\"\ngift_units = 0",
            "prices.toml:28:14: `gift_units`: 0 is no gift: leave the key out",
        ),
        (
            "price = \"75\"",
            "price = \"75\"\ngift_months = 121",
            "prices.toml:28:15: 121 gift months are not possible: write 1 to 120",
        ),
        (
            "price = \"75\"",
            "price = \"75\"\ngift_months = -6",
            "prices.toml:28:15: `gift_months`: -6 gift months are not possible: write 1 to 120",
        ),
        (
            "price = \"75\"",
            "price = \"75\"\ngift_coupon = \"-5\"",
            "prices.toml:28:15: a gift coupon of -5 is not possible: write more than 0, up to 1000000",
        ),
        (
            "price = \"75\"",
            "price = \"75\"\ngift_coupon = 5",
            "prices.toml:28:15: `gift_coupon`: the number 5 is not kept exactly: put it in quotes, \"5\"",
        ),
    ];
    for (piece, replacement, expected) in rows {
        let error = with(piece, replacement).unwrap_err().to_string();
        assert_eq!(error, expected, "{piece} -> {replacement}");
    }
}
