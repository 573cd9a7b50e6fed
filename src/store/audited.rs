//! How far each account was found right, and what was found wrong.

use std::collections::BTreeMap;

use super::db::{Tx, values};
use super::error::StoreError;
use super::scope::Scope;
use crate::domain::period::Timestamp;

/// What an audit came to for an account; for what holds over all accounts where the id is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub account_id: String,
    /// The last entry of the ledger that was audited.
    pub entry_no: i64,
    /// What is wrong; None where it is right.
    pub fault: Option<String>,
}

/// Accounts to be audited: their ledger changed since they were found right, or they were found wrong.
const DUE: &str = "from accounts a left join audited u on u.account_id = a.account_id \
    where a.entries <> coalesce(u.entry_no, 0) or u.fault is not null";

/// The accounts that are due, those that were not looked at for the longest time first; each with whether it
/// was found wrong then.
pub async fn due(tx: &mut Tx, limit: usize) -> Result<Vec<(String, bool)>, StoreError> {
    let sql =
        format!("select a.account_id, u.fault {DUE} order by coalesce(u.at, 0), a.account_id limit {limit}");
    tx.rows(sql, vec![]).await?.iter().map(|row| Ok((row.text(0)?, row.opt_text(1)?.is_some()))).collect()
}

/// How many accounts are due.
pub async fn due_count(tx: &mut Tx) -> Result<i64, StoreError> {
    tx.int(format!("select count(*) {DUE}"), vec![]).await
}

/// The last ledger entries of accounts.
pub async fn last_entries(tx: &mut Tx, scope: &Scope) -> Result<BTreeMap<String, i64>, StoreError> {
    let sql = scope.narrow("select account_id, entries from accounts");
    tx.rows(sql, vec![]).await?.iter().map(|row| Ok((row.text(0)?, row.int(1)?))).collect()
}

/// Notes what an audit found. The mark of an account that is wrong stays where it was found right.
pub async fn save(tx: &mut Tx, marks: &[Mark], at: Timestamp) -> Result<(), StoreError> {
    let row = |mark: &Mark| {
        let right = mark.fault.is_none();
        let entry_no = if right { mark.entry_no } else { 0 };
        values![&mark.account_id, entry_no, at.0, mark.fault.clone().unwrap_or_default()]
    };
    let statement = "insert into audited (account_id, entry_no, at, fault) \
        select account_id, entry_no, at, nullif(fault, '') from v where true \
        on conflict (account_id) do update set at = excluded.at, fault = excluded.fault, \
        entry_no = case when excluded.fault is null then excluded.entry_no else audited.entry_no end";
    let columns = "account_id, entry_no, at, fault";
    super::many::execute_with(tx, columns, marks.iter().map(row).collect(), statement).await.map(|_| ())
}

/// How many accounts were found wrong when they were audited last, and the books as a whole.
pub async fn wrong_count(tx: &mut Tx) -> Result<i64, StoreError> {
    tx.int("select count(*) from audited where fault is not null", vec![]).await
}

/// What was found wrong, by account, up to `limit`; the books as a whole, whose id is empty, first.
pub async fn wrong(tx: &mut Tx, limit: i64) -> Result<Vec<(String, String)>, StoreError> {
    let sql = "select account_id, fault from audited where fault is not null order by account_id limit $1";
    tx.rows(sql, values![limit]).await?.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
}
