//! What an account sent in a month, as its owner knows it (R127-R132).

use std::collections::BTreeMap;

use super::{DeskError, accounts};
use crate::domain::period::{Day, Month, Timestamp, Zone};
use crate::store::usage::{Counts, of_account};
use crate::store::{Db, Tx};

/// The usage of a month, by day and by class, and in total.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub days: BTreeMap<Day, Counts>,
    /// By product, template type and country.
    pub classes: BTreeMap<[String; 3], Counts>,
    pub total: Counts,
}

pub async fn usage(
    db: &Db,
    account_id: &str,
    zone: Zone,
    month: Month,
    now: Timestamp,
) -> Result<Usage, DeskError> {
    let mut tx = db.read().await?;
    let usage = read(&mut tx, account_id, zone, month, now).await?;
    tx.rollback().await?;
    Ok(usage)
}

async fn read(
    tx: &mut Tx,
    account_id: &str,
    zone: Zone,
    month: Month,
    now: Timestamp,
) -> Result<Usage, DeskError> {
    accounts::find(tx, account_id).await?;
    let mut usage = Usage::default();
    for row in of_account(tx, account_id, zone, month, now).await? {
        let class = [row.product, row.template_type, row.country];
        usage.days.entry(row.day).or_default().add(&row.counts);
        usage.classes.entry(class).or_default().add(&row.counts);
        usage.total.add(&row.counts);
    }
    Ok(usage)
}

/// Why not everything that was submitted is billed, and what else is not as one might think (R130).
pub fn explained(counts: &Counts) -> Vec<String> {
    let mut sum = format!("{} submitted = {} billed", counts.submitted, counts.billed);
    let others = [
        (counts.allowance, "free"),
        (counts.given_back() - counts.approved, "given back or not charged"),
        (counts.approved, "given back by approval when it was final"),
        (counts.suspense, "in suspense"),
        (counts.uncharged, "not charged yet"),
    ];
    for (units, what) in others.into_iter().filter(|(units, _)| *units != 0) {
        sum += &format!(" + {units} {what}");
    }
    let mut lines = vec![sum];
    if counts.failed_billed() > 0 {
        lines.push(format!(
            "{} failed and billed: charged on submission, or failed after 72 hours",
            counts.failed_billed()
        ));
    }
    if counts.free > 0 {
        lines.push(format!("{} free: sent in by users, and not among the submitted", counts.free));
    }
    lines
}
