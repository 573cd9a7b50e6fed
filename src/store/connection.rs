//! The connection that a transaction has, and what is done on it behind the back of whoever goes on.

use std::sync::Arc;

use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, Transaction};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::db::{Dialect, Tx};
use super::error::StoreError;

/// A transaction of the driver. Dropped it is rolled back.
pub(super) enum Connection {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Postgresql),
}

/// The connection as a statement uses it.
pub(super) enum Conn<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

/// Something to be done in a transaction by somebody who does not wait for it.
pub(super) trait Work: Send + 'static {
    fn run(self, tx: &mut Tx) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A transaction on PostgreSQL. While the server takes up what it was sent, whoever sent it goes on; the next
/// who wants the connection waits until it is done, and is told if it could not be.
pub(super) struct Postgresql {
    /// None while work is under way, or where the task that did it is lost.
    idle: Option<Transaction<'static, Postgres>>,
    /// The last work that was handed over, which comes after that before it.
    under_way: JoinSet<Option<Done>>,
    room: Arc<Semaphore>,
}

/// The transaction in which work was done, and how it ended.
pub(super) type Done = (Transaction<'static, Postgres>, Result<(), StoreError>);

/// Portions of work that wait for the server, at most: they are memory.
const WAITING: usize = 4;

impl Connection {
    pub fn postgres(transaction: Transaction<'static, Postgres>) -> Connection {
        let room = Arc::new(Semaphore::new(WAITING));
        Connection::Postgres(Postgresql { idle: Some(transaction), under_way: JoinSet::new(), room })
    }

    pub fn dialect(&self) -> Dialect {
        match self {
            Connection::Sqlite(_) => Dialect::Sqlite,
            Connection::Postgres(_) => Dialect::Postgres,
        }
    }

    pub async fn get(&mut self) -> Result<Conn<'_>, StoreError> {
        Ok(match self {
            Connection::Sqlite(transaction) => Conn::Sqlite(transaction),
            Connection::Postgres(postgres) => Conn::Postgres(postgres.get().await?),
        })
    }

    pub async fn commit(self) -> Result<(), StoreError> {
        match self {
            Connection::Sqlite(transaction) => transaction.commit().await?,
            Connection::Postgres(mut postgres) => {
                postgres.get().await?;
                postgres.idle.ok_or(StoreError::Aborted)?.commit().await?;
            }
        }
        Ok(())
    }

    /// The transaction of PostgreSQL, unless it is lost, and how what was under way in it ended.
    pub async fn into_postgres(self) -> Option<Done> {
        let Connection::Postgres(mut postgres) = self else { return None };
        let ended = postgres.get().await.map(|_| ());
        postgres.idle.map(|transaction| (transaction, ended))
    }

    pub async fn rollback(self) -> Result<(), StoreError> {
        match self {
            Connection::Sqlite(transaction) => transaction.rollback().await?,
            Connection::Postgres(mut postgres) => {
                // How it ended what is undone now is of no interest any more.
                let _ = postgres.get().await;
                postgres.idle.ok_or(StoreError::Aborted)?.rollback().await?;
            }
        }
        Ok(())
    }
}

impl Postgresql {
    async fn get(&mut self) -> Result<&mut Transaction<'static, Postgres>, StoreError> {
        if let Some(done) = self.under_way.join_next().await {
            let (transaction, ended) = done.ok().flatten().ok_or(StoreError::Aborted)?;
            self.idle = Some(transaction);
            ended?;
        }
        self.idle.as_mut().ok_or(StoreError::Aborted)
    }

    /// Hands work over, to be done after that before it.
    pub async fn hand_over(&mut self, work: impl Work) -> Result<(), StoreError> {
        let room = self.room.clone().acquire_owned().await.map_err(|_| StoreError::Aborted)?;
        let idle = self.idle.take();
        let mut before = std::mem::take(&mut self.under_way);
        self.under_way.spawn(async move {
            let done = match idle {
                Some(transaction) => (transaction, Ok(())),
                None => before.join_next().await?.ok()??,
            };
            let (transaction, Ok(())) = done else { return Some(done) };
            let done = Tx::in_transaction(transaction, work).await;
            drop(room);
            done
        });
        Ok(())
    }
}

/// Rows for a table, encoded for COPY.
pub(super) struct Copying {
    pub statement: String,
    pub rows: Vec<u8>,
}

impl Work for Copying {
    async fn run(self, tx: &mut Tx) -> Result<(), StoreError> {
        copy_in(tx, &self.statement, &self.rows).await
    }
}

/// Bytes that are sent as one: the server begins with the first while the others are on their way.
const MESSAGE_BYTES: usize = 1 << 16;

/// One whole COPY. It is always finished or aborted: dropped half-way it would leave the connection
/// answering each query with the answer to the one before.
pub(super) async fn copy_in(tx: &mut Tx, statement: &str, rows: &[u8]) -> Result<(), StoreError> {
    let Conn::Postgres(conn) = tx.conn().await? else {
        return Err(StoreError::Corrupt("COPY on a database that has none".into()));
    };
    let copied = async {
        let mut copy = conn.copy_in_raw(statement).await?;
        for message in rows.chunks(MESSAGE_BYTES) {
            if let Err(error) = copy.send(message).await {
                copy.abort("the client could not send its rows").await?;
                return Err(error);
            }
        }
        copy.finish().await.map(|_| ())
    };
    let copied = copied.await;
    tx.note(copied)
}
