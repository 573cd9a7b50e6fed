//! What of an account can be invoiced, and what refunds take off it (R59, R79, D28, D29, D84).

use std::collections::BTreeMap;

use super::bills;
use super::db::{Row, Tx, values};
use super::error::StoreError;
use super::invoices::{STANDING, order, standing};
use crate::domain::bill::month_text;
use crate::domain::invoice::{InvoiceKind, Refunded};
use crate::domain::money::Micros;
use crate::domain::period::{Month, Timestamp};

/// What an account paid, what was invoiced of it and what went back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bills of which nothing is due, and orders at what was paid for them in cash and not given back.
    pub documents: Micros,
    /// Money for failures of units of theirs.
    pub refunds: Micros,
    /// What those were about that stand, and what they come to.
    pub invoiced_documents: Micros,
    pub invoiced: Micros,
}

impl Quota {
    /// What can still be invoiced; below zero more went back than can be invoiced.
    pub fn invoiceable(&self) -> Micros {
        Micros(self.documents.0 - self.refunds.0 - self.invoiced.0)
    }

    /// What was invoiced and is not earned any more: never more than was invoiced.
    pub fn deficit(&self) -> Micros {
        Micros((-self.invoiceable().0).clamp(0, self.invoiced.0.max(0)))
    }

    /// What refunds took back and no invoice has been lowered by.
    fn not_offset(&self) -> Micros {
        Micros(self.refunds.0 - (self.invoiced_documents.0 - self.invoiced.0))
    }
}

/// Of an order that was refunded nothing is invoiced, so nothing has to go back.
const REFUNDS: &str = "select o.order_id, case when r.from_plan = 0 then (select min(m.month) from bill_months m \
      where m.ends_at > r.window_start and m.charge_run >= r.charge_run) end as month, \
    r.product, coalesce(o.placed_at, r.window_start) as sold_at, r.amount from returns r \
    left join plans p on p.account_id = r.account_id and p.plan_no = r.from_plan \
    left join orders o on o.account_id = p.account_id and o.order_no = p.order_no \
    where r.account_id = $1 and r.money_to = 'balance' and coalesce(o.status, '') <> 'refunded'";

/// The refunds of what an account paid: those of a bill that is not paid yet lower what is due of it.
async fn refunds(tx: &mut Tx, account_id: &str, unpaid: &[Month]) -> Result<Vec<Refunded>, StoreError> {
    let sql = format!(
        "select f.order_id, f.month, f.product, f.sold_at, cast(sum(f.amount) as bigint) from ({REFUNDS}) f \
         group by f.order_id, f.month, f.product, f.sold_at \
         order by f.sold_at, f.product, f.month, f.order_id"
    );
    let refunded = |row: &Row| {
        let (order_id, month) = (row.opt_text(0)?, row.opt_int(1)?);
        Ok(Refunded {
            kind: if order_id.is_some() { InvoiceKind::Order } else { InvoiceKind::Bill },
            reference: order_id.or(month.map(month_text)).unwrap_or_default(),
            product: row.text(2)?,
            sold_at: Timestamp(row.int(3)?),
            amount: Micros(row.int(4)?),
        })
    };
    let refunds: Result<Vec<Refunded>, StoreError> =
        tx.rows(sql, values![account_id]).await?.iter().map(refunded).collect();
    let unpaid: Vec<String> = unpaid.iter().map(Month::to_string).collect();
    let is_paid = |of: &Refunded| of.kind == InvoiceKind::Order || !unpaid.contains(&of.reference);
    Ok(refunds?.into_iter().filter(is_paid).collect())
}

async fn load(tx: &mut Tx, account_id: &str) -> Result<(Quota, Vec<Refunded>), StoreError> {
    let unpaid = bills::unpaid(tx, account_id).await?;
    let refunds = refunds(tx, account_id, &unpaid).await?;
    let mut sum = async |sql: &str| Ok::<_, StoreError>(Micros(tx.int(sql, values![account_id]).await?));
    // Of an order that was refunded nothing can be invoiced any more, what its used plans kept included.
    let orders =
        sum("select cast(coalesce(sum(p.price - p.coupon - p.refunded), 0) as bigint) from plans p \
                      join orders o on o.account_id = p.account_id and o.order_no = p.order_no \
                      where p.account_id = $1 and o.status <> 'refunded'")
        .await?;
    let billed =
        sum("select cast(coalesce(sum(total), 0) as bigint) from bills where account_id = $1").await?;
    let about = format!("select cast(coalesce(sum(i.amount), 0) as bigint) {STANDING}");
    let invoiced_documents = sum(&about).await?;
    let total = format!("select cast(coalesce(sum(i.total), 0) as bigint) {STANDING}");
    let invoiced = sum(&total).await?;
    let mut not_paid = 0;
    for month in unpaid {
        not_paid += bills::total(tx, account_id, month).await?.unwrap_or_default().0;
    }
    let documents = Micros(orders.0 + billed.0 - not_paid);
    let refunded = Micros(refunds.iter().map(|of| of.amount.0).sum());
    Ok((Quota { documents, refunds: refunded, invoiced_documents, invoiced }, refunds))
}

pub async fn quota(tx: &mut Tx, account_id: &str) -> Result<Quota, StoreError> {
    Ok(load(tx, account_id).await?.0)
}

/// What of an account can be invoiced now; below zero it is a deficit, which blocks withdrawals.
pub async fn invoiceable(tx: &mut Tx, account_id: &str) -> Result<Micros, StoreError> {
    Ok(quota(tx, account_id).await?.invoiceable())
}

/// What an invoice about a bill or an order is to be lowered by, and the refunds that it comes from: those of
/// the bill or order itself, and of what is invoiced already. What went back of something that is not invoiced
/// yet comes off its own invoice; what that can't bear comes off any.
pub async fn to_offset(
    tx: &mut Tx,
    account_id: &str,
    (kind, reference): (InvoiceKind, &str),
) -> Result<(Micros, Vec<Refunded>), StoreError> {
    let (quota, mut refunds) = load(tx, account_id).await?;
    let mut to_offset = quota.not_offset();
    let mut sums: BTreeMap<(InvoiceKind, String), i64> = BTreeMap::new();
    for of in refunds.iter().filter(|of| !of.is_of(kind, reference)) {
        *sums.entry((of.kind, of.reference.clone())).or_default() += of.amount.0;
    }
    for ((kind, reference), refunded) in sums {
        if standing(tx, account_id, kind, &reference).await?.is_some() {
            continue;
        }
        let borne = paid(tx, account_id, kind, &reference).await?.0.clamp(0, refunded.max(0));
        to_offset = Micros(to_offset.0 - borne);
        if borne == refunded {
            refunds.retain(|of| !of.is_of(kind, &reference));
        }
    }
    Ok((to_offset, refunds))
}

/// What was paid for a bill or an order, in whole hundredths as it is invoiced.
async fn paid(
    tx: &mut Tx,
    account_id: &str,
    kind: InvoiceKind,
    reference: &str,
) -> Result<Micros, StoreError> {
    let paid = match (kind, reference.parse::<Month>()) {
        (InvoiceKind::Order, _) => order(tx, account_id, reference).await?.map(|order| order.cash()),
        (InvoiceKind::Bill, Ok(month)) => bills::total(tx, account_id, month).await?,
        (InvoiceKind::Bill, Err(_)) => None,
    };
    Ok(paid.unwrap_or_default().round_down_to_cents())
}
