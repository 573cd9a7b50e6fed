//! Batches: everything that comes in comes as one, whole or not at all, and once (F48-F50, F58, D70, D86).
//!
//! Rows go by bulk load into a temporary table and from there into `messages` in one statement, so
//! that a message that is known already is found by the key and judged: the same again is a
//! duplicate, anything else a conflict.

use super::db::{Dialect, Row, Tx, values};
use super::dialect::{Bulk, for_update};
use super::error::StoreError;
use crate::domain::message::{Disposition, MessageRow};
use crate::domain::period::Timestamp;

/// Kinds of batches.
pub const MESSAGES: &str = "messages";
pub const RECEIPTS: &str = "receipts";

/// Where a batch came from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// `generic`, `aliyun`, `twilio`, ...
    pub source: String,
    /// File name; `-` for standard input.
    pub name: String,
    pub format: String,
    /// The CSV header, to judge rejected lines again.
    pub header: Option<String>,
}

/// A batch as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRow {
    pub batch_no: i64,
    /// `messages` or `receipts`.
    pub kind: String,
    pub source: String,
    pub name: String,
    pub format: String,
    pub header: Option<String>,
    pub lines: i64,
    pub accepted: i64,
    pub duplicates: i64,
    pub conflicts: i64,
    pub rejected: i64,
    pub ignored_keys: String,
    pub first_submit: Option<Timestamp>,
    pub last_submit: Option<Timestamp>,
    pub ingested_at: Timestamp,
    /// The run that charged it.
    pub run_no: Option<i64>,
}

/// What became of a batch that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingested {
    Taken(BatchRow),
    /// The same content came before; nothing was changed.
    Already(BatchRow),
}

/// A line that was not simply accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRow {
    pub line: i64,
    /// `rejected`, `conflict`, `duplicate`, `note`.
    pub verdict: String,
    pub reason: String,
    pub detail: String,
    pub raw: Option<String>,
    pub retried_in: Option<i64>,
}

const STAGED: &str = "line, account_id, id_hi, id_lo, product, template_type, country, disposition, reject_code, \
    units, submit_time, raw_id, biz_id, out_id, recipient_hash, source_units";
const STAGED_LINES: &str = "line, reason, detail, raw";
const INTEGERS: &[&str] =
    &["line", "id_hi", "id_lo", "units", "submit_time", "recipient_hash", "source_units"];

/// A batch on its way in.
pub struct Staging {
    rows: Bulk,
    faults: Bulk,
    staged: i64,
    rejected: i64,
    first_submit: Option<Timestamp>,
    last_submit: Option<Timestamp>,
}

impl Staging {
    pub async fn begin(tx: &mut Tx) -> Result<Staging, StoreError> {
        let dialect = tx.dialect();
        create_temporary(tx, "staged", STAGED, INTEGERS).await?;
        create_temporary(tx, "staged_lines", STAGED_LINES, INTEGERS).await?;
        Ok(Staging {
            rows: Bulk::new(dialect, "staged", STAGED),
            faults: Bulk::new(dialect, "staged_lines", STAGED_LINES),
            staged: 0,
            rejected: 0,
            first_submit: None,
            last_submit: None,
        })
    }

    pub async fn push(&mut self, tx: &mut Tx, line: i64, row: &MessageRow) -> Result<(), StoreError> {
        let disposition = match row.disposition {
            Disposition::Billable if row.too_long => Some("too_long"),
            Disposition::Billable => None,
            other => Some(other.as_str()),
        };
        self.rows.push(&[
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
        ]);
        self.staged += 1;
        self.first_submit = Some(self.first_submit.map_or(row.submit_time, |t| t.min(row.submit_time)));
        self.last_submit = self.last_submit.max(Some(row.submit_time));
        self.rows.flush_full(tx).await
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
        self.faults.push(&[line.into(), reason.into(), detail.into(), raw.into()]);
        self.rejected += 1;
        self.faults.flush_full(tx).await
    }

    /// Merges what was staged. The caller commits, or rolls back where it was `Already` known.
    pub async fn finish(
        mut self,
        tx: &mut Tx,
        origin: &Origin,
        content_hash: &str,
        ignored_keys: &str,
        now: Timestamp,
    ) -> Result<Ingested, StoreError> {
        self.rows.flush(tx).await?;
        self.faults.flush(tx).await?;
        // One merge at a time: two batches with the same messages in another order would deadlock, and
        // batch numbers follow the order of commit. On SQLite it is the first look at the books, so
        // that it takes the write lock only now.
        super::runs::take_turn(tx, "ingest").await?;
        let new = NewBatch {
            kind: MESSAGES,
            origin,
            content_hash,
            ignored_keys,
            lines: self.staged + self.rejected,
            accepted: self.staged,
            rejected: self.rejected,
            first_submit: self.first_submit,
            last_submit: self.last_submit,
            now,
        };
        let batch_no = match new.insert(tx).await? {
            Ok(batch_no) => batch_no,
            Err(known) => return Ok(Ingested::Already(known)),
        };
        self.merge(tx, batch_no).await?;
        drop_temporary(tx, &["staged", "staged_lines"]).await?;
        let taken = find(tx, batch_no).await?;
        taken.map(Ingested::Taken).ok_or_else(|| StoreError::Corrupt(format!("batch {batch_no} is gone")))
    }

    async fn merge(&self, tx: &mut Tx, batch_no: i64) -> Result<(), StoreError> {
        let accepted = insert_messages(tx, batch_no).await?;
        let rejected = "insert into batch_lines (batch_no, line, verdict, reason, detail, raw) \
                        select $1, line, 'rejected', reason, detail, raw from staged_lines";
        tx.execute(rejected, values![batch_no]).await?;
        tx.execute(NOTE_SIZES, values![batch_no]).await?;
        if accepted == self.staged {
            return Ok(());
        }
        tx.execute(judge_known(), values![batch_no]).await?;
        let count = "select count(*) from batch_lines where batch_no = $1 and verdict = 'conflict'";
        let conflicts = tx.int(count, values![batch_no]).await?;
        let duplicates = self.staged - accepted - conflicts;
        let sql = "update batches set accepted = $2, duplicates = $3, conflicts = $4 where batch_no = $1";
        tx.execute(sql, values![batch_no, accepted, duplicates, conflicts]).await.map(|_| ())
    }
}

/// A batch that is about to be taken.
pub(super) struct NewBatch<'a> {
    pub kind: &'static str,
    pub origin: &'a Origin,
    pub content_hash: &'a str,
    pub ignored_keys: &'a str,
    pub lines: i64,
    pub accepted: i64,
    pub rejected: i64,
    pub first_submit: Option<Timestamp>,
    pub last_submit: Option<Timestamp>,
    pub now: Timestamp,
}

impl NewBatch<'_> {
    /// Gives the batch its number, or the batch that brought the same content before.
    pub async fn insert(&self, tx: &mut Tx) -> Result<Result<i64, BatchRow>, StoreError> {
        let sql = "insert into batches (kind, source, name, format, header, content_hash, lines, accepted, \
                   duplicates, conflicts, rejected, ignored_keys, first_submit, last_submit, ingested_at) \
                   values ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, $9, $10, $11, $12, $13) \
                   on conflict (kind, source, content_hash) do nothing returning batch_no";
        let origin = self.origin;
        let values = values![
            self.kind,
            &origin.source,
            &origin.name,
            &origin.format,
            origin.header.clone(),
            self.content_hash,
            self.lines,
            self.accepted,
            self.rejected,
            self.ignored_keys,
            self.first_submit.map(|t| t.0),
            self.last_submit.map(|t| t.0),
            self.now.0,
        ];
        if let Some(row) = tx.row(sql, values).await? {
            return Ok(Ok(row.int(0)?));
        }
        let known = by_content(tx, self.kind, &origin.source, self.content_hash).await?;
        known.map(Err).ok_or_else(|| StoreError::Corrupt("a batch with this content came and went".into()))
    }
}

/// Brings the index of batches up to date, else every search for a batch would read all that came
/// since the last vacuum. Only the owner may; for others the server does it in the background.
const SUMMARIZE: &str = "select case when pg_has_role(relowner, 'usage') \
    then cast(brin_summarize_new_values(oid) as bigint) end from pg_class where oid = 'messages_batch'::regclass";

/// Pages of the temporary table that are inserted together on PostgreSQL: some 60,000 lines.
const PAGES_TOGETHER: i64 = 1_000;

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
    let column = |name: &str| format!("{name} {}", if integers.contains(&name) { int } else { text });
    let columns: Vec<String> = columns.split(", ").map(|name| column(name.trim())).collect();
    let sql = format!("create temporary table {table} ({}){end}", columns.join(", "));
    tx.execute(sql, vec![]).await.map(|_| ())
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

/// Inserts what was staged, but for messages that are known; gives the number inserted.
async fn insert_messages(tx: &mut Tx, batch_no: i64) -> Result<i64, StoreError> {
    let all = format!("insert into messages (batch_no, {STAGED}) select $1, {STAGED} from staged");
    let inserted = insert_but_known(tx, &all, "staged", "account_id, id_hi, id_lo", batch_no).await?;
    if tx.dialect() == Dialect::Postgres {
        tx.rows(SUMMARIZE, vec![]).await?;
    }
    Ok(inserted)
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

const NOTE_SIZES: &str = "insert into batch_lines (batch_no, line, verdict, reason, detail) \
    select $1, s.line, 'note', 'size_differs', \
           'the source counts ' || cast(s.source_units as text) || ' units, we count ' || cast(s.units as text) \
    from staged s where s.source_units is not null";

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

const BATCH: &str = "select batch_no, kind, source, name, format, header, lines, accepted, duplicates, conflicts, \
    rejected, ignored_keys, first_submit, last_submit, ingested_at, run_no from batches";

fn batch_row(row: &Row) -> Result<BatchRow, StoreError> {
    Ok(BatchRow {
        batch_no: row.int(0)?,
        kind: row.text(1)?,
        source: row.text(2)?,
        name: row.text(3)?,
        format: row.text(4)?,
        header: row.opt_text(5)?,
        lines: row.int(6)?,
        accepted: row.int(7)?,
        duplicates: row.int(8)?,
        conflicts: row.int(9)?,
        rejected: row.int(10)?,
        ignored_keys: row.text(11)?,
        first_submit: row.opt_int(12)?.map(Timestamp),
        last_submit: row.opt_int(13)?.map(Timestamp),
        ingested_at: Timestamp(row.int(14)?),
        run_no: row.opt_int(15)?,
    })
}

pub async fn list(tx: &mut Tx) -> Result<Vec<BatchRow>, StoreError> {
    tx.rows(format!("{BATCH} order by batch_no"), vec![]).await?.iter().map(batch_row).collect()
}

pub async fn find(tx: &mut Tx, batch_no: i64) -> Result<Option<BatchRow>, StoreError> {
    let row = tx.row(format!("{BATCH} where batch_no = $1"), values![batch_no]).await?;
    row.as_ref().map(batch_row).transpose()
}

/// The batch that brought this content from this source.
pub async fn by_content(
    tx: &mut Tx,
    kind: &str,
    source: &str,
    hash: &str,
) -> Result<Option<BatchRow>, StoreError> {
    let sql = format!("{BATCH} where kind = $1 and source = $2 and content_hash = $3");
    tx.row(sql, values![kind, source, hash]).await?.as_ref().map(batch_row).transpose()
}

const LINE: &str =
    "select line, verdict, reason, detail, raw, retried_in from batch_lines where batch_no = $1";

fn line_row(row: &Row) -> Result<LineRow, StoreError> {
    Ok(LineRow {
        line: row.int(0)?,
        verdict: row.text(1)?,
        reason: row.text(2)?,
        detail: row.text(3)?,
        raw: row.opt_text(4)?,
        retried_in: row.opt_int(5)?,
    })
}

/// Lines of a batch that were not simply accepted.
pub async fn lines(tx: &mut Tx, batch_no: i64) -> Result<Vec<LineRow>, StoreError> {
    let sql = format!("{LINE} order by line, verdict");
    tx.rows(sql, values![batch_no]).await?.iter().map(line_row).collect()
}

/// The first lines of a batch that were not taken: rejected, or in conflict with what is known.
pub async fn first_refused(tx: &mut Tx, batch_no: i64, limit: i64) -> Result<Vec<LineRow>, StoreError> {
    let sql = format!("{LINE} and verdict in ('rejected', 'conflict') order by line limit $2");
    tx.rows(sql, values![batch_no, limit]).await?.iter().map(line_row).collect()
}

/// Locks a batch, so that two retries of it take turns.
pub async fn lock(tx: &mut Tx, batch_no: i64) -> Result<Option<BatchRow>, StoreError> {
    let sql = format!("{BATCH} where batch_no = $1{}", for_update(tx.dialect()));
    tx.row(sql, values![batch_no]).await?.as_ref().map(batch_row).transpose()
}

/// Notes that rejected lines were taken by a later batch after all.
pub async fn mark_retried(
    tx: &mut Tx,
    batch_no: i64,
    lines: &[i64],
    retried_in: i64,
) -> Result<(), StoreError> {
    let rows = lines.iter().map(|line| values![*line, batch_no, retried_in]).collect();
    let statement = "update batch_lines set retried_in = v.retried from v where batch_lines.batch_no = v.batch \
                     and batch_lines.line = v.line and verdict = 'rejected'";
    super::with_values(tx, "line, batch, retried", rows, statement).await.map(|_| ())
}
