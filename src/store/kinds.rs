//! What accounts were when they were charged: the prices of a charge are those of that kind, whatever the account
//! became since (R70, R103, D34).

use std::collections::{BTreeMap, BTreeSet};

use super::db::{Row, Tx, values};
use super::error::StoreError;
use crate::domain::account::Kind;

/// By run, what an account was when the run charged it, where its kind was changed since.
pub type KindsOfRuns = BTreeMap<i64, Kind>;

/// Whether any account's kind was ever changed.
pub async fn any_changed(tx: &mut Tx) -> Result<bool, StoreError> {
    Ok(tx.row("select 1 from account_kinds limit 1", vec![]).await?.is_some())
}

/// The kind of a charge's account when it was charged, as SQL; empty where it was not changed since. The table
/// has the charge's window, and the run that made it as `run`.
pub(super) fn kind_then(table: &str, run: &str) -> String {
    // Few accounts ever change: for the others no ledger is read.
    format!(
        "case when {table}.account_id in (select account_id from account_kinds) then coalesce((select k.kind \
         from entries x join account_kinds k on k.account_id = x.account_id and k.entry_no >= x.entry_no \
         where x.account_id = {table}.account_id and x.cause = 'charge:' \
           || cast({table}.window_start / 1000000 as text) || ':' || cast({table}.{run} as text) \
         order by k.entry_no limit 1), '') else '' end"
    )
}

/// A kind as the query gives it.
pub(super) fn kind_of(word: &str) -> Result<Option<Kind>, StoreError> {
    if word.is_empty() {
        return Ok(None);
    }
    Kind::parse(word).map(Some).ok_or_else(|| StoreError::Corrupt(format!("an account of the kind {word}")))
}

/// The kinds of accounts when runs charged windows of theirs, by account; of those whose kind was changed since.
pub async fn of_charges<'a>(
    tx: &mut Tx,
    charges: impl IntoIterator<Item = (&'a str, i64, i64)>,
) -> Result<BTreeMap<String, KindsOfRuns>, StoreError> {
    let mut found: BTreeMap<String, KindsOfRuns> = BTreeMap::new();
    if !any_changed(tx).await? {
        return Ok(found);
    }
    // A run charges all windows of an account as one kind.
    let mut known = BTreeSet::new();
    let charges = charges.into_iter().filter(|(account, _, run_no)| known.insert((*account, *run_no)));
    let rows = charges.map(|(account, window, run_no)| values![account, window, run_no]).collect();
    let query = format!("select v.account_id, v.run_no, {} from v", kind_then("v", "run_no"));
    let kind = |row: &Row| Ok::<_, StoreError>((row.text(0)?, row.int(1)?, kind_of(&row.text(2)?)?));
    for row in super::many::rows_with(tx, "account_id, window_start, run_no", rows, &query).await? {
        if let (account, run_no, Some(kind)) = kind(&row)? {
            found.entry(account).or_default().insert(run_no, kind);
        }
    }
    Ok(found)
}
