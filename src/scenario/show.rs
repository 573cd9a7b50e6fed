//! What a scenario shows of the books, in a clerk's words.

use std::fmt::Write as _;

use super::stage::{Said, Stage};
use super::verbs::{Arguments, need, refusal};
use crate::desk::accounts;
use crate::desk::exceptions::{self, Item};
use crate::desk::story::{self, Story};
use crate::domain::money::Micros;
use crate::domain::period::Zone;
use crate::runner::describe;
use crate::store::charging::{self, ChargeRow, charges};
use crate::store::orders;
use crate::store::returns::{self, ReturnRow};

impl Stage {
    pub(super) fn show(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let what = need(
            given,
            "account, plans, charges, returns, ledger, events, coupons, order, quota or waiting",
        )?;
        if what == "waiting" {
            let waiting = self.runtime.block_on(async {
                let mut tx = self.db.read().await?;
                charging::waiting(&mut tx).await
            });
            let waiting = waiting.map_err(|error: crate::store::StoreError| describe(&error))?;
            return Ok(format!("{} batches, {} in suspense\n", waiting.batches, waiting.suspense));
        }
        let id = need(given, "an account")?;
        match what {
            "account" => self.account_line(id),
            "plans" => self.plan_lines(id),
            "charges" => self.charge_lines(id),
            "returns" => self.return_lines(id),
            "ledger" => self.ledger_lines(id),
            "events" => self.event_lines(id),
            "coupons" => self.coupon_lines(id),
            "order" => self.order_lines(id),
            "quota" => self.quota_lines(id),
            other => Err(format!("nothing called {other} can be shown")),
        }
    }

    pub(super) fn account_line(&self, id: &str) -> Said<String> {
        let account = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            accounts::find(&mut tx, id).await
        });
        let account = account.map_err(refusal)?;
        let funds = account.funds;
        let available = funds.available().map_err(|fault| fault.to_string())?;
        let (balance, unbilled) = (funds.balance.for_people(), funds.unbilled.for_people());
        let (status, available) = (account.status.as_str(), available.for_people());
        Ok(format!("{id}  {status}  balance {balance}  unbilled {unbilled}  available {available}\n"))
    }

    fn plan_lines(&self, id: &str) -> Said<String> {
        let plans = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            orders::plans(&mut tx, id).await
        });
        let plans = plans.map_err(|error| describe(&error))?;
        let mut said = String::new();
        for plan in plans {
            let until = self.zone().format(plan.expires_at);
            let state = if plan.refunded_at.is_some() { "  refunded" } else { "" };
            let (left, size) = (plan.remaining, plan.size);
            let forfeited = match plan.forfeited_units() {
                0 => String::new(),
                units => format!(", {units} forfeited"),
            };
            let _ = writeln!(
                said,
                "{}  {}  {left} of {size} left{forfeited}  until {until}{state}",
                plan.plan_id, plan.package
            );
        }
        Ok(said)
    }

    fn charge_lines(&self, id: &str) -> Said<String> {
        let all = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            charges(&mut tx, Some(id), None).await
        });
        let all = all.map_err(|error| describe(&error))?;
        Ok(all.iter().map(|charge| charge_words(charge, self.zone()) + "\n").collect())
    }

    fn ledger_lines(&self, id: &str) -> Said<String> {
        let postings = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            orders::ledger(&mut tx, id).await
        });
        let postings = postings.map_err(|error| describe(&error))?;
        let mut said = String::new();
        for entry in postings.chunk_by(|a, b| a.cause == b.cause) {
            let Some(first) = entry.first() else { continue };
            let _ = writeln!(said, "{}  {}", self.zone().format_short(first.at), cause_words(&first.cause));
            for posting in entry {
                let plan = if posting.plan_no > 0 { format!(":p{}", posting.plan_no) } else { String::new() };
                let amount = if posting.commodity.len() == 3 {
                    Micros(posting.amount).to_string()
                } else {
                    posting.amount.to_string()
                };
                let _ = writeln!(said, "    {}{plan}  {amount} {}", posting.ledger, posting.commodity);
            }
        }
        Ok(said)
    }

    fn return_lines(&self, id: &str) -> Said<String> {
        let all = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            returns::of_account(&mut tx, id).await
        });
        Ok(return_words(&all.map_err(|error: crate::store::StoreError| describe(&error))?))
    }

    /// Who paid for a message and what went back of it, on a line; with `words` its whole story.
    pub(super) fn explain(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let (account, id) = (need(given, "an account")?, need(given, "a message")?);
        let story = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            story::tell(&mut tx, &self.config, account, id, self.now).await
        });
        let story = story.map_err(refusal)?;
        match given.next_pos() {
            None => Ok(short(&story)),
            Some("words") => Ok(story.words(&self.config) + "\n"),
            Some(other) => Err(format!("explain says it on a line, or in words, not in {other}")),
        }
    }

    /// What waits for somebody, with the numbers by which they decide.
    pub(super) fn exceptions(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let all = given.next_pos() == Some("all");
        let items = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            exceptions::list(&mut tx, all, 100).await
        });
        let items = items.map_err(|error: crate::store::StoreError| describe(&error))?.items;
        let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".into());
        let line = |item: &Item| {
            let part = item.part.map_or(String::new(), |part| format!(" part {part}"));
            let fate = item
                .closed
                .as_ref()
                .map_or(String::new(), |closed| format!("  {}: {}", closed.resolution, closed.reason));
            let (id, message) = (word(&item.id), word(&item.message_id));
            format!(
                "{id}  {}  {}  {message}{part}  {}{fate}\n",
                item.kind,
                word(&item.account_id),
                item.detail
            )
        };
        Ok(items.iter().map(line).collect())
    }
}

/// A message on a line.
fn short(story: &Story) -> String {
    let message = &story.stored.message;
    let mut said = format!("{}  {} units", story.message_id, message.units);
    for part in &story.paid {
        let price = part.unit_price.unwrap_or_default();
        let _ = match &part.plan_id {
            Some(plan) => write!(said, "  {} from {plan}", part.units),
            None if part.free => write!(said, "  {} free", part.units),
            None => write!(said, "  {} @ {price}", part.units),
        };
    }
    let _ = match (story.state, &story.reason) {
        (Some("suspense"), Some(reason)) => write!(said, "  waits: {reason}"),
        (Some("charged") | None, _) => Ok(()),
        (Some(state), Some(reason)) => write!(said, "  {state}: {reason}"),
        (Some(state), None) => write!(said, "  {state}"),
    };
    for back in &story.returns {
        let _ = write!(said, "  returned {}", back.words());
    }
    said + "\n"
}

/// A charge as a clerk reads it.
pub(super) fn charge_words(charge: &ChargeRow, zone: Zone) -> String {
    let class = [&*charge.template_type, &*charge.country];
    let mut class = class.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if class.is_empty() {
        class.push_str(&charge.product);
    }
    let payer = match (&charge.plan_id, charge.unit_price) {
        (Some(plan), _) => format!("from {plan}"),
        _ if charge.free => "free".into(),
        (None, price) => format!("@ {} = {}", price.unwrap_or_default(), charge.amount),
    };
    let window = zone.format_short(charge.window);
    format!("{}  {window}  {class}  {} units {payer}", charge.account_id, charge.units)
}

/// A cause without the number of the run, which is no part of the story.
pub(super) fn cause_words(cause: &str) -> &str {
    match cause.split_once(':') {
        Some(("final-late", _)) => "final, late",
        Some((what @ ("charge" | "return" | "final"), _)) => what,
        _ => cause,
    }
}

/// What was given back, alike messages together: `acme  2 units of acme-p1 to acme-p2`.
pub(super) fn return_words(returns: &[ReturnRow]) -> String {
    let way = |row: &ReturnRow| {
        let from = row.from_plan.clone().unwrap_or_else(|| "pay-as-you-go".into());
        let to = match (&row.to_plan, &row.money_to) {
            (Some(plan), _) => format!("to {plan}"),
            (None, to) => {
                let price = row.unit_price.unwrap_or_default();
                format!("@ {price} off {}", to.as_deref().unwrap_or_default())
                    .replace("off balance", "to balance")
            }
        };
        (row.account_id.clone(), from, to)
    };
    let mut ways: Vec<((String, String, String), i64, i64)> = Vec::new();
    for row in returns {
        let this = way(row);
        match ways.iter_mut().find(|(known, ..)| *known == this) {
            Some((_, units, amount)) => (*units, *amount) = (*units + row.units, *amount + row.amount.0),
            None => ways.push((this, row.units, row.amount.0)),
        }
    }
    ways.sort();
    let mut said = String::new();
    for ((account, from, to), units, amount) in ways {
        let money = if amount == 0 { String::new() } else { format!(" = {}", Micros(amount)) };
        let _ = writeln!(said, "{account}  {units} units of {from} {to}{money}");
    }
    said
}
