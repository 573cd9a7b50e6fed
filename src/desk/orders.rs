//! Buying plans (R8, R37, R54, R73, R103, D34, D85).

use super::DeskError;
use super::accounts::{check_reference, lock};
use crate::config::Config;
use crate::domain::order::{Customer, Item, place_order};
use crate::domain::period::Timestamp;
use crate::domain::price::{Buyer, PriceBook};
use crate::store::accounts::AccountRow;
use crate::store::orders::{OrderRow, PlanRow, order_of_reference, save_order};
use crate::store::{Db, Tx};

/// What is asked for: a package and how many plans of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub package: String,
    pub quantity: i64,
}

impl Wanted {
    /// Reads `PACKAGE` or `PACKAGE:QTY`.
    pub fn parse(text: &str) -> Result<Wanted, String> {
        let (package, quantity) = text.rsplit_once(':').unwrap_or((text, "1"));
        match quantity.parse() {
            Ok(quantity) if !package.is_empty() => Ok(Wanted { package: package.to_owned(), quantity }),
            _ => Err(format!("`{text}` is not an order line: write PACKAGE or PACKAGE:QTY")),
        }
    }
}

/// Buys plans at the price that the account is shown, paid from its balance, effective at once.
/// Under a reference it is bought once, however often it is asked for.
pub async fn place(
    db: &Db,
    config: &Config,
    account_id: &str,
    wanted: &[Wanted],
    reference: Option<&str>,
    now: Timestamp,
) -> Result<OrderRow, DeskError> {
    let mut tx = db.write().await?;
    let order = place_in(&mut tx, config, account_id, wanted, reference, now).await?;
    tx.commit().await?;
    Ok(order)
}

/// The same as part of a larger transaction.
pub async fn place_in(
    tx: &mut Tx,
    config: &Config,
    account_id: &str,
    wanted: &[Wanted],
    reference: Option<&str>,
    now: Timestamp,
) -> Result<OrderRow, DeskError> {
    let request =
        wanted.iter().map(|w| format!("{}:{}", w.package, w.quantity)).collect::<Vec<_>>().join(" ");
    let account = lock(tx, account_id).await?;
    if let Some(reference) = reference {
        check_reference(reference)?;
        if let Some(known) = order_of_reference(tx, account_id, reference).await? {
            if known.request == request {
                return Ok(known);
            }
            let message = format!("reference `{reference}` was used for the order of {}", known.request);
            return Err(DeskError::refused("reference_conflict", message));
        }
    }
    let items = wanted.iter().map(|w| item(config, &account, w, now)).collect::<Result<Vec<_>, _>>()?;
    let order = place_order(&customer(&account), &items, now, config.zone)?;
    save_order(tx, &account, &order, reference, &request).await?;
    let plan = |plan: crate::domain::order::NewPlan| PlanRow {
        plan_no: plan.plan_no,
        plan_id: plan.plan_id,
        order_id: order.order_id.clone(),
        product: plan.product.to_string(),
        package: plan.package_id.to_string(),
        size: plan.size,
        remaining: plan.size,
        forfeited: 0,
        countries: plan.countries,
        price: plan.price,
        effective_at: plan.effective_at,
        expires_at: plan.expires_at,
    };
    let plans = order.plans.into_iter().map(plan).collect();
    let (total, paid) = (order.total, order.total);
    Ok(OrderRow { order_id: order.order_id, status: "paid".into(), total, paid, request, plans })
}

fn customer(account: &AccountRow) -> Customer {
    Customer {
        account_id: account.account_id.as_str().into(),
        currency: account.currency.as_str().into(),
        status: account.status,
        verified: account.verified_at.is_some(),
        verified_region: account.verified_region.clone(),
        funds: account.funds,
        orders: account.orders,
        plans: account.plans,
    }
}

/// A line of the order, priced as the account is shown.
fn item<'a>(
    config: &'a Config,
    account: &AccountRow,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Item<'a>, DeskError> {
    let book: &PriceBook = &config.book;
    let id = &wanted.package;
    let known = book.package(id).and_then(|package| Some((package, config.catalog.get(&package.product)?)));
    let Some((package, product)) = known else {
        let message = format!("there is no package `{id}`; see `quittance package list`");
        return Err(DeskError::refused("unknown_package", message));
    };
    if *package.currency != *account.currency {
        let message = format!(
            "package `{id}` is sold in {}, account `{}` pays in {}",
            package.currency, account.account_id, account.currency
        );
        return Err(DeskError::refused("other_currency", message));
    }
    let on_sale = package.from <= now && package.until.is_none_or(|until| now < until);
    let price = package.price_for(buyer(account)).filter(|_| on_sale);
    let Some(price) = price else {
        let message = format!("package `{id}` is not on sale for account `{}` now", account.account_id);
        return Err(DeskError::refused("not_on_sale", message));
    };
    Ok(Item {
        package_id: package.id.clone(),
        product,
        size: package.size,
        validity: package.validity,
        countries: package.countries.clone(),
        price,
        quantity: wanted.quantity,
    })
}

/// The account as the price book knows it.
pub fn buyer(account: &AccountRow) -> Buyer<'_> {
    Buyer { account_id: &account.account_id, kind: account.kind.as_str(), currency: &account.currency }
}
