//! Receipts beside the one that holds the place of a message that has not come yet (D18).
//!
//! Which of them is in time is known by their message alone, so none of them is late or contradicts another: each
//! that may turn out to count is parked, and judged when the message comes, in order of arrival, as it would have
//! been had the message been known (D14, D15, D46).

use super::{Lines, STAGED, TARGET, index_lines};
use crate::domain::period::Timestamp;
use crate::store::StoreError;
use crate::store::arriving::insert_but_known;
use crate::store::batches::{self, correct_counts};
use crate::store::db::{Tx, values};
use crate::store::staging::{create_temporary, drop_temporary};

/// That no message answers to a receipt `s`.
const UNKNOWN: &str = "not exists (select 1 from messages m where m.id_hi = s.id_hi and m.id_lo = s.id_lo \
      and s.account_id in ('', m.account_id)) \
    and (s.biz_id is null or not exists (select 1 from messages m where m.biz_id = s.biz_id \
      and m.recipient_hash = s.recipient_hash and s.account_id in ('', m.account_id)))";

/// The lines `s` that tell of parts where another told of the whole, or the other way round.
fn part_and_whole(batch_no: i64) -> String {
    format!(
        "s.line in (select line from batch_lines where batch_no = {batch_no} and reason = 'part_and_whole')"
    )
}

/// The first of the staged finals that say the same of the same, and such as were reported earlier than all
/// before them: only those can be the first one in time. The others say what is known.
async fn mark(tx: &mut Tx, batch_no: i64, which: &str) -> Result<u64, StoreError> {
    let sql = format!(
        "update staged_receipts set slot = 'parked {batch_no} ' || cast(line as text) where line in ( \
           select line from (select s.line, s.report_time, min(s.report_time) over ( \
               partition by s.id_hi, s.id_lo, s.account_id, s.part, \
                 case when s.status = 'delivered' then 1 else 0 end \
               order by s.line rows between unbounded preceding and 1 preceding) as earliest \
             from staged_receipts s where s.slot = 'final' and {which} and not exists (select 1 from receipts r \
               where r.id_hi = s.id_hi and r.id_lo = s.id_lo and r.account_id = s.account_id and r.part = s.part \
               and (r.slot = 'final' or r.slot like 'parked %') and r.report_time <= s.report_time \
               and (r.status = 'delivered') = (s.status = 'delivered')) and {UNKNOWN}) n \
           where earliest is null or report_time < earliest)"
    );
    tx.execute(sql, vec![]).await
}

/// Whether any receipt waits for its message beside another.
pub async fn any(tx: &mut Tx) -> Result<bool, StoreError> {
    let any = "select count(*) from (select 1 from receipts where slot like 'parked %' limit 1) parked";
    Ok(tx.int(any, vec![]).await? > 0)
}

/// Those that come after such a one: whether their source answers for parts or for the whole is not decided.
const BESIDE: &str = "(exists (select 1 from receipts p where p.id_hi = s.id_hi and p.id_lo = s.id_lo \
      and p.account_id = s.account_id and p.slot like 'parked %' and sign(p.part) <> sign(s.part)) \
    or exists (select 1 from staged_receipts p where p.id_hi = s.id_hi and p.id_lo = s.id_lo \
      and p.account_id = s.account_id and p.slot like 'parked %' and sign(p.part) <> sign(s.part) \
      and p.line < s.line))";

/// Parks what tells of parts of an unknown message where another told of the whole, or the other way round, and
/// what comes after that.
pub(super) async fn park_parts(tx: &mut Tx, batch_no: i64) -> Result<(), StoreError> {
    let key = "create index if not exists staged_receipts_key on staged_receipts (id_hi, id_lo)";
    tx.execute(key, vec![]).await?;
    let other_way = part_and_whole(batch_no);
    mark(tx, batch_no, &other_way).await?;
    mark(tx, batch_no, BESIDE).await?;
    let known = format!(
        "insert into batch_lines (batch_no, line, verdict, reason, detail) \
         select $1, s.line, 'duplicate', 'known', 'the receipt is known, and waits for its message' \
         from staged_receipts s where s.slot = 'final' and ({other_way} or {BESIDE}) and {UNKNOWN}"
    );
    tx.execute(known, values![batch_no]).await?;
    let contradict_nothing = "delete from batch_lines where batch_no = $1 and reason = 'part_and_whole' \
        and (line in (select line from staged_receipts where slot like 'parked %') \
          or line in (select line from batch_lines where batch_no = $1 and verdict = 'duplicate'))";
    tx.execute(contradict_nothing, values![batch_no]).await.map(|_| ())
}

/// Parks the staged lines of unknown messages whose place another one holds; gives how many.
pub(super) async fn park(tx: &mut Tx, batch_no: i64) -> Result<i64, StoreError> {
    if mark(tx, batch_no, "0 = 0").await? == 0 {
        return Ok(0);
    }
    let columns = STAGED.replace("batch_no, ", "");
    let sql = format!(
        "insert into receipts (batch_no, {columns}) select $1, {columns} from staged_receipts \
         where slot like 'parked %' on conflict do nothing"
    );
    Ok(tx.execute(sql, values![batch_no]).await? as i64)
}

/// Judges the parked receipts of the messages that a batch brought, as if they came in again. `now` is when
/// the batch came.
pub async fn judge(tx: &mut Tx, messages: i64, now: Timestamp) -> Result<(), StoreError> {
    if !any(tx).await? {
        return Ok(());
    }
    // Each message is looked up by its id: the plus keeps databases from reading the whole batch for it.
    let came = format!(
        "r.slot like 'parked %' and (exists (select 1 from messages m where m.id_hi = r.id_hi \
           and m.id_lo = r.id_lo and r.account_id in ('', m.account_id) and +m.batch_no = {messages}) \
         or r.biz_id is not null and exists (select 1 from messages m where m.biz_id = r.biz_id \
           and m.recipient_hash = r.recipient_hash \
           and r.account_id in ('', m.account_id) and +m.batch_no = {messages}))"
    );
    let batches =
        format!("select distinct r.batch_no, r.received_at from receipts r where {came} order by 1");
    let batches = tx.rows(batches, vec![]).await?;
    if batches.is_empty() {
        return Ok(());
    }
    create_temporary(tx, TARGET.staged, STAGED, TARGET.integers).await?;
    index_lines(tx).await?;
    for row in batches {
        let batch_no = row.int(0)?;
        let lines = Lines {
            batch_no,
            received_at: Timestamp(row.int(1)?),
            now,
            which: "line in (select line from staged_receipts)".to_owned(),
        };
        judge_batch(tx, &lines, &came).await?;
        tx.execute("delete from staged_receipts", vec![]).await?;
    }
    drop_temporary(tx, &[TARGET.staged]).await
}

/// Takes the parked receipts of a batch that are of such messages up again.
async fn judge_batch(tx: &mut Tx, lines: &Lines, came: &str) -> Result<(), StoreError> {
    let batch_no = lines.batch_no;
    let unslotted = STAGED.replace("slot", "'final'");
    let stage = format!(
        "insert into staged_receipts ({STAGED}) select {unslotted} from receipts r \
         where {came} and r.batch_no = $1 order by r.line"
    );
    let staged = tx.execute(stage, values![batch_no]).await? as i64;
    let parked = "delete from receipts where slot like 'parked %' and batch_no = $1 \
                  and line in (select line from staged_receipts)";
    tx.execute(parked, values![batch_no]).await?;
    let batch = batches::find(tx, batch_no).await?;
    let batch = batch.ok_or_else(|| StoreError::Corrupt(format!("batch {batch_no} is gone")))?;
    lines.leave_out_parts(tx).await?;
    let accepted = insert_but_known(tx, TARGET, batch_no).await?;
    lines.keep_failures(tx).await?;
    let accepted = accepted + lines.judge_known(tx).await?;
    let rows = batch.accepted + batch.duplicates + batch.conflicts;
    correct_counts(tx, batch_no, rows, batch.accepted - staged + accepted).await
}
