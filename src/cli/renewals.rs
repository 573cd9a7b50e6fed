//! `renewal set | off | list`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::count;
use super::{Failure, Session};
use crate::config::Config;
use crate::desk::renewals::{self, Price, Renewal};
use crate::domain::money::Micros;
use crate::domain::renewal::DueBy;
use crate::store::renewals::RenewalRow;

#[derive(Debug, Subcommand)]
pub enum RenewalCommand {
    /// Buy the package again when few units are left, or ten days before the plan in use ends
    Set {
        account: String,
        package: String,
        /// Buy when no more units than these are left, in all plans together
        #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
        threshold: i64,
    },
    /// Buy nothing any more, at once
    Off { account: String, product: String },
    /// What is bought automatically, what was bought last, and what was refused last
    List { account: String },
}

pub async fn run(session: &Session, command: RenewalCommand) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let now = session.now();
    match command {
        RenewalCommand::Set { account, package, threshold } => {
            let set = renewals::set(&db, &config, &account, &package, threshold, now).await?;
            session.output.show(&renewal_json(&set, &config), || sheet(&set, &config));
        }
        RenewalCommand::Off { account, product } => {
            let off = renewals::switch_off(&db, &config, &account, &product, now).await?;
            session.output.show(&renewal_json(&off, &config), || sheet(&off, &config));
        }
        RenewalCommand::List { account } => {
            let mut tx = db.read().await?;
            let all = renewals::list(&mut tx, &config, &account, now).await?;
            tx.rollback().await?;
            let json: Vec<Value> = all.iter().map(|renewal| renewal_json(renewal, &config)).collect();
            session.output.show(&json!(json), || match all.is_empty() {
                true => format!(
                    "Nothing is renewed for account {account}: where plans end, pay-as-you-go goes on."
                ),
                false => all.iter().map(|one| sheet(one, &config)).collect::<Vec<_>>().join("\n\n"),
            });
        }
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

/// The keys that scripts read.
fn renewal_json(renewal: &Renewal, config: &Config) -> Value {
    let Renewal { row, price, last_purchase } = renewal;
    let zone = config.zone;
    let purchase = |bought: &RenewalRow| {
        json!({
            "order_id": bought.order_id,
            "at": zone.format(bought.at),
            "due_by": bought.due_by.as_str(),
            "renewed_plan": bought.renewed_plan,
            "remaining": bought.remaining,
            "price": bought.price.to_string(),
        })
    };
    json!({
        "account_id": row.account_id,
        "product": &*row.setting.product,
        "package": &*row.setting.package,
        "threshold": row.setting.threshold,
        "enabled": row.off_at.is_none(),
        "set_at": zone.format(row.set_at),
        "off_at": row.off_at.map(|at| zone.format(at)),
        "price": price.as_ref().map(|price| price.price.to_string()),
        "list_price": price.as_ref().map(|price| price.list_price.to_string()),
        "discount": price.as_ref().map(|price| Micros(price.discount_ppm).to_string()),
        "validity": price.as_ref().map(|price| price.validity.to_string()),
        "last_purchase": last_purchase.as_ref().map(purchase),
        "last_refusal": row.refused.as_ref().map(|refused| json!({
            "at": zone.format(refused.at),
            "code": refused.code,
            "message": refused.text,
        })),
    })
}

/// A setting as people read it.
fn sheet(renewal: &Renewal, config: &Config) -> String {
    let Renewal { row, price, last_purchase } = renewal;
    let (zone, setting) = (config.zone, &row.setting);
    let unit = config.unit_word(&setting.product);
    let state = match row.off_at {
        None => format!("on since {}", zone.format_short(row.set_at)),
        Some(at) => format!("off since {}", zone.format_short(at)),
    };
    let mut rows = vec![
        ("Renewal", format!("{}, {state}", setting.product)),
        ("Buys", format!("{}{}", setting.package, price.as_ref().map(price_words).unwrap_or_default())),
        ("When", format!("{} {unit}s are left, or 10 days before the end", count(setting.threshold))),
    ];
    if let Some(bought) = last_purchase {
        let plan = bought.renewed_plan.as_ref().map(|plan| format!(" after {plan}")).unwrap_or_default();
        let (price, at) = (bought.price.for_people(), zone.format_short(bought.at));
        rows.push((
            "Bought last",
            format!("{at}  {}{plan} for {price}: {}", bought.order_id, why(bought, unit)),
        ));
    }
    if let Some(refused) = &row.refused {
        let at = zone.format_short(refused.at);
        rows.push(("Refused last", format!("{at}  {}\n{:13}{}", refused.code, "", refused.text)));
    }
    rows.iter().map(|(name, value)| format!("{name:<12} {value}")).collect::<Vec<_>>().join("\n")
}

fn price_words(price: &Price) -> String {
    let off = match price.discount_ppm {
        0 => String::new(),
        // The discount in hundredths.
        ppm => format!(", {} % off {}", Micros(ppm.saturating_mul(100)), price.list_price.for_people()),
    };
    format!(" for {}{off}, valid for {}", price.price.for_people(), price.validity)
}

fn why(bought: &RenewalRow, unit: &str) -> String {
    let few = format!("{} {unit}s were left", count(bought.remaining));
    match bought.due_by {
        DueBy::Threshold => few,
        DueBy::Time => "10 days before the end".into(),
        DueBy::Both => format!("10 days before the end, and {few}"),
    }
}
