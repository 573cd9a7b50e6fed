//! `jobs` and `status`: what ran, what is due, and what waits for somebody.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::output::{count, table};
use super::{Failure, Session, exit};
use crate::domain::charge::Unrated;
use crate::domain::period::{Timestamp, Zone};
use crate::jobs::{self, Job};
use crate::runner::due::{Due, due};
use crate::store::bills::{self, ParkedBill};
use crate::store::charging::{self, Waiting};
use crate::store::runs::{self, RunRow};
use crate::store::scope::Scope;
use crate::store::status::{self, ParkedAccount, SuspenseRow};
use crate::store::{StoreError, Tx, audited, deliveries, exceptions, leases};

/// A job as its operator sees it.
struct JobRow {
    job: &'static Job,
    /// None where it is off.
    schedule: Option<String>,
    last: Option<RunRow>,
    completed: Option<RunRow>,
    failures: i64,
    due: Due,
    holder: Option<String>,
}

impl JobRow {
    async fn all(
        tx: &mut Tx,
        config: &crate::config::Config,
        now: Timestamp,
    ) -> Result<Vec<JobRow>, StoreError> {
        let mut rows = Vec::new();
        for job in jobs::ALL {
            rows.push(JobRow {
                job,
                schedule: config.schedules.get(job.name).map(|schedule| schedule.as_str().to_owned()),
                last: runs::last(tx, job.name).await?,
                completed: runs::last_completed(tx, job.name).await?,
                failures: runs::failures_in_a_row(tx, job.name).await?,
                due: due(tx, config, job, now).await?,
                holder: leases::holder(tx, job.name).await?,
            });
        }
        Ok(rows)
    }

    fn to_json(&self, zone: Zone) -> Value {
        let time = |at: Option<Timestamp>| at.map(|at| zone.format(at));
        let last = self.last.as_ref().map(|run| {
            json!({
                "run_id": run.run_no.to_string(),
                "as_of": zone.format(run.as_of),
                "started_at": zone.format(run.started_at),
                "duration_ms": run.duration_ms,
                "outcome": run.outcome,
                "error": run.error,
                "slot": time(run.slot),
                "slots": run.slots,
                "attempt": run.attempt,
                "owner": run.owner,
            })
        });
        json!({
            "job": self.job.name,
            "about": self.job.about,
            "schedule": self.schedule.as_deref().unwrap_or("off"),
            "next": time(self.due.next),
            "due": time(self.due.slot.map(|slot| slot.at)),
            "slots_behind": self.due.slots_behind(),
            "running_by": self.holder,
            "failures_in_a_row": self.failures,
            "last_completed_at": time(self.completed.as_ref().map(|run| run.started_at)),
            "last_run": last,
        })
    }

    fn words(&self, zone: Zone) -> Vec<String> {
        let short = |at: Option<Timestamp>| at.map_or("never".to_owned(), |at| zone.format_short(at));
        let outcome = |run: &RunRow| match (&run.error, run.outcome.as_str()) {
            (Some(error), outcome) => format!("{}: {error}", outcome.replace('_', " ")),
            (None, outcome) => outcome.replace('_', " "),
        };
        vec![
            self.job.name.into(),
            self.schedule.clone().unwrap_or_else(|| "off".into()),
            short(self.last.as_ref().map(|run| run.started_at)),
            match &self.holder {
                Some(holder) => format!("running, by {holder}"),
                None => self.last.as_ref().map(outcome).unwrap_or_default(),
            },
            match self.due.slot {
                Some(slot) if slot.slots > 1 => format!("due, {} slots behind", count(slot.slots)),
                Some(_) => "due".into(),
                None => self.due.next.map_or("never".into(), |next| zone.format_short(next)),
            },
            self.job.about.into(),
        ]
    }
}

pub async fn jobs(session: &Session) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let rows = JobRow::all(&mut db.read().await?, &config, session.now()).await?;
    let json: Vec<Value> = rows.iter().map(|row| row.to_json(config.zone)).collect();
    session.output.show(&json!(json), || {
        let columns = ["job", "schedule", "last run", "outcome", "next", "about"];
        table(&columns, rows.iter().map(|row| row.words(config.zone)).collect())
    });
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Messages in suspense and parked accounts that `status` names one by one.
const NAMED: i64 = 20;

/// All that waits, and for whom.
struct Status {
    waiting: Waiting,
    /// When the last run that charged began.
    charged_at: Option<Timestamp>,
    /// The time that runs have reached, where the clock is so far ahead of it that nothing is made final
    /// until somebody says that it is right (D44).
    stuck_at: Option<Timestamp>,
    jobs: Vec<JobRow>,
    by_reason: Vec<(String, i64)>,
    named: Vec<SuspenseRow>,
    parked: Vec<ParkedAccount>,
    parked_bills: Vec<ParkedBill>,
    /// How many accounts and bills are parked, named or not.
    parked_count: i64,
    parked_bills_count: i64,
    /// What the last audits found wrong, by account: the books as a whole where the account is empty.
    wrong: Vec<(String, String)>,
    /// How many of them there are, named or not.
    wrong_count: i64,
    quarantined: Vec<(String, i64)>,
    /// Open ones by kind.
    exceptions: Vec<(String, i64)>,
    /// Requests for refunds that wait for an operator.
    refund_requests: i64,
    accounts: Vec<(String, i64)>,
    /// Deliveries of notices that wait or failed: channel, state, how many.
    deliveries: Vec<(String, String, i64)>,
}

pub async fn status(session: &Session) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let mut tx = db.read().await?;
    let status = Status {
        waiting: charging::waiting(&mut tx).await?,
        charged_at: runs::last_completed(&mut tx, "aggregate-charges").await?.map(|run| run.started_at),
        stuck_at: runs::business_time(&mut tx).await?.filter(|reached| {
            session.now().0 - reached.0 > config.max_jump_hours.saturating_mul(Timestamp::HOUR)
        }),
        jobs: JobRow::all(&mut tx, &config, session.now()).await?,
        by_reason: status::suspense_by_reason(&mut tx).await?,
        named: status::suspense(&mut tx, NAMED).await?,
        parked: status::parked_accounts(&mut tx, &Scope::All, NAMED).await?,
        parked_bills: bills::parked_bills(&mut tx, &Scope::All, NAMED).await?,
        parked_count: status::parked(&mut tx).await?,
        parked_bills_count: bills::parked_count(&mut tx).await?,
        wrong: audited::wrong(&mut tx, NAMED).await?,
        wrong_count: audited::wrong_count(&mut tx).await?,
        quarantined: status::quarantined(&mut tx).await?,
        exceptions: exceptions::open_by_kind(&mut tx).await?,
        refund_requests: status::refund_requests(&mut tx).await?,
        accounts: status::accounts_by_status(&mut tx).await?,
        deliveries: deliveries::open(&mut tx).await?,
    };
    tx.rollback().await?;
    db.close().await;
    session.output.show(&status.to_json(config.zone), || status.words(config.zone));
    let waiting = [&status.by_reason, &status.quarantined, &status.exceptions];
    let waits = waiting.iter().any(|counts| !counts.is_empty())
        || !status.parked.is_empty()
        || !status.parked_bills.is_empty()
        || status.wrong_count > 0
        || status.refund_requests > 0
        || status.notices("failed") > 0;
    Ok(ExitCode::from(if waits { exit::PARTIAL } else { 0 }))
}

impl Status {
    /// Deliveries in a state, by whatever channel.
    fn notices(&self, state: &str) -> i64 {
        self.deliveries.iter().filter(|(_, found, _)| found == state).map(|(_, _, count)| count).sum()
    }

    /// Messages in suspense that are not named.
    fn more_suspended(&self) -> i64 {
        self.by_reason.iter().map(|(_, count)| count).sum::<i64>() - self.named.len() as i64
    }

    fn to_json(&self, zone: Zone) -> Value {
        let map =
            |pairs: &[(String, i64)]| pairs.iter().map(|(k, n)| (k.clone(), json!(n))).collect::<Value>();
        let suspended = |row: &SuspenseRow| {
            json!({
                "account_id": row.account_id,
                "message_id": row.message_id,
                "batch": row.batch_no.to_string(),
                "line": row.line,
                "reason": row.reason,
                "submit_time": zone.format(row.submit_time),
            })
        };
        let parked = |parked: &ParkedAccount| {
            let ParkedAccount { account_id, messages, failures, fault } = parked;
            json!({ "account_id": account_id, "messages": messages, "failures": failures, "fault": fault })
        };
        let wrong = |(id, fault): &(String, String)| {
            let account_id = Some(id).filter(|id| !id.is_empty());
            json!({ "account_id": account_id, "fault": fault })
        };
        let parked_bill = |bill: &ParkedBill| {
            let ParkedBill { account_id, month, fault } = bill;
            json!({ "account_id": account_id, "month": month, "fault": fault })
        };
        json!({
            "uncharged": { "batches": self.waiting.batches, "messages": self.waiting.messages },
            "charged_at": self.charged_at.map(|at| zone.format(at)),
            "stuck_at": self.stuck_at.map(|at| zone.format(at)),
            "jobs": self.jobs.iter().map(|row| row.to_json(zone)).collect::<Vec<_>>(),
            "suspense": map(&self.by_reason),
            "suspense_messages": self.named.iter().map(suspended).collect::<Vec<_>>(),
            "suspense_messages_left_out": self.more_suspended(),
            "parked": self.parked.iter().map(parked).collect::<Vec<_>>(),
            "parked_left_out": self.parked_count - self.parked.len() as i64,
            "parked_bills_left_out": self.parked_bills_count - self.parked_bills.len() as i64,
            "parked_bills": self.parked_bills.iter().map(parked_bill).collect::<Vec<_>>(),
            "wrong": self.wrong.iter().map(wrong).collect::<Vec<_>>(),
            "wrong_left_out": self.wrong_count - self.wrong.len() as i64,
            "wrong_accounts": self.wrong_count,
            "quarantined": map(&self.quarantined),
            "exceptions": map(&self.exceptions),
            "refund_requests": self.refund_requests,
            "accounts": map(&self.accounts),
            "notices": { "waiting": self.notices("waiting"), "failed": self.notices("failed") },
        })
    }

    fn words(&self, zone: Zone) -> String {
        let charged = self.charged_at.map_or("never".into(), |at| zone.format_short(at));
        let mut lines = vec![format!(
            "Waiting to be charged: {} messages in {} batches; last charged {charged}",
            count(self.waiting.messages),
            count(self.waiting.batches)
        )];
        if let Some(reached) = self.stuck_at {
            lines.push(format!(
                "Nothing becomes final: runs have reached {} and the clock is far ahead. If it is right: quittance \
                 --run-job settle-receipts --catch-up",
                zone.format_short(reached)
            ));
        }
        for (account, fault) in &self.wrong {
            let (of, by) = match account.as_str() {
                "" => (String::new(), String::new()),
                account => (format!(" of {account}"), format!(" {account}")),
            };
            lines.push(format!("The books{of} are NOT right: {fault} (quittance audit{by})"));
        }
        let more = self.wrong_count - self.wrong.len() as i64;
        if more > 0 {
            lines.push(format!("The books of {} more accounts are NOT right", count(more)));
        }
        lines.extend(self.jobs.iter().filter_map(JobRow::trouble));
        for (status, number) in &self.accounts {
            lines.push(format!("Accounts {status}: {}", count(*number)));
        }
        for (verdict, number) in &self.quarantined {
            lines.push(format!("Lines {verdict}: {} (quittance exception list)", count(*number)));
        }
        for (kind, number) in &self.exceptions {
            lines.push(format!("Exceptions {kind}: {} (quittance exception list)", count(*number)));
        }
        if self.refund_requests > 0 {
            let number = count(self.refund_requests);
            lines
                .push(format!("Refunds that wait for a decision: {number} (quittance order list --pending)"));
        }
        for (channel, state, number) in &self.deliveries {
            let remedy = if state == "failed" { " (quittance notice list --failed)" } else { "" };
            lines.push(format!("Notices by {channel} {state}: {}{remedy}", count(*number)));
        }
        for (reason, number) in &self.by_reason {
            let remedy = Unrated::parse(reason).map_or("", |reason| reason.remedy());
            lines.push(format!("In suspense, {reason}: {} ({remedy})", count(*number)));
        }
        for parked in &self.parked {
            lines.push(format!("Parked account {}: {}", parked.account_id, parked.words()));
        }
        let more = self.parked_count - self.parked.len() as i64;
        if more > 0 {
            lines.push(format!("Parked accounts: {} more (quittance exception list)", count(more)));
        }
        for ParkedBill { account_id, month, fault } in &self.parked_bills {
            lines.push(format!("The bill of account {account_id} for {month} waits: {fault}"));
        }
        let more = self.parked_bills_count - self.parked_bills.len() as i64;
        if more > 0 {
            lines.push(format!("Bills that wait: {} more (quittance audit --quick)", count(more)));
        }
        if !self.named.is_empty() {
            let row = |row: &SuspenseRow| {
                let place = format!("{}:{}", row.batch_no, row.line);
                let sent = zone.format_short(row.submit_time);
                vec![row.account_id.clone(), row.message_id.clone(), place, sent, row.reason.clone()]
            };
            let columns = ["account", "message", "batch:line", "sent", "reason"];
            lines.push(format!("\n{}", table(&columns, self.named.iter().map(row).collect())));
            if let more @ 1.. = self.more_suspended() {
                lines.push(format!("and {} more (quittance exception list)", count(more)));
            }
        }
        lines.join("\n")
    }
}

impl JobRow {
    /// What the operator should know of a job that does not run as it should.
    fn trouble(&self) -> Option<String> {
        let name = self.job.name;
        if self.failures > 0 {
            let error = self.last.as_ref().and_then(|run| run.error.clone()).unwrap_or_default();
            return Some(format!("Job {name} failed {} times in a row: {error}", count(self.failures)));
        }
        let behind = self.due.slots_behind();
        (behind > 1 && self.holder.is_none()).then(|| {
            format!("Job {name} is {} slots behind: is a daemon running? (quittance daemon)", count(behind))
        })
    }
}
