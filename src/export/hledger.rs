//! One journal that hledger and ledger both read. Where they differ, this is what suits both:
//! commodities with a format (the decimal point is wanted by the one and a digit after it by the other),
//! declared accounts and tags, and assertions on postings of nothing.

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
    text.push_str("; Money is exact to the millionth; to see hundredths: hledger -c '1000.00 CNY' bal\n\n");
    for commodity in commodities {
        // Six decimals, since both check whether a transaction balances to as many as are shown.
        let format = if is_money(commodity) { "1000.000000" } else { "1000.0" };
        text.push_str(&format!("commodity {commodity}\n    format {format} {commodity}\n"));
    }
    text.push_str("\ntag customer\ntag event\n\n");
    text
}

pub fn declaration(account: &Account) -> String {
    format!("account {}\n", name(account))
}

pub fn transaction(transaction: &Transaction) -> String {
    let Transaction { date, customer, words, event, postings } = transaction;
    let mut text = format!("\n{date} * {}, {customer}\n    ; customer: {customer}\n", plain(words));
    if let Some(event) = event {
        text.push_str(&format!("    ; event: {}\n", plain(event)));
    }
    for posting in postings {
        text.push_str(&line(&posting.account, &amount(posting.amount, &posting.commodity)));
    }
    text
}

pub fn closing(last: Day, customer: Option<&str>) -> String {
    let whose = customer.unwrap_or("all customers");
    format!("\n{last} * Balances at the end of the day, {whose}\n")
}

pub fn assertion(balance: &Posting) -> String {
    let Posting { account, commodity, amount: held } = balance;
    line(account, &format!("0 {commodity} = {}", amount(*held, commodity)))
}

fn line(account: &Account, amount: &str) -> String {
    format!("    {:<44}  {amount}\n", name(account))
}

fn name(account: &Account) -> String {
    account.name(&account.ledger)
}

/// Words of others, so that neither program takes a part of them for a comment, a date or a tag:
/// everything but letters, digits and a few signs is written as in a URL.
fn plain(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    let mut before = ' ';
    for c in words.chars() {
        if c.is_alphanumeric() || "._-@:+/#".contains(c) || (c == ' ' && before != ' ') {
            text.push(c);
        } else {
            let mut bytes = [0; 4];
            text.extend(c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")));
        }
        before = c;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_stay_words() {
        let said = "top-up:a;b [2026-01-01], date:x  转账 100%";
        assert_eq!(plain(said), "top-up:a%3Bb %5B2026-01-01%5D%2C date:x %20转账 100%25");
    }
}
