//! Verbs about the rules of products: free units, quotas, VAT.

use super::stage::{Said, Stage};
use super::verbs::{Arguments, need, number, time};
use crate::desk::quotas::quota;
use crate::domain::allowance::Allowance;
use crate::domain::money::Micros;
use crate::domain::product::{ReturnOrder, VatRate};
use crate::domain::quota::Week;
use crate::runner::describe;
use crate::store::StoreError;
use crate::store::quotas::{self, ReviewRow, Standing};

impl Stage {
    /// Switches what `config/products.toml` leaves to the operator.
    pub(super) fn product(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "a product")?.to_owned();
        let counts = given.take_key("tier_counts_plan").map(str::parse).transpose();
        let counts = counts.map_err(|_| "tier_counts_plan is true or false")?;
        let order = given.take_key("return_order").map(|word| {
            let order = ReturnOrder::ALL.into_iter().find(|order| order.as_str() == word);
            order.ok_or("return_order is literal or same_source")
        });
        let order = order.transpose()?;
        let free = given.take_key("free").map(allowance).transpose()?;
        let levels = given.take_key("quota").map(levels).transpose()?;
        let least = given.take_key("least").map(number).transpose()?;
        let region = given.take_key("verified-region").map(str::to_owned);
        let vat =
            given.take_key("vat").map(|text| Micros::parse(text).map_err(|_| "vat is a rate, such as 0.06"));
        let vat = vat.transpose()?.map(|rate| rate.0);
        let from = given.take_key("from").map_or(Ok(self.now), |text| time(text, self.config.zone))?;
        self.configure(|config| {
            let product = config.catalog.products.iter_mut().find(|product| *product.id == *id);
            let product = product.ok_or_else(|| format!("there is no product {id}"))?;
            product.tier_counts_plan = counts.unwrap_or(product.tier_counts_plan);
            product.return_order = order.unwrap_or(product.return_order);
            product.free = free.unwrap_or(product.free);
            if let Some(quota) = &mut product.quota {
                quota.levels = levels.unwrap_or(std::mem::take(&mut quota.levels));
                quota.least = least.unwrap_or(quota.least);
            }
            product.vat.extend(vat.map(|ppm| VatRate { from, ppm }));
            product.verified_region = region.or(product.verified_region.take());
            Ok(())
        })
    }

    /// What an account may send a day, and its last review.
    pub(super) fn quota_lines(&self, id: &str) -> Said<String> {
        let quota = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            quota(&mut tx, &self.config, id, self.now).await
        });
        let Some(quota) = quota.map_err(|error: StoreError| describe(&error))? else {
            return Ok(format!("{id} has no quota\n"));
        };
        let Standing { daily, last, .. } = &quota.standing;
        let (level, left) = (quota.level(), quota.left_today());
        let mut said = format!("{id}  {daily} a day (level {level})  {left} left today\n");
        said.extend(last.iter().map(review_words));
        Ok(said)
    }

    /// The reviews that a run made.
    pub(super) fn review_lines(&self, run_no: i64) -> Said<String> {
        let reviews = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            quotas::of_run(&mut tx, run_no).await
        });
        let reviews = reviews.map_err(|error: StoreError| describe(&error))?;
        Ok(reviews.iter().map(review_words).collect())
    }
}

fn review_words(row: &ReviewRow) -> String {
    let Week { sent, busiest, delivered, failed, invalid, complained } = row.counts;
    let (decision, reason) = (row.review.decision().as_str(), row.review.reason);
    let counts = format!("{sent} sent, {busiest} on a day, {delivered} delivered, {failed} failed");
    let faults = format!("{invalid} invalid, {complained} complained");
    let (id, week, to) = (&row.account_id, row.week, row.review.to);
    format!("{id}  week of {week}: {counts}, {faults}: {decision} at {to}: {reason}\n")
}

/// Reads `2000 5000 10000`, the lowest first.
fn levels(text: &str) -> Said<Vec<i64>> {
    text.split_whitespace().map(number).collect()
}

/// Reads `2000/200`, in all and a day, or `none`.
fn allowance(text: &str) -> Said<Option<Allowance>> {
    if text == "none" {
        return Ok(None);
    }
    let (total, per_day) = text.split_once('/').ok_or("free is written 2000/200, or none")?;
    Ok(Some(Allowance { total: number(total)?, per_day: number(per_day)? }))
}
