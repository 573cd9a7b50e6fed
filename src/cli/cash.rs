//! `account top-up | withdraw | penalize | payments`: cash in and out.

use clap::Subcommand;
use serde_json::{Value, json};

use super::accounts::{available, parse_money};
use super::output::table;
use super::{Failure, Session};
use crate::config::Config;
use crate::desk::accounts::find;
use crate::desk::cash::{self, NewPenalty, TopUp, is_own_payer};
use crate::domain::money::Micros;
use crate::domain::period::Zone;
use crate::store::Db;
use crate::store::accounts::AccountRow;
use crate::store::cash::{Payment, payments};

#[derive(Debug, Subcommand)]
pub enum CashCommand {
    /// Pay cash into an account, once per reference; what is due is paid first
    TopUp {
        #[arg(value_name = "ID")]
        account_id: String,
        #[arg(value_parser = parse_money, allow_hyphen_values = true)]
        amount: Micros,
        /// The payment's own number: the same again changes nothing
        #[arg(long)]
        reference: String,
        /// Who paid, as the bank tells it; another than the account's name is pointed out
        #[arg(long)]
        payer: Option<String>,
    },
    /// Pay cash out of an account, once per reference: at most what is available, less an invoice deficit
    Withdraw {
        #[arg(value_name = "ID")]
        account_id: String,
        #[arg(value_parser = parse_money, allow_hyphen_values = true)]
        amount: Micros,
        /// The payment's own number: the same again changes nothing
        #[arg(long)]
        reference: String,
    },
    /// Claim a penalty for a violation of the terms: from the balance, the rest being due
    Penalize {
        #[arg(value_name = "ID")]
        account_id: String,
        #[arg(value_parser = parse_money, allow_hyphen_values = true)]
        amount: Micros,
        /// Why, and what may be claimed beyond it
        #[arg(long)]
        reason: String,
        /// Lower what this order may give back instead of charging the account
        #[arg(long)]
        order: Option<String>,
        /// The penalty's own number: the same again changes nothing
        #[arg(long)]
        reference: Option<String>,
    },
    /// What was paid in and out, the newest first, and by whom
    Payments {
        #[arg(value_name = "ID")]
        account_id: String,
    },
}

pub async fn run(session: &Session, db: &Db, config: &Config, command: CashCommand) -> Result<(), Failure> {
    let now = session.now();
    let (output, zone) = (session.output, config.zone);
    match command {
        CashCommand::TopUp { account_id, amount, reference, payer } => {
            let top_up = TopUp { amount, reference: &reference, payer: payer.as_deref() };
            let account = cash::top_up(db, &account_id, top_up, now).await?;
            let mut json = money_json(&account)?;
            let mut words = money_words(&account)?;
            if let Some(payer) = payer {
                let own = matches(&account, &payer);
                json["payer"] = json!(payer);
                json["payer_matches"] = json!(own);
                if own == Some(false) {
                    words.push_str(&format!(
                        "\nPaid by {payer}, not by {}: invoices are made out to the account's own entity, so ask for \
                         a certificate of their relationship, or have the payment claimed again.",
                        account.name
                    ));
                }
            }
            output.show(&json, || words);
        }
        CashCommand::Withdraw { account_id, amount, reference } => {
            let account = cash::withdraw(db, &account_id, amount, &reference, now).await?;
            let words = money_words(&account)?;
            output.show(&money_json(&account)?, || words);
        }
        CashCommand::Penalize { account_id, amount, reason, order, reference } => {
            let penalty = NewPenalty {
                amount,
                reason: &reason,
                order: order.as_deref(),
                reference: reference.as_deref(),
            };
            let account = cash::penalize(db, config, &account_id, penalty, now).await?;
            let words = match &order {
                None => money_words(&account)?,
                Some(order) => format!("Order {order} gives back {} less.", amount.for_people()),
            };
            output.show(&money_json(&account)?, || words);
        }
        CashCommand::Payments { account_id } => {
            let mut tx = db.read().await?;
            let account = find(&mut tx, &account_id).await?;
            let all = payments(&mut tx, &account_id).await?;
            let json: Vec<Value> = all.iter().map(|payment| payment_json(&account, payment, zone)).collect();
            output.show(&json!(json), || match all.is_empty() {
                true => format!("Nothing was paid into account {account_id} or out of it."),
                false => payment_table(&account, &all, zone),
            });
        }
    }
    Ok(())
}

/// The keys that scripts read.
fn money_json(account: &AccountRow) -> Result<Value, Failure> {
    Ok(json!({
        "account_id": account.account_id,
        "balance": account.funds.balance.to_string(),
        "available": available(account)?.to_string(),
        "due": account.funds.due.to_string(),
        "status": account.status.as_str(),
    }))
}

fn money_words(account: &AccountRow) -> Result<String, Failure> {
    let funds = &account.funds;
    let due = match funds.due {
        Micros::ZERO => String::new(),
        due => format!(", {} due", due.for_people()),
    };
    let available = available(account)?.for_people();
    let status = account.status.as_str();
    Ok(format!(
        "Balance {} {}{due}, available {available}; the account is {status}.",
        funds.balance.for_people(),
        account.currency
    ))
}

/// Whether a payer is the account's own entity; None where the name is erased, and nobody can tell.
fn matches(account: &AccountRow, payer: &str) -> Option<bool> {
    (!account.is_erased()).then(|| is_own_payer(&account.name, payer))
}

fn payment_json(account: &AccountRow, payment: &Payment, zone: Zone) -> Value {
    json!({
        "at": zone.format(payment.at),
        "kind": payment.kind,
        "reference": payment.reference,
        "amount": payment.amount.to_string(),
        "payer": payment.payer,
        "payer_matches": payment.payer.as_deref().and_then(|payer| matches(account, payer)),
    })
}

fn payment_table(account: &AccountRow, payments: &[Payment], zone: Zone) -> String {
    let row = |payment: &Payment| {
        let payer = match payment.payer.as_deref() {
            None => String::new(),
            Some(payer) if matches(account, payer) == Some(false) => format!("{payer} (another entity)"),
            Some(payer) => payer.to_owned(),
        };
        let kind = payment.kind.replace('_', "-");
        vec![
            zone.format_short(payment.at),
            kind,
            payment.amount.for_people(),
            payment.reference.clone(),
            payer,
        ]
    };
    let columns = ["time", "what", ">amount", "reference", "payer"];
    table(&columns, payments.iter().map(row).collect())
}
