//! A second reckoning, as simple as can be: each message unit by unit, from the rules, with nothing
//! of the product's own arithmetic. Slow, and easy to believe.

use std::collections::{BTreeMap, BTreeSet};

use quittance::domain::product::ReturnOrder;

use super::history::{ACCOUNTS, CLASSES, Message, PACKAGES, Receipt, Size, Step};

const HOUR: i128 = 3_600_000_000;
const DAY: i128 = 24 * HOUR;
const WINDOW: i128 = 300_000_000;
/// 2026-03-01T00:00:00+08:00.
const MARCH: i128 = 1_772_294_400_000_000;

#[derive(Clone, Debug)]
struct Plan {
    package: usize,
    remaining: i128,
    from: i128,
    until: i128,
    /// The run that drew it last.
    drawn: Option<i128>,
    forfeited: i128,
}

#[derive(Clone, Debug, Default)]
struct Account {
    balance: i128,
    unbilled: i128,
    suspended: bool,
    plans: Vec<Plan>,
    /// Pay-as-you-go units by month, product and class of prices.
    tiers: BTreeMap<(i128, &'static str, &'static str), i128>,
    /// E-mails that were free, by day.
    free: BTreeMap<i128, i128>,
}

/// A unit that was charged: the number of the plan that paid, and what pay-as-you-go would ask.
#[derive(Clone, Debug)]
struct Unit {
    plan: Option<usize>,
    price: Option<i128>,
    given_back: bool,
}

/// A message that came in.
#[derive(Clone, Debug)]
struct Sent {
    message: Message,
    /// The units that were charged, by part; none yet, or none at all where it failed before.
    charged: BTreeMap<i64, Unit>,
    waits: bool,
    /// No run has looked at it yet.
    is_new: bool,
    is_final: bool,
}

/// A failure that decides over a message, or a part of it; or a receipt that may.
#[derive(Clone, Debug)]
struct Failure {
    receipt: Receipt,
    received: i128,
    /// How many came before it.
    arrival: usize,
    answer: Option<&'static str>,
}

#[derive(Default)]
struct Books {
    accounts: Vec<Account>,
    /// What failed goes back to who paid for it, or becomes money.
    to_source: bool,
    /// In order of arrival.
    sent: Vec<Sent>,
    failures: Vec<Failure>,
    /// Final receipts of messages that have not come.
    early: Vec<Failure>,
    /// Messages with a final receipt, and its part; 0 for the whole.
    decided: BTreeMap<(usize, String, i64), Receipt>,
    /// Units and money that went back, by account, message, part and whither.
    back: BTreeMap<(usize, String, i64, String), (i128, i128)>,
    /// Receipts that came.
    arrived: usize,
    run: i128,
    /// When charging and settling were run last.
    charged_at: i128,
    settled_at: i128,
}

/// The books by the naive reckoning, in the words of `Books::told`.
pub fn reckon(steps: &[Step]) -> Vec<String> {
    reckon_with(steps, ReturnOrder::Literal)
}

/// With another order in which what failed goes back.
pub fn reckon_with(steps: &[Step], order: ReturnOrder) -> Vec<String> {
    let to_source = order == ReturnOrder::SameSource;
    let accounts = vec![Account::default(); ACCOUNTS.len() - 1];
    let mut books = Books { accounts, to_source, ..Books::default() };
    for step in steps {
        match step {
            Step::TopUp { account, amount, .. } => {
                let account = &mut books.accounts[*account];
                account.balance += i128::from(*amount) * 1_000_000;
                account.settle_status();
            }
            Step::Order { account, package, at } => books.accounts[*account].buy(*package, at.0.into()),
            Step::File { messages, .. } => messages.iter().for_each(|message| books.take(message)),
            Step::Receipts { receipts, at } => {
                receipts.iter().for_each(|receipt| books.take_receipt(receipt, at.0.into()));
            }
            Step::Run { at } => books.charge(at.0.into()),
            Step::Settle { at } => books.settle(at.0.into()),
            Step::Expire { at } => books.expire(at.0.into()),
            Step::Bill { .. } | Step::Keep { .. } => unimplemented!("no history bills and is reckoned"),
        }
    }
    books.told()
}

impl Books {
    fn take(&mut self, message: &Message) {
        let is_same =
            |sent: &Sent| (sent.message.account, &sent.message.id) == (message.account, &message.id);
        if !self.sent.iter().any(is_same) {
            self.sent.push(Sent {
                message: message.clone(),
                charged: BTreeMap::new(),
                waits: true,
                is_new: true,
                is_final: false,
            });
            self.decide_again(message);
        }
    }

    /// Which receipt was in time is known by the message: all that came before it are looked at again. What was
    /// listed for an operator stays with him.
    fn decide_again(&mut self, message: &Message) {
        let of = |failure: &Failure| {
            (failure.receipt.account, &failure.receipt.id) == (message.account, &message.id)
        };
        let early: Vec<Failure> = self.early.iter().filter(|early| of(early)).cloned().collect();
        let known: Vec<Failure> = self.failures.iter().filter(|failure| of(failure)).cloned().collect();
        self.early.retain(|early| !of(early));
        self.failures.retain(|failure| !of(failure));
        self.decided.retain(|(account, id, _), _| (*account, id) != (message.account, &message.id));
        early.into_iter().for_each(|early| self.decide(early));
        for failure in &mut self.failures {
            let before = known.iter().find(|known| known.arrival == failure.arrival);
            failure.answer = failure.answer.or(before.and_then(|known| known.answer));
        }
        self.failures.sort_by_key(|failure| failure.arrival);
    }

    fn take_receipt(&mut self, receipt: &Receipt, received: i128) {
        self.arrived += 1;
        if !["delivered", "failed", "expired", "rejected"].contains(&receipt.status) {
            return;
        }
        let came = Failure { receipt: receipt.clone(), received, arrival: self.arrived, answer: None };
        if self.after(&came).is_none() {
            self.early.push(came.clone());
        }
        self.decide(came);
    }

    /// The first final receipt of a message decides; of a message in parts, the first of each part. A
    /// source that told of parts can't tell of the whole, nor the other way round. One that was reported after
    /// 72 hours gives way to one in time that tells otherwise, or that it failed before.
    fn decide(&mut self, came: Failure) {
        let receipt = &came.receipt;
        let part = receipt.part.map_or(0, |(part, _)| part);
        let other_way = |other: &(usize, String, i64)| {
            (other.0, &other.1) == (receipt.account, &receipt.id) && (other.2 == 0) != (part == 0)
        };
        let counts = self.after(&came).is_some_and(|(told, came)| told <= 72 * HOUR && came <= 96 * HOUR);
        let sent = self.sent_at(receipt);
        let late = |of: &Receipt| sent.is_some_and(|at| i128::from(of.reported.0) - at > 72 * HOUR);
        self.decided.retain(|key, holder| !(counts && other_way(key) && late(holder)));
        let key = (receipt.account, receipt.id.clone(), part);
        let stays =
            self.decided.get(&key).is_some_and(|holder| !self.gives_way(holder, receipt, came.received));
        if self.decided.keys().any(other_way) || stays {
            return;
        }
        self.decided.insert(key, receipt.clone());
        if receipt.status != "delivered" {
            let part = |of: &Receipt| of.part.map_or(0, |(part, _)| part);
            let same = |of: &Receipt| {
                (of.account, &of.id, part(of)) == (receipt.account, &receipt.id, part(receipt))
            };
            self.failures.retain(|failure| !same(&failure.receipt));
            self.failures.push(came);
        }
    }

    /// When the message of a receipt was sent.
    fn sent_at(&self, receipt: &Receipt) -> Option<i128> {
        let same = |sent: &&Sent| (sent.message.account, &sent.message.id) == (receipt.account, &receipt.id);
        self.sent.iter().find(same).map(|sent| sent.message.at.0.into())
    }

    /// How long after its message a receipt was reported, and came.
    fn after(&self, came: &Failure) -> Option<(i128, i128)> {
        let at = self.sent_at(&came.receipt)?;
        Some((i128::from(came.receipt.reported.0) - at, came.received - at))
    }

    /// Whether a receipt that decided has to give way to another.
    fn gives_way(&self, holder: &Receipt, rival: &Receipt, received: i128) -> bool {
        let Some(at) = self.sent_at(rival) else { return false };
        let in_time = |of: &Receipt| i128::from(of.reported.0) - at <= 72 * HOUR;
        let otherwise = (holder.status == "delivered") != (rival.status == "delivered");
        let before = rival.status != "delivered" && rival.reported < holder.reported;
        !in_time(holder) && in_time(rival) && received - at <= 96 * HOUR && (otherwise || before)
    }

    /// Charges what can be charged; the rest waits on.
    fn charge(&mut self, now: i128) {
        self.run += 1;
        self.charged_at = now;
        self.sent.iter_mut().for_each(|sent| sent.is_new = false);
        let locked: Vec<bool> = self.accounts.iter().map(|account| account.suspended).collect();
        let mut waiting: Vec<usize> = (0..self.sent.len()).filter(|&n| self.sent[n].waits).collect();
        // By window, and inside a window as they came.
        waiting.sort_by_key(|&n| self.sent[n].message.at.0.div_euclid(WINDOW as i64));
        for n in waiting {
            let message = self.sent[n].message.clone();
            let failed: Vec<usize> = self.known_failures(&message);
            let whole = failed.iter().any(|&f| self.failures[f].receipt.part.is_none());
            let parts: BTreeSet<i64> =
                failed.iter().filter_map(|&f| self.failures[f].receipt.part.map(|part| part.0)).collect();
            let free = whole || units(&message).is_some_and(|units| units == parts.len() as i128);
            if free || self.charge_message(n, &parts, &locked) {
                self.sent[n].waits = false;
                failed.into_iter().for_each(|f| self.failures[f].answer = Some("not_charged"));
            }
        }
        self.accounts.iter_mut().for_each(Account::settle_status);
    }

    /// Failures that say in time that a message, or parts of it, need not be charged.
    fn known_failures(&self, message: &Message) -> Vec<usize> {
        let counts = |failure: &Failure| {
            let receipt = &failure.receipt;
            failure.answer.is_none()
                && (receipt.account, &receipt.id) == (message.account, &message.id)
                && product(message.class) == "sms-domestic"
                && i128::from(receipt.reported.0 - message.at.0) <= 72 * HOUR
                && failure.received - i128::from(message.at.0) <= 96 * HOUR
                && receipt.part.is_none_or(|(_, of)| Some(i128::from(of)) == units(message))
        };
        (0..self.failures.len()).filter(|&f| counts(&self.failures[f])).collect()
    }

    /// Charges a message but for some parts. False where nobody pays for all of it.
    fn charge_message(&mut self, n: usize, left_out: &BTreeSet<i64>, locked: &[bool]) -> bool {
        let Sent { message, charged, .. } = &mut self.sent[n];
        let Some(account) = self.accounts.get_mut(message.account) else { return false };
        let (channel, country, template_type) = CLASSES[message.class];
        let may_send = match ACCOUNTS[message.account] {
            "ann" => (template_type != "promotional" || country != "CN") && channel != "email",
            "bob" => channel != "email",
            _ => true,
        };
        let Some(units) = units(message).filter(|_| may_send) else { return false };
        let mut tried = account.clone();
        let parts = (1..=units as i64).filter(|part| !left_out.contains(part));
        let plans_pay = !locked[message.account];
        let paid = parts.map(|part| Some((part, tried.charge_unit(message, plans_pay, self.run)?)));
        let Some(paid) = paid.collect::<Option<BTreeMap<_, _>>>() else { return false };
        (*account, *charged) = (tried, paid);
        true
    }

    /// Gives back what failed, in order of arrival, and makes final what is old enough.
    fn settle(&mut self, now: i128) {
        self.settled_at = now;
        for f in 0..self.failures.len() {
            if self.failures[f].answer.is_none() {
                self.failures[f].answer = self.answer(f, now);
            }
        }
        self.accounts.iter_mut().for_each(Account::settle_status);
        for sent in self.sent.iter_mut().filter(|sent| !sent.waits) {
            let window = i128::from(sent.message.at.0).div_euclid(WINDOW) * WINDOW;
            sent.is_final |= window + WINDOW + 96 * HOUR <= now;
        }
    }

    /// Ends the plans whose time is over and that no message and no failure from before needs any more.
    fn expire(&mut self, now: i128) {
        for account in 0..self.accounts.len() {
            for plan in 0..self.accounts[account].plans.len() {
                let until = self.accounts[account].plans[plan].until;
                let sent_before = |sent: &Sent| sent.is_new && i128::from(sent.message.at.0) < until;
                let charged = self.charged_at >= until && !self.sent.iter().any(sent_before);
                let open = |failure: &Failure| {
                    let receipt = &failure.receipt;
                    let is_charged = |sent: &Sent| {
                        !sent.waits && (sent.message.account, &sent.message.id) == (account, &receipt.id)
                    };
                    failure.answer.is_none()
                        && failure.received < until
                        && receipt.account == account
                        && self.sent.iter().any(is_charged)
                };
                let settled = self.settled_at >= until && !self.failures.iter().any(open);
                if until <= now && charged && settled {
                    let plan = &mut self.accounts[account].plans[plan];
                    plan.forfeited += plan.remaining;
                    plan.remaining = 0;
                }
            }
        }
    }

    fn answer(&mut self, f: usize, now: i128) -> Option<&'static str> {
        let Failure { receipt, received, .. } = self.failures[f].clone();
        let same = |sent: &Sent| (sent.message.account, &sent.message.id) == (receipt.account, &receipt.id);
        let Some(n) = self.sent.iter().position(same) else {
            return (now > received + 96 * HOUR).then_some("exception");
        };
        let message = self.sent[n].message.clone();
        if product(message.class) != "sms-domestic" {
            return Some("no_money");
        }
        match receipt.part {
            _ if self.sent[n].waits => None,
            _ if i128::from(receipt.reported.0 - message.at.0) > 72 * HOUR => Some("late"),
            _ if received - i128::from(message.at.0) > 96 * HOUR => Some("exception"),
            Some((_, of)) if Some(i128::from(of)) != units(&message) => Some("exception"),
            part => Some(self.give_back(n, part.map_or(0, |part| part.0), received)),
        }
    }

    /// Unit by unit to the plan in use and those before it; what is left becomes money.
    fn give_back(&mut self, n: usize, part: i64, received: i128) -> &'static str {
        let Sent { message, charged, .. } = &mut self.sent[n];
        let id = ACCOUNTS[message.account];
        let account = &mut self.accounts[message.account];
        let before = account.clone();
        let mut back = BTreeMap::new();
        for unit in charged.iter_mut().filter(|(number, _)| part == 0 || **number == part).map(|(_, u)| u) {
            let amount = unit.price.unwrap_or(0);
            let source = unit.plan.filter(|_| self.to_source);
            let takers = account.takers(received).filter(|(n, _)| !self.to_source || source == Some(*n));
            let last = takers.max_by_key(|(n, plan)| (plan.drawn, plan.until, plan.from, *n));
            let (to, amount) = match last.map(|(n, _)| n) {
                Some(plan) => {
                    account.plans[plan].remaining += 1;
                    (format!("{id}-p{}", plan + 1), 0)
                }
                None if unit.price.is_none() => {
                    *account = before;
                    return "exception";
                }
                None if unit.plan.is_none() => {
                    account.unbilled -= amount;
                    ("as unbilled".to_owned(), amount)
                }
                None => {
                    account.balance += amount;
                    ("as balance".to_owned(), amount)
                }
            };
            let sum: &mut (i128, i128) =
                back.entry((message.account, message.id.clone(), part, to)).or_default();
            (sum.0, sum.1) = (sum.0 + 1, sum.1 + amount);
        }
        for unit in charged.iter_mut().filter(|(number, _)| part == 0 || **number == part) {
            unit.1.given_back = true;
        }
        self.back.append(&mut back);
        "returned"
    }

    fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        for (number, (id, account)) in ACCOUNTS.iter().zip(&self.accounts).enumerate() {
            let status = if account.suspended { "suspended" } else { "active" };
            let (balance, unbilled) = (account.balance, account.unbilled);
            told.push(format!("account {id} {status} balance {balance} unbilled {unbilled}"));
            for (n, plan) in (1..).zip(&account.plans) {
                let forfeited = match plan.forfeited {
                    0 => String::new(),
                    units => format!(" forfeited {units}"),
                };
                told.push(format!("plan {id}-p{n} {} {}{forfeited}", PACKAGES[plan.package], plan.remaining));
            }
            for ((month, product, class), units) in account.tiers.iter().filter(|(_, units)| **units > 0) {
                told.push(format!("tier {id} {month} {product} {class} {units}"));
            }
            let domestic = |sent: &&Sent| {
                sent.message.account == number && product(sent.message.class) == "sms-domestic"
            };
            for (word, is_final) in [("pending", false), ("consumed", true)] {
                let sent = self.sent.iter().filter(domestic).filter(|sent| sent.is_final == is_final);
                let units = sent.flat_map(|sent| sent.charged.values());
                let count = units.filter(|unit| unit.plan.is_some() && !unit.given_back).count();
                told.extend((count > 0).then(|| format!("{word} {id} {count}")));
            }
        }
        let waiting = self.sent.iter().filter(|sent| sent.waits).map(|sent| &sent.message);
        told.extend(waiting.map(|message| format!("waits {} {}", ACCOUNTS[message.account], message.id)));
        told.extend(self.failures.iter().map(|Failure { receipt, answer, .. }| {
            let part = receipt.part.map_or(0, |part| part.0);
            format!(
                "failure {} {} {part} {}",
                ACCOUNTS[receipt.account],
                receipt.id,
                answer.unwrap_or("open")
            )
        }));
        told.extend(self.back.iter().map(|((account, id, part, to), (units, amount))| {
            format!("back {} {id} {part} {to} {units} {amount}", ACCOUNTS[*account])
        }));
        told.sort();
        told
    }
}

/// 70 characters are one message, more are cut into pieces of 67; over 500 nothing is sent. An
/// e-mail is an e-mail.
pub fn units(message: &Message) -> Option<i128> {
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

/// Price, size, product and days of the packages.
const SOLD: [(i128, i128, &str, i128); 3] = [
    (1_000_000, 25, "sms-domestic", 1),
    (2_500_000, 60, "sms-domestic", 3),
    (3_000_000, 10, "sms-international", 180),
];

impl Account {
    /// One unit of a message: from the plan that ends first, else at the price of its place in the
    /// month. None where nobody pays.
    fn charge_unit(&mut self, message: &Message, plans_pay: bool, run: i128) -> Option<Unit> {
        let at = i128::from(message.at.0);
        let product = product(message.class);
        let (_, country, template_type) = CLASSES[message.class];
        let month = if at < MARCH { 202_602 } else { 202_603 };
        let class = match product {
            "sms-domestic" => template_type,
            "sms-international" => country,
            _ => "",
        };
        // Two a day and five in all are free; days begin at 16:00 UTC.
        let today = (at + 8 * HOUR).div_euclid(DAY);
        let had = self.free.get(&today).copied().unwrap_or(0);
        if product == "direct-mail" && plans_pay && had < 2 && self.free.values().sum::<i128>() < 5 {
            self.free.insert(today, had + 1);
            return Some(Unit { plan: None, price: None, given_back: false });
        }
        let position = self.tiers.entry((month, product, class)).or_default();
        let price = match (product, class, *position) {
            ("sms-domestic", "verification" | "notification", 0..50) => Some(45_000),
            ("sms-domestic", "verification" | "notification", 50..200) => Some(40_000),
            ("sms-domestic", "verification" | "notification", _) => Some(36_000),
            ("sms-domestic", "promotional", 0..40) => Some(55_000),
            ("sms-domestic", "promotional", _) => Some(50_000),
            ("sms-international", "HK", _) if at < MARCH => Some(400_000),
            ("sms-international", "HK", _) => Some(500_000),
            ("direct-mail", ..) => Some(2_000),
            _ => None,
        };
        let covers = |plan: &Plan| {
            plan.remaining > 0 && plan.from <= at && at < plan.until && product == SOLD[plan.package].2
        };
        let plans = self.plans.iter_mut().enumerate().filter(|(_, plan)| plans_pay && covers(plan));
        let first = plans.min_by_key(|(n, plan)| (plan.until, plan.from, *n));
        if let Some((plan, paying)) = first {
            paying.remaining -= 1;
            paying.drawn = Some(run);
            return Some(Unit { plan: Some(plan), price, given_back: false });
        }
        *position += i128::from(price.is_some());
        self.unbilled += price?;
        Some(Unit { plan: None, price, given_back: false })
    }

    /// The plans that take a domestic unit back: those that were drawn, have room and had not ended when the
    /// receipt came. The one drawn last comes first, of those drawn together the one that pays last.
    fn takers(&self, received: i128) -> impl Iterator<Item = (usize, &Plan)> {
        let takes = move |plan: &Plan| {
            let (_, size, product, _) = SOLD[plan.package];
            plan.drawn.is_some()
                && product == "sms-domestic"
                && plan.remaining < size
                && plan.forfeited == 0
                && plan.from <= received
                && received < plan.until
        };
        self.plans.iter().enumerate().filter(move |(_, plan)| takes(plan))
    }

    fn buy(&mut self, package: usize, at: i128) {
        let (price, size, _, days) = SOLD[package];
        let available = self.balance - self.unbilled;
        if self.suspended || available <= 0 || available < price {
            return;
        }
        self.balance -= price;
        self.plans.push(Plan {
            package,
            remaining: size,
            from: at,
            until: at + days * DAY,
            drawn: None,
            forfeited: 0,
        });
    }

    /// Overdue below zero; cleared only above it.
    fn settle_status(&mut self) {
        let available = self.balance - self.unbilled;
        self.suspended = available < 0 || (self.suspended && available == 0);
    }
}
