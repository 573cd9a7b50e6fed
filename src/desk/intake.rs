//! Handing in files: each becomes one batch, whole or not at all (D70, D86, F48-F64).
//!
//! A reading thread cuts and judges lines, this side loads them; a few portions are under way
//! between the two, so that memory stays flat at any size.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::DeskError;
use crate::config::Config;
use crate::domain::message::MessageRow;
use crate::domain::period::Timestamp;
use crate::ingest::judge::{Judge, Terms};
use crate::ingest::messages::{Messages, is_final, judge_again};
use crate::ingest::records::Format;
use crate::ingest::source::Source;
use crate::ingest::{IngestError, LineFault};
use crate::progress::Progress;
use crate::store::batches::{self, BatchRow, Ingested, Origin, Staging};
use crate::store::{Db, recipient_key};

/// Where messages are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    File(PathBuf),
    /// Standard input, `-`.
    Stdin,
}

impl Input {
    pub fn name(&self) -> String {
        match self {
            Input::File(path) => path.display().to_string(),
            Input::Stdin => "-".into(),
        }
    }
}

/// How an input is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub source: Source,
    /// None: told by the file's name, else by its first byte.
    pub format: Option<Format>,
    /// "Now" for lines ahead of it or too old (D58, D71), and the batch's time.
    pub as_of: Timestamp,
}

/// Raw text of a rejected line that is kept.
const RAW_KEPT: usize = 64 * 1024;
/// Lines that travel together from the reading thread, unless their raw text is long before: a file
/// of nothing but long bad lines must not fill the memory either.
const PORTION: usize = 1_000;
const PORTION_RAW: usize = 1 << 20;

/// Ingests one input as one batch.
pub async fn ingest_messages(
    db: &Db,
    config: &Arc<Config>,
    input: Input,
    reading: Reading,
    progress: &dyn Progress,
) -> Result<Ingested, DeskError> {
    let place = input.name();
    let fault = |source| DeskError::Ingest { place: place.clone(), source };
    let before = Footprint::of(&input).map_err(|e| unreadable(&place, &e))?;
    let key = {
        let mut tx = db.read().await?;
        recipient_key(&mut tx).await?
    };
    progress.begin("ingesting", before.as_ref().map(|file| file.bytes));
    let (sender, mut receiver) = mpsc::channel(32);
    let reader = tokio::task::spawn_blocking({
        let (config, input) = (Arc::clone(config), input.clone());
        move || read(&config, &input, reading, &key, &sender)
    });

    let mut tx = db.stage().await?;
    let mut staging = Staging::begin(&mut tx).await?;
    while let Some(portion) = receiver.recv().await {
        let portion: Portion = portion;
        for (line, verdict) in &portion.lines {
            match verdict {
                Ok(row) => staging.push(&mut tx, *line, row).await?,
                Err((fault, raw)) => {
                    staging.push_fault(&mut tx, *line, fault.reason, &fault.detail, raw).await?;
                }
            }
        }
        progress.advance(portion.bytes);
    }
    let end = reader.await.map_err(|e| DeskError::BadInput { place: place.clone(), fault: e.to_string() })?;
    let end = end.map_err(fault)?;
    if Footprint::of(&input).map_err(|e| unreadable(&place, &e))? != before {
        let fault =
            "the file changed while it was read; nothing was taken, hand it in again when it is whole";
        return Err(DeskError::BadInput { place, fault: fault.into() });
    }
    let origin = Origin {
        source: reading.source.name().to_owned(),
        name: place,
        format: end.format.name().to_owned(),
        header: end.header,
    };
    let done = staging.finish(&mut tx, &origin, &end.hash, &end.ignored, reading.as_of).await?;
    match done {
        Ingested::Taken(_) => tx.commit().await?,
        Ingested::Already(_) => tx.rollback().await?,
    }
    progress.end();
    Ok(done)
}

/// Lines on their way from the reading thread.
#[derive(Default)]
struct Portion {
    lines: Vec<(i64, Verdict)>,
    /// Bytes of input that they took.
    bytes: u64,
}

/// A row, or what is wrong with the line and its raw text.
type Verdict = Result<MessageRow, (LineFault, String)>;

/// What is known of an input at its end.
struct End {
    format: Format,
    header: Option<String>,
    hash: String,
    ignored: String,
}

fn read(
    config: &Config,
    input: &Input,
    reading: Reading,
    key: &[u8; 32],
    sender: &mpsc::Sender<Portion>,
) -> Result<End, IngestError> {
    let judge = Judge::new(terms(config, reading.source, reading.as_of, key))?;
    let unreadable = |source| IngestError::Unreadable { offset: 0, source };
    let (bytes, format): (Box<dyn Read>, _) = match input {
        Input::File(path) => {
            let file = File::open(path).map_err(unreadable)?;
            (Box::new(file), reading.format.or_else(|| Format::of_file_name(&path.to_string_lossy())))
        }
        Input::Stdin => (Box::new(io::stdin().lock()), reading.format),
    };
    let mut messages = Messages::open(bytes, format, &judge)?;
    let mut portion = Portion::default();
    let (mut told, mut raw_kept) = (0, 0);
    while let Some(judged) = messages.next_line()? {
        let line = i64::try_from(judged.line).unwrap_or(i64::MAX);
        let verdict = judged.verdict.map_err(|fault| (fault, raw_text(judged.raw)));
        raw_kept += verdict.as_ref().err().map_or(0, |(_, raw)| raw.len());
        portion.lines.push((line, verdict));
        if portion.lines.len() == PORTION || raw_kept >= PORTION_RAW {
            raw_kept = 0;
            portion.bytes = messages.bytes_read() - told;
            told = messages.bytes_read();
            if sender.blocking_send(std::mem::take(&mut portion)).is_err() {
                // The loading side failed and says why itself.
                break;
            }
        }
    }
    portion.bytes = messages.bytes_read() - told;
    let _ = sender.blocking_send(portion);
    Ok(End {
        format: messages.format(),
        header: messages.header().map(str::to_owned),
        hash: messages.sha256().iter().map(|byte| format!("{byte:02x}")).collect(),
        ignored: messages.ignored_names().iter().cloned().collect::<Vec<_>>().join(", "),
    })
}

fn terms<'a>(config: &'a Config, source: Source, as_of: Timestamp, key: &'a [u8; 32]) -> Terms<'a> {
    Terms {
        catalog: &config.catalog,
        source,
        as_of,
        zone: config.zone,
        source_zone: None,
        dedupe_months: config.dedupe_months,
        max_ahead_minutes: config.max_ahead_minutes,
        recipient_key: key,
    }
}

/// A rejected line as text that both databases take: no NUL, nothing endless.
fn raw_text(raw: &[u8]) -> String {
    let kept = &raw[..raw.len().min(RAW_KEPT)];
    String::from_utf8_lossy(kept).replace('\0', "\u{fffd}")
}

/// Size and time of a file, to notice that it changes while it is read (F64).
#[derive(PartialEq, Eq)]
struct Footprint {
    bytes: u64,
    modified: Option<std::time::SystemTime>,
}

impl Footprint {
    fn of(input: &Input) -> io::Result<Option<Footprint>> {
        let Input::File(path) = input else { return Ok(None) };
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::IsADirectory,
                "it is a directory; name the files in it",
            ));
        }
        let footprint = Footprint { bytes: metadata.len(), modified: metadata.modified().ok() };
        Ok(metadata.is_file().then_some(footprint))
    }
}

fn unreadable(place: &str, error: &io::Error) -> DeskError {
    DeskError::BadInput { place: place.to_owned(), fault: format!("can't be read: {error}") }
}

/// What a retry came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retried {
    /// The batch that took the lines; None where none could be taken.
    pub taken: Option<BatchRow>,
    /// Lines that stay rejected.
    pub still_rejected: i64,
}

/// Judges the rejected lines of a batch again: a `future` line whose time has come, a price or
/// product since configured (D86). What is accepted now becomes a batch of its own.
pub async fn retry_batch(
    db: &Db,
    config: &Config,
    batch_no: i64,
    as_of: Timestamp,
) -> Result<Retried, DeskError> {
    let mut tx = db.write().await?;
    let Some(batch) = batches::lock(&mut tx, batch_no).await? else {
        let message = format!("there is no batch {batch_no}; see `quittance batch list`");
        return Err(DeskError::refused("unknown_batch", message));
    };
    let fault = |source| DeskError::Ingest { place: format!("batch {batch_no}"), source };
    let key = recipient_key(&mut tx).await?;
    let source = Source::parse(&batch.source).map_err(fault)?;
    let judge = Judge::new(terms(config, source, as_of, &key)).map_err(fault)?;
    let mut staging = Staging::begin(&mut tx).await?;
    let (mut taken, mut still_rejected) = (Vec::new(), 0);
    for line in batches::lines(&mut tx, batch_no).await? {
        if line.verdict != "rejected" || line.retried_in.is_some() {
            continue;
        }
        let raw = line.raw.as_deref().filter(|_| !is_final(&line.reason));
        let judged =
            raw.map(|raw| judge_again(batch.header.as_deref(), raw, &judge)).transpose().map_err(fault)?;
        match judged {
            Some(Ok(row)) => {
                staging.push(&mut tx, line.line, &row).await?;
                taken.push(line.line);
            }
            _ => still_rejected += 1,
        }
    }
    if taken.is_empty() {
        tx.rollback().await?;
        return Ok(Retried { taken: None, still_rejected });
    }
    let origin = Origin {
        source: batch.source.clone(),
        name: format!("{} (retry of batch {batch_no})", batch.name),
        format: batch.format.clone(),
        header: batch.header.clone(),
    };
    let lines = taken.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let hash = format!("retry:{batch_no}:{lines}");
    let done = staging.finish(&mut tx, &origin, &hash, "", as_of).await?;
    let (Ingested::Taken(batch) | Ingested::Already(batch)) = done;
    batches::mark_retried(&mut tx, batch_no, &taken, batch.batch_no).await?;
    tx.commit().await?;
    Ok(Retried { taken: Some(batch), still_rejected })
}
