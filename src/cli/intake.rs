//! `ingest messages|receipts` and `batch list | rejects | retry`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{count, printable, table, with_times};
use super::{Failure, Session, exit};
use crate::config::Config;
use crate::desk::{self, DeskError};
use crate::domain::period::Zone;
use crate::ingest::Kind;
use crate::ingest::records::Format;
use crate::ingest::source::Source;
use crate::intake::{Input, IntakeError, Reading, batch_json, take};
use crate::progress::Progress;
use crate::runner::{backoff, describe};
use crate::store::batches::{self, BatchRow, Ingested, LineRow, RECEIPTS};
use crate::store::{Db, StoreError};

#[derive(Debug, Subcommand)]
pub enum Ingest {
    /// Messages that were sent: each file becomes one batch
    Messages(IngestArgs),
    /// Receipts that carriers answered with: each file becomes one batch
    Receipts(IngestArgs),
}

#[derive(Debug, clap::Args)]
pub struct IngestArgs {
    /// CSV or NDJSON, plain or gzip; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// csv or ndjson; else by the file's name or its first byte
    #[arg(long)]
    format: Option<String>,
    /// Whose columns they are: generic, aliyun, aliyun_intl, twilio, vonage, aws; receipts also smpp,
    /// cmpp, dm_event
    #[arg(long, default_value = "generic")]
    source: String,
}

#[derive(Debug, Subcommand)]
pub enum Batch {
    /// All batches
    List,
    /// Lines of a batch that were rejected, in conflict, or known already
    Rejects { batch: i64 },
    /// Judge the rejected lines of a batch again
    Retry { batch: i64 },
}

pub async fn ingest(session: &Session, command: Ingest) -> Result<ExitCode, Failure> {
    let (kind, IngestArgs { files, format, source }) = match command {
        Ingest::Messages(args) => (Kind::Messages, args),
        Ingest::Receipts(args) => (Kind::Receipts, args),
    };
    let usage = |error: crate::ingest::IngestError| Failure::usage(error.to_string());
    let format = format.as_deref().map(Format::parse).transpose().map_err(usage)?;
    let source = Source::parse(&source).map_err(usage)?;
    if kind == Kind::Messages {
        source.message_names().map_err(usage)?;
    }
    let config = session.config()?;
    let db = session.open(&config).await?;
    let reading = Reading { kind, source, format, as_of: session.now() };
    let progress = session.progress();
    let mut worst = 0;
    for file in files {
        let input = if file.as_os_str() == "-" { Input::Stdin } else { Input::File(file) };
        let name = input.name();
        match take_patiently(&db, &config, input, reading, &*progress).await {
            Ok(done) => {
                worst = worse(worst, told(session, &name, &done));
            }
            // The other files are still taken: each is a batch of its own.
            Err(error) => {
                progress.end();
                let failure = Failure::from(error);
                worst = worse(worst, failure.exit);
                session.output.fail(&failure);
            }
        }
    }
    db.close().await;
    Ok(ExitCode::from(worst))
}

/// Tries of a file that meets faults which time can heal.
const TRIES: i64 = 5;

/// Takes an input, and once more a little later where the connection was lost: the batch that a try
/// may have left is known by its content. A pipe can't be read a second time.
async fn take_patiently(
    db: &Db,
    config: &Arc<Config>,
    input: Input,
    reading: Reading,
    progress: &dyn Progress,
) -> Result<Ingested, IntakeError> {
    let mut tries = 1;
    loop {
        let error = match take(db, config, input.clone(), reading, None, progress).await {
            Err(IntakeError::Store(error @ (StoreError::Lost(_) | StoreError::Collision))) => error,
            other => return other,
        };
        progress.end();
        if tries >= TRIES || !input.can_be_read_again() {
            return Err(error.into());
        }
        tracing::warn!("{} is tried again: {}", input.name(), describe(&error));
        tokio::time::sleep(backoff(tries)).await;
        tries += 1;
    }
}

/// The exit code of two files: the first failure, else that lines were rejected.
fn worse(so_far: u8, next: u8) -> u8 {
    match (so_far, next) {
        (0, code) | (exit::PARTIAL, code @ 1..) => code,
        (code, _) => code,
    }
}

/// Prints what became of a file and gives its exit code.
fn told(session: &Session, name: &str, done: &Ingested) -> u8 {
    let (batch, already) = match done {
        Ingested::Taken(batch) => (batch, false),
        Ingested::Already(batch) => (batch, true),
    };
    let mut json = batch_json(batch);
    json["already_ingested"] = json!(already);
    let name = printable(name);
    session.output.show(&json, || {
        if already {
            return format!(
                "{name}: already ingested as batch {}; nothing was changed. Rejected lines are judged again by \
                 `quittance batch retry {}`.",
                batch.batch_no, batch.batch_no
            );
        }
        let mut text = format!(
            "{name}: batch {}, {} lines: {} accepted, {} duplicates, {} conflicts, {} rejected.",
            batch.batch_no,
            count(batch.lines),
            count(batch.accepted),
            count(batch.duplicates),
            count(batch.conflicts),
            count(batch.rejected)
        );
        if batch.rejected + batch.conflicts > 0 {
            text.push_str(&format!(" See `quittance batch rejects {}`.", batch.batch_no));
        }
        if !batch.ignored_keys.is_empty() {
            text.push_str(&format!("\n{name}: columns that mean nothing here: {}.", batch.ignored_keys));
        }
        text
    });
    if !already && batch.rejected + batch.conflicts > 0 { exit::PARTIAL } else { 0 }
}

pub async fn batch(session: &Session, command: Batch) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    match command {
        Batch::List => {
            let mut tx = db.read().await?;
            let batches = batches::list(&mut tx).await?;
            let json: Vec<Value> = batches
                .iter()
                .map(|batch| {
                    let mut json = batch_json(batch);
                    json["ingested_at"] = json!(config.zone.format(batch.ingested_at));
                    json["run_id"] = json!(batch.run_no.map(|run| run.to_string()));
                    json
                })
                .collect();
            session.output.show(&json!(json), || {
                let row = |batch: &BatchRow| {
                    vec![
                        batch.batch_no.to_string(),
                        config.zone.format_short(batch.ingested_at),
                        batch.source.clone(),
                        printable(&batch.name),
                        count(batch.lines),
                        count(batch.accepted),
                        count(batch.duplicates),
                        count(batch.conflicts),
                        count(batch.rejected),
                        match batch.run_no {
                            Some(run) => format!("run {run}"),
                            None if batch.kind == RECEIPTS => "-".into(),
                            None => "waiting".into(),
                        },
                    ]
                };
                let columns = [
                    "batch",
                    "ingested",
                    "source",
                    "file",
                    ">lines",
                    ">accepted",
                    ">duplicates",
                    ">conflicts",
                    ">rejected",
                    "charged by",
                ];
                table(&columns, batches.iter().map(row).collect())
            });
        }
        Batch::Rejects { batch } => {
            let mut tx = db.read().await?;
            if batches::find(&mut tx, batch).await?.is_none() {
                return Err(unknown_batch(batch).into());
            }
            let lines = batches::lines(&mut tx, batch).await?;
            let json: Vec<Value> = lines.iter().map(|line| line_json(line, config.zone)).collect();
            session.output.show(&json!(json), || rejects(batch, &lines, config.zone));
        }
        Batch::Retry { batch } => {
            let retried = desk::batches::retry_batch(&db, &config, batch, session.now()).await?;
            let mut json = retried.taken.as_ref().map_or_else(|| json!({ "batch_id": null }), batch_json);
            json["still_rejected"] = json!(retried.still_rejected);
            session.output.show(&json, || match &retried.taken {
                Some(taken) => format!(
                    "Batch {}: {} lines taken after all ({} accepted); {} stay rejected.",
                    taken.batch_no, taken.lines, taken.accepted, retried.still_rejected
                ),
                None => format!("No line can be taken; {} stay rejected.", retried.still_rejected),
            });
            db.close().await;
            return Ok(ExitCode::from(if retried.still_rejected > 0 { exit::PARTIAL } else { 0 }));
        }
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

fn unknown_batch(batch: i64) -> DeskError {
    DeskError::refused("unknown_batch", format!("there is no batch {batch}; see `quittance batch list`"))
}

fn line_json(line: &LineRow, zone: Zone) -> Value {
    json!({
        "line": line.line,
        "verdict": line.verdict,
        "reason": line.reason,
        "detail": with_times(&line.detail, zone),
        "raw": line.raw,
        "retried_in": line.retried_in.map(|batch| batch.to_string()),
    })
}

fn rejects(batch: i64, lines: &[LineRow], zone: Zone) -> String {
    if lines.is_empty() {
        return format!("Batch {batch}: every line was accepted.");
    }
    let row = |row: &LineRow| {
        let retried = row.retried_in.map_or(String::new(), |batch| format!(" (taken in batch {batch})"));
        vec![
            row.line.to_string(),
            row.verdict.clone(),
            row.reason.clone(),
            format!("{}{retried}", with_times(&row.detail, zone)),
        ]
    };
    table(&[">line", "verdict", "reason", "detail"], lines.iter().map(row).collect())
}
