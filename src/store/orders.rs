//! Orders, plans and ledger entries of one account.

use super::accounts::{self, AccountRow};
use super::db::{Row, Tx, Value, values};
use super::dialect::Bulk;
use super::error::StoreError;
use crate::domain::ledger::Entry;
use crate::domain::money::Micros;
use crate::domain::order::Order;
use crate::domain::period::Timestamp;

/// An order with its plans, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    pub order_id: String,
    pub status: String,
    pub total: Micros,
    pub paid: Micros,
    /// The packages asked for, in the words of the request.
    pub request: String,
    pub plans: Vec<PlanRow>,
}

/// A plan as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRow {
    pub plan_no: i64,
    pub plan_id: String,
    pub order_id: String,
    pub product: String,
    pub package: String,
    pub size: i64,
    pub remaining: i64,
    pub forfeited: i64,
    pub price: Micros,
    pub effective_at: Timestamp,
    pub expires_at: Timestamp,
}

const PLANS: &str = "select p.plan_no, p.plan_id, o.order_id, p.product, p.package, p.size, p.remaining, \
    p.forfeited, p.price, p.effective_at, p.expires_at \
    from plans p join orders o on o.account_id = p.account_id and o.order_no = p.order_no \
    where p.account_id = $1";

fn plan_row(row: &Row) -> Result<PlanRow, StoreError> {
    Ok(PlanRow {
        plan_no: row.int(0)?,
        plan_id: row.text(1)?,
        order_id: row.text(2)?,
        product: row.text(3)?,
        package: row.text(4)?,
        size: row.int(5)?,
        remaining: row.int(6)?,
        forfeited: row.int(7)?,
        price: Micros(row.int(8)?),
        effective_at: Timestamp(row.int(9)?),
        expires_at: Timestamp(row.int(10)?),
    })
}

/// All plans of an account, in the order in which they were bought.
pub async fn plans(tx: &mut Tx, account_id: &str) -> Result<Vec<PlanRow>, StoreError> {
    let sql = format!("{PLANS} order by p.plan_no");
    tx.rows(sql, values![account_id]).await?.iter().map(plan_row).collect()
}

/// The order that was placed under a reference, if one was.
pub async fn order_of_reference(
    tx: &mut Tx,
    account_id: &str,
    reference: &str,
) -> Result<Option<OrderRow>, StoreError> {
    let sql = "select order_no, order_id, status, total, paid, request from orders \
               where account_id = $1 and reference = $2";
    let Some(row) = tx.row(sql, values![account_id, reference]).await? else { return Ok(None) };
    let sql = format!("{PLANS} and p.order_no = $2 order by p.plan_no");
    let plans = tx.rows(sql, values![account_id, row.int(0)?]).await?;
    Ok(Some(OrderRow {
        order_id: row.text(1)?,
        status: row.text(2)?,
        total: Micros(row.int(3)?),
        paid: Micros(row.int(4)?),
        request: row.text(5)?,
        plans: plans.iter().map(plan_row).collect::<Result<_, _>>()?,
    }))
}

/// Saves an order of a locked account: the order, its plans, the money, the entry.
pub async fn save_order(
    tx: &mut Tx,
    account: &AccountRow,
    order: &Order,
    reference: Option<&str>,
    request: &str,
) -> Result<(), StoreError> {
    let account_id = &account.account_id;
    let sql = "insert into orders (account_id, order_no, order_id, reference, request, placed_at, total, paid, \
               status) values ($1, $2, $3, $4, $5, $6, $7, $7, 'paid')";
    let values = values![
        account_id,
        order.order_no,
        &order.order_id,
        reference,
        request,
        order.placed_at.0,
        order.total.0
    ];
    tx.execute(sql, values).await?;
    let sql = "insert into plans (account_id, plan_no, plan_id, order_no, product, package, size, remaining, \
               price, net, effective_at, expires_at) values ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11)";
    for plan in &order.plans {
        let values = values![
            account_id,
            plan.plan_no,
            &plan.plan_id,
            order.order_no,
            &*plan.product,
            &*plan.package_id,
            plan.size,
            plan.price.0,
            plan.net.0,
            plan.effective_at.0,
            plan.expires_at.0,
        ];
        tx.execute(sql, values).await?;
    }
    let mut after = account.clone();
    after.funds.balance = Micros(after.funds.balance.0 - order.total.0);
    after.orders = order.order_no;
    after.plans += order.plans.len() as i64;
    accounts::save(tx, account, &after, std::slice::from_ref(&order.entry), order.placed_at).await
}

/// Appends entries to an account's ledger after number `last`.
pub async fn save_entries(
    tx: &mut Tx,
    account_id: &str,
    last: i64,
    entries: &[Entry],
) -> Result<(), StoreError> {
    let mut ledger = LedgerWriter::new(tx);
    for (entry, entry_no) in entries.iter().zip(last + 1..) {
        ledger.push(account_id, entry_no, entry);
    }
    ledger.flush(tx).await
}

/// Entries and postings on their way into the ledger.
pub struct LedgerWriter {
    entries: Bulk,
    postings: Bulk,
}

impl LedgerWriter {
    pub fn new(tx: &Tx) -> LedgerWriter {
        let columns = "account_id, entry_no, ledger, plan_no, commodity, amount";
        LedgerWriter {
            entries: Bulk::new(tx.dialect(), "entries", "account_id, entry_no, cause, at"),
            postings: Bulk::new(tx.dialect(), "postings", columns),
        }
    }

    pub fn push(&mut self, account_id: &str, entry_no: i64, entry: &Entry) {
        let cause = entry.cause.to_string();
        self.entries.push(&[account_id.into(), entry_no.into(), cause.as_str().into(), entry.at.0.into()]);
        for ((ledger, commodity), amount) in &entry.postings {
            let name = ledger.to_string();
            self.postings.push(&[
                account_id.into(),
                entry_no.into(),
                name.as_str().into(),
                ledger.plan_no().into(),
                (&**commodity).into(),
                (*amount).into(),
            ]);
        }
    }

    pub async fn flush_full(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.entries.flush_full(tx).await?;
        self.postings.flush_full(tx).await
    }

    pub async fn flush(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.entries.flush(tx).await?;
        self.postings.flush(tx).await
    }
}

/// A posting with the entry that it belongs to, as `show ledger` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostingRow {
    pub cause: String,
    pub at: Timestamp,
    pub ledger: String,
    pub plan_no: i64,
    pub commodity: String,
    pub amount: i64,
}

/// An account's ledger, oldest entry first.
pub async fn ledger(tx: &mut Tx, account_id: &str) -> Result<Vec<PostingRow>, StoreError> {
    let sql = "select e.cause, e.at, s.ledger, s.plan_no, s.commodity, s.amount from entries e \
               join postings s on s.account_id = e.account_id and s.entry_no = e.entry_no \
               where e.account_id = $1 order by e.entry_no, s.ledger, s.plan_no, s.commodity";
    let rows = tx.rows(sql, vec![Value::from(account_id)]).await?;
    let posting = |row: &Row| {
        Ok(PostingRow {
            cause: row.text(0)?,
            at: Timestamp(row.int(1)?),
            ledger: row.text(2)?,
            plan_no: row.int(3)?,
            commodity: row.text(4)?,
            amount: row.int(5)?,
        })
    };
    rows.iter().map(posting).collect()
}
