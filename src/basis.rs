//! What the books rest on once something was charged. Months are those of one billing zone (D55). What was
//! charged on receipt is made final, and what was charged on submission never is: a product that has charges
//! keeps its `charge_on` (R86, R87, R100). Its units are posted under one name, or they would never balance.

use crate::config::Config;
use crate::store::basis::{self, Basis};
use crate::store::{StoreError, Tx};

/// Why books can't be worked on with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum BasisError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "`charge_on` of product {product} is \"{now}\" in products.toml, and it was charged on {before}: put \
         \"{before}\" back, and sell what is charged otherwise as a product of its own"
    )]
    ChargeOnChanged { product: String, before: String, now: &'static str },
    #[error(
        "`commodity` of product {product} is \"{now}\" in products.toml, and its units stand in the books as \
         {before}: put \"{before}\" back"
    )]
    CommodityChanged { product: String, before: String, now: String },
    #[error(
        "these books are kept in the billing zone {before}, and the configuration says {now}: name the file of these \
         books by --config, or put `zone = \"{before}\"` back into quittance.toml"
    )]
    ZoneChanged { before: String, now: String },
}

/// What was noted, unless the configuration says otherwise.
pub async fn check(tx: &mut Tx, config: &Config) -> Result<Basis, BasisError> {
    let noted = Basis::load(tx).await?;
    let zone = config.zone.name();
    if let Some(before) = noted.zone.as_ref().filter(|before| *before != zone) {
        return Err(BasisError::ZoneChanged { before: before.clone(), now: zone.to_owned() });
    }
    for product in &config.catalog.products {
        let now = product.charge_on.as_str();
        if let Some(before) = noted.charge_on.get(&*product.id).filter(|before| *before != now) {
            let (product, before) = (product.id.to_string(), before.clone());
            return Err(BasisError::ChargeOnChanged { product, before, now });
        }
        let now = &*product.commodity;
        if let Some(before) = noted.commodity.get(&*product.id).filter(|before| *before != now) {
            let (product, before, now) = (product.id.to_string(), before.clone(), now.to_owned());
            return Err(BasisError::CommodityChanged { product, before, now });
        }
    }
    Ok(noted)
}

/// Notes what is not noted yet: the zone, and the products that are about to be charged.
pub async fn note<'p>(
    tx: &mut Tx,
    config: &Config,
    noted: &Basis,
    products: impl IntoIterator<Item = &'p str>,
) -> Result<(), StoreError> {
    if noted.zone.is_none() {
        basis::note_zone(tx, config.zone.name()).await?;
    }
    for id in products {
        let is_noted = noted.charge_on.contains_key(id) && noted.commodity.contains_key(id);
        if let Some(product) = config.catalog.get(id).filter(|_| !is_noted) {
            basis::note_product(tx, product).await?;
        }
    }
    Ok(())
}
