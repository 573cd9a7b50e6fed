//! Reads prices.toml into the price book: `[[payg]]` lists here, `[[package]]` next door
//! (R46, R47, R137, D3, D34, D37, D38).

use std::sync::Arc;

use super::packages;
use super::products::Products;
use super::reader::{File, Place, Table};
use super::values::{account_id, currency, destination_code, integer, moment, one_of, unit_price, word};
use crate::domain::book::{BookFault, BookItem, PriceBook, Problem};
use crate::domain::money::Micros;
use crate::domain::period::{Timestamp, window_start};
use crate::domain::price::{Method, Rate, Scope, Tier};
use crate::domain::product::{PricedBy, Product, Region};

/// The template types there are (R104), and how a list is for messages that name none.
const TEMPLATE_TYPES: [(&str, &str); 4] = [
    ("verification", "verification"),
    ("notification", "notification"),
    ("promotional", "promotional"),
    (NO_TYPE, NO_TYPE),
];
const NO_TYPE: &str = "none";
/// The kinds of account (R70).
pub const KINDS: [(&str, &str); 2] = [("individual", "individual"), ("enterprise", "enterprise")];

/// Reads all lists and packages; what is wrong is noted in the file. None where the book as a
/// whole has a fault.
pub fn read(file: &File<'_>, products: &Products) -> Option<PriceBook> {
    let tree = file.parse()?;
    let mut root = Table::root(file, &tree);
    let mut lists = Lists::default();
    for table in root.tables("payg") {
        lists.read(table, products);
    }
    let (mut for_sale, mut package_places) = (Vec::new(), Vec::new());
    for table in root.tables("package") {
        if let Some((package, places)) = packages::read(table, products) {
            for_sale.push(package);
            package_places.push(places);
        }
    }
    root.finish();
    let faults = match PriceBook::new(lists.rates, for_sale) {
        Ok(book) => return Some(book),
        Err(faults) => faults,
    };
    for BookFault { item, problem } in faults {
        let place = match item {
            BookItem::Rate(rate) => lists.places[rate].list,
            BookItem::Tier { rate, tier } => lists.places[rate].tiers[tier],
            BookItem::Package(package) => package_places[package].of(&problem),
        };
        match &problem {
            // A list whose times or buyers couldn't be read makes gaps that are none.
            Problem::Overlap { .. } | Problem::Gap { .. } if lists.blurred => {}
            Problem::Overlap { other, .. } | Problem::Gap { other, .. } => {
                let before = file.line_of(lists.places[*other].list);
                file.fault(place, format!("{problem} (the list before: {before})"));
            }
            Problem::IdTaken { other, .. } => {
                let other = file.line_of(package_places[*other].table);
                file.fault(place, format!("{problem} (the other: {other})"));
            }
            _ => file.fault(place, problem.to_string()),
        }
    }
    None
}

/// The lists read so far, one for each class, and where each stands.
#[derive(Debug, Default)]
struct Lists {
    rates: Vec<Rate>,
    places: Vec<ListPlaces>,
    /// Something that says for what a list is couldn't be read.
    blurred: bool,
}

#[derive(Debug)]
struct ListPlaces {
    list: Place,
    tiers: Vec<Place>,
}

/// The tiers of one class, with the place of each.
type Tiers = Vec<(Tier, Place)>;

impl Lists {
    /// Reads one `[[payg]]`. A price that can't be read stands in as zero: its fault is noted, and
    /// the checks of the whole list go on.
    fn read(&mut self, mut table: Table<'_>, products: &Products) {
        let before = table.fault_count();
        let product = table.required("product", word);
        let currency = table.required("currency", currency);
        let scope = scope(&mut table);
        let from = table.optional("effective_from", moment).unwrap_or(Timestamp(i64::MIN));
        let until = table.optional("effective_until", moment);
        self.blurred |= table.fault_count() > before;
        let sold = check_sold(&table, products, product.as_deref());
        let methods = [("graduated", Method::Graduated), ("volume", Method::Volume)];
        let method = table.optional("method", one_of(&methods)).unwrap_or(Method::Graduated);
        let inside = |at: Timestamp| at != Timestamp(i64::MIN) && window_start(at) != at;
        for (key, at) in [("effective_from", Some(from)), ("effective_until", until)] {
            if method == Method::Volume && at.is_some_and(inside) {
                table.fault(
                    key,
                    "volume prices are billed by 5-minute windows: let the list begin and end with one",
                );
            }
        }
        if method == Method::Volume && !table.has("tiers") {
            table.fault("method", "volume prices a month by its tiers: give tiers, or leave the method out");
        }
        let per = table.optional("per", |value| match integer(value)? {
            per @ (1 | 1000) => Ok(per),
            other => Err(format!("{other} is not 1 or 1000: prices are for one unit or for a thousand")),
        });
        let per = per.unwrap_or(1);
        table.allow(&["template_types", "countries", "price", "tiers"]);
        check_class_kind(&table, sold);
        let classes = if table.has("countries") {
            by_country(&mut table, per, sold)
        } else {
            by_template_type(&mut table, per)
        };
        table.finish();
        let (Some(product), Some(currency)) = (product, currency) else { return };
        let (product, currency): (Arc<str>, Arc<str>) = (product.into(), currency.into());
        for (class, list, tiers) in classes {
            let (tiers, places) = tiers.into_iter().unzip();
            let (product, currency, scope) = (product.clone(), currency.clone(), scope.clone());
            self.rates.push(Rate {
                product,
                currency,
                scope,
                class: class.into(),
                from,
                until,
                method,
                tiers,
            });
            self.places.push(ListPlaces { list, tiers: places });
        }
    }
}

/// Gives the product that is sold; where there is none of that name, its fault is noted.
pub fn check_sold<'p>(
    table: &Table<'_>,
    products: &'p Products,
    product: Option<&str>,
) -> Option<&'p Product> {
    if let Some(id) = product.filter(|id| products.lack(id)) {
        let known = products.known();
        table.fault("product", format!("`{id}` is not in the products: add it there, or use one of {known}"));
    }
    product.and_then(|id| products.catalog.get(id))
}

/// Whom a list is for.
fn scope(table: &mut Table<'_>) -> Scope {
    let account = table.optional("account", account_id);
    let kind = table.optional("account_kind", one_of(&KINDS));
    if table.has("account") && table.has("account_kind") {
        table.fault("account_kind", "a list is for one account or for one kind: leave one of the two out");
    }
    match (account, kind) {
        (Some(account_id), _) => Scope::Account(account_id.into()),
        (None, Some(kind)) => Scope::Kind(kind.into()),
        (None, None) => Scope::Everyone,
    }
}

/// Checks that the list is by what its product is priced by.
fn check_class_kind(table: &Table<'_>, product: Option<&Product>) {
    let Some(product) = product else { return };
    let (countries, types) = (table.has("countries"), table.has("template_types"));
    let hint = match product.priced_by {
        PricedBy::Country if !countries || types => "by country: give countries = { HK = \"..\" } only",
        PricedBy::TemplateType if countries || !types => {
            "by template type: give template_types = [..] with a price or tiers"
        }
        PricedBy::Nothing if countries || types => "by nothing: leave countries and template_types out",
        _ => return,
    };
    table.fault_here(format!("{} is priced {hint}", product.id));
}

/// One price a country, not tiered (R126, R138).
fn by_country(table: &mut Table<'_>, per: i64, product: Option<&Product>) -> Vec<(String, Place, Tiers)> {
    const UNTIERED: &str = "a list by country has its prices in countries: leave this out";
    ["template_types", "tiers", "price"].into_iter().for_each(|key| table.refuse(key, UNTIERED));
    let international = product.is_some_and(|product| product.region == Some(Region::International));
    let mut classes = Vec::new();
    let before = table.fault_count();
    let entries = table.entries("countries");
    if entries.is_empty() && table.fault_count() == before {
        table.fault("countries", "there is no country: give one its price, such as HK = \"0.05\"");
    }
    for entry in entries {
        let code = entry.key.to_owned();
        if let Err(what) = destination_code(&code) {
            table.fault_at(entry.key_place, what);
        } else if international && code == "CN" {
            let what =
                "`CN` is domestic: an international list has no price for it, but for HK, MO and TW (R138)";
            table.fault_at(entry.key_place, what);
        }
        let place = entry.value.span().start;
        let price = unit_price(per)(entry.value.get_ref()).unwrap_or_else(|what| {
            table.fault_at(place, format!("`{code}`: {what}"));
            Micros::ZERO
        });
        classes.push((code, entry.key_place, vec![(Tier { over: 0, up_to: None, price }, place)]));
    }
    classes
}

/// One list of tiers for each template type, or one for all messages where none is named.
fn by_template_type(table: &mut Table<'_>, per: i64) -> Vec<(String, Place, Tiers)> {
    let named = table.has("template_types");
    let before = table.fault_count();
    let types = table.list("template_types", one_of(&TEMPLATE_TYPES));
    if named && types.is_empty() && table.fault_count() == before {
        table.fault("template_types", "there is no template type: name one, such as \"verification\"");
    }
    for (index, (name, place)) in types.iter().enumerate() {
        if types[..index].iter().any(|(earlier, _)| earlier == name) {
            table.fault_at(*place, format!("`{name}` stands here twice: leave one out"));
        }
    }
    let tiers = tiers(table, per);
    if !named {
        return vec![(String::new(), table.place(), tiers)];
    }
    let mut classes: Vec<(String, Place, Tiers)> = Vec::new();
    for (name, _) in types {
        let class = if name == NO_TYPE { "" } else { name };
        if classes.iter().all(|(earlier, ..)| earlier != class) {
            classes.push((class.to_owned(), table.place(), tiers.clone()));
        }
    }
    classes
}

/// The tiers of a list, or its one `price`. Where a bound can't be read, one tier without bounds
/// stands in, so that no gap is told that is none.
fn tiers(table: &mut Table<'_>, per: i64) -> Tiers {
    let whole = |price: Option<Micros>| Tier { over: 0, up_to: None, price: price.unwrap_or_default() };
    if !table.has("tiers") {
        if !table.has("price") {
            table.fault_here("the list has no price: give a price, or tiers");
        }
        let price = table.optional("price", unit_price(per));
        return vec![(whole(price), table.place_of("price"))];
    }
    table.refuse("price", "the prices stand in tiers already: leave one of the two out");
    let before = table.fault_count();
    let rows = table.tables("tiers");
    let mut bounds_read = table.fault_count() == before;
    let mut tiers = Vec::new();
    for mut row in rows {
        let place = row.place();
        let over = row.required("over", integer);
        let up_to = row.optional("up_to", integer);
        bounds_read &= over.is_some() && up_to.is_some() == row.has("up_to");
        let price = row.required("price", unit_price(per)).unwrap_or_default();
        row.finish();
        tiers.push((Tier { over: over.unwrap_or_default(), up_to, price }, place));
    }
    if bounds_read { tiers } else { vec![(whole(None), table.place_of("tiers"))] }
}
