//! What a scenario says of the end of plans and their renewal.

use std::fmt::Write as _;

use super::stage::{Said, Stage};
use super::verbs::{Arguments, need, number, refusal};
use crate::desk::renewals::{self, Renewal};
use crate::runner::Finished;

impl Stage {
    /// `renewal set ACCOUNT PACKAGE threshold=100`, `renewal off ACCOUNT PRODUCT`, `renewal list ACCOUNT`.
    pub(super) fn renewal(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let (what, id) = (need(given, "set, off or list")?, need(given, "an account")?);
        let (db, config, now) = (&self.db, &self.config, self.now);
        let said = match what {
            "set" => {
                let package = need(given, "a package")?;
                let threshold = given.take_key("threshold").map_or(Ok(0), number)?;
                let set = renewals::set(db, config, id, package, threshold, now);
                vec![self.runtime.block_on(set).map_err(refusal)?]
            }
            "off" => {
                let product = need(given, "a product")?;
                let off = renewals::switch_off(db, config, id, product, now);
                vec![self.runtime.block_on(off).map_err(refusal)?]
            }
            "list" => {
                let listed = self.runtime.block_on(async {
                    let mut tx = db.read().await?;
                    renewals::list(&mut tx, config, id, now).await
                });
                listed.map_err(refusal)?
            }
            other => return Err(format!("renewal is set, off or list, not {other}")),
        };
        Ok(said.iter().map(|renewal| self.renewal_words(renewal)).collect())
    }

    fn renewal_words(&self, renewal: &Renewal) -> String {
        let Renewal { row, price, last_purchase } = renewal;
        let zone = self.zone();
        let state = if row.off_at.is_none() { "on" } else { "off" };
        let setting = &row.setting;
        let mut said =
            format!("{}  {state}  {} at {} left", setting.product, setting.package, setting.threshold);
        if let Some(price) = price {
            let _ = write!(said, "  {} for {}", price.price.for_people(), price.validity);
        }
        said.push('\n');
        if let Some(bought) = last_purchase {
            let plan = bought.renewed_plan.as_ref().map(|plan| format!(" after {plan}")).unwrap_or_default();
            let (at, price) = (zone.format(bought.at), bought.price.for_people());
            let (order, by, left) = (&bought.order_id, bought.due_by.as_str(), bought.remaining);
            let _ = writeln!(said, "  bought {order}{plan} for {price} at {at}: {by}, {left} left");
        }
        if let Some(refused) = &row.refused {
            let _ = writeln!(said, "  refused at {}: {}", zone.format(refused.at), refused.code);
        }
        said
    }
}

/// What a run that ends or renews plans counted, a line each; None for other jobs.
pub(super) fn told(finished: &Finished) -> Option<String> {
    // How many invariants there are is no part of a story.
    let told = |(name, count): &&(&str, i64)| *count != 0 && *name != "invariants";
    let counted = finished.counts.iter().filter(told);
    let line = |(name, count): &(&str, i64)| format!("{count} {}\n", name.replace('_', " "));
    let jobs = ["expire-plans", "auto-renew", "audit-books", "audit-changes"];
    jobs.contains(&finished.job).then(|| counted.map(line).collect())
}
