//! One message and what became of it, derived from stored facts.

use std::collections::BTreeMap;

use super::db::{Tx, values};
use super::error::StoreError;
use super::failures::FailedMessage;
use super::settling::{self, ChargeKey};
use crate::domain::charge::{Payer, Place};
use crate::domain::message::MessageKey;
use crate::domain::money::Micros;
use crate::domain::period::Timestamp;
use crate::domain::settle::{SettledParts, paid_units};

/// A message as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// As settling would see it if it failed.
    pub message: FailedMessage,
    pub reject_code: Option<String>,
    /// Why it waits in suspense; None where it does not.
    pub suspense: Option<String>,
    /// The run that took its batch: earlier than its charge, where it waited in suspense.
    pub batch_run_no: Option<i64>,
}

/// Some of a message's units and who paid for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidPart {
    /// None: pay-as-you-go, or nobody.
    pub plan_id: Option<String>,
    /// Nobody paid: the product's free units (R30).
    pub free: bool,
    pub units: i64,
    pub unit_price: Option<Micros>,
}

pub async fn find(
    tx: &mut Tx,
    account_id: &str,
    message_id: &str,
) -> Result<Option<StoredMessage>, StoreError> {
    let key = MessageKey::of(message_id);
    let sql = "select m.batch_no, m.line, m.product, m.template_type, m.country, m.disposition, m.reject_code, \
               m.units, m.submit_time, s.reason, s.run_no, b.run_no from messages m \
               join batches b on b.batch_no = m.batch_no \
               left join suspense s on s.account_id = m.account_id and s.id_hi = m.id_hi and s.id_lo = m.id_lo \
               where m.account_id = $1 and m.id_hi = $2 and m.id_lo = $3";
    let Some(row) = tx.row(sql, values![account_id, key.hi, key.lo]).await? else { return Ok(None) };
    let (suspense, released, batch_run) = (row.opt_text(9)?, row.opt_int(10)?, row.opt_int(11)?);
    let waits = suspense.is_some() && released.is_none();
    let message = FailedMessage {
        account_id: account_id.into(),
        key,
        product: row.text(2)?.into(),
        template_type: row.text(3)?.into(),
        country: row.text(4)?.into(),
        disposition: row.opt_text(5)?.map(Into::into),
        units: row.int(7)?,
        submit_time: Timestamp(row.int(8)?),
        place: Place { batch_no: row.int(0)?, line: row.int(1)? },
        charged_by: if waits { None } else { released.or(batch_run) },
        in_suspense: waits,
    };
    Ok(Some(StoredMessage {
        message,
        reject_code: row.opt_text(6)?,
        batch_run_no: batch_run,
        suspense: suspense.filter(|_| waits),
    }))
}

/// Who paid for the units of a charged message, less the parts that were left out of its charge.
pub async fn paid_parts(
    tx: &mut Tx,
    message: &FailedMessage,
    settled: &SettledParts,
) -> Result<Vec<PaidPart>, StoreError> {
    // What the gateway refused or a user sent in has no place among the charged messages.
    let free = matches!(message.disposition.as_deref(), Some("rejected" | "inbound"));
    let Some(run_no) = message.charged_by.filter(|_| !free && !settled.not_charged.contains(&0)) else {
        return Ok(Vec::new());
    };
    let key = ChargeKey::of(message, run_no);
    let charges = settling::charges(tx, [(&*message.account_id, key.window, run_no)]).await?;
    let charges = charges.get(&key).map_or(&[][..], Vec::as_slice);
    let paid = paid_units(charges, message.place, message.units - settled.not_charged.len() as i64);
    let plans = plan_ids(tx, &message.account_id).await?;
    let part = |paid: &crate::domain::settle::Paid| PaidPart {
        plan_id: match paid.payer {
            Payer::Payg | Payer::Free => None,
            Payer::Plan(plan_no) => plans.get(&plan_no).cloned(),
        },
        free: paid.payer == Payer::Free,
        units: paid.units,
        unit_price: paid.unit_price,
    };
    Ok(paid.iter().map(part).collect())
}

/// The ids of an account's plans by their numbers.
pub async fn plan_ids(tx: &mut Tx, account_id: &str) -> Result<BTreeMap<i64, String>, StoreError> {
    let sql = "select plan_no, plan_id from plans where account_id = $1";
    tx.rows(sql, values![account_id]).await?.iter().map(|row| Ok((row.int(0)?, row.text(1)?))).collect()
}
