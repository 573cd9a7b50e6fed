//! What makes an account's bill of its sums: for the job that bills, and for whoever looks ahead (R79, D80).

use crate::config::Config;
use crate::domain::bill::{BilledPrice, Terms};
use crate::domain::period::{Month, Timestamp};
use crate::domain::price::Buyer;
use crate::store::{StoreError, Tx, billing};

/// Times at which sums may not run across, in order: where months, VAT rates and `volume` lists begin.
pub async fn cuts(tx: &mut Tx, config: &Config) -> Result<Vec<Timestamp>, StoreError> {
    let mut cuts = config.book.volume_cuts();
    let vat = config.catalog.products.iter().flat_map(|product| &product.vat);
    cuts.extend(vat.map(|rate| rate.from));
    cuts.extend(billing::billed_months(tx).await?.iter().map(|month| month.ends_at));
    cuts.retain(|cut| cut.0.unsigned_abs() < i64::MAX as u64);
    cuts.sort_unstable();
    cuts.dedup();
    Ok(cuts)
}

/// The rules of an account's bill.
pub fn terms<'a>(
    config: &'a Config,
    month: Month,
    buyer: Buyer<'a>,
    billed_prices: &'a [BilledPrice],
) -> Terms<'a> {
    Terms {
        buyer,
        month,
        zone: config.zone,
        catalog: &config.catalog,
        book: &config.book,
        rounding: config.bills.rounding,
        billed_prices,
    }
}
