//! One run of one job: its turn, its record, its transaction, its report.

use serde_json::{Value, json};

use crate::clock::{self, Stopwatch};
use crate::config::Config;
use crate::domain::period::Timestamp;
use crate::jobs::{Job, JobError, Parked, Run};
use crate::progress::Progress;
use crate::store::{Db, StoreError, runs};

/// How a job is to be run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Works as of this time instead of the wall clock (D57).
    pub as_of: Option<Timestamp>,
    /// Report the exact effects and change nothing.
    pub dry_run: bool,
    /// Take a larger jump in time for real (D44).
    pub catch_up: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    NothingToDo,
    /// Done, but something was parked or put into suspense, and is listed.
    Partial,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::NothingToDo => "nothing_to_do",
            Outcome::Partial => "partial",
        }
    }
}

/// A finished run, for people and scripts.
#[derive(Clone, Debug)]
pub struct Finished {
    pub job: &'static str,
    pub run_no: i64,
    pub as_of: Timestamp,
    pub outcome: Outcome,
    pub counts: Vec<(&'static str, i64)>,
    pub parked: Vec<Parked>,
    pub effects: Vec<String>,
    pub duration_ms: i64,
    pub dry_run: bool,
}

/// Runs a job once. Everything that it does is one transaction with its own record, so that it is
/// done whole or not at all, and once, whoever else runs it at the same time.
pub async fn run(
    db: &Db,
    config: &Config,
    job: &'static Job,
    options: Options,
    progress: &dyn Progress,
) -> Result<Finished, JobError> {
    let started_at = clock::now();
    let stopwatch = Stopwatch::start();
    let result = attempt(db, config, job, options, progress, started_at, stopwatch).await;
    if let Err(error) = &result
        && !matches!(error, JobError::Store(StoreError::Busy))
        && !options.dry_run
    {
        record_failure(db, job, options, started_at, stopwatch, error).await;
    }
    result
}

async fn attempt(
    db: &Db,
    config: &Config,
    job: &'static Job,
    options: Options,
    progress: &dyn Progress,
    started_at: Timestamp,
    stopwatch: Stopwatch,
) -> Result<Finished, JobError> {
    let mut tx = db.write().await?;
    runs::claim(&mut tx, job.name).await?;
    // Business time never goes back, whatever the wall clock does (D44).
    let asked = options.as_of.unwrap_or(started_at);
    let reached = runs::business_time(&mut tx).await?;
    let as_of = reached.map_or(asked, |reached| reached.max(asked));
    // It could not go back after a clock that ran ahead: a large jump moves it only when told to.
    let max_jump = config.max_jump_hours.saturating_mul(Timestamp::HOUR);
    let small = reached.is_none_or(|reached| as_of <= reached.plus_micros(max_jump));
    let run_no = runs::begin(&mut tx, job.name, as_of, started_at).await?;
    let run = Run { tx: &mut tx, config, run_no, as_of, dry_run: options.dry_run, progress };
    let report = (job.run)(run).await?;
    let outcome = match (report.left_waiting, report.worked) {
        (true, _) => Outcome::Partial,
        (false, true) => Outcome::Done,
        (false, false) => Outcome::NothingToDo,
    };
    let finished = Finished {
        job: job.name,
        run_no,
        as_of,
        outcome,
        counts: report.counts,
        parked: report.parked,
        effects: report.effects,
        duration_ms: stopwatch.elapsed_ms(),
        dry_run: options.dry_run,
    };
    if options.dry_run {
        tx.rollback().await?;
        return Ok(finished);
    }
    if small || options.catch_up {
        runs::set_business_time(&mut tx, as_of).await?;
    }
    let counts = finished.counts_json().to_string();
    runs::finish(&mut tx, run_no, outcome.as_str(), &counts, finished.duration_ms, None).await?;
    tx.commit().await?;
    Ok(finished)
}

/// Leaves a record of a run that failed. Where even that fails there is only the log.
async fn record_failure(
    db: &Db,
    job: &Job,
    options: Options,
    started_at: Timestamp,
    stopwatch: Stopwatch,
    error: &JobError,
) {
    let text = describe(error);
    let recorded = async {
        let mut tx = db.write().await?;
        let run_no = runs::begin(&mut tx, job.name, options.as_of.unwrap_or(started_at), started_at).await?;
        runs::finish(&mut tx, run_no, "failed", "{}", stopwatch.elapsed_ms(), Some(&text)).await?;
        tx.commit().await
    };
    if let Err(second) = recorded.await {
        tracing::error!("The failed run of `{}` could not be recorded: {second}", job.name);
    }
}

/// An error with all its causes in one line.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

impl Finished {
    pub fn counts_json(&self) -> Value {
        self.counts.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect()
    }

    /// The keys that scripts read.
    pub fn to_json(&self, config: &Config) -> Value {
        let parked: Vec<_> =
            self.parked.iter().map(|p| json!({ "account_id": p.account_id, "fault": p.fault })).collect();
        let mut json = json!({
            "job": self.job,
            "run_id": self.run_no.to_string(),
            "as_of": config.zone.format(self.as_of),
            "outcome": self.outcome.as_str(),
            "counts": self.counts_json(),
            "parked": parked,
            "duration_ms": self.duration_ms,
        });
        if self.dry_run {
            json["dry_run"] = json!(true);
            json["effects"] = json!(self.effects);
        }
        json
    }
}
