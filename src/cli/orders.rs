//! `order place | show | list | refund | approve | reject` and `plan list`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{count, table};
use super::{Failure, Session};
use crate::config::Config;
use crate::desk::{accounts, orders, refunds};
use crate::domain::money::Micros;
use crate::domain::period::{Timestamp, Zone};
use crate::domain::refund::OrderStatus;
use crate::store::orders::{OrderRow, PlanRow, plans};

#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// Buy plans, paid from the balance and effective at once
    Place {
        account: String,
        /// Packages, each with how many plans of it
        #[arg(required = true, value_name = "PACKAGE[:QTY]", value_parser = orders::Wanted::parse)]
        packages: Vec<orders::Wanted>,
        /// A coupon that pays before cash: its id, or `best` for the account's best
        #[arg(long, value_name = "COUPON")]
        coupon: Option<String>,
        /// The order's own number at the buyer: the same again buys nothing
        #[arg(long)]
        reference: Option<String>,
    },
    /// Show an order: what it cost, who paid, what went back, its plans
    Show { order: String },
    /// Orders of an account, or of all
    List {
        account: Option<String>,
        /// Those alone whose refund waits for approve or reject
        #[arg(long)]
        pending: bool,
    },
    /// Give an order back, or one plan of it: what cash paid goes to the balance
    Refund {
        order: String,
        /// Only this plan
        #[arg(long)]
        plan: Option<String>,
    },
    /// Grant a request that waits: unused plans are given back, the others end
    Approve { order: String },
    /// Turn down a request that waits
    Reject { order: String },
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
    let done = match &command {
        OrderCommand::Place { account, packages, coupon, reference } => {
            let (coupon, reference) = (coupon.as_deref(), reference.as_deref());
            let purchase = orders::Purchase { wanted: packages, coupon, reference };
            let order = orders::buy(&db, &config, account, purchase, now).await?;
            db.close().await;
            let json = order_json(&order, config.zone, now);
            session.output.show(&json, || {
                format!("{}\n\n{}", placed_words(&order), plan_table(&order.plans, config.zone, now))
            });
            return Ok(ExitCode::SUCCESS);
        }
        OrderCommand::List { account, pending } => {
            let orders = orders::list(&db, account.as_deref(), *pending).await?;
            db.close().await;
            let json: Vec<Value> = orders.iter().map(|order| summary_json(order, config.zone)).collect();
            session.output.show(&json!(json), || match orders.is_empty() {
                true => "No orders.".into(),
                false => order_table(&orders, config.zone),
            });
            return Ok(ExitCode::SUCCESS);
        }
        OrderCommand::Show { order } => refunds::show(&db, &config, order, now).await?,
        OrderCommand::Refund { order, plan } => {
            refunds::ask(&db, &config, order, plan.as_deref(), now).await?
        }
        OrderCommand::Approve { order } => refunds::approve_request(&db, &config, order, now).await?,
        OrderCommand::Reject { order } => refunds::reject_request(&db, &config, order, now).await?,
    };
    db.close().await;
    let mut json = order_json(&done.order, config.zone, now);
    json["refundable"] = done.refundable.to_string().into();
    session.output.show(&json, || order_words(&done, &config, now));
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
fn order_json(order: &OrderRow, zone: Zone, now: Timestamp) -> Value {
    let mut json = summary_json(order, zone);
    json["plans"] = order.plans.iter().map(|plan| plan_json(plan, zone, now)).collect();
    json
}

/// An order without its plans.
fn summary_json(order: &OrderRow, zone: Zone) -> Value {
    json!({
        "order_id": order.order_id,
        "account_id": order.account_id,
        "status": order.status.as_str(),
        "placed_at": zone.format(order.placed_at),
        "currency": order.currency,
        "total": order.total.to_string(),
        "coupon": order.coupon.to_string(),
        "coupon_id": order.coupon_id,
        "paid": order.paid.to_string(),
        "refunded": order.refunded.to_string(),
        "penalties": order.penalties.to_string(),
        "kept": order.kept.to_string(),
        "invoice": order.invoice_id(),
    })
}

fn placed_words(order: &OrderRow) -> String {
    let cash = format!("Order {}: {} paid from the balance", order.order_id, order.paid.for_people());
    match &order.coupon_id {
        Some(coupon) => format!("{cash}, {} by coupon {coupon}.", order.coupon.for_people()),
        None => format!("{cash}."),
    }
}

/// An order as a clerk reads it: its sums, its plans, and what can be done with it.
fn order_words(shown: &refunds::Shown, config: &Config, now: Timestamp) -> String {
    let order = &shown.order;
    let zone = config.zone;
    let money = |amount: Micros| amount.for_people();
    let mut sums = vec![("list price", money(order.total), order.currency.clone())];
    if let Some(coupon) = &order.coupon_id {
        sums.push(("coupon", money(order.coupon), coupon.clone()));
    }
    sums.push(("paid in cash", money(order.paid), String::new()));
    sums.push(("refunded", money(order.refunded), String::new()));
    if order.penalties > Micros::ZERO {
        let kept = format!("{} of them kept at refunds", money(order.kept));
        sums.push(("penalties", money(order.penalties), kept));
    }
    let less = if order.penalties > order.kept { "what is unused, less penalties" } else { "what is unused" };
    sums.push(("refundable", money(shown.refundable), less.into()));
    let sums = sums.into_iter().map(|(what, amount, note)| vec![what.to_owned(), amount, note]).collect();
    let row = |plan: &PlanRow| {
        vec![
            plan.plan_id.clone(),
            plan.package.clone(),
            size(plan),
            count(plan.remaining),
            money(plan.price),
            money(plan.coupon),
            money(Micros(plan.price.0 - plan.coupon.0)),
            money(plan.refunded),
            zone.format_short(plan.expires_at),
            plan.state(now).as_str().into(),
        ]
    };
    let columns = [
        "plan",
        "package",
        ">size",
        ">remaining",
        ">price",
        ">coupon",
        ">cash",
        ">refunded",
        "expires",
        "state",
    ];
    let invoice = order.invoice_id().map_or(String::new(), |invoice| format!(", invoice {invoice}"));
    let title = format!(
        "Order {} of account {}, placed {}: {}{invoice}",
        order.order_id,
        order.account_id,
        zone.format_short(order.placed_at),
        order.status.as_str().replace('_', " ")
    );
    let plans = table(&columns, order.plans.iter().map(row).collect());
    let advice = advice(order);
    format!("{title}\n\n{}\n\n{plans}{advice}", table(&["sum", ">amount", ""], sums))
}

/// What is to be done next.
fn advice(order: &OrderRow) -> String {
    let id = &order.order_id;
    match order.status {
        OrderStatus::PendingReview => format!(
            "\n\nA request for its refund waits, since some of it was used or has expired: `quittance order approve {id}` \
             gives back what is unused and ends the rest, `quittance order reject {id}` turns it down."
        ),
        OrderStatus::Rejected => {
            format!(
                "\n\nThe request for its refund was turned down; `quittance order refund {id}` asks again."
            )
        }
        _ => String::new(),
    }
}

fn order_table(orders: &[OrderRow], zone: Zone) -> String {
    let row = |order: &OrderRow| {
        vec![
            order.order_id.clone(),
            order.account_id.clone(),
            zone.format_short(order.placed_at),
            order.total.for_people(),
            order.coupon.for_people(),
            order.paid.for_people(),
            order.refunded.for_people(),
            order.currency.clone(),
            order.status.as_str().replace('_', " "),
        ]
    };
    let columns =
        ["order", "account", "placed", ">list price", ">coupon", ">cash", ">refunded", "currency", "status"];
    table(&columns, orders.iter().map(row).collect())
}

/// The keys that scripts read.
pub fn plan_json(plan: &PlanRow, zone: Zone, now: Timestamp) -> Value {
    json!({
        "plan_id": plan.plan_id,
        "product": plan.product,
        "package": plan.package,
        "order_id": plan.order_id,
        "size": plan.size,
        "bonus": plan.bonus,
        "remaining": plan.remaining,
        "used": plan.size - plan.remaining - plan.forfeited,
        "forfeited": plan.forfeited_units(),
        "countries": plan.countries.named().0,
        "except": plan.countries.named().1,
        "price": plan.price.to_string(),
        "coupon": plan.coupon.to_string(),
        "paid": Micros(plan.price.0 - plan.coupon.0).to_string(),
        "refunded": plan.refunded.to_string(),
        "effective_at": zone.format(plan.effective_at),
        "expires_at": zone.format(plan.expires_at),
        "refunded_at": plan.refunded_at.map(|at| zone.format(at)),
        "state": plan.state(now).as_str(),
    })
}

/// Units of a plan, gifts shown apart: `1,000 + 100`.
fn size(plan: &PlanRow) -> String {
    match plan.bonus {
        0 => count(plan.size),
        bonus => format!("{} + {}", count(plan.size - bonus), count(bonus)),
    }
}

/// Plans as the console's Resource Plan page shows them (R31, R150).
pub fn plan_table(plans: &[PlanRow], zone: Zone, now: Timestamp) -> String {
    let row = |plan: &PlanRow| {
        let days = (plan.expires_at.0.saturating_sub(now.0) / Timestamp::DAY).max(0);
        vec![
            plan.plan_id.clone(),
            plan.package.clone(),
            size(plan),
            count(plan.remaining),
            plan.price.for_people(),
            zone.format_short(plan.expires_at),
            count(days),
            plan.state(now).as_str().into(),
        ]
    };
    let columns = ["plan", "package", ">size", ">left", ">price", "expires", ">days", "state"];
    let mut text = table(&columns, plans.iter().map(row).collect());
    let forfeited: Vec<i64> = plans.iter().map(PlanRow::forfeited_units).filter(|units| *units > 0).collect();
    if !forfeited.is_empty() {
        let (units, of) = (count(forfeited.iter().sum()), forfeited.len());
        let plans = if of == 1 { "a plan".into() } else { format!("{of} plans") };
        text.push_str(&format!("\n\n{units} units of {plans} are forfeited."));
    }
    text
}
