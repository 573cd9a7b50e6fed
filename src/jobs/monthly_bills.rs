//! Bills each month that has ended, oldest first, and takes the payment (R79, R80, R121, D1, D3, D5, D13,
//! D51, D55, D56, D59, D65, D78-D80).
//!
//! A month is billed once charging has caught up with its end, for all accounts in one transaction: the
//! sums of its charges and returns are gathered, and the accounts come one after the other, so that memory
//! stays flat. While it works nothing is given back: what was is on these bills, what comes after is not.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{JobError, Report, Run};
use crate::basis;
use crate::billing::{cuts, terms};
use crate::domain::account::Parked;
use crate::domain::account::{Account, Split, Status};
use crate::domain::bill::{
    Bill, BillFault, BilledPrice, Draft, Part, draw_up, month_text, suspense_note, words,
};
use crate::domain::ledger::Entry;
use crate::domain::money::Micros;
use crate::domain::notice::{Fact, Notice, NoticeKind};
use crate::domain::period::Month;
use crate::domain::price::Buyer;
use crate::listed::Listed;
use crate::store::billing::{self, BilledUpTo, Gathered, Span, Whose};
use crate::store::bills::{self, Bills, Kept};
use crate::store::caught_up::charging_behind;
use crate::store::effects::Effects;
use crate::store::notices::Notices;
use crate::store::settling;

/// Accounts that are billed together.
const TOGETHER: i64 = 1_000;

pub async fn run(run: Run<'_>) -> Result<Report, JobError> {
    basis::check(run.tx, run.config).await?;
    BilledUpTo::lock(run.tx).await?;
    let mut billing = Billing {
        bills: Bills::new(run.tx),
        effects: Effects::new(run.tx, run.run_no, run.as_of),
        notices: Notices::default(),
        series: BTreeMap::new(),
        totals: Totals::default(),
        parked: BTreeMap::new(),
        lines: Listed::default(),
        run,
    };
    billing.bill_parked().await?;
    while let Some(span) = billing.next_month().await? {
        billing.bill_month(&span, Whose::Everybody).await?;
        let run = &mut billing.run;
        billing::add_month(run.tx, &span, run.run_no, run.as_of).await?;
        billing.totals.months += 1;
    }
    Ok(billing.report())
}

/// Sums of a run for its report.
#[derive(Default)]
struct Totals {
    months: i64,
    /// Months that have ended and whose messages are not all charged.
    waiting: i64,
    bills: i64,
    lines: i64,
    unpaid: i64,
}

struct Billing<'a> {
    run: Run<'a>,
    bills: Bills,
    effects: Effects,
    notices: Notices,
    /// The last number of each series that was taken.
    series: BTreeMap<String, i64>,
    totals: Totals,
    /// By account: the fault, and the first month that waits for it.
    parked: BTreeMap<String, String>,
    lines: Listed<String>,
}

/// What makes one account's bill.
struct Due<'a> {
    parts: &'a [Part],
    billed_prices: &'a [BilledPrice],
    suspended: i64,
}

impl Billing<'_> {
    /// The month to be billed next: it has ended, and all its messages are charged (D65).
    async fn next_month(&mut self) -> Result<Option<Span>, JobError> {
        let zone = self.run.config.zone;
        let before = billing::billed_months(self.run.tx).await?;
        let month = match before.last() {
            Some(last) => Some(zone.month_of(last.ends_at)),
            None => billing::first_month(self.run.tx, zone).await?,
        };
        let Some(month) = month.filter(|month| zone.month_start(month.next()) <= self.run.as_of) else {
            return Ok(None);
        };
        let end = zone.month_start(month.next());
        if charging_behind(self.run.tx, end).await? {
            tracing::warn!("The bills of {month} wait until all its messages are charged");
            self.totals.waiting += 1;
            return Ok(None);
        }
        let last_run = settling::last_charge_run(self.run.tx).await?;
        Ok(Some(Span::of(zone, month, &before, last_run)))
    }

    /// Bills that waited for a fault to be mended, before what is newer.
    async fn bill_parked(&mut self) -> Result<(), JobError> {
        let waiting: BTreeSet<i64> =
            bills::parked(self.run.tx).await?.into_iter().map(|(_, month)| month).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let months = billing::billed_months(self.run.tx).await?;
        for (index, billed) in months.iter().enumerate().filter(|(_, m)| waiting.contains(&m.month)) {
            let month = Month { year: (billed.month / 100) as i32, month: (billed.month % 100) as u32 };
            let span = Span::of(self.run.config.zone, month, &months[..index], billed.charge_run);
            self.bill_month(&span, Whose::Parked).await?;
        }
        Ok(())
    }

    async fn bill_month(&mut self, span: &Span, whose: Whose) -> Result<(), JobError> {
        let cuts = cuts(self.run.tx, self.run.config).await?;
        let empty_too = self.run.config.bills.zero_bills;
        let mut gathered = Gathered::gather(self.run.tx, span, &cuts, whose, empty_too).await?;
        let expected = gathered.count(self.run.tx).await?;
        self.run.progress.begin("billing", Some(expected as u64));
        // Those that were parked before, and had nothing in the month after all, wait no longer.
        let mut waiting: BTreeSet<String> = match whose {
            Whose::Parked => self.parked_in(span.month).await?,
            _ => BTreeSet::new(),
        };
        loop {
            let together = gathered.next(self.run.tx, TOGETHER).await?;
            if together.is_empty() {
                break;
            }
            self.bill_together(span, whose, &together).await?;
            together.iter().for_each(|(id, _)| _ = waiting.remove(id));
            self.run.progress.advance(together.len() as u64);
        }
        for id in waiting {
            bills::unpark(self.run.tx, &id, span.month.number(), self.run.run_no).await?;
        }
        self.flush().await?;
        for (series, last) in std::mem::take(&mut self.series) {
            bills::save_series(self.run.tx, &series, last).await?;
        }
        gathered.close(self.run.tx).await?;
        self.run.progress.end();
        Ok(())
    }

    async fn parked_in(&mut self, month: Month) -> Result<BTreeSet<String>, JobError> {
        let parked = bills::parked(self.run.tx).await?;
        Ok(parked.into_iter().filter(|(_, of)| *of == month.number()).map(|(id, _)| id).collect())
    }

    async fn bill_together(
        &mut self,
        span: &Span,
        whose: Whose,
        together: &[(String, Vec<Part>)],
    ) -> Result<(), JobError> {
        let ids: Vec<&str> = together.iter().map(|(id, _)| id.as_str()).collect();
        let accounts = bills::lock_accounts(self.run.tx, &ids).await?;
        let late = together.iter().filter(|(_, parts)| parts.iter().any(|part| part.since < span.from));
        let prices = billing::billed_prices(self.run.tx, late.map(|(id, _)| id.as_str())).await?;
        let suspended = billing::suspended(self.run.tx, ids.iter().copied(), span.upto).await?;
        let mut accounts = accounts.into_iter();
        for (id, parts) in together {
            let due = Due {
                parts,
                billed_prices: prices.get(id).map_or(&[], Vec::as_slice),
                suspended: suspended.get(id).copied().unwrap_or_default(),
            };
            let done = match accounts.next() {
                // A later month waits for the one before (D59).
                _ if self.parked.contains_key(id) => Err("its bill of an earlier month waits".to_owned()),
                Some(Ok((account, last_entry))) if *account.account_id == **id => {
                    self.bill_account(span, account, last_entry, &due).await?
                }
                Some(Err(fault)) => Err(fault.to_string()),
                _ => Err("the account is gone".to_owned()),
            };
            let (month, run_no) = (span.month.number(), self.run.run_no);
            match done {
                Ok(()) if whose == Whose::Parked => bills::unpark(self.run.tx, id, month, run_no).await?,
                Ok(()) => {}
                Err(fault) => {
                    tracing::error!(account.id = %id, "Parked the bill of `{id}` for {}: {fault}", span.month);
                    bills::park(self.run.tx, id, month, &fault, run_no).await?;
                    self.parked.entry(id.clone()).or_insert(fault);
                }
            }
        }
        self.bills.flush_full(self.run.tx).await?;
        self.effects.write_behind(self.run.tx).await?;
        self.notices.flush(self.run.tx).await?;
        Ok(())
    }

    /// Bills an account, unless there is nothing to bill (D80). The inner error is the account's own.
    async fn bill_account(
        &mut self,
        span: &Span,
        account: Account,
        last_entry: i64,
        due: &Due<'_>,
    ) -> Result<Result<(), String>, JobError> {
        let config = self.run.config;
        let buyer = Buyer {
            account_id: &account.account_id,
            kind: account.kind.as_str(),
            currency: &account.currency,
        };
        let terms = terms(config, span.month, buyer, due.billed_prices);
        let as_of = self.run.as_of;
        let reckon = || -> Result<(Draft, Account, Option<Entry>, Split), BillFault> {
            let draft = draw_up(due.parts, &terms)?;
            let mut after = account.clone();
            let (entry, split) = draft.settle(&terms, &mut after.funds, as_of)?;
            after.status = after.funds.status_after(after.status)?;
            Ok((draft, after, entry, split))
        };
        // A fault or a panic of one account parks that account only (F110).
        let (draft, after, entry, split) = match catch_unwind(AssertUnwindSafe(reckon)) {
            Ok(Ok(reckoned)) => reckoned,
            Ok(Err(fault)) => return Ok(Err(fault.to_string())),
            Err(_) => return Ok(Err("billing it panicked; see the log".to_owned())),
        };
        if draft.is_empty() && !config.bills.zero_bills {
            return Ok(Ok(()));
        }
        let series = format!("{}-{}", account.currency, span.month.number());
        let series_no = self.next_number(&series).await?;
        let bill = Bill {
            bill_id: format!("{series}-{series_no:06}"),
            account_id: account.account_id.to_string(),
            month: span.month.number(),
            currency: account.currency.to_string(),
            total: draft.total,
            paid: split.balance,
            accrued: draft.accrued,
            issued_at: as_of,
            note: suspense_note(due.suspended),
            lines: draft.lines,
        };
        let kept = Kept { series: &series, series_no, ends_at: span.upto, last_entry };
        self.bills.push(&bill, kept, &draft.prices);
        self.effects.account(&account, &after, last_entry, entry.as_slice());
        self.tell(&bill, split.due, after.status);
        Ok(Ok(()))
    }

    async fn next_number(&mut self, series: &str) -> Result<i64, JobError> {
        let last = match self.series.get(series) {
            Some(last) => *last,
            None => bills::lock_series(self.run.tx, series).await?,
        };
        self.series.insert(series.to_owned(), last + 1);
        Ok(last + 1)
    }

    /// Counts a bill, claims what is due of it and tells the customer.
    fn tell(&mut self, bill: &Bill, due: Micros, status: Status) {
        let (id, as_of) = (&bill.account_id, self.run.as_of);
        let month = month_text(bill.month);
        self.totals.bills += 1;
        self.totals.lines += bill.lines.len() as i64;
        let money = |name, amount| (name, Fact::Money(amount));
        let mut notice = |kind, facts: Vec<(&'static str, Fact)>| {
            let facts = [vec![("month", Fact::Text(month.clone()))], facts].concat();
            self.notices.push(id, &Notice { kind, subject: month.clone(), due: as_of, facts }, as_of);
        };
        let number = ("bill_id", Fact::Text(bill.bill_id.clone()));
        let sums = [money("total", bill.total), money("paid", bill.paid), money("due", due)];
        notice(NoticeKind::BillReady, [vec![number], sums.to_vec()].concat());
        if due > Micros::ZERO {
            // A rest inside the credit limit stops nothing (D76).
            if status.is_suspended() {
                notice(NoticeKind::Overdue, vec![money("due", due)]);
            }
            self.totals.unpaid += 1;
            self.bills.claim(id, &month, as_of, due);
        }
        if self.run.dry_run {
            let head = format!("{id}  {month}  {} {}", bill.bill_id, bill.currency);
            self.lines.push(|| format!("{head}  total {}  paid {}  due {due}", bill.total, bill.paid));
            self.lines.extend(words(&bill.lines).iter().map(|line| format!("{id}  {month}  {line}")));
        }
    }

    async fn flush(&mut self) -> Result<(), JobError> {
        self.bills.flush(self.run.tx).await?;
        self.effects.flush(self.run.tx).await?;
        Ok(self.notices.flush(self.run.tx).await?)
    }

    fn report(self) -> Report {
        let totals = &self.totals;
        let parked = self.parked.iter();
        Report {
            counts: vec![
                ("months", totals.months),
                ("months_waiting", totals.waiting),
                ("bills", totals.bills),
                ("lines", totals.lines),
                ("unpaid", totals.unpaid),
                ("parked", self.parked.len() as i64),
            ],
            worked: totals.months > 0 || totals.bills > 0,
            left_waiting: !self.parked.is_empty(),
            parked: parked
                .map(|(id, fault)| Parked { account_id: id.clone(), fault: fault.clone() })
                .collect(),
            effects: self.lines,
            ..Report::default()
        }
    }
}
