//! The connection that a transaction has, and rows that it was given to copy.

use std::sync::Arc;

use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, Transaction};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::db::Dialect;
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

/// A transaction on PostgreSQL. While the server takes up rows of a COPY, whoever sent them goes on with
/// his work; the next who wants the connection waits until they are in, and is told if they are not.
pub(super) struct Postgresql {
    /// None while rows are being copied, or where the task that did so is lost.
    idle: Option<Transaction<'static, Postgres>>,
    /// The last COPY that was handed over, which comes after those before it.
    copying: JoinSet<Option<Copied>>,
    room: Arc<Semaphore>,
}

/// The transaction that has copied rows, and whether they are in.
type Copied = (Transaction<'static, Postgres>, Result<(), sqlx::Error>);

/// Portions of rows that wait for the server, at most: they are memory.
const BEHIND: usize = 4;

impl Connection {
    pub fn postgres(transaction: Transaction<'static, Postgres>) -> Connection {
        let room = Arc::new(Semaphore::new(BEHIND));
        Connection::Postgres(Postgresql { idle: Some(transaction), copying: JoinSet::new(), room })
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

    pub async fn rollback(self) -> Result<(), StoreError> {
        match self {
            Connection::Sqlite(transaction) => transaction.rollback().await?,
            Connection::Postgres(mut postgres) => {
                // Rows that did not go in are of no interest any more.
                let _ = postgres.get().await;
                postgres.idle.ok_or(StoreError::Aborted)?.rollback().await?;
            }
        }
        Ok(())
    }
}

impl Postgresql {
    async fn get(&mut self) -> Result<&mut Transaction<'static, Postgres>, StoreError> {
        if let Some(done) = self.copying.join_next().await {
            let (transaction, copied) = done.ok().flatten().ok_or(StoreError::Aborted)?;
            self.idle = Some(transaction);
            copied?;
        }
        self.idle.as_mut().ok_or(StoreError::Aborted)
    }

    /// Hands rows over, to be copied after those before them, and does not wait for them.
    pub async fn copy_behind(&mut self, statement: String, rows: Vec<u8>) -> Result<(), StoreError> {
        let room = self.room.clone().acquire_owned().await.map_err(|_| StoreError::Aborted)?;
        let idle = self.idle.take();
        let mut before = std::mem::take(&mut self.copying);
        self.copying.spawn(async move {
            let (mut transaction, copied) = match idle {
                Some(transaction) => (transaction, Ok(())),
                None => before.join_next().await?.ok()??,
            };
            let copied = match copied {
                Ok(()) => copy_in(&mut transaction, &statement, &rows).await,
                failed => failed,
            };
            drop(room);
            Some((transaction, copied))
        });
        Ok(())
    }
}

/// Bytes that are sent as one: the server begins with the first while the others are on their way.
const MESSAGE_BYTES: usize = 1 << 16;

/// One whole COPY. It is always finished or aborted: dropped half-way it would leave the connection
/// answering each query with the answer to the one before.
pub(super) async fn copy_in(
    conn: &mut PgConnection,
    statement: &str,
    rows: &[u8],
) -> Result<(), sqlx::Error> {
    let mut copy = conn.copy_in_raw(statement).await?;
    for message in rows.chunks(MESSAGE_BYTES) {
        if let Err(error) = copy.send(message).await {
            copy.abort("the client could not send its rows").await?;
            return Err(error);
        }
    }
    copy.finish().await.map(|_| ())
}
