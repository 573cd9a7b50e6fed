//! On what each product's charges are booked, once it was charged, and the zone whose months are billed.

use std::collections::BTreeMap;

use super::db::{Tx, values};
use super::error::StoreError;
use super::facts;
use crate::domain::product::{ChargeOn, Product};

const FACT: &str = "charge_on ";
const ZONE: &str = "zone";

/// What was noted, by product.
pub async fn noted(tx: &mut Tx) -> Result<BTreeMap<String, String>, StoreError> {
    let sql = "select name, value from instance where name >= $1 and name < $2";
    let rows = tx.rows(sql, values![FACT, "charge_on!"]).await?;
    let fact = |row: &super::db::Row| {
        let name = row.text(0)?;
        Ok((name.strip_prefix(FACT).unwrap_or(&name).to_owned(), row.text(1)?))
    };
    rows.iter().map(fact).collect()
}

/// Notes it for a product that is about to be charged.
pub async fn note(tx: &mut Tx, product: &Product) -> Result<(), StoreError> {
    facts::set(tx, &format!("{FACT}{}", product.id), word(product.charge_on)).await
}

/// The billing zone; None where nothing was charged yet.
pub async fn zone(tx: &mut Tx) -> Result<Option<String>, StoreError> {
    facts::get(tx, ZONE).await
}

pub async fn note_zone(tx: &mut Tx, zone: &str) -> Result<(), StoreError> {
    facts::set(tx, ZONE, zone).await
}

/// The word of the configuration.
pub fn word(charge_on: ChargeOn) -> &'static str {
    match charge_on {
        ChargeOn::Receipt => "receipt",
        ChargeOn::Submission => "submission",
    }
}
