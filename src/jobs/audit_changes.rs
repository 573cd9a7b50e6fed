//! Audits the accounts whose ledgers changed since they were found right, those first that were not looked at
//! for the longest time.
//!
//! How far an account was found right is kept with it, by the number of its ledger's last entry: there is no
//! watermark over all accounts that a late commit could slip under. A run reads what these accounts have, and
//! no more of it than it can bear: what it does not come to, the next run or the nightly audit does.

use std::time::Duration;

use super::audit_books::{marks, save};
use super::{JobError, Report, Steps};
use crate::audit::blame::Blame;
use crate::audit::{Depth, TOGETHER, audit_scope};
use crate::clock::Stopwatch;
use crate::domain::account::Parked;
use crate::listed::Listed;
use crate::store::audited;
use crate::store::scope::Scope;

/// Accounts that a run audits at most.
const ACCOUNTS: usize = 1_000;
/// After so long no more accounts are begun with.
const TO_BEGIN: Duration = Duration::from_secs(60);
/// Messages that are gone through for accounts that are audited together. Where their batches hold more, with
/// those of others, the sums are audited alone and the night's audit works the accounts out anew.
const MESSAGES: i64 = 1_000_000;

pub async fn run(steps: Steps<'_>) -> Result<Report, JobError> {
    let mut tx = steps.db.read().await?;
    let due = audited::due(&mut tx, ACCOUNTS).await?;
    tx.rollback().await?;
    let mut changes =
        Changes { steps, totals: Totals::default(), findings: Listed::default(), parked: Listed::default() };
    let began = Stopwatch::start();
    for together in due.chunks(TOGETHER) {
        if changes.steps.should_stop() || began.elapsed() >= TO_BEGIN {
            break;
        }
        changes.audit_together(together).await?;
    }
    let mut tx = changes.steps.db.read().await?;
    let due = audited::due_count(&mut tx).await?;
    tx.rollback().await?;
    Ok(changes.report(due))
}

/// Sums of a run for its report.
#[derive(Default)]
struct Totals {
    accounts: i64,
    recounted: i64,
    messages: i64,
    wrong: i64,
}

struct Changes<'a> {
    steps: Steps<'a>,
    totals: Totals,
    findings: Listed<String>,
    /// Accounts of which not all could be worked out anew.
    parked: Listed<Parked>,
}

impl Changes<'_> {
    /// Audits accounts, of each of which is known whether it was found wrong before.
    async fn audit_together(&mut self, together: &[(String, bool)]) -> Result<(), JobError> {
        let mut ids: Vec<String> = together.iter().map(|(id, _)| id.clone()).collect();
        ids.sort_unstable();
        let (config, progress) = (self.steps.config, self.steps.progress);
        let mut tx = self.steps.db.read().await?;
        let scope = Scope::of(&mut tx, &ids).await?;
        let entries = audited::last_entries(&mut tx, &scope).await?;
        let depth = if scope.messages() > MESSAGES { Depth::Sums } else { Depth::Full };
        let found = audit_scope(&mut tx, config, (&scope, &ids), depth, progress).await?;
        let mut blame = Blame::find(&mut tx, &ids, &found, depth != Depth::Sums).await?;
        if depth == Depth::Sums {
            // Sums alone may not see what was found: it stays until the account is worked out anew.
            let wrong = together.iter().filter(|(id, wrong)| *wrong && !blame.wrong.contains_key(id));
            blame.unknown.extend(wrong.map(|(id, _)| id.clone()));
        }
        tx.rollback().await?;
        save(&self.steps, &marks(entries, &blame)).await?;
        self.totals.accounts += ids.len() as i64;
        self.totals.recounted += found.accounts;
        self.totals.messages += found.messages;
        self.totals.wrong += blame.wrong.len() as i64;
        self.parked.extend(found.as_parked());
        self.findings.left_out += found.findings.left_out;
        self.findings.extend(found.findings.first);
        Ok(())
    }

    fn report(self, due: i64) -> Report {
        let totals = self.totals;
        Report {
            counts: vec![
                ("accounts", totals.accounts),
                ("recounted", totals.recounted),
                ("messages", totals.messages),
                ("wrong", totals.wrong),
                ("unchecked", self.parked.count()),
                ("findings", self.findings.count()),
                ("due", due),
            ],
            worked: totals.accounts > 0,
            left_waiting: !self.findings.is_empty() || !self.parked.is_empty(),
            parked: self.parked,
            findings: Some(self.findings),
            ..Report::default()
        }
    }
}
