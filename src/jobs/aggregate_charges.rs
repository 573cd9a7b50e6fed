//! Charges each new message once: plan units first, then pay-as-you-go (R27-R29, R125, D1, D40).
//!
//! Takes the batches that no run has charged and the messages in suspense whose cause may be
//! mended, streams them out, rates them account by account, and writes charges, ledger, plans,
//! balances and suspense. All of it is one transaction: a run is done whole or not at all.

mod known;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use self::known::KnownFailures;
use self::order::{IN_MEMORY, Messages, Portion, UsageOrder, Waiting};
use super::{JobError, Report, Run};
use crate::basis;
use crate::domain::account::Parked;
use crate::domain::account::{Account, Status};
use crate::domain::charge::{Charged, Class, Payer, Place, Tariff, Unrated, Usage, charge_account, is_late};
use crate::domain::money::Micros;
use crate::domain::period::Timestamp;
use crate::domain::product::{ChargeOn, Product};
use crate::store::charging::{self, Loaded, Plans, Streamed};
use crate::store::effects::Effects;
use crate::store::failures::Answers;
use crate::store::{free, quotas, runs};

/// Accounts that are loaded together, at most, and messages of theirs: while they are charged the database takes
/// up what those before them came to.
const TOGETHER: usize = 1_000;
const MESSAGES_TOGETHER: usize = 50_000;

pub async fn run(run: Run<'_>) -> Result<Report, JobError> {
    let config = run.config;
    let noted = basis::check(run.tx, run.config).await?;
    quotas::mark_today(run.tx, &config.catalog, config.zone, run.as_of).await?;
    let batches = charging::claim_batches(run.tx, run.run_no).await?;
    let charged_up_to = runs::charged_up_to(run.tx, run.run_no).await?;
    let expected = charging::expected_messages(run.tx, run.run_no).await?;
    run.progress.begin("charging", Some(expected as u64));

    let known = KnownFailures::load(run.tx, run.run_no, &run.config.catalog).await?;
    let mut names = Names::default();
    let mut order = UsageOrder::new(expected as usize, IN_MEMORY);
    let mut spilled = Ok(());
    charging::for_each_message(run.tx, &batches, |message| {
        if let (Ok(()), Some(rest)) = (&spilled, known.rest_of(names.waiting(&message))) {
            spilled = order.push(rest);
        }
        Ok(())
    })
    .await?;
    let on_disk = |source| JobError::Spill { dir: std::env::temp_dir().display().to_string(), source };
    spilled.map_err(on_disk)?;
    let mut portions = order.portions().map_err(on_disk)?;

    let products: BTreeSet<&str> = names.classes.iter().map(|[product, ..]| &**product).collect();
    basis::note(run.tx, run.config, &noted, products).await?;
    let classes = names.classes(&run);
    let mut charging = Charging {
        effects: Effects::new(run.tx, run.run_no, run.as_of).alerting(run.config.notices.quota_low_ppm),
        answers: Answers::new(run.tx, run.run_no),
        known: &known,
        names: &names,
        classes: &classes,
        charged_up_to,
        suspended_now: FxHashSet::default(),
        accounts: FxHashSet::default(),
        totals: Totals::default(),
        parked: BTreeMap::new(),
        effect_lines: BTreeMap::new(),
        run,
    };
    while let Some(mut portion) = portions.next().map_err(on_disk)? {
        charging.charge_portion(&mut portion).await?;
    }
    charging.leave_out_failed();
    charging.effects.finish(charging.run.tx).await?;
    charging.answers.finish(charging.run.tx, charging.run.as_of).await?;
    charging.run.progress.end();
    Ok(charging.report(batches.iter().map(|(first, last)| last - first + 1).sum()))
}

/// Accounts and classes by number, so that a waiting message is small.
#[derive(Default)]
struct Names {
    accounts: Vec<Arc<str>>,
    account_numbers: FxHashMap<Arc<str>, u32>,
    classes: Vec<[Arc<str>; 3]>,
    class_numbers: FxHashMap<String, u32>,
    /// The words of a class as one, written anew for each message.
    class_words: String,
}

impl Names {
    fn waiting(&mut self, message: &Streamed<'_>) -> Waiting {
        Waiting {
            submit_time: message.submit_time,
            batch_no: message.batch_no,
            line: message.line,
            account: self.account(message.account_id),
            class: self.class(message),
            units: message.units,
            too_long: message.too_long,
            suspended: message.suspended,
        }
    }

    fn account(&mut self, id: &str) -> u32 {
        if let Some(number) = self.account_numbers.get(id) {
            return *number;
        }
        let number = self.accounts.len() as u32;
        let id: Arc<str> = id.into();
        self.accounts.push(id.clone());
        self.account_numbers.insert(id, number);
        number
    }

    fn class(&mut self, message: &Streamed<'_>) -> u32 {
        let words = [message.product, message.template_type, message.country];
        self.class_words.clear();
        for word in words {
            self.class_words.push_str(word);
            self.class_words.push('\n');
        }
        if let Some(number) = self.class_numbers.get(&self.class_words) {
            return *number;
        }
        let number = self.classes.len() as u32;
        self.classes.push(words.map(Arc::<str>::from));
        self.class_numbers.insert(self.class_words.clone(), number);
        number
    }

    fn classes<'c>(&self, run: &Run<'c>) -> Vec<Class<'c>> {
        let catalog = &run.config.catalog;
        let class = |[product, template_type, country]: &[Arc<str>; 3]| Class {
            product: catalog.get(product),
            template_type: template_type.clone(),
            country: country.clone(),
        };
        self.classes.iter().map(class).collect()
    }
}

/// Sums of a run for its report.
#[derive(Default)]
struct Totals {
    messages: i64,
    plan_units: i64,
    payg_units: i64,
    free_units: i64,
    charges: i64,
    suspended: i64,
    released: i64,
    late: i64,
    failed_before: i64,
}

struct Charging<'a> {
    run: Run<'a>,
    effects: Effects,
    answers: Answers,
    known: &'a KnownFailures,
    names: &'a Names,
    classes: &'a [Class<'a>],
    charged_up_to: Option<Timestamp>,
    /// Accounts that became overdue in an earlier portion of this run: its start decides (D53).
    suspended_now: FxHashSet<u32>,
    accounts: FxHashSet<Arc<str>>,
    totals: Totals,
    parked: BTreeMap<String, String>,
    effect_lines: BTreeMap<EffectKey, (i64, Micros)>,
}

/// Account, class, payer and unit price of a dry run's line.
type EffectKey = (Arc<str>, u32, i64, Option<i64>);

impl Charging<'_> {
    /// Charges a portion, so many accounts at a time.
    async fn charge_portion(&mut self, portion: &mut Portion) -> Result<(), JobError> {
        let from_month = self.run.config.zone.month_of(portion.earliest().unwrap_or_default()).number();
        let mut accounts: Vec<u32> = portion.accounts().collect();
        accounts.sort_by_key(|account| &self.names.accounts[*account as usize]);
        let mut rest = &*accounts;
        while !rest.is_empty() {
            let (together, others) = rest.split_at(count_together(portion, rest));
            rest = others;
            let loaded = self.load(together, from_month).await?;
            // The database takes up what was charged before, while these are charged.
            self.effects.write_behind(self.run.tx).await?;
            self.charge_together(portion, together, loaded).await?;
        }
        // The next portion may hold the same accounts and loads them again.
        self.effects.flush(self.run.tx).await?;
        Ok(())
    }

    async fn load(&mut self, together: &[u32], from_month: i64) -> Result<Loaded, JobError> {
        let ids: Vec<&str> =
            together.iter().map(|account| &*self.names.accounts[*account as usize]).collect();
        let mut loaded = charging::load_accounts(self.run.tx, &ids, from_month, Plans::WithUnits).await?;
        // One whose free units were taken away may have given some of this day.
        let may_be_free = |product: &Product| product.charge_on == ChargeOn::Submission;
        if self.classes.iter().any(|class| class.product.is_some_and(may_be_free)) {
            free::load(self.run.tx, &mut loaded).await?;
        }
        Ok(loaded)
    }

    async fn charge_together(
        &mut self,
        portion: &mut Portion,
        together: &[u32],
        mut loaded: Loaded,
    ) -> Result<(), JobError> {
        for account in together {
            let messages = portion.of(*account);
            let id = self.names.accounts[*account as usize].clone();
            match loaded.remove(&id) {
                None => self.suspend_all(messages, Unrated::UnknownAccount),
                Some(Err(fault)) => self.park(&id, messages, fault.to_string()),
                Some(Ok((account, last_entry))) => self.charge_account(account, last_entry, messages),
            }
            self.run.progress.advance(messages.len() as u64);
            self.effects.flush_full(self.run.tx).await?;
        }
        Ok(())
    }

    fn charge_account(&mut self, mut account: Account, last_entry: i64, messages: Messages<'_>) {
        let id = account.account_id.clone();
        let number = messages.account;
        let before = account.clone();
        if self.suspended_now.contains(&number) {
            account.status = Status::Active;
        }
        let usage: Vec<Usage> = messages.iter().map(usage).collect();
        let tariff = Tariff {
            classes: self.classes,
            book: &self.run.config.book,
            zone: self.run.config.zone,
            run_no: self.run.run_no,
        };
        // A fault or a panic of one account's charging parks that account only (F110).
        let charged = catch_unwind(AssertUnwindSafe(|| charge_account(&mut account, &usage, &tariff)));
        match charged {
            Ok(Ok(charged)) => {
                if before.status == Status::Active && account.status == Status::Suspended {
                    self.suspended_now.insert(number);
                }
                self.effects.charged(&before, &account, last_entry, &charged, self.classes);
                self.take(&id, messages, &charged);
            }
            Ok(Err(fault)) => self.park(&id, messages, fault.to_string()),
            Err(_) => self.park(&id, messages, "charging it panicked; see the log".into()),
        }
    }

    /// Counts what was charged, and settles the messages' places in suspense.
    fn take(&mut self, id: &Arc<str>, messages: Messages<'_>, charged: &Charged) {
        self.accounts.insert(id.clone());
        self.totals.messages += (messages.len() - charged.unrated.len()) as i64;
        self.totals.charges += charged.charges.len() as i64;
        for charge in &charged.charges {
            let units = match charge.payer {
                Payer::Plan(_) => &mut self.totals.plan_units,
                Payer::Payg => &mut self.totals.payg_units,
                Payer::Free => &mut self.totals.free_units,
            };
            *units += charge.units;
            if self.run.dry_run {
                let payer = charge.payer.number();
                let price = charge.unit_price.filter(|_| charge.payer == Payer::Payg).map(|price| price.0);
                let line = self.effect_lines.entry((id.clone(), charge.class, payer, price)).or_default();
                line.0 += charge.units;
                line.1 = Micros(line.1.0.saturating_add(charge.amount.0));
            }
        }
        let mut unrated = charged.unrated.iter().peekable();
        for (index, message) in messages.iter().enumerate() {
            match unrated.next_if(|(waiting, _)| *waiting == index) {
                Some((_, reason)) => self.suspend(message, *reason),
                None if message.suspended => {
                    self.totals.released += 1;
                    self.effects.suspensions.resettle(message.place(), None);
                    self.known.charged(message, &mut self.answers);
                }
                None => {
                    self.known.charged(message, &mut self.answers);
                    self.totals.late += i64::from(is_late(message.submit_time, self.charged_up_to));
                }
            }
        }
    }

    /// Messages that failed before they were charged: free, and out of suspense.
    fn leave_out_failed(&mut self) {
        for message in self.known.free(&mut self.answers) {
            self.totals.released += 1;
            self.effects.suspensions.resettle(message.place, None);
        }
        self.totals.failed_before = self.answers.not_charged_count();
    }

    fn park(&mut self, id: &Arc<str>, messages: Messages<'_>, fault: String) {
        tracing::error!(account.id = %id, "Parked account `{id}`: {fault}");
        self.suspend_all(messages, Unrated::AccountParked);
        self.parked.insert(id.to_string(), fault);
    }

    fn suspend_all(&mut self, messages: Messages<'_>, reason: Unrated) {
        messages.iter().for_each(|message| self.suspend(message, reason));
    }

    fn suspend(&mut self, message: &Waiting, reason: Unrated) {
        if message.suspended {
            self.effects.suspensions.resettle(message.place(), Some(reason));
        } else {
            self.totals.suspended += 1;
            self.effects.suspensions.suspend(message.place(), reason);
        }
    }

    fn report(self, batches: i64) -> Report {
        let totals = &self.totals;
        let parked = self.parked.iter();
        Report {
            counts: vec![
                ("batches", batches),
                ("accounts", self.accounts.len() as i64),
                ("messages", totals.messages),
                ("plan_units", totals.plan_units),
                ("payg_units", totals.payg_units),
                ("free_units", totals.free_units),
                ("charges", totals.charges),
                ("late", totals.late),
                ("suspended", totals.suspended),
                ("released", totals.released),
                ("failed_before", totals.failed_before),
                ("parked", self.parked.len() as i64),
            ],
            worked: batches > 0 || totals.messages > 0 || totals.failed_before > 0,
            left_waiting: totals.suspended > 0 || !self.parked.is_empty(),
            parked: parked
                .map(|(id, fault)| Parked { account_id: id.clone(), fault: fault.clone() })
                .collect(),
            effects: self.effect_lines.iter().map(|(key, sums)| self.effect(key, sums)).collect(),
            ..Report::default()
        }
    }

    fn effect(&self, (id, class, plan_no, price): &EffectKey, (units, amount): &(i64, Micros)) -> String {
        let [product, template_type, country] = &self.names.classes[*class as usize];
        let words = [&**product, &**template_type, &**country];
        let class = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        match price {
            Some(price) => format!("{id}  {class}  {units} units at {} = {amount}", Micros(*price)),
            None if Payer::of_number(*plan_no) == Payer::Free => format!("{id}  {class}  {units} units free"),
            None => format!("{id}  {class}  {units} units from plan {id}-p{plan_no}"),
        }
    }
}

/// How many accounts, of those that are left, are charged together.
fn count_together(portion: &Portion, accounts: &[u32]) -> usize {
    let mut messages = 0;
    let more = |account: &&u32| {
        let more = messages < MESSAGES_TOGETHER;
        messages += portion.count(**account);
        more
    };
    accounts.iter().take(TOGETHER).take_while(more).count()
}

fn usage(message: &Waiting) -> Usage {
    Usage {
        class: message.class,
        submit_time: message.submit_time,
        units: message.units,
        too_long: message.too_long,
        place: Place { batch_no: message.batch_no, line: message.line },
    }
}
