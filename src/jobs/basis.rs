//! What the books rest on once something was charged. Months are those of one billing zone (D55). What was
//! charged on receipt is made final, and what was charged on submission never is: a product that has charges
//! keeps its `charge_on` (R86, R87, R100).

use super::{JobError, Run};
use crate::store::basis::{self, Basis};

/// What was noted, unless the configuration says otherwise.
pub async fn check(run: &mut Run<'_>) -> Result<Basis, JobError> {
    let noted = Basis::load(run.tx).await?;
    let zone = run.config.zone.name();
    if let Some(before) = noted.zone.as_ref().filter(|before| *before != zone) {
        return Err(JobError::ZoneChanged { before: before.clone(), now: zone.to_owned() });
    }
    for product in &run.config.catalog.products {
        let now = product.charge_on.as_str();
        if let Some(before) = noted.charge_on.get(&*product.id).filter(|before| *before != now) {
            return Err(JobError::BasisChanged {
                product: product.id.to_string(),
                before: before.clone(),
                now,
            });
        }
    }
    Ok(noted)
}

/// Notes what is not noted yet: the zone, and the products that are about to be charged.
pub async fn note<'p>(
    run: &mut Run<'_>,
    noted: &Basis,
    products: impl IntoIterator<Item = &'p str>,
) -> Result<(), JobError> {
    if noted.zone.is_none() {
        basis::note_zone(run.tx, run.config.zone.name()).await?;
    }
    for id in products {
        if let Some(product) = run.config.catalog.get(id).filter(|_| !noted.charge_on.contains_key(id)) {
            basis::note_charge_on(run.tx, product).await?;
        }
    }
    Ok(())
}
