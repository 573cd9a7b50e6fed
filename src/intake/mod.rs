//! Taking files in: each becomes one batch, whole or not at all, and once (D70, D86, F48-F64).
//!
//! ```text
//! input --reading thread: cut, judge--> portions of lines --this side: load, merge--> one batch
//! ```
//! A few portions are under way between the two, so that memory stays flat at any size. The desk
//! and the spool both take files in by this one way.

mod batch;
mod input;
mod reading;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;

pub use self::batch::Inbox;
use self::input::Opened;
pub use self::input::{Footprint, Input};
use self::reading::{End, Portion, read};
pub use self::reading::{Known, Reading, Row, may_be_cut, terms};
use crate::config::Config;
use crate::ingest::IngestError;
use crate::progress::Progress;
use crate::store::batches::{self, BatchRow, Ingested, Origin};
use crate::store::leases::{self, Lease};
use crate::store::runs;
use crate::store::{Db, StoreError, Tx};

/// Why an input was not taken. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error("{place}: can't be read")]
    Unreadable { place: String, source: std::io::Error },
    #[error(
        "{place}: the file changed while it was read; nothing was taken, hand it in again when it is whole"
    )]
    Changed { place: String },
    #[error("{place}")]
    Ingest { place: String, source: IngestError },
    #[error("{place}: reading it failed: {fault}; see the log")]
    Panicked { place: String, fault: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes one input in as one batch.
///
/// With a lease it is taken only while the lease is still held: its renewal is the last statement of
/// the transaction, so that a run whose place was taken writes nothing (F27).
pub async fn take(
    db: &Db,
    config: &Arc<Config>,
    input: Input,
    reading: Reading,
    lease: Option<&Lease>,
    progress: &dyn Progress,
) -> Result<Ingested, IntakeError> {
    let place = input.name();
    let input = Opened::open(input).await.map_err(unreadable(&place))?;
    let before = input.footprint().map_err(unreadable(&place))?;
    let known = Known::load(&mut db.read().await?).await?;
    progress.begin("ingesting", before.as_ref().map(|file| file.bytes));
    let (sender, receiver) = mpsc::channel(32);
    let reader = tokio::task::spawn_blocking({
        let (config, input) = (Arc::clone(config), input.clone());
        move || read(&config, &input, reading, &known, &sender)
    });

    let mut tx = db.stage().await?;
    if let Some(lease) = lease {
        leases::name_session(&mut tx, lease).await?;
    }
    let mut staging = Inbox::begin(&mut tx, reading.kind, reading.as_of).await?;
    load(&mut tx, &mut staging, receiver, progress).await?;
    let panicked = |e: tokio::task::JoinError| e.to_string();
    let end = reader.await.map_err(panicked).map_err(|fault| {
        let place = place.clone();
        IntakeError::Panicked { place, fault }
    })?;
    let end = end.map_err(|source| IntakeError::Ingest { place: place.clone(), source })?;
    if input.footprint().map_err(unreadable(&place))? != before {
        return Err(IntakeError::Changed { place });
    }
    let origin = origin(reading, place, &end);
    let done = staging.finish(&mut tx, &origin, &end.hash, &end.ignored, reading.as_of).await?;
    let done = match done {
        Ingested::Taken(batch) => {
            if let Some(lease) = lease {
                leases::renew(&mut tx, lease).await?;
            }
            match tx.commit().await {
                Ok(()) => Ingested::Taken(batch),
                Err(error) => find_out(db, batch, &end.hash, error).await?,
            }
        }
        Ingested::Already(batch) => {
            tx.rollback().await?;
            Ingested::Already(batch)
        }
    };
    progress.end();
    Ok(done)
}

/// Loads what the reading thread sends until it has no more.
async fn load(
    tx: &mut Tx,
    staging: &mut Inbox,
    mut receiver: mpsc::Receiver<Portion>,
    progress: &dyn Progress,
) -> Result<(), StoreError> {
    while let Some(portion) = receiver.recv().await {
        for (line, verdict) in &portion.lines {
            match verdict {
                Ok(row) => staging.push(tx, *line, row).await?,
                Err((fault, raw)) => {
                    staging.push_fault(tx, *line, fault.reason, &fault.detail, raw).await?;
                }
            }
        }
        progress.advance(portion.bytes);
    }
    Ok(())
}

/// The connection was lost while it committed: whether it did, the batch itself tells (F06).
async fn find_out(
    db: &Db,
    batch: BatchRow,
    content_hash: &str,
    error: StoreError,
) -> Result<Ingested, StoreError> {
    if !matches!(error, StoreError::Lost(_)) {
        return Err(error);
    }
    let mut tx = db.write().await?;
    // The old transaction may still be about to commit. It holds the turn until it ends.
    runs::take_turn(&mut tx, "ingest").await?;
    let found = batches::by_content(&mut tx, &batch.kind, &batch.source, content_hash).await?;
    tx.rollback().await?;
    match found {
        Some(found) if found.batch_no == batch.batch_no => Ok(Ingested::Taken(found)),
        Some(found) => Ok(Ingested::Already(found)),
        None => Err(error),
    }
}

fn origin(reading: Reading, name: String, end: &End) -> Origin {
    let format = end.format.name().to_owned();
    Origin { source: reading.source.name().to_owned(), name, format, header: end.header.clone() }
}

fn unreadable(place: &str) -> impl Fn(std::io::Error) -> IntakeError {
    move |source| IntakeError::Unreadable { place: place.to_owned(), source }
}

/// A batch as scripts read it.
pub fn batch_json(batch: &BatchRow) -> Value {
    json!({
        "batch_id": batch.batch_no.to_string(),
        "kind": batch.kind,
        "source": batch.source,
        "file": batch.name,
        "lines": batch.lines,
        "accepted": batch.accepted,
        "duplicates": batch.duplicates,
        "conflicts": batch.conflicts,
        "rejected": batch.rejected,
        "ignored_keys": batch.ignored_keys.split(", ").filter(|key| !key.is_empty()).collect::<Vec<_>>(),
    })
}
