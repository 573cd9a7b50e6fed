//! Rows of a batch on their way into their table.
//!
//! On PostgreSQL they go by COPY straight into it, a portion at a time. Where a portion meets a row whose
//! key is known already, it and all that follow go into a temporary table first, as all do on SQLite, and
//! from there into the table with an eye on the key.

use super::db::{Dialect, Tx, values};
use super::dialect::{Bulk, CopyRows, Field};
use super::error::StoreError;
use super::runs::take_turn;
use super::staging::create_temporary;

/// What is kept in memory before the first of it is written. Most inputs are smaller: they take
/// their turn only when they are read to the end, so that a slow pipe holds up nobody.
const KEPT_BYTES: usize = 16 << 20;
/// What is written together afterwards: large enough to be cheap, small enough for the reading to
/// go on meanwhile.
const PORTION_BYTES: usize = 2 << 20;

/// Where rows go.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub table: &'static str,
    /// The temporary table beside it, of the same columns.
    pub staged: &'static str,
    /// `batch_no` is the first.
    pub columns: &'static str,
    pub integers: &'static [&'static str],
    pub key: &'static str,
}

/// Rows on their way.
pub(super) struct Arriving {
    target: Target,
    /// The number of their batch; on SQLite it is not known before the batch is written.
    batch_no: Option<i64>,
    way: Way,
    turn: bool,
    rows: i64,
}

enum Way {
    Straight(CopyRows),
    /// Of those that went before, so many went straight.
    Staged {
        rows: Bulk,
        straight: i64,
    },
}

impl Arriving {
    pub async fn begin(tx: &mut Tx, target: Target) -> Result<Arriving, StoreError> {
        let (batch_no, way) = match tx.dialect() {
            Dialect::Sqlite => (None, Way::Staged { rows: stage(tx, target).await?, straight: 0 }),
            Dialect::Postgres => {
                let next = "select nextval(pg_get_serial_sequence('batches', 'batch_no'))";
                (Some(tx.int(next, vec![]).await?), Way::Straight(CopyRows::new()))
            }
        };
        Ok(Arriving { target, batch_no, way, turn: false, rows: 0 })
    }

    pub fn batch_no(&self) -> Option<i64> {
        self.batch_no
    }

    /// What rows have in their first column; in the temporary table nobody looks at it.
    pub fn batch_column(&self) -> i64 {
        self.batch_no.unwrap_or(0)
    }

    /// All rows so far.
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// Whether rows went straight, or are to go.
    pub fn is_straight(&self) -> bool {
        matches!(self.way, Way::Straight(_))
    }

    /// Takes a row; `write` is to be called when there are enough.
    pub async fn push(&mut self, tx: &mut Tx, row: &[Field<'_>]) -> Result<(), StoreError> {
        self.rows += 1;
        match &mut self.way {
            Way::Straight(rows) => {
                rows.push(row);
                Ok(())
            }
            Way::Staged { rows, .. } => {
                rows.push(row);
                rows.flush_full(tx).await
            }
        }
    }

    /// Whether memory holds as many as are to be written together.
    pub fn is_full(&self) -> bool {
        match &self.way {
            Way::Straight(rows) => rows.bytes() >= if self.turn { PORTION_BYTES } else { KEPT_BYTES },
            Way::Staged { .. } => false,
        }
    }

    /// Takes the turn to write, once. One batch at a time: two with the same rows in another order would
    /// deadlock. On SQLite it is the first look at the books, so that it takes the write lock only now.
    pub async fn take_turn(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        if !self.turn {
            take_turn(tx, "ingest").await?;
            tx.execute("savepoint batch", vec![]).await?;
            self.turn = true;
        }
        Ok(())
    }

    /// Undoes all since the turn was taken.
    pub async fn undo(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        tx.execute("rollback to savepoint batch", vec![]).await.map(|_| ())
    }

    /// Writes what is in memory; true where it went straight. Where one of them is known, the way from
    /// here on is the other one.
    pub async fn write(&mut self, tx: &mut Tx) -> Result<bool, StoreError> {
        self.take_turn(tx).await?;
        match &mut self.way {
            Way::Staged { rows, .. } => {
                rows.flush(tx).await?;
                return Ok(false);
            }
            Way::Straight(rows) if rows.count() == 0 => return Ok(true),
            Way::Straight(rows) => {
                tx.execute("savepoint attempt", vec![]).await?;
                let copied = rows.copy_into(tx, self.target.table, self.target.columns).await;
                if tx.settle(copied).await?.is_some() {
                    rows.clear();
                    return Ok(true);
                }
            }
        }
        self.stage(tx).await?;
        Ok(false)
    }

    /// Sends what did not go straight yet the other way.
    pub async fn stage(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let Way::Straight(rows) = &mut self.way else { return Ok(()) };
        let staged = stage(tx, self.target).await?;
        let straight = self.rows - rows.count();
        rows.copy_into(tx, self.target.staged, self.target.columns).await?;
        self.way = Way::Staged { rows: staged, straight };
        Ok(())
    }

    /// Takes what was staged into the table, but for what is known; gives the number of all that are in it.
    pub async fn merge(&self, tx: &mut Tx, batch_no: i64) -> Result<i64, StoreError> {
        match self.way {
            Way::Straight(_) => Ok(self.rows),
            Way::Staged { straight, .. } => Ok(straight + insert_but_known(tx, self.target, batch_no).await?),
        }
    }
}

async fn stage(tx: &mut Tx, target: Target) -> Result<Bulk, StoreError> {
    create_temporary(tx, target.staged, target.columns, target.integers).await?;
    Ok(Bulk::new(tx.dialect(), target.staged, target.columns))
}

/// Pages of the temporary table that are inserted together on PostgreSQL: some 60,000 lines.
const PAGES_TOGETHER: i64 = 1_000;

/// Inserts what was staged, but for rows whose key is known; gives the number inserted.
///
/// The temporary table is read in the order it was written, so of two lines with one key the first is
/// taken.
pub(super) async fn insert_but_known(tx: &mut Tx, target: Target, batch_no: i64) -> Result<i64, StoreError> {
    let Target { table, staged, columns, key, .. } = target;
    let columns = columns.strip_prefix("batch_no, ").unwrap_or(columns);
    let all = format!("insert into {table} (batch_no, {columns}) select $1, {columns} from {staged}");
    let but_known = format!("on conflict ({key}) do nothing");
    if tx.dialect() == Dialect::Sqlite {
        return Ok(tx.execute(format!("{all} where true {but_known}"), values![batch_no]).await? as i64);
    }
    // Looking out for conflicts costs PostgreSQL as much again as the insert, and most lines have
    // none: only the portions that have one are inserted a second time with both eyes open.
    let size = format!("select pg_relation_size('{staged}') / current_setting('block_size')::bigint");
    let pages = tx.int(size, vec![]).await?;
    let mut inserted = 0;
    for page in (0..pages).step_by(PAGES_TOGETHER as usize) {
        let next = page + PAGES_TOGETHER;
        let some = format!("{all} where ctid >= '({page},0)'::tid and ctid < '({next},0)'::tid");
        inserted += match tx.attempt(some.as_str(), values![batch_no]).await? {
            Some(rows) => rows,
            None => tx.execute(format!("{some} {but_known}"), values![batch_no]).await?,
        };
    }
    Ok(inserted as i64)
}
