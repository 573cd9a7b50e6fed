//! What a charging run puts into suspense and takes out of it (D42).
//!
//! A message is named by its place, its batch and line, since its key is not streamed out to be
//! charged: hardly any comes here. The places are staged and matched in one statement at the end.

use super::db::{Dialect, Tx, values};
use super::dialect::Bulk;
use super::error::StoreError;
use crate::domain::charge::{Place, Unrated};

/// Messages on their way into suspense, out of it, or to another reason in it.
pub struct Suspensions {
    suspended: Staged,
    resettled: Staged,
}

struct Staged {
    table: &'static str,
    rows: Bulk,
    any: bool,
    begun: bool,
}

impl Staged {
    fn new(dialect: Dialect, table: &'static str) -> Staged {
        Staged { table, rows: Bulk::new(dialect, table, "batch_no, line, reason"), any: false, begun: false }
    }

    fn push(&mut self, Place { batch_no, line }: Place, reason: Option<Unrated>) {
        self.rows.push(&[batch_no.into(), line.into(), reason.map(Unrated::as_str).into()]);
        self.any = true;
    }

    async fn begin(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        if self.any && !self.begun {
            let table = self.table;
            let sql = format!(
                "create temporary table {table} (batch_no bigint, line bigint, reason text, \
                 primary key (batch_no, line))"
            );
            tx.execute(sql, vec![]).await?;
            self.begun = true;
        }
        Ok(())
    }

    async fn flush_full(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.begin(tx).await?;
        self.rows.flush_full(tx).await
    }

    /// Runs the statement that takes up what is staged.
    async fn finish(&mut self, tx: &mut Tx, statement: &str, run_no: i64) -> Result<(), StoreError> {
        if !self.any {
            return Ok(());
        }
        let table = self.table;
        self.begin(tx).await?;
        self.rows.flush(tx).await?;
        // Without counts the planner may look for each place by itself through the whole batch.
        tx.execute(format!("analyze {table}"), vec![]).await?;
        tx.execute(statement, values![run_no]).await?;
        tx.execute(format!("drop table {table}"), vec![]).await.map(|_| ())
    }
}

/// The batches are read once, in their own order; `cross join` keeps SQLite to it.
const SUSPEND: &str = "insert into suspense (account_id, id_hi, id_lo, batch_no, line, reason, since_run) \
    select m.account_id, m.id_hi, m.id_lo, m.batch_no, m.line, s.reason, cast($1 as bigint) \
    from messages m cross join suspended_now s where s.batch_no = m.batch_no and s.line = m.line \
    and m.batch_no between (select min(batch_no) from suspended_now) and (select max(batch_no) from suspended_now)";

/// No reason: charged now.
const RESETTLE: &str = "update suspense set run_no = case when r.reason is null then cast($1 as bigint) end, \
    reason = coalesce(r.reason, suspense.reason) from resettled_now r \
    where suspense.batch_no = r.batch_no and suspense.line = r.line and suspense.run_no is null";

impl Suspensions {
    pub fn new(dialect: Dialect) -> Suspensions {
        let staged = |table| Staged::new(dialect, table);
        Suspensions { suspended: staged("suspended_now"), resettled: staged("resettled_now") }
    }

    /// A message that goes into suspense.
    pub fn suspend(&mut self, place: Place, reason: Unrated) {
        self.suspended.push(place, Some(reason));
    }

    /// A message that came out of suspense (None), or waits there for another reason now.
    pub fn resettle(&mut self, place: Place, reason: Option<Unrated>) {
        self.resettled.push(place, reason);
    }

    pub async fn flush_full(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.suspended.flush_full(tx).await?;
        self.resettled.flush_full(tx).await
    }

    pub async fn finish(&mut self, tx: &mut Tx, run_no: i64) -> Result<(), StoreError> {
        self.suspended.finish(tx, SUSPEND, run_no).await?;
        self.resettled.finish(tx, RESETTLE, run_no).await
    }
}
