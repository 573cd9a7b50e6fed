//! What the books say, read through the library.

use std::future::Future;

use quittance::config::Config;
use quittance::store::{self, StoreError, Tx, digest, invariants};

/// Runs something asynchronous to its end.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// Reads one state of a database.
pub fn read<T>(url: &str, query: impl AsyncFnOnce(&mut Tx) -> Result<T, StoreError>) -> T {
    block_on(async {
        let db = store::open(url).await.expect("the database opens");
        let mut tx = db.read().await.expect("it can be read");
        let answer = query(&mut tx).await.expect("the query works");
        drop(tx);
        db.close().await;
        answer
    })
}

/// Changes a database behind the program's back.
pub async fn change(url: &str, sql: &str) {
    let db = store::open(url).await.expect("the database opens");
    let mut tx = db.write().await.expect("it can be written");
    tx.execute(sql, Vec::new()).await.expect("the statement works");
    tx.commit().await.expect("it is kept");
    db.close().await;
}

pub fn digest_of(url: &str) -> String {
    let zone = Config::built_in().expect("the built-in configuration").zone;
    read(url, async |tx| digest::digest(tx, zone).await)
}

/// The invariants of the books hold.
#[track_caller]
pub fn assert_sound(url: &str) {
    let broken = read(url, async |tx| invariants::broken(tx).await);
    assert!(broken.is_empty(), "the books of {url} are broken:\n{}", broken.join("\n"));
}
