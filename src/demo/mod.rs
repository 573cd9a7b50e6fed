//! `quittance demo`: a month in a minute, so that a newcomer sees the whole thing at work.

mod month_end;
pub mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use self::month_end::MonthEnd;
use self::world::{SampleAccount, SampleMessage, World, world};
use crate::cli::{Failure, Session, count, table};
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::desk::cash::{TopUp, top_up_in};
use crate::desk::orders::{Wanted, place_in};
use crate::desk::{DeskError, accounts};
use crate::domain::account::Kind;
use crate::domain::money::Micros;
use crate::domain::period::{Month, Timestamp};
use crate::ingest;
use crate::ingest::source::Source;
use crate::intake::{Input, Reading, take};
use crate::jobs;
use crate::progress::{Progress, Silent};
use crate::runner::{self, Finished, Options};
use crate::store::accounts::{AccountRow, NewAccount, list};
use crate::store::status::{ChargedSum, ReturnedSum};
use crate::store::{self, Db, Tx, digest, status};

/// The month that is shown, and how much of it.
const MONTH: Month = Month { year: 2026, month: 3 };
const SEED: u64 = 20260301;
const ACCOUNTS: usize = 2_000;
const MESSAGES: usize = 200_000;

/// Makes a database of a sample month in `dir`: accounts, orders, and each day a file of messages,
/// charged, and a file of receipts, settled; then its bills, invoices, journal and audit.
pub async fn run(session: &Session, dir: &Path) -> Result<ExitCode, Failure> {
    let stopwatch = Stopwatch::start();
    let config = Arc::new(Config::built_in()?);
    let database = prepare_dir(dir)?;
    let url = format!("sqlite://{}", database.display());
    let db = store::open(&url).await?;
    let world = world(SEED, MONTH, config.zone, ACCOUNTS, MESSAGES);
    open_accounts(&db, &config, &world).await?;
    let progress = session.progress();
    progress.begin("March 2026", Some(MESSAGES as u64));
    send_and_charge(&db, &config, &world, dir, &*progress).await?;
    progress.end();

    let accounts = world.accounts.iter().map(|account| account.id.as_str());
    let month_end = month_end::close(&db, &config, accounts, dir, &*progress).await?;
    let mut tx = db.read().await?;
    let summary = Summary {
        accounts: status::accounts_by_status(&mut tx).await?,
        suspense: status::suspense_by_reason(&mut tx).await?,
        sums: status::charged_sums(&mut tx).await?,
        returns: status::returned_sums(&mut tx).await?,
        digest: digest::digest(&mut tx, config.zone).await?,
        month_end,
        seconds: stopwatch.elapsed_ms() / 1000,
    };
    let shown = pick(&mut tx, &world).await?;
    drop(tx);
    db.close().await;
    let findings = &summary.month_end.audit.findings;
    if !findings.is_empty() {
        return Err(Failure::other(format!("the books are not right:\n{}", findings.first.join("\n"))));
    }
    session.output.show(&summary.to_json(dir, &url), || summary.to_text(dir, &url, &shown));
    Ok(ExitCode::SUCCESS)
}

/// What tells a demo's directory from one where somebody keeps books.
const MARK: &str = ".quittance-demo";

/// Empties what an earlier demo left, and nothing else.
fn prepare_dir(dir: &Path) -> Result<std::path::PathBuf, Failure> {
    let failed = |error: std::io::Error| Failure::other(format!("{} can't be used: {error}", dir.display()));
    let (database, mark) = (dir.join("quittance.db"), dir.join(MARK));
    if dir.exists() && !mark.exists() && std::fs::read_dir(dir).map_err(failed)?.next().is_some() {
        let dir = dir.display();
        return Err(Failure::other(format!(
            "{dir} holds files that no demo left; name an empty directory with --dir, or remove it"
        )));
    }
    std::fs::create_dir_all(dir).map_err(failed)?;
    std::fs::write(&mark, "The books here are a demo's: the next one begins them anew.\n").map_err(failed)?;
    for name in ["quittance.db", "quittance.db-wal", "quittance.db-shm"] {
        match std::fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    for name in ["messages", "receipts"] {
        std::fs::create_dir_all(dir.join(name)).map_err(failed)?;
    }
    Ok(database)
}

async fn open_accounts(db: &Db, config: &Config, world: &World) -> Result<(), Failure> {
    let opened = config.zone.month_start(MONTH);
    let mut tx = db.write().await?;
    for account in &world.accounts {
        open_account(&mut tx, config, account, opened).await?;
    }
    Ok(tx.commit().await?)
}

async fn open_account(
    tx: &mut Tx,
    config: &Config,
    sample: &SampleAccount,
    opened: Timestamp,
) -> Result<(), DeskError> {
    let new = NewAccount {
        account_id: sample.id.clone(),
        name: sample.name.clone(),
        kind: Kind::parse(sample.kind).unwrap_or(Kind::Enterprise),
        currency: sample.currency.into(),
        email: Some(sample.email.clone()),
        phone: None,
        locale: sample.locale.into(),
        credit_limit: Micros::ZERO,
    };
    accounts::add_in(tx, &new, opened).await?;
    store::accounts::verify(tx, &sample.id, None, opened).await?;
    for product in config.catalog.products.iter().filter(|product| product.needs_activation) {
        store::accounts::activate(tx, &sample.id, &product.id, opened).await?;
    }
    for (at, amount, reference) in &sample.top_ups {
        let top_up = TopUp { amount: *amount, reference, payer: None };
        top_up_in(tx, &sample.id, top_up, *at).await?;
    }
    for (at, package, quantity) in &sample.orders {
        let wanted = [Wanted { package: package.clone(), quantity: *quantity }];
        place_in(tx, config, &sample.id, &wanted, None, *at).await?;
    }
    Ok(())
}

/// Plays the month: each day a file of messages is handed in and charged, and a file of the receipts
/// that came in that day is handed in and settled.
async fn send_and_charge(
    db: &Db,
    config: &Arc<Config>,
    world: &World,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<(), Failure> {
    let mut messages = world.messages().peekable();
    let mut receipts: BTreeMap<Timestamp, Vec<String>> = BTreeMap::new();
    let mut day = config.zone.month_start(MONTH);
    while messages.peek().is_some() {
        let end = config.zone.end_of_validity(day, crate::domain::period::Validity::Days(1));
        let mut file = String::from(SampleMessage::CSV_HEADER);
        let mut count = 0;
        while let Some(message) = messages.next_if(|message| message.submit_time < end) {
            message.write_csv(&mut file);
            if let Some((at, line)) = message.receipt() {
                receipts.entry(at).or_default().push(line);
            }
            count += 1;
        }
        let name = format!("{}.csv", &config.zone.format(day)[..10]);
        hand_in(db, config, ingest::Kind::Messages, &dir.join("messages").join(&name), &file, end).await?;
        run_job(db, config, "aggregate-charges", end).await?;
        // Those that the carriers will send tomorrow wait until then.
        let later = receipts.split_off(&end);
        let today: String = std::mem::replace(&mut receipts, later).into_values().flatten().collect();
        let file = format!("{}{today}", SampleMessage::RECEIPT_HEADER);
        hand_in(db, config, ingest::Kind::Receipts, &dir.join("receipts").join(&name), &file, end).await?;
        run_job(db, config, "settle-receipts", end).await?;
        progress.advance(count);
        day = end;
    }
    Ok(())
}

/// Writes a file and hands it in.
async fn hand_in(
    db: &Db,
    config: &Arc<Config>,
    kind: ingest::Kind,
    path: &Path,
    file: &str,
    as_of: Timestamp,
) -> Result<(), Failure> {
    let failed = |error| Failure::other(format!("{} can't be written: {error}", path.display()));
    std::fs::write(path, file).map_err(failed)?;
    let reading = Reading { kind, source: Source::Generic, format: None, as_of };
    take(db, config, Input::File(path.to_owned()), reading, None, &Silent).await?;
    Ok(())
}

async fn run_job(db: &Db, config: &Arc<Config>, name: &str, as_of: Timestamp) -> Result<Finished, Failure> {
    let job = jobs::find(name).ok_or_else(|| Failure::other(format!("there is no {name}")))?;
    let options = Options { as_of: Some(as_of), ..Options::default() };
    Ok(runner::run(db, config, job, options, &Silent).await?)
}

/// Accounts worth a look: the busiest, and one that is overdue.
async fn pick(tx: &mut Tx, world: &World) -> Result<Vec<Vec<String>>, Failure> {
    let busiest: Vec<&str> = world.accounts.iter().take(5).map(|account| account.id.as_str()).collect();
    let accounts = list(tx).await?;
    let worth = accounts.iter().filter(|account| {
        busiest.contains(&account.account_id.as_str())
            || account.status != crate::domain::account::Status::Active
    });
    let row = |account: &AccountRow| {
        vec![
            account.account_id.clone(),
            account.name.clone(),
            account.status.as_str().to_owned(),
            account.currency.clone(),
            account.funds.balance.for_people(),
            account.funds.unbilled.for_people(),
            account.funds.available().map_or(String::new(), Micros::for_people),
        ]
    };
    Ok(worth.take(8).map(row).collect())
}

/// What the demo tells at its end.
struct Summary {
    accounts: Vec<(String, i64)>,
    suspense: Vec<(String, i64)>,
    sums: Vec<ChargedSum>,
    returns: Vec<ReturnedSum>,
    month_end: MonthEnd,
    digest: String,
    seconds: i64,
}

impl Summary {
    fn to_json(&self, dir: &Path, url: &str) -> Value {
        let counts =
            |pairs: &[(String, i64)]| pairs.iter().map(|(k, n)| (k.clone(), json!(n))).collect::<Value>();
        let sums = self.sums.iter().map(|sum| {
            json!({
                "product": sum.product,
                "currency": sum.currency,
                "messages": sum.messages,
                "plan_units": sum.plan_units,
                "payg_units": sum.payg_units,
                "free_units": sum.free_units,
                "payg_amount": sum.payg_amount.to_string(),
            })
        });
        let returns = self.returns.iter().map(|sum| {
            json!({
                "product": sum.product,
                "currency": sum.currency,
                "messages": sum.messages,
                "plan_units": sum.plan_units,
                "money_units": sum.money_units,
                "amount": sum.amount.to_string(),
            })
        });
        json!({
            "dir": dir.display().to_string(),
            "database": url,
            "accounts": counts(&self.accounts),
            "suspense": counts(&self.suspense),
            "charged": sums.collect::<Vec<_>>(),
            "returned": returns.collect::<Vec<_>>(),
            "bills": self.month_end.bills,
            "invoices": self.month_end.invoices,
            "pdf": self.month_end.pdf.as_ref().map(|path| path.display().to_string()),
            "journal": self.month_end.journal.display().to_string(),
            "digest": self.digest,
        })
    }

    fn to_text(&self, dir: &Path, url: &str, shown: &[Vec<String>]) -> String {
        let mut text = String::from("March 2026, charged in windows of five minutes\n\n");
        let row = |sum: &ChargedSum| {
            vec![
                sum.product.clone(),
                count(sum.messages),
                count(sum.plan_units),
                count(sum.payg_units),
                count(sum.free_units),
                sum.payg_amount.for_people(),
                sum.currency.clone(),
            ]
        };
        let columns =
            ["product", ">messages", ">plan units", ">pay-as-you-go", ">free", ">amount", "currency"];
        text.push_str(&table(&columns, self.sums.iter().map(row).collect()));
        text.push_str("\n\nGiven back for failure receipts within 72 hours\n\n");
        let row = |sum: &ReturnedSum| {
            vec![
                sum.product.clone(),
                count(sum.messages),
                count(sum.plan_units),
                count(sum.money_units),
                sum.amount.for_people(),
                sum.currency.clone(),
            ]
        };
        let columns = ["product", ">messages", ">to plans", ">as money", ">amount", "currency"];
        text.push_str(&table(&columns, self.returns.iter().map(row).collect()));
        text.push_str("\n\n");
        let columns = ["account", "name", "status", "currency", ">balance", ">unbilled", ">available"];
        text.push_str(&table(&columns, shown.to_vec()));
        text.push_str("\n\n");
        for (status, number) in &self.accounts {
            let _ = writeln!(text, "Accounts {status}: {}", count(*number));
        }
        for (reason, number) in &self.suspense {
            let _ = writeln!(text, "Messages waiting, {reason}: {}", count(*number));
        }
        self.tell_month_end(&mut text);
        let _ = writeln!(text, "Digest {}, {} seconds.", self.digest, self.seconds);
        let _ = writeln!(text, "\nDatabase  {url}\nFiles     {}, messages and receipts", dir.display());
        let first = shown.first().and_then(|row| row.first()).map_or("acct-00001", String::as_str);
        let _ = write!(
            text,
            "\nTry:\n  quittance --database {url} account show {first}\n  quittance --database {url} bill show {first} 2026-03\n  \
             quittance --database {url} status\n  quittance --database {url} audit\n  \
             hledger -f {} check --strict",
            self.month_end.journal.display()
        );
        text
    }

    fn tell_month_end(&self, text: &mut String) {
        let MonthEnd { bills, unpaid, invoices, files, pdf, audit, .. } = &self.month_end;
        let (bills, unpaid) = (count(*bills), count(*unpaid));
        let _ = writeln!(text, "\nOn 1 April: {bills} bills, {unpaid} of them not paid whole.");
        let files = files.display();
        let _ = writeln!(text, "{invoices} invoices in {files}: PDF, UBL by EN 16931, CSV.");
        if let Some(pdf) = pdf {
            let _ = writeln!(text, "Open {}", pdf.display());
        }
        let (accounts, messages) = (count(audit.accounts), count(audit.messages));
        let _ = writeln!(
            text,
            "\nThe books are right: {} invariants hold, and {accounts} accounts with {messages} messages come to the \
             same when worked out anew.",
            audit.invariants
        );
    }
}
