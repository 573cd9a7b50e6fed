//! Counts for the operator.

use super::db::{Row, Tx, values};
use super::error::StoreError;
use super::exceptions::IS_OPEN_LINE;
use super::scope::Scope;
use crate::domain::message::MessageKey;
use crate::domain::money::Micros;
use crate::domain::period::Timestamp;

/// A message that waits in suspense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspenseRow {
    pub account_id: String,
    pub message_id: String,
    pub batch_no: i64,
    pub line: i64,
    pub reason: String,
    pub submit_time: Timestamp,
    /// When its batch came.
    pub since: Timestamp,
}

/// Messages in suspense by reason.
pub async fn suspense_by_reason(tx: &mut Tx) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "select reason, count(*) from suspense where run_no is null group by reason order by reason";
    tx.rows(sql, vec![]).await?.iter().map(|row| Ok((row.text(0)?, row.int(1)?))).collect()
}

/// Messages in suspense, oldest first, up to `limit`.
pub async fn suspense(tx: &mut Tx, limit: i64) -> Result<Vec<SuspenseRow>, StoreError> {
    let sql = "select s.account_id, s.id_hi, s.id_lo, m.raw_id, s.batch_no, s.line, s.reason, m.submit_time, \
               b.ingested_at from suspense s join messages m on m.account_id = s.account_id and m.id_hi = s.id_hi \
               and m.id_lo = s.id_lo join batches b on b.batch_no = s.batch_no where s.run_no is null order by s.batch_no, s.line limit $1";
    let suspended = |row: &Row| {
        let key = MessageKey { hi: row.int(1)?, lo: row.int(2)? };
        Ok(SuspenseRow {
            account_id: row.text(0)?,
            message_id: key.original(row.opt_text(3)?.as_deref()),
            batch_no: row.int(4)?,
            line: row.int(5)?,
            reason: row.text(6)?,
            submit_time: Timestamp(row.int(7)?),
            since: Timestamp(row.int(8)?),
        })
    };
    tx.rows(sql, values![limit]).await?.iter().map(suspended).collect()
}

/// How many accounts are parked.
pub async fn parked(tx: &mut Tx) -> Result<i64, StoreError> {
    let sql = "select count(distinct account_id) from suspense where run_no is null \
               and reason = 'account_parked'";
    tx.int(sql, vec![]).await
}

/// Accounts that are parked for a fault of their own, with their messages that wait, up to `limit`.
pub async fn parked_accounts(
    tx: &mut Tx,
    scope: &Scope,
    limit: i64,
) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "select account_id, count(*) from suspense where run_no is null and reason = 'account_parked' \
               group by account_id order by account_id limit $1";
    tx.rows(scope.narrow(sql), values![limit])
        .await?
        .iter()
        .map(|row| Ok((row.text(0)?, row.int(1)?)))
        .collect()
}

/// Lines that ingest rejected or found in conflict and nobody has retried or dismissed.
pub async fn quarantined(tx: &mut Tx) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = format!(
        "select l.verdict, count(*) from batch_lines l where {IS_OPEN_LINE} group by l.verdict order by l.verdict"
    );
    tx.rows(sql, vec![]).await?.iter().map(|row| Ok((row.text(0)?, row.int(1)?))).collect()
}

/// Accounts by status.
pub async fn accounts_by_status(tx: &mut Tx) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "select status, count(*) from accounts group by status order by status";
    tx.rows(sql, vec![]).await?.iter().map(|row| Ok((row.text(0)?, row.int(1)?))).collect()
}

/// What was charged of a product in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargedSum {
    pub product: String,
    pub currency: String,
    pub messages: i64,
    pub plan_units: i64,
    pub payg_units: i64,
    /// Of the free units of products that have some (R30).
    pub free_units: i64,
    pub payg_amount: Micros,
}

/// Orders whose refund was asked for and waits for an operator.
pub async fn refund_requests(tx: &mut Tx) -> Result<i64, StoreError> {
    tx.int("select count(*) from orders where status = 'pending_review'", vec![]).await
}

/// Everything charged so far, by product and currency.
pub async fn charged_sums(tx: &mut Tx) -> Result<Vec<ChargedSum>, StoreError> {
    let sql = "select c.product, a.currency, cast(sum(c.messages) as bigint), \
               cast(sum(case when c.plan_no > 0 then c.units else 0 end) as bigint), \
               cast(sum(case when c.plan_no = 0 then c.units else 0 end) as bigint), \
               cast(sum(c.amount) as bigint), \
               cast(sum(case when c.plan_no < 0 then c.units else 0 end) as bigint) \
               from charges c join accounts a on a.account_id = c.account_id \
               group by c.product, a.currency order by c.product, a.currency";
    let sum = |row: &Row| {
        Ok(ChargedSum {
            product: row.text(0)?,
            currency: row.text(1)?,
            messages: row.int(2)?,
            plan_units: row.int(3)?,
            payg_units: row.int(4)?,
            payg_amount: Micros(row.int(5)?),
            free_units: row.int(6)?,
        })
    };
    tx.rows(sql, vec![]).await?.iter().map(sum).collect()
}

/// What was given back of a product in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnedSum {
    pub product: String,
    pub currency: String,
    pub messages: i64,
    pub plan_units: i64,
    pub money_units: i64,
    pub amount: Micros,
}

/// Everything given back so far, by product and currency.
pub async fn returned_sums(tx: &mut Tx) -> Result<Vec<ReturnedSum>, StoreError> {
    let sql = "select r.product, a.currency, cast(sum(case when r.seq = 1 then 1 else 0 end) as bigint), \
               cast(sum(case when r.to_plan > 0 then r.units else 0 end) as bigint), \
               cast(sum(case when r.to_plan = 0 then r.units else 0 end) as bigint), \
               cast(sum(r.amount) as bigint) from returns r join accounts a on a.account_id = r.account_id \
               group by r.product, a.currency order by r.product, a.currency";
    let sum = |row: &Row| {
        Ok(ReturnedSum {
            product: row.text(0)?,
            currency: row.text(1)?,
            messages: row.int(2)?,
            plan_units: row.int(3)?,
            money_units: row.int(4)?,
            amount: Micros(row.int(5)?),
        })
    };
    tx.rows(sql, vec![]).await?.iter().map(sum).collect()
}
