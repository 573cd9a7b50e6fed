//! What the operator runs: jobs, status, migrate, check-config, digest, scenarios.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::output::{count, line, table};
use super::{Failure, Session, exit};
use crate::jobs::{self, Job};
use crate::runner::{self, Finished, Options};
use crate::scenario;
use crate::store::{self, Db, charging, runs, status};

pub async fn run_job(session: &Session, name: &str, dry_run: bool) -> Result<ExitCode, Failure> {
    let Some(job) = jobs::find(name) else {
        let known: Vec<_> = jobs::ALL.iter().map(|job| job.name).collect();
        return Err(Failure::usage(format!("there is no job `{name}`; there are {}", known.join(", "))));
    };
    let config = session.config()?;
    let db = session.open(&config).await?;
    let options = Options { as_of: session.as_of(), dry_run, catch_up: session.catch_up() };
    let progress = session.progress();
    let finished = runner::run(&db, &config, job, options, &*progress).await?;
    db.close().await;
    session.output.show(&finished.to_json(&config), || told(&finished));
    Ok(finished.into())
}

/// A finished run in words.
pub fn told(finished: &Finished) -> String {
    let dry = if finished.dry_run { " (dry run, nothing was changed)" } else { "" };
    let mut lines = vec![format!(
        "{}: {} in {} ms{dry}",
        finished.job,
        finished.outcome.as_str().replace('_', " "),
        count(finished.duration_ms)
    )];
    let counts = finished.counts.iter().filter(|(_, number)| *number != 0);
    lines.extend(
        counts.map(|(name, number)| format!("  {:<12} {:>12}", name.replace('_', " "), count(*number))),
    );
    lines.extend(finished.parked.iter().map(|p| format!("  parked {}: {}", p.account_id, p.fault)));
    lines.extend(finished.effects.iter().map(|effect| format!("  would charge {effect}")));
    if finished.outcome == runner::Outcome::Partial {
        lines.push("Something waits; see `quittance status`.".into());
    }
    lines.join("\n")
}

pub async fn jobs(session: &Session) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let last = runs::last_of_each(&mut db.read().await?).await?;
    let find = |job: &Job| last.iter().find(|run| run.job == job.name);
    let json: Vec<Value> = jobs::ALL
        .iter()
        .map(|job| {
            let run = find(job).map(|run| {
                json!({
                    "run_id": run.run_no.to_string(),
                    "as_of": config.zone.format(run.as_of),
                    "started_at": config.zone.format(run.started_at),
                    "duration_ms": run.duration_ms,
                    "outcome": run.outcome,
                    "error": run.error,
                })
            });
            json!({ "job": job.name, "about": job.about, "schedule": job.schedule, "last_run": run })
        })
        .collect();
    session.output.show(&json!(json), || {
        let row = |job: &Job| {
            let run = find(job);
            vec![
                job.name.into(),
                job.schedule.into(),
                run.map_or("never".into(), |run| config.zone.format_short(run.started_at)),
                run.map_or(String::new(), |run| run.error.clone().unwrap_or(run.outcome.clone())),
                job.about.into(),
            ]
        };
        table(&["job", "schedule", "last run", "outcome", "about"], jobs::ALL.iter().map(row).collect())
    });
    Ok(ExitCode::SUCCESS)
}

/// Messages in suspense that `status` names one by one.
const NAMED: i64 = 20;

pub async fn status(session: &Session) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let mut tx = db.read().await?;
    let waiting = charging::waiting(&mut tx).await?;
    let by_reason = status::suspense_by_reason(&mut tx).await?;
    let named = status::suspense(&mut tx, NAMED).await?;
    let quarantined = status::quarantined(&mut tx).await?;
    let accounts = status::accounts_by_status(&mut tx).await?;
    let map = |pairs: &[(String, i64)]| pairs.iter().map(|(k, n)| (k.clone(), json!(n))).collect::<Value>();
    let suspense: Vec<Value> = named
        .iter()
        .map(|row| {
            json!({
                "account_id": row.account_id,
                "message_id": row.message_id,
                "batch": row.batch_no.to_string(),
                "line": row.line,
                "reason": row.reason,
                "submit_time": config.zone.format(row.submit_time),
            })
        })
        .collect();
    let json = json!({
        "uncharged": { "batches": waiting.batches, "messages": waiting.messages },
        "suspense": map(&by_reason),
        "suspense_messages": suspense,
        "quarantined": map(&quarantined),
        "accounts": map(&accounts),
    });
    session.output.show(&json, || {
        let mut text = format!(
            "Waiting to be charged: {} messages in {} batches\n",
            count(waiting.messages),
            count(waiting.batches)
        );
        for (status, number) in &accounts {
            text.push_str(&format!("Accounts {status}: {}\n", count(*number)));
        }
        for (verdict, number) in &quarantined {
            text.push_str(&format!("Lines {verdict}: {} (quittance batch list)\n", count(*number)));
        }
        for (reason, number) in &by_reason {
            let remedy = crate::domain::charge::Unrated::parse(reason).map_or("", |reason| reason.remedy());
            text.push_str(&format!("In suspense, {reason}: {} ({remedy})\n", count(*number)));
        }
        if !named.is_empty() {
            let row = |row: &status::SuspenseRow| {
                let place = format!("{}:{}", row.batch_no, row.line);
                let sent = config.zone.format_short(row.submit_time);
                vec![row.account_id.clone(), row.message_id.clone(), place, sent, row.reason.clone()]
            };
            let columns = ["account", "message", "batch:line", "sent", "reason"];
            text.push('\n');
            text.push_str(&table(&columns, named.iter().map(row).collect()));
        }
        text
    });
    let waits = !by_reason.is_empty() || !quarantined.is_empty();
    Ok(ExitCode::from(if waits { exit::PARTIAL } else { 0 }))
}

pub async fn migrate(session: &Session) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = Db::open(&session.url(&config)).await?;
    store::prepare(&db).await?;
    db.close().await;
    let json = json!({ "schema_version": store::SCHEMA_VERSION });
    session.output.show(&json, || format!("The schema is at version {}.", store::SCHEMA_VERSION));
    Ok(ExitCode::SUCCESS)
}

pub fn check_config(session: &Session) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let products: Vec<_> = config.catalog.products.iter().map(|product| product.id.to_string()).collect();
    let json = json!({
        "config": config.place,
        "zone": config.zone.name(),
        "products": products,
        "price_lists": config.book.rates.len(),
        "packages": config.book.packages.len(),
        "fingerprint": config.fingerprint,
    });
    session.output.show(&json, || {
        format!(
            "Configuration {} is right.\nZone {}; products {}; {} price lists, {} packages.",
            config.place,
            config.zone.name(),
            products.join(", "),
            config.book.rates.len(),
            config.book.packages.len()
        )
    });
    Ok(ExitCode::SUCCESS)
}

pub async fn digest(session: &Session) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let digest = store::digest::digest(&mut db.read().await?, config.zone).await?;
    session.output.show(&json!({ "digest": digest }), || digest.clone());
    Ok(ExitCode::SUCCESS)
}

/// Runs scenario files, each on a throw-away SQLite database, and compares what they say.
pub fn scenarios(session: &Session, files: &[PathBuf]) -> Result<ExitCode, Failure> {
    let mut failed = 0;
    let mut results = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let result = scenario::check(file);
        failed += usize::from(result.is_err());
        let detail = result.err();
        if !session.output.json {
            match &detail {
                None => line(&format!("{name}: as written")),
                Some(difference) => line(&format!("{name}: differs\n{difference}")),
            }
        }
        results.push(json!({ "file": name, "passed": detail.is_none(), "difference": detail }));
    }
    if session.output.json {
        line(&json!({ "scenarios": results }));
    }
    Ok(ExitCode::from(if failed > 0 { exit::FAILED } else { 0 }))
}
