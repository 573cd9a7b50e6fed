//! A request for a digital fapiao: what somebody, or a program, enters at the tax platform, which alone
//! issues and numbers them. The platform's number is left empty, to be filled in when it is known; a
//! credit note becomes a red-letter request against it.
//!
//! The platform takes no negative line but a discount: it stands right after a line, under its name and rate,
//! and is never larger. What lowers an invoice is so borne by its lines of the same rate.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Document, cents, percent};
use crate::domain::invoice::{CENT, Invoice, InvoiceLine, InvoiceType, Party};
use crate::domain::money::Micros;
use crate::domain::period::Zone;

/// How the tax platform files what is sold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Category {
    /// The short name that stands between asterisks before an item's name.
    pub short_name: String,
    /// The classification code of 19 digits.
    pub code: String,
}

/// Why the platform would not take a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("a fapiao is in CNY, and it is in {0}: give its buyer another format, such as pdf")]
    OtherCurrency(String),
    #[error(
        "what lowers it at {rate} %, {less}, is more than its {of} of that rate, and a fapiao takes discounts only \
         within the lines of their rate: {}",
        if *.returned {
            "it was returned, and needs none"
        } else {
            "return it and the earlier invoice that the refunds are of (`invoice return`), then issue both anew"
        }
    )]
    NothingToDiscount { rate: String, less: String, of: String, returned: bool },
}

/// The request as a file.
///
/// # Errors
/// Where no such fapiao can be issued.
pub fn write(document: Document<'_>, zone: Zone, category: &Category) -> Result<Vec<u8>, Unfit> {
    let mut text = format!("{:#}", value(document, zone, category)?).into_bytes();
    text.push(b'\n');
    Ok(text)
}

fn value(document: Document<'_>, zone: Zone, category: &Category) -> Result<Value, Unfit> {
    let invoice = document.invoice();
    if invoice.currency != "CNY" {
        return Err(Unfit::OtherCurrency(invoice.currency.clone()));
    }
    let discounts = discounts(invoice)?;
    let mut items: Vec<Value> = Vec::new();
    for (place, line) in invoice.lines.iter().enumerate().filter(|(_, line)| line.gross > Micros::ZERO) {
        items.push(item(document, category, "normal", line, line.units, Amounts::of(line)));
        if let Some(discount) = discounts.get(&place) {
            items.push(item(document, category, "discount", line, 0, Amounts::default().less(*discount)));
        }
    }
    let type_name = match invoice.invoice_type {
        InvoiceType::General => "电子发票(普通发票)",
        InvoiceType::Special => "电子发票(增值税专用发票)",
    };
    let red_letter = document.is_credit_note().then(
        || json!({ "invoice_number": invoice.number, "blue_external_number": "", "reason": Value::Null }),
    );
    Ok(json!({
        "request": document.number(),
        "color": if document.is_credit_note() { "red" } else { "blue" },
        "type": invoice.invoice_type.as_str(),
        "type_name": type_name,
        "external_number": "",
        "requested_at": zone.format(document.issued_at()),
        "seller": party(&invoice.seller),
        "buyer": party(&invoice.buyer),
        "currency": invoice.currency,
        "items": items,
        "amount": document.signed(invoice.net),
        "tax": document.signed(invoice.vat),
        "total": document.signed(invoice.total),
        "red_letter": red_letter,
        "remark": format!("{} {} {}", invoice.account_id, invoice.kind.as_str(), invoice.reference),
    }))
}

/// A line of the request, of the name, category and rate of an invoice's line.
fn item(
    document: Document<'_>,
    category: &Category,
    kind: &str,
    line: &InvoiceLine,
    units: i64,
    amounts: Amounts,
) -> Value {
    let name = match category.short_name.is_empty() {
        true => line.description.clone(),
        false => format!("*{}*{}", category.short_name, line.description),
    };
    json!({
        "kind": kind,
        "name": name,
        "tax_category": category.short_name,
        "tax_code": category.code,
        "unit": if units == 0 { "" } else { "条" },
        "quantity": if units == 0 { String::new() } else { (units * document.sign()).to_string() },
        "unit_price": unit_price(amounts.net, units),
        "amount": document.signed(amounts.net),
        "tax_rate": rate(line.vat_ppm),
        "tax_percent": percent(line.vat_ppm),
        "tax": document.signed(amounts.tax),
    })
}

/// Net amount and VAT, in whole hundredths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amounts {
    net: Micros,
    tax: Micros,
}

impl Amounts {
    fn new(net: Micros, gross: Micros) -> Amounts {
        Amounts { net, tax: Micros(gross.0 - net.0) }
    }

    fn of(line: &InvoiceLine) -> Amounts {
        Amounts::new(line.net, line.gross)
    }

    fn less(self, other: Amounts) -> Amounts {
        Amounts { net: Micros(self.net.0 - other.net.0), tax: Micros(self.tax.0 - other.tax.0) }
    }

    fn gross(self) -> Micros {
        Micros(self.net.0 + self.tax.0)
    }

    /// What of it a line can bear.
    fn within(self, line: Amounts) -> Amounts {
        let bears = |wanted: Micros, most: Micros| wanted.min(most).max(Micros::ZERO);
        let mut part = Amounts { net: bears(self.net, line.net), tax: bears(self.tax, line.tax) };
        // VAT alone is no discount: a hundredth stays for the line that bears the rest of it.
        if part.net == self.net && part.tax < self.tax && part.net.0 >= CENT {
            part.net.0 -= CENT;
        }
        part
    }
}

/// What each line is discounted by, by its place: what lowers the invoice under its rate, borne by the largest
/// lines first, so that there are few discounts.
fn discounts(invoice: &Invoice) -> Result<BTreeMap<usize, Amounts>, Unfit> {
    let rates = invoice.lines.iter().map(|line| line.vat_ppm);
    let rates: BTreeSet<i64> = rates.chain(invoice.allowances.iter().map(|less| less.vat_ppm)).collect();
    let mut discounts = BTreeMap::new();
    for vat_ppm in rates {
        let of_rate = invoice.lines.iter().enumerate().filter(|(_, line)| line.vat_ppm == vat_ppm);
        // More of a product may have come back in a month than was sent of it.
        let (mut lines, negative): (Vec<_>, Vec<_>) =
            of_rate.partition(|(_, line)| line.gross > Micros::ZERO);
        lines.sort_by_key(|(place, line)| (Reverse(line.gross), *place));
        let allowances = invoice.allowances.iter().filter(|less| less.vat_ppm == vat_ppm);
        let allowances = allowances.map(|less| Amounts::new(Micros(-less.net.0), Micros(-less.gross.0)));
        let lowers = negative.into_iter().map(|(_, line)| Amounts::of(line)).chain(allowances);
        let whole = lowers.fold(Amounts::default(), Amounts::less);
        let mut rest = whole;
        for (place, line) in &lines {
            let part = rest.within(Amounts::of(line));
            rest = rest.less(part);
            if part != Amounts::default() {
                discounts.insert(*place, part);
            }
        }
        if rest != Amounts::default() {
            let of = lines.iter().map(|(_, line)| line.gross.0).sum();
            return Err(Unfit::NothingToDiscount {
                rate: percent(vat_ppm),
                less: cents(whole.gross()),
                of: cents(Micros(of)),
                returned: invoice.returned.is_some(),
            });
        }
    }
    Ok(discounts)
}

fn party(party: &Party) -> Value {
    json!({ "title": party.name, "tax_id": party.tax_id, "address": party.address, "bank": party.bank })
}

/// A rate in millionths as a fraction: `0.06`.
fn rate(ppm: i64) -> String {
    Micros(ppm).to_string()
}

/// Net amount over quantity with up to 13 decimals, halves away from zero; empty without a quantity.
fn unit_price(net: Micros, units: i64) -> String {
    const DECIMALS: usize = 13;
    let (units, net) = (i128::from(units).abs(), i128::from(net.0).abs());
    if units == 0 {
        return String::new();
    }
    let scaled = (net * 10_i128.pow(7) + units / 2) / units;
    let digits = format!("{scaled:0>width$}", width = DECIMALS + 1);
    let (whole, decimals) = digits.split_at(digits.len() - DECIMALS);
    match decimals.trim_end_matches('0') {
        "" => whole.to_owned(),
        decimals => format!("{whole}.{decimals}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::invoice::{Deficit, Figures, Supply, figures};
    use crate::export::invoice::tests::{money, returned, sample, zone};

    fn category() -> Category {
        Category { short_name: "信息技术服务".into(), code: "3040203000000000000".into() }
    }

    #[test]
    fn prices_have_up_to_thirteen_decimals() {
        assert_eq!(unit_price(money("61.32"), 1500), "0.04088");
        assert_eq!(unit_price(money("100"), 3), "33.3333333333333");
        assert_eq!(unit_price(money("200"), 3), "66.6666666666667");
        assert_eq!(unit_price(money("7"), 1), "7");
        assert_eq!(unit_price(money("-0.01"), 40_000), "0.00000025");
        assert_eq!(unit_price(money("5"), 0), "");
    }

    #[test]
    fn a_request_names_category_and_items() {
        let request = value(Document::Invoice(&sample()), zone(), &category()).unwrap();
        let item = &request["items"][1];
        assert_eq!(item["name"], "*信息技术服务*技术服务费");
        assert_eq!((&item["quantity"], &item["tax_rate"]), (&json!("111000"), &json!("0.06")));
        assert_eq!(request["items"][2]["kind"], "discount");
        assert_eq!((&request["external_number"], &request["red_letter"]), (&json!(""), &Value::Null));
    }

    #[test]
    fn a_credit_note_is_a_red_letter_request() {
        let invoice = returned();
        let document = Document::CreditNote(&invoice, invoice.returned.as_ref().unwrap());
        let request = value(document, zone(), &category()).unwrap();
        assert_eq!((&request["color"], &request["total"]), (&json!("red"), &json!("-4776.44")));
        assert_eq!(request["red_letter"]["invoice_number"], "INV-2026-000042");
        assert_eq!(request["items"][1]["quantity"], "-111000");
    }

    /// An invoice for amounts of products, each under a rate, lowered by refunds under rates.
    fn lowered(supplied: &[(&str, i64, &str)], refunds: &[(i64, &str)]) -> Invoice {
        let supply = |(product, vat_ppm, amount): &(&str, i64, &str)| Supply {
            product: (*product).into(),
            units: 100,
            vat_ppm: *vat_ppm,
            amount: money(amount),
        };
        let supplies: Vec<Supply> = supplied.iter().map(supply).collect();
        let sum = |amounts: Vec<Micros>| Micros(amounts.iter().map(|amount| amount.0).sum());
        let rates = refunds.iter().map(|(rate, amount)| (*rate, money(amount))).collect();
        let amount = sum(refunds.iter().map(|(_, amount)| money(amount)).collect());
        let deficit = Deficit { amount, own: Micros::ZERO, rates };
        let paid = sum(supplies.iter().map(|supply| supply.amount).collect());
        let reckoned = figures(&supplies, paid, &deficit, "技术服务费").unwrap();
        let Figures { lines, allowances, breakdown, net, vat, total } = reckoned;
        Invoice { lines, allowances, breakdown, net, vat, total, ..sample() }
    }

    /// The items of its request as (kind, rate, net, VAT), checked by the rules of the platform.
    fn items(invoice: &Invoice) -> Vec<(String, String, Micros, Micros)> {
        let request = value(Document::Invoice(invoice), zone(), &category()).unwrap();
        let text = |item: &Value, key: &str| item[key].as_str().unwrap().to_owned();
        let item = |item: &Value| {
            let [net, tax] = ["amount", "tax"].map(|key| money(&text(item, key)));
            (text(item, "kind"), text(item, "tax_percent"), net, tax)
        };
        let items: Vec<_> = request["items"].as_array().unwrap().iter().map(item).collect();
        let sum = |of: fn(&(String, String, Micros, Micros)) -> i64| items.iter().map(of).sum::<i64>();
        assert_eq!((sum(|item| item.2.0), sum(|item| item.3.0)), (invoice.net.0, invoice.vat.0), "{items:?}");
        for share in &invoice.breakdown {
            let of_rate = items.iter().filter(|item| item.1 == percent(share.vat_ppm));
            let net: i64 = of_rate.map(|item| item.2.0).sum();
            assert_eq!(net, share.net.0, "{items:?}");
        }
        for (place, (kind, rate, net, tax)) in items.iter().enumerate() {
            if kind == "normal" {
                assert!(*net > Micros::ZERO && *tax >= Micros::ZERO, "{items:?}");
                continue;
            }
            let (before, its_rate, most, most_tax) = &items[place - 1];
            assert_eq!((before.as_str(), its_rate), ("normal", rate), "{items:?}");
            assert!(*net < Micros::ZERO && *tax <= Micros::ZERO, "{items:?}");
            assert!(-net.0 <= most.0 && -tax.0 <= most_tax.0, "{items:?}");
        }
        items
    }

    #[test]
    fn a_discount_is_borne_by_the_largest_lines_of_its_rate_and_never_larger_than_one() {
        let discounts = |supplied: &[(&str, i64, &str)], refunds: &[(i64, &str)]| {
            let items = items(&lowered(supplied, refunds));
            let places = items.iter().enumerate().filter(|(_, item)| item.0 == "discount");
            places.map(|(place, item)| (place, item.2, item.3)).collect::<Vec<_>>()
        };
        let three = [("a", 60_000, "10.6"), ("b", 60_000, "106"), ("c", 90_000, "109")];
        assert_eq!(discounts(&three, &[(60_000, "53")]), [(2, money("-50"), money("-3"))]);
        let two = [(1, money("-8"), money("-0.48")), (3, money("-100"), money("-6"))];
        assert_eq!(discounts(&three, &[(60_000, "114.48")]), two);
        // All of a rate.
        let all = [(1, money("-10"), money("-0.6")), (3, money("-100"), money("-6"))];
        assert_eq!(discounts(&three, &[(60_000, "116.6")]), all);
        // More came back of a product than was sent of it.
        let negative = [("a", 60_000, "-5.3"), ("b", 60_000, "10.6")];
        assert_eq!(discounts(&negative, &[]), [(1, money("-5"), money("-0.3"))]);
    }

    #[test]
    fn discounts_keep_the_rules_whatever_the_cents() {
        for cents in (1..4_000).step_by(7) {
            let amount = |cents: i64| Micros(cents * CENT).to_string();
            let [a, b, c] = [cents, cents * 3 / 2 + 1, 4_000 - cents].map(amount);
            let supplied =
                [("a", 60_000, &*a), ("b", 60_000, &*b), ("c", 60_000, &*c), ("d", 130_000, "9.99")];
            for refund in (1..4_000 + cents * 3 / 2).step_by(53) {
                items(&lowered(&supplied, &[(60_000, &amount(refund))]));
            }
        }
    }

    #[test]
    fn what_the_platform_would_not_take_is_told_with_a_remedy() {
        let why = |invoice: &Invoice| {
            write(Document::Invoice(invoice), zone(), &category()).expect_err("no fapiao").to_string()
        };
        let under_another = lowered(&[("a", 60_000, "106")], &[(90_000, "5")]);
        let told = why(&under_another);
        assert!(
            told.contains("at 9 %, 5.00, is more than its 0.00") && told.contains("invoice return"),
            "{told}"
        );
        let more = lowered(&[("a", 60_000, "10.6"), ("b", 90_000, "100")], &[(60_000, "10.61")]);
        assert!(why(&more).contains("at 6 %, 10.61, is more than its 10.60"), "{}", why(&more));
        let returned = Invoice { returned: returned().returned, ..more };
        assert!(why(&returned).ends_with("it was returned, and needs none"), "{}", why(&returned));
        let dollars = Invoice { currency: "USD".into(), ..sample() };
        assert_eq!(why(&dollars), Unfit::OtherCurrency("USD".into()).to_string());
    }
}
