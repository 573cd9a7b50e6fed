//! Deletes what nothing needs any more: messages and receipts that are over, how notices were sent, records
//! of runs that changed nothing, and the text of rejected lines (D71, F50, F94, F95, I36).
//!
//! What is deleted is judged by its state; the times of `[retention]` only say how long it is kept at least.
//! Totals stay, so that bills, usage, the digest and the audit say the same before and after. It goes in
//! portions, each a transaction that names the lease: a run that is cut off leaves whole portions, and the
//! next one goes on.

use super::{JobError, Report, Steps, ingest_spool};
use crate::domain::period::Timestamp;
use crate::listed::Listed;
use crate::store::retention::{self, Gone, Retired, Traces, forget_traces};
use crate::store::{StoreError, Tx, leases};

/// Jobs of which nothing in the books names a run.
const NAMELESS: [&str; 5] =
    [ingest_spool::NAME, "deliver-notifications", "audit-changes", "audit-books", "housekeeping"];
/// Traces of a kind that are forgotten in one transaction.
const TOGETHER: i64 = 10_000;

pub async fn run(steps: Steps<'_>) -> Result<Report, JobError> {
    let mut housekeeping = Housekeeping { steps, gone: Gone::default(), traces: [0; 3] };
    let retired = housekeeping.advance().await?;
    housekeeping.retire(retired).await?;
    housekeeping.forget().await?;
    Ok(housekeeping.report(retired))
}

struct Housekeeping<'a> {
    steps: Steps<'a>,
    gone: Gone,
    /// Deliveries, runs, lines.
    traces: [i64; 3],
}

impl Housekeeping<'_> {
    /// Keeps what a transaction did, or in a dry run takes it back.
    async fn end(&self, tx: Tx) -> Result<(), StoreError> {
        match self.steps.lease {
            Some(_) => tx.commit().await,
            None => tx.rollback().await,
        }
    }

    async fn advance(&self) -> Result<Retired, StoreError> {
        let kept = self.steps.config.retention.messages_months;
        let before = self.steps.config.zone.months_before(self.steps.as_of, kept);
        let mut tx = self.steps.db.write().await?;
        retention::begin(&mut tx, self.steps.lease).await?;
        let retired = retention::advance(&mut tx, before).await?;
        self.end(tx).await?;
        Ok(retired)
    }

    async fn retire(&mut self, retired: Retired) -> Result<(), StoreError> {
        let mut tx = self.steps.db.read().await?;
        let stretches = retention::stretches(&mut tx, retired).await?;
        tx.rollback().await?;
        self.steps.progress.begin("retiring messages", None);
        'stretches: for stretch in stretches {
            let mut tx = self.steps.db.read().await?;
            let portions = retention::portions(&mut tx, stretch).await?;
            tx.rollback().await?;
            for portion in portions {
                if self.steps.should_stop() {
                    break 'stretches;
                }
                let mut tx = self.steps.db.write().await?;
                retention::begin(&mut tx, self.steps.lease).await?;
                let gone = retention::retire(&mut tx, retired, portion).await?;
                self.end(tx).await?;
                self.gone.messages += gone.messages;
                self.gone.receipts += gone.receipts;
                self.gone.needed += gone.needed;
                self.steps.progress.advance(gone.messages as u64);
            }
        }
        self.steps.progress.end();
        Ok(())
    }

    async fn forget(&mut self) -> Result<(), StoreError> {
        let (as_of, kept) = (self.steps.as_of, self.steps.config.retention);
        let zone = self.steps.config.zone;
        let days_before = |days: u32| as_of.plus_micros(-i64::from(days) * Timestamp::DAY).0;
        let traces = Traces {
            deliveries: zone.months_before(as_of, kept.deliveries_months).0,
            runs: days_before(kept.runs_days),
            rejected_lines: days_before(kept.rejected_lines_days),
            nameless: NAMELESS.to_vec(),
        };
        let together = if self.steps.lease.is_some() { TOGETHER } else { i64::MAX };
        while !self.steps.should_stop() {
            let mut tx = self.steps.db.write().await?;
            if let Some(lease) = self.steps.lease {
                leases::renew(&mut tx, lease).await?;
            }
            let forgotten = forget_traces(&mut tx, &traces, together).await?;
            self.end(tx).await?;
            self.traces.iter_mut().zip(forgotten).for_each(|(sum, more)| *sum += more);
            if forgotten.iter().all(|count| *count < together) {
                break;
            }
        }
        Ok(())
    }

    fn report(self, retired: Retired) -> Report {
        let Gone { messages, receipts, needed } = self.gone;
        let [deliveries, runs, rejected_lines] = self.traces;
        let told = [
            (messages, format!("{messages} messages of charging runs up to {}", retired.run_no)),
            (receipts, format!("{receipts} receipts")),
            (deliveries, format!("{deliveries} deliveries of notices")),
            (runs, format!("{runs} records of runs")),
            (rejected_lines, format!("the text of {rejected_lines} rejected lines")),
        ];
        let told = told.into_iter().filter(|(count, _)| *count > 0);
        let effects: Listed<String> = told.map(|(_, words)| words).collect();
        Report {
            counts: vec![
                ("messages", messages),
                ("receipts", receipts),
                ("needed", needed),
                ("deliveries", deliveries),
                ("runs", runs),
                ("rejected_lines", rejected_lines),
            ],
            worked: !effects.is_empty(),
            effects: if self.steps.lease.is_none() { effects } else { Listed::default() },
            ..Report::default()
        }
    }
}
