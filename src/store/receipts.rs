//! Receipts on their way in, and as they are kept.
//!
//! The first final receipt of a message in time wins; what comes later is the same again or a conflict (D15,
//! D46), or was reported too late to be either ([`in_time`]). Before the message is known, none of it is decided
//! ([`parked`]). Those that say no are kept a second time, apart: giving back reads only them.

mod in_time;
mod parked;
mod two_names;

pub use self::parked::judge as judge_parked;
pub use self::two_names::{list_new as list_new_deliveries, list_with_answers};

use super::arriving::{Arriving, Target};
use super::batches::{self, Ingested, NewBatch, Origin, RECEIPTS};
use super::db::{Row, Tx, values};
use super::dialect::{Bulk, CopyRows};
use super::error::StoreError;
use super::facts;
use super::failures::FAILURE;
use super::staging::{create_temporary, drop_temporary};
use crate::domain::charge::Place;
use crate::domain::message::MessageKey;
use crate::domain::period::Timestamp;
use crate::domain::receipt::{Outcome, ReceiptRow};

const STAGED: &str = "batch_no, received_at, line, id_hi, id_lo, account_id, part, slot, status, raw_status, err_code, \
    parts, report_time, source_units, raw_id, receipt_id, biz_id, recipient_hash, invalid_address";
const STAGED_LINES: &str = "line, reason, detail, raw";
const INTEGERS: &[&str] = &[
    "batch_no",
    "received_at",
    "line",
    "id_hi",
    "id_lo",
    "part",
    "parts",
    "report_time",
    "source_units",
    "recipient_hash",
    "invalid_address",
];
const TARGET: Target = Target {
    table: "receipts",
    staged: "staged_receipts",
    columns: STAGED,
    integers: INTEGERS,
    key: "id_hi, id_lo, account_id, part, slot",
};
const NAMELESS: &str = "nameless_receipts";

/// Whether some receipt names no account, so that others may name its message in another way.
pub async fn any_nameless(tx: &mut Tx) -> Result<bool, StoreError> {
    Ok(facts::get(tx, NAMELESS).await?.is_some())
}

/// A batch of receipts on its way in.
pub struct ReceiptStaging {
    rows: Arriving,
    /// The failures among those that are to go straight into their table, and their places.
    failures: CopyRows,
    open: CopyRows,
    /// The last line that went straight.
    straight_line: i64,
    last_line: i64,
    faults: Bulk,
    received_at: Timestamp,
    rejected: i64,
    /// Some tell of a part of a message.
    by_part: bool,
    /// Some name no account.
    nameless: bool,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl ReceiptStaging {
    /// `received_at` is when the batch came: it is stored with each receipt, so that a replay gives
    /// the same (D12).
    pub async fn begin(tx: &mut Tx, received_at: Timestamp) -> Result<ReceiptStaging, StoreError> {
        create_temporary(tx, "staged_lines", STAGED_LINES, INTEGERS).await?;
        Ok(ReceiptStaging {
            rows: Arriving::begin(tx, TARGET).await?,
            failures: CopyRows::new(),
            open: CopyRows::new(),
            straight_line: 0,
            last_line: 0,
            faults: Bulk::new(tx.dialect(), "staged_lines", STAGED_LINES),
            received_at,
            rejected: 0,
            by_part: false,
            nameless: false,
            first: None,
            last: None,
        })
    }

    pub async fn push(&mut self, tx: &mut Tx, line: i64, row: &ReceiptRow) -> Result<(), StoreError> {
        let reported = row.report_time.unwrap_or(self.received_at);
        let outcome = row.status.outcome();
        let slot = if outcome.is_some() { "final" } else { row.status.as_str() };
        let account_id = row.account_id.as_deref().unwrap_or("");
        let (part, parts) = (row.part.map_or(0, |part| part.number), row.part.map(|part| part.of));
        let biz_id = row.request.as_ref().map(|request| request.biz_id.as_str());
        let recipient_hash = row.request.as_ref().map(|request| request.recipient_hash);
        if row.part.is_some() && !self.by_part {
            // Whether a part contradicts a whole is asked of all lines together.
            self.by_part = true;
            self.stage(tx).await?;
        }
        self.nameless |= account_id.is_empty();
        let fields = [
            self.rows.batch_column().into(),
            self.received_at.0.into(),
            line.into(),
            row.key.hi.into(),
            row.key.lo.into(),
            account_id.into(),
            part.into(),
            slot.into(),
            row.status.as_str().into(),
            row.raw_status.as_deref().into(),
            row.err_code.as_deref().into(),
            parts.into(),
            reported.0.into(),
            row.source_units.into(),
            row.raw_id.as_deref().into(),
            row.receipt_id.as_deref().into(),
            biz_id.into(),
            recipient_hash.into(),
            row.invalid_address.then_some(1).into(),
        ];
        self.rows.push(tx, &fields).await?;
        if outcome == Some(Outcome::Failed) && self.rows.is_straight() {
            let batch_no = self.rows.batch_column();
            self.open.push(&[batch_no.into(), line.into()]);
            self.failures.push(&[
                row.key.hi.into(),
                row.key.lo.into(),
                account_id.into(),
                part.into(),
                parts.into(),
                batch_no.into(),
                line.into(),
                reported.0.into(),
                self.received_at.0.into(),
                biz_id.into(),
                recipient_hash.into(),
            ]);
        }
        self.first = Some(self.first.map_or(reported, |first| first.min(reported)));
        self.last = self.last.max(Some(reported));
        self.last_line = line;
        if self.rows.is_full() { self.write(tx).await } else { Ok(()) }
    }

    /// Writes what is in memory, failures with the receipts.
    async fn write(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        if self.straight_line == 0 && self.rows.is_straight() {
            self.rows.take_turn(tx).await?;
            if tx.int(ANY_BY_PART, vec![]).await? > 0 {
                self.stage(tx).await?;
            }
        }
        if self.rows.write(tx).await? {
            self.straight_line = self.last_line;
            self.failures.copy_into(tx, "failures", FAILURE).await?;
            self.open.copy_into(tx, "open_failures", "batch_no, line").await?;
        }
        self.failures.clear();
        self.open.clear();
        Ok(())
    }

    /// From here on rows do not go straight into their table any more.
    async fn stage(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.failures.clear();
        self.open.clear();
        self.rows.stage(tx).await
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
    ) -> Result<Ingested, StoreError> {
        self.faults.flush(tx).await?;
        self.rows.take_turn(tx).await?;
        let new = NewBatch {
            batch_no: self.rows.batch_no(),
            kind: RECEIPTS,
            origin,
            content_hash,
            ignored_keys,
            rows: self.rows.rows(),
            rejected: self.rejected,
            first: self.first,
            last: self.last,
            now: self.received_at,
        };
        let Some(batch_no) = new.add(tx).await? else {
            self.rows.undo(tx).await?;
            return new.known(tx).await.map(Ingested::Already);
        };
        self.write(tx).await?;
        self.merge(tx, batch_no).await?;
        if self.nameless && !any_nameless(tx).await? {
            facts::set(tx, NAMELESS, "1").await?;
        }
        drop_temporary(tx, &["staged_receipts", "staged_lines"]).await?;
        let taken = batches::find(tx, batch_no).await?;
        taken.map(Ingested::Taken).ok_or_else(|| StoreError::Corrupt(format!("batch {batch_no} is gone")))
    }

    async fn merge(&self, tx: &mut Tx, batch_no: i64) -> Result<(), StoreError> {
        let lines = Lines {
            batch_no,
            received_at: self.received_at,
            now: self.received_at,
            which: format!("line > {}", self.straight_line),
        };
        let staged = !self.rows.is_straight();
        if staged && (self.by_part || tx.int(ANY_BY_PART, vec![]).await? > 0) {
            lines.leave_out_parts(tx).await?;
        }
        let accepted = self.rows.merge(tx, batch_no).await?;
        let rejected = "insert into batch_lines (batch_no, line, verdict, reason, detail, raw) \
                        select $1, line, 'rejected', reason, detail, raw from staged_lines";
        tx.execute(rejected, values![batch_no]).await?;
        if staged {
            lines.keep_failures(tx).await?;
        }
        if accepted == self.rows.rows() {
            return Ok(());
        }
        let accepted = accepted + lines.judge_known(tx).await?;
        batches::correct_counts(tx, batch_no, self.rows.rows(), accepted).await
    }
}

/// Lines of a batch that were staged, to be judged.
struct Lines {
    batch_no: i64,
    received_at: Timestamp,
    /// When what they are becomes clear.
    now: Timestamp,
    /// Which of the batch's lines they are, in SQL.
    which: String,
}

impl Lines {
    /// Leaves out what tells of a part of a message after another told of the whole, or the other way round: it
    /// contradicts that (D66).
    async fn leave_out_parts(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let batch_no = self.batch_no;
        if tx.execute(PART_CONFLICTS, values![batch_no]).await? > 0 {
            // Few do; what was late among them contradicts nothing.
            index_lines(tx).await?;
            in_time::judge_parts(tx, batch_no, self.received_at).await?;
            tx.execute(FORGET_CONFLICTS, values![batch_no]).await?;
            tx.execute(PART_CONFLICTS, values![batch_no]).await?;
        } else if !parked::any(tx).await? {
            return Ok(());
        }
        parked::park_parts(tx, batch_no).await?;
        keep_conflicts(tx, batch_no).await?;
        tx.execute(LEAVE_OUT_JUDGED, values![batch_no]).await.map(|_| ())
    }

    /// Keeps those that say no a second time.
    async fn keep_failures(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let Lines { batch_no, which, .. } = self;
        let keep = format!(
            "insert into failures ({FAILURE}) select {FAILURE} from receipts \
             where batch_no = $1 and {which} and slot = 'final' and status <> 'delivered'"
        );
        if tx.execute(keep, values![*batch_no]).await? > 0 {
            let open = format!(
                "insert into open_failures (batch_no, line) \
                 select batch_no, line from failures where batch_no = $1 and {which}"
            );
            tx.execute(open, values![*batch_no]).await?;
        }
        Ok(())
    }

    /// Judges those whose place another one holds; gives how many are accepted all the same.
    async fn judge_known(&self, tx: &mut Tx) -> Result<i64, StoreError> {
        let batch_no = self.batch_no;
        let parked = parked::park(tx, batch_no).await?;
        let accepted = parked + in_time::judge(tx, batch_no, self.received_at).await?;
        tx.execute(JUDGE_KNOWN, values![batch_no]).await?;
        tx.look_up_together(true).await?;
        keep_conflicts(tx, batch_no).await?;
        tx.execute(LIST_CONFLICTS, values![batch_no, self.now.0]).await?;
        tx.execute(KNOWN_CONFLICTS, values![batch_no]).await?;
        tx.look_up_together(false).await?;
        Ok(accepted)
    }
}

const ANY_BY_PART: &str = "select count(*) from (select 1 from receipts where part > 0 limit 1) any_part";

/// Lines whose receipt is known: the same answer again, or another one. Failed, expired and rejected
/// are one answer (D81). What was parked contradicts nothing, and is not parked twice.
const JUDGE_KNOWN: &str = "insert into batch_lines (batch_no, line, verdict, reason, detail) \
    select $1, line, case when known = 1 then 'duplicate' else 'conflict' end, \
      case when known = 1 then 'known' else 'other_status' end, detail from ( \
      select s.line, case when (s.status = 'delivered') = (r.status = 'delivered') or s.slot <> 'final' \
          or exists (select 1 from receipts p where p.id_hi = s.id_hi and p.id_lo = s.id_lo \
            and p.account_id = s.account_id and p.part = s.part and p.slot like 'parked %') then 1 else 0 end known, \
        'receipt is known from batch ' || cast(r.batch_no as text) || ' line ' || cast(r.line as text) \
        || case when s.status = r.status then '' else '; status ' || s.status || ', was ' || r.status end as detail \
      from staged_receipts s join receipts r on r.id_hi = s.id_hi and r.id_lo = s.id_lo \
        and r.account_id = s.account_id and r.part = s.part and r.slot = s.slot \
      where not (r.batch_no = $1 and r.line = s.line) \
        and not exists (select 1 from batch_lines l where l.batch_no = $1 and l.line = s.line)) judged";

/// The first final receipt of a message says how the source answers for it: whole, or by parts. A
/// line that contradicts it is left out, and so says nothing to those after it.
const PART_CONFLICTS: &str = "insert into batch_lines (batch_no, line, verdict, reason, detail) \
    select $1, s.line, 'conflict', 'part_and_whole', \
           case when s.part = 0 then 'an earlier receipt told of parts of the message' \
                else 'an earlier receipt told of the whole message' end \
    from staged_receipts s \
    join (select id_hi, id_lo, account_id, min(line) as line from staged_receipts where slot = 'final' \
          group by id_hi, id_lo, account_id) first \
      on first.id_hi = s.id_hi and first.id_lo = s.id_lo and first.account_id = s.account_id \
    join staged_receipts o on o.line = first.line \
    where s.slot = 'final' and sign(s.part) <> coalesce( \
      (select sign(min(r.part)) from receipts r where r.id_hi = s.id_hi and r.id_lo = s.id_lo \
       and r.account_id = s.account_id and r.slot = 'final'), sign(o.part))";

const FORGET_CONFLICTS: &str = "delete from batch_lines where batch_no = $1 and reason = 'part_and_whole' \
    and line in (select line from staged_receipts)";

const LEAVE_OUT_JUDGED: &str =
    "delete from staged_receipts where line in (select line from batch_lines where batch_no = $1)";

/// Staged lines are looked up one by one from here on: without an index each would cost a look at all of them.
async fn index_lines(tx: &mut Tx) -> Result<(), StoreError> {
    let sql = "create index if not exists staged_receipts_line on staged_receipts (line)";
    tx.execute(sql, vec![]).await.map(|_| ())
}

/// A receipt that contradicts another is kept beside it, the first of each answer.
async fn keep_conflicts(tx: &mut Tx, batch_no: i64) -> Result<(), StoreError> {
    let any = "select count(*) from (select 1 from batch_lines where batch_no = $1 and verdict = 'conflict' \
               limit 1) any_conflict";
    if tx.int(any, values![batch_no]).await? == 0 {
        return Ok(());
    }
    index_lines(tx).await?;
    let answer = "case when s.status = 'delivered' then 'conflict delivered' else 'conflict failed' end";
    let kept: Vec<String> = STAGED
        .split(", ")
        .map(|column| match column {
            "batch_no" => "l.batch_no".to_owned(),
            "slot" => answer.to_owned(),
            _ => format!("s.{column}"),
        })
        .collect();
    let sql = format!(
        "insert into receipts ({STAGED}) select {} \
         from batch_lines l join staged_receipts s on s.line = l.line \
         where l.batch_no = $1 and l.verdict = 'conflict' order by l.line on conflict do nothing",
        kept.join(", ")
    );
    tx.execute(sql, values![batch_no]).await.map(|_| ())
}

/// Contradictions wait for an operator: whose word counts is nothing that can be known here (D15).
const LIST_CONFLICTS: &str = "insert into exceptions (kind, account_id, id_hi, id_lo, part, batch_no, line, \
      detail, opened_at) \
    select case when l.reason = 'late_arrival' then l.reason else 'conflict' end, r.account_id, r.id_hi, r.id_lo, \
      r.part, r.batch_no, r.line, l.detail, $2 \
    from receipts r join batch_lines l on l.batch_no = r.batch_no and l.line = r.line and l.verdict = 'conflict' \
    where r.batch_no = $1 and r.slot in ('conflict delivered', 'conflict failed') \
      and not exists (select 1 from exceptions e where e.kind in ('conflict', 'late_arrival') \
        and e.batch_no = r.batch_no and e.line = r.line) order by r.line";

/// The same contradiction again is no news.
const KNOWN_CONFLICTS: &str = "update batch_lines set verdict = 'duplicate', reason = 'known', \
      detail = detail || '; that was listed before' \
    where batch_no = $1 and verdict = 'conflict' and line not in (select r.line from receipts r \
      where r.batch_no = $1 and r.slot in ('conflict delivered', 'conflict failed'))";

/// A receipt as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReceipt {
    pub part: i64,
    pub parts: Option<i64>,
    pub status: String,
    pub is_final: bool,
    /// It says otherwise than the final one, and does not count unless an operator says so (D15).
    pub is_conflict: bool,
    /// It was reported after 72 hours, and another one in time (D14).
    pub is_late: bool,
    /// Other messages answer to it, too: it counts for none unless an operator says so.
    pub is_ambiguous: bool,
    pub raw_status: Option<String>,
    pub err_code: Option<String>,
    pub report_time: Timestamp,
    pub received_at: Timestamp,
    pub place: Place,
}

/// The receipts of a message, in order of arrival: by its key, or by its request and recipient.
pub async fn of_message(
    tx: &mut Tx,
    account_id: &str,
    key: MessageKey,
) -> Result<Vec<StoredReceipt>, StoreError> {
    let columns = "r.part, r.parts, r.status, r.slot, r.raw_status, r.err_code, r.report_time, r.received_at, \
                   r.batch_no, r.line, cast(case \
                     when r.account_id = '' and exists (select 1 from messages o where o.id_hi = r.id_hi \
                       and o.id_lo = r.id_lo and o.account_id <> $1) then 1 \
                     when r.biz_id is not null and exists (select 1 from messages o where o.biz_id = r.biz_id \
                       and o.recipient_hash = r.recipient_hash and r.account_id in (o.account_id, '') \
                       and not (o.account_id = $1 and o.id_hi = $2 and o.id_lo = $3)) then 1 \
                     else 0 end as bigint)";
    let sql = format!(
        "select {columns} from receipts r where r.id_hi = $2 and r.id_lo = $3 and r.account_id in ($1, '') \
         union select {columns} from messages m join receipts r on r.biz_id = m.biz_id \
           and r.recipient_hash = m.recipient_hash and r.account_id in ($1, '') \
         where m.account_id = $1 and m.id_hi = $2 and m.id_lo = $3 and m.biz_id is not null \
         order by 9, 10"
    );
    let receipt = |row: &Row| {
        Ok(StoredReceipt {
            part: row.int(0)?,
            parts: row.opt_int(1)?,
            status: row.text(2)?,
            is_final: row.text(3)? == "final",
            is_conflict: row.text(3)?.starts_with("conflict"),
            is_late: ["late", "superseded"].contains(&row.text(3)?.as_str()),
            raw_status: row.opt_text(4)?,
            err_code: row.opt_text(5)?,
            is_ambiguous: row.int(10)? == 1,
            report_time: Timestamp(row.int(6)?),
            received_at: Timestamp(row.int(7)?),
            place: Place { batch_no: row.int(8)?, line: row.int(9)? },
        })
    };
    tx.rows(sql, values![account_id, key.hi, key.lo]).await?.iter().map(receipt).collect()
}
