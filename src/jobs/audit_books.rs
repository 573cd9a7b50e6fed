//! Audits all the books, each night (FAULTS I01 to I37).
//!
//! It reads one state of the database, holds nobody up, and writes nothing but how far each account was found
//! right. What is wrong is told at once, and `status` names it until an audit finds it mended.

use std::collections::BTreeMap;

use super::{JobError, Report, Steps};
use crate::audit::blame::Blame;
use crate::audit::{AuditError, Depth, audit_scope};
use crate::store::audited::{self, Mark};
use crate::store::leases;
use crate::store::scope::Scope;

pub async fn run(steps: Steps<'_>) -> Result<Report, JobError> {
    let mut tx = steps.db.read().await?;
    let entries = audited::last_entries(&mut tx, &Scope::All).await?;
    let ids: Vec<String> = entries.keys().cloned().collect();
    let all = (&Scope::All, &*ids);
    let found = audit_scope(&mut tx, steps.config, all, Depth::Full, steps.progress).await?;
    let blame = Blame::find(&mut tx, &ids, &found, true).await?;
    tx.rollback().await?;
    let mut marks = marks(entries, &blame);
    marks.push(Mark { account_id: String::new(), entry_no: 0, fault: blame.of_all.clone() });
    save(&steps, &marks).await?;
    Ok(Report {
        counts: vec![
            ("invariants", found.invariants),
            ("accounts", found.accounts),
            ("messages", found.messages),
            ("wrong", blame.wrong.len() as i64),
            ("unchecked", found.unchecked.len() as i64),
            ("findings", found.findings.count()),
        ],
        worked: true,
        left_waiting: !found.is_right() || !found.unchecked.is_empty(),
        parked: found.as_parked().collect(),
        findings: Some(found.findings),
        ..Report::default()
    })
}

/// What an audit came to for each account, given its last entries. Of accounts that may be wrong nothing is
/// said.
pub(super) fn marks(entries: BTreeMap<String, i64>, blame: &Blame) -> Vec<Mark> {
    let known = entries.into_iter().filter(|(id, _)| !blame.unknown.contains(id));
    let mark = |(account_id, entry_no): (String, i64)| {
        let fault = blame.wrong.get(&account_id).cloned();
        Mark { account_id, entry_no, fault }
    };
    known.map(mark).collect()
}

/// Writes marks, as long as the run has its lease; nothing in a dry run.
pub(super) async fn save(steps: &Steps<'_>, marks: &[Mark]) -> Result<(), JobError> {
    let Some(lease) = steps.lease else { return Ok(()) };
    let mut tx = steps.db.write().await?;
    leases::renew(&mut tx, lease).await?;
    audited::save(&mut tx, marks, steps.as_of).await?;
    tx.commit().await?;
    Ok(())
}

impl From<AuditError> for JobError {
    fn from(error: AuditError) -> JobError {
        match error {
            AuditError::Store(error) => JobError::Store(error),
            AuditError::Basis(error) => error.into(),
            other @ AuditError::Spill { .. } => JobError::Audit(other),
        }
    }
}
