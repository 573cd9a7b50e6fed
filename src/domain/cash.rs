//! Cash paid out and penalties: what is booked on an account by hand besides top-ups
//! (R57, R60, D13, D30, D61, D76).

use std::sync::Arc;

use super::account::{Funds, Split};
use super::ledger::{Cause, Entry, Ledger, LedgerFault};
use super::money::{Micros, MoneyFault};
use super::period::Timestamp;

/// Why money is not paid out, in order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WithdrawalRefusal {
    #[error("a bank pays whole hundredths: {0} is finer, write {rounded}", rounded = .0.round_down_to_cents())]
    TooFine(Micros),
    #[error("{amount} {currency} are asked for, {available} {currency} are available")]
    InsufficientBalance { amount: Micros, available: Micros, currency: Arc<str> },
    #[error(
        "{deficit} {currency} more were invoiced than were earned, which keeps as much of the balance back: at most \
         {most} {currency} can be paid out; return an invoice, or wait for the next bill"
    )]
    InvoiceDeficit { deficit: Micros, most: Micros, currency: Arc<str> },
    #[error("the withdrawal can't be booked: {0}")]
    Money(#[from] MoneyFault),
    #[error("the withdrawal can't be booked: {0}")]
    Ledger(#[from] LedgerFault),
}

impl WithdrawalRefusal {
    /// The name that scripts read.
    pub fn code(&self) -> &'static str {
        match self {
            WithdrawalRefusal::TooFine(_) => "amount_too_fine",
            WithdrawalRefusal::InsufficientBalance { .. } => "insufficient_balance",
            WithdrawalRefusal::InvoiceDeficit { .. } => "invoice_deficit",
            WithdrawalRefusal::Money(_) | WithdrawalRefusal::Ledger(_) => "amount_out_of_range",
        }
    }
}

/// Cash to be paid out.
#[derive(Clone, Copy, Debug)]
pub struct Withdrawal<'a> {
    pub reference: &'a str,
    pub amount: Micros,
    /// By how much more was invoiced than may be: never below zero (R60, D28).
    pub deficit: Micros,
    pub at: Timestamp,
}

/// Pays out at most what is available, and what an invoice deficit leaves of the balance (D61). The
/// credit limit is no cash.
pub fn withdraw(
    funds: &mut Funds,
    currency: &Arc<str>,
    withdrawal: Withdrawal<'_>,
) -> Result<Entry, WithdrawalRefusal> {
    let Withdrawal { reference, amount, deficit, at } = withdrawal;
    if amount != amount.round_down_to_cents() {
        return Err(WithdrawalRefusal::TooFine(amount));
    }
    let available = funds.available()?;
    if amount > available {
        return Err(WithdrawalRefusal::InsufficientBalance { amount, available, currency: currency.clone() });
    }
    let most = funds.balance.minus(deficit)?.min(available).max(Micros::ZERO);
    if amount > most {
        return Err(WithdrawalRefusal::InvoiceDeficit { deficit, most, currency: currency.clone() });
    }
    funds.balance = funds.balance.minus(amount)?;
    let mut entry = Entry::new(Cause::Withdrawal { reference: reference.to_owned() }, at);
    entry.debit(Ledger::Balance, currency, amount.0)?;
    entry.credit(Ledger::Bank, currency, amount.0)?;
    Ok(entry.balanced()?)
}

/// Claims a penalty: the balance pays as far as it goes, the rest is due (R57, D30). Gives the entry and
/// how it was paid.
pub fn penalize(
    funds: &mut Funds,
    currency: &Arc<str>,
    penalty_no: i64,
    amount: Micros,
    at: Timestamp,
) -> Result<(Entry, Split), LedgerFault> {
    let mut entry = Entry::new(Cause::Penalty { penalty_no }, at);
    let split = entry.post_claimed(funds, currency, amount)?;
    entry.credit(Ledger::Penalty, currency, amount.0)?;
    Ok((entry.balanced()?, split))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENT: i64 = 10_000;

    fn funds(balance: i64, unbilled: i64) -> Funds {
        let money = |cents: i64| Micros(cents * CENT);
        Funds {
            balance: money(balance),
            unbilled: money(unbilled),
            due: Micros::ZERO,
            credit_limit: money(9),
        }
    }

    fn paid_out(mut funds: Funds, micros: i64, deficit: i64) -> Result<Micros, &'static str> {
        let deficit = Micros(deficit * CENT);
        let withdrawal = Withdrawal { reference: "w", amount: Micros(micros), deficit, at: Timestamp(0) };
        let done = withdraw(&mut funds, &"CNY".into(), withdrawal);
        done.map(|_| funds.balance).map_err(|refusal| refusal.code())
    }

    #[test]
    fn what_is_available_and_not_kept_back_can_be_paid_out() {
        assert_eq!(paid_out(funds(100, 30), 70 * CENT, 0), Ok(Micros(30 * CENT)));
        assert_eq!(paid_out(funds(100, 30), 71 * CENT, 0), Err("insufficient_balance"));
        assert_eq!(paid_out(funds(100, 30), 60 * CENT, 40), Ok(Micros(40 * CENT)));
        assert_eq!(paid_out(funds(100, 30), 61 * CENT, 40), Err("invoice_deficit"));
        assert_eq!(paid_out(funds(100, 30), CENT, 200), Err("invoice_deficit"));
        assert_eq!(paid_out(funds(100, 0), CENT + 1, 0), Err("amount_too_fine"));
    }

    #[test]
    fn a_penalty_takes_the_balance_and_leaves_the_rest_due() {
        let mut funds = funds(20, 10);
        let (entry, split) = penalize(&mut funds, &"CNY".into(), 1, Micros(50 * CENT), Timestamp(0)).unwrap();
        assert_eq!(split, Split { balance: Micros(20 * CENT), due: Micros(30 * CENT) });
        assert_eq!(funds.available(), Ok(Micros(-40 * CENT)));
        assert_eq!((entry.cause.to_string().as_str(), entry.postings.len()), ("penalty:1", 3));
    }
}
