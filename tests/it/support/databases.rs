//! A fresh database for a test: a SQLite file, or a PostgreSQL database on the server that
//! `TEST_POSTGRES_URL` names.
//!
//! Without that variable the PostgreSQL half is skipped, and says so once; with
//! `REQUIRE_POSTGRES=1`, as `scripts/test` sets it, its absence is a failure.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// A database that lives as long as the test.
pub struct TestDatabase {
    pub url: String,
    /// Keeps the SQLite file's directory.
    _dir: Option<tempfile::TempDir>,
    /// Server and name of a PostgreSQL database, to drop it.
    pub postgres: Option<(String, String)>,
}

/// Runs a check on each of the two databases.
pub fn on_both(mut check: impl FnMut(&TestDatabase)) {
    check(&sqlite());
    if let Some(database) = postgres() {
        check(&database);
    }
}

impl TestDatabase {
    /// A database that is there already.
    pub fn at(url: &str) -> TestDatabase {
        TestDatabase { url: url.to_owned(), _dir: None, postgres: None }
    }
}

pub fn sqlite() -> TestDatabase {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    TestDatabase { url, _dir: Some(dir), postgres: None }
}

/// A fresh PostgreSQL database without a schema; None where there is no server to test on.
pub fn postgres() -> Option<TestDatabase> {
    static SKIPPED: Once = Once::new();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let Ok(server) = std::env::var("TEST_POSTGRES_URL") else {
        assert!(
            std::env::var_os("REQUIRE_POSTGRES").is_none(),
            "REQUIRE_POSTGRES is set, TEST_POSTGRES_URL is not"
        );
        SKIPPED.call_once(|| eprintln!("SKIPPED on PostgreSQL: TEST_POSTGRES_URL is not set"));
        return None;
    };
    let name = format!("quittance_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    execute(&server, format!("create database {name}"));
    let (before, after) = server.split_once('?').unwrap_or((&server, ""));
    let host = &before[..before.rfind('/').expect("a database name in TEST_POSTGRES_URL")];
    let url = format!("{host}/{name}?{after}");
    Some(TestDatabase { url, _dir: None, postgres: Some((server, name)) })
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Some((server, name)) = &self.postgres {
            execute(server, format!("drop database if exists {name} with (force)"));
        }
    }
}

/// Runs SQL on a PostgreSQL database, in a thread of its own: the test may be inside a runtime.
pub fn execute(url: &str, sql: String) {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut connection = PgConnection::connect(url).await.expect("the test server answers");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("the statement works");
        });
    };
    std::thread::scope(|scope| scope.spawn(run).join().expect("no panic"));
}
