//! Plans whose validity is over and whose end is to be posted.

use super::db::{Row, Tx, Value, values};
use super::error::StoreError;
use crate::domain::period::Timestamp;

/// A plan whose end is to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndingPlan {
    pub account_id: String,
    pub plan_no: i64,
    pub expires_at: Timestamp,
    /// It has units or is worth something; else it was used up.
    pub something_left: bool,
}

/// The plans whose validity was over by a moment: few, or none.
pub async fn ending(tx: &mut Tx, by: Timestamp) -> Result<Vec<EndingPlan>, StoreError> {
    let sql = "select account_id, plan_no, expires_at, \
               cast(case when remaining > 0 or net - released + carried <> 0 then 1 else 0 end as bigint) \
               from plans where ended_at is null and expires_at <= $1";
    let plan = |row: &Row| {
        Ok(EndingPlan {
            account_id: row.text(0)?,
            plan_no: row.int(1)?,
            expires_at: Timestamp(row.int(2)?),
            something_left: row.int(3)? == 1,
        })
    };
    tx.rows(sql, values![by.0]).await?.iter().map(plan).collect()
}

/// Plans whose end is posted in this transaction.
#[derive(Default)]
pub struct Ends {
    rows: Vec<Vec<Value>>,
}

impl Ends {
    pub fn push(&mut self, account_id: &str, plan_no: i64, at: Timestamp) {
        self.rows.push(values![account_id, plan_no, at.0]);
    }

    pub async fn flush(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.rows);
        let statement = "update plans set ended_at = v.at from v \
                         where plans.account_id = v.account_id and plans.plan_no = v.plan_no";
        super::many::execute_with(tx, "account_id, plan_no, at", rows, statement).await.map(|_| ())
    }
}
