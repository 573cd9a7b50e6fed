//! Free units that accounts have had, one row a day (R30).

use super::charging::Loaded;
use super::db::{Tx, Value, values};
use super::error::StoreError;
use crate::domain::account::Account;
use crate::domain::allowance::{Allowance, DayUse};

/// Free units on their way into the books.
#[derive(Default)]
pub struct FreeUnits {
    rows: Vec<Vec<Value>>,
}

impl FreeUnits {
    /// Takes up the days on which an account has had more than was loaded of it.
    pub fn push(&mut self, before: &Account, after: &Account) {
        for (product, used) in &after.free {
            for (day, DayUse { units, allowance }) in used.since(before.free.get(product)) {
                let (id, product) = (&*after.account_id, &**product);
                self.rows.push(values![id, product, day, units, allowance.per_day, allowance.total]);
            }
        }
    }

    pub async fn flush(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.rows);
        let columns = "account_id, product, day, units, per_day, total";
        let statement = format!(
            "insert into free_units ({columns}) select {columns} from v where true \
             on conflict (account_id, product, day) do update set units = excluded.units"
        );
        super::many::execute_with(tx, columns, rows, &statement).await.map(|_| ())
    }
}

/// Adds to accounts what they have had. Only runs that charge a product that may have an allowance need it.
pub async fn load(tx: &mut Tx, accounts: &mut Loaded) -> Result<(), StoreError> {
    let ids = accounts.keys().map(|id| values![&**id]).collect();
    let query = "select account_id, product, day, units, per_day, total from free_units \
                 where account_id in (select id from v)";
    for row in super::many::rows_with(tx, "id", ids, query).await? {
        if let Some(Ok((account, _))) = accounts.get_mut(row.text(0)?.as_str()) {
            let allowance = Allowance { per_day: row.int(4)?, total: row.int(5)? };
            let had = DayUse { units: row.int(3)?, allowance };
            account.free.entry(row.text(1)?.into()).or_default().add(row.int(2)?, had);
        }
    }
    Ok(())
}
