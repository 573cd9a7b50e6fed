//! Accounts and top-ups (R2, R9, R14, R70, R72, R73, D2, D36, D61, D85).

use super::DeskError;
use crate::config::Config;
use crate::domain::account::Status;
use crate::domain::ledger::Entry;
use crate::domain::money::Micros;
use crate::domain::period::Timestamp;
use crate::store::accounts::{self, AccountRow, NewAccount};
use crate::store::{Db, Tx};

/// The largest amount that one movement may have: a thousand million currency units.
pub(super) const MAX_AMOUNT: Micros = Micros(1_000_000_000 * Micros::PER_UNIT);

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
    check_id(&new.account_id)?;
    if new.name.trim().is_empty() || new.name.chars().count() > 200 || new.name.chars().any(char::is_control)
    {
        let message = "a name has 1 to 200 characters, no line breaks among them";
        return Err(DeskError::refused("bad_name", message));
    }
    if new.currency.len() != 3 || !new.currency.bytes().all(|b| b.is_ascii_uppercase()) {
        let message =
            format!("`{}` is not a currency: write three capital letters, such as CNY", new.currency);
        return Err(DeskError::refused("bad_currency", message));
    }
    if !(Micros::ZERO..=MAX_AMOUNT).contains(&new.credit_limit) {
        return Err(DeskError::refused("amount_out_of_range", "a credit limit is 0 or more"));
    }
    if !accounts::add(tx, new, now).await? {
        let message = format!("account `{}` exists already", new.account_id);
        return Err(DeskError::refused("account_exists", message));
    }
    Ok(())
}

/// Ids stand in file names, ledgers and URLs, so that they are kept plain.
fn check_id(id: &str) -> Result<(), DeskError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@:+".contains(c);
    let begins = id.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if begins && id.len() <= 64 && id.chars().all(plain) {
        return Ok(());
    }
    let message =
        "an account id has 1 to 64 letters, digits or . _ - @ : + and begins with a letter or digit";
    Err(DeskError::refused("bad_account_id", message))
}

pub async fn find(tx: &mut Tx, account_id: &str) -> Result<AccountRow, DeskError> {
    accounts::find(tx, account_id).await?.ok_or_else(|| DeskError::unknown_account(account_id))
}

/// Locks an account for a change; closed ones can't be changed.
pub(super) async fn lock(tx: &mut Tx, account_id: &str) -> Result<AccountRow, DeskError> {
    let account = accounts::lock(tx, account_id).await?;
    account.ok_or_else(|| DeskError::unknown_account(account_id))
}

/// Pays cash into an account, once per reference. It may end a suspension (D2).
pub async fn top_up(
    db: &Db,
    account_id: &str,
    amount: Micros,
    reference: &str,
    now: Timestamp,
) -> Result<AccountRow, DeskError> {
    let mut tx = db.write().await?;
    top_up_in(&mut tx, account_id, amount, reference, now).await?;
    let saved = find(&mut tx, account_id).await?;
    tx.commit().await?;
    Ok(saved)
}

/// The same as part of a larger transaction.
pub async fn top_up_in(
    tx: &mut Tx,
    account_id: &str,
    amount: Micros,
    reference: &str,
    now: Timestamp,
) -> Result<(), DeskError> {
    if amount <= Micros::ZERO || amount > MAX_AMOUNT {
        let message = format!("a top-up is more than 0 and at most {MAX_AMOUNT}");
        return Err(DeskError::refused("amount_out_of_range", message));
    }
    check_reference(reference)?;
    let account = lock(tx, account_id).await?;
    match accounts::top_up_of(tx, account_id, reference).await? {
        Some(known) if known == amount => return Ok(()),
        Some(known) => {
            let message =
                format!("reference `{reference}` was used for a top-up of {known}; use another one");
            return Err(DeskError::refused("reference_conflict", message));
        }
        None => {}
    }
    if account.status == Status::Closed {
        return Err(DeskError::refused("account_closed", format!("account `{account_id}` is closed")));
    }
    let fits = |_| DeskError::refused("amount_out_of_range", "the balance would be too large for the books");
    let mut after = account.clone();
    let currency = account.currency.as_str().into();
    let entry = Entry::top_up(reference, now, &currency, &mut after.funds, amount);
    let entry = entry.map_err(|fault| DeskError::refused("amount_out_of_range", fault.to_string()))?;
    after.status = after.funds.status_after(after.status).map_err(fits)?;
    accounts::add_top_up(tx, account_id, reference, amount, now).await?;
    Ok(accounts::save(tx, &account, &after, &[entry], now).await?)
}

pub(super) fn check_reference(reference: &str) -> Result<(), DeskError> {
    if (1..=128).contains(&reference.chars().count()) && !reference.chars().any(char::is_control) {
        return Ok(());
    }
    Err(DeskError::refused("bad_reference", "a reference has 1 to 128 characters, no line breaks among them"))
}

/// Notes that an account's identity was verified (R2).
pub async fn verify(db: &Db, account_id: &str, now: Timestamp) -> Result<AccountRow, DeskError> {
    let mut tx = db.write().await?;
    lock(&mut tx, account_id).await?;
    accounts::verify(&mut tx, account_id, now).await?;
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
    if product.needs_verification && account.verified_at.is_none() {
        let message = format!(
            "{} can be activated by verified accounts only; run `quittance account verify {account_id}`",
            product.id
        );
        return Err(DeskError::refused("not_verified", message));
    }
    accounts::activate(&mut tx, account_id, &product.id, now).await?;
    tx.commit().await?;
    Ok(account)
}
