//! What an account counts and accrues in a month, loaded and saved whole: one row a month, whatever
//! the number of products, template types and countries.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::db::{Dialect, Row, Tx, Value, values};
use super::dialect::Bulk;
use super::error::StoreError;
use crate::domain::account::{Account, Accrual};
use crate::domain::money::Micros;

pub const COLUMNS: &str = "account_id, month, tiers, accruals";

/// Months on their way into the books.
pub struct Months {
    new: Bulk,
    changed: Vec<Vec<Value>>,
}

impl Months {
    pub fn new(dialect: Dialect) -> Months {
        Months { new: Bulk::new(dialect, "account_months", COLUMNS), changed: Vec::new() }
    }

    /// Takes up the months in which an account differs from what was loaded of it.
    pub fn push(&mut self, before: &Account, after: &Account) {
        let known = numbers(before);
        for month in numbers(after) {
            let (tiers, accruals) = (tiers(after, month), accruals(after, month));
            if known.contains(&month) {
                if (&tiers, &accruals) != (&self::tiers(before, month), &self::accruals(before, month)) {
                    self.changed.push(values![&*after.account_id, month, tiers, accruals]);
                }
            } else {
                self.new.push(&[
                    (&*after.account_id).into(),
                    month.into(),
                    tiers.as_str().into(),
                    accruals.as_str().into(),
                ]);
            }
        }
    }

    pub async fn flush(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.new.flush(tx).await?;
        let rows = std::mem::take(&mut self.changed);
        let statement = "update account_months set tiers = v.tiers, accruals = v.accruals from v \
                         where account_months.account_id = v.account_id and account_months.month = v.month";
        super::many::execute_with(tx, COLUMNS, rows, statement).await.map(|_| ())
    }
}

/// The months of which a row is kept. A counter that stands at nothing is none.
fn numbers(account: &Account) -> BTreeSet<i64> {
    let counted = account.tiers.iter().filter(|(_, units)| **units != 0).map(|((month, _, _), _)| *month);
    counted.chain(account.accruals.keys().map(|(month, _, _)| *month)).collect()
}

fn tiers(account: &Account, of: i64) -> String {
    let of_month = account.tiers.iter().filter(|((month, _, _), units)| *month == of && **units != 0);
    list(of_month.map(|((_, product, class), units)| json!([&**product, &**class, units])))
}

fn accruals(account: &Account, of: i64) -> String {
    let of_month = account.accruals.iter().filter(|((month, _, _), _)| *month == of);
    list(of_month.map(|((_, product, vat), sums)| json!([&**product, vat, sums.gross.0, sums.net.0])))
}

fn list(items: impl Iterator<Item = Json>) -> String {
    Json::Array(items.collect()).to_string()
}

/// Adds a stored month to its account.
pub fn load(row: &Row, account: &mut Account) -> Result<(), StoreError> {
    let month = row.int(1)?;
    let corrupt = |e: serde_json::Error| StoreError::Corrupt(format!("the month {month} of an account: {e}"));
    let tiers: Vec<(String, String, i64)> = serde_json::from_str(&row.text(2)?).map_err(corrupt)?;
    for (product, class, units) in tiers {
        account.tiers.insert((month, product.into(), class.into()), units);
    }
    let accruals: Vec<(String, i64, i64, i64)> = serde_json::from_str(&row.text(3)?).map_err(corrupt)?;
    for (product, vat_ppm, gross, net) in accruals {
        let accrual = Accrual { gross: Micros(gross), net: Micros(net) };
        account.accruals.insert((month, product.into(), vat_ppm), accrual);
    }
    Ok(())
}
