//! `explain message`: why a message cost what it cost, from stored facts.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::exceptions::{item_json, returned_json};
use super::{Failure, Session};
use crate::desk::exceptions::Item;
use crate::desk::story::{Story, amount, tell};
use crate::domain::period::{Timestamp, Zone, window_start};
use crate::store::messages::PaidPart;
use crate::store::receipts::StoredReceipt;
use crate::store::returns::ReturnRow;

#[derive(Debug, Subcommand)]
pub enum Explain {
    /// The life of one message, and what a failure receipt would give back now
    Message { account: String, message_id: String },
}

pub async fn run(session: &Session, command: Explain) -> Result<ExitCode, Failure> {
    let Explain::Message { account, message_id } = command;
    let config = session.config()?;
    let db = session.open(&config).await?;
    let story = tell(&mut db.read().await?, &config, &account, &message_id, session.now()).await?;
    db.close().await;
    session.output.show(&story_json(&story, session.now(), config.zone), || story.words(&config));
    Ok(ExitCode::SUCCESS)
}

fn story_json(story: &Story, now: Timestamp, zone: Zone) -> Value {
    let message = &story.stored.message;
    let final_of = |part: i64| story.receipts.iter().find(|r| r.is_final && r.part == part);
    let parts: Vec<&StoredReceipt> = story.receipts.iter().filter(|r| r.is_final && r.part > 0).collect();
    let all = |receipts: &[&StoredReceipt]| {
        receipts.iter().map(|receipt| receipt_json(receipt, zone)).collect::<Vec<_>>()
    };
    let exceptions = story.exceptions.iter().map(|row| item_json(&Item::from(row.clone()), now, zone));
    let if_failed = &story.if_failed_now;
    let mut if_failed_now = returned_json(&if_failed.returns);
    if if_failed_now.is_null() {
        if_failed_now = json!({ "plan": [], "money": "0" });
    }
    if_failed_now["answer"] = json!(if_failed.answer);
    if_failed_now["words"] = json!(story.if_failed_words());
    json!({
        "message_id": story.message_id,
        "account_id": &*message.account_id,
        "batch": message.place.batch_no.to_string(),
        "line": message.place.line,
        "product": &*message.product,
        "template_type": Some(&*message.template_type).filter(|word| !word.is_empty()),
        "country": Some(&*message.country).filter(|word| !word.is_empty()),
        "segments": message.units,
        "submit_time": zone.format(message.submit_time),
        "window": zone.format(window_start(message.submit_time)),
        "late": story.late,
        "charge": charge_json(&story.paid),
        "not_charged": story.settled.not_charged,
        "receipt": final_of(0).map(|receipt| receipt_json(receipt, zone)),
        "parts": Some(all(&parts)).filter(|parts| !parts.is_empty()),
        "receipts": all(&story.receipts.iter().collect::<Vec<_>>()),
        "return": return_json(&story.returns, zone),
        "exceptions": exceptions.collect::<Vec<_>>(),
        "state": story.state,
        "reason": story.reason,
        "final": story.is_final,
        "if_failed_now": if_failed_now,
        "bill": story.bill.as_ref().map(|(_, number)| number),
        "invoice": story.invoice,
    })
}

fn charge_json(paid: &[PaidPart]) -> Value {
    if paid.is_empty() {
        return Value::Null;
    }
    // A plan may have paid at the prices of two tiers (D4).
    let mut plans: Vec<(&String, i64)> = Vec::new();
    for part in paid {
        match (&part.plan_id, plans.last_mut()) {
            (Some(plan), Some((last, units))) if *last == plan => *units += part.units,
            (Some(plan), _) => plans.push((plan, part.units)),
            (None, _) => {}
        }
    }
    let plan = |(plan_id, units): &(&String, i64)| json!({ "plan_id": plan_id, "units": units });
    let payg = |part: &&PaidPart| part.plan_id.is_none() && !part.free;
    let free: i64 = paid.iter().filter(|part| part.free).map(|part| part.units).sum();
    let price = |part: &PaidPart| {
        json!({
            "units": part.units,
            "unit_price": part.unit_price.map(|price| price.to_string()),
            "amount": amount(part).to_string(),
        })
    };
    let mut json = json!({
        "plan": plans.iter().map(plan).collect::<Vec<_>>(),
        "payg": paid.iter().filter(payg).map(price).collect::<Vec<_>>(),
    });
    if free > 0 {
        json["free"] = json!(free);
    }
    json
}

fn receipt_json(receipt: &StoredReceipt, zone: Zone) -> Value {
    let kind = match (receipt.is_final, receipt.is_conflict) {
        (true, _) => "final",
        (false, true) => "conflict",
        (false, false) if receipt.is_late => "late",
        (false, false) => "note",
    };
    json!({
        "part": Some(receipt.part).filter(|part| *part > 0),
        "parts": receipt.parts,
        "status": receipt.status,
        "raw_status": receipt.raw_status,
        "err_code": receipt.err_code,
        "report_time": zone.format(receipt.report_time),
        "received_at": zone.format(receipt.received_at),
        "batch": receipt.place.batch_no.to_string(),
        "line": receipt.place.line,
        "kind": kind,
    })
}

/// What went back, in sum and way by way.
fn return_json(returns: &[ReturnRow], zone: Zone) -> Value {
    let mut json = returned_json(returns);
    if !json.is_null() {
        let way = |row: &ReturnRow| {
            json!({
                "part": Some(row.part).filter(|part| *part > 0),
                "units": row.units,
                "from_plan": row.from_plan,
                "to_plan": row.to_plan,
                "money_to": row.money_to,
                "unit_price": row.unit_price.map(|price| price.to_string()),
                "amount": row.amount.to_string(),
                "received_at": zone.format(row.received_at),
            })
        };
        json["ways"] = returns.iter().map(way).collect();
    }
    json
}
