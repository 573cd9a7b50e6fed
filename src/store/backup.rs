//! A copy of the books while they are in use (F19).

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::db::{Db, Dialect};
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
    let found: Vec<String> = sqlx::query_scalar("pragma integrity_check(5)").fetch_all(&mut copy).await?;
    let lost = sqlx::query("pragma foreign_key_check").fetch_all(&mut copy).await?;
    copy.close().await?;
    if found != ["ok"] {
        return Err(StoreError::BadCopy(found.join("; ")));
    }
    if !lost.is_empty() {
        return Err(StoreError::BadCopy(format!("{} rows refer to nothing", lost.len())));
    }
    Ok(())
}
