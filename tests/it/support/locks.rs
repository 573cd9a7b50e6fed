//! A writer of the database that takes its time, so that a run has to stop in the middle.

use quittance::store::{Db, Dialect, Tx};
use tokio::runtime::Runtime;

/// What a run needs, in the hands of somebody else until dropped: the row of the account acme on
/// PostgreSQL, on SQLite the right to write at all.
pub struct Lock {
    tx: Option<Tx>,
    db: Db,
    runtime: Runtime,
}

impl Lock {
    pub fn take(url: &str) -> Lock {
        Lock::run(url, "select 1 from accounts where account_id = 'acme' for update")
    }

    /// Runs a statement on PostgreSQL in a transaction that goes on; on SQLite only begins one.
    pub fn run(url: &str, sql: &str) -> Lock {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (db, tx) = runtime.block_on(async {
            let db = Db::open(url).await.expect("the database opens");
            let mut tx = db.write().await.expect("it can be written");
            if db.dialect() == Dialect::Postgres {
                tx.rows(sql, Vec::new()).await.expect("the lock is free");
            }
            (db, tx)
        });
        Lock { tx: Some(tx), db, runtime }
    }

    pub fn release(self) {}
}

impl Drop for Lock {
    fn drop(&mut self) {
        let tx = self.tx.take();
        self.runtime.block_on(async {
            if let Some(tx) = tx {
                // The server may have taken it back already, by crashing.
                let _ = tx.rollback().await;
            }
            self.db.close().await;
        });
    }
}
