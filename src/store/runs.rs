//! Runs of jobs: turns, records, and the business time that never goes back (D44, D57).

use super::db::{Row, Tx, values};
use super::dialect::for_update_nowait;
use super::error::StoreError;
use crate::domain::period::Timestamp;

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
}

/// Waits for the job's turn; it ends with the transaction.
///
/// An update, not a `select .. for update`: as the first statement on SQLite it takes the write
/// lock without having read before, which could not be upgraded (F11).
pub async fn take_turn(tx: &mut Tx, job: &str) -> Result<(), StoreError> {
    let turn = "update jobs set runs = runs + 1 where job = $1";
    if tx.execute(turn, values![job]).await? == 0 {
        add_job(tx, job).await?;
        tx.execute(turn, values![job]).await?;
    }
    Ok(())
}

/// Takes the job's turn or answers `Busy` at once; it ends with the transaction.
pub async fn claim(tx: &mut Tx, job: &str) -> Result<(), StoreError> {
    let sql = format!("select runs from jobs where job = $1{}", for_update_nowait(tx.dialect()));
    if tx.row(sql, values![job]).await?.is_none() {
        add_job(tx, job).await?;
    }
    tx.execute("update jobs set runs = runs + 1 where job = $1", values![job]).await.map(|_| ())
}

async fn add_job(tx: &mut Tx, job: &str) -> Result<(), StoreError> {
    let sql = "insert into jobs (job, runs) values ($1, 0) on conflict (job) do nothing";
    tx.execute(sql, values![job]).await.map(|_| ())
}

/// Opens a run's record and gives its number.
pub async fn begin(
    tx: &mut Tx,
    job: &str,
    as_of: Timestamp,
    started_at: Timestamp,
) -> Result<i64, StoreError> {
    let sql = "insert into job_runs (job, as_of, started_at, outcome, counts) \
               values ($1, $2, $3, 'running', '{}') returning run_no";
    let row = tx.row(sql, values![job, as_of.0, started_at.0]).await?;
    row.ok_or_else(|| StoreError::Corrupt("the run got no number".into()))?.int(0)
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

/// The newest run of each job.
pub async fn last_of_each(tx: &mut Tx) -> Result<Vec<RunRow>, StoreError> {
    let sql = "select run_no, job, as_of, started_at, duration_ms, outcome, counts, error from job_runs \
               where run_no in (select max(run_no) from job_runs group by job) order by job";
    let run = |row: &Row| {
        Ok(RunRow {
            run_no: row.int(0)?,
            job: row.text(1)?,
            as_of: Timestamp(row.int(2)?),
            started_at: Timestamp(row.int(3)?),
            duration_ms: row.opt_int(4)?,
            outcome: row.text(5)?,
            counts: row.text(6)?,
            error: row.opt_text(7)?,
        })
    };
    tx.rows(sql, vec![]).await?.iter().map(run).collect()
}

/// How far charging had come before a run: a message whose window had passed by then is late (D41).
pub async fn charged_up_to(tx: &mut Tx, before_run: i64) -> Result<Option<Timestamp>, StoreError> {
    let sql = "select max(as_of) from job_runs where job = 'aggregate-charges' and run_no < $1 \
               and outcome in ('done', 'nothing_to_do', 'partial')";
    let row = tx.row(sql, values![before_run]).await?;
    Ok(row.map(|row| row.opt_int(0)).transpose()?.flatten().map(Timestamp))
}

/// Business time: the latest as-of that a run has worked at. It never goes back.
pub async fn business_time(tx: &mut Tx) -> Result<Option<Timestamp>, StoreError> {
    let row = tx.row("select value from instance where name = 'business_time'", vec![]).await?;
    let Some(row) = row else { return Ok(None) };
    let text = row.text(0)?;
    let micros = text.parse().map_err(|_| StoreError::Corrupt(format!("business time is `{text}`")))?;
    Ok(Some(Timestamp(micros)))
}

pub async fn set_business_time(tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    let sql = "insert into instance (name, value) values ('business_time', $1) \
               on conflict (name) do update set value = excluded.value";
    tx.execute(sql, values![now.0.to_string()]).await.map(|_| ())
}
