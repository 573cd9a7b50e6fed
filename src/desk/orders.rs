//! Buying plans (R8, R37, R54, R62, R73, R103, D34, D72, D85).

use super::DeskError;
use super::accounts::{check_reference, lock};
use crate::config::Config;
use crate::domain::coupon::{Coupon, CouponRefusal, best};
use crate::domain::order::{Item, OrderRefusal, place_order, products, total};
use crate::domain::period::Timestamp;
use crate::domain::price::{Buyer, PriceBook};
use crate::store::accounts::AccountRow;
use crate::store::coupons;
use crate::store::orders::{OrderRow, order, order_of_reference, orders, save_order};
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

/// An order as it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Purchase<'a> {
    pub wanted: &'a [Wanted],
    /// The id of the coupon that pays first, or [`BEST`].
    pub coupon: Option<&'a str>,
    /// The order's own number at the buyer.
    pub reference: Option<&'a str>,
}

/// The word for: the coupon that comes first of those that can pay.
pub const BEST: &str = "best";

impl Purchase<'_> {
    /// The request in words: what a repeated reference must say again.
    fn words(&self) -> String {
        let lines = self.wanted.iter().map(|w| format!("{}:{}", w.package, w.quantity));
        let lines = lines.collect::<Vec<_>>().join(" ");
        self.coupon.map_or(lines.clone(), |coupon| format!("{lines} with coupon {coupon}"))
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
    buy(db, config, account_id, Purchase { wanted, coupon: None, reference }, now).await
}

/// The same with a coupon.
pub async fn buy(
    db: &Db,
    config: &Config,
    account_id: &str,
    purchase: Purchase<'_>,
    now: Timestamp,
) -> Result<OrderRow, DeskError> {
    let mut tx = db.write().await?;
    let order = buy_in(&mut tx, config, account_id, purchase, now).await?;
    tx.commit().await?;
    Ok(order)
}

/// Buys without a coupon, as part of a larger transaction.
pub async fn place_in(
    tx: &mut Tx,
    config: &Config,
    account_id: &str,
    wanted: &[Wanted],
    reference: Option<&str>,
    now: Timestamp,
) -> Result<OrderRow, DeskError> {
    buy_in(tx, config, account_id, Purchase { wanted, coupon: None, reference }, now).await
}

async fn buy_in(
    tx: &mut Tx,
    config: &Config,
    account_id: &str,
    purchase: Purchase<'_>,
    now: Timestamp,
) -> Result<OrderRow, DeskError> {
    let request = purchase.words();
    let account = lock(tx, account_id).await?;
    if let Some(reference) = purchase.reference {
        check_reference(reference)?;
        if let Some(known) = order_of_reference(tx, account_id, reference).await? {
            if known.request == request {
                return Ok(known);
            }
            let message = format!("reference `{reference}` was used for the order of {}", known.request);
            return Err(DeskError::refused("reference_conflict", message));
        }
    }
    let items = purchase.wanted.iter().map(|w| item(config, &account, w, now));
    let items = items.collect::<Result<Vec<_>, _>>()?;
    let coupon = coupon(tx, account_id, &items, purchase.coupon, now).await?;
    let order = place_order(&account.customer(), &items, coupon.as_ref(), now, config.zone)?;
    save_order(tx, &account, &order, purchase.reference, &request).await?;
    find(tx, &order.order_id).await
}

/// The coupon that was named, or the best of the account's.
async fn coupon(
    tx: &mut Tx,
    account_id: &str,
    items: &[Item<'_>],
    named: Option<&str>,
    now: Timestamp,
) -> Result<Option<Coupon>, DeskError> {
    let Some(named) = named else { return Ok(None) };
    if named == BEST {
        let coupons: Vec<Coupon> =
            coupons::list(tx, account_id).await?.into_iter().map(|row| row.coupon).collect();
        let total = total(items).map_err(OrderRefusal::from)?;
        let best = best(&coupons, &products(items), total, now);
        let none = || OrderRefusal::from(CouponRefusal::NoneApplies(account_id.into()));
        return Ok(Some(best.cloned().ok_or_else(none)?));
    }
    let found = coupons::find(tx, account_id, named).await?;
    let unknown = || {
        let message = format!(
            "account `{account_id}` has no coupon `{named}`; see `quittance coupon list {account_id}`"
        );
        DeskError::refused("unknown_coupon", message)
    };
    Ok(Some(found.ok_or_else(unknown)?.coupon))
}

/// The orders of an account, or of all where none is named; with `pending` those alone whose refund
/// waits for an operator. Without their plans.
pub async fn list(db: &Db, account_id: Option<&str>, pending: bool) -> Result<Vec<OrderRow>, DeskError> {
    let mut tx = db.read().await?;
    if let Some(account_id) = account_id {
        super::accounts::find(&mut tx, account_id).await?;
    }
    let orders = orders(&mut tx, account_id, pending).await?;
    tx.rollback().await?;
    Ok(orders)
}

/// An order with its plans.
pub async fn find(tx: &mut Tx, order_id: &str) -> Result<OrderRow, DeskError> {
    order(tx, order_id).await?.ok_or_else(|| DeskError::unknown_order(order_id))
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
            "package `{id}` is sold in {0}, account `{1}` pays in {2}; see `quittance package list --account {1}`",
            package.currency, account.account_id, account.currency
        );
        return Err(DeskError::refused("other_currency", message));
    }
    let price = package.price_for(buyer(account)).filter(|_| package.on_sale(now));
    let Some(price) = price else {
        let message = format!(
            "package `{id}` is not on sale for account `{0}` now; see `quittance package list --account {0}`",
            account.account_id
        );
        return Err(DeskError::refused("not_on_sale", message));
    };
    Ok(Item {
        package_id: package.id.clone(),
        product,
        size: package.size,
        validity: package.validity,
        gift: package.gift,
        countries: package.countries.clone(),
        price,
        quantity: wanted.quantity,
    })
}

/// The account as the price book knows it.
pub fn buyer(account: &AccountRow) -> Buyer<'_> {
    Buyer { account_id: &account.account_id, kind: account.kind.as_str(), currency: &account.currency }
}
