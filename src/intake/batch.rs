//! A batch of either kind on its way into the store.

use super::reading::Row;
use crate::domain::period::Timestamp;
use crate::ingest::Kind;
use crate::store::batches::{Ingested, Origin};
use crate::store::receipts::ReceiptStaging;
use crate::store::staging::Staging;
use crate::store::{StoreError, Tx};

pub enum Inbox {
    Messages(Staging),
    Receipts(ReceiptStaging),
}

impl Inbox {
    /// `received_at` is when the batch came.
    pub async fn begin(tx: &mut Tx, kind: Kind, received_at: Timestamp) -> Result<Inbox, StoreError> {
        Ok(match kind {
            Kind::Messages => Inbox::Messages(Staging::begin(tx).await?),
            Kind::Receipts => Inbox::Receipts(ReceiptStaging::begin(tx, received_at).await?),
        })
    }

    pub async fn push(&mut self, tx: &mut Tx, line: i64, row: &Row) -> Result<(), StoreError> {
        match (self, row) {
            (Inbox::Messages(staging), Row::Message(row)) => staging.push(tx, line, row).await,
            (Inbox::Receipts(staging), Row::Receipt(row)) => staging.push(tx, line, row).await,
            _ => Err(StoreError::Corrupt("a line of one kind in a batch of another".into())),
        }
    }

    /// Keeps a line that was rejected, with its raw text.
    pub async fn push_fault(
        &mut self,
        tx: &mut Tx,
        line: i64,
        reason: &str,
        detail: &str,
        raw: &str,
    ) -> Result<(), StoreError> {
        match self {
            Inbox::Messages(staging) => staging.push_fault(tx, line, reason, detail, raw).await,
            Inbox::Receipts(staging) => staging.push_fault(tx, line, reason, detail, raw).await,
        }
    }

    /// Writes the batch. The caller commits, or rolls back where it was `Already` known.
    pub async fn finish(
        self,
        tx: &mut Tx,
        origin: &Origin,
        content_hash: &str,
        ignored_keys: &str,
        now: Timestamp,
    ) -> Result<Ingested, StoreError> {
        match self {
            Inbox::Messages(staging) => staging.finish(tx, origin, content_hash, ignored_keys, now).await,
            Inbox::Receipts(staging) => staging.finish(tx, origin, content_hash, ignored_keys).await,
        }
    }
}
