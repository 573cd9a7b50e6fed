//! A batch on its way in.
//!
//! On PostgreSQL rows go by COPY straight into `messages`, a portion at a time. Where a portion meets
//! a message that is known already, it and all that follow go into a temporary table first, as all
//! do on SQLite, and from there into `messages` with an eye on the key: the same message again is a
//! duplicate, anything else a conflict.

use super::batches::{Ingested, MESSAGES, NewBatch, Origin, correct_counts, find};
use super::db::{Dialect, Tx, values};
use super::dialect::{Bulk, CopyRows};
use super::error::StoreError;
use super::retention::Retired;
use super::runs::take_turn;
use crate::domain::message::{Disposition, MessageRow};
use crate::domain::period::Timestamp;

const STAGED: &str = "batch_no, line, account_id, id_hi, id_lo, product, template_type, country, disposition, \
    reject_code, units, submit_time, raw_id, biz_id, out_id, recipient_hash, source_units";
const STAGED_LINES: &str = "line, verdict, reason, detail, raw";
const INTEGERS: &[&str] =
    &["batch_no", "line", "id_hi", "id_lo", "units", "submit_time", "recipient_hash", "source_units"];

/// What is kept in memory before the first of it is written. Most inputs are smaller: they take
/// their turn only when they are read to the end, so that a slow pipe holds up nobody.
const KEPT_BYTES: usize = 16 << 20;
/// What is written together afterwards: large enough to be cheap, small enough for the reading to
/// go on meanwhile.
const PORTION_BYTES: usize = 2 << 20;

/// A batch on its way in.
pub struct Staging {
    batch_no: i64,
    way: Way,
    faults: Bulk,
    taken: Totals,
}

/// Where the rows go.
enum Way {
    /// Into `messages` at once.
    Direct { rows: CopyRows, turn: bool },
    /// Into the temporary table. Of those that went before, `inserted` are messages already.
    Staged { rows: Bulk, turn: bool, inserted: i64 },
}

#[derive(Default)]
struct Totals {
    rows: i64,
    rejected: i64,
    first_submit: Option<Timestamp>,
    last_submit: Option<Timestamp>,
}

impl Staging {
    pub async fn begin(tx: &mut Tx) -> Result<Staging, StoreError> {
        let dialect = tx.dialect();
        create_temporary(tx, "staged_lines", STAGED_LINES, INTEGERS).await?;
        let (batch_no, way) = match dialect {
            // Not known before the batch is written, and not looked at in the temporary table.
            Dialect::Sqlite => (0, Way::Staged { rows: stage(tx).await?, turn: false, inserted: 0 }),
            Dialect::Postgres => {
                let next = "select nextval(pg_get_serial_sequence('batches', 'batch_no'))";
                (tx.int(next, vec![]).await?, Way::Direct { rows: CopyRows::new(), turn: false })
            }
        };
        let faults = Bulk::new(dialect, "staged_lines", STAGED_LINES);
        Ok(Staging { batch_no, way, faults, taken: Totals::default() })
    }

    pub async fn push(&mut self, tx: &mut Tx, line: i64, row: &MessageRow) -> Result<(), StoreError> {
        let disposition = match row.disposition {
            Disposition::Billable if row.too_long => Some("too_long"),
            Disposition::Billable => None,
            other => Some(other.as_str()),
        };
        let fields = [
            self.batch_no.into(),
            line.into(),
            row.account_id.as_str().into(),
            row.key.hi.into(),
            row.key.lo.into(),
            (&*row.product).into(),
            row.template_type.into(),
            row.country.as_str().into(),
            disposition.into(),
            row.reject_code.as_deref().into(),
            row.units.into(),
            row.submit_time.0.into(),
            row.raw_id.as_deref().into(),
            row.biz_id.as_deref().into(),
            row.out_id.as_deref().into(),
            row.recipient_hash.into(),
            row.size_differs.into(),
        ];
        if let Some(theirs) = row.size_differs {
            let detail = format!("the source counts {theirs} units, we count {}", row.units);
            let note = [
                line.into(),
                "note".into(),
                "size_differs".into(),
                detail.as_str().into(),
                None::<&str>.into(),
            ];
            self.faults.push(&note);
            self.faults.flush_full(tx).await?;
        }
        self.taken.rows += 1;
        let times = &mut self.taken;
        times.first_submit = Some(times.first_submit.map_or(row.submit_time, |t| t.min(row.submit_time)));
        times.last_submit = times.last_submit.max(Some(row.submit_time));
        match &mut self.way {
            Way::Staged { rows, .. } => {
                rows.push(&fields);
                rows.flush_full(tx).await
            }
            Way::Direct { rows, turn } => {
                rows.push(&fields);
                let full = rows.bytes() >= if *turn { PORTION_BYTES } else { KEPT_BYTES };
                if full { self.write(tx).await } else { Ok(()) }
            }
        }
    }

    /// Keeps a line that was rejected, with its raw text.
    pub async fn push_fault(
        &mut self,
        tx: &mut Tx,
        line: i64,
        reason: &str,
        detail: &str,
        raw: &str,
    ) -> Result<(), StoreError> {
        self.faults.push(&[line.into(), "rejected".into(), reason.into(), detail.into(), raw.into()]);
        self.taken.rejected += 1;
        self.faults.flush_full(tx).await
    }

    /// Takes the turn to write messages, once. One batch at a time: two with the same messages in
    /// another order would deadlock. On SQLite it is the first look at the books, so that it takes
    /// the write lock only now.
    async fn take_turn(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let (Way::Direct { turn, .. } | Way::Staged { turn, .. }) = &mut self.way;
        if !*turn {
            take_turn(tx, "ingest").await?;
            tx.execute("savepoint messages", vec![]).await?;
            *turn = true;
        }
        Ok(())
    }

    /// Writes what is in memory into `messages`. Where one of them is known, the way from here on
    /// is the other one.
    async fn write(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.take_turn(tx).await?;
        let Way::Direct { rows, .. } = &mut self.way else { return Ok(()) };
        if rows.count() == 0 {
            return Ok(());
        }
        tx.execute("savepoint attempt", vec![]).await?;
        let copied = rows.copy_into(tx, "messages", STAGED).await;
        if tx.settle(copied).await?.is_some() {
            rows.clear();
            return Ok(());
        }
        let inserted = self.taken.rows - rows.count();
        let staged = stage(tx).await?;
        rows.copy_into(tx, "staged", STAGED).await?;
        self.way = Way::Staged { rows: staged, turn: true, inserted };
        Ok(())
    }

    /// Writes the batch. The caller commits, or rolls back where it was `Already` known.
    pub async fn finish(
        mut self,
        tx: &mut Tx,
        origin: &Origin,
        content_hash: &str,
        ignored_keys: &str,
        now: Timestamp,
    ) -> Result<Ingested, StoreError> {
        if let Way::Staged { rows, .. } = &mut self.way {
            rows.flush(tx).await?;
        }
        self.faults.flush(tx).await?;
        self.take_turn(tx).await?;
        // What was retired while the file was read is not known any more, and would be charged again.
        let retired = Retired::load(tx).await?;
        if self.taken.first_submit.is_some_and(|first| first < retired.before) {
            return Err(StoreError::RetiredMeanwhile);
        }
        let taken = &self.taken;
        let new = NewBatch {
            batch_no: (tx.dialect() == Dialect::Postgres).then_some(self.batch_no),
            kind: MESSAGES,
            origin,
            content_hash,
            ignored_keys,
            rows: taken.rows,
            rejected: taken.rejected,
            first: taken.first_submit,
            last: taken.last_submit,
            now,
        };
        let Some(batch_no) = new.add(tx).await? else {
            tx.execute("rollback to savepoint messages", vec![]).await?;
            return new.known(tx).await.map(Ingested::Already);
        };
        self.write(tx).await?;
        self.merge(tx, batch_no).await?;
        drop_temporary(tx, &["staged", "staged_lines"]).await?;
        let taken = find(tx, batch_no).await?;
        taken.map(Ingested::Taken).ok_or_else(|| StoreError::Corrupt(format!("batch {batch_no} is gone")))
    }

    async fn merge(&self, tx: &mut Tx, batch_no: i64) -> Result<(), StoreError> {
        let accepted = match self.way {
            Way::Direct { .. } => self.taken.rows,
            Way::Staged { inserted, .. } => inserted + insert_messages(tx, batch_no).await?,
        };
        if tx.dialect() == Dialect::Postgres {
            tx.rows(SUMMARIZE, vec![]).await?;
        }
        let lines = "insert into batch_lines (batch_no, line, verdict, reason, detail, raw) \
                     select $1, line, verdict, reason, detail, raw from staged_lines";
        tx.execute(lines, values![batch_no]).await?;
        if accepted == self.taken.rows {
            return Ok(());
        }
        tx.execute(judge_known(), values![batch_no]).await?;
        correct_counts(tx, batch_no, self.taken.rows, accepted).await
    }
}

async fn stage(tx: &mut Tx) -> Result<Bulk, StoreError> {
    create_temporary(tx, "staged", STAGED, INTEGERS).await?;
    Ok(Bulk::new(tx.dialect(), "staged", STAGED))
}

/// Creates a temporary table of integers and texts; it is gone with the transaction.
pub(super) async fn create_temporary(
    tx: &mut Tx,
    table: &str,
    columns: &str,
    integers: &[&str],
) -> Result<(), StoreError> {
    let (int, text, end) = match tx.dialect() {
        Dialect::Sqlite => ("integer", "text", ""),
        Dialect::Postgres => ("bigint", "text collate \"C\"", " on commit drop"),
    };
    let typed = |name: &str| format!("{name} {}", if integers.contains(&name) { int } else { text });
    let columns = columns.split(", ").map(|name| typed(name.trim())).collect::<Vec<_>>().join(", ");
    tx.execute(format!("create temporary table {table} ({columns}){end}"), vec![]).await.map(|_| ())
}

/// SQLite keeps temporary tables until the connection closes.
pub(super) async fn drop_temporary(tx: &mut Tx, tables: &[&str]) -> Result<(), StoreError> {
    if tx.dialect() == Dialect::Sqlite {
        for table in tables {
            tx.execute(format!("drop table {table}"), vec![]).await?;
        }
    }
    Ok(())
}

/// Brings the index of batches up to date, else every search for a batch would read all that came
/// since the last vacuum. Only the owner may; for others the server does it in the background.
const SUMMARIZE: &str = "select case when pg_has_role(relowner, 'usage') \
    then cast(brin_summarize_new_values(oid) as bigint) end from pg_class where oid = 'messages_batch'::regclass";

/// Pages of the temporary table that are inserted together on PostgreSQL: some 60,000 lines.
const PAGES_TOGETHER: i64 = 1_000;

/// Inserts what was staged, but for messages that are known; gives the number inserted.
async fn insert_messages(tx: &mut Tx, batch_no: i64) -> Result<i64, StoreError> {
    let columns = STAGED.strip_prefix("batch_no, ").unwrap_or(STAGED);
    let all = format!("insert into messages (batch_no, {columns}) select $1, {columns} from staged");
    insert_but_known(tx, &all, "staged", "account_id, id_hi, id_lo", batch_no).await
}

/// Runs an insert from a staged table, but for rows whose key is known; gives the number inserted.
///
/// The temporary table is read in the order it was written, so of two lines with one key the first is
/// taken.
pub(super) async fn insert_but_known(
    tx: &mut Tx,
    all: &str,
    staged: &str,
    key: &str,
    batch_no: i64,
) -> Result<i64, StoreError> {
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

/// Lines whose message is known from another line: the same again, or a conflict with what differs.
fn judge_known() -> String {
    let compared = [
        ("product", "m.product", "s.product"),
        ("template_type", "m.template_type", "s.template_type"),
        ("country", "m.country", "s.country"),
        ("units", "cast(m.units as text)", "cast(s.units as text)"),
        ("submit_time", "cast(m.submit_time as text)", "cast(s.submit_time as text)"),
        ("state", "coalesce(m.disposition, 'accepted')", "coalesce(s.disposition, 'accepted')"),
        ("reject_code", "coalesce(m.reject_code, '')", "coalesce(s.reject_code, '')"),
    ];
    let same: Vec<_> = compared.iter().map(|(_, was, is)| format!("{was} = {is}")).collect();
    let differs: Vec<_> = compared
        .iter()
        .map(|(name, was, is)| {
            format!("case when {was} = {is} then '' else '; {name} ' || {is} || ', was ' || {was} end")
        })
        .collect();
    let (same, differs) = (same.join(" and "), differs.join(" || "));
    format!(
        "insert into batch_lines (batch_no, line, verdict, reason, detail) \
         select $1, s.line, case when {same} then 'duplicate' else 'conflict' end, \
                case when {same} then 'known' else 'other_content' end, \
                'message is known from batch ' || cast(m.batch_no as text) || ' line ' || cast(m.line as text) \
                || {differs} \
         from staged s join messages m \
           on m.account_id = s.account_id and m.id_hi = s.id_hi and m.id_lo = s.id_lo \
         where not (m.batch_no = $1 and m.line = s.line)"
    )
}
