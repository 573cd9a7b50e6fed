use proptest::prelude::*;

use super::*;

const OVERVIEW: RefundPolicy =
    RefundPolicy { multi_plan: MultiPlan::Overview, auto_reject: false, used_once_is_used: true };
const FAQ: RefundPolicy = RefundPolicy { multi_plan: MultiPlan::Faq, ..OVERVIEW };
const NOW: Timestamp = Timestamp(50);
const NOTHING_WAITS: Behind = Behind { uncharged: false, suspense: false, failures: false };

/// A plan of ten units that cost this much in cash, 6 % VAT included.
fn bought(plan_no: i64, cash: i64) -> Bought {
    let cash = Micros(cash);
    Bought {
        plan_id: format!("acme-p{plan_no}").into(),
        plan: Plan {
            plan_no,
            product: "sms-domestic".into(),
            size: 10,
            remaining: 10,
            countries: Default::default(),
            forfeited: 0,
            net: cash.net_of_vat(60_000),
            released: Micros::ZERO,
            carried: Micros::ZERO,
            effective_at: Timestamp(0),
            expires_at: Timestamp(100),
            last_draw: None,
        },
        commodity: "SMSD".into(),
        cash,
        cancelled: false,
    }
}

fn used(mut bought: Bought) -> Bought {
    bought.plan.draw(4);
    bought.plan.last_draw = Some(1);
    bought
}

fn expired(mut bought: Bought) -> Bought {
    bought.plan.expires_at = NOW;
    bought
}

fn refunded(mut bought: Bought) -> Bought {
    bought.cancelled = true;
    bought.plan.remaining = 0;
    bought.plan.forfeited = 10;
    bought
}

fn order(plans: Vec<Bought>) -> Sold {
    Sold {
        order_no: 1,
        order_id: "acme-o1".into(),
        account_id: "acme".into(),
        currency: "CNY".into(),
        account_status: Status::Active,
        funds: Funds::default(),
        status: OrderStatus::Paid,
        placed_at: Timestamp(0),
        invoice_no: None,
        refunds: 0,
        penalties: Micros::ZERO,
        plans,
    }
}

/// The order as its next request finds it.
fn after(mut order: Sold, refund: &Refund) -> Sold {
    for cancelled in &refund.plans {
        for bought in order.plans.iter_mut().filter(|bought| bought.plan.plan_no == cancelled.plan_no) {
            *bought = refunded(bought.clone());
        }
    }
    order.refunds = refund.refund_no;
    order.penalties = Micros(order.penalties.0 - refund.kept.0);
    order.funds = refund.funds;
    order.status = refund.status;
    order
}

fn ask(order: &Sold, plan: Option<&str>, policy: RefundPolicy) -> Result<Answer, &'static str> {
    request(order, plan, policy, NOTHING_WAITS, NOW).map_err(|refusal| refusal.code())
}

#[track_caller]
fn given(answer: Result<Answer, &'static str>) -> Refund {
    match answer {
        Ok(Answer::Refunded(refund)) => refund,
        other => panic!("nothing is given back: {other:?}"),
    }
}

/// In words: what is given back, or the answer.
fn told(answer: Result<Answer, &'static str>) -> String {
    match answer {
        Ok(Answer::Refunded(refund)) => format!("{} back", refund.amount.0),
        Ok(Answer::Pending) => "waits".into(),
        Ok(Answer::Rejected) => "rejected".into(),
        Err(code) => code.into(),
    }
}

#[test]
fn the_case_table_under_both_policies() {
    let (a, b, c) = (|| bought(1, 100), || bought(2, 200), || bought(3, 300));
    let table: Vec<(&str, Vec<Bought>, [&str; 4])> = vec![
        // The whole order, then plan 2 by itself: each under `overview` and under `faq`.
        ("all unused", vec![a(), b(), c()], ["600 back", "600 back", "200 back", "whole_order_only"]),
        (
            "one used",
            vec![used(a()), b(), c()],
            ["waits", "waits", "order_has_used_plan", "whole_order_only"],
        ),
        (
            "it is used",
            vec![a(), used(b()), c()],
            ["waits", "waits", "order_has_used_plan", "whole_order_only"],
        ),
        (
            "one expired",
            vec![expired(a()), b(), c()],
            ["waits", "waits", "order_has_used_plan", "whole_order_only"],
        ),
        ("all used", vec![used(a()), used(b())], ["plan_used", "plan_used", "plan_used", "whole_order_only"]),
        (
            "all expired",
            vec![expired(a()), expired(b())],
            ["plan_expired", "plan_expired", "plan_expired", "whole_order_only"],
        ),
        (
            "used and expired",
            vec![used(a()), expired(b())],
            ["plan_used", "plan_used", "plan_expired", "whole_order_only"],
        ),
        (
            "the rest unused",
            vec![refunded(a()), b(), c()],
            ["500 back", "500 back", "200 back", "whole_order_only"],
        ),
        (
            "the rest used",
            vec![refunded(a()), used(b())],
            ["waits", "waits", "order_has_used_plan", "whole_order_only"],
        ),
        (
            "refunded",
            vec![refunded(a()), refunded(b())],
            ["already_refunded", "already_refunded", "already_refunded", "already_refunded"],
        ),
    ];
    for (what, plans, expected) in table {
        let order = order(plans);
        let whole = [OVERVIEW, FAQ].map(|policy| told(ask(&order, None, policy)));
        let one = [OVERVIEW, FAQ].map(|policy| told(ask(&order, Some("acme-p2"), policy)));
        assert_eq!([whole, one].concat(), expected, "{what}");
    }
    let single = order(vec![b()]);
    assert_eq!(told(ask(&single, Some("acme-p2"), FAQ)), "200 back");
    assert_eq!(told(ask(&single, Some("acme-p1"), FAQ)), "unknown_plan");
}

#[test]
fn what_stands_against_a_refund_comes_in_its_order() {
    let mut order = order(vec![used(bought(1, 100)), bought(2, 200)]);
    order.invoice_no = Some(7);
    order.account_status = Status::Closed;
    let mut behind = Behind { uncharged: true, suspense: true, failures: true };
    let code = |order: &Sold, behind| {
        let refusal = request(order, None, OVERVIEW, behind, NOW).unwrap_err();
        (refusal.code(), refusal.to_string())
    };
    assert_eq!(code(&order, behind).0, "account_closed");
    order.account_status = Status::Suspended;
    assert_eq!(code(&order, behind).0, "invoice_issued");
    order.invoice_no = None;
    let (name, words) = code(&order, behind);
    assert!(name == "charging_behind" && words.contains("aggregate-charges"), "{words}");
    behind.uncharged = false;
    let (name, words) = code(&order, behind);
    assert!(name == "charging_behind" && words.contains("suspense"), "{words}");
    behind.suspense = false;
    // Failures may go back to plans that were used: they matter to the operator's approval alone.
    assert_eq!(request(&order, None, OVERVIEW, behind, NOW), Ok(Answer::Pending));
    order.status = OrderStatus::PendingReview;
    assert_eq!(approve(&order, OVERVIEW, behind, NOW).unwrap_err().code(), "settling_behind");
    assert!(approve(&order, OVERVIEW, NOTHING_WAITS, NOW).is_ok());
    // What is used or expired for certain is told before what waits.
    order.plans.truncate(1);
    assert_eq!(code(&order, Behind { uncharged: true, ..behind }).0, "plan_used");
}

#[test]
fn a_request_waits_or_is_rejected_and_only_a_waiting_one_can_be_approved() {
    let mut order = order(vec![used(bought(1, 100)), bought(2, 200)]);
    let auto_reject = RefundPolicy { auto_reject: true, ..OVERVIEW };
    assert_eq!(told(ask(&order, None, auto_reject)), "rejected");
    for status in OrderStatus::ALL {
        assert_eq!(OrderStatus::parse(status.as_str()), Some(status));
        order.status = status;
        let approved = approve(&order, OVERVIEW, NOTHING_WAITS, NOW).map_err(|refusal| refusal.code());
        let expected = if status == OrderStatus::PendingReview { Ok(200) } else { Err("not_pending") };
        assert_eq!(approved.map(|refund| refund.amount.0), expected);
    }
    order.status = OrderStatus::PendingReview;
    order.plans[1] = expired(order.plans[1].clone());
    assert_eq!(approve(&order, OVERVIEW, NOTHING_WAITS, NOW).unwrap_err().code(), "plan_used");
}

#[test]
fn an_approved_request_ends_every_plan() {
    let mut order = order(vec![used(bought(1, 106)), bought(2, 212), refunded(bought(3, 318))]);
    order.status = OrderStatus::PendingReview;
    order.refunds = 1;
    let refund = approve(&order, OVERVIEW, NOTHING_WAITS, NOW).unwrap();
    let plans: Vec<_> = refund.plans.iter().map(|plan| (plan.plan_no, plan.units, plan.cash)).collect();
    assert_eq!(plans, [(1, 6, None), (2, 10, Some(Micros(212)))]);
    assert_eq!((refund.refund_no, refund.status), (2, OrderStatus::Refunded));
    let posted: Vec<_> = refund
        .entry
        .postings
        .iter()
        .map(|((ledger, commodity), amount)| format!("{ledger}:{} {amount} {commodity}", ledger.plan_no()))
        .collect();
    let expected = [
        "Liabilities:Customer:Balance:0 -212 CNY",
        "Liabilities:Contract:Plan:1 60 CNY",
        "Liabilities:Contract:Plan:2 200 CNY",
        "Liabilities:VAT:Pending:0 12 CNY",
        "Income:Breakage:0 -60 CNY",
        "Quota:Plan:1 -6 SMSD",
        "Quota:Plan:2 -10 SMSD",
        "Equity:Quota:Issued:0 10 SMSD",
        "Equity:Quota:Expired:0 6 SMSD",
    ];
    assert_eq!(posted, expected);
    assert_eq!(refund.entry.cause.to_string(), "refund:1:2");
}

#[test]
fn a_plan_that_paid_once_is_used_unless_that_is_switched_off() {
    let mut back = used(bought(1, 106));
    back.plan.take_back(4, Micros(25));
    let order = order(vec![back]);
    assert_eq!(told(ask(&order, None, OVERVIEW)), "plan_used");
    let off = RefundPolicy { used_once_is_used: false, ..OVERVIEW };
    let refund = given(ask(&order, None, off));
    // 4 of 10 units were worth 40 and came back as 25: the plan owes 85, and 100 go back without VAT.
    let posted = |ledger| refund.entry.postings.get(&(ledger, "CNY".into())).copied();
    assert_eq!(posted(Ledger::ContractPlan(1)), Some(85));
    assert_eq!(posted(Ledger::RefundDifference), Some(15));
    assert_eq!((posted(Ledger::VatPending), posted(Ledger::Balance)), (Some(6), Some(-106)));
}

#[test]
fn money_that_is_due_is_paid_by_a_refund_first() {
    let mut order = order(vec![bought(1, 100)]);
    order.funds.due = Micros(30);
    order.penalties = Micros(25);
    let refund = given(ask(&order, None, OVERVIEW));
    assert_eq!((refund.cash, refund.kept, refund.amount), (Micros(100), Micros(25), Micros(75)));
    assert_eq!((refund.funds.due, refund.funds.balance), (Micros(0), Micros(45)));
    let posted = |ledger| refund.entry.postings.get(&(ledger, "CNY".into())).copied();
    assert_eq!((posted(Ledger::Receivable), posted(Ledger::Balance)), (Some(-30), Some(-45)));
    assert_eq!(posted(Ledger::Penalty), Some(-25));
}

proptest! {
    /// Whatever is given back first, plan by plan and then the rest at once: the sum is the same, and
    /// never more than was paid; penalties keep what they claim as far as it goes.
    #[test]
    fn single_refunds_and_then_the_rest_come_to_the_same(
        cash in prop::collection::vec(0..1_000_000_000i64, 1..8),
        singles in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        penalties in 0..3_000_000_000i64,
        due in 0..1_000_000i64,
    ) {
        let plans = (1..).zip(&cash).map(|(no, cash)| bought(no, *cash)).collect();
        let mut order = Sold { penalties: Micros(penalties), ..order(plans) };
        order.funds.due = Micros(due);
        let paid: i64 = cash.iter().sum();
        prop_assert_eq!(refundable(&order, OVERVIEW, NOW).0, paid - paid.min(penalties));
        let at_once = given(ask(&order, None, OVERVIEW));
        let (mut amount, mut kept) = (0, 0);
        let plan_ids = singles.iter().map(|index| format!("acme-p{}", index.index(cash.len()) + 1));
        for plan in plan_ids.map(Some).chain([None]) {
            match ask(&order, plan.as_deref(), OVERVIEW) {
                Ok(Answer::Refunded(refund)) => {
                    (amount, kept) = (amount + refund.amount.0, kept + refund.kept.0);
                    prop_assert!(amount + kept <= paid);
                    order = after(order, &refund);
                }
                answer => prop_assert_eq!(told(answer), "already_refunded"),
            }
        }
        prop_assert_eq!(order.status, OrderStatus::Refunded);
        prop_assert_eq!((amount, kept), (at_once.amount.0, at_once.kept.0));
        prop_assert_eq!(order.funds, at_once.funds);
        prop_assert_eq!(amount, paid - paid.min(penalties));
    }
}
