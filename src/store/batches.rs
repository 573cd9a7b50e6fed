//! Batches: everything that comes in comes as one, whole or not at all, and once (F48-F50, F58, D70, D86).
//!
//! What comes in is written by [`Staging`].

use super::db::{Dialect, Row, Tx, values};
use super::dialect::for_update;
use super::error::StoreError;
use super::exceptions::IS_OPEN_LINE;
pub use super::staging::Staging;
use crate::domain::period::Timestamp;

/// Kinds of batches.
pub const MESSAGES: &str = "messages";
pub const RECEIPTS: &str = "receipts";

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
    /// `messages` or `receipts`.
    pub kind: String,
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

/// A batch that is about to be taken, with all its rows as accepted.
pub(super) struct NewBatch<'a> {
    /// None: the next.
    pub batch_no: Option<i64>,
    pub kind: &'static str,
    pub origin: &'a Origin,
    pub content_hash: &'a str,
    pub ignored_keys: &'a str,
    pub rows: i64,
    pub rejected: i64,
    /// From the first to the last submission, of receipts the carriers' reports.
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    pub now: Timestamp,
}

impl NewBatch<'_> {
    /// Adds the batch and gives its number; None where its content is known.
    pub async fn add(&self, tx: &mut Tx) -> Result<Option<i64>, StoreError> {
        let (number, overriding) = match self.batch_no {
            None if tx.dialect() == Dialect::Postgres => ("default".to_owned(), ""),
            None => ("null".to_owned(), ""),
            Some(number) => (number.to_string(), "overriding system value"),
        };
        let sql = format!(
            "insert into batches (batch_no, kind, source, name, format, header, content_hash, lines, accepted, \
             duplicates, conflicts, rejected, ignored_keys, first_submit, last_submit, ingested_at) {overriding} \
             values ({number}, $1, $2, $3, $4, $5, $6, $7, $8, 0, 0, $9, $10, $11, $12, $13) \
             on conflict (kind, source, content_hash) do nothing returning batch_no"
        );
        let origin = self.origin;
        let values = values![
            self.kind,
            &origin.source,
            &origin.name,
            &origin.format,
            origin.header.clone(),
            self.content_hash,
            self.rows + self.rejected,
            self.rows,
            self.rejected,
            self.ignored_keys,
            self.first.map(|t| t.0),
            self.last.map(|t| t.0),
            self.now.0,
        ];
        tx.row(sql, values).await?.map(|row| row.int(0)).transpose()
    }

    /// The batch that brought this content before.
    pub async fn known(&self, tx: &mut Tx) -> Result<BatchRow, StoreError> {
        let known = by_content(tx, self.kind, &self.origin.source, self.content_hash).await?;
        known.ok_or_else(|| StoreError::Corrupt("a batch with this content came and went".into()))
    }
}

/// Corrects the counts of a batch of which not all rows were new.
pub(super) async fn correct_counts(
    tx: &mut Tx,
    batch_no: i64,
    rows: i64,
    accepted: i64,
) -> Result<(), StoreError> {
    let count = "select count(*) from batch_lines where batch_no = $1 and verdict = 'conflict'";
    let conflicts = tx.int(count, values![batch_no]).await?;
    let duplicates = rows - accepted - conflicts;
    let sql = "update batches set accepted = $2, duplicates = $3, conflicts = $4 where batch_no = $1";
    tx.execute(sql, values![batch_no, accepted, duplicates, conflicts]).await.map(|_| ())
}

const BATCH: &str = "select batch_no, kind, source, name, format, header, lines, accepted, duplicates, conflicts, \
    rejected, ignored_keys, first_submit, last_submit, ingested_at, run_no from batches";

fn batch_row(row: &Row) -> Result<BatchRow, StoreError> {
    Ok(BatchRow {
        batch_no: row.int(0)?,
        kind: row.text(1)?,
        source: row.text(2)?,
        name: row.text(3)?,
        format: row.text(4)?,
        header: row.opt_text(5)?,
        lines: row.int(6)?,
        accepted: row.int(7)?,
        duplicates: row.int(8)?,
        conflicts: row.int(9)?,
        rejected: row.int(10)?,
        ignored_keys: row.text(11)?,
        first_submit: row.opt_int(12)?.map(Timestamp),
        last_submit: row.opt_int(13)?.map(Timestamp),
        ingested_at: Timestamp(row.int(14)?),
        run_no: row.opt_int(15)?,
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
pub async fn by_content(
    tx: &mut Tx,
    kind: &str,
    source: &str,
    hash: &str,
) -> Result<Option<BatchRow>, StoreError> {
    let sql = format!("{BATCH} where kind = $1 and source = $2 and content_hash = $3");
    tx.row(sql, values![kind, source, hash]).await?.as_ref().map(batch_row).transpose()
}

const LINE: &str =
    "select line, verdict, reason, detail, raw, retried_in from batch_lines where batch_no = $1";

fn line_row(row: &Row) -> Result<LineRow, StoreError> {
    Ok(LineRow {
        line: row.int(0)?,
        verdict: row.text(1)?,
        reason: row.text(2)?,
        detail: row.text(3)?,
        raw: row.opt_text(4)?,
        retried_in: row.opt_int(5)?,
    })
}

/// Lines of a batch that were not simply accepted.
pub async fn lines(tx: &mut Tx, batch_no: i64) -> Result<Vec<LineRow>, StoreError> {
    let sql = format!("{LINE} order by line, verdict");
    tx.rows(sql, values![batch_no]).await?.iter().map(line_row).collect()
}

/// The first lines of a batch that were not taken: rejected, or in conflict with what is known.
pub async fn first_refused(tx: &mut Tx, batch_no: i64, limit: i64) -> Result<Vec<LineRow>, StoreError> {
    let sql = format!("{LINE} and verdict in ('rejected', 'conflict') order by line limit $2");
    tx.rows(sql, values![batch_no, limit]).await?.iter().map(line_row).collect()
}

/// Rejected lines of a batch that nobody has retried or dismissed.
pub async fn open_rejects(tx: &mut Tx, batch_no: i64) -> Result<Vec<LineRow>, StoreError> {
    let sql = format!(
        "select l.line, l.verdict, l.reason, l.detail, l.raw, l.retried_in from batch_lines l \
         where l.batch_no = $1 and l.verdict = 'rejected' and {IS_OPEN_LINE} order by l.line"
    );
    tx.rows(sql, values![batch_no]).await?.iter().map(line_row).collect()
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
    super::many::execute_with(tx, "line, batch, retried", rows, statement).await.map(|_| ())
}
