//! Buys the next plan of accounts that want it so: when few units are left, or ten days before the plan in
//! use ends (R34-R45, D20, D62, D73, D75).
//!
//! The state decides, and every purchase changes it so that it is not due again; a run that is repeated, or
//! comes a year late, buys nothing twice. Only accounts with a setting are looked at. All of it is one
//! transaction, in which the accounts are locked before they are judged.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{JobError, Report, Run};
use crate::domain::account::Parked;
use crate::domain::notice::{Fact, Notice, NoticeKind};
use crate::domain::order::Order;
use crate::domain::period::Timestamp;
use crate::domain::renewal::{Decision, Due, Offer, RenewalRefusal, decide};
use crate::listed::Listed;
use crate::store::accounts::{self, AccountRow};
use crate::store::notices::Notices;
use crate::store::orders::save_order;
use crate::store::renewals::{self, Judged, NewRenewal, Refusals, Refused};

/// Accounts that are loaded together.
const TOGETHER: usize = 500;

pub async fn run(run: Run<'_>) -> Result<Report, JobError> {
    let candidates = renewals::candidates(run.tx, run.as_of).await?;
    run.progress.begin("renewing", Some(candidates.len() as u64));
    let zone = run.config.zone;
    let today = zone.day_of(run.as_of);
    let mut job = Renewing {
        today: (zone.day_start(today), zone.day_start(today.next())),
        refusals: Refusals::default(),
        notices: Notices::default(),
        bought: 0,
        units: 0,
        refused: 0,
        parked: BTreeMap::new(),
        lines: Listed::default(),
        run,
    };
    for together in candidates.chunks(TOGETHER) {
        job.renew_together(together).await?;
    }
    job.run.progress.end();
    Ok(job.report())
}

struct Renewing<'a> {
    run: Run<'a>,
    /// The day of the billing zone, from its first moment up to the next one's.
    today: (Timestamp, Timestamp),
    refusals: Refusals,
    notices: Notices,
    bought: i64,
    units: i64,
    refused: i64,
    parked: BTreeMap<String, String>,
    lines: Listed<String>,
}

impl Renewing<'_> {
    async fn renew_together(&mut self, together: &[String]) -> Result<(), JobError> {
        let ids: Vec<&str> = together.iter().map(String::as_str).collect();
        let mut locked = BTreeMap::new();
        for (id, account) in accounts::lock_all(self.run.tx, &ids).await? {
            match account {
                Ok(account) => drop(locked.insert(id, account)),
                Err(fault) => self.park(&id, fault.to_string()),
            }
        }
        // Read once they are locked: somebody may have switched it off, or bought, in the meantime.
        let judged = renewals::load(self.run.tx, &ids, self.today).await?;
        for ((account_id, _), judged) in judged {
            let Some(account) = locked.get(&account_id) else { continue };
            if self.renew(account, &judged).await? {
                // Another product of it is renewed from what is left.
                let account = accounts::lock(self.run.tx, &account_id).await?;
                locked.extend(account.map(|account| (account_id, account)));
            }
        }
        self.refusals.flush(self.run.tx).await?;
        self.notices.flush(self.run.tx).await?;
        self.run.progress.advance(ids.len() as u64);
        Ok(())
    }

    /// Judges one setting; true where a plan was bought.
    async fn renew(&mut self, account: &AccountRow, judged: &Judged) -> Result<bool, JobError> {
        let rules = self.run.config.renewal_rules(self.run.as_of);
        let (customer, kind) = (account.customer(), account.kind.as_str());
        let Judged { row, plans, before } = judged;
        // A fault or a panic of one account parks that account only (F110).
        let decided =
            catch_unwind(AssertUnwindSafe(|| decide(&customer, kind, plans, &row.setting, before, rules)));
        match decided {
            Ok(Decision::Nothing) => Ok(false),
            Ok(Decision::Refuse(due, refusal)) => {
                self.refuse(account, judged, due, &refusal);
                Ok(false)
            }
            Ok(Decision::Buy(due, offer, order)) => {
                self.buy(account, judged, due, &offer, &order).await?;
                Ok(true)
            }
            Err(_) => {
                self.park(&account.account_id, "renewing its plans panicked; see the log".into());
                Ok(false)
            }
        }
    }

    async fn buy(
        &mut self,
        account: &AccountRow,
        judged: &Judged,
        due: Due,
        offer: &Offer<'_>,
        order: &Order,
    ) -> Result<(), JobError> {
        let (id, setting) = (&account.account_id, &judged.row.setting);
        let request = format!("{}:1", setting.package);
        save_order(self.run.tx, account, order, None, &request).await?;
        let new = NewRenewal {
            account_id: id,
            order_no: order.order_no,
            setting,
            due,
            list_price: offer.list_price,
            discount_ppm: offer.discount_ppm,
            validity: offer.validity.to_string(),
            at: self.run.as_of,
            run_no: self.run.run_no,
        };
        renewals::note(self.run.tx, &new).await?;
        self.bought += 1;
        self.units += order.plans.iter().map(|plan| plan.size).sum::<i64>();
        if self.run.dry_run {
            let (total, currency, by) = (order.total, &account.currency, due.by.as_str());
            self.lines.push(|| format!("{}  {} for {total} {currency}, due by {by}", id, setting.package));
        }
        let plan = order.plans.first();
        let mut facts = vec![
            ("order", Fact::Text(order.order_id.clone())),
            ("product", Fact::Text(setting.product.to_string())),
            ("package", Fact::Text(setting.package.to_string())),
            ("price", Fact::Money(order.total)),
            ("due_by", Fact::Text(due.by.as_str().into())),
            ("remaining", Fact::Count(due.remaining)),
        ];
        facts.extend(plan.map(|plan| ("plan", Fact::Text(plan.plan_id.clone()))));
        facts.extend(plan.map(|plan| ("size", Fact::Count(plan.size))));
        facts.extend(plan.map(|plan| ("expires_at", Fact::Time(plan.expires_at))));
        let subject = order.order_id.clone();
        let notice = Notice { kind: NoticeKind::RenewalDone, subject, due: self.run.as_of, facts };
        self.notices.push(id, &notice, self.run.as_of);
        Ok(())
    }

    /// Notes a refusal where it is news, and tells the customer of the day's first.
    fn refuse(&mut self, account: &AccountRow, judged: &Judged, due: Due, refusal: &RenewalRefusal) {
        self.refused += 1;
        let (id, setting) = (&account.account_id, &judged.row.setting);
        let known = judged.row.refused.as_ref();
        if known.is_none_or(|known| known.code != refusal.code() || known.at < self.today.0) {
            let (code, text) = (refusal.code().to_owned(), refusal.to_string());
            self.refusals.push(id, &setting.product, &Refused { at: self.run.as_of, code, text });
        }
        let facts = vec![
            ("product", Fact::Text(setting.product.to_string())),
            ("package", Fact::Text(setting.package.to_string())),
            ("remaining", Fact::Count(due.remaining)),
            ("available", Fact::Money(account.funds.available().unwrap_or_default())),
            ("reason", Fact::Text(refusal.code().into())),
            ("message", Fact::Text(refusal.to_string())),
        ];
        // Once a day: the day itself is what it is due at.
        let subject = setting.product.to_string();
        let notice = Notice { kind: NoticeKind::RenewalFailed, subject, due: self.today.0, facts };
        self.notices.push(id, &notice, self.run.as_of);
    }

    fn park(&mut self, id: &str, fault: String) {
        tracing::error!(account.id = %id, "Parked account `{id}`: {fault}");
        self.parked.insert(id.to_owned(), fault);
    }

    fn report(self) -> Report {
        let parked = self.parked.iter();
        Report {
            counts: vec![
                ("bought", self.bought),
                ("units", self.units),
                ("refused", self.refused),
                ("parked", self.parked.len() as i64),
            ],
            worked: self.bought > 0,
            left_waiting: !self.parked.is_empty(),
            parked: parked
                .map(|(id, fault)| Parked { account_id: id.clone(), fault: fault.clone() })
                .collect(),
            effects: self.lines,
            ..Report::default()
        }
    }
}
