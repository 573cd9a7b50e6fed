//! Reminds, once a day, of plans that expire, of balances that will not last, and of what waits for
//! somebody (R11, R12, R26, R143, D39).
//!
//! What is told follows from the books as they are, not from what ran before: after any downtime each plan
//! is told of once, by the nearest bound, and not at all where nothing of it is left (F32).

use std::collections::BTreeMap;

use super::{JobError, Report, Run};
use crate::domain::money::Micros;
use crate::domain::notice::{Fact, Notice, NoticeKind};
use crate::domain::period::Timestamp;
use crate::domain::reminder::{nearest_bound, plan_expiring};
use crate::listed::Listed;
use crate::store::notices::Notices;
use crate::store::{exceptions, reminding, status};

/// Days whose charges tell how fast a balance goes.
const DAYS: u32 = 7;

pub async fn run(run: Run<'_>) -> Result<Report, JobError> {
    let mut reminding = Reminding { run, notices: Notices::default(), effects: Listed::default() };
    let plans = reminding.expiring_plans().await?;
    let balances = reminding.low_balances().await?;
    let waiting = reminding.waiting().await?;
    reminding.notices.flush(reminding.run.tx).await?;
    Ok(Report {
        counts: vec![("plans", plans), ("balances", balances), ("waiting", waiting)],
        worked: plans + balances + waiting > 0,
        effects: if reminding.run.dry_run { reminding.effects } else { Listed::default() },
        ..Report::default()
    })
}

struct Reminding<'a> {
    run: Run<'a>,
    notices: Notices,
    effects: Listed<String>,
}

impl Reminding<'_> {
    /// Tells of plans that came to a bound and were not told of it.
    async fn expiring_plans(&mut self) -> Result<i64, JobError> {
        let (zone, now) = (self.run.config.zone, self.run.as_of);
        let bounds = &self.run.config.notices.expiring_days;
        let Some(longest) = bounds.iter().copied().max() else { return Ok(0) };
        let until = now.plus_micros((i64::from(longest) + 1) * Timestamp::DAY);
        // Every bound that a plan can have come to lies within so many days.
        let since = zone.day_start(zone.day_of(now).days_before(longest));
        let told = reminding::told_of_plans(self.run.tx, since).await?;
        let mut count = 0;
        for (account_id, plan_id, plan) in reminding::ending_plans(self.run.tx, now, until).await? {
            let bound = nearest_bound(bounds, plan.effective_at, plan.expires_at, now, zone);
            let Some(bound) = bound else { continue };
            if told.contains(&(account_id.clone(), plan_id.clone(), bound.due)) {
                continue;
            }
            self.notices.push(&account_id, &plan_expiring(&plan_id, &plan, bound, now, zone), now);
            let end = zone.format_short(plan.expires_at);
            self.effects.push(|| {
                format!("{account_id} that {plan_id} expires on {end} with {} left", plan.remaining)
            });
            count += 1;
        }
        Ok(count)
    }

    /// Reckons below what each balance is low, from what was charged on the last days.
    async fn low_balances(&mut self) -> Result<i64, JobError> {
        let (zone, now) = (self.run.config.zone, self.run.as_of);
        let today = zone.day_of(now);
        let from = zone.day_start(today.days_before(DAYS));
        let charged = reminding::payg_since(self.run.tx, from, zone.day_start(today)).await?;
        let lasts = i64::from(self.run.config.notices.balance_low_days);
        let thresholds: BTreeMap<String, Micros> =
            charged.into_iter().map(|(account, sum)| (account, threshold(sum, lasts))).collect();
        let told = reminding::set_balance_alerts(self.run.tx, &thresholds, now).await?;
        if told > 0 {
            self.effects.push(|| format!("{told} accounts that their balance is low"));
        }
        Ok(told as i64)
    }

    /// Tells the operator, once a day while there is any, what waits for a decision.
    async fn waiting(&mut self) -> Result<i64, JobError> {
        let sum = |counts: Vec<(String, i64)>| counts.iter().map(|(_, count)| count).sum::<i64>();
        let exceptions = sum(exceptions::open_by_kind(self.run.tx).await?);
        let lines = sum(status::quarantined(self.run.tx).await?);
        let refunds = status::refund_requests(self.run.tx).await?;
        let total = exceptions + lines + refunds;
        let (zone, now) = (self.run.config.zone, self.run.as_of);
        let due = zone.day_start(zone.day_of(now));
        if total == 0 || reminding::told_of_waiting(self.run.tx, due).await? {
            return Ok(0);
        }
        let facts = vec![
            ("total", Fact::Count(total)),
            ("exceptions", Fact::Count(exceptions)),
            ("lines", Fact::Count(lines)),
            ("refunds", Fact::Count(refunds)),
        ];
        let notice = Notice { kind: NoticeKind::ExceptionsWaiting, subject: String::new(), due, facts };
        self.notices.push("", &notice, now);
        self.effects.push(|| format!("the operator that {total} decisions wait"));
        Ok(1)
    }
}

/// What so many days would cost at the average of the last ones.
fn threshold(charged: Micros, days: i64) -> Micros {
    let product = i128::from(charged.0) * i128::from(days) / i128::from(DAYS);
    Micros(i64::try_from(product).unwrap_or(i64::MAX))
}
