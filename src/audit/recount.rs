//! A second reckoning of an account, as simple as can be: unit by unit from what came in, in the order
//! of its ledger, with nothing of the arithmetic that made the books. Slow, and easy to believe.
//!
//! It takes as given what was handed in (payments, orders, messages, failures), which run took what,
//! and the account's standing; who paid for each unit, at what price, and what went back, it works out
//! anew. Of messages that are no longer kept, and of products whose prices are not known any more, it takes the
//! charges as given ([`given`]).

mod back;
pub mod given;
mod lists;
mod money;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::given::Given;
pub use self::money::MoneyBack;
use self::volume::Volume;
use super::gaps::Gap;
use crate::domain::countries::Countries;
use crate::domain::period::{Timestamp, WINDOW, Zone};
use crate::domain::price::Rate;
use crate::domain::product::Catalog;

/// What a message is priced by: product, template type, country.
pub type Class = [Arc<str>; 3];
/// A product, and what of a class it is priced by.
type Priced = (Arc<str>, Arc<str>);

/// A message that a run charged.
#[derive(Clone, Debug)]
pub struct Sent {
    pub run_no: i64,
    pub class: Class,
    pub units: i64,
    pub submit_time: i64,
    pub key: (i64, i64),
    /// Parts that were known to have failed before.
    pub left_out: Vec<i64>,
}

/// A failure that was answered by giving back.
#[derive(Clone, Debug)]
pub struct Failed {
    pub run_no: i64,
    pub received_at: i64,
    pub key: (i64, i64),
    /// 0: all that is left of the message.
    pub part: i64,
}

/// A plan as it was bought.
#[derive(Clone, Debug)]
pub struct Bought {
    pub plan_no: i64,
    pub order_no: i64,
    pub product: Arc<str>,
    /// The countries that it pays for.
    pub countries: Countries,
    pub size: i64,
    pub effective_at: i64,
    pub expires_at: i64,
    /// The refund of its order that cancelled it; 0 for none.
    pub refund_no: i64,
}

/// A month that is billed.
#[derive(Clone, Copy, Debug)]
pub struct BilledMonth {
    /// The last run that gave back before.
    pub settle_run: i64,
    pub ends_at: i64,
    /// The last charging run that its bills saw.
    pub charge_run: i64,
    /// After which run and up to which the account's own bill was parked, as failures found it (D59).
    pub waited: (i64, i64),
}

impl BilledMonth {
    /// Whether the account's bill was there when a run gave back.
    fn is_billed_before(&self, run_no: i64) -> bool {
        let (from, upto) = self.waited;
        self.settle_run < run_no && !(from < run_no && run_no <= upto)
    }
}

/// Everything that an account's ledger came from.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub account_id: String,
    pub kind: String,
    /// What it was before, each up to the entry of a number, in order.
    pub kinds: Vec<(i64, String)>,
    pub currency: String,
    /// Free units a day and in all, by product and day of the billing zone: the allowance of days on which
    /// some were had. On other days there was none.
    pub allowed: BTreeMap<(Arc<str>, i64), (i64, i64)>,
    /// Causes of the ledger's entries, in their order, with their numbers.
    pub causes: Vec<(i64, String)>,
    /// Whether plans paid from after an entry on, in order.
    pub standing: Vec<(i64, bool)>,
    /// What each payment, order and claim moved, by its cause.
    pub amounts: BTreeMap<String, i64>,
    pub plans: Vec<Bought>,
    /// By run, window and arrival.
    pub sent: Vec<Sent>,
    /// By run, time and arrival.
    pub failed: Vec<Failed>,
    /// Months that were billed, in order.
    pub billed: Vec<BilledMonth>,
    /// What units of billed months came to under `volume` lists, as the books say it: month, product, class, whom
    /// the list is for, since when, price.
    pub billed_prices: Vec<(i64, String, String, String, i64, i64)>,
    /// Messages, or parts of them, that were known to have failed before they were charged.
    pub left_out: Vec<((i64, i64), i64)>,
    /// What was charged for messages that are no longer kept.
    pub given: Given,
    pub money_back: Vec<MoneyBack>,
}

/// A line of the recount: what it is about, and how much of it there is.
pub type Sums = BTreeMap<String, i128>;

/// The rules that the recount reads.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub catalog: &'a Catalog,
    pub rates: &'a [Rate],
    pub zone: Zone,
}

#[derive(Clone, Debug)]
struct Plan {
    bought: Bought,
    remaining: i64,
    drawn: Option<i64>,
    /// It was cancelled, or its rest forfeited.
    ended: bool,
}

impl Plan {
    fn end(&mut self) {
        (self.remaining, self.ended) = (0, true);
    }
}

/// A charged unit of a message: its part, the plan that paid, and the pay-as-you-go price then.
#[derive(Clone, Debug)]
struct Unit {
    part: i64,
    plan_no: i64,
    price: Option<i128>,
    given_back: bool,
}

/// What was charged of a message that fails later.
#[derive(Clone, Debug)]
struct Charged {
    class: Class,
    window: i64,
    run_no: i64,
    units: Vec<Unit>,
}

/// What an account's books should say, and what the rules no longer say of how it was charged.
#[derive(Clone, Debug, Default)]
pub struct Recounted {
    /// Balances, plans, tiers, charges and returns, each by name.
    pub sums: Sums,
    /// Where there are some, the sums are not those of the books.
    pub gaps: BTreeSet<Gap>,
}

/// The recount of one account.
pub fn recount(history: &History, rules: Rules<'_>) -> Recounted {
    let mut recount = Recount {
        history,
        rules,
        plans: Vec::new(),
        failing: history.failed.iter().map(|failed| failed.key).collect(),
        charged: BTreeMap::new(),
        tiers: BTreeMap::new(),
        free: BTreeMap::new(),
        sums: Sums::new(),
        gaps: BTreeSet::new(),
        prices: BTreeMap::new(),
        volume: Volume::new(rules.rates),
        kinds: BTreeMap::new(),
        sent: 0,
        failed: 0,
        run: None,
    };
    for (entry_no, cause) in &history.causes {
        recount.follow(*entry_no, cause);
    }
    recount.finish()
}

/// Stands in the place of a plan's number where nobody paid.
const FREE: i64 = -1;

struct Recount<'a> {
    history: &'a History,
    rules: Rules<'a>,
    plans: Vec<Plan>,
    /// Messages that fail later, and what was charged of them with their product.
    failing: BTreeSet<(i64, i64)>,
    charged: BTreeMap<(i64, i64), Charged>,
    tiers: BTreeMap<(i64, Arc<str>, Arc<str>), i64>,
    /// Free units by product, of each day and, as day 0, of all days.
    free: BTreeMap<(Arc<str>, i64), i64>,
    sums: Sums,
    gaps: BTreeSet<Gap>,
    /// The lists of a kind of account, a product and what it is priced by, the most specific first.
    prices: BTreeMap<(&'a str, Priced), Vec<&'a Rate>>,
    volume: Volume<'a>,
    /// What the account was when each run charged it.
    kinds: BTreeMap<i64, &'a str>,
    /// How many of the messages and failures are done.
    sent: usize,
    failed: usize,
    /// The charging run that is followed, and whether plans pay in it.
    run: Option<(i64, bool)>,
}

impl<'a> Recount<'a> {
    fn follow(&mut self, entry_no: i64, cause: &str) {
        let mut words = cause.split(':');
        let what = words.next().unwrap_or_default();
        let number = |word: Option<&str>| word.and_then(|word| word.parse::<i64>().ok()).unwrap_or_default();
        match what {
            "charge" => {
                let window = number(words.next()) * 1_000_000;
                let run_no = number(words.next());
                let kind = self.kind_at(entry_no);
                self.kinds.entry(run_no).or_insert(kind);
                self.take_charges(window, run_no);
                if run_no > self.history.given.run_no {
                    self.charge(entry_no, window, run_no);
                }
            }
            "return" => {
                let received_at = number(words.next());
                self.give_back(received_at, number(words.next()));
            }
            "top-up" => self.pay_in(self.amount(cause)),
            "withdrawal" => self.add("balance", -self.amount(cause)),
            "penalty" => self.claim(self.amount(cause)),
            "order" => {
                self.add("balance", -self.amount(cause));
                let order_no = number(words.next());
                let bought = self.history.plans.iter().filter(|plan| plan.order_no == order_no);
                let new = bought.map(|bought| Plan {
                    remaining: bought.size,
                    drawn: None,
                    ended: false,
                    bought: bought.clone(),
                });
                self.plans.extend(new);
            }
            "expiry" => {
                let plan_no = number(words.next());
                self.plans.iter_mut().filter(|plan| plan.bought.plan_no == plan_no).for_each(Plan::end);
            }
            "bill" => {
                let month = number(words.next());
                self.true_up(month);
                self.add("unbilled", -self.amount(&format!("accrued:{month}")));
                match self.amount(cause) {
                    credit if credit < 0 => self.pay_in(-credit),
                    total => self.claim(total),
                }
            }
            "refund" => {
                self.pay_in(self.amount(cause));
                let (order_no, refund_no) = (number(words.next()), number(words.next()));
                let cancels =
                    |plan: &&mut Plan| (plan.bought.order_no, plan.bought.refund_no) == (order_no, refund_no);
                self.plans.iter_mut().filter(cancels).for_each(Plan::end);
            }
            _ => {}
        }
    }

    fn amount(&self, cause: &str) -> i128 {
        self.history.amounts.get(cause).copied().unwrap_or_default().into()
    }

    fn add(&mut self, name: &str, amount: i128) {
        *self.sums.entry(name.to_owned()).or_default() += amount;
    }

    fn sum(&self, name: &str) -> i128 {
        self.sums.get(name).copied().unwrap_or_default()
    }

    fn pay_in(&mut self, amount: i128) {
        let due = self.sum("due").min(amount);
        self.add("due", -due);
        self.add("balance", amount - due);
    }

    fn claim(&mut self, amount: i128) {
        let paid = self.sum("balance").min(amount);
        self.add("balance", -paid);
        self.add("due", amount - paid);
    }

    /// Charges the messages of a window that a run took, unit by unit.
    fn charge(&mut self, entry_no: i64, window: i64, run_no: i64) {
        if self.run.is_none_or(|(run, _)| run != run_no) {
            self.run = Some((run_no, self.plans_pay_before(entry_no)));
        }
        let plans_pay = self.run.is_some_and(|(_, plans_pay)| plans_pay);
        let history = self.history;
        while let Some(sent) = history.sent.get(self.sent) {
            let its_window = sent.submit_time - sent.submit_time.rem_euclid(WINDOW);
            if (sent.run_no, its_window) != (run_no, window) {
                break;
            }
            self.sent += 1;
            if !history.given.products.contains(&*sent.class[0]) {
                self.charge_message(sent, window, plans_pay);
            }
        }
    }

    /// The account's standing when a run began, as it was after the entry before.
    fn plans_pay_before(&self, entry_no: i64) -> bool {
        let before = self.history.standing.iter().rev().find(|(after, _)| *after < entry_no);
        before.is_none_or(|(_, active)| *active)
    }

    fn charge_message(&mut self, sent: &Sent, window: i64, plans_pay: bool) {
        self.needs_product(&sent.class[0]);
        let mut units = Vec::new();
        for part in (1..=sent.units).filter(|part| !sent.left_out.contains(part)) {
            let (plan_no, price) = self.charge_unit(sent, plans_pay);
            if (plan_no, price) == (0, None) {
                self.lacks_price(&sent.class, window);
            }
            let [product, template_type, country] = &sent.class;
            let place = format!("charge {window} run {} {product} {template_type} {country}", sent.run_no);
            // A price that was not known when a plan paid may be known since (D67).
            match (plan_no, price.unwrap_or_default()) {
                (0, price) => {
                    self.add(&format!("{place} at {price}"), 1);
                    self.accrue(product, window, price);
                    self.awaits_bill(&sent.class, (window, sent.run_no), 1, price);
                }
                (FREE, _) => self.add(&format!("{place} free"), 1),
                (plan_no, _) => {
                    self.add(&format!("{place} from plan {plan_no}"), 1);
                    self.counted_in_tiers(&sent.class, (window, sent.run_no), 1);
                }
            }
            units.push(Unit { part, plan_no, price, given_back: false });
        }
        if self.failing.contains(&sent.key) {
            let charged = Charged { class: sent.class.clone(), window, run_no: sent.run_no, units };
            self.charged.insert(sent.key, charged);
        }
    }

    /// One unit: from the plan that ends first of those that are valid, else at the price of its place
    /// in the month.
    fn charge_unit(&mut self, sent: &Sent, plans_pay: bool) -> (i64, Option<i128>) {
        let product_id = &sent.class[0];
        let product = self.rules.catalog.get(product_id);
        let priced_by = self.priced_by(&sent.class);
        let month = self.rules.zone.month_of(Timestamp(sent.submit_time)).number();
        let place = (month, product_id.clone(), priced_by);
        let position = self.tiers.get(&place).copied().unwrap_or(0);
        let price = self.price(sent, &place.2, position);
        if plans_pay && self.is_free(product_id, sent.submit_time) {
            return (FREE, None);
        }
        let covers = |plan: &Plan| {
            let Bought { product, effective_at, expires_at, .. } = &plan.bought;
            plan.remaining > 0
                && plan.bought.countries.include(&sent.class[2])
                && product == product_id
                && *effective_at <= sent.submit_time
                && sent.submit_time < *expires_at
        };
        let paying = self.plans.iter_mut().filter(|plan| plans_pay && covers(plan));
        let first =
            paying.min_by_key(|plan| (plan.bought.expires_at, plan.bought.effective_at, plan.bought.plan_no));
        let plan_no = match first {
            Some(plan) => {
                plan.remaining -= 1;
                plan.drawn = Some(sent.run_no);
                plan.bought.plan_no
            }
            None => 0,
        };
        if plan_no == 0 || product.is_some_and(|product| product.tier_counts_plan) {
            *self.tiers.entry(place).or_default() += 1;
        }
        (plan_no, price)
    }

    /// Takes a unit of the product's free allowance, where some is left of its day and of the total.
    fn is_free(&mut self, product: &Arc<str>, at: i64) -> bool {
        let day = self.rules.zone.day_of(Timestamp(at)).number();
        let Some((per_day, total)) = self.history.allowed.get(&(product.clone(), day)) else { return false };
        let used = |day| self.free.get(&(product.clone(), day)).copied().unwrap_or_default();
        if used(0) >= *total || used(day) >= *per_day {
            return false;
        }
        for day in [0, day] {
            *self.free.entry((product.clone(), day)).or_default() += 1;
        }
        true
    }

    fn finish(mut self) -> Recounted {
        self.give_back(i64::MAX, i64::MAX);
        self.true_up(i64::MAX);
        self.split_money_back();
        for Plan { bought, remaining, .. } in &self.plans {
            *self.sums.entry(format!("plan {}", bought.plan_no)).or_default() += i128::from(*remaining);
        }
        for ((month, product, class), units) in &self.tiers {
            *self.sums.entry(format!("tier {month} {product} {class}")).or_default() += i128::from(*units);
        }
        self.sums.retain(|_, sum| *sum != 0);
        Recounted { sums: self.sums, gaps: self.gaps }
    }
}
