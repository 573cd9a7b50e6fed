//! Deliveries that were told after a failure, which names the message in another way: with its account or without,
//! by its id or by a request and a recipient. They contradict it, and nothing was there to see it when they came
//! in (D15, D46). A failure that was told after a delivery is seen when it is settled.

use super::any_nameless;
use crate::domain::period::Timestamp;
use crate::domain::product::REFUND_WINDOW;
use crate::store::db::{Tx, values};
use crate::store::{StoreError, facts};

/// The last batches whose deliveries were looked at, the time before last and the last time.
const LOOKED_AT: &str = "deliveries_of_two_names";

/// Lists deliveries `d` of messages `m` that had failed by `f` before, in time, and were not charged for it or
/// given back. One that other messages answer to, too, contradicts nothing. `cross join` keeps SQLite to this
/// order: few of the first, many of the others.
fn list(first: &str, first_by: &str, second: &str, second_by: &str) -> String {
    let by = |receipt: &str, message: &str, by: &str| match by {
        "id" => format!("{message}.id_hi = {receipt}.id_hi and {message}.id_lo = {receipt}.id_lo"),
        _ => format!(
            "{message}.biz_id = {receipt}.biz_id and {message}.recipient_hash = {receipt}.recipient_hash"
        ),
    };
    let alias = |from: &str| from.chars().last().map(String::from).unwrap_or_default();
    let (one, other) = (alias(first), alias(second));
    let others = ["id", "request"].map(|way| {
        format!(
            "not exists (select 1 from messages o where {} and d.account_id in ('', o.account_id) \
             and (o.account_id <> m.account_id or o.id_hi <> m.id_hi or o.id_lo <> m.id_lo))",
            by("d", "o", way)
        )
    });
    let of_message = "t.account_id = m.account_id and t.id_hi = m.id_hi and t.id_lo = m.id_lo";
    format!(
        "insert into exceptions (kind, account_id, id_hi, id_lo, part, batch_no, line, detail, opened_at) \
         select distinct 'conflict', m.account_id, d.id_hi, d.id_lo, d.part, d.batch_no, d.line, \
           'an earlier receipt, which names the message in another way, tells otherwise', cast($1 as bigint) \
         from {first} cross join messages m cross join {second} \
         where {} and {one}.account_id in ('', m.account_id) \
           and {} and {other}.account_id in (m.account_id, '') \
           and d.slot = 'final' and d.status = 'delivered' and d.report_time - m.submit_time <= {REFUND_WINDOW} \
           and f.report_time - m.submit_time <= {REFUND_WINDOW} and (f.batch_no, f.line) < (d.batch_no, d.line) \
           and (f.account_id <> d.account_id or f.id_hi <> d.id_hi or f.id_lo <> d.id_lo) \
           and (f.part = d.part or sign(f.part) <> sign(d.part)) \
           and (exists (select 1 from returns t where {of_message}) \
             or exists (select 1 from not_charged t where {of_message})) \
           and {} and not exists (select 1 from exceptions e where e.kind = 'conflict' and e.batch_no = d.batch_no \
             and e.line = d.line) \
         order by d.batch_no, d.line",
        by(&one, "m", first_by),
        by(&other, "m", second_by),
        others.join(" and "),
    )
}

async fn list_all(tx: &mut Tx, first: &str, second: &str, now: Timestamp) -> Result<i64, StoreError> {
    let mut listed = 0;
    tx.look_up_one_by_one(true).await?;
    for first_by in ["id", "request"] {
        for second_by in ["id", "request"] {
            listed += tx.execute(list(first, first_by, second, second_by), values![now.0]).await?;
        }
    }
    tx.look_up_one_by_one(false).await?;
    Ok(listed as i64)
}

/// Whether a message may be named in two ways at all.
async fn may_be(tx: &mut Tx) -> Result<bool, StoreError> {
    let by_request = "select count(*) from (select 1 from receipts where biz_id is not null limit 1) found";
    Ok(any_nameless(tx).await? || tx.int(by_request, vec![]).await? > 0)
}

/// Lists those that had come when the failures in the temporary table `answered` were answered; gives how many.
pub async fn list_with_answers(tx: &mut Tx, now: Timestamp) -> Result<i64, StoreError> {
    if !may_be(tx).await? {
        return Ok(0);
    }
    let answered = "(select f.* from answered v join failures f on f.batch_no = v.batch_no and f.line = v.line \
                    where v.answer in ('returned', 'not_charged')) f";
    list_all(tx, answered, "receipts d", now).await
}

/// Lists those that came since the last time, and the time before: a batch may have been on its way then. Gives
/// how many.
pub async fn list_new(tx: &mut Tx, now: Timestamp) -> Result<i64, StoreError> {
    let first =
        "select coalesce(min(batch_no), 1) - 1 from batches where kind = 'receipts' and closed_by is null";
    let last = "select coalesce(max(batch_no), 0) from batches where kind = 'receipts'";
    let last = tx.int(last, vec![]).await?;
    let (from, before) = match facts::pair(tx, LOOKED_AT).await? {
        Some(pair) => pair,
        None => (tx.int(first, vec![]).await?, 0),
    };
    if last == before || !may_be(tx).await? {
        return Ok(0);
    }
    facts::set_pair(tx, LOOKED_AT, (from.max(before), last)).await?;
    let new = format!(
        "(select * from receipts where batch_no > {from} and batch_no <= {last} and slot = 'final' \
         and status = 'delivered') d"
    );
    if is_fewer_failures(tx, (from, last)).await? {
        let failed = "(select * from failures where answer in ('returned', 'not_charged')) f";
        return list_all(tx, failed, &new, now).await;
    }
    let failed = "(select * from receipts where slot = 'final' and status <> 'delivered') f";
    list_all(tx, &new, failed, now).await
}

/// Whether there are fewer failures in all than new receipts: the few are looked at one by one.
async fn is_fewer_failures(tx: &mut Tx, (from, last): (i64, i64)) -> Result<bool, StoreError> {
    let new = "select coalesce(sum(accepted), 0) from batches where kind = 'receipts' and batch_no > $1 \
               and batch_no <= $2";
    let new = tx.int(format!("select cast(({new}) as bigint)"), values![from, last]).await?;
    let failures = format!("select count(*) from (select 1 from failures limit {new}) f");
    Ok(tx.int(failures, vec![]).await? < new)
}
