//! `account add | verify | activate | show | list | top-up`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::orders::{plan_json, plan_table};
use super::output::table;
use super::{Failure, Session};
use crate::desk::accounts;
use crate::domain::account::{Kind, Status};
use crate::domain::money::Micros;
use crate::store::accounts::{AccountRow, NewAccount, list};
use crate::store::invoices::invoiceable;
use crate::store::orders::plans;

#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Add an account
    Add {
        #[arg(value_name = "ID")]
        account_id: String,
        #[arg(long)]
        name: String,
        /// individual or enterprise
        #[arg(long, default_value = "enterprise", value_parser = parse_kind)]
        kind: Kind,
        #[arg(long, default_value = "CNY")]
        currency: String,
        #[arg(long)]
        email: Option<String>,
        #[arg(long)]
        phone: Option<String>,
        /// Language of its notices: en or zh-CN
        #[arg(long, default_value = "en", value_parser = ["en", "zh-CN"])]
        locale: String,
        /// How far the available balance may fall below 0 before the account is overdue
        #[arg(long, default_value = "0", value_parser = parse_money)]
        credit_limit: Micros,
    },
    /// Note that the account's identity was verified
    Verify {
        #[arg(value_name = "ID")]
        account_id: String,
    },
    /// Activate a product that asks for it, such as direct-mail
    Activate {
        #[arg(value_name = "ID")]
        account_id: String,
        product: String,
    },
    /// Show an account: money, status, plans
    Show {
        #[arg(value_name = "ID")]
        account_id: String,
    },
    /// All accounts
    List,
    /// Pay cash into an account, once per reference
    TopUp {
        #[arg(value_name = "ID")]
        account_id: String,
        #[arg(value_parser = parse_money, allow_hyphen_values = true)]
        amount: Micros,
        /// The payment's own number: the same again changes nothing
        #[arg(long)]
        reference: String,
    },
}

fn parse_kind(word: &str) -> Result<Kind, String> {
    Kind::parse(word).ok_or_else(|| "write individual or enterprise".into())
}

fn parse_money(text: &str) -> Result<Micros, String> {
    Micros::parse(text).map_err(|fault| fault.to_string())
}

pub async fn run(session: &Session, command: AccountCommand) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let now = session.now();
    let output = session.output;
    match command {
        AccountCommand::Add { account_id, name, kind, currency, email, phone, locale, credit_limit } => {
            let new = NewAccount { account_id, name, kind, currency, email, phone, locale, credit_limit };
            let added = accounts::add(&db, &new, now).await?;
            output.show(&account_json(&added)?, || format!("Added account {}.", added.account_id));
        }
        AccountCommand::Verify { account_id } => {
            let account = accounts::verify(&db, &account_id, now).await?;
            output.show(&account_json(&account)?, || format!("Account {account_id} is verified."));
        }
        AccountCommand::Activate { account_id, product } => {
            let account = accounts::activate(&db, &config, &account_id, &product, now).await?;
            output
                .show(&account_json(&account)?, || format!("{product} is active for account {account_id}."));
        }
        AccountCommand::TopUp { account_id, amount, reference } => {
            let account = accounts::top_up(&db, &account_id, amount, &reference, now).await?;
            let available = available(&account)?;
            let json = json!({
                "account_id": account_id,
                "balance": account.funds.balance.to_string(),
                "available": available.to_string(),
            });
            output.show(&json, || {
                let balance = account.funds.balance.for_people();
                format!("Balance {balance} {}, available {}.", account.currency, available.for_people())
            });
        }
        AccountCommand::Show { account_id } => {
            let mut tx = db.read().await?;
            let account = accounts::find(&mut tx, &account_id).await?;
            let plans = plans(&mut tx, &account_id).await?;
            let mut json = account_json(&account)?;
            json["invoiceable"] = json!(invoiceable(&mut tx, &account_id).await?.to_string());
            json["plans"] = plans.iter().map(|plan| plan_json(plan, config.zone, now)).collect();
            output.show(&json, || {
                let mut text = sheet(&account, &json);
                if !plans.is_empty() {
                    text.push_str("\n\n");
                    text.push_str(&plan_table(&plans, config.zone, now));
                }
                text
            });
        }
        AccountCommand::List => {
            let mut tx = db.read().await?;
            let accounts = list(&mut tx).await?;
            let all = accounts.iter().map(account_json).collect::<Result<Vec<_>, _>>()?;
            output.show(&json!(all), || {
                let rows = accounts.iter().zip(&all).map(|(account, json)| row(account, json)).collect();
                let columns =
                    ["account", "name", "kind", "status", "currency", ">balance", ">unbilled", ">available"];
                table(&columns, rows)
            });
        }
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

fn available(account: &AccountRow) -> Result<Micros, Failure> {
    account
        .funds
        .available()
        .map_err(|fault| Failure::other(format!("account {}: {fault}", account.account_id)))
}

/// The keys that scripts read; `invoiceable` and `plans` are put in where one account is shown.
fn account_json(account: &AccountRow) -> Result<Value, Failure> {
    Ok(json!({
        "account_id": account.account_id,
        "name": account.name,
        "kind": account.kind.as_str(),
        "status": account.status.as_str(),
        "currency": account.currency,
        "balance": account.funds.balance.to_string(),
        "unbilled": account.funds.unbilled.to_string(),
        "available": available(account)?.to_string(),
        "due": account.funds.due.to_string(),
        "overdue": account.status == Status::Suspended,
        "credit_limit": account.funds.credit_limit.to_string(),
        "verified": account.verified_at.is_some(),
    }))
}

fn sheet(account: &AccountRow, json: &Value) -> String {
    let funds = &account.funds;
    let money = |key: &str| json[key].as_str().and_then(|text| Micros::parse(text).ok()).unwrap_or_default();
    let overdue = if account.status == Status::Suspended { " (overdue)" } else { "" };
    let verified = if account.verified_at.is_some() { ", verified" } else { "" };
    let rows = [
        ("Account", format!("{}  {}", account.account_id, account.name)),
        ("Kind", format!("{}{verified}", account.kind.as_str())),
        ("Status", format!("{}{overdue}", account.status.as_str())),
        ("Balance", format!("{} {}", funds.balance.for_people(), account.currency)),
        ("Unbilled", funds.unbilled.for_people()),
        ("Due", funds.due.for_people()),
        ("Available", money("available").for_people()),
        ("Invoiceable", money("invoiceable").for_people()),
    ];
    rows.iter().map(|(name, value)| format!("{name:<12} {value}")).collect::<Vec<_>>().join("\n")
}

fn row(account: &AccountRow, json: &Value) -> Vec<String> {
    let available = json["available"].as_str().and_then(|text| Micros::parse(text).ok()).unwrap_or_default();
    vec![
        account.account_id.clone(),
        account.name.clone(),
        account.kind.as_str().into(),
        account.status.as_str().into(),
        account.currency.clone(),
        account.funds.balance.for_people(),
        account.funds.unbilled.for_people(),
        available.for_people(),
    ]
}
