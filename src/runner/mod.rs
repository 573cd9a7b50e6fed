//! One run of one job: its lease, its record, its transaction, its report.
//!
//! ```text
//!  claim ---------> work --------------------------> settle
//!  lease + record   the job's effects ...            ... its record, the lease given back
//!  (committed)      '------- one transaction, or several, each naming the lease's token -------'
//! ```
//! A run is done whole or not at all, and once, whoever else runs it at the same time: its effects
//! and the end of its record are committed together, and only while its lease is still its own. A
//! process that is killed leaves a lease and a record that say `running`; the next run finds the
//! holder dead, or its time run out, and begins anew.

mod alarm;
pub mod due;
mod report;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub use self::report::{Finished, Outcome, describe};
use crate::clock::{self, Stopwatch};
use crate::config::Config;
use crate::domain::period::Timestamp;
use crate::instance;
use crate::jobs::{Job, JobError, Report, Run, Steps, Work};
use crate::progress::Progress;
use crate::store::leases::{self, Claimant, Lease};
use crate::store::runs::{self, NewRun, Slot};
use crate::store::{Db, StoreError, Tx};

/// How a job is to be run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Works as of this time instead of the wall clock (D57).
    pub as_of: Option<Timestamp>,
    /// Report the exact effects and change nothing.
    pub dry_run: bool,
    /// Take a larger jump in time for real (D44).
    pub catch_up: bool,
    /// The scheduled time it is run for; None by hand.
    pub slot: Option<Slot>,
    /// Which try it is, from 1.
    pub attempt: i64,
    /// Turns true when the run is to be rolled back at the next point where it waits.
    pub cut: Option<watch::Receiver<bool>>,
    /// Turns true before that: a run of many steps begins no new one.
    pub stop: Option<watch::Receiver<bool>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            as_of: None,
            dry_run: false,
            catch_up: false,
            slot: None,
            attempt: 1,
            cut: None,
            stop: None,
        }
    }
}

/// How far the machine's clock and the database's may be apart for what can't be undone (D44).
const CLOCKS_APART: i64 = 2 * Timestamp::MINUTE;
/// Tries of a run by hand that meets faults which time can heal, and until when they may begin.
const TRIES: i64 = 5;
const TRIES_BEGIN: Duration = Duration::from_secs(20);
/// How long the database may take to open a run.
const TO_BEGIN: Duration = Duration::from_secs(20);

/// Runs a job once, and again a little later where a fault came in between that time can heal: the
/// server restarted, the connection was lost. A lease that somebody holds is not waited for.
pub async fn run_patiently(
    db: &Db,
    config: &Arc<Config>,
    job: &'static Job,
    mut options: Options,
    progress: &dyn Progress,
) -> Result<Finished, JobError> {
    let began = Stopwatch::start();
    loop {
        let error = match run(db, config, job, options.clone(), progress).await {
            Err(JobError::Store(
                error @ (StoreError::Lost(_) | StoreError::Silent(_) | StoreError::Collision),
            )) => error,
            other => return other,
        };
        if options.attempt >= TRIES || began.elapsed() >= TRIES_BEGIN {
            return Err(error.into());
        }
        tracing::warn!("`{}` is tried again: {}", job.name, describe(&error));
        tokio::time::sleep(backoff(options.attempt)).await;
        options.attempt += 1;
    }
}

/// How long to wait after so many tries: half a second, then twice as long each time, up to five
/// minutes.
pub fn backoff(tries: i64) -> Duration {
    let doublings = u32::try_from(tries - 1).unwrap_or(0).min(10);
    Duration::from_millis(500).saturating_mul(1 << doublings).min(Duration::from_secs(300))
}

/// Runs a job once.
pub async fn run(
    db: &Db,
    config: &Arc<Config>,
    job: &'static Job,
    options: Options,
    progress: &dyn Progress,
) -> Result<Finished, JobError> {
    let mut attempt = Attempt {
        db,
        config,
        job,
        started_at: clock::now(),
        stopwatch: Stopwatch::start(),
        progress,
        options,
    };
    let mut cut = attempt.options.cut.take();
    if attempt.options.dry_run {
        return until_cut(&mut cut, attempt.rehearse()).await;
    }
    let begun = match until_cut(&mut cut, db.within(TO_BEGIN, attempt.begin())).await? {
        Begun::Working(begun) => begun,
        Begun::Refused(finished) => return Ok(finished),
    };
    let lost = leases::keep(db, &begun.lease, matches!(job.work, Work::Books(_)));
    let worked = until_cut(&mut cut, async {
        tokio::select! {
            worked = attempt.work(&begun) => worked,
            lost = lost => Err(lost.into()),
        }
    })
    .await;
    if let Err(error) = &worked {
        attempt.record_failure(&begun, error).await;
    }
    worked
}

/// A run under way.
struct Attempt<'a> {
    db: &'a Db,
    config: &'a Arc<Config>,
    job: &'static Job,
    options: Options,
    progress: &'a dyn Progress,
    started_at: Timestamp,
    stopwatch: Stopwatch,
}

/// What a run has once it has begun.
struct Working {
    lease: Lease,
    run_no: i64,
    time: BusinessTime,
}

enum Begun {
    Working(Working),
    Refused(Finished),
}

/// The time that a run works at.
#[derive(Clone, Copy)]
struct BusinessTime {
    as_of: Timestamp,
    /// How far ahead of the time reached before, where that is more than is believed.
    jump: Option<i64>,
    /// The time reached before.
    reached: Option<Timestamp>,
    clocks_apart: i64,
}

impl Attempt<'_> {
    /// Takes the lease and opens the record, so that everybody sees the run from now on.
    async fn begin(&self) -> Result<Begun, JobError> {
        let owner = instance::name();
        let mut tx = self.db.write().await?;
        let claimant = Claimant { owner: &owner, again: self.options.attempt > 1 };
        let lease = leases::claim(&mut tx, self.job.name, claimant, self.config.lease).await?;
        runs::close_interrupted(&mut tx, self.job.name, lease.token).await?;
        if let Some(slot) = self.options.slot {
            // Another daemon may have run it since it was found due.
            let done = runs::done_up_to(&mut tx, self.job.name, self.started_at).await?;
            if done.is_some_and(|done| done >= slot.at) {
                return Err(JobError::SlotDone);
            }
        }
        let time = self.time(&mut tx).await?;
        let new = NewRun {
            job: self.job.name,
            token: lease.token,
            owner: instance::short(&owner),
            as_of: time.as_of,
            started_at: self.started_at,
            slot: self.options.slot,
            attempt: self.options.attempt,
        };
        let run_no = runs::begin(&mut tx, &new).await?;
        let refusal = self.refusal(time);
        if let Some(reason) = &refusal {
            let outcome = Outcome::Refused.as_str();
            runs::finish(&mut tx, run_no, outcome, "{}", self.stopwatch.elapsed_ms(), Some(reason)).await?;
            leases::give_back(&mut tx, &lease).await?;
        }
        tx.commit().await?;
        Ok(match refusal {
            None => Begun::Working(Working { lease, run_no, time }),
            Some(reason) => Begun::Refused(self.refused(run_no, time.as_of, reason)),
        })
    }

    /// Business time never goes back, whatever the wall clock does (D44).
    async fn time(&self, tx: &mut Tx) -> Result<BusinessTime, StoreError> {
        let asked = self.options.as_of.unwrap_or(self.started_at);
        let reached = runs::business_time(tx).await?;
        let as_of = reached.map_or(asked, |reached| reached.max(asked));
        // It could not go back after a clock that ran ahead: a large jump moves it only when told to.
        let max_jump = self.config.max_jump_hours.saturating_mul(Timestamp::HOUR);
        let jump = reached.map(|reached| as_of.0 - reached.0).filter(|jump| *jump > max_jump);
        let clocks_apart = match self.options.as_of {
            // A time that was given stands for both clocks (D57).
            Some(_) => 0,
            None => leases::database_now(tx).await?.0 - clock::now().0,
        };
        Ok(BusinessTime { as_of, jump, reached, clocks_apart })
    }

    /// Why a job that can't be undone is not run now.
    fn refusal(&self, time: BusinessTime) -> Option<String> {
        if self.job.irreversible { self.doubt(time) } else { None }
    }

    /// Why the time is in doubt, where it is.
    fn doubt(&self, time: BusinessTime) -> Option<String> {
        if time.clocks_apart.abs() > CLOCKS_APART {
            let seconds = time.clocks_apart.abs() / 1_000_000;
            return Some(format!(
                "this machine's clock and the database's are {seconds} seconds apart, and what `{}` does can't \
                 be undone; set them right",
                self.job.name
            ));
        }
        let (jump, reached) = (time.jump.filter(|_| !self.options.catch_up)?, time.reached?);
        Some(format!(
            "time went forward {} hours since {}, more than clock.max_jump ({} hours), and what `{}` does \
             can't be undone; if the clock is right, run it with --catch-up",
            jump / Timestamp::HOUR,
            self.config.zone.format(reached),
            self.config.max_jump_hours,
            self.job.name
        ))
    }

    async fn work(&self, begun: &Working) -> Result<Finished, JobError> {
        let as_of = begun.time.as_of;
        let (mut tx, report) = match self.job.work {
            Work::Books(work) => {
                let mut tx = self.db.write().await?;
                leases::name_session(&mut tx, &begun.lease).await?;
                let report = work(self.run(&mut tx, begun.run_no, begun.time)).await?;
                (tx, report)
            }
            Work::Steps(work) => {
                let steps = Steps {
                    db: self.db,
                    config: self.config,
                    lease: Some(&begun.lease),
                    as_of,
                    progress: self.progress,
                    stop: self.options.stop.clone(),
                };
                let report = work(steps).await?;
                (self.db.write().await?, report)
            }
        };
        let finished = self.finished(begun.run_no, as_of, report);
        alarm::of_parked(&mut tx, self.config.zone, &finished).await?;
        alarm::of_findings(&mut tx, self.config.zone, &finished).await?;
        if begun.time.jump.is_none() || self.options.catch_up {
            runs::advance_business_time(&mut tx, as_of).await?;
        }
        let counts = finished.counts_json().to_string();
        let outcome = finished.outcome.as_str();
        let fault = finished.first_finding();
        runs::finish(&mut tx, begun.run_no, outcome, &counts, finished.duration_ms, fault).await?;
        leases::give_back(&mut tx, &begun.lease).await?;
        if let Err(error) = tx.commit().await {
            self.find_out(begun, error).await?;
        }
        Ok(finished)
    }

    /// The connection was lost while it committed: whether it did is in the run's record (F06).
    async fn find_out(&self, begun: &Working, error: StoreError) -> Result<(), JobError> {
        if !matches!(error, StoreError::Lost(_)) {
            return Err(error.into());
        }
        let mut tx = self.db.write().await?;
        leases::settle(&mut tx, &begun.lease).await?;
        let record = runs::find(&mut tx, begun.run_no).await?;
        tx.rollback().await?;
        match record.is_some_and(|run| run.outcome != "running") {
            true => Ok(()),
            false => Err(error.into()),
        }
    }

    /// Does everything in one transaction and takes it back. It leaves no trace, not even a lease:
    /// the job's row stays locked instead.
    async fn rehearse(&self) -> Result<Finished, JobError> {
        let mut tx = self.db.write().await?;
        leases::ensure_free(&mut tx, self.job.name).await?;
        let time = self.time(&mut tx).await?;
        if let Some(reason) = self.refusal(time) {
            return Ok(self.refused(0, time.as_of, reason));
        }
        let new = NewRun {
            job: self.job.name,
            token: 0,
            owner: "",
            as_of: time.as_of,
            started_at: self.started_at,
            slot: None,
            attempt: 1,
        };
        let run_no = runs::begin(&mut tx, &new).await?;
        let report = match self.job.work {
            Work::Books(work) => {
                let report = work(self.run(&mut tx, run_no, time)).await?;
                tx.rollback().await?;
                report
            }
            Work::Steps(work) => {
                tx.rollback().await?;
                let steps = Steps {
                    db: self.db,
                    config: self.config,
                    lease: None,
                    as_of: time.as_of,
                    progress: self.progress,
                    stop: self.options.stop.clone(),
                };
                work(steps).await?
            }
        };
        Ok(self.finished(run_no, time.as_of, report))
    }

    /// Leaves word of a run that failed, and gives its lease back. Where even that fails there is
    /// the log, and the record stays `running` until the next run closes it.
    async fn record_failure(&self, begun: &Working, error: &JobError) {
        let outcome = match error {
            JobError::Cut | JobError::Store(StoreError::Fenced { .. }) => "interrupted",
            _ => "failed",
        };
        let recorded = async {
            let mut tx = self.db.aside().await?;
            let text = describe(error);
            let duration = self.stopwatch.elapsed_ms();
            runs::finish(&mut tx, begun.run_no, outcome, "{}", duration, Some(&text)).await?;
            alarm::of_failures(&mut tx, self.config.zone, self.job.name, begun.time.as_of, &text).await?;
            leases::give_back(&mut tx, &begun.lease).await?;
            tx.commit().await
        };
        match tokio::time::timeout(Duration::from_secs(10), recorded).await {
            Ok(Ok(()) | Err(StoreError::Fenced { .. })) => {}
            Ok(Err(second)) => {
                tracing::error!("The failed run of `{}` could not be recorded: {second}", self.job.name);
            }
            Err(_) => tracing::error!("The failed run of `{}` could not be recorded in time", self.job.name),
        }
    }

    fn run<'r>(&'r self, tx: &'r mut Tx, run_no: i64, time: BusinessTime) -> Run<'r> {
        Run {
            tx,
            config: self.config,
            run_no,
            as_of: time.as_of,
            doubt: self.doubt(time),
            dry_run: self.options.dry_run,
            progress: self.progress,
        }
    }

    fn finished(&self, run_no: i64, as_of: Timestamp, report: Report) -> Finished {
        Finished {
            job: self.job.name,
            run_no,
            as_of,
            outcome: match (report.left_waiting, report.worked) {
                (true, _) => Outcome::Partial,
                (false, true) => Outcome::Done,
                (false, false) => Outcome::NothingToDo,
            },
            refusal: None,
            counts: report.counts,
            parked: report.parked,
            effects: report.effects,
            findings: report.findings,
            duration_ms: self.stopwatch.elapsed_ms(),
            dry_run: self.options.dry_run,
        }
    }

    fn refused(&self, run_no: i64, as_of: Timestamp, reason: String) -> Finished {
        let finished = self.finished(run_no, as_of, Report::default());
        Finished { outcome: Outcome::Refused, refusal: Some(reason), ..finished }
    }
}

/// Does something until it is done or until the run is cut.
async fn until_cut<T>(
    cut: &mut Option<watch::Receiver<bool>>,
    work: impl Future<Output = Result<T, JobError>>,
) -> Result<T, JobError> {
    let Some(cut) = cut else { return work.await };
    tokio::select! {
        done = work => done,
        _ = cut.wait_for(|cut| *cut) => Err(JobError::Cut),
    }
}
