//! `explain message`: why a message cost what it cost, from stored facts.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Failure, Session};
use crate::desk::DeskError;
use crate::domain::charge::is_late;
use crate::domain::money::Micros;
use crate::domain::period::{Zone, window_start};
use crate::store::messages::{PaidPart, StoredMessage, find, paid_parts};
use crate::store::runs;

#[derive(Debug, Subcommand)]
pub enum Explain {
    /// The life of one message
    Message { account: String, message_id: String },
}

pub async fn run(session: &Session, command: Explain) -> Result<ExitCode, Failure> {
    let Explain::Message { account, message_id } = command;
    let config = session.config()?;
    let db = session.open(&config).await?;
    let mut tx = db.read().await?;
    let Some(message) = find(&mut tx, &account, &message_id).await? else {
        let text = format!("account `{account}` has no message `{message_id}`; was it rejected at ingest?");
        return Err(DeskError::refused("unknown_message", text).into());
    };
    let parts = paid_parts(&mut tx, &account, &message).await?;
    let (state, reason) = state(&message);
    let product = config.catalog.get(&message.product);
    let is_final =
        state == Some("charged") && product.is_some_and(|p| p.is_final(message.submit_time, session.now()));
    let mut json = message_json(&account, &message_id, &message, &parts, config.zone);
    json["final"] = json!(is_final);
    let late = match message.batch_run_no {
        Some(run_no) => is_late(message.submit_time, runs::charged_up_to(&mut tx, run_no).await?),
        None => false,
    };
    json["late"] = json!(late);
    session.output.show(&json, || {
        let mut lines = vec![
            format!("Message {message_id} of account {account}"),
            format!("  taken     batch {} line {}", message.batch_no, message.line),
            format!("  sent      {}", config.zone.format(message.submit_time)),
            format!("  product   {}", class(&message)),
            format!("  size      {} x {}", message.units, config.unit_word(&message.product)),
        ];
        lines.extend(parts.iter().map(|part| format!("  charged   {}", words(part))));
        if late {
            lines.push("  late      its window had been charged before it came".into());
        }
        let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
        lines.push(format!(
            "  state     {}{reason}",
            state.unwrap_or("waits for the next aggregate-charges run")
        ));
        lines.join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

fn class(message: &StoredMessage) -> String {
    let words = [&*message.product, &*message.template_type, &*message.country];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn words(part: &PaidPart) -> String {
    match (&part.plan_id, part.unit_price) {
        (Some(plan), _) => format!("{} units from plan {plan}", part.units),
        (None, price) => {
            let price = price.unwrap_or_default();
            format!("{} units at {price} = {}", part.units, amount(part))
        }
    }
}

fn amount(part: &PaidPart) -> Micros {
    part.unit_price.and_then(|price| price.times(part.units).ok()).unwrap_or_default()
}

/// The state that scripts read, None while it waits for its charge; and the reason for it.
fn state(message: &StoredMessage) -> (Option<&'static str>, Option<&str>) {
    match (message.disposition.as_deref(), &message.suspense, message.run_no) {
        (Some("rejected"), ..) => (Some("rejected"), message.reject_code.as_deref()),
        (Some("inbound"), ..) => (Some("inbound"), None),
        (_, Some(reason), _) => (Some("suspense"), Some(reason)),
        (_, None, Some(_)) => (Some("charged"), None),
        (_, None, None) => (None, None),
    }
}

fn message_json(
    account: &str,
    message_id: &str,
    message: &StoredMessage,
    parts: &[PaidPart],
    zone: Zone,
) -> Value {
    let plan = |part: &PaidPart| Some(json!({ "plan_id": part.plan_id.as_ref()?, "units": part.units }));
    let payg = |part: &&PaidPart| part.plan_id.is_none();
    let price = |part: &PaidPart| {
        json!({
            "units": part.units,
            "unit_price": part.unit_price.map(|price| price.to_string()),
            "amount": amount(part).to_string(),
        })
    };
    let charge = (!parts.is_empty()).then(|| {
        json!({
            "plan": parts.iter().filter_map(plan).collect::<Vec<_>>(),
            "payg": parts.iter().filter(payg).map(price).collect::<Vec<_>>(),
        })
    });
    let (state, reason) = state(message);
    json!({
        "message_id": message_id,
        "account_id": account,
        "batch": message.batch_no.to_string(),
        "line": message.line,
        "product": message.product,
        "template_type": Some(&message.template_type).filter(|word| !word.is_empty()),
        "country": Some(&message.country).filter(|word| !word.is_empty()),
        "segments": message.units,
        "submit_time": zone.format(message.submit_time),
        "window": zone.format(window_start(message.submit_time)),
        "charge": charge,
        "receipt": null,
        "return": null,
        "state": state,
        "reason": reason,
        "bill": null,
        "invoice": null,
    })
}
