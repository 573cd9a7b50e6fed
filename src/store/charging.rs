//! What a charging run reads and writes: usage streamed out, accounts whole, all effects in bulk.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::db::{Row, Tx, values};
use super::dialect::{Field, for_each_row};
use super::error::StoreError;
use super::many::rows_with;
use super::months;
use crate::domain::account::{Account, Funds, Kind, Status};
use crate::domain::charge::Payer;
use crate::domain::money::Micros;
use crate::domain::period::Timestamp;
use crate::domain::plan::Plan;

/// Messages waiting to be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub batches: i64,
    /// Accepted lines of those batches: an upper bound, for the progress bar.
    pub messages: i64,
    /// Messages in suspense, mended or not.
    pub suspense: i64,
}

pub async fn waiting(tx: &mut Tx) -> Result<Waiting, StoreError> {
    let sql = "select count(*), cast(coalesce(sum(accepted), 0) as bigint) from batches \
               where run_no is null and kind = 'messages'";
    let row = tx.row(sql, vec![]).await?;
    let (batches, messages) = match row {
        Some(row) => (row.int(0)?, row.int(1)?),
        None => (0, 0),
    };
    let suspense = tx.int("select count(*) from suspense where run_no is null", vec![]).await?;
    Ok(Waiting { batches, messages, suspense })
}

/// Marks the batches that no run has charged as this run's and gives their numbers as ranges.
pub async fn claim_batches(tx: &mut Tx, run_no: i64) -> Result<Vec<(i64, i64)>, StoreError> {
    let sql = "update batches set run_no = $1 where run_no is null and kind = 'messages' returning batch_no";
    let rows = tx.rows(sql, values![run_no]).await?;
    let mut numbers = rows.iter().map(|row| row.int(0)).collect::<Result<Vec<_>, _>>()?;
    numbers.sort_unstable();
    let ranges = numbers.chunk_by(|a, b| a + 1 == *b).filter_map(|run| Some((*run.first()?, *run.last()?)));
    Ok(ranges.collect())
}

/// Accepted lines of a run's batches and open suspense: what its progress counts up to.
pub async fn expected_messages(tx: &mut Tx, run_no: i64) -> Result<i64, StoreError> {
    let sql = "select cast(coalesce(sum(accepted), 0) as bigint) from batches where run_no = $1";
    let accepted = tx.int(sql, values![run_no]).await?;
    Ok(accepted + tx.int("select count(*) from suspense where run_no is null", vec![]).await?)
}

/// A message as it is streamed out to be charged.
#[derive(Clone, Copy, Debug)]
pub struct Streamed<'a> {
    pub account_id: &'a str,
    pub product: &'a str,
    pub template_type: &'a str,
    pub country: &'a str,
    pub units: i64,
    pub submit_time: Timestamp,
    pub batch_no: i64,
    pub line: i64,
    pub too_long: bool,
    /// It waited in suspense before.
    pub suspended: bool,
}

/// Every column costs the server time: batch and line travel as one, the batch counted from the
/// first of its range, and what only a few messages need is looked up for those.
fn streamed_columns(first_batch: i64) -> String {
    format!(
        "m.account_id, m.product, m.template_type, m.country, m.units, m.submit_time, \
         (m.batch_no - {first_batch}) * {LINES} + m.line, m.disposition"
    )
}

const STREAMED_TYPES: &str = "ttttiiit";
/// More lines than a batch can have; as many as these fit a billion batches after the first of the range.
const LINES: i64 = 1 << 33;

fn streamed<'a>(row: &[Field<'a>], first_batch: i64, suspended: bool) -> Result<Streamed<'a>, StoreError> {
    let place = row[6].int()?;
    Ok(Streamed {
        account_id: row[0].text()?,
        product: row[1].text()?,
        template_type: row[2].text()?,
        country: row[3].text()?,
        units: row[4].int()?,
        submit_time: Timestamp(row[5].int()?),
        batch_no: first_batch + place / LINES,
        line: place % LINES,
        too_long: row[7].opt_text()?.is_some(),
        suspended,
    })
}

/// Streams the messages to be charged: those of the batches, and those in suspense whose cause may
/// be mended. Rejected and inbound ones are never charged (R97, R102, D24, D70).
pub async fn for_each_message(
    tx: &mut Tx,
    batches: &[(i64, i64)],
    mut each: impl FnMut(Streamed<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    // Suspense may be as old as the books.
    let first = "select coalesce(min(batch_no), 0) from suspense where run_no is null";
    let first = tx.int(first, vec![]).await?;
    let mended = format!(
        "select {} from suspense s join messages m on m.account_id = s.account_id \
         and m.id_hi = s.id_hi and m.id_lo = s.id_lo where s.run_no is null and (s.reason <> 'unknown_account' \
         or exists (select 1 from accounts a where a.account_id = s.account_id))",
        streamed_columns(first)
    );
    for_each_row(tx, &mended, STREAMED_TYPES, |row| each(streamed(row, first, true)?)).await?;
    for (first, last) in batches {
        let sql = format!(
            "select {} from messages m where m.batch_no between {first} and {last} \
             and (m.disposition is null or m.disposition = 'too_long')",
            streamed_columns(*first)
        );
        for_each_row(tx, &sql, STREAMED_TYPES, |row| each(streamed(row, *first, false)?)).await?;
    }
    Ok(())
}

/// A charge as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeRow {
    pub account_id: String,
    pub window: Timestamp,
    pub product: String,
    pub template_type: String,
    pub country: String,
    pub units: i64,
    pub messages: i64,
    /// None: pay-as-you-go, or nobody.
    pub plan_id: Option<String>,
    /// Nobody paid: the product's free units (R30).
    pub free: bool,
    pub unit_price: Option<Micros>,
    pub amount: Micros,
}

/// The charges of a run, or all of an account where no run is given.
pub async fn charges(
    tx: &mut Tx,
    account_id: Option<&str>,
    run_no: Option<i64>,
) -> Result<Vec<ChargeRow>, StoreError> {
    let sql = "select c.account_id, c.window_start, c.product, c.template_type, c.country, c.units, c.messages, \
               p.plan_id, c.unit_price, c.amount, c.plan_no from charges c \
               left join plans p on p.account_id = c.account_id and p.plan_no = c.plan_no \
               where ($1 is null or c.account_id = $1) and ($2 is null or c.run_no = $2) \
               order by c.account_id, c.window_start, c.run_no, c.product, c.template_type, c.country, c.first_unit";
    let charge = |row: &Row| {
        Ok(ChargeRow {
            account_id: row.text(0)?,
            window: Timestamp(row.int(1)?),
            product: row.text(2)?,
            template_type: row.text(3)?,
            country: row.text(4)?,
            units: row.int(5)?,
            messages: row.int(6)?,
            plan_id: row.opt_text(7)?,
            unit_price: row.opt_int(8)?.map(Micros),
            amount: Micros(row.int(9)?),
            free: Payer::of_number(row.int(10)?) == Payer::Free,
        })
    };
    tx.rows(sql, values![account_id, run_no]).await?.iter().map(charge).collect()
}

/// Which plans of an account a run needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plans {
    /// Those that can pay.
    WithUnits,
    /// Those that have paid and whose end was not posted, and so may take units back.
    EverDrawn,
    /// Those whose validity ended by a moment and whose end was not posted.
    EndedBy(Timestamp),
}

/// Accounts with the number of their last ledger entry, or what is wrong with them.
pub type Loaded = BTreeMap<Arc<str>, Result<(Account, i64), StoreError>>;

/// Accounts to be charged, locked in id order unless the transaction only reads; with them the number
/// of their last ledger entry.
pub async fn load_accounts(
    tx: &mut Tx,
    ids: &[&str],
    from_month: i64,
    plans: Plans,
) -> Result<Loaded, StoreError> {
    let bound = || ids.iter().map(|id| values![*id]).collect::<Vec<_>>();
    let query = format!(
        "select {ACCOUNT} from accounts where account_id in (select id from v) order by account_id{}",
        tx.for_update()
    );
    let mut accounts = BTreeMap::new();
    for row in rows_with(tx, "id", bound(), &query).await? {
        let loaded = account(&row);
        accounts.insert(Arc::from(row.text(0)?), loaded);
    }
    let query = format!(
        "select {PLAN} from plans \
         where account_id in (select id from v) and {} order by account_id, plan_no{}",
        match plans {
            Plans::WithUnits => "remaining > 0".to_owned(),
            // Plans that have ended or were refunded take nothing back.
            Plans::EverDrawn => {
                "last_draw_run is not null and ended_at is null and refunded_at is null".to_owned()
            }
            Plans::EndedBy(moment) => format!("ended_at is null and expires_at <= {}", moment.0),
        },
        tx.for_update()
    );
    for row in rows_with(tx, "id", bound(), &query).await? {
        if let Some(Ok((account, _))) = accounts.get_mut(row.text(0)?.as_str()) {
            account.plans.push(plan(&row)?);
        }
    }
    let query = "select account_id, product from activations where account_id in (select id from v)";
    for row in rows_with(tx, "id", bound(), query).await? {
        if let Some(Ok((account, _))) = accounts.get_mut(row.text(0)?.as_str()) {
            account.activated.push(row.text(1)?.into());
        }
    }
    let query = format!(
        "select {} from account_months where account_id in (select id from v) and month >= {from_month}",
        months::COLUMNS
    );
    for row in rows_with(tx, "id", bound(), &query).await? {
        if let Some(Ok((account, _))) = accounts.get_mut(row.text(0)?.as_str()) {
            months::load(&row, account)?;
        }
    }
    Ok(accounts)
}

/// The columns of an account, as [`account`] reads them.
pub(super) const ACCOUNT: &str =
    "account_id, kind, currency, status, balance, unbilled, due, credit_limit, entries, held, overdue";

/// An account of its columns, and the number of its last ledger entry.
pub(super) fn account(row: &Row) -> Result<(Account, i64), StoreError> {
    let (kind, status) = (row.text(1)?, row.text(3)?);
    let corrupt = |what: &str| StoreError::Corrupt(format!("an account of the {what}"));
    let account = Account {
        account_id: row.text(0)?.into(),
        kind: Kind::parse(&kind).ok_or_else(|| corrupt(&format!("kind {kind}")))?,
        currency: row.text(2)?.into(),
        status: Status::parse(&status, row.opt_text(9)?.is_some(), row.int(10)? == 1)
            .ok_or_else(|| corrupt(&format!("status {status}")))?,
        funds: Funds {
            balance: Micros(row.int(4)?),
            unbilled: Micros(row.int(5)?),
            due: Micros(row.int(6)?),
            credit_limit: Micros(row.int(7)?),
        },
        plans: Vec::new(),
        activated: Vec::new(),
        tiers: BTreeMap::new(),
        accruals: BTreeMap::new(),
        free: BTreeMap::new(),
    };
    Ok((account, row.int(8)?))
}

/// The columns of a plan, as [`plan`] reads them.
pub(super) const PLAN: &str = "account_id, plan_no, product, size, remaining, net, released, carried, effective_at, \
    expires_at, last_draw_run, forfeited, countries";
/// How many they are: what a query adds comes after them.
pub(super) const PLAN_COLUMNS: usize = 13;

pub(super) fn plan(row: &Row) -> Result<Plan, StoreError> {
    Ok(Plan {
        plan_no: row.int(1)?,
        product: row.text(2)?.into(),
        size: row.int(3)?,
        remaining: row.int(4)?,
        net: Micros(row.int(5)?),
        released: Micros(row.int(6)?),
        carried: Micros(row.int(7)?),
        effective_at: Timestamp(row.int(8)?),
        expires_at: Timestamp(row.int(9)?),
        last_draw: row.opt_int(10)?,
        forfeited: row.int(11)?,
        countries: row.text(12)?.parse().map_err(StoreError::Corrupt)?,
    })
}
