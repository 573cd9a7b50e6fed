//! Batches: everything that comes in comes as one, whole or not at all, and once (F48-F50, F58, D70, D86).
//!
//! What comes in is written by [`Staging`].

use super::db::{Row, Tx, values};
use super::dialect::for_update;
use super::error::StoreError;
pub use super::staging::Staging;
use crate::domain::period::Timestamp;

/// Where a batch came from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// `generic`, `aliyun`, `twilio`, ...
    pub source: String,
    /// File name; `-` for standard input.
    pub name: String,
    pub format: String,
    /// The CSV header, to judge rejected lines again.
    pub header: Option<String>,
}

/// A batch as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRow {
    pub batch_no: i64,
    pub source: String,
    pub name: String,
    pub format: String,
    pub header: Option<String>,
    pub lines: i64,
    pub accepted: i64,
    pub duplicates: i64,
    pub conflicts: i64,
    pub rejected: i64,
    pub ignored_keys: String,
    pub first_submit: Option<Timestamp>,
    pub last_submit: Option<Timestamp>,
    pub ingested_at: Timestamp,
    /// The run that charged it.
    pub run_no: Option<i64>,
}

/// What became of a batch that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingested {
    Taken(BatchRow),
    /// The same content came before; nothing was changed.
    Already(BatchRow),
}

/// A line that was not simply accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRow {
    pub line: i64,
    /// `rejected`, `conflict`, `duplicate`, `note`.
    pub verdict: String,
    pub reason: String,
    pub detail: String,
    pub raw: Option<String>,
    pub retried_in: Option<i64>,
}

const BATCH: &str = "select batch_no, source, name, format, header, lines, accepted, duplicates, conflicts, \
    rejected, ignored_keys, first_submit, last_submit, ingested_at, run_no from batches";

fn batch_row(row: &Row) -> Result<BatchRow, StoreError> {
    Ok(BatchRow {
        batch_no: row.int(0)?,
        source: row.text(1)?,
        name: row.text(2)?,
        format: row.text(3)?,
        header: row.opt_text(4)?,
        lines: row.int(5)?,
        accepted: row.int(6)?,
        duplicates: row.int(7)?,
        conflicts: row.int(8)?,
        rejected: row.int(9)?,
        ignored_keys: row.text(10)?,
        first_submit: row.opt_int(11)?.map(Timestamp),
        last_submit: row.opt_int(12)?.map(Timestamp),
        ingested_at: Timestamp(row.int(13)?),
        run_no: row.opt_int(14)?,
    })
}

pub async fn list(tx: &mut Tx) -> Result<Vec<BatchRow>, StoreError> {
    tx.rows(format!("{BATCH} order by batch_no"), vec![]).await?.iter().map(batch_row).collect()
}

pub async fn find(tx: &mut Tx, batch_no: i64) -> Result<Option<BatchRow>, StoreError> {
    let row = tx.row(format!("{BATCH} where batch_no = $1"), values![batch_no]).await?;
    row.as_ref().map(batch_row).transpose()
}

/// The batch that brought this content from this source.
pub async fn by_content(tx: &mut Tx, source: &str, hash: &str) -> Result<Option<BatchRow>, StoreError> {
    let sql = format!("{BATCH} where kind = 'messages' and source = $1 and content_hash = $2");
    tx.row(sql, values![source, hash]).await?.as_ref().map(batch_row).transpose()
}

/// Lines of a batch that were not simply accepted.
pub async fn lines(tx: &mut Tx, batch_no: i64) -> Result<Vec<LineRow>, StoreError> {
    let sql = "select line, verdict, reason, detail, raw, retried_in from batch_lines where batch_no = $1 \
               order by line, verdict";
    let line = |row: &Row| {
        Ok(LineRow {
            line: row.int(0)?,
            verdict: row.text(1)?,
            reason: row.text(2)?,
            detail: row.text(3)?,
            raw: row.opt_text(4)?,
            retried_in: row.opt_int(5)?,
        })
    };
    tx.rows(sql, values![batch_no]).await?.iter().map(line).collect()
}

/// Locks a batch, so that two retries of it take turns.
pub async fn lock(tx: &mut Tx, batch_no: i64) -> Result<Option<BatchRow>, StoreError> {
    let sql = format!("{BATCH} where batch_no = $1{}", for_update(tx.dialect()));
    tx.row(sql, values![batch_no]).await?.as_ref().map(batch_row).transpose()
}

/// Notes that rejected lines were taken by a later batch after all.
pub async fn mark_retried(
    tx: &mut Tx,
    batch_no: i64,
    lines: &[i64],
    retried_in: i64,
) -> Result<(), StoreError> {
    let rows = lines.iter().map(|line| values![*line, batch_no, retried_in]).collect();
    let statement = "update batch_lines set retried_in = v.retried from v where batch_lines.batch_no = v.batch \
                     and batch_lines.line = v.line and verdict = 'rejected'";
    super::with_values(tx, "line, batch, retried", rows, statement).await.map(|_| ())
}
