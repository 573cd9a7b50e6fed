//! Coupons of an account: issued by hand or with a plan, spent by orders, voided by refunds.

use super::db::{Row, Tx, values};
use super::error::StoreError;
use crate::domain::coupon::Coupon;
use crate::domain::money::Micros;
use crate::domain::order::Order;
use crate::domain::period::Timestamp;

/// A coupon as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouponRow {
    pub coupon: Coupon,
    /// The plan that it was a gift to.
    pub gift_of: Option<String>,
}

/// What makes a new coupon.
#[derive(Clone, Debug)]
pub struct NewCoupon {
    pub amount: Micros,
    pub product: Option<String>,
    pub min_order: Micros,
    pub expires_at: Option<Timestamp>,
    /// The plan that it is a gift to.
    pub plan_no: Option<i64>,
}

const COUPONS: &str = "select c.coupon_no, c.coupon_id, c.amount, c.balance, c.product, c.min_order, c.issued_at, \
    c.expires_at, c.voided_at, p.plan_id from coupons c \
    left join plans p on p.account_id = c.account_id and p.plan_no = c.plan_no where c.account_id = $1";

fn coupon_row(row: &Row) -> Result<CouponRow, StoreError> {
    let coupon = Coupon {
        coupon_no: row.int(0)?,
        coupon_id: row.text(1)?.into(),
        amount: Micros(row.int(2)?),
        balance: Micros(row.int(3)?),
        product: row.opt_text(4)?.map(Into::into),
        min_order: Micros(row.int(5)?),
        issued_at: Timestamp(row.int(6)?),
        expires_at: row.opt_int(7)?.map(Timestamp),
        voided: row.opt_int(8)?.is_some(),
    };
    Ok(CouponRow { coupon, gift_of: row.opt_text(9)? })
}

/// All coupons of an account, in the order of their issue.
pub async fn list(tx: &mut Tx, account_id: &str) -> Result<Vec<CouponRow>, StoreError> {
    let rows = tx.rows(format!("{COUPONS} order by c.coupon_no"), values![account_id]).await?;
    rows.iter().map(coupon_row).collect()
}

pub async fn find(tx: &mut Tx, account_id: &str, coupon_id: &str) -> Result<Option<CouponRow>, StoreError> {
    let sql = format!("{COUPONS} and c.coupon_id = $2");
    tx.row(sql, values![account_id, coupon_id]).await?.as_ref().map(coupon_row).transpose()
}

/// Issues a coupon to a locked account and gives its id.
pub async fn add(
    tx: &mut Tx,
    account_id: &str,
    new: &NewCoupon,
    now: Timestamp,
) -> Result<String, StoreError> {
    // The account is locked, and coupons are never deleted: the next number is free.
    let last = "select coalesce(max(coupon_no), 0) from coupons where account_id = $1";
    let coupon_no = tx.int(last, values![account_id]).await? + 1;
    let coupon_id = format!("{account_id}-c{coupon_no}");
    let sql = "insert into coupons (account_id, coupon_no, coupon_id, amount, balance, product, min_order, issued_at, \
               expires_at, plan_no) values ($1, $2, $3, $4, $4, $5, $6, $7, $8, $9)";
    let values = values![
        account_id,
        coupon_no,
        &coupon_id,
        new.amount.0,
        new.product.clone(),
        new.min_order.0,
        now.0,
        new.expires_at.map(|at| at.0),
        new.plan_no
    ];
    tx.execute(sql, values).await?;
    Ok(coupon_id)
}

/// Takes what an order's coupon paid off its balance.
pub(super) async fn spend(tx: &mut Tx, account_id: &str, order: &Order) -> Result<(), StoreError> {
    let Some(coupon_no) = order.coupon_no else { return Ok(()) };
    let sql = "update coupons set balance = balance - $3 where account_id = $1 and coupon_no = $2";
    tx.execute(sql, values![account_id, coupon_no, order.coupon.0]).await.map(|_| ())
}

/// Issues the coupons that come with an order's plans: each is good for as long as its plan.
pub(super) async fn give(tx: &mut Tx, account_id: &str, order: &Order) -> Result<(), StoreError> {
    for plan in order.plans.iter().filter(|plan| plan.gift_coupon > Micros::ZERO) {
        let gift = NewCoupon {
            amount: plan.gift_coupon,
            product: None,
            min_order: Micros::ZERO,
            expires_at: Some(plan.expires_at),
            plan_no: Some(plan.plan_no),
        };
        add(tx, account_id, &gift, order.placed_at).await?;
    }
    Ok(())
}

/// Voids what is left of a refunded plan's gift; what of it was used stays used (R63, D27).
pub(super) async fn void(
    tx: &mut Tx,
    account_id: &str,
    plan_no: i64,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql =
        "update coupons set voided_at = $3 where account_id = $1 and plan_no = $2 and voided_at is null";
    tx.execute(sql, values![account_id, plan_no, at.0]).await.map(|_| ())
}
