//! What runs make of accounts, on its way into the books.

use super::connection::Work;
use super::db::{Dialect, Tx, Value, values};
use super::dialect::Bulk;
use super::error::StoreError;
use super::free::FreeUnits;
use super::many::execute_with;
use super::months::Months;
use super::notices::Notices;
use super::orders::LedgerWriter;
use super::standing::{Change, Standings};
use super::suspense::Suspensions;
use crate::domain::account::Account;
use crate::domain::charge::{Charge, Charged, Class};
use crate::domain::ledger::Entry;
use crate::domain::period::Timestamp;
use crate::domain::plan::Plan;
use crate::domain::reminder::plan_alert;

/// The effects of a run; all are written in the run's one transaction.
pub struct Effects {
    run_no: i64,
    /// A plan is low when this share of it is left, in millionths.
    quota_low_ppm: i64,
    /// Business time of the run.
    as_of: Timestamp,
    pub suspensions: Suspensions,
    unwritten: Unwritten,
}

/// What accounts came to.
struct Unwritten {
    charges: Bulk,
    ledger: LedgerWriter,
    months: Months,
    free: FreeUnits,
    accounts: Vec<Vec<Value>>,
    plans: Vec<Vec<Value>>,
    standings: Standings,
    notices: Notices,
}

impl Effects {
    pub fn new(tx: &Tx, run_no: i64, as_of: Timestamp) -> Effects {
        Effects {
            run_no,
            quota_low_ppm: 0,
            as_of,
            suspensions: Suspensions::new(tx.dialect()),
            unwritten: Unwritten::new(tx.dialect()),
        }
    }

    /// Tells of plans of which no more than a share is left, in millionths.
    pub fn alerting(self, quota_low_ppm: i64) -> Effects {
        Effects { quota_low_ppm, ..self }
    }

    /// Takes up what charging an account came to. `before` is the account as it was loaded.
    pub fn charged(
        &mut self,
        before: &Account,
        after: &Account,
        last_entry: i64,
        charged: &Charged,
        classes: &[Class<'_>],
    ) {
        for charge in &charged.charges {
            self.charge(&after.account_id, charge, &classes[charge.class as usize]);
        }
        self.account(before, after, last_entry, &charged.entries);
    }

    /// Takes up what a run made of an account.
    pub fn account(&mut self, before: &Account, after: &Account, last_entry: i64, entries: &[Entry]) {
        for (entry, entry_no) in entries.iter().zip(last_entry + 1..) {
            self.unwritten.ledger.push(&after.account_id, entry_no, entry);
        }
        let id = &*after.account_id;
        let last_entry = last_entry + entries.len() as i64;
        let funds = &after.funds;
        self.unwritten.standings.push(&Change {
            account_id: id,
            entry_no: last_entry,
            by_entry: true,
            before: before.status,
            after: after.status,
            available_before: before.funds.available().unwrap_or_default(),
            available: funds.available().unwrap_or_default(),
            at: self.as_of,
            reason: None,
        });
        self.unwritten.accounts.push(values![
            id,
            funds.balance.0,
            funds.unbilled.0,
            funds.due.0,
            after.status.as_str(),
            i64::from(after.status.is_held_overdue()),
            last_entry
        ]);
        for plan in &after.plans {
            let was = before.plans.iter().find(|p| p.plan_no == plan.plan_no);
            if let Some(was) = was.filter(|was| *was != plan) {
                self.alert(after, was, plan);
                self.unwritten.plans.push(values![
                    id,
                    plan.plan_no,
                    plan.remaining,
                    plan.released.0,
                    plan.carried.0,
                    plan.last_draw,
                    plan.forfeited
                ]);
            }
        }
        self.unwritten.months.push(before, after);
        self.unwritten.free.push(before, after);
    }

    /// Tells of a plan that is low or used up (R12).
    fn alert(&mut self, account: &Account, before: &Plan, after: &Plan) {
        if after.remaining >= before.remaining {
            return;
        }
        let (id, now) = (&*account.account_id, self.as_of);
        let pays = |plan: &&Plan| plan.product == after.product && plan.expires_at > now;
        let left = account.plans.iter().filter(pays).map(|plan| plan.remaining).sum();
        let plan_id = format!("{id}-p{}", after.plan_no);
        if let Some(notice) = plan_alert(&plan_id, before, after, left, self.quota_low_ppm, now) {
            self.unwritten.notices.push(id, &notice, now);
        }
    }

    fn charge(&mut self, account_id: &str, charge: &Charge, class: &Class<'_>) {
        let product = class.product.map_or("", |product| &*product.id);
        let span = charge.span;
        self.unwritten.charges.push(&[
            account_id.into(),
            charge.window.0.into(),
            self.run_no.into(),
            product.into(),
            (&*class.template_type).into(),
            (&*class.country).into(),
            charge.first_unit.into(),
            charge.units.into(),
            charge.messages.into(),
            charge.payer.number().into(),
            charge.unit_price.map(|price| price.0).into(),
            charge.amount.0.into(),
            charge.net.0.into(),
            span.map(|span| span.first.batch_no).into(),
            span.map(|span| span.first.line).into(),
            span.map(|span| span.first_units).into(),
            span.map(|span| span.last.batch_no).into(),
            span.map(|span| span.last.line).into(),
            span.map(|span| span.last_units).into(),
        ]);
    }

    /// Writes what fills a portion of what is appended.
    pub async fn flush_full(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.suspensions.flush_full(tx).await?;
        self.unwritten.flush_full(tx).await
    }

    /// Has everything about the accounts so far written while the caller goes on, before whatever else he asks
    /// of the database. They must not be loaded before.
    pub async fn write_behind(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let fresh = Unwritten::new(tx.dialect());
        tx.behind(std::mem::replace(&mut self.unwritten, fresh)).await
    }

    /// Writes everything about the accounts so far, so that they can be loaded again.
    pub async fn flush(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.unwritten.flush(tx).await
    }

    /// Writes what is left at the end.
    pub async fn finish(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.flush(tx).await?;
        self.suspensions.finish(tx, self.run_no).await
    }
}

impl Work for Unwritten {
    async fn run(mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.flush(tx).await
    }
}

impl Unwritten {
    fn new(dialect: Dialect) -> Unwritten {
        let charges = "account_id, window_start, run_no, product, template_type, country, first_unit, units, \
                       messages, plan_no, unit_price, amount, net, first_batch, first_line, first_units, \
                       last_batch, last_line, last_units";
        Unwritten {
            charges: Bulk::new(dialect, "charges", charges),
            ledger: LedgerWriter::new(dialect),
            months: Months::new(dialect),
            free: FreeUnits::default(),
            accounts: Vec::new(),
            plans: Vec::new(),
            standings: Standings::default(),
            notices: Notices::default(),
        }
    }

    async fn flush_full(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.charges.flush_full(tx).await?;
        self.ledger.flush_full(tx).await
    }

    async fn flush(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.charges.flush(tx).await?;
        self.ledger.flush(tx).await?;
        self.flush_updates(tx).await
    }

    async fn flush_updates(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.accounts);
        let statement = "update accounts set balance = v.balance, unbilled = v.unbilled, due = v.due, \
                         status = v.status, overdue = v.overdue, entries = v.entries from v \
                         where accounts.account_id = v.account_id";
        let columns = "account_id, balance, unbilled, due, status, overdue, entries";
        execute_with(tx, columns, rows, statement).await?;
        let rows = std::mem::take(&mut self.plans);
        let statement = "update plans set remaining = v.remaining, released = v.released, carried = v.carried, \
                         last_draw_run = v.last_draw, forfeited = v.forfeited from v \
                         where plans.account_id = v.account_id and plans.plan_no = v.plan_no";
        let columns = "account_id, plan_no, remaining, released, carried, last_draw, forfeited";
        execute_with(tx, columns, rows, statement).await?;
        self.standings.flush(tx).await?;
        self.free.flush(tx).await?;
        self.notices.flush(tx).await?;
        self.months.flush(tx).await
    }
}
