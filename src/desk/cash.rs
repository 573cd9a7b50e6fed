//! Cash in and out of accounts, and penalties (R57, R58, R60, R72, R73, R83-R85, D2, D30, D36, D60, D61).

use super::DeskError;
use super::accounts::{check_reference, find, lock};
use crate::config::Config;
use crate::domain::account::Status;
use crate::domain::cash::{self, Withdrawal};
use crate::domain::ledger::Entry;
use crate::domain::money::{Micros, MoneyFault};
use crate::domain::order::order_id;
use crate::domain::period::Timestamp;
use crate::domain::refund::refundable;
use crate::store::accounts::{self, AccountRow};
use crate::store::cash::{self as stored, Claim, Penalty};
use crate::store::invoice_quota::quota;
use crate::store::{Db, Tx, refunds};

/// The largest amount that one movement may have: a thousand million currency units.
pub const MAX_AMOUNT: Micros = Micros(1_000_000_000 * Micros::PER_UNIT);

/// Cash that came in.
#[derive(Clone, Copy, Debug)]
pub struct TopUp<'a> {
    pub amount: Micros,
    /// The payment's own number: booked once.
    pub reference: &'a str,
    /// Who paid, where the bank tells it.
    pub payer: Option<&'a str>,
}

/// Pays cash into an account, once per reference. What is due is paid first; it may end a suspension (D2).
pub async fn top_up(
    db: &Db,
    account_id: &str,
    top_up: TopUp<'_>,
    now: Timestamp,
) -> Result<AccountRow, DeskError> {
    let mut tx = db.write().await?;
    top_up_in(&mut tx, account_id, top_up, now).await?;
    let saved = find(&mut tx, account_id).await?;
    tx.commit().await?;
    Ok(saved)
}

/// The same as part of a larger transaction.
pub async fn top_up_in(
    tx: &mut Tx,
    account_id: &str,
    top_up: TopUp<'_>,
    now: Timestamp,
) -> Result<(), DeskError> {
    let TopUp { amount, reference, payer } = top_up;
    check_amount("a top-up", amount)?;
    check_reference(reference)?;
    if let Some(payer) = payer {
        check_words("bad_payer", "a payer's name", payer, 200)?;
    }
    let account = lock(tx, account_id).await?;
    if let Some(known) = stored::top_up(tx, account_id, reference).await? {
        return match known.amount == amount && (payer.is_none() || known.payer.as_deref() == payer) {
            true => Ok(()),
            false => {
                let by = known.payer.map_or(String::new(), |payer| format!(" by {payer}"));
                Err(reference_used("a top-up", reference, known.amount, &by))
            }
        };
    }
    if account.status == Status::Closed && account.funds.available().map_err(too_large)? >= Micros::ZERO {
        let message = format!("account `{account_id}` is closed and owes nothing: send the money back");
        return Err(DeskError::refused("account_closed", message));
    }
    let mut after = account.clone();
    let currency = account.currency.as_str().into();
    let entry = Entry::top_up(reference, now, &currency, &mut after.funds, amount).map_err(out_of_range)?;
    after.status = after.funds.status_after(after.status).map_err(too_large)?;
    stored::add_top_up(tx, account_id, reference, amount, payer, now).await?;
    Ok(accounts::save(tx, &account, &after, &[entry], now).await?)
}

/// Whether a payment came from the verified entity itself, by name: case and spaces do not count
/// (R84, R85, D36).
pub fn is_own_payer(account_name: &str, payer: &str) -> bool {
    let plain = |name: &str| -> String {
        name.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
    };
    plain(account_name) == plain(payer)
}

/// Pays cash out of an account, once per reference: at most what is available, less what an invoice
/// deficit keeps back (D61).
pub async fn withdraw(
    db: &Db,
    account_id: &str,
    amount: Micros,
    reference: &str,
    now: Timestamp,
) -> Result<AccountRow, DeskError> {
    check_amount("a withdrawal", amount)?;
    check_reference(reference)?;
    let mut tx = db.write().await?;
    let account = lock(&mut tx, account_id).await?;
    if let Some(known) = stored::withdrawal(&mut tx, account_id, reference).await? {
        return match known.amount == amount {
            true => Ok(account),
            false => Err(reference_used("a withdrawal", reference, known.amount, "")),
        };
    }
    let deficit = quota(&mut tx, account_id).await?.deficit();
    let mut after = account.clone();
    let currency = account.currency.as_str().into();
    let withdrawal = Withdrawal { reference, amount, deficit, at: now };
    let entry = cash::withdraw(&mut after.funds, &currency, withdrawal)
        .map_err(|refusal| DeskError::refused(refusal.code(), refusal.to_string()))?;
    after.status = after.funds.status_after(after.status).map_err(too_large)?;
    stored::add_withdrawal(&mut tx, account_id, reference, amount, now).await?;
    accounts::save(&mut tx, &account, &after, &[entry], now).await?;
    let saved = find(&mut tx, account_id).await?;
    tx.commit().await?;
    Ok(saved)
}

/// A penalty as it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct NewPenalty<'a> {
    pub amount: Micros,
    pub reason: &'a str,
    /// Lowers what this order gives back, instead of charging the account.
    pub order: Option<&'a str>,
    /// Its own number: claimed once.
    pub reference: Option<&'a str>,
}

/// Claims a penalty from an account's balance, the rest being due, or from what an order may give back
/// (R57, D30). Losses above it that are claimed further belong into the reason (R58).
pub async fn penalize(
    db: &Db,
    config: &Config,
    account_id: &str,
    new: NewPenalty<'_>,
    now: Timestamp,
) -> Result<AccountRow, DeskError> {
    let NewPenalty { amount, reason, reference, .. } = new;
    check_amount("a penalty", amount)?;
    check_words("bad_reason", "a reason", reason, 500)?;
    if let Some(reference) = reference {
        check_reference(reference)?;
    }
    let mut tx = db.write().await?;
    let account = lock(&mut tx, account_id).await?;
    let known = stored::penalties(&mut tx, account_id).await?;
    if let Some(same) =
        known.iter().find(|known| reference.is_some() && known.reference.as_deref() == reference)
    {
        let same_order = same.order_no.map(|order_no| order_id(account_id, order_no)).as_deref() == new.order;
        if same.amount == amount && same_order && same.reason == reason {
            return Ok(account);
        }
        let against = same
            .order_no
            .map_or(String::new(), |order_no| format!(" against order {}", order_id(account_id, order_no)));
        let more = format!("{against} for `{}`", same.reason);
        return Err(reference_used("a penalty", reference.unwrap_or_default(), same.amount, &more));
    }
    let mut penalty = Penalty {
        penalty_no: account.penalties + 1,
        order_no: None,
        amount,
        reason: reason.to_owned(),
        reference: reference.map(str::to_owned),
        at: now,
    };
    let mut after = account.clone();
    after.penalties = penalty.penalty_no;
    let entries = match new.order {
        None => {
            let currency = account.currency.as_str().into();
            let (entry, split) = cash::penalize(&mut after.funds, &currency, penalty.penalty_no, amount, now)
                .map_err(out_of_range)?;
            after.status = after.funds.status_after(after.status).map_err(too_large)?;
            if split.due > Micros::ZERO {
                let reference = penalty.penalty_no.to_string();
                let claim = Claim { kind: "penalty".into(), reference, at: now, amount: split.due };
                stored::add_claim(&mut tx, account_id, &claim).await?;
            }
            vec![entry]
        }
        Some(order_id) => {
            penalty.order_no = Some(penalized_order(&mut tx, config, &account, order_id, &penalty).await?);
            Vec::new()
        }
    };
    stored::add_penalty(&mut tx, account_id, &penalty).await?;
    accounts::save(&mut tx, &account, &after, &entries, now).await?;
    let saved = find(&mut tx, account_id).await?;
    tx.commit().await?;
    Ok(saved)
}

/// The order's number, where it can bear the penalty: out of what it would give back now.
async fn penalized_order(
    tx: &mut Tx,
    config: &Config,
    account: &AccountRow,
    order_id: &str,
    penalty: &Penalty,
) -> Result<i64, DeskError> {
    let account_id = &account.account_id;
    if refunds::account_of(tx, order_id).await?.as_ref() != Some(account_id) {
        let message = format!(
            "account `{account_id}` has no order `{order_id}`; see `quittance order list {account_id}`"
        );
        return Err(DeskError::refused("unknown_order", message));
    }
    let order = refunds::load(tx, account, order_id).await?;
    let left = refundable(&order, config.refund, penalty.at);
    if penalty.amount > left {
        let message = format!(
            "order `{order_id}` would give back {} now, and a penalty can keep no more of it; penalize the account for \
             the rest",
            left.for_people()
        );
        return Err(DeskError::refused("exceeds_refundable", message));
    }
    Ok(order.order_no)
}

fn check_amount(what: &str, amount: Micros) -> Result<(), DeskError> {
    if amount > Micros::ZERO && amount <= MAX_AMOUNT {
        return Ok(());
    }
    let message = format!("{what} is more than 0 and at most {MAX_AMOUNT}");
    Err(DeskError::refused("amount_out_of_range", message))
}

/// Words that stand in the books: some, not too many, on one line.
pub fn check_words(code: &'static str, what: &str, words: &str, most: usize) -> Result<(), DeskError> {
    let plain = !words.trim().is_empty() && !words.chars().any(char::is_control);
    if plain && words.chars().count() <= most {
        return Ok(());
    }
    Err(DeskError::refused(code, format!("{what} has 1 to {most} characters, no line breaks among them")))
}

fn reference_used(what: &str, reference: &str, amount: Micros, more: &str) -> DeskError {
    let message = format!("reference `{reference}` was used for {what} of {amount}{more}; use another one");
    DeskError::refused("reference_conflict", message)
}

fn out_of_range(fault: impl std::fmt::Display) -> DeskError {
    DeskError::refused("amount_out_of_range", fault.to_string())
}

fn too_large(_: MoneyFault) -> DeskError {
    DeskError::refused("amount_out_of_range", "the balance would be too large for the books")
}

#[cfg(test)]
mod tests {
    use super::is_own_payer;

    #[test]
    fn a_payer_is_known_by_name_whatever_the_case_and_spaces() {
        assert!(is_own_payer("Acme Trading Ltd", "ACME  trading ltd"));
        assert!(is_own_payer("杭州某某科技有限公司", "杭州某某科技有限公司 "));
        assert!(!is_own_payer("Acme Trading Ltd", "Acme Ltd"));
    }
}
