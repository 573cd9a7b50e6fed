//! What a scenario shows of bills and invoices.

use std::fmt::Write as _;

use super::stage::{Said, Stage};
use super::verbs::{Arguments, need, refusal};
use crate::config::bills::Bills;
use crate::desk::bills::{self, Shown};
use crate::domain::bill::{Rounding, month_text};
use crate::runner::{Finished, describe};

impl Stage {
    /// `bill ACCOUNT MONTH`: the bill, or what it would be.
    pub(super) fn bill(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let (account, month) = (need(given, "an account")?, need(given, "a month")?);
        let month = month.parse()?;
        let shown = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            bills::show(&mut tx, &self.config, account, month, self.now).await
        });
        let shown = shown.map_err(refusal)?;
        let mut said = head(&shown);
        for line in &shown.bill.lines {
            let _ = writeln!(said, "  {}", line.words());
        }
        if let Some(note) = &shown.bill.note {
            let _ = writeln!(said, "  {note}");
        }
        Ok(said)
    }

    /// `bills rounding=half_up zero=true`: how bills are made from now on. Without words: all bills.
    pub(super) fn bills(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let (rounding, zero) = (given.take_key("rounding"), given.take_key("zero"));
        if rounding.is_some() || zero.is_some() {
            let rounding = match rounding {
                Some("half_up") => Rounding::HalfUp,
                Some("down") | None => Rounding::Down,
                Some(other) => return Err(format!("there is no rounding {other}")),
            };
            return self.configure(|config| {
                config.bills = Bills { rounding, zero_bills: zero == Some("true") };
                Ok(())
            });
        }
        let all = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            bills::list(&mut tx, None).await
        });
        let all = all.map_err(|error: crate::store::StoreError| describe(&error))?;
        Ok(all.iter().map(head).collect())
    }

    /// The bills that a run made, and what it had to leave.
    pub(super) fn billed(&self, finished: &Finished, dry_run: bool) -> Said<String> {
        let all = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            bills::list(&mut tx, None).await
        });
        let all = all.map_err(|error: crate::store::StoreError| describe(&error))?;
        let made = all.iter().filter(|shown| !dry_run && shown.bill.issued_at == finished.as_of);
        let mut said: String = made.map(head).collect();
        let waiting = finished.counts.iter().find(|(name, count)| *name == "months_waiting" && *count > 0);
        if waiting.is_some() {
            said.push_str("the next month waits until all its messages are charged\n");
        }
        for parked in &finished.parked {
            let _ = writeln!(said, "{}  parked: {}", parked.account_id, parked.fault);
        }
        Ok(said)
    }
}

/// `acme  2026-03  CNY-202603-000001  total 0.13  paid 0.13  due 0.00`.
fn head(shown: &Shown) -> String {
    let bill = &shown.bill;
    let number = if shown.hash.is_some() { bill.bill_id.as_str() } else { "preview" };
    let [total, paid, due] = [bill.total, shown.paid, shown.due].map(|amount| amount.for_people());
    let month = month_text(bill.month);
    format!("{}  {month}  {number}  total {total}  paid {paid}  due {due}\n", bill.account_id)
}
