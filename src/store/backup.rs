//! A copy of the books while they are in use (F19), and whether a SQLite database is whole.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::connection::Conn;
use super::db::{Db, Dialect, Tx};
use super::error::StoreError;

/// Copies a SQLite database, as it is at this moment, into an empty file, and checks the copy. Others go
/// on reading and writing.
///
/// # Errors
/// `NotSqlite` on PostgreSQL; `BadCopy` where the copy is not whole.
pub async fn copy_into(db: &Db, file: &Path) -> Result<(), StoreError> {
    if db.dialect() == Dialect::Postgres {
        return Err(StoreError::NotSqlite);
    }
    let name = file.to_str().ok_or_else(|| StoreError::Url(format!("{} is not UTF-8", file.display())))?;
    // Not a copy of the file, whose newest part may stand in the write-ahead log.
    db.outside_of_transactions("vacuum into ?", name).await?;
    check(file).await
}

/// Whether a copy is whole: its pages, indexes and references.
async fn check(file: &Path) -> Result<(), StoreError> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true).immutable(true);
    let mut copy: SqliteConnection = options.disable_statement_logging().connect().await?;
    let faults = faults(&mut copy).await?;
    copy.close().await?;
    if faults.is_empty() { Ok(()) } else { Err(StoreError::BadCopy(faults.join("; "))) }
}

/// What is wrong with the pages, indexes and references of a SQLite database (I35); nothing of PostgreSQL, which
/// sees to that itself.
pub async fn faults_of(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    match tx.conn().await? {
        Conn::Sqlite(conn) => Ok(faults(conn).await?),
        Conn::Postgres(_) => Ok(Vec::new()),
    }
}

async fn faults(conn: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    let mut faults: Vec<String> =
        sqlx::query_scalar("pragma integrity_check(5)").fetch_all(&mut *conn).await?;
    faults.retain(|fault| fault != "ok");
    let lost = sqlx::query("pragma foreign_key_check").fetch_all(&mut *conn).await?.len();
    faults.extend((lost > 0).then(|| format!("{lost} rows refer to nothing")));
    Ok(faults)
}
