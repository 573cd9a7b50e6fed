//! Accounts and their standing (R2, R9, R14, R56, R70, D26, D61, D85).

use super::DeskError;
use super::cash::{MAX_AMOUNT, check_words};
use crate::config::Config;
use crate::domain::account::{ID_RULE, Kind, Status, is_id};
use crate::domain::money::{Micros, check_currency};
use crate::domain::period::Timestamp;
use crate::notify::address::Mailbox;
use crate::store::accounts::{self, AccountRow, NewAccount};
use crate::store::{Db, Tx};

/// Adds an account. The same again is refused as `account_exists`.
pub async fn add(db: &Db, new: &NewAccount, now: Timestamp) -> Result<AccountRow, DeskError> {
    let mut tx = db.write().await?;
    add_in(&mut tx, new, now).await?;
    let added = find(&mut tx, &new.account_id).await?;
    tx.commit().await?;
    Ok(added)
}

/// The same as part of a larger transaction.
pub async fn add_in(tx: &mut Tx, new: &NewAccount, now: Timestamp) -> Result<(), DeskError> {
    if !is_id(&new.account_id) {
        return Err(DeskError::refused("bad_account_id", ID_RULE));
    }
    check_words("bad_name", "a name", &new.name, 200)?;
    check_currency(&new.currency).map_err(|message| DeskError::refused("bad_currency", message))?;
    check_credit_limit(new.credit_limit)?;
    new.email.as_deref().map_or(Ok(()), check_email)?;
    new.phone.as_deref().map_or(Ok(()), check_phone)?;
    if !accounts::add(tx, new, now).await? {
        let message = format!("account `{}` exists already", new.account_id);
        return Err(DeskError::refused("account_exists", message));
    }
    Ok(())
}

fn check_email(email: &str) -> Result<(), DeskError> {
    Mailbox::parse(email).map(|_| ()).map_err(|fault| DeskError::refused("bad_email", fault))
}

fn check_credit_limit(limit: Micros) -> Result<(), DeskError> {
    if (Micros::ZERO..=MAX_AMOUNT).contains(&limit) {
        return Ok(());
    }
    let message = format!("a credit limit is 0 or more, and at most {MAX_AMOUNT}");
    Err(DeskError::refused("amount_out_of_range", message))
}

/// Texts are sent to it: a number as people write it, with or without its calling code.
fn check_phone(phone: &str) -> Result<(), DeskError> {
    let digits = phone.strip_prefix('+').unwrap_or(phone).replace([' ', '-'], "");
    if (5..=17).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(());
    }
    let message = "a phone number has 5 to 17 digits, after a + where it begins with its calling code, such as \
                   +8613800138000";
    Err(DeskError::refused("bad_phone", message))
}

pub async fn find(tx: &mut Tx, account_id: &str) -> Result<AccountRow, DeskError> {
    accounts::find(tx, account_id).await?.ok_or_else(|| DeskError::unknown_account(account_id))
}

/// Locks an account for a change.
pub(super) async fn lock(tx: &mut Tx, account_id: &str) -> Result<AccountRow, DeskError> {
    let account = accounts::lock(tx, account_id).await?;
    account.ok_or_else(|| DeskError::unknown_account(account_id))
}

pub(super) fn check_reference(reference: &str) -> Result<(), DeskError> {
    check_words("bad_reference", "a reference", reference, 128)
}

/// What is to be changed of an account; None leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub name: Option<String>,
    pub kind: Option<Kind>,
    /// An empty one takes it out.
    pub email: Option<String>,
    pub phone: Option<String>,
    pub locale: Option<String>,
    pub credit_limit: Option<Micros>,
}

/// Changes an account. Another credit limit may suspend or restore it at once; promotional messages of an
/// individual that became an enterprise leave suspense with the next run (R70).
pub async fn change(
    db: &Db,
    account_id: &str,
    changes: &Changes,
    now: Timestamp,
) -> Result<AccountRow, DeskError> {
    let mut tx = db.write().await?;
    let before = lock_open(&mut tx, account_id).await?;
    let mut after = before.clone();
    if let Some(name) = &changes.name {
        check_words("bad_name", "a name", name, 200)?;
        after.name.clone_from(name);
    }
    changes.email.as_deref().filter(|email| !email.is_empty()).map_or(Ok(()), check_email)?;
    changes.phone.as_deref().filter(|phone| !phone.is_empty()).map_or(Ok(()), check_phone)?;
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    after.kind = changes.kind.unwrap_or(before.kind);
    after.email = changes.email.as_ref().map_or(before.email.clone(), given);
    after.phone = changes.phone.as_ref().map_or(before.phone.clone(), given);
    after.locale = changes.locale.clone().unwrap_or(before.locale.clone());
    if let Some(limit) = changes.credit_limit {
        check_credit_limit(limit)?;
        after.funds.credit_limit = limit;
        let fits = |_| DeskError::refused("amount_out_of_range", "the limit is too large for the books");
        after.status = after.funds.status_after(before.status).map_err(fits)?;
    }
    accounts::change(&mut tx, &before, &after).await?;
    let reason = Some("credit limit changed");
    accounts::save_because(&mut tx, &before, &after, &[], now, reason).await?;
    tx.commit().await?;
    Ok(after)
}

/// Suspends an account for a violation of the terms, until it is released: no payment ends it (R56).
pub async fn hold(db: &Db, account_id: &str, reason: &str, now: Timestamp) -> Result<AccountRow, DeskError> {
    check_words("bad_reason", "a reason", reason, 500)?;
    let mut tx = db.write().await?;
    let before = lock_open(&mut tx, account_id).await?;
    if let Some(held) = &before.held {
        let message = format!(
            "account `{account_id}` is held already: {held}; release it first with `quittance account release {account_id}`"
        );
        return Err(DeskError::refused("already_held", message));
    }
    let mut after = before.clone();
    after.status = Status::Held { overdue: before.is_overdue() };
    after.held = Some(reason.to_owned());
    accounts::hold(&mut tx, account_id, Some(reason)).await?;
    accounts::save_because(&mut tx, &before, &after, &[], now, Some(reason)).await?;
    tx.commit().await?;
    Ok(after)
}

/// Lets go of an account that was held: it is active, or suspended where it is overdue.
pub async fn release(db: &Db, account_id: &str, now: Timestamp) -> Result<AccountRow, DeskError> {
    let mut tx = db.write().await?;
    let before = lock_open(&mut tx, account_id).await?;
    let Status::Held { overdue } = before.status else {
        let message = format!("account `{account_id}` is not held; an overdue one is restored by a top-up");
        return Err(DeskError::refused("not_held", message));
    };
    let mut after = before.clone();
    after.status = if overdue { Status::Suspended } else { Status::Active };
    after.held = None;
    accounts::hold(&mut tx, account_id, None).await?;
    accounts::save_because(&mut tx, &before, &after, &[], now, Some("released")).await?;
    tx.commit().await?;
    Ok(after)
}

/// Closes an account for good: it can neither buy nor send, its personal data are erased, its books are
/// kept. What it owes is billed as ever, and what is left of its balance can be withdrawn (F94).
/// Closing it again changes nothing.
pub async fn close(db: &Db, account_id: &str, now: Timestamp) -> Result<AccountRow, DeskError> {
    let mut tx = db.write().await?;
    let before = lock(&mut tx, account_id).await?;
    if before.status == Status::Closed {
        return Ok(before);
    }
    let waiting = accounts::waiting_messages(&mut tx, account_id).await?;
    if waiting > 0 {
        let message = format!(
            "{waiting} messages of account `{account_id}` wait to be charged; run \
             `quittance --run-job aggregate-charges`, then see `quittance status`"
        );
        return Err(DeskError::refused("charging_behind", message));
    }
    let mut after = before.clone();
    after.status = Status::Closed;
    accounts::erase(&mut tx, &before, now).await?;
    accounts::save(&mut tx, &before, &after, &[], now).await?;
    let saved = find(&mut tx, account_id).await?;
    tx.commit().await?;
    Ok(saved)
}

/// Locks an account that is not closed.
async fn lock_open(tx: &mut Tx, account_id: &str) -> Result<AccountRow, DeskError> {
    let account = lock(tx, account_id).await?;
    if account.status == Status::Closed {
        return Err(DeskError::refused("account_closed", format!("account `{account_id}` is closed")));
    }
    Ok(account)
}

/// Notes that an account's identity was verified (R2).
pub async fn verify(
    db: &Db,
    account_id: &str,
    region: Option<&str>,
    now: Timestamp,
) -> Result<AccountRow, DeskError> {
    if let Some(region) = region {
        check_words("bad_region", "a region", region, 64)?;
    }
    let mut tx = db.write().await?;
    lock(&mut tx, account_id).await?;
    accounts::verify(&mut tx, account_id, region, now).await?;
    let saved = find(&mut tx, account_id).await?;
    tx.commit().await?;
    Ok(saved)
}

/// Activates a product for an account, which products with `needs_activation` ask for (R9, R14).
pub async fn activate(
    db: &Db,
    config: &Config,
    account_id: &str,
    product: &str,
    now: Timestamp,
) -> Result<AccountRow, DeskError> {
    let Some(product) = config.catalog.get(product) else {
        return Err(DeskError::unknown_product(&config.catalog, product));
    };
    let mut tx = db.write().await?;
    let account = lock(&mut tx, account_id).await?;
    account.customer().check_verified(product)?;
    accounts::activate(&mut tx, account_id, &product.id, now).await?;
    tx.commit().await?;
    Ok(account)
}
