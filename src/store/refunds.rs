//! Refunds of orders: loaded with all that may stand against them, saved with all that they change.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::accounts::{self, AccountRow};
use super::charging::{PLAN, PLAN_COLUMNS, plan};
use super::coupons;
use super::db::{Tx, values};
use super::error::StoreError;
use super::failures::claims_before;
use super::notices::Notices;
use crate::domain::money::Micros;
use crate::domain::notice::{Fact, Notice, NoticeKind};
use crate::domain::period::Timestamp;
use crate::domain::refund::{Behind, Bought, OrderStatus, Refund, Sold};

/// The account of an order, or None where there is no such order.
pub async fn account_of(tx: &mut Tx, order_id: &str) -> Result<Option<String>, StoreError> {
    let row = tx.row("select account_id from orders where order_id = $1", values![order_id]).await?;
    row.map(|row| row.text(0)).transpose()
}

/// An order of an account, with its plans.
pub async fn load(tx: &mut Tx, account: &AccountRow, order_id: &str) -> Result<Sold, StoreError> {
    let account_id = &account.account_id;
    let sql = "select o.order_no, o.status, o.invoice_no, o.refunds, o.placed_at, \
               (select cast(coalesce(sum(p.amount), 0) as bigint) from penalties p \
                where p.account_id = o.account_id and p.order_no = o.order_no) \
               - (select cast(coalesce(sum(r.kept), 0) as bigint) from refunds r \
                where r.account_id = o.account_id and r.order_no = o.order_no) \
               from orders o where o.account_id = $1 and o.order_id = $2";
    let corrupt = |what: String| StoreError::Corrupt(format!("order {order_id} {what}"));
    let row = tx.row(sql, values![account_id, order_id]).await?;
    let row = row.ok_or_else(|| corrupt("is gone".into()))?;
    let (order_no, status) = (row.int(0)?, row.text(1)?);
    Ok(Sold {
        order_no,
        order_id: order_id.into(),
        account_id: account_id.as_str().into(),
        currency: account.currency.as_str().into(),
        account_status: account.status,
        funds: account.funds,
        status: OrderStatus::parse(&status).ok_or_else(|| corrupt(format!("has the status {status}")))?,
        placed_at: Timestamp(row.int(4)?),
        invoice_no: row.opt_int(2)?,
        refunds: row.int(3)?,
        penalties: Micros(row.int(5)?),
        plans: plans(tx, account_id, order_no).await?,
    })
}

async fn plans(tx: &mut Tx, account_id: &str, order_no: i64) -> Result<Vec<Bought>, StoreError> {
    // What a plan's units are called in the books is what its order called them.
    let sql = "select s.plan_no, s.commodity from entries e \
               join postings s on s.account_id = e.account_id and s.entry_no = e.entry_no \
               where e.account_id = $1 and e.cause = $2 and s.ledger = 'Quota:Plan'";
    let rows = tx.rows(sql, values![account_id, format!("order:{order_no}")]).await?;
    let mut commodities: BTreeMap<i64, Arc<str>> = BTreeMap::new();
    for row in rows {
        commodities.insert(row.int(0)?, row.text(1)?.into());
    }
    let sql = format!(
        "select {PLAN}, plan_id, price - coupon, refunded_at from plans \
         where account_id = $1 and order_no = $2 order by plan_no"
    );
    let mut plans = Vec::new();
    for row in tx.rows(sql, values![account_id, order_no]).await? {
        let (plan, plan_id) = (plan(&row)?, row.text(PLAN_COLUMNS)?);
        let unknown =
            || StoreError::Corrupt(format!("plan {plan_id} has no units in the entry of its order"));
        let commodity = commodities.get(&plan.plan_no).cloned().ok_or_else(unknown)?;
        plans.push(Bought {
            plan,
            plan_id: plan_id.into(),
            commodity,
            cash: Micros(row.int(PLAN_COLUMNS + 1)?),
            cancelled: row.opt_int(PLAN_COLUMNS + 2)?.is_some(),
        });
    }
    Ok(plans)
}

/// What of an account's messages since an order waits, and may still touch its plans (D63, D82). Rejected
/// and inbound ones are never charged, and wait for nothing.
pub async fn behind(tx: &mut Tx, order: &Sold) -> Result<Behind, StoreError> {
    let (account_id, since) = (&*order.account_id, order.placed_at);
    let uncharged = "select cast(case when exists (select 1 from batches b \
        join messages m on m.batch_no = b.batch_no where b.run_no is null and b.kind = 'messages' \
        and m.account_id = $1 and m.submit_time >= $2 and (m.disposition is null or m.disposition = 'too_long')) \
        then 1 else 0 end as bigint)";
    let suspense = "select cast(case when exists (select 1 from suspense s join messages m \
        on m.account_id = s.account_id and m.id_hi = s.id_hi and m.id_lo = s.id_lo \
        where s.run_no is null and s.account_id = $1 and m.submit_time >= $2) then 1 else 0 end as bigint)";
    Ok(Behind {
        uncharged: tx.int(uncharged, values![account_id, since.0]).await? == 1,
        suspense: tx.int(suspense, values![account_id, since.0]).await? == 1,
        failures: false,
    })
}

/// The same, and whether a failure of the account waits for its answer.
pub async fn behind_with_failures(tx: &mut Tx, order: &Sold) -> Result<Behind, StoreError> {
    let failures = claims_before(tx, Timestamp(i64::MAX)).await?.contains_key(&order.account_id);
    Ok(Behind { failures, ..behind(tx, order).await? })
}

/// Saves a refund of a locked account's order: the order, its plans and their gifts, the money, the
/// entry, and what the customer is told.
pub async fn save(
    tx: &mut Tx,
    account: &AccountRow,
    order: &Sold,
    refund: &Refund,
    after: &AccountRow,
    now: Timestamp,
) -> Result<(), StoreError> {
    let id = &account.account_id;
    let sql = "insert into refunds (account_id, order_no, refund_no, at, cash, kept) values ($1, $2, $3, $4, $5, $6)";
    let values = values![id, order.order_no, refund.refund_no, now.0, refund.cash.0, refund.kept.0];
    tx.execute(sql, values).await?;
    // Nothing is left of the plan: no units, no value.
    let sql = "update plans set forfeited = forfeited + remaining, remaining = 0, released = net, carried = 0, \
               refund_no = $3, refunded_at = $4, refunded = $5 where account_id = $1 and plan_no = $2";
    for plan in &refund.plans {
        let cash = plan.cash.unwrap_or_default();
        tx.execute(sql, values![id, plan.plan_no, refund.refund_no, now.0, cash.0]).await?;
        coupons::void(tx, id, plan.plan_no, now).await?;
    }
    let sql = "update orders set status = $3, refunds = $4 where account_id = $1 and order_no = $2";
    tx.execute(sql, values![id, order.order_no, refund.status.as_str(), refund.refund_no]).await?;
    accounts::save(tx, account, after, std::slice::from_ref(&refund.entry), now).await?;
    let mut notices = Notices::default();
    let facts = vec![
        ("order", Fact::Text(order.order_id.to_string())),
        ("amount", Fact::Money(refund.amount)),
        ("kept", Fact::Money(refund.kept)),
        ("plans", Fact::Count(refund.plans.len() as i64)),
    ];
    let subject = format!("{}-r{}", order.order_id, refund.refund_no);
    notices.push(id, &Notice { kind: NoticeKind::RefundDone, subject, due: now, facts }, now);
    notices.flush(tx).await
}

/// Notes that a request waits, or that it was turned down.
pub async fn note(
    tx: &mut Tx,
    account_id: &str,
    order_no: i64,
    status: OrderStatus,
) -> Result<(), StoreError> {
    let sql = "update orders set status = $3 where account_id = $1 and order_no = $2";
    tx.execute(sql, values![account_id, order_no, status.as_str()]).await.map(|_| ())
}
