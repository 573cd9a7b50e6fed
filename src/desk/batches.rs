//! Batches that were handed in: rejected lines are judged again once the reason is gone (D86).

use super::DeskError;
use crate::config::Config;
use crate::domain::period::Timestamp;
use crate::ingest::judge::Terms;
use crate::ingest::judgements::{is_final, judge_again};
use crate::ingest::messages::MessageJudge;
use crate::ingest::receipts::ReceiptJudge;
use crate::ingest::source::Source;
use crate::ingest::{IngestError, Kind, LineFault};
use crate::intake::{Inbox, IntakeError, Known, Row, may_be_cut, terms};
use crate::store::batches::{self, BatchRow, Ingested, Origin};
use crate::store::{Db, StoreError};

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
    let fault = |source: IngestError| IntakeError::Ingest { place: format!("batch {batch_no}"), source };
    let known = Known::load(&mut tx).await?;
    let source = Source::parse(&batch.source).map_err(fault)?;
    let kind = Kind::parse(&batch.kind)
        .ok_or_else(|| StoreError::Corrupt(format!("batch {batch_no} is of the kind {}", batch.kind)))?;
    let judge = AnyJudge::new(kind, terms(config, source, as_of, &known)).map_err(fault)?;
    let mut staging = Inbox::begin(&mut tx, kind, as_of).await?;
    let (mut taken, mut still_rejected) = (Vec::new(), 0);
    for line in batches::open_rejects(&mut tx, batch_no).await? {
        let raw = line.raw.as_deref().filter(|raw| !is_final(&line.reason) && !may_be_cut(raw));
        let judged = raw.map(|raw| judge.again(batch.header.as_deref(), raw)).transpose().map_err(fault)?;
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

/// Judges lines of either kind.
enum AnyJudge<'a> {
    Messages(MessageJudge<'a>),
    Receipts(ReceiptJudge),
}

impl<'a> AnyJudge<'a> {
    fn new(kind: Kind, terms: Terms<'a>) -> Result<AnyJudge<'a>, IngestError> {
        Ok(match kind {
            Kind::Messages => AnyJudge::Messages(MessageJudge::new(terms)?),
            Kind::Receipts => AnyJudge::Receipts(ReceiptJudge::new(&terms)),
        })
    }

    fn again(&self, header: Option<&str>, raw: &str) -> Result<Result<Row, LineFault>, IngestError> {
        Ok(match self {
            AnyJudge::Messages(judge) => judge_again(header, raw, judge)?.map(Row::Message),
            AnyJudge::Receipts(judge) => judge_again(header, raw, judge)?.map(Row::Receipt),
        })
    }
}
