//! The customers of the sample month: who they are, what they send and how they pay for it.

use super::dice::Dice;
use crate::domain::money::Micros;
use crate::domain::period::{Month, Timestamp};

/// A customer with all that it pays and orders in the month.
pub struct SampleAccount {
    pub id: String,
    pub name: String,
    /// `enterprise` or `individual`.
    pub kind: &'static str,
    pub currency: &'static str,
    /// `en` or `zh-CN`.
    pub locale: &'static str,
    pub email: String,
    /// Time, amount and reference, ascending; the first is the opening balance.
    pub top_ups: Vec<(Timestamp, Micros, String)>,
    /// Time, package and quantity, ascending; each is covered by the top-ups before it.
    pub orders: Vec<(Timestamp, String, i64)>,
    pub funding: Funding,
    pub traffic: Traffic,
}

/// How an account pays for its month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Funding {
    PayAsYouGo,
    /// A plan that outlasts the month.
    Plan,
    /// A plan that is used up in mid-month: pay-as-you-go goes on by itself (R29, R140).
    PlanRunsOut,
    /// A plan bought in mid-month: what was sent before stays pay-as-you-go (R76, D22).
    PlanInMidMonth,
    /// Several plans at once, used by earliest expiry (D8).
    SeveralPlans,
    /// A balance too small for the month: overdue before its end (D2).
    Overdue,
}

/// What an account sends, in percent of its messages.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    pub email: u64,
    pub international: u64,
    pub verification: u64,
    pub promotional: u64,
    /// Of its text messages, those longer than one part.
    pub long: u64,
}

impl SampleAccount {
    /// `expected` is the number of messages that the account will send, about.
    pub(super) fn draw(seed: u64, rank: u64, start: Timestamp, month: Month, expected: u64) -> SampleAccount {
        let mut dice = Dice::of(seed, u64::MAX - rank);
        let id = format!("acct-{:05}", rank + 1);
        let overseas = rank % 16 == 9;
        let kind = if rank >= 16 && !overseas && dice.below(10) < 3 { "individual" } else { "enterprise" };
        let english = overseas || dice.one_in(10);
        let traffic = Traffic::draw(kind, overseas, &mut dice);
        let funding = Funding::of(rank, expected);
        let mut account = SampleAccount {
            name: name(kind, english, &mut dice),
            kind,
            currency: if overseas { "USD" } else { "CNY" },
            locale: if english { "en" } else { "zh-CN" },
            email: format!("finance@{id}.example"),
            top_ups: Vec::new(),
            orders: Vec::new(),
            funding,
            traffic,
            id,
        };
        account.fund(start, month, expected, &mut dice);
        account
    }

    /// Books the opening balance in the month's first moment and the opening order a second later,
    /// so that nearly all messages of the month meet them.
    fn fund(&mut self, start: Timestamp, month: Month, expected: u64, dice: &mut Dice) {
        let needed = self.traffic.cost_at_most(self.currency, expected);
        // Half of the estimate is seldom spent, so an eighth lasts about a week.
        let overdue = self.funding == Funding::Overdue;
        let opening = if overdue { needed / 8 } else { needed + 20 * Micros::PER_UNIT };
        let mid_month = start.plus_micros(9 * Timestamp::DAY + hours(dice, 7 * 24));
        let (packages, bought_at) = match self.funding {
            Funding::PayAsYouGo | Funding::Overdue => (vec![], start),
            Funding::Plan => (vec![(package_of(expected * 2), 1)], start),
            Funding::PlanRunsOut => (vec![(package_of(expected * 2 / 3), 1)], start),
            Funding::PlanInMidMonth => (vec![(package_of(expected), 1)], mid_month),
            Funding::SeveralPlans => (vec![(package_of(expected / 3), 2), (PACKAGES[0], 1)], start),
        };
        let price: i64 =
            packages.iter().map(|((_, units), quantity)| units * quantity * PLAN_UNIT_AT_MOST).sum();
        let at_once = if bought_at == start { price } else { 0 };
        let mut top_ups = vec![(start, opening + at_once)];
        if price > at_once {
            top_ups.push((bought_at.plus_micros(-Timestamp::HOUR), price));
        }
        if !overdue && dice.one_in(6) {
            let later = start.plus_micros(18 * Timestamp::DAY + hours(dice, 9 * 24));
            top_ups.push((later, 100 * Micros::PER_UNIT));
        }
        let order_at = bought_at.plus_micros(Timestamp::MINUTE / 60);
        self.orders =
            packages.into_iter().map(|((id, _), quantity)| (order_at, id.to_owned(), quantity)).collect();
        self.top_ups = (1..)
            .zip(top_ups)
            .map(|(n, (at, amount))| (at, round_up_to_ten(amount), format!("remit-{month}-{}-{n}", self.id)))
            .collect();
    }
}

impl Funding {
    /// The first eight accounts tell all stories; the others repeat them where they fit.
    fn of(rank: u64, expected: u64) -> Funding {
        let enough_to_run_out = expected as i64 >= 2 * PACKAGES[0].1;
        match rank % 8 {
            0 if enough_to_run_out => Funding::PlanRunsOut,
            2 => Funding::SeveralPlans,
            3 => Funding::PlanInMidMonth,
            0 | 4 | 6 => Funding::Plan,
            _ if rank == 5 => Funding::Overdue,
            _ => Funding::PayAsYouGo,
        }
    }
}

impl Traffic {
    fn draw(kind: &str, overseas: bool, dice: &mut Dice) -> Traffic {
        let long = 4 + dice.below(16);
        let verification = 20 + dice.below(50);
        let promotional = if kind == "individual" { 0 } else { dice.below(30) };
        let (email, international) = match dice.below(10) {
            // There is no domestic price list in US dollars (D54).
            _ if overseas => (20, 80),
            0..5 => (0, 0),
            5..8 => (5 + dice.below(20), 0),
            _ => (dice.below(10), 2 + dice.below(10)),
        };
        Traffic { email, international, verification, promotional, long }
    }

    /// Micro-units that `messages` messages cost at most, by the highest prices of the samples.
    fn cost_at_most(self, currency: &str, messages: u64) -> i64 {
        let abroad = if currency == "USD" { 400_000 } else { 3_000_000 };
        let domestic = 100 - self.email - self.international;
        let hundred = domestic * 60_000 + self.international * abroad + self.email * 3_000;
        (messages * hundred / 100 * (100 + 2 * self.long) / 100 * 6 / 5) as i64
    }
}

/// Packages and their units, ascending.
const PACKAGES: [(&str, i64); 4] = [
    ("sms-domestic-1000", 1_000),
    ("sms-domestic-2000", 2_000),
    ("sms-domestic-5000", 5_000),
    ("sms-domestic-50000", 50_000),
];

/// No sample package costs more a unit, in micro-units.
const PLAN_UNIT_AT_MOST: i64 = 50_000;

/// The largest package of at most `units`, else the smallest.
fn package_of(units: u64) -> (&'static str, i64) {
    PACKAGES.into_iter().rev().find(|(_, size)| *size <= units as i64).unwrap_or(PACKAGES[0])
}

fn round_up_to_ten(micros: i64) -> Micros {
    let ten = 10 * Micros::PER_UNIT;
    Micros((micros + ten - 1) / ten * ten)
}

/// A moment somewhere in the first `hours` hours.
fn hours(dice: &mut Dice, hours: u64) -> i64 {
    dice.below(hours * Timestamp::HOUR as u64) as i64
}

fn name(kind: &str, english: bool, dice: &mut Dice) -> String {
    match (kind, english) {
        ("individual", true) => format!("{} {}", dice.pick(GIVEN_NAMES), dice.pick(FAMILY_NAMES)),
        ("individual", false) => format!("{}{}", dice.pick(SURNAMES), dice.pick(FIRST_NAMES)),
        (_, true) => format!("{} {}", dice.pick(ENGLISH_HEADS), dice.pick(ENGLISH_TRADES)),
        (_, false) => {
            format!("{}{}{}", dice.pick(CITIES), dice.pick(CHINESE_HEADS), dice.pick(CHINESE_TRADES))
        }
    }
}

const CITIES: &[&str] = &["杭州", "上海", "深圳", "成都", "广州", "南京", "武汉", "苏州", "厦门", "西安"];
const CHINESE_HEADS: &[&str] =
    &["云杉", "北岸", "青禾", "远山", "白鹭", "长风", "松果", "海棠", "竹溪", "南枝"];
const CHINESE_TRADES: &[&str] =
    &["零售", "物流", "教育", "旅行", "餐饮", "医疗", "家居", "书店", "软件", "花店"];
const ENGLISH_HEADS: &[&str] = &[
    "Harbor",
    "Willow",
    "Copper",
    "Juniper",
    "Lantern",
    "Meadow",
    "Granite",
    "Heron",
    "Saffron",
    "Tidewater",
];
const ENGLISH_TRADES: &[&str] = &[
    "Retail",
    "Freight",
    "Academy",
    "Travel",
    "Kitchens",
    "Clinics",
    "Outfitters",
    "Books",
    "Software",
    "Florists",
];
const SURNAMES: &[&str] = &["王", "李", "张", "刘", "陈", "杨", "赵", "黄"];
const FIRST_NAMES: &[&str] = &["雨桐", "子轩", "思远", "佳宁", "一鸣", "晓雯", "文博", "若溪"];
const GIVEN_NAMES: &[&str] = &["Maya", "Tom", "Ines", "Oscar", "Priya", "Leo", "Hana", "Noah"];
const FAMILY_NAMES: &[&str] =
    &["Okafor", "Lindqvist", "Moreau", "Tanaka", "Novak", "Reyes", "Haddad", "Walsh"];
