//! Giving orders back (R52, R55, R61, R146-R149, D6, D7, D28, D63, D83).

use super::DeskError;
use super::accounts::lock;
use super::{accounts, orders};
use crate::config::Config;
use crate::domain::money::{Micros, MoneyFault};
use crate::domain::period::Timestamp;
use crate::domain::refund::{Answer, OrderStatus, Refund, RefundRefusal, Sold, approve, refundable, request};
use crate::store::accounts::AccountRow;
use crate::store::orders::OrderRow;
use crate::store::{Db, Tx, refunds};

/// An order, and what it would give back now.
#[derive(Clone, Debug)]
pub struct Shown {
    pub order: OrderRow,
    pub refundable: Micros,
}

pub async fn show(db: &Db, config: &Config, order_id: &str, now: Timestamp) -> Result<Shown, DeskError> {
    let mut tx = db.read().await?;
    let shown = shown(&mut tx, config, order_id, now).await?;
    tx.rollback().await?;
    Ok(shown)
}

async fn shown(tx: &mut Tx, config: &Config, order_id: &str, now: Timestamp) -> Result<Shown, DeskError> {
    let order = orders::find(tx, order_id).await?;
    let account = accounts::find(tx, &order.account_id).await?;
    let sold = refunds::load(tx, &account, order_id).await?;
    Ok(Shown { order, refundable: refundable(&sold, config.refund, now) })
}

/// Asks for the refund of an order, or of one plan of it. Where all of it is unused the money goes
/// back at once; where some of it was used the request waits for an operator.
pub async fn ask(
    db: &Db,
    config: &Config,
    order_id: &str,
    plan_id: Option<&str>,
    now: Timestamp,
) -> Result<Shown, DeskError> {
    let mut tx = db.write().await?;
    let (account, order) = load(&mut tx, order_id).await?;
    let behind = refunds::behind(&mut tx, &order).await?;
    let status = match request(&order, plan_id, config.refund, behind, now)? {
        Answer::Refunded(refund) => {
            give_back(&mut tx, &account, &order, &refund, now).await?;
            None
        }
        Answer::Pending => Some(OrderStatus::PendingReview),
        Answer::Rejected => Some(OrderStatus::Rejected),
    };
    if let Some(status) = status {
        refunds::note(&mut tx, &account.account_id, order.order_no, status).await?;
    }
    done(tx, config, order_id, now).await
}

/// Gives back the unused plans of an order whose request waits, and cancels the others.
pub async fn approve_request(
    db: &Db,
    config: &Config,
    order_id: &str,
    now: Timestamp,
) -> Result<Shown, DeskError> {
    let mut tx = db.write().await?;
    let (account, order) = load(&mut tx, order_id).await?;
    let behind = refunds::behind_with_failures(&mut tx, &order).await?;
    let refund = approve(&order, config.refund, behind, now)?;
    give_back(&mut tx, &account, &order, &refund, now).await?;
    done(tx, config, order_id, now).await
}

/// Turns a request down: the order stays as it is, and may be asked for again.
pub async fn reject_request(
    db: &Db,
    config: &Config,
    order_id: &str,
    now: Timestamp,
) -> Result<Shown, DeskError> {
    let mut tx = db.write().await?;
    let (account, order) = load(&mut tx, order_id).await?;
    order.is_pending()?;
    refunds::note(&mut tx, &account.account_id, order.order_no, OrderStatus::Rejected).await?;
    done(tx, config, order_id, now).await
}

/// The order, its account locked.
async fn load(tx: &mut Tx, order_id: &str) -> Result<(AccountRow, Sold), DeskError> {
    let account_id = refunds::account_of(tx, order_id).await?;
    let account_id = account_id.ok_or_else(|| DeskError::unknown_order(order_id))?;
    let account = lock(tx, &account_id).await?;
    let order = refunds::load(tx, &account, order_id).await?;
    Ok((account, order))
}

/// Books a refund. It may end a suspension (D35).
async fn give_back(
    tx: &mut Tx,
    account: &AccountRow,
    order: &Sold,
    refund: &Refund,
    now: Timestamp,
) -> Result<(), DeskError> {
    let mut after = account.clone();
    after.funds = refund.funds;
    let status = after.funds.status_after(after.status);
    after.status = status.map_err(|fault: MoneyFault| RefundRefusal::from(fault))?;
    Ok(refunds::save(tx, account, order, refund, &after, now).await?)
}

async fn done(mut tx: Tx, config: &Config, order_id: &str, now: Timestamp) -> Result<Shown, DeskError> {
    let shown = shown(&mut tx, config, order_id, now).await?;
    tx.commit().await?;
    Ok(shown)
}
