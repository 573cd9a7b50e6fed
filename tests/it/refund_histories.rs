//! Random histories of orders, coupons, use and refunds, against a naive reckoning of D6, D7, D63 and
//! D83: each order and request is answered as the reckoning says, equally on both databases, and the
//! invariants of the books hold after every step.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use quittance::domain::money::Micros;
use quittance::scenario;

use crate::support::databases::{postgres, sqlite};

const HISTORIES: u32 = 16;
/// Packages: price in micro-units, days of validity, and the coupon that comes with a plan.
const PACKAGES: [(&str, i64, i64, i64); 2] =
    [("month", 10_000_001, 30, 1_000_000), ("year", 29_990_000, 400, 0)];
/// Units of a plan.
const SIZE: i64 = 10;

#[derive(Clone, Debug)]
enum Step {
    Days(i64),
    Coupon(i64),
    /// How many of each package, and whether with the best coupon.
    Buy([i64; 2], bool),
    Use(i64),
    /// The order, and the place of a plan in it: of those that there are.
    Refund(usize, Option<usize>),
    /// Of the orders whose refund waits, where any does.
    Grant(usize),
    Decline(usize),
    Faq(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (1..25i64).prop_map(Step::Days),
        1 => (1..9_000_000i64).prop_map(Step::Coupon),
        4 => ([0..3i64, 0..3i64], any::<bool>()).prop_map(|(count, coupon)| Step::Buy(count, coupon)),
        3 => (1..25i64).prop_map(Step::Use),
        5 => (0..60usize, prop::option::of(0..60usize)).prop_map(|(order, plan)| Step::Refund(order, plan)),
        2 => (0..60usize).prop_map(Step::Grant),
        1 => (0..60usize).prop_map(Step::Decline),
        1 => any::<bool>().prop_map(Step::Faq),
    ]
}

struct Plan {
    price: i64,
    cash: i64,
    left: i64,
    ends: i64,
    used: bool,
    refunded: bool,
}

#[derive(Clone)]
struct Coupon {
    left: i64,
    ends: Option<i64>,
    gift_of: Option<usize>,
    voided: bool,
}

struct Order {
    status: &'static str,
    plans: Vec<usize>,
    refunded: i64,
}

/// A simple account, and the script that it writes of what is asked and answered.
#[derive(Default)]
struct Reckoning {
    day: i64,
    faq: bool,
    balance: i64,
    payg: i64,
    messages: i64,
    plans: Vec<Plan>,
    orders: Vec<Order>,
    coupons: Vec<Coupon>,
    script: String,
    answers: Vec<String>,
}

fn money(amount: i64) -> String {
    Micros(amount).for_people()
}

/// The largest remainders, one micro-unit after the other.
fn shares(pays: i64, prices: &[i64]) -> Vec<i64> {
    let total: i128 = prices.iter().map(|price| i128::from(*price)).sum();
    let exact: Vec<i128> = prices.iter().map(|price| i128::from(pays) * i128::from(*price)).collect();
    let mut shares: Vec<i64> = exact.iter().map(|share| (share / total) as i64).collect();
    let mut raised = vec![false; prices.len()];
    while shares.iter().sum::<i64>() < pays {
        let mut next = None;
        for index in 0..prices.len() {
            if !raised[index] && next.is_none_or(|best: usize| exact[index] % total > exact[best] % total) {
                next = Some(index);
            }
        }
        let index = next.expect("fewer are left over than there are plans");
        (shares[index], raised[index]) = (shares[index] + 1, true);
    }
    shares
}

impl Reckoning {
    fn say(&mut self, command: String, answer: Result<String, &str>) {
        let refused = if answer.is_err() { "!" } else { "" };
        self.script += &format!("{refused}{command}\n---\n\n");
        self.answers.push(answer.unwrap_or_else(|code| format!("Error: {code}")));
    }

    fn play(&mut self, steps: &[Step]) {
        for (name, price, days, gift) in PACKAGES {
            let gift = if gift > 0 { format!(" gift-coupon={}", Micros(gift)) } else { String::new() };
            let price = Micros(price);
            self.script +=
                &format!("package {name} size={SIZE} price={price} validity=\"{days} days\"{gift}\n");
        }
        self.balance = 10_000_000_000;
        self.script += "account acme balance=10000\n---\n\n";
        for step in steps {
            self.script += &format!("at {}\n", self.now());
            match step {
                Step::Days(days) => self.day += days,
                Step::Coupon(amount) => {
                    self.script += &format!("coupon acme {}\n", Micros(*amount));
                    self.coupons.push(Coupon { left: *amount, ends: None, gift_of: None, voided: false });
                }
                Step::Buy(counts, coupon) => self.buy(counts, *coupon),
                Step::Use(units) => self.use_up(*units),
                Step::Refund(..) | Step::Grant(_) | Step::Decline(_) if self.orders.is_empty() => {}
                Step::Refund(order, plan) => self.refund(*order, *plan),
                Step::Grant(order) => self.grant(self.waiting(*order)),
                Step::Decline(order) => self.decline(self.waiting(*order)),
                Step::Faq(faq) => {
                    self.faq = *faq;
                    self.script += if *faq { "policy faq\n" } else { "policy overview\n" };
                }
            }
        }
        let (balance, unbilled) = (self.balance, self.payg * 45_000);
        let available = money(balance - unbilled);
        let account = format!("acme  active  balance {}", money(balance));
        let account = format!("{account}  unbilled {}  available {available}", money(unbilled));
        self.say("show account acme".into(), Ok(account));
    }

    fn now(&self) -> String {
        let start = chrono::NaiveDate::from_ymd_opt(2026, 3, 1).expect("a day");
        format!("\"{} 09:00\"", start + chrono::TimeDelta::days(self.day))
    }

    fn buy(&mut self, counts: &[i64; 2], with_coupon: bool) {
        let bought: Vec<usize> =
            (0..2).flat_map(|package| (0..counts[package]).map(move |_| package)).collect();
        if bought.is_empty() {
            return;
        }
        let named = (0..2).filter(|package| counts[*package] > 0);
        let named: Vec<_> = named.map(|p| format!("\"{}*{}\"", PACKAGES[p].0, counts[p])).collect();
        let command = format!("order acme {}", named.join(" "));
        let prices: Vec<i64> = bought.iter().map(|package| PACKAGES[*package].1).collect();
        let total: i64 = prices.iter().sum();
        let mut best: Option<usize> = None;
        for (index, coupon) in self.coupons.iter().enumerate() {
            let usable = coupon.left > 0 && !coupon.voided && coupon.ends.is_none_or(|end| self.day < end);
            let end = |coupon: &Coupon| coupon.ends.unwrap_or(i64::MAX);
            let better = best.is_none_or(|best| {
                let best = &self.coupons[best];
                coupon.left > best.left || coupon.left == best.left && end(coupon) < end(best)
            });
            if usable && better {
                best = Some(index);
            }
        }
        let order = format!("acme-o{}", self.orders.len() + 1);
        let pays = match best {
            _ if !with_coupon => 0,
            None => return self.say(format!("{command} coupon=best"), Err("coupon_not_applicable")),
            Some(best) => self.coupons[best].left.min(total),
        };
        let mut answer = format!("{order}  paid {}", money(total - pays));
        if let Some(best) = best.filter(|_| with_coupon) {
            self.coupons[best].left -= pays;
            answer += &format!("  {} by acme-c{}", money(pays), best + 1);
        }
        let first = self.plans.len();
        for (package, share) in bought.iter().zip(shares(pays, &prices)) {
            let (_, price, days, gift) = PACKAGES[*package];
            if gift > 0 {
                let (ends, gift_of) = (Some(self.day + days), Some(self.plans.len()));
                self.coupons.push(Coupon { left: gift, ends, gift_of, voided: false });
            }
            let (cash, ends) = (price - share, self.day + days);
            self.plans.push(Plan { price, cash, left: SIZE, ends, used: false, refunded: false });
        }
        self.balance -= total - pays;
        self.orders.push(Order { status: "paid", plans: (first..self.plans.len()).collect(), refunded: 0 });
        let with = if with_coupon { " coupon=best" } else { "" };
        self.say(format!("{command}{with}"), Ok(answer));
    }

    /// The plan that ends first pays first, of equal ends the older (D8).
    fn use_up(&mut self, mut units: i64) {
        self.messages += 1;
        let id = self.messages;
        self.script += &format!("message m{id} from=acme to=CN type=verification units={units}\n");
        self.script += "run aggregate-charges\n";
        let mut order: Vec<usize> = (0..self.plans.len()).collect();
        order.sort_by_key(|index| (self.plans[*index].ends, *index));
        for index in order {
            let plan = &mut self.plans[index];
            let drawn = if self.day < plan.ends { units.min(plan.left) } else { 0 };
            plan.used |= drawn > 0;
            plan.left -= drawn;
            units -= drawn;
        }
        self.payg += units;
    }

    fn is_unused(&self, plan: usize) -> bool {
        let plan = &self.plans[plan];
        !plan.refunded && !plan.used && self.day < plan.ends
    }

    /// One of the orders whose refund waits; where none does, any.
    fn waiting(&self, of: usize) -> usize {
        let all = 0..self.orders.len();
        let waiting: Vec<usize> = all.filter(|n| self.orders[*n].status == "pending review").collect();
        match waiting.len() {
            0 => of % (self.orders.len() + 1),
            some => waiting[of % some],
        }
    }

    fn refund(&mut self, of: usize, place: Option<usize>) {
        let number = of % self.orders.len().max(1);
        let Some(order) = self.orders.get(number) else {
            return self.say(format!("refund acme-o{}", number + 1), Err("unknown_order"));
        };
        let mut command = format!("refund acme-o{}", number + 1);
        let plans = order.plans.clone();
        let asked: Vec<usize> = match place {
            None => plans.iter().copied().filter(|plan| !self.plans[*plan].refunded).collect(),
            Some(place) => {
                let plan = plans.get(place % (plans.len() + 1)).copied().unwrap_or(self.plans.len());
                command += &format!(" plan=acme-p{}", plan + 1);
                if !plans.contains(&plan) {
                    return self.say(command, Err("unknown_plan"));
                }
                if self.plans[plan].refunded {
                    return self.say(command, Err("already_refunded"));
                }
                if self.faq && plans.len() > 1 {
                    return self.say(command, Err("whole_order_only"));
                }
                vec![plan]
            }
        };
        if asked.is_empty() {
            return self.say(command, Err("already_refunded"));
        }
        let spent = |plan: &usize| !self.plans[*plan].refunded && !self.is_unused(*plan);
        if plans.iter().all(spent) {
            let used = asked.iter().any(|plan| self.plans[*plan].used);
            return self.say(command, Err(if used { "plan_used" } else { "plan_expired" }));
        }
        match (plans.iter().any(spent), place) {
            (true, Some(_)) => return self.say(command, Err("order_has_used_plan")),
            (true, None) => self.orders[number].status = "pending review",
            (false, _) => self.give_back(number, &asked),
        }
        let answer = self.shown(number);
        self.say(command, Ok(answer));
    }

    fn grant(&mut self, number: usize) {
        let command = format!("grant acme-o{}", number + 1);
        let Some(order) = self.orders.get(number) else { return self.say(command, Err("unknown_order")) };
        if order.status != "pending review" {
            return self.say(command, Err("not_pending"));
        }
        let open: Vec<usize> =
            order.plans.iter().copied().filter(|plan| !self.plans[*plan].refunded).collect();
        if !open.iter().any(|plan| self.is_unused(*plan)) {
            let used = open.iter().any(|plan| self.plans[*plan].used);
            return self.say(command, Err(if used { "plan_used" } else { "plan_expired" }));
        }
        self.give_back(number, &open);
        let answer = self.shown(number);
        self.say(command, Ok(answer));
    }

    fn decline(&mut self, number: usize) {
        let command = format!("decline acme-o{}", number + 1);
        match self.orders.get_mut(number) {
            None => return self.say(command, Err("unknown_order")),
            Some(order) if order.status != "pending review" => return self.say(command, Err("not_pending")),
            Some(order) => order.status = "rejected",
        }
        let answer = self.shown(number);
        self.say(command, Ok(answer));
    }

    fn give_back(&mut self, number: usize, plans: &[usize]) {
        for &index in plans {
            let cash = if self.is_unused(index) { self.plans[index].cash } else { 0 };
            (self.plans[index].refunded, self.plans[index].left) = (true, 0);
            self.balance += cash;
            self.orders[number].refunded += cash;
            self.coupons.iter_mut().filter(|c| c.gift_of == Some(index)).for_each(|c| c.voided = true);
        }
        let all = self.orders[number].plans.iter().all(|plan| self.plans[*plan].refunded);
        self.orders[number].status = if all { "refunded" } else { "partly refunded" };
    }

    fn shown(&self, number: usize) -> String {
        let order = &self.orders[number];
        let paid: i64 = order.plans.iter().map(|plan| self.plans[*plan].cash).sum();
        assert!(
            order.plans.iter().all(|plan| (0..=self.plans[*plan].price).contains(&self.plans[*plan].cash))
        );
        let unused = order.plans.iter().filter(|plan| self.is_unused(**plan));
        let refundable: i64 = unused.map(|plan| self.plans[*plan].cash).sum();
        let sums = format!("paid {}  refunded {}", money(paid), money(order.refunded));
        format!("acme-o{}  {}  {sums}  refundable {}", number + 1, order.status, money(refundable))
    }
}

/// The answers to orders and requests, refusals by their name, and the account at the end.
fn answers(said: &str) -> Vec<String> {
    let mut answers = Vec::new();
    for block in said.split("\n\n") {
        let told = block.split_once("\n---\n").map_or("", |(_, told)| told);
        let told = told.lines().filter(|line| {
            line.starts_with("acme-o") || line.starts_with("Error: ") || line.starts_with("acme  active")
        });
        answers.extend(told.map(|line| match line.strip_prefix("Error: ") {
            Some(error) => format!("Error: {}", error.split(':').next().unwrap_or(error)),
            None => line.to_owned(),
        }));
    }
    answers
}

#[test]
fn refunds_are_those_of_a_naive_reckoning_and_equal_on_both_databases() {
    let config =
        Config { cases: HISTORIES, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let histories = prop::collection::vec(step(), 20..60);
    let checked = runner.run(&histories, |steps| {
        let mut reckoning = Reckoning::default();
        reckoning.play(&steps);
        let fail = |what: String| TestCaseError::fail(format!("{what}\n{}", reckoning.script));
        let here = scenario::run(&reckoning.script, &sqlite().url).map_err(fail)?;
        prop_assert_eq!(&answers(&here), &reckoning.answers, "{}", here);
        if let Some(database) = postgres() {
            let there = scenario::run(&reckoning.script, &database.url).map_err(fail)?;
            prop_assert_eq!(here, there);
        }
        Ok(())
    });
    if let Err(fault) = checked {
        panic!("{fault}");
    }
}
