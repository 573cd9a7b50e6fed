//! What an account may send a day (R16-R21).

use crate::config::Config;
use crate::domain::period::{Day, Timestamp};
use crate::domain::product::Product;
use crate::domain::quota::QuotaRules;
use crate::store::quotas::{self, Standing};
use crate::store::{StoreError, Tx};

/// A daily quota as its owner knows it.
#[derive(Clone, Debug)]
pub struct Quota<'c> {
    pub product: &'c Product,
    pub rules: &'c QuotaRules,
    pub standing: Standing,
}

impl Quota<'_> {
    pub fn level(&self) -> i64 {
        self.rules.level(self.standing.daily)
    }

    pub fn left_today(&self) -> i64 {
        (self.standing.daily - self.standing.used).max(0)
    }

    /// The Monday of the week that was reviewed last.
    pub fn reviewed_week(&self) -> Option<Day> {
        self.standing.last.as_ref().and_then(|last| Day::from_number(last.week))
    }
}

/// The quota of an account, of the first product with one that it uses; None where it uses none.
pub async fn quota<'c>(
    tx: &mut Tx,
    config: &'c Config,
    account_id: &str,
    now: Timestamp,
) -> Result<Option<Quota<'c>>, StoreError> {
    let day = config.zone.day_of(now);
    let today = (config.zone.day_start(day), config.zone.day_start(day.next()));
    for product in &config.catalog.products {
        let Some(rules) = &product.quota else { continue };
        let standing = quotas::standing(tx, account_id, product, rules, today).await?;
        let uses = standing.last.is_some()
            || !product.needs_activation
            || quotas::is_activated(tx, account_id, product).await?;
        if uses {
            return Ok(Some(Quota { product, rules, standing }));
        }
    }
    Ok(None)
}
