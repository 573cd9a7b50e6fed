//! Messages and receipts that are no longer kept: which nothing needs any more, and what is kept of them
//! (D71, F50, F95, I36).
//!
//! They go by charging run. A run is retired once everything that it charged was sent before the time up to
//! which messages are kept, is final, billed and counted; a message of it that somebody may still decide
//! about stays until that is done. What is left are the charges, returns, failures and bills of all time, the
//! totals of [`retire`], and the moment before which no message is taken again.

mod traces;

use super::db::{Dialect, Tx, Value, values};
use super::dialect::{for_each_row, place_span, places_between};
use super::error::StoreError;
use super::facts;
use super::leases::{self, Lease};
use super::row_sum::RowSum;
use super::runs::take_turn;
use super::settling::FinalUpTo;
use super::staging::drop_temporary;
use super::usage::WrittenUpTo;
use crate::domain::period::Timestamp;
use crate::domain::product::{RECEIPT_GRACE, REFUND_WINDOW};

pub use traces::{Traces, forget_traces};

/// Up to which charging run messages are retired, and the moment before which they may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired {
    /// 0: none.
    pub run_no: i64,
    /// No message that was submitted before it is taken again, nor any receipt that was reported before.
    pub before: Timestamp,
}

impl Retired {
    pub const NOTHING: Retired = Retired { run_no: 0, before: Timestamp(i64::MIN) };

    pub async fn load(tx: &mut Tx) -> Result<Retired, StoreError> {
        let known = facts::pair(tx, "retired_up_to").await?;
        Ok(known.map_or(Retired::NOTHING, |(run_no, before)| Retired { run_no, before: Timestamp(before) }))
    }

    async fn save(self, tx: &mut Tx) -> Result<(), StoreError> {
        facts::set_pair(tx, "retired_up_to", (self.run_no, self.before.0)).await
    }
}

/// Keeps files from coming in until the transaction ends: a message must not be brought in again, nor a
/// receipt for it, while it goes. Refused where the lease is lost.
pub async fn begin(tx: &mut Tx, lease: Option<&Lease>) -> Result<(), StoreError> {
    take_turn(tx, "ingest").await?;
    match lease {
        Some(lease) => leases::renew(tx, lease).await,
        None => Ok(()),
    }
}

/// Retires all runs that can be, where messages are kept that were submitted at `before` or later. It never
/// goes back.
pub async fn advance(tx: &mut Tx, before: Timestamp) -> Result<Retired, StoreError> {
    let known = Retired::load(tx).await?;
    let reached = reached(tx, before).await?;
    if reached.run_no <= known.run_no {
        return Ok(known);
    }
    let retired = Retired { before: reached.before.max(known.before), ..reached };
    retired.save(tx).await?;
    Ok(retired)
}

/// The last run of which everything is over.
async fn reached(tx: &mut Tx, before: Timestamp) -> Result<Retired, StoreError> {
    let (finals, counted) = (FinalUpTo::load(tx).await?, WrittenUpTo::load(tx).await?);
    let billed =
        tx.row("select ends_at, charge_run from bill_months order by month desc limit 1", vec![]).await?;
    let (Some(counted), Some(billed)) = (counted, billed) else { return Ok(Retired::NOTHING) };
    // What was answered of a message of before is older by then, too, and not taken again either.
    let sent_before = before.plus_micros(-(REFUND_WINDOW + RECEIPT_GRACE));
    let sent_before = sent_before.min(finals.window).min(counted.day).min(Timestamp(billed.int(0)?));
    // What waited in suspense was sent before its batch was charged by another run.
    let sql = "select coalesce(min(run_no) - 1, 9223372036854775807) from batches where kind = 'messages' \
               and run_no is not null and last_submit >= $1";
    let over = tx.int(sql, values![sent_before.0]).await?;
    let run_no = over.min(finals.run_no).min(counted.run_no).min(billed.int(1)?);
    Ok(Retired { run_no, before })
}

/// Batches that lie together, from the first to the last.
pub type Stretch = (i64, i64);

/// Messages of fresh batches that are looked at together, about.
const TOGETHER: i64 = 20_000;

/// The batches of retired runs of which messages are left. Those of which some are gone are looked at by
/// themselves: what is left of them lies anywhere.
pub async fn stretches(tx: &mut Tx, retired: Retired) -> Result<Vec<Stretch>, StoreError> {
    let sql = "select batch_no, accepted, retired from batches where kind = 'messages' and run_no <= $1 \
               and retired < accepted order by batch_no";
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut together = TOGETHER;
    for row in tx.rows(sql, values![retired.run_no]).await? {
        let (batch_no, accepted, is_fresh) = (row.int(0)?, row.int(1)?, row.int(2)? == 0);
        match stretches.last_mut() {
            Some((_, last)) if is_fresh && together + accepted <= TOGETHER => *last = batch_no,
            _ => {
                stretches.push((batch_no, batch_no));
                together = 0;
            }
        }
        together = if is_fresh { together + accepted } else { TOGETHER };
    }
    Ok(stretches)
}

/// A part of a stretch, by the places of its rows in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    stretch: Stretch,
    places: (i64, i64),
}

/// The portions of a stretch, some 20,000 messages each.
pub async fn portions(tx: &mut Tx, stretch: Stretch) -> Result<Vec<Portion>, StoreError> {
    let (span, step) = place_span(tx.dialect());
    let sql = format!("select {span} from messages where batch_no between $1 and $2");
    let row = tx.row(sql, values![stretch.0, stretch.1]).await?;
    let Some(row) = row else { return Ok(Vec::new()) };
    let (Some(first), Some(last)) = (row.opt_int(0)?, row.opt_int(1)?) else { return Ok(Vec::new()) };
    let mut portions = Vec::new();
    let mut from = first;
    while from <= last {
        portions.push(Portion { stretch, places: (from, from + step) });
        from += step;
    }
    Ok(portions)
}

/// What a portion came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    pub messages: i64,
    pub receipts: i64,
    /// Messages that something still needs.
    pub needed: i64,
}

/// Deletes what nothing needs of a portion, and keeps its totals: the units of each account, the lines of
/// each batch, and the sum of the receipts for the digest.
pub async fn retire(tx: &mut Tx, retired: Retired, portion: Portion) -> Result<Gone, StoreError> {
    choose(tx, retired, portion).await?;
    let found = count(tx, "retiring").await?;
    leave_needed(tx, retired).await?;
    let messages = count(tx, "retiring").await?;
    let mut gone = Gone { messages, receipts: 0, needed: found - messages };
    if messages > 0 {
        choose_receipts(tx).await?;
        tx.execute(KEEP_PLACES, vec![]).await?;
        tx.execute(DELETE_MESSAGES, vec![]).await?;
        tx.execute(LEAVE_RECEIPTS, vec![]).await?;
        gone.receipts = count(tx, "retiring_receipts").await?;
        add_receipts(tx).await?;
        tx.execute(DELETE_RECEIPTS, vec![]).await?;
        tx.execute(ADD_MESSAGES, vec![]).await?;
        tx.execute(COUNT_LINES, vec![]).await?;
        drop_temporary(tx, &["retiring_receipts"]).await?;
    }
    drop_temporary(tx, &["retiring"]).await?;
    Ok(gone)
}

/// How many messages of an account are no longer kept.
pub async fn of_account(tx: &mut Tx, account_id: &str) -> Result<i64, StoreError> {
    let sql = "select coalesce(max(messages), 0) from retired_messages where account_id = $1";
    tx.int(sql, values![account_id]).await
}

/// Whether messages of an account from one moment up to another may be among those that are no longer kept:
/// which of a batch they were, nobody knows any more.
pub async fn may_lack(
    tx: &mut Tx,
    account_id: &str,
    (from, upto): (Timestamp, Timestamp),
) -> Result<bool, StoreError> {
    if from >= Retired::load(tx).await?.before || of_account(tx, account_id).await? == 0 {
        return Ok(false);
    }
    let sql = "select count(*) from (select 1 from batches where kind = 'messages' and retired > 0 \
               and last_submit >= $1 and first_submit < $2 limit 1) found";
    Ok(tx.int(sql, values![from.0, upto.0]).await? > 0)
}

/// The sum of all final receipts that are no longer kept.
pub async fn receipts(tx: &mut Tx) -> Result<RowSum, StoreError> {
    let known = facts::get(tx, RETIRED_RECEIPTS).await?;
    known.map_or(Ok(RowSum::default()), |sum| sum.parse().map_err(StoreError::Corrupt))
}

const RETIRED_RECEIPTS: &str = "retired_receipts";

async fn count(tx: &mut Tx, table: &str) -> Result<i64, StoreError> {
    tx.int(format!("select count(*) from {table}"), vec![]).await
}

/// Creates a temporary table of what a query finds, with the counts that a planner needs.
async fn create_of(tx: &mut Tx, table: &str, query: &str, values: Vec<Value>) -> Result<(), StoreError> {
    let end = if tx.dialect() == Dialect::Postgres { " on commit drop" } else { "" };
    tx.execute(format!("create temporary table {table}{end} as {query}"), values).await?;
    tx.execute(format!("analyze {table}"), vec![]).await.map(|_| ())
}

/// The messages of a portion that retired runs took: those in suspense are of the run that charged them.
async fn choose(tx: &mut Tx, retired: Retired, portion: Portion) -> Result<(), StoreError> {
    if tx.dialect() == Dialect::Postgres {
        // A few thousand rows are looked up one by one, however many there are in all.
        for method in ["enable_hashjoin", "enable_mergejoin"] {
            tx.execute(format!("set local {method} = off"), vec![]).await?;
        }
    }
    let Portion { stretch: (first, last), places } = portion;
    let query = format!(
        "select m.account_id, m.id_hi, m.id_lo, m.batch_no, m.biz_id, m.recipient_hash, \
           case when m.disposition is null or m.disposition = 'too_long' then m.units else 0 end as units \
         from messages m join batches b on b.batch_no = m.batch_no \
         left join suspense s on s.account_id = m.account_id and s.id_hi = m.id_hi and s.id_lo = m.id_lo \
         where {} and m.batch_no between {first} and {last} and b.run_no <= {run} \
         and (s.account_id is null or s.run_no <= {run})",
        places_between(tx.dialect(), "m", places),
        run = retired.run_no
    );
    create_of(tx, "retiring", &query, vec![]).await
}

/// Leaves out what somebody may still decide about, and what was answered too lately: such a receipt would
/// be taken again, and find nothing.
async fn leave_needed(tx: &mut Tx, retired: Retired) -> Result<(), StoreError> {
    let unanswered =
        "from open_failures o join failures f on f.batch_no = o.batch_no and f.line = o.line where true";
    let undecided = "from exceptions e where e.closed_at is null";
    let of_exception = "from exceptions e join receipts r on r.id_hi = e.id_hi and r.id_lo = e.id_lo \
                        and r.part = e.part and r.batch_no = e.batch_no and r.line = e.line \
                        where e.closed_at is null and r.biz_id = retiring.biz_id \
                        and r.recipient_hash = retiring.recipient_hash";
    let recent = format!("from receipts r where r.report_time >= {}", retired.before.0);
    let by_id = |of: &str| format!("{of}.id_hi = retiring.id_hi and {of}.id_lo = retiring.id_lo");
    let by_request =
        |of: &str| format!("{of}.biz_id = retiring.biz_id and {of}.recipient_hash = retiring.recipient_hash");
    let of_account = |of: &str| format!("{of}.account_id in (retiring.account_id, '')");
    let mut needed = Vec::new();
    if any(tx, unanswered).await? {
        needed.push(format!("{unanswered} and {} and {}", by_id("f"), of_account("f")));
        needed.push(format!("{unanswered} and {} and {}", by_request("f"), of_account("f")));
    }
    if any(tx, undecided).await? {
        needed.push(format!("{undecided} and {}", by_id("e")));
        needed.push(of_exception.to_owned());
    }
    needed.push(format!("{recent} and {} and {}", by_id("r"), of_account("r")));
    if any(tx, "from retiring where biz_id is not null").await? {
        needed.push(format!("{recent} and {} and {}", by_request("r"), of_account("r")));
    }
    for needed in needed {
        tx.execute(format!("delete from retiring where exists (select 1 {needed})"), vec![]).await?;
    }
    Ok(())
}

async fn any(tx: &mut Tx, what: &str) -> Result<bool, StoreError> {
    Ok(tx.int(format!("select count(*) from (select 1 {what} limit 1) found"), vec![]).await? > 0)
}

/// Receipts of these messages. Failures and contradictions stay: books and exceptions name them.
async fn choose_receipts(tx: &mut Tx) -> Result<(), StoreError> {
    let found = |by: &str| {
        format!(
            "select r.id_hi, r.id_lo, r.account_id, r.part, r.slot, r.batch_no, r.status, r.biz_id, r.recipient_hash \
             from retiring m join receipts r on {by} and r.account_id in (m.account_id, '') \
             where r.slot not like 'conflict %' and (r.slot <> 'final' or r.status = 'delivered')"
        )
    };
    let mut query = found("r.id_hi = m.id_hi and r.id_lo = m.id_lo");
    if any(tx, "from retiring where biz_id is not null").await? {
        query += " union ";
        query += &found("r.biz_id = m.biz_id and r.recipient_hash = m.recipient_hash");
    } else {
        query = format!("select distinct * from ({query}) found");
    }
    create_of(tx, "retiring_receipts", &query, vec![]).await
}

/// Whose failures it was that named a request and a recipient is known by the message alone.
const KEEP_PLACES: &str = "insert into retired_failures (account_id, id_hi, id_lo, part, batch_no, line) \
    select r.account_id, r.id_hi, r.id_lo, r.part, min(f.batch_no), min(f.line) from retiring m \
    join returns r on r.account_id = m.account_id and r.id_hi = m.id_hi and r.id_lo = m.id_lo and r.seq = 1 \
    join failures f on f.biz_id = m.biz_id and f.recipient_hash = m.recipient_hash and f.part = r.part \
      and f.account_id in (r.account_id, '') and f.answer = 'returned' \
    where m.biz_id is not null group by r.account_id, r.id_hi, r.id_lo, r.part on conflict do nothing";

const DELETE_MESSAGES: &str = "delete from messages where (id_hi, id_lo, account_id) in \
    (select id_hi, id_lo, account_id from retiring)";

/// A receipt that another message answers to as well stays with that one.
const LEAVE_RECEIPTS: &str = "delete from retiring_receipts where exists (select 1 from messages o \
      where o.id_hi = retiring_receipts.id_hi and o.id_lo = retiring_receipts.id_lo \
      and retiring_receipts.account_id in (o.account_id, '')) \
    or exists (select 1 from messages o where o.biz_id = retiring_receipts.biz_id \
      and o.recipient_hash = retiring_receipts.recipient_hash \
      and retiring_receipts.account_id in (o.account_id, ''))";

const DELETE_RECEIPTS: &str = "delete from receipts where (id_hi, id_lo, account_id, part, slot) in \
    (select id_hi, id_lo, account_id, part, slot from retiring_receipts)";

const ADD_MESSAGES: &str = "insert into retired_messages (account_id, messages, units) \
    select account_id, count(*), cast(sum(units) as bigint) from retiring group by account_id \
    on conflict (account_id) do update set messages = retired_messages.messages + excluded.messages, \
    units = retired_messages.units + excluded.units";

const COUNT_LINES: &str = "update batches set retired = retired + t.lines from \
    (select batch_no, count(*) as lines from (select batch_no from retiring \
      union all select batch_no from retiring_receipts) g group by batch_no) t where batches.batch_no = t.batch_no";

/// Keeps the sum of the final ones, over which the digest goes.
async fn add_receipts(tx: &mut Tx) -> Result<(), StoreError> {
    let mut sum = receipts(tx).await?;
    let finals = format!("select {DIGESTED} from retiring_receipts where slot = 'final'");
    for_each_row(tx, &finals, DIGESTED_TYPES, |row| {
        sum.add(row);
        Ok(())
    })
    .await?;
    facts::set(tx, RETIRED_RECEIPTS, &sum.to_string()).await
}

/// What of a final receipt is in the digest.
pub const DIGESTED: &str = "account_id, id_hi, id_lo, part, status";
pub const DIGESTED_TYPES: &str = "tiiit";
