//! Gives back what failed, account by account (R86, R88-R95, R101, D4, D9): for the job that answers
//! receipts, and for an operator who approves one.
//!
//! Load, decide (one call of the domain an account), save; the transaction is the caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::config::Config;
use crate::domain::account::{Account, Kind};
use crate::domain::bill::{BilledPrice, billed_price};
use crate::domain::charge::{Charge, Payer};
use crate::domain::period::Timestamp;
use crate::domain::price::Buyer;
use crate::domain::settle::{
    Failure, GivenBack, Kept, Paid, SettledBy, SettledParts, failed_units, settle_account,
};
use crate::store::billing::{BilledUpTo, billed_prices};
use crate::store::charging::{Loaded, Plans, load_accounts};
use crate::store::effects::Effects;
use crate::store::failures::FailedMessage;
use crate::store::kinds::{self, KindsOfRuns};
use crate::store::settling::{self, ChargeKey, FinalUpTo, Returns};
use crate::store::{StoreError, Tx};

/// A charged message, or a part of it, that failed and is to be given back.
pub struct Claim<'m> {
    pub message: &'m FailedMessage,
    /// 0: the whole message.
    pub part: i64,
    /// The plans of that moment take units back (D48).
    pub received_at: Timestamp,
    charged: ChargeKey,
}

impl<'m> Claim<'m> {
    /// `charge_run` is the run that charged the message.
    pub fn new(message: &'m FailedMessage, charge_run: i64, part: i64, received_at: Timestamp) -> Claim<'m> {
        Claim { message, part, received_at, charged: ChargeKey::of(message, charge_run) }
    }
}

/// What a claim came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    GivenBack(Vec<GivenBack>),
    /// Money is called for, and no price is known (D67).
    NoPrice,
    /// Nothing is left to give back: it was given back, or never charged, on another receipt's word.
    Before,
}

/// What an account's claims came to, one by one; or why the account was left as it was.
pub type AccountAnswers = Result<Vec<Answered>, String>;

/// Accounts, and what their claims are about, as they are in the books.
pub struct Books {
    accounts: Loaded,
    kinds: BTreeMap<String, KindsOfRuns>,
    charges: BTreeMap<ChargeKey, Vec<Charge>>,
    /// When the plans that paid were bought.
    bought_at: BTreeMap<(String, i64), Timestamp>,
    settled: BTreeMap<settling::MessageOf, SettledParts>,
    prices: BTreeMap<String, Vec<BilledPrice>>,
}

/// Returns on their way into the books.
pub struct GivingBack<'c> {
    config: &'c Config,
    by: SettledBy,
    pub final_up_to: FinalUpTo,
    billed_up_to: BilledUpTo,
    effects: Effects,
    pub returns: Returns,
}

impl<'c> GivingBack<'c> {
    pub async fn begin(
        tx: &mut Tx,
        config: &'c Config,
        run_no: i64,
        as_of: Timestamp,
    ) -> Result<GivingBack<'c>, StoreError> {
        // Until this transaction ends no month is billed, and what is billed stays so (D60).
        let billed_up_to = BilledUpTo::hold(tx).await?;
        Ok(GivingBack {
            config,
            by: SettledBy { run_no, portion: 0 },
            final_up_to: FinalUpTo::load(tx).await?,
            effects: Effects::new(tx, run_no, as_of),
            returns: Returns::new(tx, run_no, config.zone, billed_up_to.next_month(config.zone)),
            billed_up_to,
        })
    }

    /// Settles some accounts, each with its claims in order of arrival. Writes nothing: whoever keeps it calls
    /// `write_behind` now and then, and `finish` at the end, and a rehearsal may have a connection that only reads.
    pub async fn settle(
        &mut self,
        tx: &mut Tx,
        together: &[(&str, Vec<Claim<'_>>)],
    ) -> Result<Vec<AccountAnswers>, StoreError> {
        let books = self.load(tx, together).await?;
        Ok(self.decide(together, books))
    }

    /// What is known of some accounts and of what they claim.
    pub async fn load(&self, tx: &mut Tx, together: &[(&str, Vec<Claim<'_>>)]) -> Result<Books, StoreError> {
        let ids: Vec<&str> = together.iter().map(|(id, _)| *id).collect();
        let claims = || together.iter().flat_map(|(_, claims)| claims);
        let windows = claims().map(|c| (&*c.charged.account_id, c.charged.window, c.charged.run_no));
        let windows: BTreeSet<_> = windows.collect();
        let earliest = windows.iter().map(|(_, window, _)| Timestamp(*window)).min().unwrap_or_default();
        let from_month = self.config.zone.month_of(earliest).number();
        let accounts = load_accounts(tx, &ids, from_month, Plans::EverDrawn).await?;
        let kinds = kinds::of_charges(tx, windows.iter().copied()).await?;
        let charges = settling::charges(tx, windows).await?;
        let bought_at = settling::bought_at(tx, plans_that_paid(&charges)).await?;
        let settled = claims().map(|claim| (&*claim.message.account_id, claim.message.key));
        let settled = settling::settled_parts(tx, settled).await?;
        let billed = claims().filter(|claim| self.is_billed(claim)).map(|claim| &*claim.message.account_id);
        let prices = billed_prices(tx, billed.collect::<BTreeSet<_>>()).await?;
        Ok(Books { accounts, kinds, charges, bought_at, settled, prices })
    }

    /// Settles accounts that were loaded, each with its claims in order of arrival.
    pub fn decide(&mut self, together: &[(&str, Vec<Claim<'_>>)], mut books: Books) -> Vec<AccountAnswers> {
        let mut answers = Vec::new();
        for (id, claims) in together {
            let paid = |claim| paid(claim, &books.charges, &books.bought_at, &mut books.settled);
            let paid = claims.iter().map(paid).collect();
            let prices = books.prices.remove(*id).unwrap_or_default();
            let kinds = books.kinds.get(*id);
            answers.push(match books.accounts.remove(*id) {
                Some(Ok(loaded)) => self.settle_account(loaded, claims, paid, (&prices, kinds)),
                Some(Err(fault)) => Err(fault.to_string()),
                None => Err("the account is gone".into()),
            });
        }
        answers
    }

    /// Has what was settled so far written while the caller goes on.
    pub async fn write_behind(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.returns.flush_full(tx).await?;
        self.effects.write_behind(tx).await
    }

    fn settle_account(
        &mut self,
        (mut account, last_entry): (Account, i64),
        claims: &[Claim<'_>],
        paid: Vec<Option<Vec<Paid>>>,
        (billed_prices, kinds): (&[BilledPrice], Option<&KindsOfRuns>),
    ) -> AccountAnswers {
        let before = account.clone();
        let (zone, by, catalog) = (self.config.zone, self.by, &self.config.catalog);
        let (mut failures, mut claimed) = (Vec::new(), Vec::new());
        for (index, (claim, paid)) in claims.iter().zip(paid).enumerate() {
            let Some(mut paid) = paid else { continue };
            if paid.is_empty() {
                return Err("a charged message has no charge".into());
            }
            let product = catalog.get(&claim.message.product).ok_or("its product is not configured")?;
            let kind = kinds.and_then(|kinds| kinds.get(&claim.charged.run_no));
            let buyer = buyer(&account, kind.copied().unwrap_or(account.kind));
            self.price(&mut paid, claim.message, &account, buyer);
            let billed = self.is_billed(claim);
            if billed {
                self.price_billed(&mut paid, claim, buyer, billed_prices);
            }
            claimed.push(index);
            failures.push(Failure {
                product,
                country: &claim.message.country,
                received_at: claim.received_at,
                window: Timestamp(claim.charged.window),
                billed,
                was_final: self.final_up_to.covers(claim.charged.window, claim.charged.run_no),
                paid,
            });
        }
        // A fault or a panic of one account parks that account only (F110).
        let settled = catch_unwind(AssertUnwindSafe(|| settle_account(&mut account, &failures, zone, by)));
        let settled = settled.map_err(|_| "settling it panicked; see the log".to_owned())?;
        let settled = settled.map_err(|fault| fault.to_string())?;
        let mut answers = vec![Answered::Before; claims.len()];
        for ((index, failure), given) in claimed.into_iter().zip(&failures).zip(settled.returns) {
            let claim = &claims[index];
            answers[index] = match given {
                Err(Kept::NoPrice) => Answered::NoPrice,
                Ok(given) => {
                    let (part, received_at) = (claim.part, claim.received_at);
                    self.returns.push(
                        claim.message,
                        &claim.charged,
                        part,
                        received_at,
                        &given,
                        failure.was_final,
                    );
                    Answered::GivenBack(given)
                }
            };
        }
        self.effects.account(&before, &account, last_entry, &settled.entries);
        Ok(answers)
    }

    /// Whether what a claim is about stands on a bill.
    fn is_billed(&self, claim: &Claim<'_>) -> bool {
        self.billed_up_to.covers(&claim.message.account_id, claim.charged.window, claim.charged.run_no)
    }

    /// Units that `volume` lists priced anew at the month's end are worth what they were billed at (D51).
    fn price_billed(&self, paid: &mut [Paid], claim: &Claim<'_>, buyer: Buyer<'_>, prices: &[BilledPrice]) {
        let message = claim.message;
        let Some(product) = self.config.catalog.get(&message.product) else { return };
        let class = product.price_class(&message.template_type, &message.country);
        let window = Timestamp(claim.charged.window);
        let list = self.config.book.stretch(&product.id, class, buyer, window);
        let month = self.config.zone.month_of(window).number();
        let price = billed_price(prices, (month, &product.id, class), &list, window);
        for part in paid.iter_mut().filter(|part| part.payer == Payer::Payg) {
            part.billed_price = price;
        }
    }

    /// Units that a plan paid without a price being known get the one that was configured since, for
    /// the time of the message (D4, D67).
    fn price(&self, paid: &mut [Paid], message: &FailedMessage, account: &Account, buyer: Buyer<'_>) {
        let unpriced = paid.iter_mut().filter(|part| part.unit_price.is_none());
        let Some(product) = self.config.catalog.get(&message.product) else { return };
        let class = product.price_class(&message.template_type, &message.country);
        for part in unpriced {
            let stretch = self.config.book.stretch(&product.id, class, buyer, message.submit_time);
            let month = self.config.zone.month_of(message.submit_time).number();
            let counter = account.tiers.get(&(month, product.id.clone(), class.into()));
            part.unit_price = stretch.rate.map(|rate| rate.next_unit(counter.copied().unwrap_or(0)).0);
        }
    }

    /// Writes everything so far: the next portion may be about the same accounts and loads them again.
    pub async fn finish(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.by.portion += 1;
        self.effects.flush(tx).await?;
        self.returns.flush(tx).await
    }
}

/// The account as it was when it was charged.
fn buyer(account: &Account, kind: Kind) -> Buyer<'_> {
    Buyer { account_id: &account.account_id, kind: kind.as_str(), currency: &account.currency }
}

fn plans_that_paid(charges: &BTreeMap<ChargeKey, Vec<Charge>>) -> BTreeSet<(&str, i64)> {
    let mut plans = BTreeSet::new();
    for (key, charges) in charges {
        for charge in charges {
            if let Payer::Plan(plan_no) = charge.payer {
                plans.insert((&*key.account_id, plan_no));
            }
        }
    }
    plans
}

/// The failed units of a claim by who paid for them; None where nothing of it is left to give back. What
/// is claimed now counts as given back for the claims after it.
fn paid(
    claim: &Claim<'_>,
    charges: &BTreeMap<ChargeKey, Vec<Charge>>,
    bought_at: &BTreeMap<(String, i64), Timestamp>,
    settled: &mut BTreeMap<settling::MessageOf, SettledParts>,
) -> Option<Vec<Paid>> {
    let message = claim.message;
    let charges = charges.get(&claim.charged).map_or(&[][..], Vec::as_slice);
    let settled = settled.entry((message.account_id.to_string(), message.key)).or_default();
    let mut paid = failed_units(charges, message.place, message.units, claim.part, settled)?;
    for part in &mut paid {
        if let Payer::Plan(plan_no) = part.payer {
            part.bought_at = bought_at.get(&(message.account_id.to_string(), plan_no)).copied();
        }
    }
    settled.returned.push(claim.part);
    Some(paid)
}
