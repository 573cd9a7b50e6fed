//! What the operator is told of runs: a job that fails again and again, accounts that were parked, books
//! that are wrong.

use super::report::Finished;
use crate::domain::notice::{Fact, Notice, NoticeKind};
use crate::domain::period::{Timestamp, Zone};
use crate::listed::Listed;
use crate::store::notices::Notices;
use crate::store::{StoreError, Tx, runs};

/// Failures in a row from which on the operator is told, once a job and day.
const FAILURES: i64 = 3;
/// Characters of a fault that a notice tells; the run's record has all.
const TOLD: usize = 500;

/// Tells of a job whose last runs all failed. `now` is the business time of this one.
pub async fn of_failures(
    tx: &mut Tx,
    zone: Zone,
    job: &'static str,
    now: Timestamp,
    error: &str,
) -> Result<(), StoreError> {
    let failures = runs::failures_in_a_row(tx, job).await?;
    if failures < FAILURES {
        return Ok(());
    }
    let facts = vec![
        ("job", Fact::Text(job.to_owned())),
        ("failures", Fact::Count(failures)),
        ("error", Fact::Text(error.chars().take(TOLD).collect())),
    ];
    let mut notices = Notices::default();
    notices.push("", &notice(NoticeKind::JobFailed, job, zone, now, facts), now);
    notices.flush(tx).await
}

/// Tells of accounts that a run parked, each once a job and day.
pub async fn of_parked(tx: &mut Tx, zone: Zone, finished: &Finished) -> Result<(), StoreError> {
    let mut notices = Notices::default();
    for parked in &finished.parked.first {
        let facts = vec![
            ("job", Fact::Text(finished.job.to_owned())),
            ("account", Fact::Text(parked.account_id.clone())),
            ("fault", Fact::Text(parked.fault.chars().take(TOLD).collect())),
        ];
        let subject = format!("{} {}", finished.job, parked.account_id);
        let parked = notice(NoticeKind::AccountParked, &subject, zone, finished.as_of, facts);
        notices.push("", &parked, finished.as_of);
    }
    notices.flush(tx).await
}

/// Tells of books that an audit found wrong, at once and once a day, whichever audit it was.
pub async fn of_findings(tx: &mut Tx, zone: Zone, finished: &Finished) -> Result<(), StoreError> {
    let Some(first) = finished.first_finding() else { return Ok(()) };
    let facts = vec![
        ("job", Fact::Text(finished.job.to_owned())),
        ("findings", Fact::Count(finished.findings.as_ref().map_or(0, Listed::count))),
        ("finding", Fact::Text(first.chars().take(TOLD).collect())),
    ];
    let mut notices = Notices::default();
    notices.push("", &notice(NoticeKind::BooksWrong, "", zone, finished.as_of, facts), finished.as_of);
    notices.flush(tx).await
}

fn notice(
    kind: NoticeKind,
    subject: &str,
    zone: Zone,
    now: Timestamp,
    facts: Vec<(&'static str, Fact)>,
) -> Notice {
    Notice { kind, subject: subject.to_owned(), due: zone.day_start(zone.day_of(now)), facts }
}
