//! `ingest-spool`: takes in the files that gateways dropped, each as a batch of its own (F48-F65).
//!
//! A file is claimed, taken into the books in one transaction that is refused once the lease is
//! lost, and only then moved to `done/` or `bad/` beside a report. A run that is cut off in between
//! leaves the file in `work/`, where the next takes it again: its content is known by then, or not.

use std::path::Path;

use serde_json::{Value, json};

use super::{JobError, Report, Steps};
use crate::clock;
use crate::ingest::IngestError;
use crate::intake::{self, Input, IntakeError, Reading};
use crate::listed::Listed;
use crate::runner::describe;
use crate::spool::{self, Claim, Entry, Held, Outlet, Spool, shown};
use crate::store::StoreError;
use crate::store::batches::{self, BatchRow, Ingested};
use crate::store::leases::Lease;

pub const NAME: &str = "ingest-spool";

/// Lines that a file's report names one by one; all are kept with the batch.
const NAMED: i64 = 1_000;
/// Files that a run goes on after when the database refuses them. It is then not the file's fault.
const REFUSED: usize = 3;

pub async fn run(steps: Steps<'_>) -> Result<Report, JobError> {
    let Some(place) = steps.config.spool.as_deref() else {
        tracing::warn!(
            "There is no spool: write `[spool]` with `dir = \"spool\"` into the configuration, and the files in it \
             are taken in"
        );
        return Ok(Report::default());
    };
    let Some(lease) = steps.lease else { return rehearse(place) };
    let spool = Spool::open(place, lease.token)?;
    let mut taking =
        Taking { steps, lease, spool, totals: Totals::default(), waits: false, refused: Vec::new() };
    for entry in taking.spool.left_behind()? {
        taking.take(entry).await?;
    }
    for entry in taking.spool.dropped()? {
        taking.take(entry).await?;
    }
    taking.report()
}

/// What would be taken.
fn rehearse(place: &Path) -> Result<Report, JobError> {
    let mut totals = Totals::default();
    let mut effects = Listed::default();
    for entry in spool::peek(place)? {
        totals.files += 1;
        effects.push(|| match entry.look.oddity() {
            None => format!(
                "{}, {} bytes of {} {}",
                entry.place(),
                entry.look.bytes,
                entry.inlet.source.name(),
                entry.inlet.kind.name()
            ),
            Some(what) => format!("{} away to bad/: it is {what}", entry.place()),
        });
    }
    Ok(Report { worked: totals.files > 0, counts: totals.counts(), effects, ..Report::default() })
}

/// Sums of a run for its report.
#[derive(Default)]
struct Totals {
    files: i64,
    accepted: i64,
    duplicates: i64,
    conflicts: i64,
    rejected: i64,
    /// Files whose content was in the books before.
    already: i64,
    bad: i64,
    /// Files that stay where they are for a later run.
    left: i64,
}

impl Totals {
    fn counts(&self) -> Vec<(&'static str, i64)> {
        vec![
            ("files", self.files),
            ("accepted", self.accepted),
            ("duplicates", self.duplicates),
            ("conflicts", self.conflicts),
            ("rejected", self.rejected),
            ("already", self.already),
            ("bad", self.bad),
            ("left", self.left),
        ]
    }
}

struct Taking<'a> {
    steps: Steps<'a>,
    lease: &'a Lease,
    spool: Spool,
    totals: Totals,
    /// Something was not taken and is listed.
    waits: bool,
    /// Why the database refused files; they stay in `work/`.
    refused: Vec<StoreError>,
}

impl Taking<'_> {
    async fn take(&mut self, entry: Entry) -> Result<(), JobError> {
        match self.spool.claim(&entry, clock::now())? {
            Claim::Gone => {}
            Claim::Unfinished => self.totals.left += 1,
            Claim::Stuck(error) => {
                tracing::warn!("{} can't be taken: {error}", entry.place());
                self.totals.left += 1;
                self.waits = true;
            }
            Claim::Odd(held, what) => self.reject(&held, &what)?,
            Claim::Ours(held, file) => {
                let input = Input::Open(file, entry.shown());
                self.ingest(held, input).await?;
            }
        }
        Ok(())
    }

    async fn ingest(&mut self, held: Held, input: Input) -> Result<(), JobError> {
        let source = held.entry.inlet.source;
        let kind = held.entry.inlet.kind;
        let reading = Reading { kind, source, format: None, as_of: self.steps.as_of };
        let Steps { db, config, progress, .. } = self.steps;
        match intake::take(db, config, input, reading, Some(self.lease), progress).await {
            Ok(done) => self.keep(&held, done).await,
            Err(IntakeError::Store(error)) => self.refuse(&held, error),
            Err(error) if may_be_unfinished(&error, &held) => {
                self.spool.put_back(&held)?;
                self.totals.left += 1;
                Ok(())
            }
            Err(error) => self.reject(&held, &describe(&error)),
        }
    }

    /// The file is in the books.
    async fn keep(&mut self, held: &Held, done: Ingested) -> Result<(), JobError> {
        let (batch, already) = match &done {
            Ingested::Taken(batch) => (batch, false),
            Ingested::Already(batch) => (batch, true),
        };
        let report = self.report_on(held, batch, already).await?;
        if self.spool.settle(held, Outlet::Done, report)?.is_none() {
            return Ok(());
        }
        let totals = &mut self.totals;
        totals.files += 1;
        if already {
            totals.already += 1;
            return Ok(());
        }
        totals.accepted += batch.accepted;
        totals.duplicates += batch.duplicates;
        totals.conflicts += batch.conflicts;
        totals.rejected += batch.rejected;
        self.waits |= batch.conflicts + batch.rejected > 0;
        Ok(())
    }

    async fn report_on(&self, held: &Held, batch: &BatchRow, already: bool) -> Result<Value, JobError> {
        let mut tx = self.steps.db.read().await?;
        let refused = batches::first_refused(&mut tx, batch.batch_no, NAMED).await?;
        tx.rollback().await?;
        let mut report = self.beginning(held, if already { "already_ingested" } else { "taken" });
        if let (Some(report), Value::Object(batch)) = (report.as_object_mut(), intake::batch_json(batch)) {
            // The batch may have come under another name.
            report.extend(batch.into_iter().filter(|(key, _)| key != "file"));
        }
        report["already_ingested"] = json!(already);
        report["not_taken"] = refused
            .iter()
            .map(|line| {
                json!({
                    "line": line.line,
                    "verdict": line.verdict,
                    "reason": line.reason,
                    "detail": line.detail,
                })
            })
            .collect();
        let left_out = batch.rejected + batch.conflicts - refused.len() as i64;
        report["not_taken_left_out"] = json!(left_out.max(0));
        Ok(report)
    }

    /// The file is none, or can't be read.
    fn reject(&mut self, held: &Held, fault: &str) -> Result<(), JobError> {
        let mut report = self.beginning(held, "bad");
        report["fault"] = json!(fault);
        if let Some(moved_to) = self.spool.settle(held, Outlet::Bad, report)? {
            tracing::warn!("{} was moved to {moved_to}: {fault}", held.entry.place());
            self.totals.files += 1;
            self.totals.bad += 1;
            self.waits = true;
        }
        Ok(())
    }

    /// What every report begins with.
    fn beginning(&self, held: &Held, outcome: &str) -> Value {
        json!({
            "file": shown(&held.entry.name),
            "kind": held.entry.inlet.kind.name(),
            "source": held.entry.inlet.source.name(),
            "outcome": outcome,
            "at": self.steps.config.zone.format(self.steps.as_of),
        })
    }

    /// The database refused the file, which stays in `work/`. A fault of the database itself, or the
    /// loss of the lease, ends the run; one file alone must not keep the others waiting.
    fn refuse(&mut self, held: &Held, error: StoreError) -> Result<(), JobError> {
        if error.is_transient() || self.refused.len() + 1 == REFUSED {
            return Err(error.into());
        }
        tracing::error!("{} could not be taken: {}", held.entry.place(), describe(&error));
        self.refused.push(error);
        Ok(())
    }

    fn report(self) -> Result<Report, JobError> {
        match self.refused.into_iter().next() {
            Some(error) => Err(error.into()),
            None => Ok(Report {
                worked: self.totals.files > 0,
                left_waiting: self.waits,
                counts: self.totals.counts(),
                ..Report::default()
            }),
        }
    }
}

/// Whether the file may be whole the next time: it changed while it was read, or it ends too early
/// and was written to a moment ago.
fn may_be_unfinished(error: &IntakeError, held: &Held) -> bool {
    match error {
        IntakeError::Changed { .. } => true,
        IntakeError::Ingest { source: IngestError::BadGzip { .. }, .. } => held.entry.is_young(clock::now()),
        _ => false,
    }
}
