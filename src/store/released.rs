//! Whether a connection may go back into its pool.

use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row as _, SqliteConnection};

use super::db::TO_CONNECT;

/// One of SQLite, which rolls back by itself when the disk is full: the driver's own rollback fails then,
/// and the connection would take the next transaction for a nested one.
pub(super) async fn is_out_of_transaction(conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    conn.ping().await?;
    Ok(!conn.is_in_transaction())
}

/// One of PostgreSQL. If its transaction was cut off in the middle it may still be inside of it (F07), or
/// hold the migrator's lock, or owe answers to questions that nobody waits for any more, which the next
/// user would take for its own.
pub(super) async fn is_clean(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    static ASKED: AtomicI64 = AtomicI64::new(0);
    let number = ASKED.fetch_add(1, Ordering::Relaxed);
    let asked = async {
        sqlx::raw_sql("rollback").execute(&mut *conn).await?;
        let question = format!("select {number}::bigint, pg_advisory_unlock_all()");
        let row = sqlx::raw_sql(AssertSqlSafe(question)).fetch_one(&mut *conn).await?;
        row.try_get::<i64, _>(0)
    };
    let answer = tokio::time::timeout(TO_CONNECT, asked).await;
    Ok(matches!(answer, Ok(Ok(answer)) if answer == number))
}
