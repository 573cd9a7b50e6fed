//! `usage`: what an account sent in a month, and why not all of it is billed.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::output::{count, table};
use super::{Failure, Session};
use crate::desk::usage::{Usage, explained, usage};
use crate::domain::period::{Day, Month};
use crate::store::usage::Counts;

#[derive(Debug, clap::Args)]
pub struct UsageArgs {
    account: String,
    /// The month, in the billing zone
    #[arg(long, value_name = "YYYY-MM")]
    month: Month,
}

pub async fn run(session: &Session, args: UsageArgs) -> Result<ExitCode, Failure> {
    let UsageArgs { account, month } = args;
    let config = session.config()?;
    let db = session.open(&config).await?;
    let usage = usage(&db, &account, config.zone, month, session.now()).await?;
    db.close().await;
    let json = usage_json(&account, month, &usage);
    session.output.show(&json, || words(&account, month, &usage));
    Ok(ExitCode::SUCCESS)
}

fn usage_json(account: &str, month: Month, usage: &Usage) -> Value {
    let day = |(day, counts): (&Day, &Counts)| {
        let mut json = counts_json(counts);
        json["date"] = json!(day.to_string());
        json
    };
    let class = |([product, template_type, country], counts): (&[String; 3], &Counts)| {
        let mut json = counts_json(counts);
        json["product"] = json!(product);
        json["template_type"] = json!(Some(template_type).filter(|word| !word.is_empty()));
        json["country"] = json!(Some(country).filter(|word| !word.is_empty()));
        json
    };
    json!({
        "account_id": account,
        "month": month.to_string(),
        "days": usage.days.iter().map(day).collect::<Vec<_>>(),
        "classes": usage.classes.iter().map(class).collect::<Vec<_>>(),
        "total": counts_json(&usage.total),
    })
}

fn words(account: &str, month: Month, usage: &Usage) -> String {
    if usage.days.is_empty() {
        return format!("Account {account} sent nothing in {month}.");
    }
    let days = usage.days.iter().map(|(day, counts)| line(&[&day.to_string()], counts));
    let days = days.chain([line(&["total"], &usage.total)]);
    let class = |([product, template_type, country], counts): (&[String; 3], &Counts)| {
        line(&[product, template_type, country], counts)
    };
    format!(
        "Account {account} in {month}, in units; attempts are messages.\n\n{}\n\n{}\n\n{}",
        table(&[&["date"], COUNTED].concat(), days.collect()),
        table(
            &[&["product", "type", "country"], COUNTED].concat(),
            usage.classes.iter().map(class).collect()
        ),
        explained(&usage.total).join("\n")
    )
}

const COUNTED: &[&str] =
    &[">attempts", ">submitted", ">delivered", ">failed", ">unknown", ">pending", ">free", ">billed"];

fn counted(counts: &Counts) -> [i64; 8] {
    let Counts { attempts, submitted, delivered, failed, unknown, free, billed, allowance, .. } = *counts;
    [attempts, submitted, delivered, failed, unknown, counts.pending(), free + allowance, billed]
}

fn line(words: &[&str], counts: &Counts) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).chain(counted(counts).map(count)).collect()
}

/// The keys that scripts read, and what explains the difference between submitted and billed.
fn counts_json(counts: &Counts) -> Value {
    let [attempts, submitted, delivered, failed, unknown, pending, free, billed] = counted(counts);
    json!({
        "attempts": attempts,
        "submitted": submitted,
        "delivered": delivered,
        "failed": failed,
        "unknown": unknown,
        "pending": pending,
        "free": free,
        "billed": billed,
        "allowance": counts.allowance,
        "given_back": counts.given_back(),
        "approved": counts.approved,
        "failed_billed": counts.failed_billed(),
        "suspense": counts.suspense,
        "uncharged": counts.uncharged,
    })
}
