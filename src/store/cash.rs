//! Cash in and out, penalties, and claims that wait for payment.

use super::db::{Row, Tx, values};
use super::error::StoreError;
use crate::domain::money::Micros;
use crate::domain::period::Timestamp;

/// A payment to the account, or out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub at: Timestamp,
    /// `top_up` or `withdrawal`.
    pub kind: String,
    pub reference: String,
    pub amount: Micros,
    /// Who paid, where that was told (R85, D36).
    pub payer: Option<String>,
}

/// The top-up of a reference, if there was one.
pub async fn top_up(tx: &mut Tx, account_id: &str, reference: &str) -> Result<Option<Payment>, StoreError> {
    let sql = "select at, 'top_up', reference, amount, payer from top_ups \
               where account_id = $1 and reference = $2";
    tx.row(sql, values![account_id, reference]).await?.as_ref().map(payment).transpose()
}

pub async fn withdrawal(
    tx: &mut Tx,
    account_id: &str,
    reference: &str,
) -> Result<Option<Payment>, StoreError> {
    let sql = "select at, 'withdrawal', reference, amount, null from withdrawals \
               where account_id = $1 and reference = $2";
    tx.row(sql, values![account_id, reference]).await?.as_ref().map(payment).transpose()
}

/// All payments of an account, the newest first.
pub async fn payments(tx: &mut Tx, account_id: &str) -> Result<Vec<Payment>, StoreError> {
    let sql = "select at, 'top_up' as kind, reference, amount, payer from top_ups where account_id = $1 \
               union all select at, 'withdrawal', reference, amount, null from withdrawals where account_id = $1 \
               order by at desc, kind, reference";
    tx.rows(sql, values![account_id]).await?.iter().map(payment).collect()
}

fn payment(row: &Row) -> Result<Payment, StoreError> {
    Ok(Payment {
        at: Timestamp(row.int(0)?),
        kind: row.text(1)?,
        reference: row.text(2)?,
        amount: Micros(row.int(3)?),
        payer: row.opt_text(4)?,
    })
}

/// Notes a top-up under its reference.
pub async fn add_top_up(
    tx: &mut Tx,
    account_id: &str,
    reference: &str,
    amount: Micros,
    payer: Option<&str>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "insert into top_ups (account_id, reference, amount, payer, at) values ($1, $2, $3, $4, $5)";
    tx.execute(sql, values![account_id, reference, amount.0, payer, at.0]).await.map(|_| ())
}

/// Notes a withdrawal under its reference.
pub async fn add_withdrawal(
    tx: &mut Tx,
    account_id: &str,
    reference: &str,
    amount: Micros,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "insert into withdrawals (account_id, reference, amount, at) values ($1, $2, $3, $4)";
    tx.execute(sql, values![account_id, reference, amount.0, at.0]).await.map(|_| ())
}

/// A penalty for a violation of the terms (R57).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Penalty {
    pub penalty_no: i64,
    /// The order whose refunds it lowers; None where the account was charged.
    pub order_no: Option<i64>,
    pub amount: Micros,
    pub reason: String,
    pub reference: Option<String>,
    pub at: Timestamp,
}

pub async fn add_penalty(tx: &mut Tx, account_id: &str, penalty: &Penalty) -> Result<(), StoreError> {
    let sql = "insert into penalties (account_id, penalty_no, order_no, amount, reason, reference, at) \
               values ($1, $2, $3, $4, $5, $6, $7)";
    let Penalty { penalty_no, order_no, amount, reason, reference, at } = penalty;
    let values = values![account_id, *penalty_no, *order_no, amount.0, reason, reference.clone(), at.0];
    tx.execute(sql, values).await.map(|_| ())
}

/// The penalties of an account, the oldest first.
pub async fn penalties(tx: &mut Tx, account_id: &str) -> Result<Vec<Penalty>, StoreError> {
    let sql = "select penalty_no, order_no, amount, reason, reference, at from penalties where account_id = $1 \
               order by penalty_no";
    let penalty = |row: &Row| {
        Ok(Penalty {
            penalty_no: row.int(0)?,
            order_no: row.opt_int(1)?,
            amount: Micros(row.int(2)?),
            reason: row.text(3)?,
            reference: row.opt_text(4)?,
            at: Timestamp(row.int(5)?),
        })
    };
    tx.rows(sql, values![account_id]).await?.iter().map(penalty).collect()
}

/// What was billed or claimed and could not be paid at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// `bill` or `penalty`.
    pub kind: String,
    /// The month, or the penalty's number.
    pub reference: String,
    pub at: Timestamp,
    /// What was open of it at first.
    pub amount: Micros,
}

pub async fn add_claim(tx: &mut Tx, account_id: &str, claim: &Claim) -> Result<(), StoreError> {
    let sql = "insert into claims (account_id, kind, ref, at, amount) values ($1, $2, $3, $4, $5)";
    let values = values![account_id, &claim.kind, &claim.reference, claim.at.0, claim.amount.0];
    tx.execute(sql, values).await.map(|_| ())
}

/// Claims with the ledger entry that made each: it tells their order, which their times need not, as where
/// something is booked with an earlier `--as-of`.
pub(super) const CLAIMS: &str = "select c.account_id, c.kind, c.ref, c.at, c.amount, e.entry_no from claims c \
    join entries e on e.account_id = c.account_id and e.cause = c.kind || ':' || replace(c.ref, '-', '')";

/// Claims of an account, each with what is open of it now: payments pay the oldest first, so that of
/// what is due the newest are open (D60).
pub async fn open_claims(
    tx: &mut Tx,
    account_id: &str,
    due: Micros,
) -> Result<Vec<(Claim, Micros)>, StoreError> {
    let sql = format!(
        "select o.kind, o.ref, o.at, o.amount from ({CLAIMS}) o where o.account_id = $1 order by o.entry_no desc"
    );
    let mut rest = due;
    let mut open = Vec::new();
    for row in tx.rows(sql, values![account_id]).await? {
        let amount = Micros(row.int(3)?);
        let of_it = amount.min(rest);
        if of_it <= Micros::ZERO {
            break;
        }
        rest = Micros(rest.0 - of_it.0);
        let claim = Claim { kind: row.text(0)?, reference: row.text(1)?, at: Timestamp(row.int(2)?), amount };
        open.push((claim, of_it));
    }
    Ok(open)
}
