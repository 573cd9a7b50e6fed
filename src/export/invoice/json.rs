//! An invoice or a credit note as one JSON object: money as decimal strings, counts as integers, times
//! in the billing zone.

use serde_json::{Value, json};

use super::{Document, cents, percent};
use crate::domain::invoice::Party;
use crate::domain::period::Zone;

/// The document as a file.
pub fn write(document: Document<'_>, zone: Zone) -> Vec<u8> {
    let mut text = format!("{:#}", value(document, zone)).into_bytes();
    text.push(b'\n');
    text
}

/// The keys that scripts read.
pub fn value(document: Document<'_>, zone: Zone) -> Value {
    let invoice = document.invoice();
    let lines = invoice.lines.iter().map(|line| {
        json!({
            "description": line.description,
            "product": line.product,
            "units": line.units,
            "vat_percent": percent(line.vat_ppm),
            "net": cents(line.net),
            "gross": cents(line.gross),
        })
    });
    let allowances = invoice.allowances.iter().map(|allowance| {
        json!({
            "vat_percent": percent(allowance.vat_ppm),
            "net": cents(allowance.net),
            "gross": cents(allowance.gross),
        })
    });
    let rates = invoice.breakdown.iter().map(|share| {
        json!({
            "vat_percent": percent(share.vat_ppm),
            "net": cents(share.net),
            "vat": cents(share.vat),
            "gross": cents(share.gross),
        })
    });
    let period = document.period(zone);
    json!({
        "document": document.word(),
        "number": document.number(),
        "invoice_id": invoice.invoice_id,
        "invoice_number": invoice.number,
        "account_id": invoice.account_id,
        "kind": invoice.kind.as_str(),
        "ref": invoice.reference,
        "type": invoice.invoice_type.as_str(),
        "status": invoice.status(),
        "issued_at": zone.format(document.issued_at()),
        "period_from": period.map(|(first, _)| first.to_string()),
        "period_to": period.map(|(_, last)| last.to_string()),
        "seller": party(&invoice.seller),
        "buyer": party(&invoice.buyer),
        "currency": invoice.currency,
        "lines": lines.collect::<Vec<_>>(),
        "allowances": allowances.collect::<Vec<_>>(),
        "vat_breakdown": rates.collect::<Vec<_>>(),
        "net": cents(invoice.net),
        "vat": cents(invoice.vat),
        "total": cents(invoice.total),
        "replaces": invoice.replaces,
        "credit_note": invoice.returned.as_ref().map(|note| &note.number),
    })
}

fn party(party: &Party) -> Value {
    json!({
        "name": party.name,
        "tax_id": party.tax_id,
        "address": party.address,
        "bank": party.bank,
        "country": party.country,
    })
}
