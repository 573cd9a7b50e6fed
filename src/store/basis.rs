//! What the books rest on since something was charged: the zone whose months are billed, and what each
//! product's charges are booked on.

use std::collections::BTreeMap;

use super::db::{Tx, values};
use super::error::StoreError;
use super::facts;
use crate::domain::product::{Product, ReturnOrder};

const ZONE: &str = "zone";

/// What a product keeps once it was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// `receipt` or `submission`.
    ChargeOn,
    /// What its units are called in the ledger.
    Commodity,
    /// Where its failed units go back to.
    ReturnOrder,
}

impl Kept {
    pub const ALL: [Kept; 3] = [Kept::ChargeOn, Kept::Commodity, Kept::ReturnOrder];

    /// Its key in products.toml, and in the books before the product.
    pub fn as_str(self) -> &'static str {
        match self {
            Kept::ChargeOn => "charge_on",
            Kept::Commodity => "commodity",
            Kept::ReturnOrder => "return_order",
        }
    }

    /// As a product is configured.
    pub fn of(self, product: &Product) -> &str {
        match self {
            Kept::ChargeOn => product.charge_on.as_str(),
            Kept::Commodity => &product.commodity,
            Kept::ReturnOrder => product.return_order.as_str(),
        }
    }
}

/// What was noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// None where nothing was charged yet.
    pub zone: Option<String>,
    products: BTreeMap<(Kept, String), String>,
}

impl Basis {
    pub async fn load(tx: &mut Tx) -> Result<Basis, StoreError> {
        let mut basis = Basis::default();
        let of_products = Kept::ALL.map(|kept| format!(" or name between '{0} ' and '{0} ~'", kept.as_str()));
        let sql = format!("select name, value from instance where name = $1{}", of_products.concat());
        for row in tx.rows(sql, values![ZONE]).await? {
            let (name, value) = (row.text(0)?, row.text(1)?);
            match name.split_once(' ') {
                None => basis.zone = Some(value),
                Some((key, product)) => {
                    let kept = Kept::ALL.into_iter().find(|kept| kept.as_str() == key);
                    let known = kept.map(|kept| ((kept, product.to_owned()), value));
                    basis.products.extend(known);
                }
            }
        }
        Ok(basis)
    }

    /// What a product was charged with; None where nothing is known of it.
    pub fn of(&self, kept: Kept, product: &str) -> Option<&str> {
        let noted = |kept| self.products.get(&(kept, product.to_owned())).map(String::as_str);
        // Books of before that was a choice have none, and kept to the only one.
        let as_ever = || noted(Kept::ChargeOn).map(|_| ReturnOrder::Literal.as_str());
        noted(kept).or_else(|| as_ever().filter(|_| kept == Kept::ReturnOrder))
    }
}

pub async fn note_zone(tx: &mut Tx, zone: &str) -> Result<(), StoreError> {
    facts::set(tx, ZONE, zone).await
}

pub async fn note_product(tx: &mut Tx, product: &Product) -> Result<(), StoreError> {
    for kept in Kept::ALL {
        facts::set(tx, &format!("{} {}", kept.as_str(), product.id), kept.of(product)).await?;
    }
    Ok(())
}
