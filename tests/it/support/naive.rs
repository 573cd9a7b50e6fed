//! A second reckoning, as simple as can be: each message unit by unit, from the rules, with nothing
//! of the product's own arithmetic. Slow, and easy to believe.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{ACCOUNTS, CLASSES, Message, PACKAGES, Size, Step};

const DAY: i128 = 86_400_000_000;
/// 2026-03-01T00:00:00+08:00.
const MARCH: i128 = 1_772_294_400_000_000;

#[derive(Clone, Debug)]
struct Plan {
    package: usize,
    remaining: i128,
    from: i128,
    until: i128,
}

#[derive(Clone, Debug, Default)]
struct Account {
    balance: i128,
    unbilled: i128,
    suspended: bool,
    plans: Vec<Plan>,
    /// Pay-as-you-go units by month, product and class of prices.
    tiers: BTreeMap<(i128, &'static str, &'static str), i128>,
}

/// The books by the naive reckoning, in the words of `Books::told`.
pub fn reckon(steps: &[Step]) -> Vec<String> {
    let mut accounts = vec![Account::default(); ACCOUNTS.len() - 1];
    let mut known = BTreeSet::new();
    let mut waiting: Vec<Message> = Vec::new();
    for step in steps {
        match step {
            Step::TopUp { account, amount, .. } => {
                let account = &mut accounts[*account];
                account.balance += i128::from(*amount) * 1_000_000;
                account.settle_status();
            }
            Step::Order { account, package, at } => accounts[*account].buy(*package, at.0.into()),
            Step::File { messages, .. } => {
                for message in messages {
                    if known.insert((message.account, message.id.clone())) {
                        waiting.push(message.clone());
                    }
                }
            }
            Step::Run { .. } => waiting = run(&mut accounts, waiting),
        }
    }
    told(&accounts, &waiting)
}

/// Charges what can be charged and gives back what waits on.
fn run(accounts: &mut [Account], waiting: Vec<Message>) -> Vec<Message> {
    // By window, and inside a window as they came.
    let mut sorted = waiting.clone();
    sorted.sort_by_key(|message| message.at.0.div_euclid(300_000_000));
    let locked: Vec<bool> = accounts.iter().map(|account| account.suspended).collect();
    let mut charged = BTreeSet::new();
    for message in &sorted {
        let Some(account) = accounts.get_mut(message.account) else { continue };
        let (channel, _, template_type) = CLASSES[message.class];
        let may_send = match ACCOUNTS[message.account] {
            "ann" => template_type != "promotional" && channel != "email",
            "bob" => channel != "email",
            _ => true,
        };
        let Some(units) = units(message).filter(|_| may_send) else { continue };
        let mut tried = account.clone();
        if (0..units).all(|_| tried.charge_unit(message, !locked[message.account])) {
            *account = tried;
            charged.insert((message.account, message.id.clone()));
        }
    }
    accounts.iter_mut().for_each(Account::settle_status);
    let waits = |message: &Message| !charged.contains(&(message.account, message.id.clone()));
    waiting.into_iter().filter(waits).collect()
}

/// 70 characters are one message, more are cut into pieces of 67; over 500 nothing is sent. An
/// e-mail is an e-mail.
fn units(message: &Message) -> Option<i128> {
    match message.size {
        _ if CLASSES[message.class].0 == "email" => Some(1),
        Size::Units(units) => Some(units.into()),
        Size::Characters(count) if count > 500 => None,
        Size::Characters(count) if count <= 70 => Some(1),
        Size::Characters(count) => Some(count.div_ceil(67) as i128),
    }
}

fn product(class: usize) -> &'static str {
    match CLASSES[class] {
        ("email", ..) => "direct-mail",
        (_, "CN", _) => "sms-domestic",
        _ => "sms-international",
    }
}

impl Account {
    /// One unit of a message: from the plan that ends first, else at the price of its place in the
    /// month. False where nobody pays.
    fn charge_unit(&mut self, message: &Message, plans_pay: bool) -> bool {
        let at = i128::from(message.at.0);
        let product = product(message.class);
        let covers = |plan: &&mut Plan| {
            plan.remaining > 0
                && plan.from <= at
                && at < plan.until
                && product
                    == if PACKAGES[plan.package] == "abroad" { "sms-international" } else { "sms-domestic" }
        };
        if let Some(plan) = self.plans.iter_mut().filter(covers).min_by_key(|plan| (plan.until, plan.from))
            && plans_pay
        {
            plan.remaining -= 1;
            return true;
        }
        let (_, country, template_type) = CLASSES[message.class];
        let month = if at < MARCH { 202_602 } else { 202_603 };
        let class = match product {
            "sms-domestic" => template_type,
            "sms-international" => country,
            _ => "",
        };
        let position = self.tiers.entry((month, product, class)).or_default();
        let price = match (product, class, *position) {
            ("sms-domestic", "verification" | "notification", 0..50) => 45_000,
            ("sms-domestic", "verification" | "notification", 50..200) => 40_000,
            ("sms-domestic", "verification" | "notification", _) => 36_000,
            ("sms-domestic", "promotional", 0..40) => 55_000,
            ("sms-domestic", "promotional", _) => 50_000,
            ("sms-international", "HK", _) if at < MARCH => 400_000,
            ("sms-international", "HK", _) => 500_000,
            ("direct-mail", ..) => 2_000,
            _ => return false,
        };
        *position += 1;
        self.unbilled += price;
        true
    }

    fn buy(&mut self, package: usize, at: i128) {
        let (price, size, days) = [(1_000_000, 25, 1), (2_500_000, 60, 3), (3_000_000, 10, 180)][package];
        let available = self.balance - self.unbilled;
        if self.suspended || available <= 0 || available < price {
            return;
        }
        self.balance -= price;
        self.plans.push(Plan { package, remaining: size, from: at, until: at + days * DAY });
    }

    /// Overdue below zero; cleared only above it.
    fn settle_status(&mut self) {
        let available = self.balance - self.unbilled;
        self.suspended = available < 0 || (self.suspended && available == 0);
    }
}

fn told(accounts: &[Account], waiting: &[Message]) -> Vec<String> {
    let mut told = Vec::new();
    for (id, account) in ACCOUNTS.iter().zip(accounts) {
        let status = if account.suspended { "suspended" } else { "active" };
        told.push(format!("account {id} {status} balance {} unbilled {}", account.balance, account.unbilled));
        for (n, plan) in (1..).zip(&account.plans) {
            told.push(format!("plan {id}-p{n} {} {}", PACKAGES[plan.package], plan.remaining));
        }
        for ((month, product, class), units) in account.tiers.iter().filter(|(_, units)| **units > 0) {
            told.push(format!("tier {id} {month} {product} {class} {units}"));
        }
    }
    told.extend(waiting.iter().map(|message| format!("waits {} {}", ACCOUNTS[message.account], message.id)));
    told.sort();
    told
}
