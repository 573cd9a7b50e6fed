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

use self::finality::Finalised;
use super::{JobError, Report, Run};
use crate::basis;
use crate::domain::account::Parked;
use crate::domain::product::{ChargeOn, Product, RECEIPT_GRACE, REFUND_WINDOW};
use crate::domain::settle::{GivenBack, To};
use crate::listed::Listed;
use crate::settling::{Answered, Claim, GivingBack};
use crate::store::failures::{Answer, Answers, FailedMessage, Matched, OpenFailure, OpenFailures};
use crate::store::receipts::list_new_deliveries;
use crate::store::retention::Retired;
use crate::store::settling::ExceptionKind;
use crate::store::status::note_parked_failures;

/// Accounts that are settled together.
const TOGETHER: usize = 1_000;

pub async fn run(run: Run<'_>) -> Result<Report, JobError> {
    basis::check(run.tx, run.config).await?;
    run.progress.begin("settling", None);
    let giving_back = GivingBack::begin(run.tx, run.config, run.run_no, run.as_of).await?;
    let mut settling = Settling {
        giving_back,
        answers: Answers::new(run.tx, run.run_no),
        totals: Totals::default(),
        parked: BTreeMap::new(),
        any_retired: Retired::load(run.tx).await? != Retired::NOTHING,
        left_unfinal: false,
        lines: Listed::default(),
        run,
    };
    let mut open = OpenFailures::default();
    loop {
        let portion = open.next(settling.run.tx).await?;
        if portion.is_empty() {
            break;
        }
        settling.settle_portion(&portion).await?;
    }
    let as_of = settling.run.as_of;
    settling.totals.exceptions += settling.answers.finish(settling.run.tx, as_of).await?;
    settling.totals.exceptions += list_new_deliveries(settling.run.tx, as_of).await?;
    let parked = settling.parked.iter().map(|(id, (failures, fault))| (&**id, *failures, &**fault));
    note_parked_failures(settling.run.tx, parked).await?;
    let final_up_to = settling.giving_back.final_up_to;
    match finality::finalise(&mut settling.run, final_up_to).await? {
        Finalised::Accounts(accounts) => settling.totals.finalised = accounts,
        Finalised::Unknown => settling.left_unfinal = true,
    }
    settling.totals.usage_rows = usage::write_days(&mut settling.run).await?;
    settling.totals.exceptions += orphans::list(&mut settling.run).await?;
    settling.run.progress.end();
    Ok(settling.report())
}

/// A failure that gives something back.
#[derive(Clone, Copy)]
struct Candidate<'f> {
    failure: &'f OpenFailure,
    message: &'f FailedMessage,
    charge_run: i64,
}

impl<'f> Candidate<'f> {
    fn claim(&self) -> Claim<'f> {
        let OpenFailure { id, received_at, .. } = self.failure;
        Claim::new(self.message, self.charge_run, id.part, *received_at)
    }
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
    giving_back: GivingBack<'a>,
    answers: Answers,
    totals: Totals,
    /// How many failures of an account wait, and why.
    parked: BTreeMap<String, (i64, String)>,
    /// Some messages are no longer kept.
    any_retired: bool,
    /// Nothing could be made final.
    left_unfinal: bool,
    lines: Listed<String>,
}

impl Settling<'_> {
    async fn settle_portion(&mut self, portion: &[OpenFailure]) -> Result<(), JobError> {
        let mut by_account: BTreeMap<&str, Vec<Candidate<'_>>> = BTreeMap::new();
        for failure in portion {
            if let Some(candidate) = self.judge(failure) {
                by_account.entry(&candidate.message.account_id).or_default().push(candidate);
            }
        }
        let accounts: Vec<_> = by_account.into_iter().collect();
        for together in accounts.chunks(TOGETHER) {
            self.settle_together(together).await?;
        }
        self.giving_back.finish(self.run.tx).await?;
        Ok(())
    }

    /// Answers what needs no look at the account; gives back what does.
    fn judge<'f>(&mut self, failure: &'f OpenFailure) -> Option<Candidate<'f>> {
        let message = match &failure.message {
            Matched::One(message) => message,
            Matched::Ambiguous => {
                let detail = match failure.id.account_id.is_empty() {
                    true => "several accounts have a message of this id and the receipt names none",
                    false => "the account has several messages of this request and recipient",
                };
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
                self.answers.push(failure.place, Answer::Late);
            }
            (Some(_), _) if !failure.received_in_time(message) => {
                let detail = "reported within 72 hours, received after the charge was final";
                self.list(ExceptionKind::LateArrival, failure, detail);
            }
            (Some(_), _) if failure.contradicted => {
                let detail = "an earlier receipt, which names the message in another way, tells otherwise";
                self.list(ExceptionKind::Conflict, failure, detail);
            }
            (Some(_), _) if failure.parts.is_some_and(|parts| parts != message.units) => {
                let parts = failure.parts.unwrap_or_default();
                let detail = format!("the receipt counts {parts} parts, we charged {}", message.units);
                self.list(ExceptionKind::SegmentDisagreement, failure, &detail);
            }
            (Some(charge_run), _) => return Some(Candidate { failure, message, charge_run }),
        }
        None
    }

    fn product(&self, message: &FailedMessage) -> Option<&Product> {
        self.run.config.catalog.get(&message.product)
    }

    fn no_money(&mut self, failure: &OpenFailure) {
        self.totals.no_money += 1;
        self.answers.push(failure.place, Answer::NoMoney);
    }

    /// A receipt may come before its message, but not for ever (D18).
    fn wait_for_message(&mut self, failure: &OpenFailure) {
        let until = failure.received_at.plus_micros(REFUND_WINDOW + RECEIPT_GRACE);
        if self.run.as_of <= until {
            self.totals.waiting += 1;
        } else {
            let detail = match self.any_retired {
                true => "no message of this id came, or it is too old to be kept",
                false => "no message of this id came",
            };
            self.list(ExceptionKind::Orphan, failure, detail);
        }
    }

    fn list(&mut self, kind: ExceptionKind, failure: &OpenFailure, detail: &str) {
        let account = match &failure.message {
            Matched::One(message) => &message.account_id,
            _ => &failure.id.account_id,
        };
        self.totals.exceptions += 1;
        self.giving_back.returns.list(kind, failure, account, detail, self.run.as_of);
        self.answers.push(failure.place, Answer::Exception);
    }

    async fn settle_together(&mut self, together: &[(&str, Vec<Candidate<'_>>)]) -> Result<(), JobError> {
        let claims =
            together.iter().map(|(id, candidates)| (*id, candidates.iter().map(Candidate::claim).collect()));
        let claims: Vec<(&str, Vec<Claim<'_>>)> = claims.collect();
        let books = self.giving_back.load(self.run.tx, &claims).await?;
        // The database takes up what came of those before, while it is decided what comes of these.
        self.answers.flush_full(self.run.tx).await?;
        self.giving_back.write_behind(self.run.tx).await?;
        let answers = self.giving_back.decide(&claims, books);
        for ((id, candidates), answered) in together.iter().zip(answers) {
            match answered {
                Ok(answers) => candidates.iter().zip(&answers).for_each(|(of, answer)| self.take(of, answer)),
                Err(fault) => self.park(id, candidates, &fault),
            }
            self.run.progress.advance(candidates.len() as u64);
        }
        Ok(())
    }

    /// Notes what a failure came to.
    fn take(&mut self, candidate: &Candidate<'_>, answered: &Answered) {
        let failure = candidate.failure;
        match answered {
            // All of it was free.
            Answered::GivenBack(given) if given.is_empty() => self.no_money(failure),
            Answered::GivenBack(given) => {
                self.answers.push(failure.place, Answer::Returned);
                self.totals.returned += 1;
                given.iter().for_each(|back| self.count(candidate.message, back));
            }
            Answered::NoPrice => {
                let detail = "money is called for, and no price was known when the plan paid";
                self.list(ExceptionKind::NoPrice, failure, detail);
            }
            Answered::Before => {
                self.totals.no_money += 1;
                self.answers.push(failure.place, Answer::Duplicate);
            }
        }
    }

    fn count(&mut self, message: &FailedMessage, back: &GivenBack) {
        match back.to {
            To::Plan(_) => self.totals.plan_units += back.units,
            To::Unbilled | To::Balance => self.totals.money_units += back.units,
        }
        if self.run.dry_run {
            self.lines.push(|| told(&message.account_id, back));
        }
    }

    fn park(&mut self, id: &str, candidates: &[Candidate<'_>], fault: &str) {
        tracing::error!(account.id = id, "Parked the failures of account `{id}`: {fault}");
        self.totals.waiting += candidates.len() as i64;
        let (failures, of) = self.parked.entry(id.to_owned()).or_default();
        *failures += candidates.len() as i64;
        fault.clone_into(of);
    }

    fn report(self) -> Report {
        let totals = &self.totals;
        let did = totals.returned + totals.no_money + totals.late + totals.exceptions;
        let did = did + totals.finalised + totals.usage_rows;
        let parked = self.parked.iter();
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
            left_waiting: totals.exceptions > 0 || !self.parked.is_empty() || self.left_unfinal,
            parked: parked
                .map(|(id, (_, fault))| Parked { account_id: id.clone(), fault: fault.clone() })
                .collect(),
            effects: self.lines,
            ..Report::default()
        }
    }
}

/// What would be given back, for a dry run.
fn told(account_id: &str, back: &GivenBack) -> String {
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
