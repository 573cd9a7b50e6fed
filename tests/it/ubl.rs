//! Invoices and credit notes as UBL against the official schema and the rules of EN 16931.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use quittance::domain::invoice::{
    CreditNote, Deficit, Invoice, InvoiceKind, InvoiceType, Party, Supply, figures,
};
use quittance::domain::money::Micros;
use quittance::domain::period::{Timestamp, Zone};
use quittance::export::invoice::{Document, ubl};

const INVOICES: usize = 60;

/// Checks files with the official rules, where they could be fetched.
#[track_caller]
pub fn check(files: &[PathBuf]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/en16931/bin/python");
    if !python.exists() {
        assert!(std::env::var_os("REQUIRE_EN16931").is_none(), "{} is missing", python.display());
        eprintln!("SKIPPED: the rules of UBL invoices are missing (scripts/test fetches them)");
        return;
    }
    let output =
        Command::new(python).arg(root.join("scripts/check-ubl")).args(files).output().expect("it starts");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches(" 0 faults").count(), files.len(), "{said}");
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn invoice() -> impl Strategy<Value = Invoice> {
    let amount =
        prop_oneof![1..200_i64, 1..2_000_000_000_i64].prop_map(|thousandths| Micros(thousandths * 1_000));
    let product = select(vec!["sms-domestic", "sms-international", "direct-mail"]);
    let rate = select(vec![60_000_i64, 90_000, 130_000, 0]);
    let supply = (product, rate, 0..4_000_000_i64, amount).prop_map(|(product, vat_ppm, units, amount)| {
        Supply { product: product.into(), units, vat_ppm, amount }
    });
    // What was given back in the month may leave a line below nothing.
    let supply = (supply, prop::bool::weighted(0.1)).prop_map(|(supply, back)| match back {
        true => Supply { amount: Micros(-supply.amount.0 / 7), ..supply },
        false => supply,
    });
    let supplies = prop::collection::vec(supply, 1..5);
    (supplies, 0..100_i64, any::<bool>(), any::<bool>(), any::<bool>()).prop_filter_map(
        "nothing to invoice",
        |(supplies, owed, special, order, individual)| {
            let sum: i64 = supplies.iter().map(|supply| supply.amount.0).sum();
            let owed = Micros(sum.max(0) / 1_000 * owed * i64::from(owed > 50));
            // Also under rates that the invoice itself does not have.
            let rates = [60_000, 90_000].map(|rate| (rate, Micros(owed.0 / 2))).into();
            let rates = if special { rates } else { BTreeMap::new() };
            let owed = Deficit { amount: owed, rates, ..Deficit::default() };
            let figures = figures(&supplies, Micros(sum), &owed, "技术服务费 & <more>").ok()?;
            let party = |name: &str, tax_id: Option<&str>| Party {
                name: name.into(),
                tax_id: tax_id.map(str::to_owned),
                address: tax_id.map(|_| "杭州市 \"5-7\" 号".into()),
                bank: None,
                country: "CN".into(),
            };
            let months = (at("2026-03-01T00:00:00+08:00"), at("2026-04-01T00:00:00+08:00"));
            let (net, vat, total) = (figures.net, figures.vat, figures.total);
            Some(Invoice {
                invoice_id: "acme-i1".into(),
                number: "INV-1".into(),
                account_id: "acme".into(),
                kind: if order { InvoiceKind::Order } else { InvoiceKind::Bill },
                reference: if order { "acme-o7".into() } else { "2026-03".into() },
                invoice_type: if special { InvoiceType::Special } else { InvoiceType::General },
                seller: party("供应商有限公司", Some("91110108769914581E")),
                buyer: party("Müller & 李", (!individual).then_some("91330106673959654P")),
                currency: "CNY".into(),
                issued_at: at("2026-04-01T09:00:00+08:00"),
                period: (!order).then_some(months),
                lines: figures.lines,
                allowances: figures.allowances,
                breakdown: figures.breakdown,
                net,
                vat,
                total,
                replaces: special.then(|| "INV-0".into()),
                returned: Some(CreditNote { number: "CN-1".into(), at: at("2026-04-03T23:30:00+08:00") }),
            })
        },
    )
}

#[test]
fn every_invoice_and_its_credit_note_keep_the_official_rules() {
    let zone = Zone::parse("Asia/Shanghai").expect("a zone");
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let dir = tempfile::tempdir().expect("a directory");
    let mut files = Vec::new();
    let mut write = |name: String, document: Document<'_>| {
        let path = dir.path().join(name);
        std::fs::write(&path, ubl::write(document, zone).expect("it is fit")).expect("it is written");
        files.push(path);
    };
    let mut negative = 0;
    for number in 0..INVOICES {
        let invoice = invoice().new_tree(&mut runner).expect("an invoice").current();
        negative += usize::from(invoice.lines.iter().any(|line| line.net < Micros::ZERO));
        write(format!("{number} invoice.xml"), Document::Invoice(&invoice));
        let note = invoice.returned.as_ref().expect("a credit note");
        write(format!("{number} credit note.xml"), Document::CreditNote(&invoice, note));
    }
    assert!(negative > 0, "no invoice has a line below nothing");
    check(&files);
}
