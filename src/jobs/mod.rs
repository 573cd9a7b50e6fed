//! The jobs: each loads, lets the domain decide, and saves, in the one transaction of its run.
//!
//! A job takes no hints: it reads the present state and does the same on schedule, by hand and
//! after a crash. A new job is its own file and one row of [`ALL`].

pub mod aggregate_charges;

use std::future::Future;
use std::pin::Pin;

use crate::config::Config;
use crate::domain::period::Timestamp;
use crate::progress::Progress;
use crate::store::{StoreError, Tx};

/// One run of a job, as the job sees it.
pub struct Run<'a> {
    pub tx: &'a mut Tx,
    pub config: &'a Config,
    pub run_no: i64,
    /// Business time: what "now" means to the rules.
    pub as_of: Timestamp,
    /// Collect the exact effects for the report; the runner rolls them back.
    pub dry_run: bool,
    pub progress: &'a dyn Progress,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Counts by name, in the order in which they are told.
    pub counts: Vec<(&'static str, i64)>,
    /// Whether there was anything to do.
    pub worked: bool,
    /// Something could not be done and waits, listed by `status`.
    pub left_waiting: bool,
    pub parked: Vec<Parked>,
    /// Lines of a dry run: what would have been written.
    pub effects: Vec<String>,
}

/// An account that was left as it was because of a fault of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    pub account_id: String,
    pub fault: String,
}

/// Why a run failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the backlog is too large for memory and could not be laid out on disk in {dir}")]
    Spill { dir: String, source: std::io::Error },
}

/// A row of the list of jobs.
pub struct Job {
    /// Its name on the command line, in schedules, logs and metrics.
    pub name: &'static str,
    pub about: &'static str,
    /// Default schedule in words.
    pub schedule: &'static str,
    pub run: for<'a> fn(Run<'a>) -> JobFuture<'a>,
}

pub type JobFuture<'a> = Pin<Box<dyn Future<Output = Result<Report, JobError>> + 'a>>;

/// Every job there is.
pub const ALL: &[Job] = &[Job {
    name: "aggregate-charges",
    about: "charges new messages: plan units first, then pay-as-you-go",
    schedule: "every 5 minutes",
    run: |run| Box::pin(aggregate_charges::run(run)),
}];

pub fn find(name: &str) -> Option<&'static Job> {
    ALL.iter().find(|job| job.name == name)
}
