//! What a scenario says of the end of plans and their renewal.

use crate::runner::Finished;

/// What a run that ends or renews plans counted, a line each; None for other jobs.
pub(super) fn told(finished: &Finished) -> Option<String> {
    let counted = finished.counts.iter().filter(|(_, count)| *count != 0);
    let line = |(name, count): &(&str, i64)| format!("{count} {}\n", name.replace('_', " "));
    ["expire-plans", "auto-renew"].contains(&finished.job).then(|| counted.map(line).collect())
}
