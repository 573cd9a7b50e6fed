//! Orders, plans and ledger entries of one account.

use super::accounts::{self, AccountRow};
use super::coupons;
use super::db::{Dialect, Row, Tx, Value, values};
use super::dialect::Bulk;
use super::error::StoreError;
use crate::domain::countries::Countries;
use crate::domain::invoice::invoice_id;
use crate::domain::ledger::Entry;
use crate::domain::money::Micros;
use crate::domain::order::Order;
use crate::domain::period::Timestamp;
use crate::domain::plan::PlanState;
use crate::domain::refund::OrderStatus;

/// An order with its plans, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    pub account_id: String,
    pub order_no: i64,
    pub order_id: String,
    pub status: OrderStatus,
    pub placed_at: Timestamp,
    pub currency: String,
    pub total: Micros,
    /// The coupon that paid a part, and what it paid.
    pub coupon_id: Option<String>,
    pub coupon: Micros,
    pub paid: Micros,
    /// What went back to the account, and what penalties kept.
    pub refunded: Micros,
    pub kept: Micros,
    /// Penalties against the order, kept or not.
    pub penalties: Micros,
    pub invoice_no: Option<i64>,
    /// The packages and the coupon asked for, in the words of the request.
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
    /// Gift units included.
    pub size: i64,
    pub bonus: i64,
    pub remaining: i64,
    pub forfeited: i64,
    pub countries: Countries,
    pub price: Micros,
    /// Its share of what the order's coupon paid.
    pub coupon: Micros,
    pub effective_at: Timestamp,
    pub expires_at: Timestamp,
    pub refunded_at: Option<Timestamp>,
    /// The cash that it gave back, before penalties.
    pub refunded: Micros,
    /// Whether it ever paid for a message.
    pub drawn: bool,
}

impl OrderRow {
    /// The invoice that stands for it.
    pub fn invoice_id(&self) -> Option<String> {
        self.invoice_no.map(|invoice_no| invoice_id(&self.account_id, invoice_no))
    }
}

impl PlanRow {
    /// A refund took it back whole and unused: where cash was paid, that came back. One that was used or had
    /// expired gave back nothing, which of a plan that a coupon paid for tells nothing.
    pub fn is_given_back(&self) -> bool {
        let cash = Micros(self.price.0 - self.coupon.0);
        let unused = |at| cash != Micros::ZERO || !(self.drawn || self.expires_at <= at);
        self.refunded_at.is_some_and(unused) && self.forfeited == self.size && self.refunded == cash
    }

    /// Units that ended with the plan's validity, or with the approved refund of an order that was used.
    /// Those of a plan that was given back unused were not forfeited.
    pub fn forfeited_units(&self) -> i64 {
        if self.is_given_back() { 0 } else { self.forfeited }
    }

    pub fn state(&self, now: Timestamp) -> PlanState {
        match self.refunded_at {
            Some(_) => PlanState::Refunded,
            None => PlanState::at(now, self.expires_at, self.remaining),
        }
    }
}

const PLANS: &str = "select p.plan_no, p.plan_id, o.order_id, p.product, p.package, p.size, p.bonus, p.remaining, \
    p.forfeited, p.price, p.coupon, p.effective_at, p.expires_at, p.refunded_at, p.refunded, p.countries, \
    cast(case when p.last_draw_run is null then 0 else 1 end as bigint) \
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
        bonus: row.int(6)?,
        remaining: row.int(7)?,
        forfeited: row.int(8)?,
        price: Micros(row.int(9)?),
        coupon: Micros(row.int(10)?),
        effective_at: Timestamp(row.int(11)?),
        expires_at: Timestamp(row.int(12)?),
        refunded_at: row.opt_int(13)?.map(Timestamp),
        refunded: Micros(row.int(14)?),
        countries: row.text(15)?.parse().map_err(StoreError::Corrupt)?,
        drawn: row.int(16)? == 1,
    })
}

/// All plans of an account, in the order in which they were bought.
pub async fn plans(tx: &mut Tx, account_id: &str) -> Result<Vec<PlanRow>, StoreError> {
    let sql = format!("{PLANS} order by p.plan_no");
    tx.rows(sql, values![account_id]).await?.iter().map(plan_row).collect()
}

const ORDERS: &str = "select o.account_id, o.order_no, o.order_id, o.status, o.placed_at, a.currency, o.total, \
    c.coupon_id, o.coupon, o.paid, \
    (select cast(coalesce(sum(r.cash - r.kept), 0) as bigint) from refunds r \
     where r.account_id = o.account_id and r.order_no = o.order_no), \
    (select cast(coalesce(sum(r.kept), 0) as bigint) from refunds r \
     where r.account_id = o.account_id and r.order_no = o.order_no), \
    (select cast(coalesce(sum(p.amount), 0) as bigint) from penalties p \
     where p.account_id = o.account_id and p.order_no = o.order_no), \
    o.invoice_no, o.request \
    from orders o join accounts a on a.account_id = o.account_id \
    left join coupons c on c.account_id = o.account_id and c.coupon_no = o.coupon_no";

/// The order, without its plans.
fn order_row(row: &Row) -> Result<OrderRow, StoreError> {
    let (order_id, status) = (row.text(2)?, row.text(3)?);
    let status = OrderStatus::parse(&status)
        .ok_or_else(|| StoreError::Corrupt(format!("order {order_id} has the status {status}")))?;
    Ok(OrderRow {
        account_id: row.text(0)?,
        order_no: row.int(1)?,
        order_id,
        status,
        placed_at: Timestamp(row.int(4)?),
        currency: row.text(5)?,
        total: Micros(row.int(6)?),
        coupon_id: row.opt_text(7)?,
        coupon: Micros(row.int(8)?),
        paid: Micros(row.int(9)?),
        refunded: Micros(row.int(10)?),
        kept: Micros(row.int(11)?),
        penalties: Micros(row.int(12)?),
        invoice_no: row.opt_int(13)?,
        request: row.text(14)?,
        plans: Vec::new(),
    })
}

async fn with_plans(tx: &mut Tx, row: Option<Row>) -> Result<Option<OrderRow>, StoreError> {
    let Some(row) = row else { return Ok(None) };
    let mut order = order_row(&row)?;
    let sql = format!("{PLANS} and p.order_no = $2 order by p.plan_no");
    let plans = tx.rows(sql, values![&order.account_id, order.order_no]).await?;
    order.plans = plans.iter().map(plan_row).collect::<Result<_, _>>()?;
    Ok(Some(order))
}

/// An order with its plans, whoever's it is: the account is in its id.
pub async fn order(tx: &mut Tx, order_id: &str) -> Result<Option<OrderRow>, StoreError> {
    let row = tx.row(format!("{ORDERS} where o.order_id = $1"), values![order_id]).await?;
    with_plans(tx, row).await
}

/// The orders of an account, or of all where none is named, oldest first; with `pending` those alone
/// whose refund waits for an operator. Without their plans.
pub async fn orders(
    tx: &mut Tx,
    account_id: Option<&str>,
    pending: bool,
) -> Result<Vec<OrderRow>, StoreError> {
    let mut sql = format!("{ORDERS} where ($1 is null or o.account_id = $1)");
    if pending {
        sql.push_str(" and o.status = 'pending_review'");
    }
    sql.push_str(" order by o.placed_at, o.account_id, o.order_no");
    tx.rows(sql, values![account_id]).await?.iter().map(order_row).collect()
}

/// The order that was placed under a reference, if one was.
pub async fn order_of_reference(
    tx: &mut Tx,
    account_id: &str,
    reference: &str,
) -> Result<Option<OrderRow>, StoreError> {
    let sql = format!("{ORDERS} where o.account_id = $1 and o.reference = $2");
    let row = tx.row(sql, values![account_id, reference]).await?;
    with_plans(tx, row).await
}

/// Saves an order of a locked account: the order, its plans and gifts, the money, the entry.
pub async fn save_order(
    tx: &mut Tx,
    account: &AccountRow,
    order: &Order,
    reference: Option<&str>,
    request: &str,
) -> Result<(), StoreError> {
    let account_id = &account.account_id;
    let sql = "insert into orders (account_id, order_no, order_id, reference, request, placed_at, total, paid, \
               coupon_no, coupon, status) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'paid')";
    let values = values![
        account_id,
        order.order_no,
        &order.order_id,
        reference,
        request,
        order.placed_at.0,
        order.total.0,
        order.paid.0,
        order.coupon_no,
        order.coupon.0
    ];
    tx.execute(sql, values).await?;
    let sql = "insert into plans (account_id, plan_no, plan_id, order_no, product, package, size, remaining, bonus, \
               price, coupon, net, effective_at, expires_at, countries) \
               values ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11, $12, $13, $14)";
    for plan in &order.plans {
        let values = values![
            account_id,
            plan.plan_no,
            &plan.plan_id,
            order.order_no,
            &*plan.product,
            &*plan.package_id,
            plan.size,
            plan.bonus,
            plan.price.0,
            plan.coupon.0,
            plan.net.0,
            plan.effective_at.0,
            plan.expires_at.0,
            plan.countries.to_string(),
        ];
        tx.execute(sql, values).await?;
    }
    coupons::spend(tx, account_id, order).await?;
    coupons::give(tx, account_id, order).await?;
    let mut after = account.clone();
    after.funds.balance = Micros(after.funds.balance.0 - order.paid.0);
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
    let mut ledger = LedgerWriter::new(tx.dialect());
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
    pub fn new(dialect: Dialect) -> LedgerWriter {
        let columns = "account_id, entry_no, ledger, plan_no, commodity, amount";
        LedgerWriter {
            entries: Bulk::new(dialect, "entries", "account_id, entry_no, cause, at"),
            postings: Bulk::new(dialect, "postings", columns),
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
