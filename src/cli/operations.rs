//! What the operator runs: jobs by hand, migrate, check-config, digest, scenarios.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::output::{count, line};
use super::{Failure, Session, exit};
use crate::config::database::read_secret;
use crate::domain::notice::Channel;
use crate::jobs::{self, Job, Work};
use crate::listed::Listed;
use crate::printing;
use crate::runner::{self, Finished, Options};
use crate::scenario;
use crate::store::{self, Db, Roles};

pub async fn run_job(session: &Session, name: &str, dry_run: bool) -> Result<ExitCode, Failure> {
    let Some(job) = jobs::find(name) else {
        let known: Vec<_> = jobs::ALL.iter().map(|job| job.name).collect();
        return Err(Failure::usage(format!("there is no job `{name}`; there are {}", known.join(", "))));
    };
    let config = session.config()?;
    let db = session.open(&config).await?;
    let mut options =
        Options { as_of: session.as_of(), dry_run, catch_up: session.catch_up(), ..Options::default() };
    end_when_told(job, &mut options)?;
    let progress = session.progress();
    let finished = runner::run_patiently(&db, &config, job, options, &*progress).await?;
    db.close().await;
    session.output.show(&finished.to_json(&config), || told(&finished));
    Ok(finished.into())
}

/// SIGTERM and SIGINT end a run as the daemon's are ended: one of many steps after those under way, any other by
/// rolling it back, which a second signal does to both. So no lease is left behind, nor a letter sent that is not
/// noted.
fn end_when_told(job: &Job, options: &mut Options) -> Result<(), Failure> {
    let signals =
        signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) =
        signals.map_err(|error| Failure::other(format!("signals can't be waited for: {error}")))?;
    let (stop, stopped) = watch::channel(false);
    let (cut, is_cut) = watch::channel(false);
    (options.stop, options.cut) = (Some(stopped), Some(is_cut));
    let is_of_steps = matches!(job.work, Work::Steps(_));
    tokio::spawn(async move {
        let mut told = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        if is_of_steps {
            told().await;
            stop.send_replace(true);
        }
        told().await;
        cut.send_replace(true);
        // A run whose watch has no sender any more counts as told.
        std::future::pending::<()>().await;
    });
    Ok(())
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
    let more = |more: Option<String>, of: &str| more.map(|more| format!("  {more}{of}"));
    lines.extend(finished.parked.first.iter().map(|p| format!("  parked {}: {}", p.account_id, p.fault)));
    lines.extend(more(finished.parked.more(), " parked"));
    let verb = jobs::find(finished.job).map_or("do", |job| job.verb);
    lines.extend(finished.effects.first.iter().map(|effect| format!("  would {verb} {effect}")));
    lines.extend(more(finished.effects.more(), ""));
    match &finished.refusal {
        Some(reason) => lines.push(format!("  {reason}")),
        None if finished.first_finding().is_some() => {
            lines.push("The books are NOT right. The first is where to begin:".into());
            let findings = finished.findings.iter();
            lines.extend(findings.clone().flat_map(|all| &all.first).map(|finding| format!("  {finding}")));
            lines.extend(more(findings.clone().find_map(Listed::more), ""));
        }
        None if finished.outcome == runner::Outcome::Partial => {
            lines.push("Something waits; see `quittance status`.".into());
        }
        None => {}
    }
    lines.join("\n")
}

pub async fn migrate(session: &Session, roles: Option<Roles>) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = Db::open(session.url(&config)?.expose()).await?;
    let made = roles.is_some();
    let roles = store::migrate(&db, roles).await?;
    db.close().await;
    let names = roles
        .as_ref()
        .map(|roles| json!({ "owner": roles.owner(), "run": roles.run(), "audit": roles.audit() }));
    let json = json!({ "schema_version": store::SCHEMA_VERSION, "roles": names });
    session.output.show(&json, || {
        let mut text = format!("The schema is at version {}.", store::SCHEMA_VERSION);
        if let Some(roles) = roles.filter(|_| made) {
            let (owner, run, audit) = (roles.owner(), roles.run(), roles.audit());
            text.push_str(&format!(
                "\n\nThe roles {owner} (migrates), {run} (runs jobs, takes orders) and {audit} (reads) have their \
                 rights.\nNone of them can log in; give each login the one that it needs:\n  \
                 create role quittance login in role {run};"
            ));
        }
        text
    });
    Ok(ExitCode::SUCCESS)
}

pub fn check_config(session: &Session) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let (url, said_by) = session.database(&config)?;
    store::check_url(url.expose()).map_err(|fault| Failure::config(fault.to_string()))?;
    for (key, file) in config.notices.secrets() {
        read_secret(file).map_err(|fault| Failure::config(format!("{}: `{key}`: {fault}", config.place)))?;
    }
    printing::printer(&config).map_err(|fault| Failure::config(format!("{}: {fault}", config.place)))?;
    let channels: Vec<&str> =
        Channel::ALL.iter().filter(|by| config.notices.has(**by)).map(|channel| channel.as_str()).collect();
    let products: Vec<_> = config.catalog.products.iter().map(|product| product.id.to_string()).collect();
    let (price_lists, packages) = (config.book.rates.len(), config.book.packages.len());
    let json = json!({
        "config": config.place,
        "products_file": config.products_place,
        "prices_file": config.prices_place,
        "database": url.to_string(),
        "database_said_by": said_by,
        "zone": config.zone.name(),
        "products": products,
        "price_lists": price_lists,
        "packages": packages,
        "renewals_per_day": config.renewals_per_day,
        "listen": config.listen.map(|address| address.to_string()),
        "spool": config.spool,
        "channels": channels,
        "templates": config.notices.templates_dir,
        "schedule": config.schedules.iter().map(|(job, when)| (*job, when.as_str())).collect::<BTreeMap<_, _>>(),
        "fingerprint": config.fingerprint,
    });
    session.output.show(&json, || {
        let place = |found: Option<String>| found.unwrap_or_else(|| "off".into());
        let mut rows = vec![
            ("settings", config.place.clone()),
            ("products", format!("{} ({})", config.products_place, products.join(", "))),
            ("prices", format!("{} ({price_lists} price lists, {packages} packages)", config.prices_place)),
            ("database", format!("{url} (said by {said_by})")),
            ("zone", config.zone.name().to_owned()),
            ("messages", format!("kept for {} months", config.retention.messages_months)),
            ("ahead", format!("{} minutes at most", config.max_ahead_minutes)),
            ("clock jump", format!("{} hours at most", config.max_jump_hours)),
            ("renewals", format!("{} a day and product at most", config.renewals_per_day)),
            ("lease", format!("{} seconds", config.lease.as_secs())),
            ("http", place(config.listen.map(|address| address.to_string()))),
            ("spool", place(config.spool.as_ref().map(|dir| dir.display().to_string()))),
        ];
        rows.push(("notices", channels.join(", ")));
        let dir = config.notices.templates_dir.as_ref();
        rows.push(("templates", dir.map_or_else(|| "built in".into(), |dir| dir.display().to_string())));
        let when = |job: &Job| config.schedules.get(job.name).map(|schedule| schedule.as_str().to_owned());
        rows.extend(jobs::ALL.iter().map(|job| (job.name, place(when(job)))));
        rows.push(("fingerprint", config.fingerprint.clone()));
        let lines: Vec<_> = rows.iter().map(|(name, value)| format!("  {name:<23}{value}")).collect();
        format!("The configuration is right.\n{}", lines.join("\n"))
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
                Some(difference) => line(&format!("{name}: not as written\n{difference}")),
            }
        }
        results.push(json!({ "file": name, "passed": detail.is_none(), "difference": detail }));
    }
    if session.output.json {
        line(&json!({ "scenarios": results }));
    }
    Ok(ExitCode::from(if failed > 0 { exit::FAILED } else { 0 }))
}
