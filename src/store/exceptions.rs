//! What waits for somebody to decide: receipts that no rule answers, and lines that were not taken.

use super::db::{Row, Tx, values};
use super::dialect::for_update;
use super::error::StoreError;
use super::failures::FailureId;
use crate::domain::charge::Place;
use crate::domain::message::MessageKey;
use crate::domain::period::Timestamp;

/// An exception, open or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionRow {
    pub exception_no: i64,
    pub kind: String,
    /// Empty where it is not known.
    pub account_id: String,
    pub message_id: String,
    /// 0: the whole message.
    pub part: i64,
    /// Where its receipt came in.
    pub place: Place,
    pub detail: String,
    pub opened_at: Timestamp,
    pub closed: Option<Closed>,
    /// The key of its receipt, and what that says; the status is empty where it is not about one.
    pub receipt: FailureId,
    pub status: String,
    /// Its message costs nothing, is charged on submission, or was given back: nothing is left to approve.
    pub gives_nothing: bool,
}

impl ExceptionRow {
    /// Whether its receipt says that something failed.
    pub fn may_give_back(&self) -> bool {
        !matches!(&*self.status, "" | "delivered")
    }
}

/// How an exception was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    pub at: Timestamp,
    /// `approved` or `dismissed`.
    pub resolution: String,
    pub reason: String,
}

/// A receipt is found by its key; the place tells it from others of the same key.
const EXCEPTION: &str = "select e.exception_no, e.kind, e.account_id, e.id_hi, e.id_lo, e.part, e.batch_no, e.line, \
    e.detail, e.opened_at, e.closed_at, e.resolution, e.reason, r.account_id, r.status, r.raw_id, \
    cast(case when exists (select 1 from messages m where m.account_id = e.account_id and m.id_hi = e.id_hi \
        and m.id_lo = e.id_lo and (m.disposition in ('rejected', 'inbound') or e.part > m.units \
          or exists (select 1 from instance i where i.name = 'charge_on ' || m.product and i.value = 'submission') \
          or m.units <= (select coalesce(sum(n.units), 0) from not_charged n where n.account_id = m.account_id \
            and n.id_hi = m.id_hi and n.id_lo = m.id_lo))) \
      or exists (select 1 from returns t where t.account_id = e.account_id and t.id_hi = e.id_hi \
        and t.id_lo = e.id_lo and t.part in (0, e.part)) then 1 else 0 end as bigint) from exceptions e \
    left join receipts r on r.id_hi = e.id_hi and r.id_lo = e.id_lo and r.part = e.part \
    and r.batch_no = e.batch_no and r.line = e.line";

fn exception(row: &Row) -> Result<ExceptionRow, StoreError> {
    let key = MessageKey { hi: row.int(3)?, lo: row.int(4)? };
    let closed = match row.opt_int(10)? {
        None => None,
        Some(at) => Some(Closed {
            at: Timestamp(at),
            resolution: row.opt_text(11)?.unwrap_or_default(),
            reason: row.opt_text(12)?.unwrap_or_default(),
        }),
    };
    let part = row.int(5)?;
    Ok(ExceptionRow {
        exception_no: row.int(0)?,
        kind: row.text(1)?,
        account_id: row.text(2)?,
        message_id: key.original(row.opt_text(15)?.as_deref()),
        part,
        place: Place { batch_no: row.int(6)?, line: row.int(7)? },
        detail: row.text(8)?,
        opened_at: Timestamp(row.int(9)?),
        closed,
        receipt: FailureId { account_id: row.opt_text(13)?.unwrap_or_default().into(), key, part },
        status: row.opt_text(14)?.unwrap_or_default(),
        gives_nothing: row.int(16)? == 1,
    })
}

/// Exceptions, oldest first: the open ones, or `all`.
pub async fn list(tx: &mut Tx, all: bool, limit: i64) -> Result<Vec<ExceptionRow>, StoreError> {
    let which = if all { "" } else { "where e.closed_at is null" };
    let sql = format!("{EXCEPTION} {which} order by e.exception_no limit $1");
    tx.rows(sql, values![limit]).await?.iter().map(exception).collect()
}

/// Open exceptions by kind.
pub async fn open_by_kind(tx: &mut Tx) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "select kind, count(*) from exceptions where closed_at is null group by kind order by kind";
    tx.rows(sql, vec![]).await?.iter().map(|row| Ok((row.text(0)?, row.int(1)?))).collect()
}

/// An exception, locked until the transaction ends.
pub async fn lock(tx: &mut Tx, exception_no: i64) -> Result<Option<ExceptionRow>, StoreError> {
    let lock =
        format!("select exception_no from exceptions where exception_no = $1{}", for_update(tx.dialect()));
    tx.row(lock, values![exception_no]).await?;
    find(tx, exception_no).await
}

pub async fn find(tx: &mut Tx, exception_no: i64) -> Result<Option<ExceptionRow>, StoreError> {
    let row = tx.row(format!("{EXCEPTION} where e.exception_no = $1"), values![exception_no]).await?;
    row.as_ref().map(exception).transpose()
}

/// The exceptions that receipts led to, which came in at these places.
pub async fn of_receipts(tx: &mut Tx, places: Vec<Place>) -> Result<Vec<ExceptionRow>, StoreError> {
    let rows = places.iter().map(|place| values![place.batch_no, place.line]).collect();
    let sql =
        format!("{EXCEPTION} join v on v.batch = e.batch_no and v.line_no = e.line order by e.exception_no");
    super::many::rows_with(tx, "batch, line_no", rows, &sql).await?.iter().map(exception).collect()
}

/// Closes an exception; `run_no` is the record of its approval.
pub async fn close(
    tx: &mut Tx,
    exception_no: i64,
    closed: &Closed,
    run_no: Option<i64>,
) -> Result<(), StoreError> {
    let sql = "update exceptions set closed_at = $2, resolution = $3, reason = $4, run_no = $5 \
               where exception_no = $1 and closed_at is null";
    let values = values![exception_no, closed.at.0, &closed.resolution, &closed.reason, run_no];
    match tx.execute(sql, values).await? {
        1 => Ok(()),
        _ => Err(StoreError::Corrupt(format!("exception {exception_no} was closed under a lock"))),
    }
}

/// A line of a batch that was not taken and nobody has retried or dismissed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLine {
    pub place: Place,
    /// `rejected` or `conflict`.
    pub verdict: String,
    pub reason: String,
    pub detail: String,
    /// When its batch came.
    pub since: Timestamp,
}

/// Contradictions of receipts are exceptions of their own.
pub(super) const IS_OPEN_LINE: &str = "l.verdict in ('rejected', 'conflict') and l.retried_in is null and not exists \
    (select 1 from exceptions e where e.kind in ('conflict', 'late_arrival', 'conflict_line', 'rejected_line') \
     and e.batch_no = l.batch_no and e.line = l.line)";

/// Lines that wait for somebody, oldest first.
pub async fn open_lines(tx: &mut Tx, place: Option<Place>, limit: i64) -> Result<Vec<OpenLine>, StoreError> {
    let sql = format!(
        "select l.batch_no, l.line, l.verdict, l.reason, l.detail, b.ingested_at from batch_lines l \
         join batches b on b.batch_no = l.batch_no where {IS_OPEN_LINE} \
         and ($1 is null or (l.batch_no = $1 and l.line = $2)) order by l.batch_no, l.line limit $3"
    );
    let line = |row: &Row| {
        Ok(OpenLine {
            place: Place { batch_no: row.int(0)?, line: row.int(1)? },
            verdict: row.text(2)?,
            reason: row.text(3)?,
            detail: row.text(4)?,
            since: Timestamp(row.int(5)?),
        })
    };
    let values = values![place.map(|place| place.batch_no), place.map(|place| place.line), limit];
    tx.rows(sql, values).await?.iter().map(line).collect()
}

/// Dismisses a line that was not taken, and gives the exception that says so.
pub async fn dismiss_line(tx: &mut Tx, line: &OpenLine, closed: &Closed) -> Result<ExceptionRow, StoreError> {
    let sql = "insert into exceptions (kind, account_id, id_hi, id_lo, part, batch_no, line, detail, opened_at, \
               closed_at, resolution, reason) values ($1, '', 0, 0, 0, $2, $3, $4, $5, $6, $7, $8) \
               returning exception_no";
    let values = values![
        format!("{}_line", line.verdict),
        line.place.batch_no,
        line.place.line,
        format!("{}: {}", line.reason, line.detail),
        line.since.0,
        closed.at.0,
        &closed.resolution,
        &closed.reason,
    ];
    let exception_no = tx.int(sql, values).await?;
    find(tx, exception_no).await?.ok_or_else(|| StoreError::Corrupt("a dismissed line is gone".into()))
}
