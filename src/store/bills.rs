//! Bills: written once, read as they were issued, with what is still due of them.

use std::collections::BTreeMap;

use super::billing::last_gave_back;
use super::cash::CLAIMS;
use super::charging::{ACCOUNT, account};
use super::db::{Row, Tx, Value, values};
use super::dialect::{Bulk, Field, for_each_row};
use super::error::StoreError;
use super::scope::Scope;
use crate::domain::account::Account;
use crate::domain::bill::{Bill, BilledPrice, Line, LineKind, month_text};
use crate::domain::money::Micros;
use crate::domain::period::{Month, Timestamp};

/// Accounts to be billed, locked in order of their ids, each with the number of its last ledger entry.
pub async fn lock_accounts(
    tx: &mut Tx,
    ids: &[&str],
) -> Result<Vec<Result<(Account, i64), StoreError>>, StoreError> {
    let query = format!(
        "select {ACCOUNT} from accounts where account_id in (select id from v) order by account_id{}",
        tx.for_update()
    );
    let ids = ids.iter().map(|id| values![*id]).collect();
    Ok(super::many::rows_with(tx, "id", ids, &query).await?.iter().map(account).collect())
}

/// The last number of a series; 0 where it is not begun. Whoever takes numbers of it waits.
pub async fn lock_series(tx: &mut Tx, series: &str) -> Result<i64, StoreError> {
    let add = "insert into number_series (series, last) values ($1, 0) on conflict (series) do nothing";
    tx.execute(add, values![series]).await?;
    let sql = format!("select last from number_series where series = $1{}", tx.for_update());
    tx.int(sql, values![series]).await
}

pub async fn save_series(tx: &mut Tx, series: &str, last: i64) -> Result<(), StoreError> {
    let sql = "update number_series set last = $2 where series = $1";
    tx.execute(sql, values![series, last]).await.map(|_| ())
}

/// Bills on their way in.
pub struct Bills {
    bills: Bulk,
    lines: Bulk,
    claims: Vec<Vec<Value>>,
    prices: Vec<Vec<Value>>,
}

/// What of a bill is kept beside what it says.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    pub series: &'a str,
    pub series_no: i64,
    pub ends_at: Timestamp,
    /// The account's last ledger entry that it has seen.
    pub last_entry: i64,
}

const BILL: &str = "account_id, month, bill_id, series, series_no, currency, total, paid, accrued, issued_at, \
    ends_at, last_entry, lines, note, hash";
const LINE: &str = "account_id, month, line_no, kind, product, template_type, country, units, unit_price, amount, \
    net, vat_ppm, settled, ref";

impl Bills {
    pub fn new(tx: &Tx) -> Bills {
        Bills {
            bills: Bulk::new(tx.dialect(), "bills", BILL),
            lines: Bulk::new(tx.dialect(), "bill_lines", LINE),
            claims: Vec::new(),
            prices: Vec::new(),
        }
    }

    pub fn push(&mut self, bill: &Bill, kept: Kept<'_>, prices: &[BilledPrice]) {
        let id = bill.account_id.as_str();
        let hash = bill.hash();
        self.bills.push(&[
            id.into(),
            bill.month.into(),
            bill.bill_id.as_str().into(),
            kept.series.into(),
            kept.series_no.into(),
            bill.currency.as_str().into(),
            bill.total.0.into(),
            bill.paid.0.into(),
            bill.accrued.0.into(),
            bill.issued_at.0.into(),
            kept.ends_at.0.into(),
            kept.last_entry.into(),
            (bill.lines.len() as i64).into(),
            bill.note.as_deref().into(),
            hash.as_str().into(),
        ]);
        for (line_no, line) in (1i64..).zip(&bill.lines) {
            self.lines.push(&[
                id.into(),
                bill.month.into(),
                line_no.into(),
                line.kind.as_str().into(),
                line.product.as_deref().into(),
                line.template_type.as_deref().into(),
                line.country.as_deref().into(),
                line.units.into(),
                line.unit_price.map(|price| price.0).into(),
                line.amount.0.into(),
                line.net.0.into(),
                line.vat_ppm.into(),
                i64::from(line.settled).into(),
                line.reference.as_deref().into(),
            ]);
        }
        for price in prices {
            let BilledPrice { month, product, class, list, since, units, unit_price } = price;
            self.prices.push(values![id, *month, product, class, list, since.0, *units, unit_price.0]);
        }
    }

    /// Notes what the balance could not pay.
    pub fn claim(&mut self, account_id: &str, month: &str, at: Timestamp, amount: Micros) {
        self.claims.push(values![account_id, "bill", month, at.0, amount.0]);
    }

    pub async fn flush_full(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.bills.flush_full(tx).await?;
        self.lines.flush_full(tx).await
    }

    pub async fn flush(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.bills.flush(tx).await?;
        self.lines.flush(tx).await?;
        let columns = "account_id, kind, ref, at, amount";
        let statement = format!("insert into claims ({columns}) select {columns} from v");
        super::many::execute_with(tx, columns, std::mem::take(&mut self.claims), &statement).await?;
        let columns = "account_id, month, product, class, list, since, units, unit_price";
        let statement = format!("insert into billed_prices ({columns}) select {columns} from v");
        super::many::execute_with(tx, columns, std::mem::take(&mut self.prices), &statement).await.map(|_| ())
    }
}

/// Notes that an account's bill of a month waits.
pub async fn park(
    tx: &mut Tx,
    account_id: &str,
    month: i64,
    fault: &str,
    run_no: i64,
) -> Result<(), StoreError> {
    let sql = "insert into bills_parked (account_id, month, fault, since_run) values ($1, $2, $3, $4) \
               on conflict (account_id, month) do update set fault = excluded.fault";
    tx.execute(sql, values![account_id, month, fault, run_no]).await.map(|_| ())
}

/// Notes that a bill that waited is made, or that there was nothing to bill.
pub async fn unpark(tx: &mut Tx, account_id: &str, month: i64, run_no: i64) -> Result<(), StoreError> {
    let sql = format!(
        "update bills_parked set run_no = $3, given_upto = {} where account_id = $1 and month = $2",
        last_gave_back()
    );
    tx.execute(sql, values![account_id, month, run_no]).await.map(|_| ())
}

/// Accounts and months whose bills wait.
pub async fn parked(tx: &mut Tx) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "select account_id, month from bills_parked where run_no is null order by month, account_id";
    tx.rows(sql, vec![]).await?.iter().map(|row| Ok((row.text(0)?, row.int(1)?))).collect()
}

/// How many bills wait for a fault to be mended.
pub async fn parked_count(tx: &mut Tx) -> Result<i64, StoreError> {
    tx.int("select count(*) from bills_parked where run_no is null", vec![]).await
}

/// A bill that waits for a fault to be mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedBill {
    pub account_id: String,
    /// As people write it: `2026-03`.
    pub month: String,
    pub fault: String,
}

/// The first bills that wait, oldest month first.
pub async fn parked_bills(tx: &mut Tx, scope: &Scope, limit: i64) -> Result<Vec<ParkedBill>, StoreError> {
    let sql = "select account_id, month, fault from bills_parked where run_no is null \
               order by month, account_id limit $1";
    let parked = |row: &Row| {
        Ok(ParkedBill { account_id: row.text(0)?, month: month_text(row.int(1)?), fault: row.text(2)? })
    };
    tx.rows(scope.narrow(sql), values![limit]).await?.iter().map(parked).collect()
}

/// A bill as it is kept, without its lines, and what is still due of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillRow {
    pub bill: Bill,
    pub due: Micros,
    pub hash: String,
}

/// What is open of the bills of those who owe something, of one account or all: payments pay the oldest
/// claim first, so of what an account owes its newest claims are open. It is what the account owes less all
/// that is newer.
fn due_now(narrow: &str) -> String {
    format!(
        "select d.account_id, d.ref, d.amount, cast(d.due - d.newer as bigint) from (\
         select o.account_id, o.kind, o.ref, o.amount, a.due, sum(o.amount) over (partition by o.account_id \
           order by o.entry_no desc) - o.amount as newer \
         from ({CLAIMS}) o join accounts a on a.account_id = o.account_id where a.due > 0{narrow}) d \
         where d.kind = 'bill'"
    )
}

const BILLS_OF: &str = "account_id, month, bill_id, currency, total, paid, accrued, issued_at, note, hash";

fn bill_row(row: &Row) -> Result<BillRow, StoreError> {
    let bill = Bill {
        account_id: row.text(0)?,
        month: row.int(1)?,
        bill_id: row.text(2)?,
        currency: row.text(3)?,
        lines: Vec::new(),
        total: Micros(row.int(4)?),
        paid: Micros(row.int(5)?),
        accrued: Micros(row.int(6)?),
        issued_at: Timestamp(row.int(7)?),
        note: row.opt_text(8)?,
    };
    Ok(BillRow { bill, due: Micros::ZERO, hash: row.text(9)? })
}

/// The bill of an account and month, with its lines and what is due of it now.
pub async fn find(tx: &mut Tx, account_id: &str, month: i64) -> Result<Option<BillRow>, StoreError> {
    let sql = format!("select {BILLS_OF} from bills where account_id = $1 and month = $2");
    let Some(row) = tx.row(sql, values![account_id, month]).await? else { return Ok(None) };
    let mut found = bill_row(&row)?;
    let sql = format!("select {LINE} from bill_lines where account_id = $1 and month = $2 order by line_no");
    let lines = tx.rows(sql, values![account_id, month]).await?;
    found.bill.lines = lines.iter().map(line).collect::<Result<_, _>>()?;
    found.due = due_of(tx, Some(account_id)).await?.remove(&found.key()).unwrap_or_default();
    Ok(Some(found))
}

impl BillRow {
    /// Account and month, as claims name them.
    fn key(&self) -> (String, String) {
        (self.bill.account_id.clone(), month_text(self.bill.month))
    }

    /// What was paid of it until now.
    pub fn paid(&self) -> Micros {
        Micros(self.bill.total.0 - self.due.0)
    }
}

/// What is due of bills by account and month, of one account or all; of those that are not in it nothing.
async fn due_of(
    tx: &mut Tx,
    account_id: Option<&str>,
) -> Result<BTreeMap<(String, String), Micros>, StoreError> {
    let due = |row: &Row| {
        let (amount, left) = (row.int(2)?, row.int(3)?);
        Ok(((row.text(0)?, row.text(1)?), Micros(left.clamp(0, amount))))
    };
    let rows = match account_id {
        Some(account_id) => tx.rows(due_now(" and a.account_id = $1"), values![account_id]).await?,
        None => tx.rows(due_now(""), vec![]).await?,
    };
    rows.iter().map(due).collect()
}

/// The months of an account whose bills are not paid whole.
pub async fn unpaid(tx: &mut Tx, account_id: &str) -> Result<Vec<Month>, StoreError> {
    let due = due_of(tx, Some(account_id)).await?;
    let month = |text: String| {
        text.parse().map_err(|_| StoreError::Corrupt(format!("a claim for the month `{text}`")))
    };
    due.into_iter().filter(|(_, due)| *due > Micros::ZERO).map(|((_, text), _)| month(text)).collect()
}

/// What a bill asked for; None where there is none.
pub async fn total(tx: &mut Tx, account_id: &str, month: Month) -> Result<Option<Micros>, StoreError> {
    let sql = "select total from bills where account_id = $1 and month = $2";
    let row = tx.row(sql, values![account_id, month.number()]).await?;
    row.map(|row| row.int(0).map(Micros)).transpose()
}

/// Why an account's bill of a month waits, if it does.
pub async fn parked_for(tx: &mut Tx, account_id: &str, month: i64) -> Result<Option<String>, StoreError> {
    let sql = "select fault from bills_parked where account_id = $1 and month = $2 and run_no is null";
    let row = tx.row(sql, values![account_id, month]).await?;
    row.map(|row| row.text(0)).transpose()
}

/// The bills of a month, or all, without their lines; by month and account.
pub async fn list(tx: &mut Tx, month: Option<i64>) -> Result<Vec<BillRow>, StoreError> {
    let sql =
        format!("select {BILLS_OF} from bills where $1 is null or month = $1 order by month, account_id");
    let rows = tx.rows(sql, values![month]).await?;
    let mut rows: Vec<BillRow> = rows.iter().map(bill_row).collect::<Result<_, _>>()?;
    let due = due_of(tx, None).await?;
    for row in &mut rows {
        row.due = due.get(&row.key()).copied().unwrap_or_default();
    }
    Ok(rows)
}

fn line(row: &Row) -> Result<Line, StoreError> {
    Ok(Line {
        kind: kind_of(&row.text(3)?)?,
        product: row.opt_text(4)?,
        template_type: row.opt_text(5)?,
        country: row.opt_text(6)?,
        units: row.opt_int(7)?,
        unit_price: row.opt_int(8)?.map(Micros),
        amount: Micros(row.int(9)?),
        net: Micros(row.int(10)?),
        vat_ppm: row.opt_int(11)?,
        settled: row.int(12)? == 1,
        reference: row.opt_text(13)?,
    })
}

/// The account and month on whose bill a charge stands, and the bill's number; None where it is not
/// billed, or its account's bill waits.
pub async fn of_charge(
    tx: &mut Tx,
    account_id: &str,
    window: i64,
    charge_run: i64,
) -> Result<Option<(i64, String)>, StoreError> {
    let sql = "select b.month, b.bill_id from bills b where b.account_id = $1 and b.month = \
               (select min(m.month) from bill_months m where m.ends_at > $2 and m.charge_run >= $3)";
    let row = tx.row(sql, values![account_id, window, charge_run]).await?;
    row.map(|row| Ok((row.int(0)?, row.text(1)?))).transpose()
}

/// Bills whose content has another hash than when they were issued (I24).
pub async fn changed(tx: &mut Tx, scope: &Scope) -> Result<Vec<String>, StoreError> {
    let bills: Vec<_> = BILLS_OF.split(", ").map(|column| format!("b.{column}")).collect();
    let lines: Vec<_> = LINE.split(", ").skip(3).map(|column| format!("l.{column}")).collect();
    let query = format!(
        "select {}, {} from bills b left join bill_lines l on l.account_id = b.account_id and l.month = b.month \
         order by b.account_id, b.month, l.line_no",
        bills.join(", "),
        lines.join(", ")
    );
    let mut changed = Vec::new();
    let mut open: Option<BillRow> = None;
    let mut close = |row: Option<BillRow>| {
        changed.extend(row.filter(|row| row.bill.hash() != row.hash).map(|row| row.bill.bill_id));
    };
    for_each_row(tx, &scope.narrow(&query), "tittiiiittttttiiiiiit", |row| {
        let found = bill_fields(row)?;
        if open.as_ref().is_none_or(|open| open.bill.bill_id != found.bill.bill_id) {
            close(open.replace(found));
        }
        if let (Some(open), Some(line)) = (&mut open, line_fields(&row[10..])?) {
            open.bill.lines.push(line);
        }
        Ok(())
    })
    .await?;
    close(open);
    Ok(changed)
}

fn bill_fields(row: &[Field<'_>]) -> Result<BillRow, StoreError> {
    let text = |place: usize| row[place].text().map(str::to_owned);
    let bill = Bill {
        account_id: text(0)?,
        month: row[1].int()?,
        bill_id: text(2)?,
        currency: text(3)?,
        lines: Vec::new(),
        total: Micros(row[4].int()?),
        paid: Micros(row[5].int()?),
        accrued: Micros(row[6].int()?),
        issued_at: Timestamp(row[7].int()?),
        note: row[8].opt_text()?.map(str::to_owned),
    };
    Ok(BillRow { bill, due: Micros::ZERO, hash: text(9)? })
}

/// A line from its kind on; None where the bill has none.
fn line_fields(row: &[Field<'_>]) -> Result<Option<Line>, StoreError> {
    let Some(kind) = row[0].opt_text()? else { return Ok(None) };
    let text = |place: usize| Ok::<_, StoreError>(row[place].opt_text()?.map(str::to_owned));
    Ok(Some(Line {
        kind: kind_of(kind)?,
        product: text(1)?,
        template_type: text(2)?,
        country: text(3)?,
        units: row[4].opt_int()?,
        unit_price: row[5].opt_int()?.map(Micros),
        amount: Micros(row[6].int()?),
        net: Micros(row[7].int()?),
        vat_ppm: row[8].opt_int()?,
        settled: row[9].int()? == 1,
        reference: text(10)?,
    }))
}

fn kind_of(word: &str) -> Result<LineKind, StoreError> {
    LineKind::parse(word).ok_or_else(|| StoreError::Corrupt(format!("a line of a bill that is a {word}")))
}
