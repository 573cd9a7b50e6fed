//! Daily sending quotas: what weeks showed of accounts, and their reviews (R16-R21).

use std::collections::BTreeMap;

use super::db::{Row, Tx, Value, values};
use super::error::StoreError;
use crate::domain::period::{Day, Timestamp, Zone};
use crate::domain::product::{Catalog, Product};
use crate::domain::quota::{QuotaRules, Reason, Review, Week};

/// A review as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewRow {
    pub account_id: String,
    pub product: String,
    /// The Monday of the week, as a number: 20260302.
    pub week: i64,
    pub counts: Week,
    pub review: Review,
}

/// What an account may send a day now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub daily: i64,
    /// Messages of today, as far as they are charged.
    pub used: i64,
    pub last: Option<ReviewRow>,
}

/// The days of a week, each with its first moment and the first after it.
pub type Days = [(Day, Timestamp, Timestamp)];

fn span(days: &Days) -> (i64, i64) {
    let from = days.first().map_or(0, |(_, begins, _)| begins.0);
    (from, days.last().map_or(0, |(.., ends)| ends.0))
}

/// What accounts sent of a product in a week, and what was answered in it, of those whose week was not
/// reviewed before. Messages are reached by their batches, and from receipts by their keys.
pub async fn week_counts(
    tx: &mut Tx,
    product: &Product,
    days: &Days,
) -> Result<BTreeMap<String, Week>, StoreError> {
    let mut counts: BTreeMap<String, Week> = BTreeMap::new();
    let sent = sent_by_day(batches_of(tx, "messages", days).await?, days);
    for row in tx.rows(sent, values![&*product.id]).await? {
        let week = counts.entry(row.text(0)?).or_default();
        let messages = row.int(1)?;
        week.sent += messages;
        week.busiest = week.busiest.max(messages);
    }
    let answers = answers(batches_of(tx, "receipts", days).await?, days);
    for row in tx.rows(answers, values![&*product.id]).await? {
        let week = counts.entry(row.text(0)?).or_default();
        week.delivered = row.int(1)?;
        week.failed = row.int(2)?;
        week.invalid = row.int(3)?;
        week.complained = row.int(4)?;
    }
    let reviewed = "select a.account_id from accounts a where a.status = 'closed' union \
                    select account_id from quota_reviews where product = $1 and week >= $2";
    let week = days.first().map_or(0, |(day, ..)| day.number());
    for row in tx.rows(reviewed, values![&*product.id, week]).await? {
        counts.remove(&row.text(0)?);
    }
    Ok(counts)
}

/// The first and the last batch that may hold something of these days: of receipts the carriers' times
/// count.
async fn batches_of(tx: &mut Tx, kind: &str, days: &Days) -> Result<(i64, i64), StoreError> {
    let (from, upto) = span(days);
    let sql = "select min(batch_no), max(batch_no) from batches where kind = $1 and first_submit < $2 \
               and last_submit >= $3";
    let row = tx.row(sql, values![kind, upto, from]).await?;
    let Some(row) = row else { return Ok((0, -1)) };
    Ok((row.opt_int(0)?.unwrap_or(0), row.opt_int(1)?.unwrap_or(-1)))
}

fn sent_by_day((first, last): (i64, i64), days: &Days) -> String {
    let (from, upto) = span(days);
    let cases = days.iter().enumerate();
    let cases: String =
        cases.map(|(n, (.., ends))| format!(" when m.submit_time < {} then {n}", ends.0)).collect();
    format!(
        "select account_id, count(*) from (select m.account_id, case{cases} end as day from messages m \
         join accounts a on a.account_id = m.account_id \
         where m.batch_no between {first} and {last} and m.submit_time >= {from} and m.submit_time < {upto} \
         and m.product = $1 and (m.disposition is null or m.disposition = 'too_long')) t group by account_id, day"
    )
}

/// Each message and answer once, by its key or by its request and recipient: the first final receipt counts
/// (D15, D46), and none that names no account where several accounts have such a message.
fn answers((first, last): (i64, i64), days: &Days) -> String {
    let (from, upto) = span(days);
    let found = |by: &str| {
        format!(
            "select m.account_id, m.id_hi, m.id_lo, r.slot, r.status, r.invalid_address, r.batch_no, r.line \
             from receipts r \
             join messages m on {by} and r.account_id in (m.account_id, '') \
             join accounts a on a.account_id = m.account_id \
             where r.batch_no between {first} and {last} and r.report_time >= {from} and r.report_time < {upto} \
             and r.part = 0 and r.slot in ('final', 'complained') and m.product = $1 \
             and (m.disposition is null or m.disposition = 'too_long')"
        )
    };
    let count = |what: &str| format!("cast(sum(case when {what} then 1 else 0 end) as bigint)");
    format!(
        "select account_id, {}, {}, {}, {} from (select one.*, row_number() over \
           (partition by account_id, id_hi, id_lo, slot order by batch_no, line) as nth from \
           (select found.*, count(*) over (partition by batch_no, line) as messages from ({} union {}) found) one \
           where messages = 1) t where nth = 1 group by account_id",
        count("status = 'delivered'"),
        count("slot = 'final' and status <> 'delivered'"),
        count("slot = 'final' and invalid_address = 1"),
        count("status = 'complained'"),
        found("m.id_hi = r.id_hi and m.id_lo = r.id_lo"),
        found("r.biz_id is not null and m.biz_id = r.biz_id and m.recipient_hash = r.recipient_hash"),
    )
}

/// The daily quotas of a product that were reviewed, by account.
pub async fn reviewed(tx: &mut Tx, product: &Product) -> Result<BTreeMap<String, i64>, StoreError> {
    let sql = "select r.account_id, r.to_daily from quota_reviews r where r.product = $1 and r.week = \
               (select max(l.week) from quota_reviews l where l.account_id = r.account_id and l.product = r.product)";
    tx.rows(sql, values![&*product.id]).await?.iter().map(|row| Ok((row.text(0)?, row.int(1)?))).collect()
}

const COLUMNS: &str = "account_id, product, week, sent, busiest, delivered, failed, invalid, complained, from_daily, \
    to_daily, reason";

/// Writes reviews, each week of an account once.
pub async fn save(tx: &mut Tx, reviews: &[ReviewRow], at: Timestamp, run_no: i64) -> Result<(), StoreError> {
    let row = |row: &ReviewRow| -> Vec<Value> {
        let (counts, review) = (&row.counts, &row.review);
        values![
            &row.account_id,
            &row.product,
            row.week,
            counts.sent,
            counts.busiest,
            counts.delivered,
            counts.failed,
            counts.invalid,
            counts.complained,
            review.from,
            review.to,
            review.reason.as_str(),
            at.0,
            run_no
        ]
    };
    let columns = format!("{COLUMNS}, at, run_no");
    let statement = format!(
        "insert into quota_reviews ({columns}) select {columns} from v where true \
         on conflict (account_id, product, week) do nothing"
    );
    super::many::execute_with(tx, &columns, reviews.iter().map(row).collect(), &statement).await.map(|_| ())
}

fn review_row(row: &Row) -> Result<ReviewRow, StoreError> {
    let reason = row.text(11)?;
    let corrupt = || StoreError::Corrupt(format!("a review for the reason {reason}"));
    Ok(ReviewRow {
        account_id: row.text(0)?,
        product: row.text(1)?,
        week: row.int(2)?,
        counts: Week {
            sent: row.int(3)?,
            busiest: row.int(4)?,
            delivered: row.int(5)?,
            failed: row.int(6)?,
            invalid: row.int(7)?,
            complained: row.int(8)?,
        },
        review: Review {
            from: row.int(9)?,
            to: row.int(10)?,
            reason: Reason::parse(&reason).ok_or_else(corrupt)?,
        },
    })
}

/// The reviews that a run made.
pub async fn of_run(tx: &mut Tx, run_no: i64) -> Result<Vec<ReviewRow>, StoreError> {
    let sql = format!("select {COLUMNS} from quota_reviews where run_no = $1 order by account_id, product");
    tx.rows(sql, values![run_no]).await?.iter().map(review_row).collect()
}

/// What an account may send a day, and what it has sent of it today.
pub async fn standing(
    tx: &mut Tx,
    account_id: &str,
    product: &Product,
    rules: &QuotaRules,
    (begins, ends): (Timestamp, Timestamp),
) -> Result<Standing, StoreError> {
    let sql = format!(
        "select {COLUMNS} from quota_reviews where account_id = $1 and product = $2 order by week desc limit 1"
    );
    let last = tx.row(sql, values![account_id, &*product.id]).await?.as_ref().map(review_row).transpose()?;
    let sql = "select cast(coalesce(sum(messages), 0) as bigint) from charges where account_id = $1 and product = $2 \
               and window_start >= $3 and window_start < $4";
    let used = tx.int(sql, values![account_id, &*product.id, begins.0, ends.0]).await?;
    let daily = last.as_ref().map_or(rules.initial(), |last| last.review.to);
    Ok(Standing { daily, used, last })
}

/// Whether an account has activated a product.
pub async fn is_activated(tx: &mut Tx, account_id: &str, product: &Product) -> Result<bool, StoreError> {
    let sql = "select count(*) from activations where account_id = $1 and product = $2";
    Ok(tx.int(sql, values![account_id, &*product.id]).await? > 0)
}

/// Notes for `v_mail_quotas` which day it is, and where accounts begin.
pub async fn mark_today(
    tx: &mut Tx,
    catalog: &Catalog,
    zone: Zone,
    now: Timestamp,
) -> Result<(), StoreError> {
    let day = zone.day_of(now);
    let (begins, ends) = (zone.day_start(day), zone.day_start(day.next()));
    for product in &catalog.products {
        let Some(rules) = &product.quota else { continue };
        let sql = "insert into quota_days (product, day, begins, ends, initial) values ($1, $2, $3, $4, $5) \
                   on conflict (product) do update set day = excluded.day, begins = excluded.begins, \
                   ends = excluded.ends, initial = excluded.initial \
                   where quota_days.begins <> excluded.begins or quota_days.initial <> excluded.initial";
        tx.execute(sql, values![&*product.id, day.number(), begins.0, ends.0, rules.initial()]).await?;
    }
    Ok(())
}
