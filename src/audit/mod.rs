//! The audit: whether the books are what they must be (FAULTS I01 to I37).
//!
//! It asks for every invariant, and works the books out a second time from what was handed in, account
//! by account ([`recount`]). It reads one state of the database and writes nothing.

pub mod blame;
mod compare;
pub mod gaps;
pub mod recount;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use self::compare::compare;
use self::gaps::{Gap, in_words};
use self::recount::given::{Given, GivenCharge, GivenReturn};
use self::recount::{
    BilledMonth, Bought, Class, Failed, History, MoneyBack, Recounted, Rules, Sent, recount,
};
use crate::basis::{self, BasisError};
use crate::config::Config;
use crate::domain::account::Parked;
use crate::listed::Listed;
use crate::progress::Progress;
use crate::store::audit::{self, AllowedRow, ChargedMessage, MoneyBackRow, Rows};
use crate::store::invariants::{self, Broken};
use crate::store::scope::Scope;
use crate::store::{Dialect, StoreError, Tx, backup, bills, durable, status};

/// What the audit found.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    pub invariants: i64,
    /// Accounts that were worked out anew, and their messages.
    pub accounts: i64,
    pub messages: i64,
    /// What is wrong, in words; the first is where to begin.
    pub findings: Listed<String>,
    /// Invariants that do not hold.
    pub broken: Vec<Broken>,
    /// Accounts whose books are not what the recount gives, each with the first difference.
    pub differing: BTreeMap<String, String>,
    /// Accounts of which not all can be worked out anew, each with what the configuration lacks.
    pub unchecked: BTreeMap<String, String>,
    /// What endangers the books and is no fault of theirs.
    pub warnings: Vec<String>,
}

impl Audit {
    /// Whether nothing was found wrong.
    pub fn is_right(&self) -> bool {
        self.broken.is_empty() && self.differing.is_empty()
    }

    /// All that keeps the books from being called right: what is wrong, and what can't be worked out anew.
    pub fn doubts(&self) -> Vec<String> {
        let unchecked = self.unchecked.iter().map(|(id, lacking)| format!("account {id}: {lacking}"));
        self.findings.first.iter().cloned().chain(unchecked).collect()
    }

    /// The accounts of which not all could be worked out anew, listed beside those that are parked.
    pub fn as_parked(&self) -> impl Iterator<Item = Parked> {
        let parked =
            |(id, fault): (&String, &String)| Parked { account_id: id.clone(), fault: fault.clone() };
        self.unchecked.iter().map(parked)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Basis(BasisError),
    #[error("the messages could not be laid out on disk in {dir}")]
    Spill { dir: String, source: std::io::Error },
}

impl From<BasisError> for AuditError {
    fn from(error: BasisError) -> AuditError {
        match error {
            BasisError::Store(error) => AuditError::Store(error),
            other => AuditError::Basis(other),
        }
    }
}

/// Accounts that are recounted together.
pub const TOGETHER: usize = 500;

/// How much is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The invariants, and every account worked out anew.
    Full,
    /// The invariants alone.
    Quick,
    /// The invariants that are asked without going through messages.
    Sums,
}

/// Checks the invariants and, unless it is to be quick, works out every account anew.
///
/// # Errors
/// The database fails, or the messages find no room in the temporary directory.
pub async fn audit(
    tx: &mut Tx,
    config: &Config,
    full: bool,
    progress: &dyn Progress,
) -> Result<Audit, AuditError> {
    let depth = if full { Depth::Full } else { Depth::Quick };
    let ids = if full { audit::account_ids(tx).await? } else { Vec::new() };
    audit_scope(tx, config, (&Scope::All, &ids), depth, progress).await
}

/// The same for some accounts only, whose ids are given in order: what holds over all accounts together is
/// not asked, and what others have is not read.
///
/// # Errors
/// As [`audit`].
pub async fn audit_accounts(
    tx: &mut Tx,
    config: &Config,
    ids: &[String],
    depth: Depth,
    progress: &dyn Progress,
) -> Result<Audit, AuditError> {
    let scope = Scope::of(tx, ids).await?;
    audit_scope(tx, config, (&scope, ids), depth, progress).await
}

/// Audits the accounts of a scope, whose ids are known with it.
pub async fn audit_scope(
    tx: &mut Tx,
    config: &Config,
    (scope, ids): (&Scope, &[String]),
    depth: Depth,
    progress: &dyn Progress,
) -> Result<Audit, AuditError> {
    if depth == Depth::Full {
        // Else it would take its time and then call books wrong that are right.
        basis::check(tx, config).await?;
    }
    progress.begin("asking invariants", None);
    let (mut invariants, mut broken) = invariants::ask(tx, scope, depth != Depth::Sums).await?;
    if depth == Depth::Full && scope.is_all() && tx.dialect() == Dialect::Sqlite {
        // It takes about as long as to read all of the file.
        invariants += 1;
        let faults = backup::faults_of(tx).await?.into_iter();
        let words = faults.map(|fault| format!("I35 pages, indexes and references are whole: {fault}"));
        broken.extend(words.map(|words| Broken { words, of_all: true }));
    }
    progress.end();
    let findings = broken.iter().map(|broken| broken.words.clone()).collect();
    let warnings = durable::warnings(tx).await?;
    let mut audit = Audit { invariants, findings, broken, warnings, ..Audit::default() };
    if depth == Depth::Full {
        recount_all(tx, config, (scope, ids), progress, &mut audit).await?;
    }
    Ok(audit)
}

/// Accounts that are parked, all or some, and bills that wait.
///
/// # Errors
/// The database fails.
pub async fn parked(tx: &mut Tx, scope: &Scope) -> Result<Listed<Parked>, StoreError> {
    let accounts = status::parked_accounts(tx, scope, i64::MAX).await?;
    let accounts =
        accounts.into_iter().map(|parked| Parked { fault: parked.words(), account_id: parked.account_id });
    let waiting = bills::parked_bills(tx, scope, i64::MAX).await?;
    let waiting = waiting.into_iter().map(|bill| Parked {
        fault: format!("its bill for {} waits: {}", bill.month, bill.fault),
        account_id: bill.account_id,
    });
    Ok(accounts.chain(waiting).collect())
}

async fn recount_all(
    tx: &mut Tx,
    config: &Config,
    (scope, ids): (&Scope, &[String]),
    progress: &dyn Progress,
    audit: &mut Audit,
) -> Result<(), AuditError> {
    let spilled = |source| AuditError::Spill { dir: std::env::temp_dir().display().to_string(), source };
    progress.begin("auditing", Some(ids.len() as u64));
    let mut laid_out = LaidOut::new().map_err(spilled)?;
    let mut fault = Ok(());
    audit::for_each_charged(tx, scope, |message| {
        if fault.is_ok() {
            fault = laid_out.push(&message);
        }
        Ok(())
    })
    .await?;
    fault.map_err(spilled)?;
    audit.messages = laid_out.count;
    let mut sent = laid_out.read().map_err(spilled)?;
    let mut recounting = Recounting {
        rules: Rules { catalog: &config.catalog, rates: &config.book.rates, zone: config.zone },
        audit,
    };
    for together in ids.chunks(TOGETHER) {
        let mut rows = Rows::load(tx, together).await?;
        let mut lacking = Vec::new();
        for id in together {
            let mut history = history(&mut rows, id);
            sent.take(id, &mut history).map_err(spilled)?;
            let counted = recount(&history, recounting.rules);
            match counted.gaps.is_empty() {
                true => recounting.compare(&mut rows, &history, counted),
                false => lacking.push((history, counted.gaps)),
            }
            progress.advance(1);
        }
        if !lacking.is_empty() {
            recounting.recount_lacking(tx, &mut rows, lacking).await?;
        }
    }
    progress.end();
    Ok(())
}

struct Recounting<'a> {
    rules: Rules<'a>,
    audit: &'a mut Audit,
}

impl Recounting<'_> {
    fn compare(&mut self, rows: &mut Rows, history: &History, counted: Recounted) {
        let id = &history.account_id;
        let stored = rows.stored.remove(id).unwrap_or_default();
        let earned = rows.earned.remove(id).unwrap_or_default();
        let compared = compare(history, stored, earned, counted, self.rules.catalog);
        self.audit.accounts += 1;
        if !compared.gaps.is_empty() {
            self.audit.unchecked.insert(id.clone(), in_words(&compared.gaps));
        }
        if let Some(difference) = compared.difference {
            self.audit.findings.push(|| difference.clone());
            self.audit.differing.insert(id.clone(), difference);
        }
    }

    /// Works accounts out again of which some products can't be: what these were charged and gave back is taken
    /// as the books say it, so that all else is checked.
    async fn recount_lacking(
        &mut self,
        tx: &mut Tx,
        rows: &mut Rows,
        lacking: Vec<(History, BTreeSet<Gap>)>,
    ) -> Result<(), AuditError> {
        let ids: Vec<String> = lacking.iter().map(|(history, _)| history.account_id.clone()).collect();
        let all = lacking.iter().flat_map(|(_, gaps)| gaps).filter_map(Gap::unpriced);
        rows.load_given(tx, &ids, &all.map(|product| product.to_string()).collect()).await?;
        for (mut history, gaps) in lacking {
            let products = gaps.iter().filter_map(Gap::unpriced).cloned().collect();
            history.given = given(rows, &history.account_id.clone(), products);
            let mut counted = recount(&history, self.rules);
            counted.gaps.extend(gaps);
            self.compare(rows, &history, counted);
        }
        Ok(())
    }
}

/// What an account's ledger came from, but for its messages.
fn history(rows: &mut Rows, id: &str) -> History {
    let (kind, currency) = rows.accounts.remove(id).unwrap_or_default();
    let bought = |([plan_no, order_no, size, effective_at, expires_at, refund_no], product, countries): (
        [i64; 6],
        String,
        String,
    )| {
        Bought {
            plan_no,
            order_no,
            product: product.into(),
            countries: countries.parse().unwrap_or_default(),
            size,
            effective_at,
            expires_at,
            refund_no,
        }
    };
    let allowed = |(product, day, per_day, total): AllowedRow| ((product.into(), day), (per_day, total));
    let failed = |(run_no, received_at, key, part)| Failed { run_no, received_at, key, part };
    let money_back = |([run_no, window, charge_run, from_plan, amount, net], class): MoneyBackRow| {
        let class = class.map(Arc::from);
        MoneyBack { run_no, class, window, charge_run, from_plan, amount, net }
    };
    History {
        account_id: id.to_owned(),
        kind,
        kinds: rows.kinds.remove(id).unwrap_or_default(),
        currency,
        allowed: rows.allowed.remove(id).unwrap_or_default().into_iter().map(allowed).collect(),
        causes: rows.causes.remove(id).unwrap_or_default(),
        standing: rows.standing.remove(id).unwrap_or_default(),
        amounts: rows.amounts.remove(id).unwrap_or_default(),
        plans: rows.plans.remove(id).unwrap_or_default().into_iter().map(bought).collect(),
        sent: Vec::new(),
        failed: rows.failed.remove(id).unwrap_or_default().into_iter().map(failed).collect(),
        given: given(rows, id, BTreeSet::new()),
        billed: billed(rows, id),
        billed_prices: rows.billed_prices.remove(id).unwrap_or_default(),
        left_out: rows.left_out.remove(id).unwrap_or_default(),
        money_back: rows.money_back.remove(id).unwrap_or_default().into_iter().map(money_back).collect(),
    }
}

/// The billed months, as an account sees them.
fn billed(rows: &mut Rows, id: &str) -> Vec<BilledMonth> {
    let waited = rows.waited.remove(id).unwrap_or_default();
    let month = |(month, [settle_run, ends_at, charge_run]): &(i64, [i64; 3])| {
        let waited = waited.iter().find(|(of, ..)| of == month);
        let waited = waited.map_or((0, 0), |(_, from, upto)| (*from, *upto));
        BilledMonth { settle_run: *settle_run, ends_at: *ends_at, charge_run: *charge_run, waited }
    };
    rows.billed.iter().map(month).collect()
}

/// What was charged and given back of messages that are no longer kept, and of some products.
fn given(rows: &mut Rows, id: &str, products: BTreeSet<Arc<str>>) -> Given {
    let run_no = rows.retired_run;
    let is_given = |run: i64, product: &String| run <= run_no || products.contains(product.as_str());
    let charge = |([run_no, window, plan_no, unit_price, units], class): ([i64; 5], [String; 3])| {
        let class = class.map(Arc::from);
        GivenCharge { run_no, window, class, plan_no, unit_price, units }
    };
    let charges = rows.given_charges.remove(id).unwrap_or_default().into_iter();
    let charges = charges.filter(|(numbers, class)| is_given(numbers[0], &class[0])).map(charge).collect();
    let mut returns: BTreeMap<_, Vec<GivenReturn>> = BTreeMap::new();
    for (key, [part, from_plan, to_plan, unit_price, units, window, charge_run], money_to, class) in
        rows.given_returns.remove(id).unwrap_or_default()
    {
        if is_given(charge_run, &class[0]) {
            let class = class.map(Arc::from);
            let back =
                GivenReturn { from_plan, to_plan, money_to, unit_price, units, window, charge_run, class };
            returns.entry((key, part)).or_default().push(back);
        }
    }
    Given { run_no, products, charges, returns }
}

/// All charged messages on disk, by account: so that memory stays flat and the database is free for
/// other questions while they are gone through.
struct LaidOut {
    file: BufWriter<File>,
    accounts: Vec<String>,
    classes: Vec<Class>,
    class_numbers: BTreeMap<[String; 3], i64>,
    count: i64,
}

/// Account, class, run, units, submit time, id.
const WIDTH: usize = 7;

impl LaidOut {
    fn new() -> std::io::Result<LaidOut> {
        Ok(LaidOut {
            file: BufWriter::with_capacity(1 << 20, tempfile::tempfile()?),
            accounts: Vec::new(),
            classes: Vec::new(),
            class_numbers: BTreeMap::new(),
            count: 0,
        })
    }

    fn push(&mut self, message: &ChargedMessage<'_>) -> std::io::Result<()> {
        if self.accounts.last().is_none_or(|last| last != message.account_id) {
            self.accounts.push(message.account_id.to_owned());
        }
        let words = message.class.map(str::to_owned);
        let next = self.classes.len() as i64;
        let class = *self.class_numbers.entry(words).or_insert(next);
        if class == next {
            self.classes.push(message.class.map(Arc::from));
        }
        let account = self.accounts.len() as i64 - 1;
        let (hi, lo) = message.key;
        let record = [account, class, message.run_no, message.units, message.submit_time, hi, lo];
        self.count += 1;
        record.iter().try_for_each(|number| self.file.write_all(&number.to_le_bytes()))
    }

    fn read(self) -> std::io::Result<Reading> {
        let mut file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        let file = BufReader::with_capacity(1 << 20, file);
        let mut reading = Reading { file, accounts: self.accounts, classes: self.classes, next: None };
        reading.advance()?;
        Ok(reading)
    }
}

/// The messages as they are taken off again.
struct Reading {
    file: BufReader<File>,
    accounts: Vec<String>,
    classes: Vec<Class>,
    next: Option<[i64; WIDTH]>,
}

impl Reading {
    fn advance(&mut self) -> std::io::Result<()> {
        let mut bytes = [0; WIDTH * 8];
        self.next = match self.file.read_exact(&mut bytes) {
            Ok(()) => {
                let mut record = [0; WIDTH];
                for (number, bytes) in record.iter_mut().zip(bytes.chunks_exact(8)) {
                    *number = i64::from_le_bytes(bytes.try_into().unwrap_or_default());
                }
                Some(record)
            }
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        Ok(())
    }

    /// Adds the messages of an account to its history. Accounts are asked for in order.
    fn take(&mut self, id: &str, history: &mut History) -> std::io::Result<()> {
        let mut left_out: BTreeMap<(i64, i64), Vec<i64>> = BTreeMap::new();
        for (key, part) in std::mem::take(&mut history.left_out) {
            left_out.entry(key).or_default().push(part);
        }
        while let Some([account, class, run_no, units, submit_time, hi, lo]) = self.next {
            if self.accounts[account as usize].as_str() > id {
                break;
            }
            let left_out = left_out.remove(&(hi, lo)).unwrap_or_default();
            // One that failed as a whole before it was charged was never charged.
            if self.accounts[account as usize] == id
                && !left_out.contains(&0)
                && (left_out.len() as i64) < units
            {
                let class = self.classes[class as usize].clone();
                history.sent.push(Sent { run_no, class, units, submit_time, key: (hi, lo), left_out });
            }
            self.advance()?;
        }
        Ok(())
    }
}
