//! What a scenario plays on: a database, a configuration, a clock that the script sets.

use std::fmt::Write as _;
use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::audit::{Depth, audit, audit_accounts};
use crate::config::Config;
use crate::domain::period::{Timestamp, Zone};
use crate::ingest::Kind;
use crate::ingest::source::Source;
use crate::intake::{Input, IntakeError, Reading, take};
use crate::progress::Silent;
use crate::runner::describe;
use crate::store::audit::account_ids;
use crate::store::batches::{Ingested, lines};
use crate::store::{self, Db};

pub struct Stage {
    pub runtime: Runtime,
    pub db: Db,
    pub config: Arc<Config>,
    pub now: Timestamp,
    /// Messages written since the last batch, as NDJSON.
    pub pending: String,
    /// Receipts written since the last batch.
    pub pending_receipts: String,
    /// Directory of the batches' files.
    dir: tempfile::TempDir,
    batches: u32,
    pub top_ups: u32,
}

/// A failure in the words that the script shows.
pub type Said<T> = Result<T, String>;

impl Stage {
    pub fn open(runtime: Runtime, url: &str) -> Said<Stage> {
        let config = Config::built_in().map_err(|error| error.to_string())?;
        let db = runtime.block_on(async {
            let db = Db::open(url).await?;
            store::prepare(&db).await?;
            Ok::<_, store::StoreError>(db)
        });
        let db = db.map_err(|error| describe(&error))?;
        let now = Timestamp::parse_rfc3339("2026-03-01T00:00:00+08:00").unwrap_or_default();
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let config = Arc::new(config);
        Ok(Stage {
            runtime,
            db,
            config,
            now,
            pending: String::new(),
            pending_receipts: String::new(),
            dir,
            batches: 0,
            top_ups: 0,
        })
    }

    pub fn close(self) {
        self.runtime.block_on(self.db.close());
    }

    pub fn zone(&self) -> Zone {
        self.config.zone
    }

    /// Changes the configuration for the rest of the script.
    pub fn configure(&mut self, change: impl FnOnce(&mut Config) -> Said<()>) -> Said<String> {
        let mut config = (*self.config).clone();
        change(&mut config)?;
        self.config = Arc::new(config);
        Ok(String::new())
    }

    /// Hands in a file of the given content and says what became of its lines.
    pub fn ingest(&mut self, kind: Kind, name: &str, content: &[u8], source: &str) -> Said<String> {
        self.batches += 1;
        let path = self.dir.path().join(format!("{}-{name}", self.batches));
        std::fs::write(&path, content).map_err(|error| error.to_string())?;
        let source = Source::parse(source).map_err(|error| error.to_string())?;
        let reading = Reading { kind, source, format: None, as_of: self.now };
        let (db, config) = (&self.db, &self.config);
        let done = self.runtime.block_on(async {
            let done = take(db, config, Input::File(path.clone()), reading, None, &Silent).await?;
            let (Ingested::Taken(batch) | Ingested::Already(batch)) = &done;
            let lines = lines(&mut db.read().await?, batch.batch_no).await?;
            Ok::<_, IntakeError>((done, lines))
        });
        let shown = path.display().to_string();
        let (done, lines) = done.map_err(|error| describe(&error).replace(&shown, name))?;
        let batch = match done {
            Ingested::Already(_) => return Ok("already ingested\n".into()),
            Ingested::Taken(batch) => batch,
        };
        let mut said = format!("{} lines: {} accepted", batch.lines, batch.accepted);
        let others =
            [("duplicate", batch.duplicates), ("conflict", batch.conflicts), ("rejected", batch.rejected)];
        for (what, count) in others.into_iter().filter(|(_, count)| *count > 0) {
            let _ = write!(said, ", {count} {what}");
        }
        said.push('\n');
        for line in lines {
            let _ = writeln!(said, "line {}  {}  {}: {}", line.line, line.verdict, line.reason, line.detail);
        }
        Ok(said)
    }

    /// Hands in the messages, then the receipts that were written since the last batch.
    pub fn ingest_pending(&mut self) -> Said<String> {
        let mut said = String::new();
        let messages = std::mem::take(&mut self.pending);
        if !messages.is_empty() {
            said += &self.ingest(Kind::Messages, "messages.ndjson", messages.as_bytes(), "generic")?;
        }
        let receipts = std::mem::take(&mut self.pending_receipts);
        if !receipts.is_empty() {
            said += &self.ingest(Kind::Receipts, "receipts.ndjson", receipts.as_bytes(), "generic")?;
        }
        Ok(said)
    }

    /// What is wrong with all the books.
    pub fn broken_invariants(&self) -> Said<Vec<String>> {
        let broken = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            audit(&mut tx, &self.config, true, &Silent).await
        });
        broken.map(|audit| audit.doubts()).map_err(|error| describe(&error))
    }

    /// What is wrong with the books of the accounts, asked of them by name: as much as of all.
    pub fn broken_accounts(&self) -> Said<Vec<String>> {
        let broken = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            let ids = account_ids(&mut tx).await?;
            audit_accounts(&mut tx, &self.config, &ids, Depth::Full, &Silent).await
        });
        broken.map(|audit| audit.doubts()).map_err(|error| describe(&error))
    }
}
