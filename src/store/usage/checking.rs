//! Whether what is kept of days that are counted for good is what their messages and receipts come to (I27).

use super::counting::{Counting, Kinds};
use super::{Runs, WrittenUpTo, first_submit};
use crate::domain::period::{Timestamp, Zone};
use crate::store::basis::Basis;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::retention::Retired;
use crate::store::scope::Scope;

/// Accounts, days and products whose counts differ, of the days whose messages are all kept.
pub async fn differing(
    tx: &mut Tx,
    scope: &Scope,
    retired: &Retired,
    written: &WrittenUpTo,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    // Books whose days are counted have a zone.
    let Some(zone) = Basis::load(tx).await?.zone.and_then(|name| Zone::parse(&name)) else {
        return Ok(Vec::new());
    };
    let runs = Runs { after: 0, upto: Some(written.run_no) };
    let Some(first) = first_submit(tx, runs, written.day).await? else { return Ok(Vec::new()) };
    let mut days = zone.days(zone.day_start(zone.day_of(first)), written.day);
    days.retain(|(_, begins, _)| *begins >= retired.before);
    let (Some((from, ..)), Some((upto, ..))) = (days.first(), days.last()) else { return Ok(Vec::new()) };
    let (from, upto) = (from.number(), upto.number());
    let counting = Counting { days: &days, runs, account: None, now: Timestamp(i64::MAX) };
    let query = counting.query(tx).await?;
    let numbers: Vec<_> =
        days.iter().enumerate().map(|(place, (day, ..))| format!("({place}, {})", day.number())).collect();
    let mut counts = vec!["submitted", "billed", "allowance"];
    // A receipt that names its message in another way may answer to others by now: then it is only asked that
    // every unit has some fate.
    match Kinds::load(tx).await?.two_names {
        true => counts.push("delivered + failed + unknown"),
        false => counts.extend(["delivered", "failed", "unknown"]),
    }
    if scope.is_all() {
        // Those of some accounts are sought where these were charged, which not all of them were.
        counts.extend(["attempts", "free"]);
    }
    let differs: Vec<_> = counts.iter().map(|count| format!("sum({count}) <> 0")).collect();
    let class = "product, template_type, country";
    let sql = format!(
        "select account_id || ' ' || cast(day as text) || ' ' || product from ( \
           select c.account_id, d.column2 as day, {class}, attempts, submitted, delivered, failed, unknown, free, \
             billed, allowance from ({query}) c join (values {}) d on d.column1 = c.place \
           union all select account_id, day, {class}, -attempts, -submitted, -delivered, -failed, -unknown, -free, \
             -billed, -allowance from usage_days where day between {from} and {upto}) t \
         group by account_id, day, {class} having {} order by account_id, day limit {limit}",
        numbers.join(", "),
        differs.join(" or ")
    );
    tx.rows(scope.narrow(&sql), vec![]).await?.iter().map(|row| row.text(0)).collect()
}
