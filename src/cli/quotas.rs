//! What `account show` tells of a daily quota and of its last review.

use serde_json::{Value, json};

use super::output::count;
use crate::config::Config;
use crate::desk::quotas::Quota;
use crate::domain::money::Micros;
use crate::store::quotas::ReviewRow;

/// The keys that scripts read; null where the account has no quota.
pub fn quota_json(quota: Option<&Quota<'_>>) -> Value {
    let Some(quota) = quota else { return Value::Null };
    let week = quota.reviewed_week().map(|week| week.to_string());
    json!({
        "product": &*quota.product.id,
        "daily": quota.standing.daily,
        "level": quota.level(),
        "left_today": quota.left_today(),
        "review": quota.standing.last.as_ref().map(|last| review_json(last, week)),
    })
}

fn review_json(row: &ReviewRow, week: Option<String>) -> Value {
    let (counts, review) = (&row.counts, &row.review);
    json!({
        "week": week,
        "sent": counts.sent,
        "busiest_day": counts.busiest,
        "delivered": counts.delivered,
        "failed": counts.failed,
        "invalid": counts.invalid,
        "complaints": counts.complained,
        "use": Micros(counts.used(review.from)).to_string(),
        "from": review.from,
        "to": review.to,
        "decision": review.decision().as_str(),
        "reason": review.reason.as_str(),
    })
}

/// The lines of an account's sheet, each begun anew; none without a quota.
pub fn quota_sheet(quota: Option<&Quota<'_>>, config: &Config) -> String {
    let lines = quota.iter().flat_map(|quota| quota_words(quota, config.unit_word(&quota.product.id)));
    let begun = lines.zip(std::iter::once("Daily quota").chain(std::iter::repeat("")));
    begun.map(|(line, name)| format!("\n{name:<12} {line}")).collect()
}

/// `5,000 emails a day (level 2), 4,999 left today`, and what the last review said.
fn quota_words(quota: &Quota<'_>, unit: &str) -> Vec<String> {
    let (daily, left, level) = (count(quota.standing.daily), count(quota.left_today()), quota.level());
    let mut lines = vec![format!("{daily} {unit}s a day (level {level}), {left} left today")];
    if let (Some(last), Some(week)) = (&quota.standing.last, quota.reviewed_week()) {
        let (counts, review) = (&last.counts, &last.review);
        let share = |ppm: i64| {
            let tenths = ppm / 1_000;
            format!("{}.{} %", tenths / 10, tenths % 10)
        };
        lines.push(format!(
            "week of {week}: {} sent, {} of the quota on its busiest day; {} delivered, {} to invalid addresses, \
             {} called spam",
            count(counts.sent),
            share(counts.used(review.from)),
            share(counts.delivered_share()),
            share(counts.invalid_share()),
            share(counts.complained_share()),
        ));
        lines.push(format!("{} at {}: {}", review.decision().as_str(), count(review.to), review.reason));
    }
    lines
}
