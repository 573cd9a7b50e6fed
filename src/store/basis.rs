//! What the books rest on since something was charged: the zone whose months are billed, and what each
//! product's charges are booked on.

use std::collections::BTreeMap;

use super::db::{Tx, values};
use super::error::StoreError;
use super::facts;
use crate::domain::product::Product;

const CHARGE_ON: &str = "charge_on ";
const COMMODITY: &str = "commodity ";
const ZONE: &str = "zone";

/// What was noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// None where nothing was charged yet.
    pub zone: Option<String>,
    /// `receipt` or `submission`, by product.
    pub charge_on: BTreeMap<String, String>,
    /// What its units are called in the ledger.
    pub commodity: BTreeMap<String, String>,
}

impl Basis {
    pub async fn load(tx: &mut Tx) -> Result<Basis, StoreError> {
        let mut basis = Basis::default();
        let sql = "select name, value from instance where name = $1 or name between $2 and $3 \
                   or name between $4 and $5";
        let names = values![ZONE, CHARGE_ON, format!("{CHARGE_ON}~"), COMMODITY, format!("{COMMODITY}~")];
        for row in tx.rows(sql, names).await? {
            let (name, value) = (row.text(0)?, row.text(1)?);
            if name == ZONE {
                basis.zone = Some(value);
            } else if let Some(product) = name.strip_prefix(CHARGE_ON) {
                basis.charge_on.insert(product.to_owned(), value);
            } else if let Some(product) = name.strip_prefix(COMMODITY) {
                basis.commodity.insert(product.to_owned(), value);
            }
        }
        Ok(basis)
    }
}

pub async fn note_zone(tx: &mut Tx, zone: &str) -> Result<(), StoreError> {
    facts::set(tx, ZONE, zone).await
}

pub async fn note_product(tx: &mut Tx, product: &Product) -> Result<(), StoreError> {
    facts::set(tx, &format!("{CHARGE_ON}{}", product.id), product.charge_on.as_str()).await?;
    facts::set(tx, &format!("{COMMODITY}{}", product.id), &product.commodity).await
}
