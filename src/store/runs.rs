//! Runs of jobs: their records, their slots, and the business time that never goes back (D44, D57).

use super::db::{Row, Tx, values};
use super::error::StoreError;
use super::facts;
use crate::domain::period::Timestamp;

/// A run that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun<'a> {
    pub job: &'a str,
    /// The token of its lease; None for a record of something that never had one.
    pub token: i64,
    pub owner: &'a str,
    pub as_of: Timestamp,
    pub started_at: Timestamp,
    pub slot: Option<Slot>,
    pub attempt: i64,
}

/// A scheduled time, and how many of them its run makes up for, itself included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub at: Timestamp,
    pub slots: i64,
}

/// A run as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    pub run_no: i64,
    pub job: String,
    pub as_of: Timestamp,
    pub started_at: Timestamp,
    pub duration_ms: Option<i64>,
    pub outcome: String,
    /// Counts as a JSON object.
    pub counts: String,
    pub error: Option<String>,
    pub slot: Option<Timestamp>,
    pub slots: i64,
    pub attempt: i64,
    pub owner: Option<String>,
}

/// Outcomes of a run that did its work.
pub(super) const COMPLETED: &str = "('done', 'nothing_to_do', 'partial')";

/// Waits for a turn; it ends with the transaction.
///
/// An update, not a `select .. for update`: as the first statement on SQLite it takes the write
/// lock without having read before, which could not be upgraded (F11).
pub async fn take_turn(tx: &mut Tx, job: &str) -> Result<(), StoreError> {
    let turn = "update jobs set runs = runs + 1 where job = $1";
    if tx.execute(turn, values![job]).await? == 0 {
        let add = "insert into jobs (job, runs) values ($1, 0) on conflict (job) do nothing";
        tx.execute(add, values![job]).await?;
        tx.execute(turn, values![job]).await?;
    }
    Ok(())
}

/// Opens a run's record and gives its number.
pub async fn begin(tx: &mut Tx, run: &NewRun<'_>) -> Result<i64, StoreError> {
    let sql = "insert into job_runs (job, token, owner, as_of, started_at, slot, slots, attempt, outcome, counts) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, 'running', '{}') returning run_no";
    let values = values![
        run.job,
        run.token,
        run.owner,
        run.as_of.0,
        run.started_at.0,
        run.slot.map(|slot| slot.at.0),
        run.slot.map_or(0, |slot| slot.slots),
        run.attempt,
    ];
    let row = tx.row(sql, values).await?;
    row.ok_or_else(|| StoreError::Corrupt("the run got no number".into()))?.int(0)
}

/// Closes the records of runs whose lease is void: they were killed, or lost it (I31).
pub async fn close_interrupted(tx: &mut Tx, job: &str, token: i64) -> Result<u64, StoreError> {
    let sql = "update job_runs set outcome = 'interrupted', \
               error = 'it ended without a word: killed, or its lease ran out' \
               where job = $1 and outcome = 'running' and token < $2";
    tx.execute(sql, values![job, token]).await
}

/// Closes a run's record.
pub async fn finish(
    tx: &mut Tx,
    run_no: i64,
    outcome: &str,
    counts: &str,
    duration_ms: i64,
    error: Option<&str>,
) -> Result<(), StoreError> {
    let sql = "update job_runs set outcome = $2, counts = $3, duration_ms = $4, error = $5 where run_no = $1";
    let touched = tx.execute(sql, values![run_no, outcome, counts, duration_ms, error]).await?;
    if touched == 1 { Ok(()) } else { Err(StoreError::Corrupt(format!("run {run_no} has no record"))) }
}

const RUN: &str = "select run_no, job, as_of, started_at, duration_ms, outcome, counts, error, slot, slots, attempt, \
    owner from job_runs";

fn run_row(row: &Row) -> Result<RunRow, StoreError> {
    Ok(RunRow {
        run_no: row.int(0)?,
        job: row.text(1)?,
        as_of: Timestamp(row.int(2)?),
        started_at: Timestamp(row.int(3)?),
        duration_ms: row.opt_int(4)?,
        outcome: row.text(5)?,
        counts: row.text(6)?,
        error: row.opt_text(7)?,
        slot: row.opt_int(8)?.map(Timestamp),
        slots: row.int(9)?,
        attempt: row.int(10)?,
        owner: row.opt_text(11)?,
    })
}

pub async fn find(tx: &mut Tx, run_no: i64) -> Result<Option<RunRow>, StoreError> {
    let row = tx.row(format!("{RUN} where run_no = $1"), values![run_no]).await?;
    row.as_ref().map(run_row).transpose()
}

/// The newest run of a job, whatever became of it.
pub async fn last(tx: &mut Tx, job: &str) -> Result<Option<RunRow>, StoreError> {
    let row = tx.row(format!("{RUN} where job = $1 order by run_no desc limit 1"), values![job]).await?;
    row.as_ref().map(run_row).transpose()
}

/// The newest run of a job that did its work.
pub async fn last_completed(tx: &mut Tx, job: &str) -> Result<Option<RunRow>, StoreError> {
    let sql = format!("{RUN} where job = $1 and outcome in {COMPLETED} order by run_no desc limit 1");
    tx.row(sql, values![job]).await?.as_ref().map(run_row).transpose()
}

/// How many times in a row a job has failed since it last did its work.
pub async fn failures_in_a_row(tx: &mut Tx, job: &str) -> Result<i64, StoreError> {
    let sql = format!(
        "select count(*) from job_runs where job = $1 and outcome = 'failed' and run_no > \
         (select coalesce(max(run_no), 0) from job_runs where job = $1 and outcome in {COMPLETED})"
    );
    tx.int(sql, values![job]).await
}

/// Up to when the slots of a job are done: the latest slot, or the latest run by hand, up to `now`.
/// A clock that ran ahead and was set right leaves runs in the future, which do not count (F38).
pub async fn done_up_to(tx: &mut Tx, job: &str, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let sql = format!(
        "select max(case when slot is not null then slot when as_of < started_at then as_of \
         else started_at end) from job_runs where job = $1 and outcome in {COMPLETED} \
         and coalesce(slot, started_at) <= $2"
    );
    let row = tx.row(sql, values![job, now.0]).await?;
    Ok(row.map(|row| row.opt_int(0)).transpose()?.flatten().map(Timestamp))
}

/// When a daemon first knew the job: slots before that are nobody's. Noted now if not before, or if that
/// was while the clock ran ahead: no slot would be due until it is that late.
pub async fn known_since(tx: &mut Tx, job: &str, now: Timestamp) -> Result<Timestamp, StoreError> {
    let sql = "insert into jobs (job, runs, since) values ($1, 0, $2) on conflict (job) do update \
               set since = case when jobs.since < excluded.since then jobs.since else excluded.since end \
               returning since";
    Ok(Timestamp(tx.int(sql, values![job, now.0]).await?))
}

/// When a daemon first knew the job, or None where none has run yet.
pub async fn since(tx: &mut Tx, job: &str) -> Result<Option<Timestamp>, StoreError> {
    let row = tx.row("select since from jobs where job = $1", values![job]).await?;
    Ok(row.map(|row| row.opt_int(0)).transpose()?.flatten().map(Timestamp))
}

/// How far charging had come before a run: a message whose window had passed by then is late (D41).
pub async fn charged_up_to(tx: &mut Tx, before_run: i64) -> Result<Option<Timestamp>, StoreError> {
    let sql = format!(
        "select max(as_of) from job_runs where job = 'aggregate-charges' and run_no < $1 \
         and outcome in {COMPLETED}"
    );
    let row = tx.row(sql, values![before_run]).await?;
    Ok(row.map(|row| row.opt_int(0)).transpose()?.flatten().map(Timestamp))
}

/// Business time: the latest as-of that a run has worked at. It never goes back.
pub async fn business_time(tx: &mut Tx) -> Result<Option<Timestamp>, StoreError> {
    let Some(text) = facts::get(tx, "business_time").await? else { return Ok(None) };
    let micros = text.parse().map_err(|_| StoreError::Corrupt(format!("business time is `{text}`")))?;
    Ok(Some(Timestamp(micros)))
}

/// Moves business time forward; never back, though two jobs that end at once come in any order.
pub async fn advance_business_time(tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    let sql = "insert into instance (name, value) values ('business_time', $1) \
               on conflict (name) do update set value = excluded.value \
               where cast(instance.value as bigint) < cast(excluded.value as bigint)";
    tx.execute(sql, values![now.0.to_string()]).await.map(|_| ())
}
