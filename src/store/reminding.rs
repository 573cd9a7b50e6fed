//! What the daily reminders read: plans near their end, how fast balances go, what waits for somebody.

use std::collections::{BTreeMap, BTreeSet};

use super::charging::{PLAN, PLAN_COLUMNS, plan};
use super::db::{Tx, values};
use super::error::StoreError;
use super::notices::balance_facts;
use crate::domain::money::Micros;
use crate::domain::period::Timestamp;
use crate::domain::plan::Plan;

/// Plans with units left that expire after `now` and up to `until`, of accounts that are not closed: the
/// account, the plan's id, the plan.
pub async fn ending_plans(
    tx: &mut Tx,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<(String, String, Plan)>, StoreError> {
    let columns = PLAN.split(", ").map(|column| format!("p.{column}")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "select {columns}, p.plan_id from plans p join accounts a on a.account_id = p.account_id \
         where p.remaining > 0 and p.expires_at > $1 and p.expires_at <= $2 and a.status <> 'closed' \
         order by p.account_id, p.plan_no"
    );
    let rows = tx.rows(sql, values![now.0, until.0]).await?;
    rows.iter().map(|row| Ok((row.text(0)?, row.text(PLAN_COLUMNS)?, plan(row)?))).collect()
}

/// The reminders of plans that were due since: account, plan, and when it was due.
pub async fn told_of_plans(
    tx: &mut Tx,
    since: Timestamp,
) -> Result<BTreeSet<(String, String, Timestamp)>, StoreError> {
    let sql = "select account_id, subject, due from notices where kind = 'plan_expiring' and due >= $1";
    let rows = tx.rows(sql, values![since.0]).await?;
    rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?, Timestamp(row.int(2)?)))).collect()
}

/// Whether the operator was told of a day's exceptions.
pub async fn told_of_waiting(tx: &mut Tx, due: Timestamp) -> Result<bool, StoreError> {
    let sql =
        "select count(*) from notices where account_id = '' and kind = 'exceptions_waiting' and due = $1";
    Ok(tx.int(sql, values![due.0]).await? > 0)
}

/// What each account was charged pay-as-you-go in a time, where it was anything.
pub async fn payg_since(
    tx: &mut Tx,
    from: Timestamp,
    upto: Timestamp,
) -> Result<BTreeMap<String, Micros>, StoreError> {
    let sql = "select account_id, cast(sum(amount) as bigint) from charges \
               where window_start >= $1 and window_start < $2 group by account_id having sum(amount) > 0";
    let rows = tx.rows(sql, values![from.0, upto.0]).await?;
    rows.iter().map(|row| Ok((row.text(0)?, Micros(row.int(1)?)))).collect()
}

/// Sets below what an available balance is low from now on, and tells of those that are so by the new
/// bound and were not by the old one (D39). Gives how many were told.
pub async fn set_balance_alerts(
    tx: &mut Tx,
    thresholds: &BTreeMap<String, Micros>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let rows =
        || thresholds.iter().map(|(id, threshold)| values![id, threshold.0, now.0]).collect::<Vec<_>>();
    let columns = "account_id, threshold, at";
    let available = "(a.balance - a.unbilled - a.due)";
    let tell = format!(
        "insert into notices (account_id, kind, subject, due, at, facts) \
         select a.account_id, 'balance_low', cast(a.entries as text), v.at, v.at, {} \
         from v join accounts a on a.account_id = v.account_id \
         left join balance_alerts t on t.account_id = v.account_id \
         where a.status = 'active' and {available} < v.threshold and {available} >= coalesce(t.threshold, 0) \
         on conflict (account_id, kind, subject, due) do nothing",
        balance_facts(available, "v.threshold")
    );
    let told = super::many::execute_with(tx, columns, rows(), &tell).await?;
    // Who was charged nothing lately needs nothing for the next days.
    tx.execute(
        "update balance_alerts set threshold = 0, as_of = $1 where threshold > 0 and as_of < $1",
        values![now.0],
    )
    .await?;
    let set = "insert into balance_alerts (account_id, threshold, as_of) select account_id, threshold, at from v \
               where true on conflict (account_id) do update set threshold = excluded.threshold, as_of = excluded.as_of";
    super::many::execute_with(tx, columns, rows(), set).await?;
    Ok(told)
}
