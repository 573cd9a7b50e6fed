//! Switching auto-renewal on and off, at any time (R35, R40-R45, R140-R142, D20, D62).

use super::DeskError;
use super::accounts::{find, lock};
use crate::config::Config;
use crate::domain::money::Micros;
use crate::domain::period::{Timestamp, Validity};
use crate::domain::renewal::{Setting, offer};
use crate::store::accounts::AccountRow;
use crate::store::renewals::{self, RenewalRow, SettingRow};
use crate::store::{Db, Tx};

/// The largest threshold: no package is larger.
const MAX_THRESHOLD: i64 = crate::domain::price::Package::MAX_SIZE;

/// A setting as it is shown: what it would buy now, what it bought and what was refused last.
#[derive(Clone, Debug)]
pub struct Renewal {
    pub row: SettingRow,
    /// None where the package can't be bought so now; the next run says why.
    pub price: Option<Price>,
    pub last_purchase: Option<RenewalRow>,
}

/// What a renewal costs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    pub size: i64,
    pub list_price: Micros,
    pub price: Micros,
    pub discount_ppm: i64,
    pub validity: Validity,
}

/// Renews plans of the package's product with it from the next run on.
pub async fn set(
    db: &Db,
    config: &Config,
    account_id: &str,
    package: &str,
    threshold: i64,
    now: Timestamp,
) -> Result<Renewal, DeskError> {
    if !(0..MAX_THRESHOLD).contains(&threshold) {
        let message = format!("a threshold is a number of units from 0 to {}", MAX_THRESHOLD - 1);
        return Err(DeskError::refused("threshold_out_of_range", message));
    }
    let mut tx = db.write().await?;
    let account = lock(&mut tx, account_id).await?;
    let product = config.book.package(package).map(|known| known.product.clone());
    let setting =
        Setting { product: product.unwrap_or_else(|| "".into()), package: package.into(), threshold };
    offer(&account.customer(), account.kind.as_str(), &setting, config.renewal_rules(now))?;
    renewals::set(&mut tx, account_id, &setting, now).await?;
    let shown = shown(&mut tx, config, &account, &setting.product, now).await?;
    tx.commit().await?;
    Ok(shown)
}

/// Renews them no more, at once: pay-as-you-go goes on where plans end (R45).
pub async fn switch_off(
    db: &Db,
    config: &Config,
    account_id: &str,
    product: &str,
    now: Timestamp,
) -> Result<Renewal, DeskError> {
    let mut tx = db.write().await?;
    // A run that is under way has the account locked, or finds it switched off.
    let account = lock(&mut tx, account_id).await?;
    renewals::switch_off(&mut tx, account_id, product, now).await?;
    let shown = shown(&mut tx, config, &account, product, now).await?;
    tx.commit().await?;
    Ok(shown)
}

/// All settings of an account, those that are off among them.
pub async fn list(
    tx: &mut Tx,
    config: &Config,
    account_id: &str,
    now: Timestamp,
) -> Result<Vec<Renewal>, DeskError> {
    let account = find(tx, account_id).await?;
    all(tx, config, &account, now).await
}

async fn all(
    tx: &mut Tx,
    config: &Config,
    account: &AccountRow,
    now: Timestamp,
) -> Result<Vec<Renewal>, DeskError> {
    let purchases = renewals::last_purchases(tx, &account.account_id).await?;
    let settings = renewals::settings(tx, &account.account_id).await?;
    let renewal = |row: SettingRow| {
        let offer =
            offer(&account.customer(), account.kind.as_str(), &row.setting, config.renewal_rules(now)).ok();
        let price = offer.map(|offer| Price {
            size: offer.package.size,
            list_price: offer.list_price,
            price: offer.price,
            discount_ppm: offer.discount_ppm,
            validity: offer.validity,
        });
        let last_purchase = purchases.iter().find(|bought| *bought.product == *row.setting.product).cloned();
        Renewal { row, price, last_purchase }
    };
    Ok(settings.into_iter().map(renewal).collect())
}

async fn shown(
    tx: &mut Tx,
    config: &Config,
    account: &AccountRow,
    product: &str,
    now: Timestamp,
) -> Result<Renewal, DeskError> {
    let found = all(tx, config, account, now).await?;
    found.into_iter().find(|renewal| *renewal.row.setting.product == *product).ok_or_else(|| {
        let id = &account.account_id;
        let message = format!("account `{id}` never renewed `{product}`; see `quittance renewal list {id}`");
        DeskError::refused("renewal_not_set", message)
    })
}
