//! Issuing coupons (R62, D72).

use super::DeskError;
use super::accounts::lock;
use super::cash::MAX_AMOUNT;
use crate::config::Config;
use crate::domain::account::Status;
use crate::domain::money::Micros;
use crate::domain::period::Timestamp;
use crate::store::Db;
use crate::store::coupons::{self, CouponRow, NewCoupon};

/// Issues a coupon to an account.
pub async fn add(
    db: &Db,
    config: &Config,
    account_id: &str,
    new: &NewCoupon,
    now: Timestamp,
) -> Result<CouponRow, DeskError> {
    if !(Micros(1)..=MAX_AMOUNT).contains(&new.amount) {
        let message = format!("a coupon is more than 0 and at most {MAX_AMOUNT}");
        return Err(DeskError::refused("amount_out_of_range", message));
    }
    if !(Micros::ZERO..=MAX_AMOUNT).contains(&new.min_order) {
        let message = format!("--min-order is 0 or more, at most {MAX_AMOUNT}");
        return Err(DeskError::refused("amount_out_of_range", message));
    }
    if let Some(product) = &new.product
        && config.catalog.get(product).is_none()
    {
        return Err(DeskError::unknown_product(&config.catalog, product));
    }
    if new.expires_at.is_some_and(|end| end <= now) {
        let message = "the coupon would have expired already: give --expires a time to come";
        return Err(DeskError::refused("coupon_expired", message));
    }
    let mut tx = db.write().await?;
    let account = lock(&mut tx, account_id).await?;
    if account.status == Status::Closed {
        return Err(DeskError::refused("account_closed", format!("account `{account_id}` is closed")));
    }
    let coupon_id = coupons::add(&mut tx, account_id, new, now).await?;
    let added = coupons::find(&mut tx, account_id, &coupon_id).await?;
    tx.commit().await?;
    let gone = || DeskError::refused("unknown_coupon", format!("coupon `{coupon_id}` is gone"));
    added.ok_or_else(gone)
}
