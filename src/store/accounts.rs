//! Accounts and their money.

use std::collections::{BTreeMap, BTreeSet};

use super::db::{Row, Tx, values};
use super::dialect::for_update;
use super::error::StoreError;
use super::orders::save_entries;
use super::standing::{Change, Standings};
use crate::domain::account::{Funds, Kind, Status};
use crate::domain::ledger::Entry;
use crate::domain::money::Micros;
use crate::domain::order::Customer;
use crate::domain::period::Timestamp;

/// An account as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    pub account_id: String,
    pub name: String,
    pub kind: Kind,
    pub currency: String,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub locale: String,
    pub status: Status,
    pub funds: Funds,
    pub verified_at: Option<Timestamp>,
    /// For which region its identity was verified, where it is told (R3).
    pub verified_region: Option<String>,
    pub created_at: Timestamp,
    /// Numbers of the last order, plan, ledger entry and penalty.
    pub orders: i64,
    pub plans: i64,
    pub entries: i64,
    pub penalties: i64,
    /// Why the provider suspended it, where it did (R56).
    pub held: Option<String>,
    pub closed_at: Option<Timestamp>,
}

impl AccountRow {
    /// Whether what is personal of it is erased: an individual's name is.
    pub fn is_erased(&self) -> bool {
        self.status == Status::Closed && self.kind == Kind::Individual
    }

    /// The buyer as orders and renewals judge it.
    pub fn customer(&self) -> Customer {
        Customer {
            account_id: self.account_id.as_str().into(),
            currency: self.currency.as_str().into(),
            status: self.status,
            verified: self.verified_at.is_some(),
            verified_region: self.verified_region.clone(),
            funds: self.funds,
            orders: self.orders,
            plans: self.plans,
        }
    }

    /// Whether it owes more than it may (D61).
    pub fn is_overdue(&self) -> bool {
        match self.status {
            Status::Closed => self.funds.status_after(Status::Active) == Ok(Status::Suspended),
            status => status.is_overdue(),
        }
    }
}

const COLUMNS: &str = "account_id, name, kind, currency, email, phone, locale, status, balance, unbilled, due, \
    credit_limit, verified_at, created_at, orders, plans, entries, penalties, held, closed_at, verified_region, \
    overdue";

fn account_row(row: &Row) -> Result<AccountRow, StoreError> {
    let account_id = row.text(0)?;
    let (kind, status, held) = (row.text(2)?, row.text(7)?, row.opt_text(18)?);
    let unknown = |what: &str| StoreError::Corrupt(format!("account {account_id} has the {what}"));
    Ok(AccountRow {
        name: row.text(1)?,
        kind: Kind::parse(&kind).ok_or_else(|| unknown(&format!("kind {kind}")))?,
        currency: row.text(3)?,
        email: row.opt_text(4)?,
        phone: row.opt_text(5)?,
        locale: row.text(6)?,
        status: Status::parse(&status, held.is_some(), row.int(21)? == 1)
            .ok_or_else(|| unknown(&format!("status {status}")))?,
        funds: Funds {
            balance: Micros(row.int(8)?),
            unbilled: Micros(row.int(9)?),
            due: Micros(row.int(10)?),
            credit_limit: Micros(row.int(11)?),
        },
        verified_at: row.opt_int(12)?.map(Timestamp),
        created_at: Timestamp(row.int(13)?),
        orders: row.int(14)?,
        plans: row.int(15)?,
        entries: row.int(16)?,
        penalties: row.int(17)?,
        held,
        closed_at: row.opt_int(19)?.map(Timestamp),
        verified_region: row.opt_text(20)?,
        account_id,
    })
}

/// What makes a new account.
#[derive(Clone, Debug)]
pub struct NewAccount {
    pub account_id: String,
    pub name: String,
    pub kind: Kind,
    pub currency: String,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub locale: String,
    pub credit_limit: Micros,
}

/// Adds an account; false where the id is taken.
pub async fn add(tx: &mut Tx, new: &NewAccount, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "insert into accounts (account_id, name, kind, currency, email, phone, locale, status, \
               credit_limit, created_at) values ($1, $2, $3, $4, $5, $6, $7, 'active', $8, $9) \
               on conflict (account_id) do nothing";
    let values = values![
        &new.account_id,
        &new.name,
        new.kind.as_str(),
        &new.currency,
        new.email.clone(),
        new.phone.clone(),
        &new.locale,
        new.credit_limit.0,
        now.0,
    ];
    Ok(tx.execute(sql, values).await? == 1)
}

pub async fn find(tx: &mut Tx, account_id: &str) -> Result<Option<AccountRow>, StoreError> {
    let sql = format!("select {COLUMNS} from accounts where account_id = $1");
    tx.row(sql, values![account_id]).await?.as_ref().map(account_row).transpose()
}

/// The same, locked until the transaction ends: whoever changes an account goes through here.
pub async fn lock(tx: &mut Tx, account_id: &str) -> Result<Option<AccountRow>, StoreError> {
    let sql = format!("select {COLUMNS} from accounts where account_id = $1{}", for_update(tx.dialect()));
    tx.row(sql, values![account_id]).await?.as_ref().map(account_row).transpose()
}

/// Some accounts by their ids, locked in id order, as everybody does who locks several. One that can't be
/// read keeps nobody else from being read.
pub async fn lock_all(
    tx: &mut Tx,
    account_ids: &[&str],
) -> Result<Vec<(String, Result<AccountRow, StoreError>)>, StoreError> {
    let query = format!(
        "select {COLUMNS} from accounts where account_id in (select id from v) order by account_id{}",
        tx.for_update()
    );
    let ids = account_ids.iter().map(|id| values![*id]).collect();
    let rows = super::many::rows_with(tx, "id", ids, &query).await?;
    rows.iter().map(|row| Ok((row.text(0)?, account_row(row)))).collect()
}

/// Several accounts at once, by id; those that there are.
pub async fn find_all(
    tx: &mut Tx,
    ids: &BTreeSet<String>,
) -> Result<BTreeMap<String, AccountRow>, StoreError> {
    let mut found = BTreeMap::new();
    let rows = ids.iter().map(|id| values![id]).collect();
    let query = format!("select {COLUMNS} from accounts where account_id in (select wanted from v)");
    for row in super::many::rows_with(tx, "wanted", rows, &query).await? {
        let account = account_row(&row)?;
        found.insert(account.account_id.clone(), account);
    }
    Ok(found)
}

pub async fn list(tx: &mut Tx) -> Result<Vec<AccountRow>, StoreError> {
    let sql = format!("select {COLUMNS} from accounts order by account_id");
    tx.rows(sql, vec![]).await?.iter().map(account_row).collect()
}

/// Saves what was made of a locked account: its money, the entries, and the status that follows, with
/// its event. `before` is the account as it was locked, `after` as it is to be; numbers of orders, plans
/// and penalties go along.
pub async fn save(
    tx: &mut Tx,
    before: &AccountRow,
    after: &AccountRow,
    entries: &[Entry],
    at: Timestamp,
) -> Result<(), StoreError> {
    save_because(tx, before, after, entries, at, None).await
}

/// The same, with the reason of a change of status that does not follow from the money.
pub async fn save_because(
    tx: &mut Tx,
    before: &AccountRow,
    after: &AccountRow,
    entries: &[Entry],
    at: Timestamp,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    let last_entry = before.entries + entries.len() as i64;
    let sql = "update accounts set balance = $2, unbilled = $3, due = $4, status = $5, entries = $6, orders = $7, \
               plans = $8, penalties = $9, overdue = $10 where account_id = $1";
    let (id, funds) = (&after.account_id, &after.funds);
    let values = values![
        id,
        funds.balance.0,
        funds.unbilled.0,
        funds.due.0,
        after.status.as_str(),
        last_entry,
        after.orders,
        after.plans,
        after.penalties,
        i64::from(after.status.is_held_overdue())
    ];
    tx.execute(sql, values).await?;
    save_entries(tx, id, before.entries, entries).await?;
    let available = |account: &AccountRow| account.funds.available().unwrap_or_default();
    let mut standings = Standings::default();
    standings.push(&Change {
        account_id: id,
        entry_no: last_entry,
        by_entry: !entries.is_empty(),
        before: before.status,
        after: after.status,
        available_before: available(before),
        available: available(after),
        at,
        reason,
    });
    standings.flush(tx).await
}

/// Messages of an account that wait to be charged, those in suspense among them (D82).
pub async fn waiting_messages(tx: &mut Tx, account_id: &str) -> Result<i64, StoreError> {
    let sql = "select (select count(*) from batches b join messages m on m.batch_no = b.batch_no \
                 where b.run_no is null and b.kind = 'messages' and m.account_id = $1 \
                 and (m.disposition is null or m.disposition = 'too_long')) \
               + (select count(*) from suspense where account_id = $1 and run_no is null)";
    tx.int(sql, values![account_id]).await
}

/// Suspends an account for a reason that no payment mends, or lets go of it (R56).
pub async fn hold(tx: &mut Tx, account_id: &str, reason: Option<&str>) -> Result<(), StoreError> {
    let sql = "update accounts set held = $2 where account_id = $1";
    tx.execute(sql, values![account_id, reason]).await.map(|_| ())
}

/// Erases what is personal of an account that is closed, and renews nothing of it any more; its books stay
/// (F94). A company's name is no personal data, and its invoices need it.
pub async fn erase(tx: &mut Tx, account: &AccountRow, now: Timestamp) -> Result<(), StoreError> {
    let id = &account.account_id;
    let sql = "update accounts set email = null, phone = null, closed_at = $2 where account_id = $1";
    tx.execute(sql, values![id, now.0]).await?;
    if account.kind == Kind::Individual {
        tx.execute("update accounts set name = '(closed)' where account_id = $1", values![id]).await?;
        // The role that runs jobs can delete nothing: no title means that nobody was named.
        let sql = "update invoice_buyers set title = '', tax_id = null, address = null, bank = null, at = $2 \
                   where account_id = $1";
        tx.execute(sql, values![id, now.0]).await?;
    }
    let sql = "update renewal_settings set off_at = $2 where account_id = $1 and off_at is null";
    tx.execute(sql, values![id, now.0]).await.map(|_| ())
}

/// Changes what the account's owner may have changed. Until when it was of another kind is kept, since its
/// prices were those of that kind.
pub async fn change(tx: &mut Tx, before: &AccountRow, account: &AccountRow) -> Result<(), StoreError> {
    if before.kind != account.kind {
        let sql = "insert into account_kinds (account_id, entry_no, kind) values ($1, $2, $3) \
                   on conflict (account_id, entry_no) do nothing";
        tx.execute(sql, values![&before.account_id, before.entries, before.kind.as_str()]).await?;
    }
    let sql = "update accounts set name = $2, kind = $3, email = $4, phone = $5, locale = $6, credit_limit = $7 \
               where account_id = $1";
    let values = values![
        &account.account_id,
        &account.name,
        account.kind.as_str(),
        account.email.clone(),
        account.phone.clone(),
        &account.locale,
        account.funds.credit_limit.0
    ];
    tx.execute(sql, values).await.map(|_| ())
}

/// Notes that an account's identity was verified, since when it first was, and for which region, as it was
/// last told.
pub async fn verify(
    tx: &mut Tx,
    account_id: &str,
    region: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "update accounts set verified_at = coalesce(verified_at, $2), \
               verified_region = coalesce($3, verified_region) where account_id = $1";
    tx.execute(sql, values![account_id, now.0, region]).await.map(|_| ())
}

/// Activates a product for an account; the first time counts.
pub async fn activate(
    tx: &mut Tx,
    account_id: &str,
    product: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "insert into activations (account_id, product, at) values ($1, $2, $3) \
               on conflict (account_id, product) do nothing";
    tx.execute(sql, values![account_id, product, now.0]).await.map(|_| ())
}
