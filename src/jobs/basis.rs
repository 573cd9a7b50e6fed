//! What the books rest on once something was charged. Months are those of one billing zone (D55). What was
//! charged on receipt is made final, and what was charged on submission never is: a product that has charges
//! keeps its `charge_on` (R86, R87, R100).

use super::{JobError, Run};
use crate::store::basis;

/// Refuses a configuration that says otherwise than the books.
pub async fn check(run: &mut Run<'_>) -> Result<(), JobError> {
    let now = run.config.zone.name();
    if let Some(before) = basis::zone(run.tx).await?.filter(|before| before != now) {
        return Err(JobError::ZoneChanged { before, now: now.to_owned() });
    }
    let noted = basis::noted(run.tx).await?;
    for product in &run.config.catalog.products {
        let now = basis::word(product.charge_on);
        if let Some(before) = noted.get(&*product.id).filter(|before| *before != now) {
            return Err(JobError::BasisChanged {
                product: product.id.to_string(),
                before: before.clone(),
                now,
            });
        }
    }
    Ok(())
}

/// Notes the zone, and the basis of products that are about to be charged for the first time.
pub async fn note<'p>(
    run: &mut Run<'_>,
    products: impl IntoIterator<Item = &'p str>,
) -> Result<(), JobError> {
    let noted = basis::noted(run.tx).await?;
    if basis::zone(run.tx).await?.is_none() {
        basis::note_zone(run.tx, run.config.zone.name()).await?;
    }
    for id in products {
        if let Some(product) = run.config.catalog.get(id).filter(|_| !noted.contains_key(id)) {
            basis::note(run.tx, product).await?;
        }
    }
    Ok(())
}
