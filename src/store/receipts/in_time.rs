//! Whose receipt holds its message's place: the first final one that was reported within 72 hours. One that
//! was reported later is recorded, and counts for nothing where another was in time (D14, D15, D46).
//!
//! Whether a receipt was in time is known by its message. Where that has not come yet the first holds the
//! place, and others wait beside it ([`parked`](super::parked)).

use std::collections::BTreeMap;

use super::{STAGED, index_lines};
use crate::domain::period::Timestamp;
use crate::domain::product::{RECEIPT_GRACE, REFUND_WINDOW};
use crate::store::StoreError;
use crate::store::db::{Row, Tx, values};
use crate::store::failures::{FAILURE, TAKES_PLACE};

/// Receipts that are known by another final one, where time may decide between them: they tell otherwise, or
/// the later one was reported earlier.
const RIVALS: &str = "select s.line, s.id_hi, s.id_lo, s.account_id, s.part, s.status, s.report_time, \
      r.status, r.report_time, m.account_id, m.id_hi, m.id_lo, m.submit_time \
    from staged_receipts s join receipts r on r.id_hi = s.id_hi and r.id_lo = s.id_lo \
      and r.account_id = s.account_id and r.part = s.part and r.slot = 'final' \
    join messages m on s.account_id in ('', m.account_id) and {by} \
    where s.slot = 'final' and not (r.batch_no = $1 and r.line = s.line) \
      and ((s.status = 'delivered') <> (r.status = 'delivered') or s.report_time < r.report_time)";
const BY: [&str; 2] = [
    "m.id_hi = s.id_hi and m.id_lo = s.id_lo",
    "m.biz_id = s.biz_id and m.recipient_hash = s.recipient_hash",
];

/// The receipts of one key: id, account and part.
type Key = (i64, i64, String, i64);

/// One that came in, against the one that holds the place.
struct Rival {
    line: i64,
    key: Key,
    delivered: bool,
    reported: i64,
    holder_delivered: bool,
    holder_reported: i64,
    /// Account, id and submit time.
    message: (String, i64, i64, i64),
}

fn rival(row: &Row) -> Result<Rival, StoreError> {
    Ok(Rival {
        line: row.int(0)?,
        key: (row.int(1)?, row.int(2)?, row.text(3)?, row.int(4)?),
        delivered: row.text(5)? == "delivered",
        reported: row.int(6)?,
        holder_delivered: row.text(7)? == "delivered",
        holder_reported: row.int(8)?,
        message: (row.text(9)?, row.int(10)?, row.int(11)?, row.int(12)?),
    })
}

/// Gives places to those in time, and records those that were late; gives how many lines are accepted by it.
/// Who comes after the grace takes no place any more: what was final by then stays so. A failure that was in
/// time, and is known by one that was not, is listed then (D47).
pub async fn judge(tx: &mut Tx, batch_no: i64, received_at: Timestamp) -> Result<i64, StoreError> {
    let mut rivals: BTreeMap<i64, Vec<Rival>> = BTreeMap::new();
    let requests =
        "select count(*) from (select 1 from staged_receipts where biz_id is not null limit 1) any_request";
    let ways = if tx.int(requests, vec![]).await? > 0 { &BY[..] } else { &BY[..1] };
    for by in ways {
        for row in tx.rows(RIVALS.replace("{by}", by), values![batch_no]).await? {
            let rival = rival(&row)?;
            rivals.entry(rival.line).or_default().push(rival);
        }
    }
    if !rivals.is_empty() {
        index_lines(tx).await?;
    }
    let mut accepted = 0;
    // Who holds a place that was taken over in this batch.
    let mut holders: BTreeMap<Key, (bool, i64)> = BTreeMap::new();
    for found in rivals.into_values() {
        let Some(rival) = found.first() else { continue };
        // Of several messages it can't be told which one it is.
        if found.iter().any(|other| other.message != rival.message) {
            continue;
        }
        let in_time = |reported: i64| reported.saturating_sub(rival.message.3) <= REFUND_WINDOW;
        let first = (rival.holder_delivered, rival.holder_reported);
        let (holder_delivered, holder_reported) = holders.get(&rival.key).copied().unwrap_or(first);
        let in_grace = received_at.0.saturating_sub(rival.message.3) <= REFUND_WINDOW + RECEIPT_GRACE;
        match (in_time(rival.reported), in_time(holder_reported)) {
            (true, false) if in_grace => {
                take_over(tx, batch_no, rival).await?;
                holders.insert(rival.key.clone(), (rival.delivered, rival.reported));
                accepted += 1;
            }
            (true, false) if !rival.delivered && !holder_delivered => {
                tx.execute(LATE_ARRIVAL, values![batch_no, rival.line]).await?;
            }
            (false, _) if rival.delivered != holder_delivered => {
                accepted += record(tx, batch_no, rival.line).await?
            }
            // The first stands, and what tells otherwise is listed.
            _ => {}
        }
    }
    Ok(accepted)
}

/// A failure reported in time that came after the grace, where one that was reported late is known.
const LATE_ARRIVAL: &str = "insert into batch_lines (batch_no, line, verdict, reason, detail) \
    select $1, s.line, 'conflict', 'late_arrival', 'it came more than 96 hours after submission; batch ' \
      || cast(r.batch_no as text) || ' line ' || cast(r.line as text) || ' tells of the same failure, and was \
reported after 72 hours' \
    from staged_receipts s join receipts r on r.id_hi = s.id_hi and r.id_lo = s.id_lo \
      and r.account_id = s.account_id and r.part = s.part and r.slot = 'final' where s.line = $2";

async fn take_over(tx: &mut Tx, batch_no: i64, rival: &Rival) -> Result<(), StoreError> {
    let (hi, lo, account_id, part) = &rival.key;
    let of_key = "id_hi = $1 and id_lo = $2 and account_id = $3 and part = $4";
    let key = || values![*hi, *lo, account_id, *part];
    let leave = format!("update receipts set slot = 'superseded' where {of_key} and slot = 'final'");
    tx.execute(leave, key()).await?;
    // It may have come in this batch, and been accepted: it is not judged a second time.
    let taken = format!(
        "delete from staged_receipts where line in (select line from receipts where {of_key} \
         and slot = 'superseded' and batch_no = $5)"
    );
    tx.execute(taken, values![*hi, *lo, account_id, *part, batch_no]).await?;
    keep(tx, batch_no, rival.line).await?;
    if rival.delivered {
        // The failure that was late is answered as such, if it is not yet.
        return Ok(());
    }
    let close = format!(
        "delete from open_failures where (batch_no, line) in (select batch_no, line from failures where {of_key})"
    );
    tx.execute(close, key()).await?;
    let open = format!(
        "insert into failures ({FAILURE}) select {FAILURE} from receipts where batch_no = $1 and line = $2 \
         and slot = 'final' on conflict (id_hi, id_lo, account_id, part) do update set {TAKES_PLACE}"
    );
    tx.execute(open, values![batch_no, rival.line]).await?;
    let open = "insert into open_failures (batch_no, line) values ($1, $2)";
    tx.execute(open, values![batch_no, rival.line]).await?;
    Ok(())
}

/// Records a receipt that was late beside the one that holds the place; 1 where it is the first such one. The
/// one that held the place before may have told the same.
async fn record(tx: &mut Tx, batch_no: i64, line: i64) -> Result<i64, StoreError> {
    let sql = "update staged_receipts set slot = case when exists (select 1 from receipts r \
                 where r.id_hi = staged_receipts.id_hi and r.id_lo = staged_receipts.id_lo \
                 and r.account_id = staged_receipts.account_id and r.part = staged_receipts.part \
                 and r.slot = 'superseded' and r.status = staged_receipts.status) \
               then 'superseded' else 'late' end where line = $1";
    tx.execute(sql, values![line]).await?;
    keep(tx, batch_no, line).await
}

/// Moves a staged line into its table, unless its slot is taken.
async fn keep(tx: &mut Tx, batch_no: i64, line: i64) -> Result<i64, StoreError> {
    let columns = STAGED.replace("batch_no, ", "");
    let sql = format!(
        "insert into receipts (batch_no, {columns}) select $1, {columns} from staged_receipts where line = $2 \
         on conflict do nothing"
    );
    Ok(i64::from(tx.execute(sql, values![batch_no, line]).await? > 0))
}

/// The final receipts, of those kept or of those on their way in, of messages of which some of these tell of a
/// part and others of the whole.
const BESIDES: &str = "select {line}, x.id_hi, x.id_lo, x.account_id, x.part, x.report_time, \
      m.account_id, m.id_hi, m.id_lo, m.submit_time \
    from (select distinct s.id_hi, s.id_lo, s.account_id from batch_lines l \
        join staged_receipts s on s.line = l.line where l.batch_no = $1 and l.reason = 'part_and_whole') k \
      join {of} x on x.id_hi = k.id_hi and x.id_lo = k.id_lo and x.account_id = k.account_id and x.slot = 'final' \
      join messages m on x.account_id in ('', m.account_id) and {by}";

/// A receipt of a part or of the whole, where others tell of the other.
struct Beside {
    /// Where it is on its way in.
    line: Option<i64>,
    /// Id and account of all of them.
    of: (i64, i64, String),
    part: i64,
    reported: i64,
    message: (String, i64, i64, i64),
}

fn beside(row: &Row) -> Result<Beside, StoreError> {
    Ok(Beside {
        line: row.opt_int(0)?,
        of: (row.int(1)?, row.int(2)?, row.text(3)?),
        part: row.int(4)?,
        reported: row.int(5)?,
        message: (row.text(6)?, row.int(7)?, row.int(8)?, row.int(9)?),
    })
}

/// Lets receipts in time tell of parts where a late one told of the whole, and the other way round: the late
/// one is recorded, and contradicts nothing, not even what was late before it (D14, D66). After the grace nobody
/// takes a place. What contradicts by parts is listed for the batch before.
pub async fn judge_parts(tx: &mut Tx, batch_no: i64, received_at: Timestamp) -> Result<(), StoreError> {
    let mut besides: BTreeMap<(i64, i64, String), Vec<Beside>> = BTreeMap::new();
    for by in BY {
        let by = by.replace("s.", "x.");
        for (of, line) in [("staged_receipts", "x.line"), ("receipts", "cast(null as bigint)")] {
            let sql = BESIDES.replace("{line}", line).replace("{of}", of).replace("{by}", &by);
            for row in tx.rows(sql, values![batch_no]).await? {
                let beside = beside(&row)?;
                besides.entry(beside.of.clone()).or_default().push(beside);
            }
        }
    }
    for ((hi, lo, account_id), found) in besides {
        let Some(message) = found.first().map(|first| &first.message) else { continue };
        // Of several messages it can't be told which one it is.
        if found.iter().any(|other| other.message != *message) {
            continue;
        }
        let after = |at: i64| at.saturating_sub(message.3);
        let is_late = |beside: &Beside| after(beside.reported) > REFUND_WINDOW;
        let in_grace = after(received_at.0) <= REFUND_WINDOW + RECEIPT_GRACE;
        let gives_way = |late: &&Beside| {
            let takes = |other: &Beside| {
                let recorded = late.line.is_some() && (!is_late(other) || other.line < late.line);
                let taken_over = !is_late(other) && other.line.is_some() && in_grace;
                (other.part == 0) != (late.part == 0) && (recorded || taken_over)
            };
            is_late(late) && found.iter().any(takes)
        };
        for late in found.iter().filter(gives_way) {
            match late.line {
                Some(line) => {
                    let sql = "update staged_receipts set slot = 'late' where line = $1";
                    tx.execute(sql, values![line]).await?;
                }
                None => {
                    let sql = "update receipts set slot = 'superseded' where id_hi = $1 and id_lo = $2 \
                               and account_id = $3 and part = $4 and slot = 'final'";
                    tx.execute(sql, values![hi, lo, &*account_id, late.part]).await?;
                }
            }
        }
    }
    Ok(())
}
