//! A request for a digital fapiao: what somebody, or a program, enters at the tax platform, which alone
//! issues and numbers them. The platform's number is left empty, to be filled in when it is known; a
//! credit note becomes a red-letter request against it.

use serde_json::{Value, json};

use super::{Document, percent};
use crate::domain::invoice::{InvoiceType, Party};
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

/// The request as a file.
pub fn write(document: Document<'_>, zone: Zone, category: &Category) -> Vec<u8> {
    let mut text = format!("{:#}", value(document, zone, category)).into_bytes();
    text.push(b'\n');
    text
}

fn value(document: Document<'_>, zone: Zone, category: &Category) -> Value {
    let invoice = document.invoice();
    let sign = document.sign();
    let item = |kind: &str, description: &str, units: i64, vat_ppm: i64, net: Micros, gross: Micros| {
        let name = match category.short_name.is_empty() {
            true => description.to_owned(),
            false => format!("*{}*{description}", category.short_name),
        };
        json!({
            "kind": kind,
            "name": name,
            "tax_category": category.short_name,
            "tax_code": category.code,
            "unit": if units == 0 { "" } else { "条" },
            "quantity": if units == 0 { String::new() } else { (units * sign).to_string() },
            "unit_price": unit_price(net, units),
            "amount": document.signed(net),
            "tax_rate": rate(vat_ppm),
            "tax_percent": percent(vat_ppm),
            "tax": document.signed(Micros(gross.0 - net.0)),
        })
    };
    let lines_have = |vat_ppm: i64| invoice.lines.iter().any(|line| line.vat_ppm == vat_ppm);
    let content = invoice.lines.first().map_or_else(String::new, |line| line.description.clone());
    let mut items: Vec<Value> = Vec::new();
    for (place, line) in invoice.lines.iter().enumerate() {
        items.push(item("normal", &line.description, line.units, line.vat_ppm, line.net, line.gross));
        if invoice.lines[place + 1..].iter().any(|later| later.vat_ppm == line.vat_ppm) {
            continue;
        }
        // A discount stands right after what it is a discount of, under the same name.
        for allowance in invoice.allowances.iter().filter(|allowance| allowance.vat_ppm == line.vat_ppm) {
            let (net, gross) = (Micros(-allowance.net.0), Micros(-allowance.gross.0));
            items.push(item("discount", &line.description, 0, allowance.vat_ppm, net, gross));
        }
    }
    // Refunds of what was supplied under a rate that no line has.
    for allowance in invoice.allowances.iter().filter(|less| !lines_have(less.vat_ppm)) {
        let (net, gross) = (Micros(-allowance.net.0), Micros(-allowance.gross.0));
        items.push(item("discount", &content, 0, allowance.vat_ppm, net, gross));
    }
    let type_name = match invoice.invoice_type {
        InvoiceType::General => "电子发票(普通发票)",
        InvoiceType::Special => "电子发票(增值税专用发票)",
    };
    let red_letter = document.is_credit_note().then(
        || json!({ "invoice_number": invoice.number, "blue_external_number": "", "reason": Value::Null }),
    );
    json!({
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
    })
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
        let request = value(Document::Invoice(&sample()), zone(), &category());
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
        let request = value(document, zone(), &category());
        assert_eq!((&request["color"], &request["total"]), (&json!("red"), &json!("-4776.44")));
        assert_eq!(request["red_letter"]["invoice_number"], "INV-2026-000042");
        assert_eq!(request["items"][1]["quantity"], "-111000");
    }
}
