//! The jobs: each loads, lets the domain decide, and saves.
//!
//! A job takes no hints: it reads the present state and does the same on schedule, by hand and
//! after a crash. A new job is its own file and one row of [`ALL`].

pub mod ingest_spool;
pub mod aggregate_charges;
pub mod audit_books;
pub mod audit_changes;
pub mod settle_receipts;
pub mod auto_renew;
pub mod deliver_notifications;
pub mod expire_plans;
pub mod housekeeping;
pub mod monthly_bills;
pub mod review_mail_quotas;
pub mod send_reminders;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use crate::audit::AuditError;
use crate::basis::BasisError;
use crate::config::Config;
use crate::domain::account::Parked;
use crate::domain::period::Timestamp;
use crate::listed::Listed;
use crate::progress::Progress;
use crate::spool::SpoolError;
use crate::store::leases::Lease;
use crate::store::{Db, StoreError, Tx};

/// One run of a job, as the job sees it.
pub struct Run<'a> {
    pub tx: &'a mut Tx,
    pub config: &'a Config,
    pub run_no: i64,
    /// Business time: what "now" means to the rules.
    pub as_of: Timestamp,
    /// Why the time is in doubt, so that nothing may be done that can't be undone (D44).
    pub doubt: Option<String>,
    /// Collect the exact effects for the report; the runner rolls them back.
    pub dry_run: bool,
    pub progress: &'a dyn Progress,
}

/// One run of a job that works in many transactions: file by file, letter by letter.
pub struct Steps<'a> {
    pub db: &'a Db,
    pub config: &'a Arc<Config>,
    /// Each transaction names it and is refused once it is lost. None in a dry run, which writes
    /// nothing.
    pub lease: Option<&'a Lease>,
    pub as_of: Timestamp,
    pub progress: &'a dyn Progress,
    /// Turns true when no new step should be begun: the program is about to end.
    pub stop: Option<watch::Receiver<bool>>,
}

impl Steps<'_> {
    /// Whether no new step should be begun.
    pub fn should_stop(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| *stop.borrow())
    }
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
    pub parked: Listed<Parked>,
    /// Lines of a dry run: what would have been written.
    pub effects: Listed<String>,
    /// What is wrong with the books, the first where to begin; None of a job that does not audit them.
    pub findings: Option<Listed<String>>,
}

/// Why a run failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the backlog is too large for memory and could not be laid out on disk in {dir}")]
    Spill { dir: String, source: std::io::Error },
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(
        "these books are a copy: they are opened in {here}, and wrote to people from {before}; nothing is sent. If \
         they were moved for good, run `quittance notice adopt` here"
    )]
    Copied { here: String, before: String },
    #[error(transparent)]
    Audit(AuditError),
    #[error(transparent)]
    Basis(BasisError),
    #[error("another run has stood for this slot already")]
    SlotDone,
    #[error("the run was told to end, and what it had under way was rolled back; run it again")]
    Cut,
}

/// A row of the list of jobs.
pub struct Job {
    /// Its name on the command line, in schedules, logs and metrics.
    pub name: &'static str,
    pub about: &'static str,
    /// What a dry run says that it would do.
    pub verb: &'static str,
    /// When it runs unless `[schedule]` says otherwise: a cron expression in the billing zone.
    pub schedule: &'static str,
    /// What it does can't be taken back, so it refuses while the time is in doubt (D44).
    pub irreversible: bool,
    pub work: Work,
}

/// How a job works.
#[derive(Clone, Copy)]
pub enum Work {
    /// In the one transaction of its run: all of it is done, or nothing.
    Books(for<'a> fn(Run<'a>) -> JobFuture<'a>),
    /// In many transactions, each of which stands for itself.
    Steps(for<'a> fn(Steps<'a>) -> JobFuture<'a>),
}

pub type JobFuture<'a> = Pin<Box<dyn Future<Output = Result<Report, JobError>> + Send + 'a>>;

/// Every job there is.
pub const ALL: &[Job] = &[
    Job {
        name: ingest_spool::NAME,
        about: "takes in the files that gateways dropped",
        verb: "take",
        schedule: "* * * * *",
        irreversible: false,
        work: Work::Steps(|steps| Box::pin(ingest_spool::run(steps))),
    },
    Job {
        name: "aggregate-charges",
        about: "charges new messages: plan units first, then pay-as-you-go",
        verb: "charge",
        schedule: "*/5 * * * *",
        irreversible: false,
        work: Work::Books(|run| Box::pin(aggregate_charges::run(run))),
    },
    Job {
        name: "settle-receipts",
        about: "gives back what failed within 72 hours, and makes final what did not",
        verb: "return",
        schedule: "*/5 * * * *",
        // It gives back at any time, and makes nothing final while the time is in doubt.
        irreversible: false,
        work: Work::Books(|run| Box::pin(settle_receipts::run(run))),
    },
    Job {
        name: "expire-plans",
        about: "ends plans whose validity is over: what is left of them is forfeited",
        verb: "forfeit",
        schedule: "*/5 * * * *",
        irreversible: true,
        work: Work::Books(|run| Box::pin(expire_plans::run(run))),
    },
    Job {
        name: "auto-renew",
        about: "buys the next plan when few units are left, or ten days before the end",
        verb: "buy",
        schedule: "*/5 * * * *",
        irreversible: true,
        work: Work::Books(|run| Box::pin(auto_renew::run(run))),
    },
    Job {
        name: "monthly-bills",
        about: "bills the months that have ended and takes the payment",
        verb: "bill",
        // From the 1st at 00:30 each hour until charging has caught up; then there is nothing to do.
        schedule: "30 * * * *",
        irreversible: true,
        work: Work::Books(|run| Box::pin(monthly_bills::run(run))),
    },
    Job {
        name: "review-mail-quotas",
        about: "raises, keeps or lowers what accounts may send a day, by the week before",
        verb: "review",
        schedule: "0 0 * * 1",
        // A week is reviewed once.
        irreversible: true,
        work: Work::Books(|run| Box::pin(review_mail_quotas::run(run))),
    },
    Job {
        name: "send-reminders",
        about: "reminds of plans that expire, of low balances and of what waits",
        verb: "tell",
        schedule: "0 9 * * *",
        irreversible: false,
        work: Work::Books(|run| Box::pin(send_reminders::run(run))),
    },
    Job {
        name: "deliver-notifications",
        about: "sends notices by e-mail, text message and webhook",
        verb: "send",
        schedule: "* * * * *",
        irreversible: false,
        work: Work::Steps(|steps| Box::pin(deliver_notifications::run(steps))),
    },
    Job {
        name: "audit-changes",
        about: "audits the accounts whose ledgers changed",
        verb: "audit",
        schedule: "*/5 * * * *",
        irreversible: false,
        work: Work::Steps(|steps| Box::pin(audit_changes::run(steps))),
    },
    Job {
        name: "audit-books",
        about: "audits all the books: every invariant, and every account worked out anew",
        verb: "audit",
        schedule: "0 4 * * *",
        irreversible: false,
        work: Work::Steps(|steps| Box::pin(audit_books::run(steps))),
    },
    Job {
        name: "housekeeping",
        about: "deletes what nothing needs any more: old messages, their receipts, traces of runs",
        verb: "delete",
        schedule: "0 5 * * *",
        irreversible: true,
        work: Work::Steps(|steps| Box::pin(housekeeping::run(steps))),
    },
];

pub fn find(name: &str) -> Option<&'static Job> {
    ALL.iter().find(|job| job.name == name)
}

impl From<BasisError> for JobError {
    fn from(error: BasisError) -> JobError {
        match error {
            BasisError::Store(error) => JobError::Store(error),
            other => JobError::Basis(other),
        }
    }
}
