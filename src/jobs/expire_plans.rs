//! Ends plans whose validity is over: what is left of them is forfeited (R10, R50, R54, D43, D48, D64).
//!
//! A plan is needed until every message that was sent before its end is charged, and every failure that
//! was received before it is answered. Until then its end waits; nothing is lost by that, since it pays
//! for nothing that was sent later. All of it is one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{JobError, Report, Run};
use crate::domain::account::Account;
use crate::domain::account::Parked;
use crate::domain::expiry::{Ended, end_plan};
use crate::domain::notice::{Fact, Notice, NoticeKind};
use crate::domain::plan::Plan;
use crate::listed::Listed;
use crate::store::caught_up::{Behind, CaughtUp};
use crate::store::charging::{Plans, load_accounts};
use crate::store::effects::Effects;
use crate::store::expiry::{EndingPlan, Ends, ending};
use crate::store::notices::Notices;

/// Accounts that are loaded together.
const TOGETHER: usize = 1_000;

pub async fn run(run: Run<'_>) -> Result<Report, JobError> {
    let ending = ending(run.tx, run.as_of).await?;
    if ending.is_empty() {
        return Ok(Ending::of(run).report());
    }
    run.progress.begin("ending plans", Some(ending.len() as u64));
    let caught_up = CaughtUp::load(run.tx, run.as_of).await?;
    let mut job = Ending::of(run);
    let ready = job.ready(&ending, &caught_up);
    let accounts: Vec<_> = ready.into_iter().collect();
    for together in accounts.chunks(TOGETHER) {
        job.end_together(together).await?;
    }
    job.effects.finish(job.run.tx).await?;
    job.ends.flush(job.run.tx).await?;
    job.notices.flush(job.run.tx).await?;
    job.run.progress.end();
    Ok(job.report())
}

/// Sums of a run for its report.
#[derive(Default)]
struct Totals {
    plans: i64,
    units: i64,
    used_up: i64,
    waiting_for_charging: i64,
    waiting_for_settling: i64,
}

struct Ending<'a> {
    run: Run<'a>,
    effects: Effects,
    ends: Ends,
    notices: Notices,
    totals: Totals,
    parked: BTreeMap<Arc<str>, String>,
    lines: Listed<String>,
}

impl<'a> Ending<'a> {
    fn of(run: Run<'a>) -> Ending<'a> {
        Ending {
            effects: Effects::new(run.tx, run.run_no, run.as_of),
            ends: Ends::default(),
            notices: Notices::default(),
            totals: Totals::default(),
            parked: BTreeMap::new(),
            lines: Listed::default(),
            run,
        }
    }

    /// The plans that nobody needs any more, by account; the others are counted by what they wait for.
    fn ready<'e>(
        &mut self,
        ending: &'e [EndingPlan],
        caught_up: &CaughtUp,
    ) -> BTreeMap<&'e str, BTreeSet<i64>> {
        let mut ready: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
        for plan in ending {
            match caught_up.account_behind(&plan.account_id, plan.expires_at) {
                None => drop(ready.entry(&plan.account_id).or_default().insert(plan.plan_no)),
                Some(_) if !plan.something_left => {}
                Some(Behind::Charging) => self.totals.waiting_for_charging += 1,
                Some(Behind::Settling) => self.totals.waiting_for_settling += 1,
            }
        }
        ready
    }

    async fn end_together(&mut self, together: &[(&str, BTreeSet<i64>)]) -> Result<(), JobError> {
        let ids: Vec<&str> = together.iter().map(|(id, _)| *id).collect();
        let ending: BTreeMap<&str, &BTreeSet<i64>> =
            together.iter().map(|(id, plans)| (*id, plans)).collect();
        // No months are needed: nothing of them changes.
        let loaded = load_accounts(self.run.tx, &ids, i64::MAX, Plans::EndedBy(self.run.as_of)).await?;
        for (id, loaded) in loaded {
            match loaded {
                Ok((account, last_entry)) => {
                    if let Some(plans) = ending.get(&*id) {
                        self.end_account(account, last_entry, plans);
                    }
                }
                Err(fault) => self.park(&id, fault.to_string()),
            }
        }
        self.run.progress.advance(together.iter().map(|(_, plans)| plans.len() as u64).sum());
        self.effects.write_behind(self.run.tx).await?;
        Ok(())
    }

    /// Ends some plans of an account, or none where one can't be.
    fn end_account(&mut self, mut account: Account, last_entry: i64, plans: &BTreeSet<i64>) {
        let before = account.clone();
        let id = account.account_id.clone();
        let catalog = &self.run.config.catalog;
        let mut ended = Vec::new();
        for plan in account.plans.iter_mut().filter(|plan| plans.contains(&plan.plan_no)) {
            let Some(product) = catalog.get(&plan.product) else {
                let fault = format!(
                    "its plan {id}-p{} is of {}, which is not configured",
                    plan.plan_no, plan.product
                );
                return self.park(&id, fault);
            };
            // A fault or a panic of one account's plans parks that account only (F110).
            let end = catch_unwind(AssertUnwindSafe(|| end_plan(plan, product, &account.currency)));
            match end {
                Ok(Ok(end)) => ended.push((plan.clone(), end)),
                Ok(Err(fault)) => return self.park(&id, fault.to_string()),
                Err(_) => return self.park(&id, "ending its plan panicked; see the log".into()),
            }
        }
        let entries: Vec<_> = ended.iter().filter_map(|(_, end)| end.entry.clone()).collect();
        if !entries.is_empty() {
            self.effects.account(&before, &account, last_entry, &entries);
        }
        for (plan, end) in ended {
            self.take(&account, &plan, &end);
        }
    }

    fn take(&mut self, account: &Account, plan: &Plan, end: &Ended) {
        let (id, plan_id) = (&account.account_id, format!("{}-p{}", account.account_id, plan.plan_no));
        self.ends.push(id, plan.plan_no, self.run.as_of);
        if end.entry.is_none() {
            self.totals.used_up += 1;
            return;
        }
        self.totals.plans += 1;
        self.totals.units += end.units;
        if self.run.dry_run {
            self.lines
                .push(|| format!("{plan_id}  {} units, worth {} {}", end.units, end.value, account.currency));
        }
        let notice = Notice {
            kind: NoticeKind::PlanExpired,
            subject: plan_id.clone(),
            due: plan.expires_at,
            facts: vec![
                ("plan", Fact::Text(plan_id)),
                ("product", Fact::Text(plan.product.to_string())),
                ("size", Fact::Count(plan.size)),
                ("forfeited", Fact::Count(plan.forfeited)),
                ("expires_at", Fact::Time(plan.expires_at)),
            ],
        };
        self.notices.push(id, &notice, self.run.as_of);
    }

    fn park(&mut self, id: &Arc<str>, fault: String) {
        tracing::error!(account.id = %id, "Parked account `{id}`: {fault}");
        self.parked.insert(id.clone(), fault);
    }

    fn report(self) -> Report {
        let totals = &self.totals;
        let parked = self.parked.iter();
        Report {
            counts: vec![
                ("plans", totals.plans),
                ("units", totals.units),
                ("used_up", totals.used_up),
                ("waiting_for_charging", totals.waiting_for_charging),
                ("waiting_for_settling", totals.waiting_for_settling),
                ("parked", self.parked.len() as i64),
            ],
            worked: totals.plans + totals.used_up > 0,
            left_waiting: !self.parked.is_empty(),
            parked: parked
                .map(|(id, fault)| Parked { account_id: id.to_string(), fault: fault.clone() })
                .collect(),
            effects: self.lines,
            ..Report::default()
        }
    }
}
