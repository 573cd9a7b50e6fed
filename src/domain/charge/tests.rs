use crate::domain::allowance::Allowance;
use std::collections::BTreeMap;

use super::*;
use crate::domain::account::Funds;
use crate::domain::countries::Countries;
use crate::domain::period::Validity;
use crate::domain::plan::Plan;
use crate::domain::price::{Method, Scope, Tier};
use crate::domain::product::{Astral, ChargeOn, LengthRule, PricedBy, ReturnOrder, VatRate};

const NINE: i64 = 1_772_326_800_000_000; // 2026-03-01 09:00 in Shanghai

fn sms() -> Product {
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

/// 0.05 up to the second unit of a month, then 0.04; from 09:02 on half of that.
fn book() -> PriceBook {
    let list = |from: Timestamp, until, first: i64, rest: i64| Rate {
        product: "sms".into(),
        currency: "CNY".into(),
        scope: Scope::Everyone,
        class: "verification".into(),
        from,
        until,
        method: Method::Graduated,
        tiers: vec![
            Tier { over: 0, up_to: Some(2), price: Micros(first) },
            Tier { over: 2, up_to: None, price: Micros(rest) },
        ],
    };
    let change = Timestamp(NINE + 2 * Timestamp::MINUTE);
    let lists =
        vec![list(Timestamp(i64::MIN), Some(change), 50_000, 40_000), list(change, None, 25_000, 20_000)];
    PriceBook::new(lists, vec![]).unwrap()
}

fn plan(plan_no: i64, units: i64, from: i64, until: i64) -> Plan {
    Plan {
        plan_no,
        product: "sms".into(),
        countries: Countries::All,
        size: units,
        remaining: units,
        forfeited: 0,
        net: Micros(1_000_000),
        released: Micros::ZERO,
        carried: Micros::ZERO,
        effective_at: Timestamp(from),
        expires_at: Timestamp(until),
        last_draw: None,
    }
}

fn account(plans: Vec<Plan>) -> Account {
    Account {
        account_id: "acme".into(),
        kind: Kind::Enterprise,
        currency: "CNY".into(),
        status: Status::Active,
        funds: Funds { balance: Micros(1_000_000), ..Funds::default() },
        plans,
        activated: vec![],
        tiers: BTreeMap::new(),
        accruals: BTreeMap::new(),
        free: BTreeMap::new(),
    }
}

/// Charges messages given as (microseconds after nine, units); each charge as text.
fn charge(account: &mut Account, messages: &[(i64, i64)]) -> (Vec<String>, Charged) {
    charge_of(&sms(), account, messages)
}

fn charge_of(product: &Product, account: &mut Account, messages: &[(i64, i64)]) -> (Vec<String>, Charged) {
    let book = book();
    let class = Class { product: Some(product), template_type: "verification".into(), country: "CN".into() };
    let tariff =
        Tariff { classes: &[class], book: &book, zone: Zone::parse("Asia/Shanghai").unwrap(), run_no: 1 };
    let message = |(line, (after, units)): (i64, &(i64, i64))| Usage {
        class: 0,
        submit_time: Timestamp(NINE + after),
        units: *units,
        too_long: false,
        place: Place { batch_no: 1, line },
    };
    let usage: Vec<Usage> = (1..).zip(messages).map(message).collect();
    let charged = charge_account(account, &usage, &tariff).unwrap();
    let words = |c: &Charge| match c.payer {
        Payer::Plan(no) => format!("{}+{} plan {no}", c.first_unit, c.units),
        Payer::Free => format!("{}+{} free", c.first_unit, c.units),
        Payer::Payg => format!("{}+{} at {}", c.first_unit, c.units, c.unit_price.unwrap()),
    };
    (charged.charges.iter().map(words).collect(), charged)
}

#[test]
fn a_message_takes_the_plans_rest_and_the_remainder_is_pay_as_you_go() {
    let mut acme = account(vec![plan(1, 2, NINE, i64::MAX), plan(2, 1, NINE, i64::MAX - 1)]);
    let (charges, charged) = charge(&mut acme, &[(0, 5)]);
    // Plan 2 ends earlier and pays first (D8).
    assert_eq!(charges, ["0+1 plan 2", "1+2 plan 1", "3+2 at 0.05"]);
    assert_eq!(acme.funds.unbilled, Micros(100_000));
    assert_eq!(charged.charges.iter().map(|c| c.messages).sum::<i64>(), 1);
}

/// Five free in all, two a day.
fn with_free_units() -> Product {
    let free = Some(Allowance { total: 5, per_day: 2 });
    Product { free, charge_on: ChargeOn::Submission, ..sms() }
}

#[test]
fn a_days_free_units_come_before_plans_and_money_until_all_are_had() {
    let product = with_free_units();
    let mut acme = account(vec![plan(1, 2, NINE, i64::MAX)]);
    let day = Timestamp::DAY;
    let (charges, charged) = charge_of(&product, &mut acme, &[(0, 3), (1, 2), (day, 3), (2 * day, 3)]);
    assert_eq!(
        charges,
        ["0+2 free", "2+2 plan 1", "4+1 at 0.05", "0+2 free", "2+1 at 0.025", "0+1 free", "1+2 at 0.02"]
    );
    let used = &acme.free["sms"];
    let on_days = [20_260_301, 20_260_302, 20_260_303].map(|day| used.of_day(day));
    assert_eq!((on_days, used.left(product.free, 20_260_304)), ([2, 2, 1], 0));
    // Units were given and used; no money moved for them.
    let postings = charged.entries[2].postings.iter();
    let quota: Vec<_> = postings.filter(|((l, _), _)| l.to_string().contains("Quota")).collect();
    assert_eq!(quota.iter().map(|(_, units)| **units).collect::<Vec<_>>(), [-1, 1]);
    // A message that comes late finds its day used up.
    assert_eq!(charge_of(&product, &mut acme, &[(0, 1)]).0, ["0+1 at 0.04"]);
}

#[test]
fn a_day_keeps_the_allowance_that_it_began_with() {
    let (before, no_more) = (with_free_units(), Product { free: None, ..with_free_units() });
    let more = Product { free: Some(Allowance { total: 9, per_day: 4 }), ..with_free_units() };
    let mut acme = account(vec![plan(1, 20, NINE, i64::MAX)]);
    let day = Timestamp::DAY;
    assert_eq!(charge_of(&before, &mut acme, &[(0, 1)]).0, ["0+1 free"]);
    assert_eq!(charge_of(&more, &mut acme, &[(1, 2), (day, 3)]).0, ["0+1 free", "1+1 plan 1", "0+3 free"]);
    assert_eq!(
        charge_of(&no_more, &mut acme, &[(day, 2), (2 * day, 1)]).0,
        ["0+1 free", "1+1 plan 1", "0+1 plan 1"]
    );
}

#[test]
fn a_suspended_account_has_no_free_units_and_cuts_them_by_the_billing_day() {
    let product = with_free_units();
    let mut acme = account(vec![]);
    // 23:59:59.999999 and midnight in Shanghai.
    let midnight = 15 * Timestamp::HOUR;
    let (charges, _) = charge_of(&product, &mut acme, &[(midnight - 1, 3), (midnight, 1)]);
    assert_eq!(charges, ["0+2 free", "2+1 at 0.025", "0+1 free"]);
    acme.status = Status::Suspended;
    assert_eq!(charge_of(&product, &mut acme, &[(midnight, 1)]).0, ["0+1 at 0.025"]);
}

#[test]
fn a_plan_pays_for_its_countries_only() {
    let of = |countries: &str| Plan { countries: countries.parse().unwrap(), ..plan(1, 9, NINE, i64::MAX) };
    for (countries, payer) in [("only CN HK", "plan 1"), ("only HK", "at 0.05"), ("except CN", "at 0.05")] {
        let (charges, _) = charge(&mut account(vec![of(countries)]), &[(0, 1)]);
        assert_eq!(charges, [format!("0+1 {payer}")], "{countries}");
    }
}

#[test]
fn a_plan_pays_from_its_first_microsecond_until_before_its_end() {
    let mut acme = account(vec![plan(1, 10, NINE + 1, NINE + 3)]);
    let (charges, _) = charge(&mut acme, &[(0, 1), (1, 1), (2, 1), (3, 1)]);
    assert_eq!(charges, ["0+1 at 0.05", "1+2 plan 1", "3+1 at 0.05"]);
}

#[test]
fn a_suspended_account_pays_as_it_goes_and_keeps_its_units() {
    let mut acme = account(vec![plan(1, 10, NINE, i64::MAX)]);
    acme.status = Status::Suspended;
    acme.funds.balance = Micros::ZERO;
    let (charges, _) = charge(&mut acme, &[(0, 1)]);
    assert_eq!(charges, ["0+1 at 0.05"]);
    assert_eq!((acme.plans[0].remaining, acme.status), (10, Status::Suspended));
}

#[test]
fn tiers_go_on_where_the_month_stands_and_prices_change_at_their_moment() {
    let mut acme = account(vec![]);
    let change = 2 * Timestamp::MINUTE;
    let (charges, _) = charge(&mut acme, &[(0, 1), (1, 2), (change - 1, 1), (change, 1)]);
    assert_eq!(charges, ["0+2 at 0.05", "2+2 at 0.04", "4+1 at 0.02"]);
    let key: TierKey = (202_603, "sms".into(), "verification".into());
    assert_eq!(acme.tiers[&key], 5);
}

#[test]
fn a_window_is_one_balanced_entry() {
    let mut acme = account(vec![plan(1, 3, NINE, i64::MAX)]);
    let (_, charged) = charge(&mut acme, &[(0, 2), (1, 2), (WINDOW, 1)]);
    assert_eq!(charged.entries.len(), 2);
    let postings: Vec<_> = charged.entries[0].postings.iter().map(|((l, _), a)| format!("{l} {a}")).collect();
    assert_eq!(
        postings,
        [
            "Assets:Unbilled 50000",
            "Liabilities:Contract:Plan 1000000",
            "Liabilities:Pending:Receipt -1047170",
            "Liabilities:VAT:Pending -2830",
            "Quota:Plan -3",
            "Quota:Pending 3",
        ]
    );
}

#[test]
fn an_account_below_zero_is_suspended_at_the_end() {
    let mut acme = account(vec![]);
    acme.funds.balance = Micros(40_000);
    charge(&mut acme, &[(0, 1)]);
    assert_eq!(acme.status, Status::Suspended);
}

#[test]
fn what_can_not_be_rated_takes_nothing() {
    let mut acme = account(vec![plan(1, 1, NINE, i64::MAX)]);
    acme.currency = "EUR".into();
    let (charges, charged) = charge(&mut acme, &[(0, 2), (1, 1)]);
    // The first needs a price for its second unit; the second is paid whole by the plan (D67).
    assert_eq!(charged.unrated, [(0, Unrated::NoPrice)]);
    assert_eq!(charges, ["0+1 plan 1"]);
}

#[test]
fn an_overflow_is_a_fault_of_this_account() {
    let mut acme = account(vec![]);
    acme.funds.unbilled = Micros(i64::MAX - 10);
    let (product, book) = (sms(), book());
    let class = Class { product: Some(&product), template_type: "verification".into(), country: "CN".into() };
    let tariff =
        Tariff { classes: &[class], book: &book, zone: Zone::parse("Asia/Shanghai").unwrap(), run_no: 1 };
    let usage = [Usage {
        class: 0,
        submit_time: Timestamp(NINE),
        units: 1,
        too_long: false,
        place: Place::default(),
    }];
    assert_eq!(
        charge_account(&mut acme, &usage, &tariff).unwrap_err(),
        ChargeFault::Money(MoneyFault::Overflow)
    );
}

/// What each charge pays of a message, by the message's line.
fn paid(charged: &Charged, line: i64, units: i64) -> Vec<i64> {
    let place = Place { batch_no: 1, line };
    charged.charges.iter().map(|charge| charge.units_of(place, units)).collect()
}

#[test]
fn each_charge_knows_which_messages_it_pays_for() {
    let mut acme = account(vec![plan(1, 4, NINE, i64::MAX)]);
    let (charges, charged) = charge(&mut acme, &[(0, 1), (1, 1), (2, 5), (3, 1), (4, 1)]);
    assert_eq!(charges, ["0+4 plan 1", "4+2 at 0.05", "6+3 at 0.04"]);
    assert_eq!(paid(&charged, 1, 1), [1, 0, 0]);
    assert_eq!(paid(&charged, 2, 1), [1, 0, 0]);
    // Begun by the plan, gone on in the first tier, ended in the second.
    assert_eq!(paid(&charged, 3, 5), [2, 2, 1]);
    assert_eq!(paid(&charged, 4, 1), [0, 0, 1]);
    assert_eq!(paid(&charged, 5, 1), [0, 0, 1]);
    let mut plain = account(vec![plan(1, 9, NINE, i64::MAX)]);
    let (_, charged) = charge(&mut plain, &[(0, 2), (1, 3)]);
    assert!(charged.charges[0].span.is_none(), "one charge alone is of all its messages");
    assert_eq!(paid(&charged, 2, 3), [3]);
}
