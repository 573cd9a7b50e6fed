//! Batches of receipts whose messages should have come by now.

use super::db::{Tx, values};
use super::error::StoreError;
use super::settling::ExceptionKind;
use crate::domain::period::Timestamp;

/// Batches of receipts that came before a time and were not looked through yet.
pub async fn open_batches(tx: &mut Tx, came_before: Timestamp) -> Result<Vec<i64>, StoreError> {
    let sql = "select batch_no from batches where kind = 'receipts' and closed_by is null and ingested_at < $1 \
               order by batch_no";
    tx.rows(sql, values![came_before.0]).await?.iter().map(|row| row.int(0)).collect()
}

/// Receipts of a batch, but for failures and contradictions, that found no message. A count for each of
/// them, not a join: the messages are looked up one by one, however many there are.
const ORPHANS: &str = "select count(*) from receipts r where r.batch_no = $1 \
    and not (r.slot = 'final' and r.status <> 'delivered') and r.slot not like 'conflict %' \
    and (select count(*) from messages m where m.id_hi = r.id_hi and m.id_lo = r.id_lo \
         and r.account_id in (m.account_id, '')) = 0 \
    and (r.biz_id is null or (select count(*) from messages m where m.biz_id = r.biz_id \
         and m.recipient_hash = r.recipient_hash and r.account_id in (m.account_id, '')) = 0)";

/// Notes that a batch was looked through, and gives the number of its orphans.
pub async fn close_batch(tx: &mut Tx, batch_no: i64, run_no: i64) -> Result<i64, StoreError> {
    let orphans = tx.int(ORPHANS, values![batch_no]).await?;
    let sql = "update batches set closed_by = $2 where batch_no = $1";
    tx.execute(sql, values![batch_no, run_no]).await?;
    Ok(orphans)
}

/// Lists a batch for an operator, as its line 0.
pub async fn list(tx: &mut Tx, batch_no: i64, receipts: i64, now: Timestamp) -> Result<(), StoreError> {
    let sql = "insert into exceptions (kind, account_id, id_hi, id_lo, part, batch_no, line, detail, opened_at) \
               values ($1, '', 0, 0, 0, $2, 0, $3, $4) on conflict (kind, batch_no, line) do nothing";
    let detail = format!("{receipts} receipts of batch {batch_no} found no message");
    let kind = ExceptionKind::Orphan.as_str();
    tx.execute(sql, values![kind, batch_no, detail, now.0]).await.map(|_| ())
}
