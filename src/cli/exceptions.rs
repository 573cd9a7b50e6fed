//! `exception`: what waits for somebody to decide.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{table, with_times};
use super::{Failure, Session};
use crate::desk::exceptions::{self, Item};
use crate::domain::period::{Timestamp, Zone};
use crate::store::failures::Which;
use crate::store::returns::{ReturnRow, returned};

#[derive(Debug, Subcommand)]
pub enum ExceptionCommand {
    /// All that waits for somebody, with what resolves it: exceptions, suspense, lines, parked accounts
    List {
        /// Also exceptions that were approved or dismissed
        #[arg(long)]
        all: bool,
        /// At most so many of each sort, the oldest
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(1..))]
        limit: i64,
    },
    /// Let the failure count: it gives back what its message was charged, once
    Approve {
        id: String,
        /// Why, for whoever asks later
        #[arg(long)]
        reason: String,
        /// Whose message it is, where the receipt does not say
        #[arg(long)]
        account: Option<String>,
        /// Which message it is, where the account has several of one request and recipient
        #[arg(long, value_name = "ID")]
        message: Option<String>,
    },
    /// Close it; no money moves. BATCH:LINE names a line that was not taken
    Dismiss {
        id: String,
        /// Why, for whoever asks later
        #[arg(long)]
        reason: String,
    },
}

pub async fn run(session: &Session, command: ExceptionCommand) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let (now, zone) = (session.now(), config.zone);
    match command {
        ExceptionCommand::List { all, limit } => {
            let waiting = exceptions::list(&mut db.read().await?, all, limit).await?;
            let json: Vec<Value> = waiting.items.iter().map(|item| item_json(item, now, zone)).collect();
            session.output.show(&json!(json), || words(&waiting.items, now, zone));
            session.output.tell_of_more(waiting.has_more);
        }
        ExceptionCommand::Approve { id, reason, account, message } => {
            let which = Which { account_id: account.as_deref(), message_id: message.as_deref() };
            let approved = exceptions::approve(&db, &config, &id, &reason, which, now).await?;
            let mut json = item_json(&Item::from(approved.exception), now, zone);
            json["return"] = returned_json(&approved.returns);
            session.output.show(&json, || {
                let given: Vec<String> = approved.returns.iter().map(ReturnRow::words).collect();
                format!("Exception {id} approved: {}.", given.join(", "))
            });
        }
        ExceptionCommand::Dismiss { id, reason } => {
            let exception = exceptions::dismiss(&db, &id, &reason, now).await?;
            let json = item_json(&Item::from(exception), now, zone);
            session.output.show(&json, || format!("Exception {id} dismissed; no money moved."));
        }
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Whole hours since it waits.
fn age_hours(item: &Item, now: Timestamp) -> Option<i64> {
    item.opened_at.map(|opened| (now.0 - opened.0).max(0) / Timestamp::HOUR)
}

pub fn item_json(item: &Item, now: Timestamp, zone: Zone) -> Value {
    let closed = item.closed.as_ref();
    json!({
        "exception_id": item.id,
        "kind": item.kind,
        "account_id": item.account_id,
        "message_id": item.message_id,
        "part": item.part,
        "batch": item.place.map(|place| place.batch_no.to_string()),
        "line": item.place.map(|place| place.line),
        "opened_at": item.opened_at.map(|at| zone.format(at)),
        "age_hours": age_hours(item, now),
        "detail": with_times(&item.detail, zone),
        "resolution": closed.map(|closed| &closed.resolution),
        "reason": closed.map(|closed| &closed.reason),
        "closed_at": closed.map(|closed| zone.format(closed.at)),
        "remedy": Some(&item.remedy).filter(|remedy| !remedy.is_empty()),
    })
}

/// What went back of a message, as scripts read it; null where nothing did.
pub fn returned_json(returns: &[ReturnRow]) -> Value {
    if returns.is_empty() {
        return Value::Null;
    }
    let sum = returned(returns);
    let plan = |(plan, units): &(String, i64)| json!({ "plan_id": plan, "units": units });
    json!({ "plan": sum.plans.iter().map(plan).collect::<Vec<_>>(), "money": sum.money.to_string() })
}

fn words(items: &[Item], now: Timestamp, zone: Zone) -> String {
    if items.is_empty() {
        return "Nothing waits for anybody.".into();
    }
    let text = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".into());
    let row = |item: &Item| {
        let part = item.part.map_or(String::new(), |part| format!(" part {part}"));
        let age = age_hours(item, now).map_or("-".into(), |hours| match hours {
            0..48 => format!("{hours} h"),
            _ => format!("{} d", hours / 24),
        });
        let resolved = item.closed.as_ref().map(|closed| {
            format!("{} {}: {}", closed.resolution, zone.format_short(closed.at), closed.reason)
        });
        vec![
            text(&item.id),
            item.kind.clone(),
            text(&item.account_id),
            format!("{}{part}", text(&item.message_id)),
            age,
            with_times(&item.detail, zone),
            resolved.unwrap_or_else(|| item.remedy.clone()),
        ]
    };
    let columns = ["id", "kind", "account", "message", ">age", "what", "what resolves it"];
    table(&columns, items.iter().map(row).collect())
}
