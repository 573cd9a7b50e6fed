//! A batch of messages on its way in: the same message again is a duplicate, anything else of its id a
//! conflict.

use super::arriving::{Arriving, Target};
use super::batches::{Ingested, MESSAGES, NewBatch, Origin, correct_counts, find};
use super::db::{Dialect, Tx, values};
use super::dialect::Bulk;
use super::error::StoreError;
use super::receipts::judge_parked;
use super::retention::Retired;
use crate::domain::message::{Disposition, MessageRow};
use crate::domain::period::Timestamp;

const STAGED: &str = "batch_no, line, account_id, id_hi, id_lo, product, template_type, country, disposition, \
    reject_code, units, submit_time, raw_id, biz_id, out_id, recipient_hash, source_units";
const STAGED_LINES: &str = "line, verdict, reason, detail, raw";
const INTEGERS: &[&str] =
    &["batch_no", "line", "id_hi", "id_lo", "units", "submit_time", "recipient_hash", "source_units"];
const TARGET: Target = Target {
    table: "messages",
    staged: "staged",
    columns: STAGED,
    integers: INTEGERS,
    key: "account_id, id_hi, id_lo",
};

/// A batch on its way in.
pub struct Staging {
    rows: Arriving,
    faults: Bulk,
    rejected: i64,
    first_submit: Option<Timestamp>,
    last_submit: Option<Timestamp>,
}

impl Staging {
    pub async fn begin(tx: &mut Tx) -> Result<Staging, StoreError> {
        create_temporary(tx, "staged_lines", STAGED_LINES, INTEGERS).await?;
        let rows = Arriving::begin(tx, TARGET).await?;
        let faults = Bulk::new(tx.dialect(), "staged_lines", STAGED_LINES);
        Ok(Staging { rows, faults, rejected: 0, first_submit: None, last_submit: None })
    }

    pub async fn push(&mut self, tx: &mut Tx, line: i64, row: &MessageRow) -> Result<(), StoreError> {
        let disposition = match row.disposition {
            Disposition::Billable if row.too_long => Some("too_long"),
            Disposition::Billable => None,
            other => Some(other.as_str()),
        };
        let fields = [
            self.rows.batch_column().into(),
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
        self.first_submit = Some(self.first_submit.map_or(row.submit_time, |t| t.min(row.submit_time)));
        self.last_submit = self.last_submit.max(Some(row.submit_time));
        self.rows.push(tx, &fields).await?;
        if self.rows.is_full() {
            self.rows.write(tx).await?;
        }
        Ok(())
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
        self.rejected += 1;
        self.faults.flush_full(tx).await
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
        self.faults.flush(tx).await?;
        self.rows.take_turn(tx).await?;
        // What was retired while the file was read is not known any more, and would be charged again.
        let retired = Retired::load(tx).await?;
        if self.first_submit.is_some_and(|first| first < retired.before) {
            return Err(StoreError::RetiredMeanwhile);
        }
        let new = NewBatch {
            batch_no: self.rows.batch_no(),
            kind: MESSAGES,
            origin,
            content_hash,
            ignored_keys,
            rows: self.rows.rows(),
            rejected: self.rejected,
            first: self.first_submit,
            last: self.last_submit,
            now,
        };
        let Some(batch_no) = new.add(tx).await? else {
            self.rows.undo(tx).await?;
            return new.known(tx).await.map(Ingested::Already);
        };
        self.rows.write(tx).await?;
        self.merge(tx, batch_no).await?;
        judge_parked(tx, batch_no, now).await?;
        drop_temporary(tx, &["staged", "staged_lines"]).await?;
        let taken = find(tx, batch_no).await?;
        taken.map(Ingested::Taken).ok_or_else(|| StoreError::Corrupt(format!("batch {batch_no} is gone")))
    }

    async fn merge(&self, tx: &mut Tx, batch_no: i64) -> Result<(), StoreError> {
        let accepted = self.rows.merge(tx, batch_no).await?;
        if tx.dialect() == Dialect::Postgres {
            tx.rows(SUMMARIZE, vec![]).await?;
        }
        let lines = "insert into batch_lines (batch_no, line, verdict, reason, detail, raw) \
                     select $1, line, verdict, reason, detail, raw from staged_lines";
        tx.execute(lines, values![batch_no]).await?;
        if accepted == self.rows.rows() {
            return Ok(());
        }
        tx.execute(judge_known(), values![batch_no]).await?;
        correct_counts(tx, batch_no, self.rows.rows(), accepted).await
    }
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
