//! What the operator runs: jobs by hand, migrate, check-config, digest, scenarios.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::output::{count, line};
use super::{Failure, Session, exit};
use crate::jobs;
use crate::runner::{self, Finished, Options};
use crate::scenario;
use crate::store::{self, Db};

pub async fn run_job(session: &Session, name: &str, dry_run: bool) -> Result<ExitCode, Failure> {
    let Some(job) = jobs::find(name) else {
        let known: Vec<_> = jobs::ALL.iter().map(|job| job.name).collect();
        return Err(Failure::usage(format!("there is no job `{name}`; there are {}", known.join(", "))));
    };
    let config = session.config()?;
    let db = session.open(&config).await?;
    let options =
        Options { as_of: session.as_of(), dry_run, catch_up: session.catch_up(), ..Options::default() };
    let progress = session.progress();
    let finished = runner::run_patiently(&db, &config, job, options, &*progress).await?;
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
    let verb = jobs::find(finished.job).map_or("do", |job| job.verb);
    lines.extend(finished.effects.iter().map(|effect| format!("  would {verb} {effect}")));
    match &finished.refusal {
        Some(reason) => lines.push(format!("  {reason}")),
        None if finished.outcome == runner::Outcome::Partial => {
            lines.push("Something waits; see `quittance status`.".into());
        }
        None => {}
    }
    lines.join("\n")
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
