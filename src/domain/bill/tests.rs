use std::sync::Arc;

use proptest::prelude::*;

use super::super::price::{Rate, Scope, Tier};
use super::super::product::{Astral, ChargeOn, LengthRule, PricedBy, ReturnOrder, VatRate};
use super::*;

const MARCH: Month = Month { year: 2026, month: 3 };

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn catalog() -> Catalog {
    let vat = vec![
        VatRate { from: Timestamp(i64::MIN), ppm: 60_000 },
        VatRate { from: at("2026-03-20T00:00:00+08:00"), ppm: 90_000 },
    ];
    let product = Product {
        id: "sms".into(),
        name: "SMS".into(),
        channel: "sms".into(),
        region: None,
        length: LengthRule::Domestic,
        astral: Astral::Utf16,
        charge_on: ChargeOn::Receipt,
        return_order: ReturnOrder::Literal,
        priced_by: PricedBy::TemplateType,
        commodity: "SMSD".into(),
        income: "SMS".into(),
        validity: "24 months".parse().unwrap(),
        vat,
        tier_counts_plan: true,
        individual_promotional: true,
        needs_verification: false,
        needs_activation: false,
        renewal: false,
        verified_region: None,
        free: None,
        quota: None,
    };
    Catalog { products: vec![product] }
}

fn volume_book() -> PriceBook {
    let tiers = vec![
        Tier { over: 0, up_to: Some(10), price: Micros(100_000) },
        Tier { over: 10, up_to: None, price: Micros(50_000) },
    ];
    let rate = Rate {
        product: "sms".into(),
        currency: "CNY".into(),
        scope: Scope::Everyone,
        class: "verification".into(),
        from: Timestamp(i64::MIN),
        until: None,
        method: super::super::price::Method::Volume,
        tiers,
    };
    PriceBook::new(vec![rate], Vec::new()).unwrap()
}

fn part(what: What, units: i64, price: i64) -> Part {
    let amount = Micros(units * price);
    Part {
        what,
        product: "sms".into(),
        template_type: "verification".into(),
        country: "CN".into(),
        unit_price: Some(Micros(price)),
        since: at("2026-03-10T00:00:00+08:00"),
        units,
        amount,
        net: amount.net_of_vat(60_000),
        kind: None,
    }
}

/// Draws up a bill and settles it with so much on the balance.
fn bill_of(
    parts: &[Part],
    book: &PriceBook,
    rounding: Rounding,
    funds: &mut Funds,
) -> Result<(Draft, Option<Entry>, Split), BillFault> {
    let catalog = catalog();
    let terms = Terms {
        buyer: Buyer { account_id: "acme", kind: "enterprise", currency: "CNY" },
        month: MARCH,
        zone: Zone::parse("Asia/Shanghai").unwrap(),
        catalog: &catalog,
        book,
        rounding,
        billed_prices: &[],
    };
    let draft = draw_up(parts, &terms)?;
    let (entry, split) = draft.settle(&terms, funds, at("2026-04-01T00:30:00+08:00"))?;
    Ok((draft, entry, split))
}

fn funds(balance: i64, unbilled: i64) -> Funds {
    Funds { balance: Micros(balance), unbilled: Micros(unbilled), ..Funds::default() }
}

fn words(draft: &Draft) -> Vec<String> {
    draft.lines.iter().map(Line::words).collect()
}

#[test]
fn plan_units_reach_a_tier_where_the_product_counts_them() {
    let parts = [part(What::Plan, 8, 0), part(What::Payg, 3, 100_000)];
    let (draft, ..) = bill_of(&parts, &volume_book(), Rounding::Down, &mut funds(0, 300_000)).unwrap();
    assert_eq!(draft.total, Micros(150_000));
    assert_eq!(words(&draft).last().unwrap(), "adjustment  sms verification  -0.15");
    let price = &draft.prices[0];
    assert_eq!((price.month, price.units, price.unit_price), (202_603, 3, Micros(50_000)));
}

#[test]
fn units_under_different_vat_rates_are_lines_of_their_own() {
    let later = Part { since: at("2026-03-20T00:00:00+08:00"), ..part(What::Payg, 2, 45_000) };
    let parts = [part(What::Payg, 1, 45_000), later];
    let mut acme = funds(1_000_000, 135_000);
    let (draft, ..) = bill_of(&parts, &PriceBook::default(), Rounding::Down, &mut acme).unwrap();
    let rates: Vec<_> = draft.lines.iter().filter_map(|line| line.vat_ppm.zip(line.units)).collect();
    assert_eq!(rates, [(60_000, 1), (90_000, 2)]);
    assert_eq!((draft.total, acme.balance, acme.unbilled), (Micros(130_000), Micros(870_000), Micros(0)));
}

#[test]
fn units_that_are_priced_anew_are_taxed_at_their_own_rates() {
    // 12 units come to 0.05 each: charged at 0.10 were 1 under 6 % and 9 under 9 %, and 2 at 0.05 already.
    let later =
        |units, price| Part { since: at("2026-03-20T00:00:00+08:00"), ..part(What::Payg, units, price) };
    let parts = [part(What::Payg, 1, 100_000), later(9, 100_000), later(2, 50_000)];
    let (draft, ..) = bill_of(&parts, &volume_book(), Rounding::Down, &mut funds(0, 1_100_000)).unwrap();
    let adjustments = draft.lines.iter().filter(|line| line.kind == LineKind::Adjustment);
    let adjustments: Vec<_> = adjustments.map(|line| (line.vat_ppm, line.amount.0)).collect();
    assert_eq!(adjustments, [(Some(60_000), -50_000), (Some(90_000), -450_000)]);
    assert_eq!((draft.total, draft.prices.len()), (Micros(600_000), 1));
}

#[test]
fn what_the_balance_lacks_is_due() {
    let mut acme = funds(50_000, 90_000);
    let parts = [part(What::Payg, 2, 45_000)];
    let (_, entry, split) = bill_of(&parts, &PriceBook::default(), Rounding::Down, &mut acme).unwrap();
    assert_eq!((split.balance, split.due), (Micros(50_000), Micros(40_000)));
    let lines: Vec<_> = entry.unwrap().postings.iter().map(|((l, _), a)| format!("{l} {a}")).collect();
    let posted = ["Assets:Unbilled -90000", "Assets:Receivable 40000", "Liabilities:Customer:Balance 50000"];
    assert_eq!(lines, posted);
    assert_eq!((acme.balance, acme.due), (Micros::ZERO, Micros(40_000)));
}

#[test]
fn a_total_below_zero_is_paid_in_and_cut_downwards() {
    // A tenth of a cent is left of it.
    let parts = [part(What::Payg, 12, 1_000), part(What::Return, 11, 1_000)];
    let mut acme = funds(0, 5_000);
    let draft = bill_of(&parts, &PriceBook::default(), Rounding::Down, &mut acme).unwrap().0;
    assert_eq!((draft.total, acme.unbilled), (Micros::ZERO, Micros(4_000)));
    for (rounding, exact, whole) in [
        (Rounding::Down, 19_999, 10_000),
        (Rounding::Down, -1, -10_000),
        (Rounding::HalfUp, 14_999, 10_000),
        (Rounding::HalfUp, 15_000, 20_000),
        (Rounding::HalfUp, -15_000, -10_000),
    ] {
        assert_eq!(rounding.whole(Micros(exact)), Ok(Micros(whole)), "{exact}");
    }
}

#[test]
fn books_that_disagree_are_not_billed() {
    let parts = [part(What::Payg, 2, 45_000)];
    let fault = bill_of(&parts, &PriceBook::default(), Rounding::Down, &mut funds(0, 89_999)).unwrap_err();
    assert_eq!(fault, BillFault::Disagree { accrued: Micros(90_000), unbilled: Micros(89_999) });
    let unknown = Part { product: "fax".into(), ..part(What::Payg, 1, 1) };
    let fault = bill_of(&[unknown], &PriceBook::default(), Rounding::Down, &mut funds(0, 1)).unwrap_err();
    assert_eq!(fault, BillFault::UnknownProduct("fax".into()));
}

#[test]
fn an_order_is_listed_by_what_its_products_cost_in_cash() {
    let order = |what, product: &str, units, amount| Part {
        product: product.into(),
        units,
        amount: Micros(amount),
        ..part(what, 0, 0)
    };
    let parts = [
        order(What::Order(3), "", 0, 1_000_000),
        order(What::Bought(3), "mail", 10, 333_333),
        order(What::Bought(3), "sms", 5, 666_667),
        order(What::Refund(3), "", 0, -250_000),
        order(What::Penalty(1), "", 0, 70_000),
    ];
    let mut acme = funds(0, 0);
    let (draft, entry, _) = bill_of(&parts, &PriceBook::default(), Rounding::Down, &mut acme).unwrap();
    let lines = [
        "order  mail  of acme-o3  10 units = 0.333333 (settled)",
        "order  sms  of acme-o3  5 units = 0.666667 (settled)",
        "refund  of acme-o3  -0.25 (settled)",
        "penalty  of 1  0.07 (settled)",
    ];
    assert_eq!(words(&draft), lines);
    assert_eq!((draft.total, entry), (Micros::ZERO, None));
}

#[test]
fn a_bill_that_was_changed_has_another_hash() {
    let line = Line { units: Some(1), ..Line::bare(LineKind::Payg, false) };
    let bill = Bill {
        bill_id: "CNY-202603-000001".into(),
        account_id: "acme".into(),
        month: 202_603,
        currency: "CNY".into(),
        lines: vec![line.clone()],
        total: Micros(10_000),
        paid: Micros(10_000),
        accrued: Micros(10_000),
        issued_at: Timestamp(0),
        note: None,
    };
    let changed = [
        Bill { total: Micros(10_001), ..bill.clone() },
        Bill { note: Some(String::new()), ..bill.clone() },
        Bill { lines: vec![Line { product: Some("sms".into()), ..line.clone() }], ..bill.clone() },
        Bill { lines: vec![Line { template_type: Some("sms".into()), ..line.clone() }], ..bill.clone() },
        Bill { lines: vec![line.clone(), line], ..bill.clone() },
    ];
    let hashes: std::collections::BTreeSet<String> = changed.iter().map(Bill::hash).collect();
    assert_eq!(hashes.len(), changed.len());
    assert!(!hashes.contains(&bill.hash()) && bill.hash() == bill.clone().hash());
}

proptest! {
    #[test]
    fn a_bill_adds_up_and_takes_its_month_off_what_is_unbilled(
        charges in prop::collection::vec((1..40i64, 1..200_000i64, 0..3usize), 1..8),
        returned in 0..40i64,
        balance in 0..20_000_000i64,
        half_up in any::<bool>(),
        volume in any::<bool>(),
    ) {
        let days = ["2026-03-01T00:00:00+08:00", "2026-03-10T09:00:00+08:00", "2026-03-25T00:00:00+08:00"];
        let mut parts: Vec<Part> = charges
            .iter()
            .map(|(units, price, day)| Part { since: at(days[*day]), ..part(What::Payg, *units, *price) })
            .collect();
        let (units, price, _) = charges[0];
        parts.extend((returned > 0).then(|| part(What::Return, returned.min(units), price)));
        let accrued: i64 = parts.iter().map(|p| if p.what == What::Return { -p.amount.0 } else { p.amount.0 }).sum();
        let book = if volume { volume_book() } else { PriceBook::default() };
        let rounding = if half_up { Rounding::HalfUp } else { Rounding::Down };
        let mut acme = funds(balance, accrued + 7);
        let (draft, entry, split) = bill_of(&parts, &book, rounding, &mut acme).unwrap();
        prop_assert_eq!(acme.unbilled, Micros(7));
        prop_assert_eq!(draft.total.0 % 10_000, 0);
        prop_assert_eq!(draft.lines.iter().map(|line| line.amount.0).sum::<i64>(), draft.total.0);
        prop_assert_eq!(split.balance.0 + split.due.0, draft.total.0);
        prop_assert_eq!(balance - acme.balance.0, split.balance.0);
        if volume {
            let billed: i64 = draft.prices.iter().map(|price| price.units * price.unit_price.0).sum();
            let rest = draft.total.0 - billed;
            prop_assert!((-10_000..=10_000).contains(&rest), "{} is not {}", draft.total, billed);
        }
        let currency: Arc<str> = "CNY".into();
        if let Some(entry) = entry {
            let unbilled = entry.postings.get(&(Ledger::Unbilled, currency)).copied().unwrap_or_default();
            prop_assert_eq!(unbilled, -accrued);
        }
    }
}

#[test]
fn a_note_tells_how_many_messages_wait() {
    let bill = |note| Bill {
        bill_id: "CNY-202603-000001".into(),
        account_id: "acme".into(),
        month: 202603,
        currency: "CNY".into(),
        lines: Vec::new(),
        total: Micros::ZERO,
        paid: Micros::ZERO,
        accrued: Micros::ZERO,
        issued_at: at("2026-04-01T00:30:00+08:00"),
        note,
    };
    for messages in [0, 1, 2, 1_234_567] {
        assert_eq!(bill(suspense_note(messages)).suspended(), Some(messages));
    }
    assert_eq!(bill(Some("Some messages wait".into())).suspended(), None);
}
