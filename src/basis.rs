//! What the books rest on once something was charged. Months are those of one billing zone (D55). What was
//! charged on receipt is made final, and what was charged on submission never is: a product that has charges
//! keeps its `charge_on` (R86, R87, R100). Its units are posted under one name, or they would never balance; and
//! they go back in one way, or the audit could not tell which (D10, D52).

use crate::config::Config;
use crate::store::basis::{self, Basis, Kept};
use crate::store::{StoreError, Tx};

/// Why books can't be worked on with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum BasisError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "`{key}` of product {product} is \"{now}\" in products.toml, and its books were begun with \"{before}\": \
         put \"{before}\" back, and sell what is to be otherwise as a product of its own"
    )]
    ProductChanged { key: &'static str, product: String, before: String, now: String },
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
        for kept in Kept::ALL {
            let now = kept.of(product);
            if let Some(before) = noted.of(kept, &product.id).filter(|before| *before != now) {
                let (before, now) = (before.to_owned(), now.to_owned());
                let product = product.id.to_string();
                return Err(BasisError::ProductChanged { key: kept.as_str(), product, before, now });
            }
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
        let is_noted = Kept::ALL.into_iter().all(|kept| noted.of(kept, id).is_some());
        if let Some(product) = config.catalog.get(id).filter(|_| !is_noted) {
            basis::note_product(tx, product).await?;
        }
    }
    Ok(())
}
