//! Answers failure receipts and makes charges final (R86, R88-R95, R99-R101, R123, R133, D14-D19, D47).
//!
//! Takes every failure receipt that no run has answered, finds the message and who paid for it, and
//! gives units and money back, account by account. Then the windows whose time is over become final:
//! what was charged in them and not given back is earned, and what was sent on days that are over is
//! counted for good (R127-R132). All of it is one transaction.

mod finality;
mod orphans;
mod usage;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{JobError, Parked, Report, Run};
use crate::domain::account::Account;
use crate::domain::charge::Charge;
use crate::domain::period::{Timestamp, window_start};
use crate::domain::product::{ChargeOn, Product, RECEIPT_GRACE, REFUND_WINDOW};
use crate::domain::settle::{Failure, Paid, Settled, To, one_unit, paid_units, settle_account};
use crate::store::charging::{Effects, Plans, load_accounts};
use crate::store::failures::{self, Answer, Answers, FailedMessage, Matched, OpenFailure};
use crate::store::settling::{self, ChargeKey, ExceptionKind, FinalUpTo, Returns};

/// Accounts that are settled together.
const TOGETHER: usize = 2_000;
/// Parked accounts and dry-run lines that a report names; the rest is counted.
const NAMED: usize = 1_000;

pub async fn run(run: Run<'_>) -> Result<Report, JobError> {
    let open = failures::open(run.tx).await?;
    run.progress.begin("settling", Some(open.len() as u64));
    let mut settling = Settling {
        final_up_to: FinalUpTo::load(run.tx).await?,
        effects: Effects::new(run.tx, run.run_no),
        answers: Answers::new(run.tx, run.run_no),
        returns: Returns::new(run.tx, run.run_no),
        totals: Totals::default(),
        parked: BTreeMap::new(),
        lines: Vec::new(),
        run,
    };
    let mut by_account: BTreeMap<&str, Vec<Candidate<'_>>> = BTreeMap::new();
    for failure in &open {
        if let Some(candidate) = settling.judge(failure) {
            by_account.entry(&candidate.message.account_id).or_default().push(candidate);
        }
    }
    let accounts: Vec<_> = by_account.into_iter().collect();
    for together in accounts.chunks(TOGETHER) {
        settling.settle_together(together).await?;
    }
    settling.effects.flush(settling.run.tx).await?;
    settling.answers.finish(settling.run.tx).await?;
    settling.returns.flush(settling.run.tx).await?;
    settling.totals.finalised = finality::finalise(&mut settling.run, settling.final_up_to).await?;
    settling.totals.usage_rows = usage::write_days(&mut settling.run).await?;
    settling.totals.exceptions += orphans::list(&mut settling.run).await?;
    settling.run.progress.end();
    Ok(settling.report())
}

/// A failure that gives something back, and the charges to be looked at.
struct Candidate<'f> {
    failure: &'f OpenFailure,
    message: &'f FailedMessage,
    charged: ChargeKey,
}

/// Sums of a run for its report.
#[derive(Default)]
struct Totals {
    returned: i64,
    plan_units: i64,
    money_units: i64,
    no_money: i64,
    late: i64,
    exceptions: i64,
    waiting: i64,
    finalised: i64,
    usage_rows: i64,
}

struct Settling<'a> {
    run: Run<'a>,
    final_up_to: FinalUpTo,
    effects: Effects,
    answers: Answers,
    returns: Returns,
    totals: Totals,
    parked: BTreeMap<String, String>,
    lines: Vec<String>,
}

impl Settling<'_> {
    /// Answers what needs no look at the account; gives back what does.
    fn judge<'f>(&mut self, failure: &'f OpenFailure) -> Option<Candidate<'f>> {
        let message = match &failure.message {
            Matched::One(message) => message,
            Matched::Ambiguous => {
                let detail = "several accounts have a message of this id and the receipt names none";
                self.list(ExceptionKind::AmbiguousAccount, failure, detail);
                return None;
            }
            Matched::Unknown => {
                self.wait_for_message(failure);
                return None;
            }
        };
        let never_charged = matches!(message.disposition.as_deref(), Some("rejected" | "inbound"));
        let on_receipt = self.product(message).map(|product| product.charge_on == ChargeOn::Receipt);
        match (message.charged_by, on_receipt) {
            _ if never_charged => self.no_money(failure),
            (_, Some(false)) => self.no_money(failure),
            // Not charged yet: the run that charges it leaves it out.
            (None, _) | (_, None) => self.totals.waiting += 1,
            (Some(_), _) if !failure.reported_in_time(message) => {
                self.totals.late += 1;
                self.answers.push(&failure.id, Answer::Late);
            }
            (Some(_), _) if !failure.received_in_time(message) => {
                let detail = "reported within 72 hours, received after the charge was final";
                self.list(ExceptionKind::LateArrival, failure, detail);
            }
            (Some(_), _) if failure.parts.is_some_and(|parts| parts != message.units) => {
                let parts = failure.parts.unwrap_or_default();
                let detail = format!("the receipt counts {parts} parts, we charged {}", message.units);
                self.list(ExceptionKind::SegmentDisagreement, failure, &detail);
            }
            (Some(run_no), _) => {
                return Some(Candidate { failure, message, charged: charge_key(message, run_no) });
            }
        }
        None
    }

    fn product(&self, message: &FailedMessage) -> Option<&Product> {
        self.run.config.catalog.get(&message.product)
    }

    fn no_money(&mut self, failure: &OpenFailure) {
        self.totals.no_money += 1;
        self.answers.push(&failure.id, Answer::NoMoney);
    }

    /// A receipt may come before its message, but not for ever (D18).
    fn wait_for_message(&mut self, failure: &OpenFailure) {
        let until = failure.received_at.plus_micros(REFUND_WINDOW + RECEIPT_GRACE);
        if self.run.as_of <= until {
            self.totals.waiting += 1;
        } else {
            self.list(ExceptionKind::Orphan, failure, "no message of this id came");
        }
    }

    fn list(&mut self, kind: ExceptionKind, failure: &OpenFailure, detail: &str) {
        let account = match &failure.message {
            Matched::One(message) => &message.account_id,
            _ => &failure.id.account_id,
        };
        self.totals.exceptions += 1;
        self.returns.list(kind, failure, account, detail, self.run.as_of);
        self.answers.push(&failure.id, Answer::Exception);
    }

    async fn settle_together(&mut self, together: &[(&str, Vec<Candidate<'_>>)]) -> Result<(), JobError> {
        let ids: Vec<&str> = together.iter().map(|(id, _)| *id).collect();
        let candidates = || together.iter().flat_map(|(_, candidates)| candidates);
        let windows = candidates().map(|c| (&*c.charged.account_id, c.charged.window, c.charged.run_no));
        let windows: std::collections::BTreeSet<_> = windows.collect();
        let earliest = windows.iter().map(|(_, window, _)| Timestamp(*window)).min().unwrap_or_default();
        let from_month = self.run.config.zone.month_of(earliest).number();
        let mut accounts = load_accounts(self.run.tx, &ids, from_month, Plans::EverDrawn).await?;
        let charges = settling::charges(self.run.tx, windows).await?;
        for (id, candidates) in together {
            let paid = self.paid(candidates, &charges).await?;
            match accounts.remove(*id) {
                Some(Ok((account, last_entry))) => self.settle(account, last_entry, candidates, paid),
                Some(Err(fault)) => self.park(id, candidates, &fault.to_string()),
                None => self.park(id, candidates, "the account is gone"),
            }
            self.run.progress.advance(candidates.len() as u64);
        }
        self.effects.flush_full(self.run.tx).await?;
        self.returns.flush_full(self.run.tx).await?;
        self.answers.flush_full(self.run.tx).await?;
        Ok(())
    }

    /// For each candidate the failed units, by who paid for them.
    async fn paid(
        &mut self,
        candidates: &[Candidate<'_>],
        charges: &BTreeMap<ChargeKey, Vec<Charge>>,
    ) -> Result<Vec<Vec<Paid>>, JobError> {
        let mut all = Vec::new();
        for candidate in candidates {
            let message = candidate.message;
            let charges = charges.get(&candidate.charged).map_or(&[][..], Vec::as_slice);
            let part = candidate.failure.id.part;
            if part == 0 {
                all.push(paid_units(charges, message.place, message.units));
                continue;
            }
            // Parts that were known to have failed have no place among the charged units.
            let left_out = settling::parts_not_charged(self.run.tx, &message.account_id, message.key).await?;
            let charged = paid_units(charges, message.place, message.units - left_out.len() as i64);
            let before = left_out.iter().filter(|left_out| **left_out < part).count() as i64;
            all.push(one_unit(&charged, part - 1 - before).into_iter().collect());
        }
        Ok(all)
    }

    fn settle(
        &mut self,
        mut account: Account,
        last_entry: i64,
        candidates: &[Candidate<'_>],
        paid: Vec<Vec<Paid>>,
    ) {
        let before = account.clone();
        let id = account.account_id.clone();
        let (zone, run_no, catalog) = (self.run.config.zone, self.run.run_no, &self.run.config.catalog);
        let mut failures = Vec::new();
        for (candidate, paid) in candidates.iter().zip(paid) {
            let Some(product) = catalog.get(&candidate.message.product) else { continue };
            failures.push(Failure {
                product,
                received_at: candidate.failure.received_at,
                window: Timestamp(candidate.charged.window),
                billed: false,
                was_final: self.final_up_to.covers(candidate.charged.window, candidate.charged.run_no),
                paid,
            });
        }
        if failures.iter().any(|failure| failure.paid.is_empty()) {
            return self.park(&id, candidates, "a charged message has no charge");
        }
        // A fault or a panic of one account parks that account only (F110).
        let settled =
            catch_unwind(AssertUnwindSafe(|| settle_account(&mut account, &failures, zone, run_no)));
        match settled {
            Ok(Ok(settled)) => {
                self.take(candidates, &failures, &settled);
                self.effects.account(&before, &account, last_entry, &settled.entries);
            }
            Ok(Err(fault)) => self.park(&id, candidates, &fault.to_string()),
            Err(_) => self.park(&id, candidates, "settling it panicked; see the log"),
        }
    }

    /// Notes what each failure gave back.
    fn take(&mut self, candidates: &[Candidate<'_>], failures: &[Failure<'_>], settled: &Settled) {
        for ((candidate, failure), given) in candidates.iter().zip(failures).zip(&settled.returns) {
            let Ok(given) = given else {
                let detail = "money is called for, and no price was known when the plan paid";
                self.list(ExceptionKind::NoPrice, candidate.failure, detail);
                continue;
            };
            let part = candidate.failure.id.part;
            let (message, received_at) = (candidate.message, candidate.failure.received_at);
            self.returns.push(message, &candidate.charged, part, received_at, given, failure.was_final);
            self.answers.push(&candidate.failure.id, Answer::Returned);
            self.totals.returned += 1;
            for back in given {
                match back.to {
                    To::Plan(_) => self.totals.plan_units += back.units,
                    To::Unbilled | To::Balance => self.totals.money_units += back.units,
                }
                if self.run.dry_run && self.lines.len() < NAMED {
                    self.lines.push(told(&message.account_id, back));
                }
            }
        }
    }

    fn park(&mut self, id: &str, candidates: &[Candidate<'_>], fault: &str) {
        tracing::error!(account.id = id, "Parked the failures of account `{id}`: {fault}");
        self.totals.waiting += candidates.len() as i64;
        self.parked.insert(id.to_owned(), fault.to_owned());
    }

    fn report(self) -> Report {
        let totals = &self.totals;
        let did = totals.returned + totals.no_money + totals.late + totals.exceptions;
        let did = did + totals.finalised + totals.usage_rows;
        let parked = self.parked.iter().take(NAMED);
        Report {
            counts: vec![
                ("returned", totals.returned),
                ("plan_units", totals.plan_units),
                ("money_units", totals.money_units),
                ("no_money", totals.no_money),
                ("late", totals.late),
                ("exceptions", totals.exceptions),
                ("waiting", totals.waiting),
                ("finalised", totals.finalised),
                ("usage_rows", totals.usage_rows),
                ("parked", self.parked.len() as i64),
            ],
            worked: did > 0,
            left_waiting: totals.exceptions > 0 || !self.parked.is_empty(),
            parked: parked
                .map(|(id, fault)| Parked { account_id: id.clone(), fault: fault.clone() })
                .collect(),
            effects: self.lines,
        }
    }
}

fn charge_key(message: &FailedMessage, run_no: i64) -> ChargeKey {
    ChargeKey {
        account_id: message.account_id.clone(),
        window: window_start(message.submit_time).0,
        run_no,
        product: message.product.clone(),
        template_type: message.template_type.clone(),
        country: message.country.clone(),
    }
}

/// What would be given back, for a dry run.
fn told(account_id: &str, back: &crate::domain::settle::GivenBack) -> String {
    match back.to {
        To::Plan(plan_no) => {
            format!("{account_id}  {} units to plan {account_id}-p{plan_no}", back.units)
        }
        To::Unbilled | To::Balance => {
            let price = back.unit_price.unwrap_or_default();
            format!("{account_id}  {} units at {price} = {}", back.units, back.amount)
        }
    }
}
