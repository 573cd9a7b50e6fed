use std::sync::Arc;

use super::*;
use crate::domain::account::{Funds, Kind, Status};
use crate::domain::charge::Span;
use crate::domain::countries::Countries;
use crate::domain::period::Validity;
use crate::domain::plan::Plan;
use crate::domain::product::{Astral, ChargeOn, LengthRule, PricedBy, VatRate};

const MONTH: i64 = 202_603;
const NINE: Timestamp = Timestamp(1_772_326_800_000_000); // 2026-03-01 09:00 in Shanghai
const RECEIVED: Timestamp = Timestamp(NINE.0 + Timestamp::HOUR);
const LATER: Timestamp = Timestamp(NINE.0 + 1_000 * Timestamp::HOUR);
const CENT: i64 = 10_000;
const HERE: Place = Place { batch_no: 1, line: 1 };

pub fn sms() -> Product {
    Product {
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
        validity: Validity::Months(24),
        vat: vec![VatRate { from: Timestamp(i64::MIN), ppm: 60_000 }],
        tier_counts_plan: false,
        individual_promotional: false,
        needs_verification: false,
        needs_activation: false,
        renewal: false,
        verified_region: None,
        free: None,
        quota: None,
    }
}

/// A plan of which each unit is worth four cents net.
fn plan(plan_no: i64, size: i64, used: i64, last_draw: i64, expires_at: Timestamp) -> Plan {
    let mut plan = Plan {
        plan_no,
        product: "sms".into(),
        countries: Countries::All,
        size,
        remaining: size,
        forfeited: 0,
        net: Micros(size * 4 * CENT),
        released: Micros::ZERO,
        carried: Micros::ZERO,
        effective_at: Timestamp(0),
        expires_at,
        last_draw: Some(last_draw),
    };
    plan.draw(used);
    plan
}

fn account(plans: Vec<Plan>) -> Account {
    Account {
        account_id: "acme".into(),
        kind: Kind::Enterprise,
        currency: "CNY".into(),
        status: Status::Active,
        funds: Funds { balance: Micros(100 * CENT), ..Funds::default() },
        plans,
        activated: vec![],
        tiers: BTreeMap::new(),
        accruals: BTreeMap::new(),
        free: BTreeMap::new(),
    }
}

fn by_plan(plan_no: i64, units: i64) -> Paid {
    let net = Micros(units * 4 * CENT);
    Paid {
        payer: Payer::Plan(plan_no),
        units,
        unit_price: Some(Micros(5 * CENT)),
        net,
        billed_price: None,
        bought_at: None,
    }
}

fn by_payg(account: &mut Account, units: i64) -> Paid {
    let gross = Micros(units * 5 * CENT);
    let accrual = account.accruals.entry((MONTH, "sms".into(), 60_000)).or_default();
    let net = accrual.add(gross, 60_000).unwrap();
    account.funds.unbilled = account.funds.unbilled.plus(gross).unwrap();
    Paid {
        payer: Payer::Payg,
        units,
        unit_price: Some(Micros(5 * CENT)),
        net,
        billed_price: None,
        bought_at: None,
    }
}

fn failure<'a>(product: &'a Product, paid: &[Paid]) -> Failure<'a> {
    let paid = paid.to_vec();
    Failure {
        product,
        country: "CN",
        received_at: RECEIVED,
        window: NINE,
        billed: false,
        was_final: false,
        paid,
    }
}

/// Settles and gives what came of each failure as text: `plan 3 +2000`, `5 at 0.05 to the balance`.
fn settle(account: &mut Account, failures: &[Failure<'_>]) -> (Vec<Vec<String>>, Settled) {
    let settled = settle_account(
        account,
        failures,
        Zone::parse("Asia/Shanghai").unwrap(),
        SettledBy { run_no: 7, portion: 0 },
    );
    let settled = settled.unwrap();
    let words = |back: &GivenBack| match back.to {
        To::Plan(no) => format!("plan {no} +{}", back.units),
        To::Unbilled => format!("{} at {} off what is unbilled", back.units, back.unit_price.unwrap()),
        To::Balance => format!("{} at {} to the balance", back.units, back.unit_price.unwrap()),
    };
    let told = settled.returns.iter().map(|returns| match returns {
        Ok(given) => given.iter().map(words).collect(),
        Err(kept) => vec![format!("{kept:?}")],
    });
    (told.collect(), settled)
}

fn postings(entry: &Entry) -> Vec<String> {
    entry
        .postings
        .iter()
        .map(|((ledger, _), amount)| format!("{ledger} {}: {amount}", ledger.plan_no()))
        .collect()
}

#[test]
fn failures_go_to_the_plan_in_use_then_to_the_one_before_and_the_rest_is_money() {
    let product = sms();
    let (a, b, c) =
        (plan(1, 2_000, 500, 1, NINE), plan(2, 1_500, 1_500, 2, LATER), plan(3, 3_000, 2_000, 3, LATER));
    let mut acme = account(vec![a, b, c]);
    let failures: Vec<_> = (0..4_500).map(|_| failure(&product, &[by_plan(1, 1)])).collect();
    let (_, settled) = settle(&mut acme, &failures);
    let sum = |to: To| -> i64 {
        let all = settled.returns.iter().flatten().flatten();
        all.filter(|back| back.to == to).map(|back| back.units).sum()
    };
    assert_eq!([To::Plan(1), To::Plan(2), To::Plan(3), To::Balance].map(sum), [0, 1_500, 2_000, 1_000]);
    assert_eq!(acme.funds.balance, Micros(100 * CENT + 1_000 * 5 * CENT));
}

#[test]
fn a_plan_takes_units_until_the_moment_it_expires() {
    let product = sms();
    for (expires_at, expected) in
        [(Timestamp(RECEIVED.0 + 1), "plan 1 +1"), (RECEIVED, "1 at 0.05 to the balance")]
    {
        let mut acme = account(vec![plan(1, 10, 5, 1, expires_at)]);
        assert_eq!(settle(&mut acme, &[failure(&product, &[by_plan(1, 1)])]).0, [[expected]]);
    }
}

#[test]
fn of_one_message_what_was_charged_last_becomes_money() {
    let product = sms();
    let mut acme = account(vec![plan(1, 10, 1, 1, LATER)]);
    let payg = by_payg(&mut acme, 2);
    let (told, settled) = settle(&mut acme, &[failure(&product, &[by_plan(1, 1), payg])]);
    assert_eq!(told, [["plan 1 +1", "2 at 0.05 off what is unbilled"]]);
    assert_eq!((acme.funds.unbilled, acme.plans[0].remaining), (Micros::ZERO, 10));
    assert_eq!(acme.plans[0].liability(), Micros(40 * CENT));
    assert_eq!(
        postings(&settled.entries[0]),
        [
            "Assets:Unbilled 0: -100000",
            "Liabilities:Contract:Plan 1: -40000",
            "Liabilities:Pending:Receipt 0: 134340",
            "Liabilities:VAT:Pending 0: 5660",
            "Quota:Plan 1: 1",
            "Quota:Pending 0: -1",
        ]
    );
}

#[test]
fn a_unit_that_money_paid_for_may_go_to_a_plan_and_stays_bought() {
    let product = sms();
    let mut acme = account(vec![plan(1, 10, 4, 1, LATER)]);
    let payg = by_payg(&mut acme, 3);
    assert_eq!(settle(&mut acme, &[failure(&product, &[payg])]).0, [["plan 1 +3"]]);
    assert_eq!(acme.funds.unbilled, Micros(15 * CENT), "the customer pays, and has the units");
    assert_eq!(acme.plans[0].liability(), Micros(24 * CENT + payg.net.0));
}

#[test]
fn money_for_plan_units_costs_the_difference_and_pays_what_is_due_first() {
    let product = sms();
    let mut acme = account(vec![]);
    acme.status = Status::Suspended;
    acme.funds = Funds { due: Micros(3 * CENT), ..Funds::default() };
    let (_, settled) = settle(&mut acme, &[failure(&product, &[by_plan(1, 1)])]);
    assert_eq!((acme.funds.due, acme.funds.balance), (Micros::ZERO, Micros(2 * CENT)));
    assert_eq!(acme.status, Status::Active, "credits may lift a suspension (D35)");
    assert_eq!(
        postings(&settled.entries[0]),
        [
            "Assets:Receivable 0: -30000",
            "Liabilities:Customer:Balance 0: -20000",
            "Liabilities:Pending:Receipt 0: 40000",
            "Liabilities:VAT:Pending 0: 2830",
            "Income:RefundDifference 0: 7170",
            "Quota:Pending 0: -1",
            "Equity:Quota:Issued 0: 1",
        ]
    );
}

/// 106 units at five cents are 5.30: at 6 % 5.00 and 0.30, at 9 % 4.862385 and 0.437615.
#[test]
fn money_for_plan_units_takes_back_vat_at_the_rate_at_which_the_plan_was_bought() {
    let dearer = VatRate { from: NINE, ppm: 90_000 };
    let product = Product { vat: vec![sms().vat[0], dearer], ..sms() };
    let vat = |bought_at| {
        let failed = failure(&product, &[Paid { bought_at: Some(bought_at), ..by_plan(1, 106) }]);
        let (_, settled) = settle(&mut account(vec![]), &[failed]);
        postings(&settled.entries[0]).into_iter().find(|posting| posting.contains("VAT")).unwrap()
    };
    assert_eq!(vat(Timestamp(NINE.0 - 1)), "Liabilities:VAT:Pending 0: 300000");
    assert_eq!(vat(NINE), "Liabilities:VAT:Pending 0: 437615");
}

#[test]
fn a_failure_of_a_billed_month_is_money_on_the_balance() {
    let product = sms();
    let mut acme = account(vec![]);
    let paid = Paid {
        payer: Payer::Payg,
        units: 1,
        unit_price: Some(Micros(5 * CENT)),
        net: Micros(47_170),
        billed_price: None,
        bought_at: None,
    };
    let failure = Failure { billed: true, ..failure(&product, &[paid]) };
    assert_eq!(settle(&mut acme, &[failure]).0, [["1 at 0.05 to the balance"]]);
    assert_eq!(acme.funds.balance, Micros(105 * CENT));
}

#[test]
fn what_was_final_is_taken_out_of_revenue_again() {
    let product = sms();
    let mut acme = account(vec![plan(1, 10, 5, 1, LATER)]);
    let failure = Failure { was_final: true, ..failure(&product, &[by_plan(1, 2)]) };
    let (_, settled) = settle(&mut acme, &[failure]);
    assert_eq!(
        postings(&settled.entries[0]),
        [
            "Liabilities:Contract:Plan 1: -80000",
            "Income:SMS:Plan 0: 80000",
            "Quota:Plan 1: 2",
            "Equity:Quota:Consumed 0: -2",
        ]
    );
}

#[test]
fn without_a_price_a_message_gives_back_all_to_plans_or_nothing() {
    let product = sms();
    let unpriced = Paid { unit_price: None, ..by_plan(1, 3) };
    let mut full = account(vec![plan(1, 10, 2, 1, LATER)]);
    assert_eq!(settle(&mut full, &[failure(&product, &[unpriced])]).0, [["NoPrice"]]);
    assert_eq!((full.plans[0].remaining, full.funds.balance), (8, Micros(100 * CENT)));
    let mut roomy = account(vec![plan(1, 10, 3, 1, LATER)]);
    assert_eq!(settle(&mut roomy, &[failure(&product, &[unpriced])]).0, [["plan 1 +3"]]);
}

#[test]
fn what_did_not_fail_is_earned_in_the_end_to_the_last_micro_unit() {
    let product = sms();
    let cny: Arc<str> = "CNY".into();
    let lapsed = [(Earned::Plan, 4, 160_001), (Earned::Payg, 2, 94_340)].map(|(earned, units, net)| Lapsed {
        product: &product,
        earned,
        units,
        net: Micros(net),
    });
    let entry = finalise(&cny, &lapsed, NINE, Cause::Final { at: NINE, run_no: 9 }).unwrap();
    assert_eq!(
        postings(&entry),
        [
            "Liabilities:Pending:Receipt 0: 254341",
            "Income:SMS:Plan 0: -160001",
            "Income:SMS:Payg 0: -94340",
            "Quota:Pending 0: -4",
            "Equity:Quota:Consumed 0: 4",
        ]
    );
}

#[test]
fn parts_that_were_left_out_or_given_back_are_not_given_back_again() {
    let charge = |plan_no, first_unit, units| Charge {
        window: NINE,
        class: 0,
        first_unit,
        units,
        messages: 1,
        payer: Payer::Plan(plan_no),
        unit_price: None,
        amount: Micros::ZERO,
        net: Micros(units * 4 * CENT),
        span: None,
    };
    // Of four parts the second was left out; plan 1 paid for the first and third, plan 2 for the fourth.
    let charges = [charge(1, 0, 2), charge(2, 2, 1)];
    let failed = |part: i64, returned: &[i64]| {
        let charges = charges.clone().map(|charge| Charge {
            span: Some(Span { first: HERE, first_units: charge.units, last: HERE, last_units: charge.units }),
            ..charge
        });
        let settled = SettledParts { not_charged: vec![2], returned: returned.to_vec() };
        let paid = failed_units(&charges, HERE, 4, part, &settled)?;
        Some(paid.iter().map(|paid| (paid.payer, paid.units)).collect::<Vec<_>>())
    };
    let by = |plan_no, units| (Payer::Plan(plan_no), units);
    assert_eq!(failed(0, &[]), Some(vec![by(1, 2), by(2, 1)]));
    assert_eq!(failed(1, &[]), Some(vec![by(1, 1)]));
    assert_eq!(failed(4, &[]), Some(vec![by(2, 1)]));
    assert_eq!(failed(0, &[3]), Some(vec![by(1, 1), by(2, 1)]));
    for (part, returned) in [(2, &[][..]), (3, &[3]), (1, &[0]), (0, &[0]), (0, &[1, 3, 4])] {
        assert_eq!(failed(part, returned), None, "part {part} after {returned:?}");
    }
    let not_charged = SettledParts { not_charged: vec![0], returned: vec![] };
    assert_eq!(failed_units(&charges, HERE, 4, 0, &not_charged), None, "it was never charged");
    let not_charged = SettledParts { not_charged: vec![1, 2, 3, 4], returned: vec![] };
    assert_eq!(failed_units(&[], HERE, 4, 0, &not_charged), None, "none of its parts was charged");
}

#[test]
fn of_several_charges_that_do_not_tell_their_messages_none_is_given_back() {
    let charge = |payer| Charge {
        window: NINE,
        class: 0,
        first_unit: 0,
        units: 5,
        messages: 5,
        payer,
        unit_price: Some(Micros(5 * CENT)),
        amount: Micros::ZERO,
        net: Micros(20 * CENT),
        span: None,
    };
    let place = Place { batch_no: 1, line: 1 };
    assert_eq!(paid_units(&[charge(Payer::Plan(1))], place, 1).len(), 1);
    assert_eq!(paid_units(&[charge(Payer::Plan(1)), charge(Payer::Payg)], place, 1), []);
}
