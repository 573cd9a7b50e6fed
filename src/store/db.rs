//! One connection layer over both databases: integers and text in and out, one SQL text.
//!
//! `$1` placeholders work on both. What differs stands in `dialect.rs`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection as _, PgConnection, PgPool, Postgres, SqlitePool, Transaction,
};

use super::connection::{Conn, Connection, Done, Work};
use super::dialect::{for_share, for_update};
use super::error::StoreError;
use super::released::{is_clean, is_out_of_transaction};
use super::url::{dialect, place, postgres_options, sqlite_options};
pub(crate) use super::value::values;
pub use super::value::{Row, Value};

/// Which of the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// The open database.
#[derive(Clone, Debug)]
pub struct Db {
    pools: Pools,
}

#[derive(Clone, Debug)]
enum Pools {
    /// One writer; readers beside it see the last committed state.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
        /// One connection that writes beside the writer, as soon as that one lets it.
        aside: SqlitePool,
    },
    Postgres {
        pool: PgPool,
        /// One connection beside the pool, for what must not wait until a run is done.
        aside: PgPool,
    },
}

/// A transaction. Dropped without `commit` it is rolled back.
pub struct Tx {
    connection: Connection,
    /// A statement failed: PostgreSQL would answer COMMIT with a silent ROLLBACK (F12).
    broken: bool,
    /// It writes nothing, and so locks nothing.
    reads: bool,
}

impl Db {
    /// Opens the database that a URL names: `sqlite://file.db` (created if missing) or
    /// `postgres://...`.
    pub async fn open(url: &str) -> Result<Db, StoreError> {
        let pools = match dialect(url)? {
            Dialect::Sqlite => open_sqlite(url).await?,
            Dialect::Postgres => open_postgres(url).await?,
        };
        Ok(Db { pools })
    }

    pub fn dialect(&self) -> Dialect {
        match self.pools {
            Pools::Sqlite { .. } => Dialect::Sqlite,
            Pools::Postgres { .. } => Dialect::Postgres,
        }
    }

    /// A transaction that may write. On SQLite it takes the write lock at once, since upgrading a
    /// read transaction fails in spite of the busy timeout (F11).
    pub async fn write(&self) -> Result<Tx, StoreError> {
        let connection = match &self.pools {
            Pools::Sqlite { writer, .. } => {
                let begun = writer.begin_with("BEGIN IMMEDIATE").await;
                // The one writer is in the hands of another task.
                let busy = |error| match error {
                    sqlx::Error::PoolTimedOut => StoreError::Busy,
                    other => other.into(),
                };
                Connection::Sqlite(begun.map_err(busy)?)
            }
            Pools::Postgres { pool, .. } => Connection::postgres(pool.begin().await?),
        };
        Ok(Tx { connection, broken: false, reads: false })
    }

    /// A transaction that may write, on the connection beside the others.
    pub async fn aside(&self) -> Result<Tx, StoreError> {
        let connection = match &self.pools {
            Pools::Sqlite { aside, .. } => Connection::Sqlite(aside.begin_with("BEGIN IMMEDIATE").await?),
            Pools::Postgres { aside, .. } => Connection::postgres(aside.begin().await?),
        };
        Ok(Tx { connection, broken: false, reads: false })
    }

    /// A transaction that fills temporary tables first and writes at its end. On SQLite it lets
    /// others write in the meantime: a slow pipe must not hold the database.
    pub async fn stage(&self) -> Result<Tx, StoreError> {
        let connection = match &self.pools {
            Pools::Sqlite { writer, .. } => Connection::Sqlite(writer.begin().await?),
            Pools::Postgres { pool, .. } => Connection::postgres(pool.begin().await?),
        };
        Ok(Tx { connection, broken: false, reads: false })
    }

    /// A transaction that sees one state of the database throughout and writes nothing.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        let connection = match &self.pools {
            Pools::Sqlite { readers, .. } => Connection::Sqlite(readers.begin().await?),
            Pools::Postgres { pool, .. } => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Connection::postgres(pool.begin_with(begin).await?)
            }
        };
        Ok(Tx { connection, broken: false, reads: true })
    }

    /// Gives a server so long to answer. A connection that was swallowed on its way, as by a firewall
    /// that forgot it, would be waited for without an end (F08). SQLite has its own timeouts.
    pub async fn within<T, E: From<StoreError>>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if self.dialect() == Dialect::Sqlite {
            return work.await;
        }
        let silent = |_| Err(StoreError::Silent(limit.as_secs()).into());
        tokio::time::timeout(limit, work).await.unwrap_or_else(silent)
    }

    /// Applies the migrations that are missing, on PostgreSQL as the role that owns the schema where
    /// there is one.
    pub async fn migrate(&self, owner: Option<String>) -> Result<(), StoreError> {
        let migrator = super::migrations::migrator(self.dialect());
        match &self.pools {
            // The migrator takes no lock on SQLite: of two programs that begin at once, one waits.
            Pools::Sqlite { writer, .. } => {
                let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
                migrator.run(&mut *tx).await?;
                tx.commit().await?;
            }
            Pools::Postgres { pool, .. } => {
                // The connection has its own role and settings, so it does not go back into the pool.
                let mut conn = pool.acquire().await?.detach();
                if let Some(owner) = owner {
                    sqlx::raw_sql(AssertSqlSafe(format!("set role {owner}"))).execute(&mut conn).await?;
                }
                migrator.run(&mut conn).await?;
                conn.close().await?;
            }
        }
        Ok(())
    }

    /// Runs a SQLite statement that can't be part of a transaction and writes nothing into this database.
    pub(super) async fn outside_of_transactions(
        &self,
        sql: &'static str,
        value: &str,
    ) -> Result<(), StoreError> {
        match &self.pools {
            Pools::Sqlite { readers, .. } => {
                sqlx::query(sql).bind(value.to_owned()).execute(readers).await?;
                Ok(())
            }
            Pools::Postgres { .. } => Err(StoreError::NotSqlite),
        }
    }

    /// Closes all connections; on SQLite this folds the write-ahead log into the file.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers, aside } => {
                readers.close().await;
                aside.close().await;
                writer.close().await;
            }
            Pools::Postgres { pool, aside } => {
                aside.close().await;
                pool.close().await;
            }
        }
    }
}

async fn open_sqlite(url: &str) -> Result<Pools, StoreError> {
    let options = sqlite_options(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10))
        .foreign_keys(true)
        .pragma("cache_size", "-65536")
        .disable_statement_logging();
    let writer = connect_sqlite_writer(&options).await?;
    let version: String = sqlx::query_scalar("select sqlite_version()").fetch_one(&writer).await?;
    let parts: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    // Older versions can lose committed transactions (F17).
    if parts < vec![3, 51, 3] {
        return Err(StoreError::OldSqlite(version));
    }
    warn_of_readers(options.get_filename());
    let aside = SqlitePoolOptions::new()
        .max_connections(1)
        .after_release(|conn, _| Box::pin(is_out_of_transaction(conn)))
        .connect_lazy_with(options.clone());
    let readers = SqlitePoolOptions::new().max_connections(4).connect_lazy_with(options.read_only(true));
    Ok(Pools::Sqlite { writer, readers, aside })
}

/// Tells of books that others can read: what this program makes is not, but files are copied about.
fn warn_of_readers(file: &Path) {
    let mode = std::fs::metadata(file).map_or(0, |file| file.permissions().mode());
    if mode & 0o007 != 0 {
        let file = file.display();
        tracing::warn!("Other users of this machine can read the books in {file}: run `chmod 600 {file}`");
    }
}

/// Opens the writer. Several programs that create one file at once get in each other's way: turning
/// the write-ahead log on answers "locked" without heeding the busy timeout, so it is tried again.
async fn connect_sqlite_writer(options: &SqliteConnectOptions) -> Result<SqlitePool, StoreError> {
    const TRIES: u32 = 50;
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(30))
        .max_lifetime(None)
        .idle_timeout(None)
        .after_release(|conn, _| Box::pin(is_out_of_transaction(conn)));
    let mut tries = 1;
    loop {
        let source = match writer.clone().connect_with(options.clone()).await {
            Ok(pool) => return Ok(pool),
            Err(source) => source,
        };
        let locked = source.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == "5");
        if !locked {
            return Err(match StoreError::from(source) {
                StoreError::Sql(source) | StoreError::Lost(source) => {
                    StoreError::Open { place: options.get_filename().display().to_string(), source }
                }
                other => other,
            });
        }
        if tries == TRIES {
            return Err(StoreError::Busy);
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What was answered for must outlive a crash of the server, whatever its other users are content with (F03);
/// stricter settings, such as those for replicas, stay. And each statement is planned for the tables as they are:
/// a plan that was kept from when they were empty reads all of them ever after.
async fn make_ready(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = "set plan_cache_mode = force_custom_plan; \
               select set_config('synchronous_commit', 'on', false) \
               where current_setting('synchronous_commit') = 'off'";
    sqlx::raw_sql(sql).execute(conn).await.map(|_| ())
}

/// How long a server may take to answer a client that it has nothing to do for yet.
pub(super) const TO_CONNECT: Duration = Duration::from_secs(10);

async fn open_postgres(url: &str) -> Result<Pools, StoreError> {
    let (options, connections) = postgres_options(url)?;
    // Asked once outside the pool, which would try a server that is not there for ten seconds.
    let asked = async {
        options.connect().await?.close().await?;
        Ok(())
    };
    let unanswered = |_| Err(sqlx::Error::PoolTimedOut);
    tokio::time::timeout(TO_CONNECT, asked)
        .await
        .unwrap_or_else(unanswered)
        .map_err(|source| StoreError::not_open(place(&options), source))?;
    let pool = |connections: u32| {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(TO_CONNECT)
            .after_connect(|conn, _| Box::pin(make_ready(conn)))
            .after_release(|conn, _| Box::pin(is_clean(conn)))
    };
    let aside = pool(1).connect_lazy_with(options.clone());
    Ok(Pools::Postgres { pool: pool(connections).connect_with(options).await?, aside })
}

impl Tx {
    pub fn dialect(&self) -> Dialect {
        self.connection.dialect()
    }

    /// What a query ends with whose rows are to be changed: a lock on them, unless nothing will be.
    pub(super) fn for_update(&self) -> &'static str {
        if self.reads { "" } else { for_update(self.dialect()) }
    }

    /// What a query ends with whose rows nobody may change until the transaction ends, unless it only
    /// reads one state of them anyway.
    pub(super) fn for_share(&self) -> &'static str {
        if self.reads { "" } else { for_share(self.dialect()) }
    }

    /// Whether PostgreSQL is to look rows up one by one instead of reading a whole table: it takes a few
    /// thousand failures for many, and ten million messages for few.
    pub(super) async fn look_up_one_by_one(&mut self, one_by_one: bool) -> Result<(), StoreError> {
        self.allow(&["enable_hashjoin", "enable_mergejoin"], !one_by_one).await
    }

    /// Whether it is to read the rows of a batch together instead: what a transaction wrote itself are a few to it,
    /// and each of a hundred thousand was sought by reading all of them.
    pub(super) async fn look_up_together(&mut self, together: bool) -> Result<(), StoreError> {
        self.allow(&["enable_nestloop"], !together).await
    }

    async fn allow(&mut self, methods: &[&str], allowed: bool) -> Result<(), StoreError> {
        if self.dialect() == Dialect::Postgres {
            for method in methods {
                self.execute(format!("set local {method} = {allowed}"), vec![]).await?;
            }
        }
        Ok(())
    }

    /// Runs a statement and gives the number of rows it touched.
    pub async fn execute(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<u64, StoreError> {
        let sql = sql.into();
        let done = match self.conn().await? {
            Conn::Sqlite(conn) => bound(sql, values).execute(conn).await.map(|done| done.rows_affected()),
            Conn::Postgres(conn) => bound(sql, values).execute(conn).await.map(|done| done.rows_affected()),
        };
        self.note(done)
    }

    /// Runs a statement that may break a unique key; None where it did, and nothing was changed.
    pub async fn attempt(
        &mut self,
        sql: impl Into<String>,
        values: Vec<Value>,
    ) -> Result<Option<u64>, StoreError> {
        self.execute("savepoint attempt", vec![]).await?;
        let done = self.execute(sql, values).await;
        self.settle(done).await
    }

    /// Settles what was done since `savepoint attempt`: keeps it, or undoes it where it broke a
    /// unique key.
    pub(super) async fn settle<T>(&mut self, done: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match done {
            Ok(done) => {
                self.execute("release savepoint attempt", vec![]).await?;
                Ok(Some(done))
            }
            Err(error) if error.is_unique_violation() => {
                self.execute("rollback to savepoint attempt", vec![]).await?;
                self.broken = false;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Runs a query and gives all its rows.
    pub async fn rows(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let sql = sql.into();
        let rows = match self.conn().await? {
            Conn::Sqlite(conn) => {
                let rows = bound(sql, values).fetch_all(conn).await;
                rows.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
            }
            Conn::Postgres(conn) => {
                let rows = bound(sql, values).fetch_all(conn).await;
                rows.map(|rows| rows.into_iter().map(Row::Postgres).collect())
            }
        };
        self.note(rows)
    }

    /// Runs a query that gives at most one row.
    pub async fn row(
        &mut self,
        sql: impl Into<String>,
        values: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// The first column of the first row as an integer; 0 where there is none.
    pub async fn int(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<i64, StoreError> {
        match self.row(sql, values).await? {
            Some(row) => Ok(row.opt_int(0)?.unwrap_or(0)),
            None => Ok(0),
        }
    }

    /// Makes it durable, or says why not: a transaction in which a statement failed is never
    /// taken for committed.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Aborted);
        }
        // Fails on PostgreSQL when the transaction is aborted, where COMMIT would not.
        self.execute("select 1", vec![]).await?;
        self.connection.commit().await
    }

    pub async fn rollback(self) -> Result<(), StoreError> {
        self.connection.rollback().await
    }

    /// The connection, as soon as what is under way on it is done.
    pub(super) async fn conn(&mut self) -> Result<Conn<'_>, StoreError> {
        let Tx { connection, broken, .. } = self;
        connection.get().await.inspect_err(|_| *broken = true)
    }

    /// Lets the caller go on while the server of PostgreSQL does some work; on SQLite it is done at once. If it
    /// fails the next statement says so.
    pub(super) async fn behind(&mut self, work: impl Work) -> Result<(), StoreError> {
        match &mut self.connection {
            Connection::Sqlite(_) => work.run(self).await,
            Connection::Postgres(postgres) => postgres.hand_over(work).await,
        }
    }

    /// Does such work in a transaction that was taken out of its `Tx`, and gives it back if it is not lost.
    pub(super) async fn in_transaction(
        transaction: Transaction<'static, Postgres>,
        work: impl Work,
    ) -> Option<Done> {
        let mut tx = Tx { connection: Connection::postgres(transaction), broken: false, reads: false };
        let done = work.run(&mut tx).await;
        tx.connection.into_postgres().await.map(|(transaction, ended)| (transaction, done.and(ended)))
    }

    pub(super) fn note<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        self.broken |= result.is_err();
        Ok(result?)
    }
}

/// A statement with its values bound in order. Its text is ours: values never go into it.
fn bound<'q, DB: sqlx::Database>(sql: String, values: Vec<Value>) -> Query<'q, DB, DB::Arguments>
where
    Option<i64>: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
    Option<String>: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
{
    values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| match value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
    })
}
