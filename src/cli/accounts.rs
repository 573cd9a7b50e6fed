//! `account add | set | verify | activate | show | list | hold | release | close`, and those of `cash`.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::cash::{self, CashCommand};
use super::orders::{plan_json, plan_table};
use super::output::table;
use super::quotas::{quota_json, quota_sheet};
use super::{Failure, Session};
use crate::desk::accounts::{self, Changes};
use crate::desk::quotas::quota;
use crate::domain::account::Kind;
use crate::domain::money::Micros;
use crate::domain::period::Zone;
use crate::store::accounts::{AccountRow, NewAccount, list};
use crate::store::cash::{Claim, open_claims};
use crate::store::invoice_quota::invoiceable;
use crate::store::orders::plans;
use crate::store::standing::{StandingEvent, events};

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
        /// For which region, such as cn-hangzhou
        #[arg(long)]
        region: Option<String>,
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
    /// Change what is given; the rest stays as it is
    Set {
        #[arg(value_name = "ID")]
        account_id: String,
        #[arg(long)]
        name: Option<String>,
        /// individual or enterprise: individuals may not send promotional messages
        #[arg(long, value_parser = parse_kind)]
        kind: Option<Kind>,
        /// "" takes it out
        #[arg(long)]
        email: Option<String>,
        /// "" takes it out
        #[arg(long)]
        phone: Option<String>,
        #[arg(long, value_parser = ["en", "zh-CN"])]
        locale: Option<String>,
        #[arg(long, value_parser = parse_money, allow_hyphen_values = true)]
        credit_limit: Option<Micros>,
    },
    /// Suspend an account for a violation of the terms, whatever it pays, until it is released
    Hold {
        #[arg(value_name = "ID")]
        account_id: String,
        #[arg(long)]
        reason: String,
    },
    /// End what `hold` began
    Release {
        #[arg(value_name = "ID")]
        account_id: String,
    },
    /// Close an account for good: personal data are erased, the books are kept
    Close {
        #[arg(value_name = "ID")]
        account_id: String,
    },
    /// Each change of the account's status, with what brought it
    Events {
        #[arg(value_name = "ID")]
        account_id: String,
    },
    #[command(flatten)]
    Cash(CashCommand),
}

fn parse_kind(word: &str) -> Result<Kind, String> {
    Kind::parse(word).ok_or_else(|| "write individual or enterprise".into())
}

pub(super) fn parse_money(text: &str) -> Result<Micros, String> {
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
        AccountCommand::Verify { account_id, region } => {
            let account = accounts::verify(&db, &account_id, region.as_deref(), now).await?;
            output.show(&account_json(&account)?, || format!("Account {account_id} is verified."));
        }
        AccountCommand::Activate { account_id, product } => {
            let account = accounts::activate(&db, &config, &account_id, &product, now).await?;
            output
                .show(&account_json(&account)?, || format!("{product} is active for account {account_id}."));
        }
        AccountCommand::Set { account_id, name, kind, email, phone, locale, credit_limit } => {
            let changes = Changes { name, kind, email, phone, locale, credit_limit };
            let account = accounts::change(&db, &account_id, &changes, now).await?;
            output.show(&account_json(&account)?, || format!("Changed account {account_id}."));
        }
        AccountCommand::Hold { account_id, reason } => {
            let account = accounts::hold(&db, &account_id, &reason, now).await?;
            output.show(&account_json(&account)?, || {
                format!("Account {account_id} is suspended until `quittance account release {account_id}`.")
            });
        }
        AccountCommand::Release { account_id } => {
            let account = accounts::release(&db, &account_id, now).await?;
            let words = || format!("Account {account_id} is released: {}.", standing(&account));
            output.show(&account_json(&account)?, words);
        }
        AccountCommand::Close { account_id } => {
            let account = accounts::close(&db, &account_id, now).await?;
            output.show(&account_json(&account)?, || closed_words(&account));
        }
        AccountCommand::Events { account_id } => {
            let mut tx = db.read().await?;
            accounts::find(&mut tx, &account_id).await?;
            let events = events(&mut tx, &account_id).await?;
            let json: Vec<Value> = events.iter().map(|event| event_json(event, config.zone)).collect();
            output.show(&json!(json), || match events.is_empty() {
                true => format!("Account {account_id} has been active since it was added."),
                false => event_table(&events, config.zone),
            });
        }
        AccountCommand::Cash(command) => cash::run(session, &db, &config, command).await?,
        AccountCommand::Show { account_id } => {
            let mut tx = db.read().await?;
            let account = accounts::find(&mut tx, &account_id).await?;
            let plans = plans(&mut tx, &account_id).await?;
            let quota = quota(&mut tx, &config, &account_id, now).await?;
            let claims = open_claims(&mut tx, &account_id, account.funds.due).await?;
            let mut json = account_json(&account)?;
            json["claims"] = claims.iter().map(|claim| claim_json(claim, config.zone)).collect();
            json["invoiceable"] = json!(invoiceable(&mut tx, &account_id).await?.to_string());
            json["mail_quota"] = quota_json(quota.as_ref());
            json["plans"] = plans.iter().map(|plan| plan_json(plan, config.zone, now)).collect();
            output.show(&json, || {
                let mut text = sheet(&account, &json);
                for claim in &claims {
                    let _ = write!(text, "\n{:<12} {}", "", claim_words(claim, config.zone));
                }
                text.push_str(&quota_sheet(quota.as_ref(), &config));
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

pub(super) fn available(account: &AccountRow) -> Result<Micros, Failure> {
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
        "overdue": account.is_overdue(),
        "credit_limit": account.funds.credit_limit.to_string(),
        "verified": account.verified_at.is_some(),
        "verified_region": account.verified_region,
        "held": account.held,
    }))
}

fn sheet(account: &AccountRow, json: &Value) -> String {
    let funds = &account.funds;
    let money = |key: &str| json[key].as_str().and_then(|text| Micros::parse(text).ok()).unwrap_or_default();
    let verified = if account.verified_at.is_some() { ", verified" } else { "" };
    let rows = [
        ("Account", format!("{}  {}", account.account_id, account.name)),
        ("Kind", format!("{}{verified}", account.kind.as_str())),
        ("Status", standing(account)),
        ("Balance", format!("{} {}", funds.balance.for_people(), account.currency)),
        ("Unbilled", funds.unbilled.for_people()),
        ("Due", funds.due.for_people()),
        ("Available", money("available").for_people()),
        ("Invoiceable", money("invoiceable").for_people()),
    ];
    rows.iter().map(|(name, value)| format!("{name:<12} {value}")).collect::<Vec<_>>().join("\n")
}

/// The status, and why it is so.
fn standing(account: &AccountRow) -> String {
    let status = account.status.as_str();
    match (&account.held, account.is_overdue()) {
        (Some(reason), true) => format!("{status} (held: {reason}; overdue)"),
        (Some(reason), false) => format!("{status} (held: {reason})"),
        (None, true) => format!("{status} (overdue)"),
        (None, false) => status.to_owned(),
    }
}

fn closed_words(account: &AccountRow) -> String {
    let (id, funds) = (&account.account_id, &account.funds);
    let mut text = format!("Account {id} is closed.");
    if funds.balance > Micros::ZERO {
        let (balance, currency) = (funds.balance.round_down_to_cents().for_people(), &account.currency);
        let _ = write!(text, " Its balance of {balance} {currency} can be paid out by `account withdraw`.");
    }
    if funds.unbilled > Micros::ZERO {
        let unbilled = funds.unbilled.for_people();
        let _ = write!(text, " {unbilled} {} are still to be billed.", account.currency);
    }
    text
}

fn event_json(event: &StandingEvent, zone: Zone) -> Value {
    json!({
        "at": zone.format(event.at),
        "status": event.status,
        "reason": event.reason,
        "available": event.available.to_string(),
        "cause": event.cause,
    })
}

fn event_table(events: &[StandingEvent], zone: Zone) -> String {
    let row = |event: &StandingEvent| {
        let cause = event.cause.clone().unwrap_or_default();
        let available = event.available.for_people();
        vec![zone.format_short(event.at), event.status.clone(), event.reason.clone(), available, cause]
    };
    table(&["time", "status", "reason", ">available", "after"], events.iter().map(row).collect())
}

/// What is due, by what it is for.
fn claim_json((claim, open): &(Claim, Micros), zone: Zone) -> Value {
    json!({
        "kind": claim.kind,
        "ref": claim.reference,
        "at": zone.format(claim.at),
        "amount": claim.amount.to_string(),
        "open": open.to_string(),
    })
}

fn claim_words((claim, open): &(Claim, Micros), zone: Zone) -> String {
    let what = match claim.kind.as_str() {
        "bill" => format!("of the bill of {}", claim.reference),
        _ => format!("of penalty {}", claim.reference),
    };
    format!("{} {what}, since {}", open.for_people(), zone.format_short(claim.at))
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
