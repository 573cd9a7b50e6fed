//! The verb that changes a product's rules.

use super::stage::{Said, Stage};
use super::verbs::{Arguments, need, number};
use crate::domain::allowance::Allowance;

impl Stage {
    /// Switches what `config/products.toml` leaves to the operator.
    pub(super) fn product(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "a product")?.to_owned();
        let counts = given.take_key("tier_counts_plan").map(str::parse).transpose();
        let counts = counts.map_err(|_| "tier_counts_plan is true or false")?;
        let free = given.take_key("free").map(allowance).transpose()?;
        let region = given.take_key("verified-region").map(str::to_owned);
        self.configure(|config| {
            let product = config.catalog.products.iter_mut().find(|product| *product.id == *id);
            let product = product.ok_or_else(|| format!("there is no product {id}"))?;
            product.tier_counts_plan = counts.unwrap_or(product.tier_counts_plan);
            product.free = free.unwrap_or(product.free);
            product.verified_region = region.or(product.verified_region.take());
            Ok(())
        })
    }
}

/// Reads `2000/200`, in all and a day, or `none`.
fn allowance(text: &str) -> Said<Option<Allowance>> {
    if text == "none" {
        return Ok(None);
    }
    let (total, per_day) = text.split_once('/').ok_or("free is written 2000/200, or none")?;
    Ok(Some(Allowance { total: number(total)?, per_day: number(per_day)? }))
}
