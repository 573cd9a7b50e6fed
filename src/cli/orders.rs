//! `order place` and `plan list`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{count, table};
use super::{Failure, Session};
use crate::desk::{accounts, orders};
use crate::domain::period::{Timestamp, Zone};
use crate::domain::plan::PlanState;
use crate::store::orders::{PlanRow, plans};

#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// Buy plans, paid from the balance and effective at once
    Place {
        account: String,
        /// Packages, each with how many plans of it
        #[arg(required = true, value_name = "PACKAGE[:QTY]", value_parser = orders::Wanted::parse)]
        packages: Vec<orders::Wanted>,
        /// The order's own number at the buyer: the same again buys nothing
        #[arg(long)]
        reference: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// The plans of an account
    List { account: String },
}

pub async fn order(session: &Session, command: OrderCommand) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let now = session.now();
    let OrderCommand::Place { account, packages, reference } = command;
    let order = orders::place(&db, &config, &account, &packages, reference.as_deref(), now).await?;
    db.close().await;
    let plans: Vec<Value> = order.plans.iter().map(|plan| plan_json(plan, config.zone, now)).collect();
    let json = json!({
        "order_id": order.order_id,
        "account_id": account,
        "status": order.status,
        "total": order.total.to_string(),
        "paid": order.paid.to_string(),
        "plans": plans,
    });
    session.output.show(&json, || {
        let title = format!("Order {}: {} paid from the balance.", order.order_id, order.paid.for_people());
        format!("{title}\n\n{}", plan_table(&order.plans, config.zone, now))
    });
    Ok(ExitCode::SUCCESS)
}

pub async fn plan(session: &Session, command: PlanCommand) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let now = session.now();
    let PlanCommand::List { account } = command;
    let mut tx = db.read().await?;
    accounts::find(&mut tx, &account).await?;
    let plans = plans(&mut tx, &account).await?;
    let json: Vec<Value> = plans.iter().map(|plan| plan_json(plan, config.zone, now)).collect();
    session.output.show(&json!(json), || match plans.is_empty() {
        true => format!("Account {account} has no plans."),
        false => plan_table(&plans, config.zone, now),
    });
    Ok(ExitCode::SUCCESS)
}

/// The keys that scripts read.
pub fn plan_json(plan: &PlanRow, zone: Zone, now: Timestamp) -> Value {
    json!({
        "plan_id": plan.plan_id,
        "product": plan.product,
        "package": plan.package,
        "order_id": plan.order_id,
        "size": plan.size,
        "remaining": plan.remaining,
        "used": plan.size - plan.remaining - plan.forfeited,
        "forfeited": plan.forfeited,
        "countries": plan.countries.named().0,
        "except": plan.countries.named().1,
        "price": plan.price.to_string(),
        "effective_at": zone.format(plan.effective_at),
        "expires_at": zone.format(plan.expires_at),
        "state": state(plan, now),
    })
}

fn state(plan: &PlanRow, now: Timestamp) -> &'static str {
    PlanState::at(now, plan.expires_at, plan.remaining).as_str()
}

/// Plans as the console's Resource Plan page shows them (R31, R150).
pub fn plan_table(plans: &[PlanRow], zone: Zone, now: Timestamp) -> String {
    let row = |plan: &PlanRow| {
        let days = (plan.expires_at.0.saturating_sub(now.0) / Timestamp::DAY).max(0);
        vec![
            plan.plan_id.clone(),
            plan.package.clone(),
            count(plan.size),
            count(plan.remaining),
            plan.price.for_people(),
            zone.format_short(plan.expires_at),
            count(days),
            state(plan, now).into(),
        ]
    };
    let columns = ["plan", "package", ">size", ">remaining", ">price", "expires", ">days left", "state"];
    table(&columns, plans.iter().map(row).collect())
}
