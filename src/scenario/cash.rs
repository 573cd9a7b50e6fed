//! Verbs about an account's money and standing.

use super::show::cause_words;
use super::stage::{Said, Stage};
use super::verbs::{Arguments, money, need, refusal};
use crate::desk::accounts::{self, Changes};
use crate::desk::cash::{self, NewPenalty, TopUp};
use crate::domain::account::Kind;
use crate::runner::describe;
use crate::store::StoreError;
use crate::store::standing::{StandingEvent, events};

impl Stage {
    pub(super) fn pay_in(&mut self, id: &str, top_up: TopUp<'_>) -> Said<()> {
        let paid = cash::top_up(&self.db, id, top_up, self.now);
        self.runtime.block_on(paid).map(|_| ()).map_err(refusal)
    }

    /// The reference of a payment that the script does not name.
    pub(super) fn next_reference(&mut self) -> String {
        self.top_ups += 1;
        format!("top-up-{}", self.top_ups)
    }

    pub(super) fn top_up(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "an account")?;
        let amount = money(need(given, "an amount")?)?;
        let own = self.next_reference();
        let reference = given.take_key("reference").unwrap_or(&own);
        self.pay_in(id, TopUp { amount, reference, payer: given.take_key("payer") })?;
        self.account_line(id)
    }

    pub(super) fn withdraw(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "an account")?;
        let amount = money(need(given, "an amount")?)?;
        let own = self.next_reference();
        let reference = given.take_key("reference").unwrap_or(&own);
        let paid = cash::withdraw(&self.db, id, amount, reference, self.now);
        self.runtime.block_on(paid).map_err(refusal)?;
        self.account_line(id)
    }

    pub(super) fn penalize(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "an account")?;
        let amount = money(need(given, "an amount")?)?;
        let reason = given.take_key("reason").unwrap_or("spam");
        let (order, reference) = (given.take_key("order"), given.take_key("reference"));
        let penalty = NewPenalty { amount, reason, order, reference };
        let claimed = cash::penalize(&self.db, &self.config, id, penalty, self.now);
        self.runtime.block_on(claimed).map_err(refusal)?;
        self.account_line(id)
    }

    /// `set ACCOUNT kind= credit-limit=` changes an account.
    pub(super) fn change_account(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "an account")?;
        let kind = given.take_key("kind");
        let changes = Changes {
            kind: kind.map(|kind| Kind::parse(kind).ok_or(format!("unknown kind {kind}"))).transpose()?,
            credit_limit: given.take_key("credit-limit").map(money).transpose()?,
            name: given.take_key("name").map(str::to_owned),
            ..Changes::default()
        };
        let changed = accounts::change(&self.db, id, &changes, self.now);
        self.runtime.block_on(changed).map_err(refusal)?;
        self.account_line(id)
    }

    pub(super) fn standing(&mut self, verb: &str, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "an account")?;
        let done = match verb {
            "hold" => {
                let reason = given.take_key("reason").unwrap_or("spam");
                self.runtime.block_on(accounts::hold(&self.db, id, reason, self.now))
            }
            "release" => self.runtime.block_on(accounts::release(&self.db, id, self.now)),
            _ => self.runtime.block_on(accounts::close(&self.db, id, self.now)),
        };
        done.map_err(refusal)?;
        self.account_line(id)
    }

    /// What gateways follow: each change of the account's standing.
    pub(super) fn event_lines(&self, id: &str) -> Said<String> {
        let events = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            events(&mut tx, id).await
        });
        let events = events.map_err(|error: StoreError| describe(&error))?;
        let line = |event: &StandingEvent| {
            let (at, available) = (self.zone().format_short(event.at), event.available.for_people());
            let cause = event.cause.as_deref().map_or("-", cause_words);
            format!("{at}  {}  {}  available {available}  {cause}\n", event.status, event.reason)
        };
        Ok(events.iter().map(line).collect())
    }
}
