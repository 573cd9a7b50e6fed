//! What was given back, as it is shown.

use super::db::{Row, Tx, values};
use super::error::StoreError;
use crate::domain::message::MessageKey;
use crate::domain::money::Micros;
use crate::domain::period::Timestamp;

/// Units of a failed message that went back in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnRow {
    pub account_id: String,
    pub key: MessageKey,
    /// 0: the whole message.
    pub part: i64,
    pub received_at: Timestamp,
    pub product: String,
    pub units: i64,
    /// Who had paid; None: pay-as-you-go.
    pub from_plan: Option<String>,
    /// Where they went; None: money.
    pub to_plan: Option<String>,
    /// `unbilled` or `balance`; None where a plan took them.
    pub money_to: Option<String>,
    pub unit_price: Option<Micros>,
    pub amount: Micros,
}

/// What went back, summed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// Units by the plan that took them.
    pub plans: Vec<(String, i64)>,
    pub money: Micros,
}

pub fn returned(returns: &[ReturnRow]) -> Returned {
    let mut sum = Returned::default();
    for row in returns {
        match &row.to_plan {
            None => sum.money = Micros(sum.money.0 + row.amount.0),
            Some(plan) => match sum.plans.iter_mut().find(|(known, _)| known == plan) {
                Some((_, units)) => *units += row.units,
                None => sum.plans.push((plan.clone(), row.units)),
            },
        }
    }
    sum
}

impl ReturnRow {
    /// `2 units to plan acme-p1`, `1 unit at 0.045 = 0.045 to the balance`.
    pub fn words(&self) -> String {
        let units = if self.units == 1 { "1 unit".to_owned() } else { format!("{} units", self.units) };
        match (&self.to_plan, self.money_to.as_deref()) {
            (Some(plan), _) => format!("{units} to plan {plan}"),
            (None, to) => {
                let price = self.unit_price.unwrap_or_default();
                let to = if to == Some("unbilled") { "off the next bill" } else { "to the balance" };
                format!("{units} at {price} = {} {to}", self.amount)
            }
        }
    }
}

const RETURN: &str = "select r.account_id, r.id_hi, r.id_lo, r.part, r.received_at, r.product, r.units, f.plan_id, \
    t.plan_id, r.money_to, r.unit_price, r.amount from returns r \
    left join plans f on f.account_id = r.account_id and f.plan_no = r.from_plan \
    left join plans t on t.account_id = r.account_id and t.plan_no = r.to_plan";

fn return_row(row: &Row) -> Result<ReturnRow, StoreError> {
    Ok(ReturnRow {
        account_id: row.text(0)?,
        key: MessageKey { hi: row.int(1)?, lo: row.int(2)? },
        part: row.int(3)?,
        received_at: Timestamp(row.int(4)?),
        product: row.text(5)?,
        units: row.int(6)?,
        from_plan: row.opt_text(7)?,
        to_plan: row.opt_text(8)?,
        money_to: row.opt_text(9)?,
        unit_price: row.opt_int(10)?.map(Micros),
        amount: Micros(row.int(11)?),
    })
}

/// What a run gave back.
pub async fn of_run(tx: &mut Tx, run_no: i64) -> Result<Vec<ReturnRow>, StoreError> {
    let sql = format!(
        "{RETURN} where r.run_no = $1 order by r.account_id, r.received_at, r.id_hi, r.id_lo, r.part, r.seq"
    );
    tx.rows(sql, values![run_no]).await?.iter().map(return_row).collect()
}

/// What a message gave back.
pub async fn of_message(
    tx: &mut Tx,
    account_id: &str,
    key: MessageKey,
) -> Result<Vec<ReturnRow>, StoreError> {
    let sql =
        format!("{RETURN} where r.account_id = $1 and r.id_hi = $2 and r.id_lo = $3 order by r.part, r.seq");
    tx.rows(sql, values![account_id, key.hi, key.lo]).await?.iter().map(return_row).collect()
}

/// What an account got back.
pub async fn of_account(tx: &mut Tx, account_id: &str) -> Result<Vec<ReturnRow>, StoreError> {
    let sql = format!(
        "{RETURN} where r.account_id = $1 order by r.received_at, r.run_no, r.id_hi, r.id_lo, r.part, r.seq"
    );
    tx.rows(sql, values![account_id]).await?.iter().map(return_row).collect()
}
