//! Reads products.toml into the catalogue (R66-R69, R134-R138).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::de::DeValue;

use super::quotas;
use super::reader::{File, Table};
use super::values::{
    commodity, flag, income_branch, integer, one_of, rate_ppm, text, validity, window, word,
};
use crate::domain::allowance::Allowance;
use crate::domain::period::Timestamp;
use crate::domain::product::{
    Astral, Catalog, ChargeOn, LengthRule, PricedBy, Product, Region, ReturnOrder, VatRate,
};

/// What products.toml holds, as far as it could be read.
#[derive(Debug, Default)]
pub struct Products {
    pub catalog: Catalog,
    /// What one unit of each product is called: `message`, `email`.
    pub unit_words: BTreeMap<Arc<str>, String>,
    /// All ids that are named, also by products with faults; None where the file couldn't be read.
    ids: Option<BTreeSet<String>>,
}

impl Products {
    /// Whether a price for this id would be for nothing. While the products can't be read, every
    /// id may exist.
    pub fn lack(&self, id: &str) -> bool {
        self.ids.as_ref().is_some_and(|ids| !ids.contains(id))
    }

    /// The ids, for people.
    pub fn known(&self) -> String {
        let ids: Vec<&str> = self.ids.iter().flatten().map(String::as_str).collect();
        ids.join(", ")
    }
}

/// Reads all products; what is wrong is noted in the file.
pub fn read(file: &File<'_>) -> Products {
    let Some(tree) = file.parse() else { return Products::default() };
    let mut root = Table::root(file, &tree);
    let mut products = Products { ids: Some(BTreeSet::new()), ..Products::default() };
    if !root.has("product") {
        root.fault_here("there is no product: add a [[product]]");
    }
    for mut table in root.tables("product") {
        let place = table.place();
        if let Some(id) = table.optional("id", word)
            && !products.ids.get_or_insert_default().insert(id.clone())
        {
            table.fault("id", format!("`{id}` is taken by another product: choose a new one"));
        }
        let unit = table.required("unit", word);
        if let Some(product) = product(table) {
            for problem in clashes(&product, &products.catalog) {
                file.fault(place, problem);
            }
            products.unit_words.insert(product.id.clone(), unit.unwrap_or_default());
            products.catalog.products.push(product);
        }
    }
    root.finish();
    products
}

/// Reads one `[[product]]`. The defaults are those of the plainest product; whatever decides about
/// money must be written out.
fn product(mut table: Table<'_>) -> Option<Product> {
    let id = table.required("id", word);
    let name = table.required("name", text);
    let channel = table.required("channel", word);
    let region = [("domestic", Region::Domestic), ("international", Region::International)];
    let region = table.optional("region", one_of(&region));
    let length = [
        ("domestic", LengthRule::Domestic),
        ("international", LengthRule::International),
        ("one", LengthRule::One),
        ("given", LengthRule::Given),
    ];
    let length = table.required("length", one_of(&length));
    let astral = table.optional("astral", one_of(&[("utf16", Astral::Utf16), ("scalar", Astral::Scalar)]));
    let charge_on = ChargeOn::ALL.map(|charge_on| (charge_on.as_str(), charge_on));
    let charge_on = table.required("charge_on", one_of(&charge_on));
    let return_order = return_order(&mut table, charge_on);
    let priced_by = [
        ("template_type", PricedBy::TemplateType),
        ("country", PricedBy::Country),
        ("nothing", PricedBy::Nothing),
    ];
    let priced_by = table.required("priced_by", one_of(&priced_by));
    let commodity = table.required("commodity", commodity);
    let income = table.required("income", income_branch);
    let validity = table.required("validity", validity);
    let vat = vat(&mut table);
    let mut switch = |key, default| table.optional(key, flag).unwrap_or(default);
    let tier_counts_plan = switch("tier_counts_plan", false);
    let individual_promotional = switch("individual_promotional", true);
    let needs_verification = switch("needs_verification", false);
    let needs_activation = switch("needs_activation", false);
    let renewal = switch("renewal", false);
    let verified_region = table.optional("verified_region", text);
    let free = free(&mut table, charge_on);
    let quota = table.table("quota").and_then(quotas::read);
    table.finish();
    Some(Product {
        id: id?.into(),
        name: name?,
        channel: channel?,
        region,
        length: length?,
        astral: astral.unwrap_or(Astral::Utf16),
        charge_on: charge_on?,
        return_order,
        priced_by: priced_by?,
        commodity: commodity?.into(),
        income: income?.into(),
        validity: validity?,
        vat,
        tier_counts_plan,
        individual_promotional,
        needs_verification,
        needs_activation,
        renewal,
        verified_region,
        free,
        quota,
    })
}

/// Where failed units go back to; of what is charged on submission none do.
fn return_order(table: &mut Table<'_>, charge_on: Option<ChargeOn>) -> ReturnOrder {
    let orders = ReturnOrder::ALL.map(|order| (order.as_str(), order));
    let order = table.optional("return_order", one_of(&orders));
    if order.is_some() && charge_on == Some(ChargeOn::Submission) {
        table.fault("return_order", "only what is charged on receipt gives units back: leave it out");
    }
    order.unwrap_or_default()
}

/// The free units; what is charged on receipt can have none.
fn free(table: &mut Table<'_>, charge_on: Option<ChargeOn>) -> Option<Allowance> {
    let mut free = table.table("free")?;
    let positive = |value: &DeValue<'_>| match integer(value)? {
        units if units > 0 => Ok(units),
        _ => Err("write 1 or more, or leave `free` out".to_owned()),
    };
    let total = free.required("total", positive);
    let per_day = free.required("per_day", positive);
    free.finish();
    if charge_on == Some(ChargeOn::Receipt) {
        table.fault("free", "only what is charged on submission has free units: leave it out");
    }
    Some(Allowance { total: total?, per_day: per_day? })
}

/// The VAT rates: the first may leave `from` out and is valid from the beginning of time, each
/// other begins after the one before.
fn vat(table: &mut Table<'_>) -> Vec<VatRate> {
    if !table.has("vat") {
        table.fault_here(
            "the key `vat` is missing: write vat = [{ rate = \"0.06\" }], \"0\" where there is none",
        );
    }
    let mut rates: Vec<VatRate> = Vec::new();
    let rows = table.tables("vat");
    if rows.is_empty() && table.has("vat") {
        table.fault("vat", "there is no rate: write one, \"0\" where there is none");
    }
    for (index, mut row) in rows.into_iter().enumerate() {
        let rate = row.required("rate", rate_ppm);
        let from = if index == 0 { row.optional("from", window) } else { row.required("from", window) };
        if let (Some(from), Some(before)) = (from, rates.last())
            && from <= before.from
        {
            row.fault("from", "this is not after the rate before: write the rates in order of time");
        }
        row.finish();
        rates.push(VatRate { from: from.unwrap_or(Timestamp(i64::MIN)), ppm: rate.unwrap_or_default() });
    }
    rates
}

/// Why a product can't stand beside those before it: a message must belong to one product, and a
/// unit in the books to one commodity.
fn clashes(product: &Product, before: &Catalog) -> Vec<String> {
    let mut clashes = Vec::new();
    let (id, channel, commodity) = (&product.id, &product.channel, &product.commodity);
    for other in &before.products {
        let overlap = product.region.is_none() || other.region.is_none() || product.region == other.region;
        let (same_messages, other_id) = (other.channel == *channel && overlap, &other.id);
        if same_messages {
            clashes.push(format!(
                "{id} and {other_id} both claim messages of channel {channel}: give them different channels or regions"
            ));
        }
        if other.commodity == *commodity {
            clashes.push(format!(
                "{id} and {other_id} both count their units as {commodity}: give each product its own commodity"
            ));
        }
    }
    clashes
}
