//! Reads one `[[package]]` of prices.toml (R63, R103, D34, D72, D73).

use super::prices::{KINDS, check_sold};
use super::products::Products;
use super::reader::{Entry, Place, Table};
use super::values::{
    check_account_id, currency, destination, integer, moment, money, rate_ppm, validity, word,
};
use crate::domain::book::Problem;
use crate::domain::countries::Countries;
use crate::domain::money::Micros;
use crate::domain::package::Gift;
use crate::domain::period::{Timestamp, Validity};
use crate::domain::price::{Package, Scope};
use crate::domain::product::{PricedBy, Product, Region};

/// Where a package and its parts stand.
#[derive(Debug)]
pub struct PackagePlaces {
    pub table: Place,
    id: Place,
    size: Place,
    gift_units: Place,
    gift_months: Place,
    gift_coupon: Place,
}

impl PackagePlaces {
    /// Where a problem of the package is to be mended.
    pub fn of(&self, problem: &Problem) -> Place {
        match problem {
            Problem::IdTaken { .. } => self.id,
            Problem::SizeOutOfRange(_) => self.size,
            Problem::GiftUnits(_) => self.gift_units,
            Problem::GiftMonths(_) => self.gift_months,
            Problem::GiftCoupon(_) => self.gift_coupon,
            _ => self.table,
        }
    }
}

/// Reads one package. A size or price that can't be read has its fault noted, and something
/// harmless stands in, so that the other checks go on.
pub fn read(mut table: Table<'_>, products: &Products) -> Option<(Package, PackagePlaces)> {
    let id = table.required("id", word);
    let product = table.required("product", word);
    let size = table.required("size", integer);
    let currency = table.required("currency", currency);
    let own_validity = table.optional("validity", validity);
    let sold = check_sold(&table, products, product.as_deref());
    let countries = countries(&mut table, sold);
    let prices = prices(&mut table);
    let from = table.optional("on_sale_from", moment);
    let until = table.optional("on_sale_until", moment);
    let renewal_discount_ppm = table.optional("renewal_discount", rate_ppm);
    let renewal_validity = table.optional("renewal_validity", validity);
    refuse_renewal(&table, sold);
    let gift = gift(&mut table);
    let places = PackagePlaces {
        table: table.place(),
        id: table.place_of("id"),
        size: table.place_of("size"),
        gift_units: table.place_of("gift_units"),
        gift_months: table.place_of("gift_months"),
        gift_coupon: table.place_of("gift_coupon"),
    };
    table.finish();
    let package = Package {
        id: id?.into(),
        product: product?.into(),
        size: size.unwrap_or(1),
        currency: currency?.into(),
        validity: own_validity.or(sold.map(|product| product.validity)).unwrap_or(Validity::Months(1)),
        gift,
        countries,
        prices,
        from: from.unwrap_or(Timestamp(i64::MIN)),
        until,
        renewal_discount_ppm,
        renewal_validity,
    };
    Some((package, places))
}

/// What only holds for renewals would never hold where the plans are not renewed (R35, R40, R142).
fn refuse_renewal(table: &Table<'_>, sold: Option<&Product>) {
    let Some(product) = sold.filter(|product| !product.renewal) else { return };
    for key in ["renewal_discount", "renewal_validity"].into_iter().filter(|key| table.has(key)) {
        let id = &product.id;
        table.fault(key, format!("plans of {id} are not renewed: leave it out, or give {id} renewal = true"));
    }
}

/// What comes with the package for nothing. A gift of nothing is no gift: whoever writes one is told.
fn gift(table: &mut Table<'_>) -> Gift {
    let some = |number: i64| match number {
        0 => Err("0 is no gift: leave the key out".to_owned()),
        number => Ok(number),
    };
    let units = table.optional("gift_units", |value| some(integer(value)?));
    let months = table.optional("gift_months", |value| {
        let months = some(integer(value)?)?;
        u32::try_from(months).map_err(|_| format!("{months} gift months are not possible: write 1 to 120"))
    });
    let coupon = table.optional("gift_coupon", |value| some(money(value)?.0).map(Micros));
    Gift {
        units: units.unwrap_or_default(),
        months: months.unwrap_or_default(),
        coupon: coupon.unwrap_or_default(),
    }
}

/// The countries that the plans pay for: `countries`, or all but `except`.
fn countries(table: &mut Table<'_>, sold: Option<&Product>) -> Countries {
    for key in ["countries", "except"].into_iter().filter(|key| table.has(key)) {
        if sold.is_some_and(|product| product.priced_by != PricedBy::Country) {
            table.fault(key, "only packages of a product that is priced by country are for some of them");
        }
        if key == "except" && table.has("countries") {
            table.fault(key, "a package is for some countries or for all but some: leave one of the two out");
        }
    }
    let abroad = sold.is_some_and(|product| product.region == Some(Region::International));
    let mut codes = |key| {
        let before = table.fault_count();
        let codes = table.list(key, destination);
        let home = codes.iter().filter(|(code, _)| key == "countries" && abroad && code == "CN");
        for (_, place) in home {
            let what = "`countries`: `CN` is domestic: plans of an international product never pay for it, but \
                        for HK, MO and TW (R138)";
            table.fault_at(*place, what);
        }
        if codes.is_empty() && table.has(key) && table.fault_count() == before {
            table.fault(key, "there is no country: name one, such as \"HK\"");
        }
        codes.into_iter().map(|(code, _)| code).collect::<Vec<String>>()
    };
    let (only, except) = (codes("countries"), codes("except"));
    match (only.is_empty(), except.is_empty()) {
        (false, _) => Countries::only(only),
        (true, false) => Countries::except(except),
        (true, true) => Countries::All,
    }
}

/// All prices of a package: those of accounts, of kinds, and the general one.
fn prices(table: &mut Table<'_>) -> Vec<(Scope, Micros)> {
    let mut prices = Vec::new();
    for entry in table.entries("price_by_account") {
        if let Err(what) = check_account_id(entry.key) {
            table.fault_at(entry.key_place, what);
        }
        prices.push((Scope::Account(entry.key.into()), price(table, &entry)));
    }
    for entry in table.entries("price_by_kind") {
        if KINDS.iter().all(|(kind, _)| *kind != entry.key) {
            let what = format!("`{}` is not a kind of account: use individual or enterprise", entry.key);
            table.fault_at(entry.key_place, what);
        }
        prices.push((Scope::Kind(entry.key.into()), price(table, &entry)));
    }
    let general = table.optional("price", money).unwrap_or_default();
    if table.has("price") {
        prices.push((Scope::Everyone, general));
    }
    prices
}

fn price(table: &Table<'_>, entry: &Entry<'_>) -> Micros {
    money(entry.value.get_ref()).unwrap_or_else(|what| {
        table.fault_at(entry.value.span().start, format!("`{}`: {what}", entry.key));
        Micros::ZERO
    })
}
