//! Leases of jobs: one holder at a time, each with a token that voids the ones before.
//!
//! A lease is taken in a short transaction of its own and given back by the one that saves the run.
//! That last statement names the token: a holder that was stopped for longer than its lease and then
//! goes on finds that it no longer matches, and nothing of it is kept (F27). The database's clock
//! tells when a lease has run out, so hosts need not agree on the time (F28).

use std::time::Duration;

use super::db::{Db, Dialect, Row, Tx, values};
use super::dialect::for_update_nowait;
use super::error::StoreError;
use crate::clock;
use crate::domain::period::Timestamp;
use crate::instance;

/// A lease that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub job: &'static str,
    pub token: i64,
    pub lasts: Duration,
}

/// What is known of a job's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    pub token: i64,
    pub owner: Option<String>,
    pub until: Option<Timestamp>,
}

/// The database's own clock; on SQLite that is the machine's.
pub async fn database_now(tx: &mut Tx) -> Result<Timestamp, StoreError> {
    match tx.dialect() {
        Dialect::Sqlite => Ok(clock::now()),
        Dialect::Postgres => {
            let sql = "select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)";
            Ok(Timestamp(tx.int(sql, vec![]).await?))
        }
    }
}

/// Who asks for a lease.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    pub owner: &'a str,
    /// It tries again after a fault: a lease that it still holds itself is that of the try before,
    /// which ended without being able to give it back.
    pub again: bool,
}

impl Claimant<'_> {
    /// Whether a lease is lost to whoever holds it: its time ran out, its holder is dead, or it was
    /// the claimant's own.
    fn may_take(&self, found: &LeaseRow, now: Timestamp) -> bool {
        found.owner.as_ref().is_none_or(|holder| {
            found.until.is_none_or(|until| until <= now)
                || (self.again && holder == self.owner)
                || instance::is_dead(holder)
        })
    }
}

/// Takes a job's lease, or answers `Held` at once. Whoever held it before and ran out of time, or is
/// known to be dead, has lost it; its session is ended, so that its locks are not waited for.
pub async fn claim(
    tx: &mut Tx,
    job: &'static str,
    claimant: Claimant<'_>,
    lasts: Duration,
) -> Result<Lease, StoreError> {
    if tx.dialect() == Dialect::Postgres {
        // Who falls silent while claiming has no name yet by which its session could be ended.
        let hurry = "select set_config('idle_in_transaction_session_timeout', '10s', true)";
        tx.rows(hurry, vec![]).await?;
    }
    // A first look without a lock: the session may hold that of the lease itself, where it stopped on
    // its way to the commit.
    if let Some(found) = look(tx, job, "").await?
        && found.owner.is_some()
        && claimant.may_take(&found, database_now(tx).await?)
    {
        end_session(tx, job, found.token).await?;
    }
    let found = lock(tx, job).await?;
    let now = database_now(tx).await?;
    if let Some(holder) = &found.owner {
        if !claimant.may_take(&found, now) {
            return Err(StoreError::Held { job, owner: instance::short(holder).to_owned() });
        }
        tracing::warn!("Took the lease of `{job}` over from {}", instance::short(holder));
        end_session(tx, job, found.token).await?;
    }
    let lease = Lease { job, token: found.token + 1, lasts };
    let sql = "update jobs set token = $2, owner = $3, lease_until = $4, runs = runs + 1 where job = $1";
    tx.execute(sql, values![job, lease.token, claimant.owner, now.plus_micros(micros(lasts)).0]).await?;
    Ok(lease)
}

/// Looks whether a job's lease is free, and keeps others from taking it until the transaction ends.
pub async fn ensure_free(tx: &mut Tx, job: &'static str) -> Result<(), StoreError> {
    let found = lock(tx, job).await?;
    let nobody = Claimant { owner: "", again: false };
    match &found.owner {
        Some(holder) if !nobody.may_take(&found, database_now(tx).await?) => {
            Err(StoreError::Held { job, owner: instance::short(holder).to_owned() })
        }
        _ => Ok(()),
    }
}

/// Who holds a job's lease, where anybody does.
pub async fn holder(tx: &mut Tx, job: &str) -> Result<Option<String>, StoreError> {
    let row = tx.row("select owner from jobs where job = $1", values![job]).await?;
    let owner = row.map(|row| row.opt_text(0)).transpose()?.flatten();
    Ok(owner.map(|owner| instance::short(&owner).to_owned()))
}

/// Locks a job's row, which is made where there is none, and reads its lease.
async fn lock(tx: &mut Tx, job: &'static str) -> Result<LeaseRow, StoreError> {
    // First of all an insert: as the first statement on SQLite it takes the write lock without having
    // read before, which could not be upgraded (F11).
    let add = "insert into jobs (job, runs) values ($1, 0) on conflict (job) do nothing";
    if tx.dialect() == Dialect::Sqlite {
        tx.execute(add, values![job]).await?;
    }
    let nowait = for_update_nowait(tx.dialect());
    if let Some(found) = look(tx, job, nowait).await? {
        return Ok(found);
    }
    tx.execute(add, values![job]).await?;
    let found = look(tx, job, nowait).await?;
    found.ok_or_else(|| StoreError::Corrupt(format!("the job `{job}` has no row")))
}

/// Reads a job's lease, locked or not.
async fn look(tx: &mut Tx, job: &str, locked: &str) -> Result<Option<LeaseRow>, StoreError> {
    let sql = format!("select token, owner, lease_until from jobs where job = $1{locked}");
    let row = tx.row(sql, values![job]).await?;
    let read = |row: Row| {
        Ok(LeaseRow { token: row.int(0)?, owner: row.opt_text(1)?, until: row.opt_int(2)?.map(Timestamp) })
    };
    row.map(read).transpose()
}

/// Makes the lease last longer. `Fenced` where it was taken over.
pub async fn renew(tx: &mut Tx, lease: &Lease) -> Result<(), StoreError> {
    let until = database_now(tx).await?.plus_micros(micros(lease.lasts));
    let sql = "update jobs set lease_until = $3 where job = $1 and token = $2 and owner is not null";
    still_held(lease, tx.execute(sql, values![lease.job, lease.token, until.0]).await?)
}

/// Gives the lease back. `Fenced` where it was taken over: then nothing of the transaction may stay.
pub async fn give_back(tx: &mut Tx, lease: &Lease) -> Result<(), StoreError> {
    let sql = "update jobs set owner = null, lease_until = null where job = $1 and token = $2 \
               and owner is not null";
    still_held(lease, tx.execute(sql, values![lease.job, lease.token]).await?)
}

fn still_held(lease: &Lease, touched: u64) -> Result<(), StoreError> {
    if touched == 1 { Ok(()) } else { Err(StoreError::Fenced { job: lease.job }) }
}

/// Sees to it that the transaction that was to give the lease back has come to its end, whichever.
pub async fn settle(tx: &mut Tx, lease: &Lease) -> Result<(), StoreError> {
    // The server may not know yet that nobody is at the other end of its session.
    end_session(tx, lease.job, lease.token).await?;
    tx.execute("update jobs set runs = runs where job = $1", values![lease.job]).await.map(|_| ())
}

/// The name under which the session of a run is seen in `pg_stat_activity`.
fn session_name(job: &str, token: i64) -> String {
    format!("quittance {job} #{token}")
}

/// Names the session of a transaction after its lease, for operators and for [`claim`].
pub async fn name_session(tx: &mut Tx, lease: &Lease) -> Result<(), StoreError> {
    if tx.dialect() == Dialect::Postgres {
        let sql = "select set_config('application_name', $1, true)";
        tx.rows(sql, values![session_name(lease.job, lease.token)]).await?;
    }
    Ok(())
}

/// Ends the session of a run whose lease is void. SQLite has no sessions: a process that holds its
/// write lock can't be taken over, only waited for.
async fn end_session(tx: &mut Tx, job: &str, token: i64) -> Result<(), StoreError> {
    if tx.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let sql = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = $1 \
               and datname = current_database() and usename = current_user and pid <> pg_backend_pid()";
    tx.rows(sql, values![session_name(job, token)]).await.map(|_| ())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Renews a lease until dropped or until it is lost; ends only when it is lost.
///
/// It has a connection of its own, so that a run that uses up the pool does not lose its lease. On
/// SQLite the write lock of a run that is one transaction keeps others out by itself.
pub async fn keep(db: &Db, lease: &Lease, one_transaction: bool) -> StoreError {
    let sqlite = db.dialect() == Dialect::Sqlite;
    if sqlite && one_transaction {
        return std::future::pending().await;
    }
    let mut held_until = clock::deadline(lease.lasts);
    loop {
        tokio::time::sleep(lease.lasts / 3).await;
        let renewed = async {
            let mut tx = db.aside().await?;
            renew(&mut tx, lease).await?;
            tx.commit().await
        };
        let renewed_until = clock::deadline(lease.lasts);
        match tokio::time::timeout_at(held_until, renewed).await {
            Ok(Ok(())) => held_until = renewed_until,
            Ok(Err(fenced @ StoreError::Fenced { .. })) => return fenced,
            // While somebody writes at length, be it this run itself, nobody can take the lease either.
            Ok(Err(StoreError::Busy)) | Err(_) if sqlite => held_until = renewed_until,
            Ok(Err(error)) => tracing::warn!("The lease of `{}` was not renewed: {error}", lease.job),
            Err(_) => return StoreError::Fenced { job: lease.job },
        }
    }
}
