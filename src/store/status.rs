//! Counts for the operator.

use super::db::{Row, Tx, values};
use super::error::StoreError;
use super::exceptions::IS_OPEN_LINE;
use super::many::execute_with;
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

/// An account that is parked for a fault of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedAccount {
    pub account_id: String,
    /// Messages that wait to be charged.
    pub messages: i64,
    /// Failures that wait to be settled, and why.
    pub failures: i64,
    pub fault: Option<String>,
}

impl ParkedAccount {
    /// What waits, and where more is told of it.
    pub fn words(&self) -> String {
        let many = |count: i64, what: &str| match count {
            1 => format!("1 {what} waits"),
            many => format!("{many} {what}s wait"),
        };
        let messages = (self.messages > 0).then(|| {
            format!("{} to be charged; see the log of aggregate-charges", many(self.messages, "message"))
        });
        let failures = self.fault.as_ref();
        let failures =
            failures.map(|fault| format!("{} to be settled: {fault}", many(self.failures, "failure")));
        messages.into_iter().chain(failures).collect::<Vec<_>>().join("; ")
    }
}

const PARKED: &str = "select account_id, count(*) as messages, cast(0 as bigint) as failures, \
      cast(null as text) as fault from suspense where run_no is null and reason = 'account_parked' group by account_id \
    union all select account_id, cast(0 as bigint), failures, fault from failures_parked";

/// How many accounts are parked.
pub async fn parked(tx: &mut Tx) -> Result<i64, StoreError> {
    tx.int(format!("select count(distinct account_id) from ({PARKED}) p"), vec![]).await
}

/// Accounts that are parked for a fault of their own, with what waits of them, up to `limit`.
pub async fn parked_accounts(
    tx: &mut Tx,
    scope: &Scope,
    limit: i64,
) -> Result<Vec<ParkedAccount>, StoreError> {
    let sql = format!(
        "select account_id, cast(sum(messages) as bigint), cast(sum(failures) as bigint), max(fault) \
         from ({PARKED}) p group by account_id order by account_id limit $1"
    );
    let parked = |row: &Row| {
        Ok(ParkedAccount {
            account_id: row.text(0)?,
            messages: row.int(1)?,
            failures: row.int(2)?,
            fault: row.opt_text(3)?,
        })
    };
    tx.rows(scope.narrow(&sql), values![limit]).await?.iter().map(parked).collect()
}

/// Notes whose failures the last run of `settle-receipts` could not settle: how many, and why.
pub async fn note_parked_failures(
    tx: &mut Tx,
    parked: impl IntoIterator<Item = (&str, i64, &str)>,
) -> Result<(), StoreError> {
    tx.execute("delete from failures_parked", vec![]).await?;
    let rows =
        parked.into_iter().map(|(account, failures, fault)| values![account, failures, fault]).collect();
    let columns = "account_id, failures, fault";
    let statement = format!("insert into failures_parked ({columns}) select {columns} from v");
    execute_with(tx, columns, rows, &statement).await.map(|_| ())
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
