//! The journal of beancount: a file of its own, whose accounts are opened and whose balances are
//! asserted at the beginning of the day after.

use super::journal::{Account, Head, Posting, Transaction, amount, is_money};
use crate::domain::period::Day;

pub fn head(head: &Head) -> String {
    let Head { first, last, continued, commodities } = head;
    let mut text = format!("; The provider's books, {first} to {last}. Debits are positive.\n");
    if *continued {
        text.push_str(
            "; The first transaction of each customer brings forward what stood in the accounts before.\n",
        );
    }
    text.push_str("option \"title\" \"Provider's books\"\n");
    for currency in commodities.iter().filter(|name| is_money(name)) {
        text.push_str(&format!("option \"operating_currency\" \"{currency}\"\n"));
    }
    // Transactions balance to the last digit.
    text.push_str("option \"inferred_tolerance_multiplier\" \"0\"\n\n");
    for commodity in commodities {
        text.push_str(&format!("{first} commodity {commodity}\n"));
    }
    text.push('\n');
    text
}

pub fn declaration(account: &Account, first: Day) -> String {
    let mut text = format!("{first} open {}\n", name(account));
    if let Some(customer) = &account.customer {
        text.push_str(&format!("  customer: {}\n", quoted(customer)));
    }
    if let Some(plan) = &account.plan {
        text.push_str(&format!("  plan: {}\n", quoted(plan)));
    }
    text
}

pub fn transaction(transaction: &Transaction) -> String {
    let Transaction { date, customer, words, event, postings } = transaction;
    let mut text = format!("\n{date} * {} {}\n", quoted(customer), quoted(words));
    if let Some(event) = event {
        text.push_str(&format!("  event: {}\n", quoted(event)));
    }
    for posting in postings {
        let amount = amount(posting.amount, &posting.commodity);
        text.push_str(&format!("  {:<44}  {amount}\n", name(&posting.account)));
    }
    text
}

pub fn closing(last: Day, customer: Option<&str>) -> String {
    let whose = customer.unwrap_or("all customers");
    format!("\n; Balances at the end of {last}, {whose}\n")
}

pub fn assertion(balance: &Posting, last: Day) -> String {
    let Posting { account, commodity, amount: held } = balance;
    let held = amount(*held, commodity);
    let (number, _) = held.split_once(' ').unwrap_or((&held, ""));
    format!("{} balance {}  {number} ~ 0 {commodity}\n", last.next(), name(account))
}

/// Units are no assets of ours: beancount has no root for them but equity.
fn name(account: &Account) -> String {
    match account.ledger.starts_with("Quota:") {
        true => account.name(&format!("Equity:{}", account.ledger)),
        false => account.name(&account.ledger),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
