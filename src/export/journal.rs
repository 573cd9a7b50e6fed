//! The books as a journal for plain-text accounting: hledger, ledger and beancount each check it by
//! themselves, and agree with us to the millionth.
//!
//! A journal has a head, the accounts that it uses, what stood in them before it begins, its
//! transactions in order of their dates, and what stands in them at its end, asserted. Amounts are
//! debit positive: money in millionths of the currency unit, units of plans as they are counted.

use crate::domain::money::Micros;
use crate::domain::period::{Day, Timestamp, WINDOW, Zone};

use super::{beancount, hledger};

/// Who is to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One file that hledger and ledger both read.
    Hledger,
    Beancount,
}

/// An account of the chart: one of ours for all customers, one of a customer, or one of a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// Its name in our chart.
    pub ledger: String,
    pub customer: Option<String>,
    pub plan: Option<String>,
}

/// The accounts of the chart that each customer has one of; those of plans among them.
const OF_CUSTOMERS: &[&str] = &[
    "Assets:Receivable",
    "Assets:Unbilled",
    "Liabilities:Contract:Plan",
    "Liabilities:Customer:Balance",
    "Quota:Pending",
    "Quota:Plan",
];

impl Account {
    /// Where a posting of a customer's entry goes. What the chart has once for all customers leaves
    /// the customer out.
    pub fn of(ledger: &str, account_id: &str, plan_id: Option<&str>) -> Account {
        let customer = OF_CUSTOMERS.contains(&ledger).then(|| account_id.to_owned());
        Account { ledger: ledger.to_owned(), customer, plan: plan_id.map(str::to_owned) }
    }

    /// The whole name: the chart's, then the customer's and the plan's parts.
    pub(super) fn name(&self, ledger: &str) -> String {
        let customer = self.customer.iter().map(|id| component('C', id));
        let plan = self.plan.iter().map(|id| component('P', id));
        [ledger.to_owned()].into_iter().chain(customer).chain(plan).collect::<Vec<_>>().join(":")
    }
}

/// An id as part of an account's name that all three programs take: it begins with a capital or a
/// digit and goes on with letters, digits and `-`. What does not fit becomes `-x` and its two
/// hexadecimal digits; an id that begins otherwise, or as if it had been changed, gets `C-` (a plan
/// `P-`) before it. No two ids become one.
///
/// # Example
/// ```
/// use quittance::export::journal::component;
/// assert_eq!(component('C', "A1"), "A1");
/// assert_eq!(component('C', "acme.eu"), "C-acme-x2Eeu");
/// assert_eq!(component('C', "C-acme"), "C-C-acme");
/// ```
pub fn component(mark: char, id: &str) -> String {
    let begins_well = id.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit());
    let looks_marked = id.starts_with(mark) && id[1..].starts_with('-');
    let mut name = if begins_well && !looks_marked { String::new() } else { format!("{mark}-") };
    for (at, byte) in id.bytes().enumerate() {
        let looks_changed = byte == b'-' && id.as_bytes().get(at + 1) == Some(&b'x');
        match byte {
            b'-' if !looks_changed => name.push('-'),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => name.push_str(&format!("-x{byte:02X}")),
        }
    }
    name
}

/// An amount in an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    pub account: Account,
    pub commodity: String,
    pub amount: i128,
}

/// Postings of one day and one customer that sum to zero in each commodity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub date: Day,
    pub customer: String,
    /// What happened, as a clerk would say it.
    pub words: String,
    /// The key of the entry in our books, where it is one.
    pub event: Option<String>,
    pub postings: Vec<Posting>,
}

/// What a journal says of itself before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The first day that it has entries of, and the last.
    pub first: Day,
    pub last: Day,
    /// Whether it begins with what stood in the accounts before.
    pub continued: bool,
    /// Currencies and units, in order.
    pub commodities: Vec<String>,
}

impl Format {
    /// What a journal begins with.
    pub const BEGINS: &str = "; The provider's books, ";

    pub fn head(self, head: &Head) -> String {
        match self {
            Format::Hledger => hledger::head(head),
            Format::Beancount => beancount::head(head),
        }
    }

    /// That an account is used from the first day on.
    pub fn declaration(self, account: &Account, first: Day) -> String {
        match self {
            Format::Hledger => hledger::declaration(account),
            Format::Beancount => beancount::declaration(account, first),
        }
    }

    pub fn transaction(self, transaction: &Transaction) -> String {
        match self {
            Format::Hledger => hledger::transaction(transaction),
            Format::Beancount => beancount::transaction(transaction),
        }
    }

    /// What comes before the assertions of a customer's balances at the end of the last day, or of those
    /// that all share.
    pub fn closing(self, last: Day, customer: Option<&str>) -> String {
        match self {
            Format::Hledger => hledger::closing(last, customer),
            Format::Beancount => beancount::closing(last, customer),
        }
    }

    /// That an account holds so much at the end of the last day.
    pub fn assertion(self, balance: &Posting, last: Day) -> String {
        match self {
            Format::Hledger => hledger::assertion(balance),
            Format::Beancount => beancount::assertion(balance, last),
        }
    }
}

/// Currencies have three letters, units of products more.
pub(super) fn is_money(commodity: &str) -> bool {
    commodity.len() == 3
}

/// Money with two decimals, and more where they say something; units as they are.
pub(super) fn amount(amount: i128, commodity: &str) -> String {
    if !is_money(commodity) {
        return format!("{amount} {commodity}");
    }
    let (sign, micros) = (if amount < 0 { "-" } else { "" }, amount.unsigned_abs());
    let per_unit = Micros::PER_UNIT as u128;
    let decimals = format!("{:06}", micros % per_unit);
    let shown = decimals.trim_end_matches('0').len().max(2);
    format!("{sign}{}.{} {commodity}", micros / per_unit, &decimals[..shown])
}

/// What caused an entry, from the key that it has in our books, as a clerk would say it.
pub fn words(cause: &str, zone: Zone) -> String {
    let (kind, rest) = cause.split_once(':').unwrap_or((cause, ""));
    let (first, second) = rest.split_once(':').unwrap_or((rest, ""));
    let moment = |micros: Option<i64>| micros.map(|at| zone.format_short(Timestamp(at))).unwrap_or_default();
    let number = first.parse::<i64>().ok();
    match kind {
        "top-up" => format!("Top-up {rest}"),
        "withdrawal" => format!("Withdrawal {rest}"),
        "order" => format!("Order {first}"),
        "refund" => format!("Refund {second} of order {first}"),
        "penalty" => format!("Penalty {first}"),
        "expiry" => format!("Plan {first} expired"),
        "bill" => match number {
            Some(month) => format!("Bill of {:04}-{:02}", month / 100, month % 100),
            None => format!("Bill of {first}"),
        },
        "invoice" => format!("Invoice {first} issued"),
        "invoice-return" => format!("Invoice {first} returned"),
        "charge" => {
            let begins = number.map(|seconds| seconds.saturating_mul(1_000_000));
            let ends = begins.map(|at| at.saturating_add(WINDOW));
            let clock = |at: Option<i64>| moment(at).split(' ').next_back().unwrap_or_default().to_owned();
            format!("Charges of {} to {}", moment(begins), clock(ends))
        }
        "return" => format!("Given back for failures received {}", moment(number)),
        "final" => format!("Final up to {}", moment(number)),
        "final-late" => format!("Final, charged late, up to {}", moment(number)),
        _ => cause.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::ledger::Cause;

    #[test]
    fn ids_stay_apart_in_account_names() {
        let ids = [
            "acme", "Acme", "C-acme", "C-C-acme", "ac.me", "ac-x2Eme", "ac-me", "ac:me", "4711", "a-x", "a-",
            "C-", "C",
        ];
        let names: BTreeSet<String> = ids.iter().map(|id| component('C', id)).collect();
        assert_eq!(names.len(), ids.len(), "{names:?}");
        for name in &names {
            let begins = name.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit());
            assert!(begins && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{name}");
        }
    }

    #[test]
    fn money_has_two_decimals_or_as_many_as_it_needs() {
        let shown = [(44_950_000, "CNY"), (-1, "CNY"), (0, "CNY"), (61_320_755, "CNY"), (-1500, "SMSD")];
        let shown = shown.map(|(number, commodity)| amount(number, commodity));
        assert_eq!(shown, ["44.95 CNY", "-0.000001 CNY", "0.00 CNY", "61.320755 CNY", "-1500 SMSD"]);
    }

    #[test]
    fn causes_are_told_in_words() {
        let zone = Zone::parse("Asia/Shanghai").unwrap();
        let at = Timestamp::parse_rfc3339("2026-03-01T09:05:00+08:00").unwrap();
        let told = [
            Cause::TopUp { reference: "bank:7".into() },
            Cause::Refund { order_no: 3, refund_no: 2 },
            Cause::Bill { month: 202_602 },
            Cause::Charge { window: at, run_no: 9 },
            Cause::Return { received_at: at, run_no: 9, portion: 1 },
        ]
        .map(|cause| words(&cause.to_string(), zone));
        let expected = [
            "Top-up bank:7",
            "Refund 2 of order 3",
            "Bill of 2026-02",
            "Charges of 2026-03-01 09:05 to 09:10",
            "Given back for failures received 2026-03-01 09:05",
        ];
        assert_eq!(told, expected);
    }
}
