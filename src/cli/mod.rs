//! The command line: a contract that scripts rely on.
//!
//! Each command opens what it needs, calls the desk, the runner or the store, and prints: tables
//! for people, one JSON object for scripts.

mod accounts;
mod audit;
mod backup;
mod bills;
mod cash;
mod coupons;
mod daemon;
mod exceptions;
mod explain;
mod intake;
mod invoice_files;
mod invoices;
mod journal;
mod manual;
mod messages;
mod notices;
mod operations;
mod orders;
mod output;
mod prices;
mod progress;
mod quotas;
mod renewals;
mod status;
mod usage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::output::Output;
pub use self::output::{Failure, count, exit, table};
use crate::basis::BasisError;
use crate::clock;
use crate::config::database::{self, DatabaseUrl};
use crate::config::{Config, ConfigError};
use crate::domain::period::Timestamp;
use crate::ingest::times::is_of_our_time;
use crate::runner::describe;
use crate::store::{self, Db, Roles};

/// Billing engine for companies that sell SMS and e-mail sending.
#[derive(Debug, Parser)]
#[command(name = "quittance", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Args {
    #[command(flatten)]
    global: Global,
    /// Run one job once and exit; see `quittance jobs`
    #[arg(long, value_name = "JOB")]
    run_job: Option<String>,
    /// With --run-job: print the exact effects and change nothing
    #[arg(long, requires = "run_job")]
    dry_run: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// Configuration file; else $QUITTANCE_CONFIG, ./config/quittance.toml, /etc/quittance/quittance.toml,
    /// or what is built in
    #[arg(long, global = true, value_name = "FILE", env = "QUITTANCE_CONFIG")]
    config: Option<PathBuf>,
    /// Database: sqlite://FILE or postgres://USER@HOST/NAME [default: sqlite://quittance.db]
    #[arg(long, global = true, value_name = "URL", env = "QUITTANCE_DATABASE_URL", hide_env_values = true)]
    database: Option<DatabaseUrl>,
    /// Work as of this time (RFC 3339 with offset) instead of the wall clock
    #[arg(long, global = true, value_name = "T", value_parser = parse_time)]
    as_of: Option<Timestamp>,
    /// Accept a jump in time that is larger than the configuration allows
    #[arg(long, global = true)]
    catch_up: bool,
    /// Print one JSON object instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// Say more on stderr; twice for details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Show no progress bar
    #[arg(long, global = true)]
    no_progress: bool,
    /// Log on stderr as text or as JSON; auto is text on a terminal
    #[arg(long, global = true, value_name = "FORMAT", env = "QUITTANCE_LOG_FORMAT", default_value = "auto")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Auto,
    Text,
    Json,
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    let time = Timestamp::parse_rfc3339(text)
        .ok_or("write a time with its offset, such as 2026-03-01T09:05:00+08:00")?;
    // As those of messages: what lies outside is a slip of the pen, and would stand in the books.
    if is_of_our_time(time) { Ok(time) } else { Err("write a time of the years 2000 to 2100".into()) }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A month in a minute on SQLite: sample accounts, orders and messages, charged, billed, invoiced and audited
    Demo {
        /// Where the database and the files go
        #[arg(long, default_value = "quittance-demo")]
        dir: PathBuf,
    },
    /// Run each job when it is due, until SIGTERM; SIGHUP takes prices and schedules anew
    Daemon,
    /// The jobs, when they run and how they last ended
    Jobs,
    /// What waits: messages to be charged, suspense, exceptions, quarantined lines, suspended accounts
    Status,
    /// Bring the database's schema up to date
    Migrate {
        /// PostgreSQL: also make the roles PREFIX_owner, PREFIX_run and PREFIX_audit, each with no more
        /// rights than it needs, and hand the schema over to the first; once is enough
        #[arg(long, value_name = "PREFIX", value_parser = Roles::parse)]
        roles: Option<Roles>,
    },
    /// Check the configuration and show what it says
    CheckConfig,
    /// Copy the SQLite database into a new file while everything goes on, and check the copy
    Backup { file: PathBuf },
    /// One SHA-256 over the canonical books, equal on SQLite and PostgreSQL for equal input
    Digest,
    /// Whether the books are right: every invariant, and every account worked out anew from its inputs
    Audit(audit::AuditArgs),
    /// Hand in files
    #[command(subcommand)]
    Ingest(intake::Ingest),
    /// Batches that were handed in
    #[command(subcommand)]
    Batch(intake::Batch),
    /// What waits for somebody to decide
    #[command(subcommand)]
    Exception(exceptions::ExceptionCommand),
    /// Accounts and their money
    #[command(subcommand)]
    Account(accounts::AccountCommand),
    /// Packages on sale
    #[command(subcommand)]
    Package(prices::PackageCommand),
    /// Coupons, which pay before cash
    #[command(subcommand)]
    Coupon(coupons::CouponCommand),
    /// Orders and their refunds
    #[command(subcommand)]
    Order(orders::OrderCommand),
    /// Plans that were bought
    #[command(subcommand)]
    Plan(orders::PlanCommand),
    /// Buying the next plan automatically
    #[command(subcommand)]
    Renewal(renewals::RenewalCommand),
    /// Pay-as-you-go prices
    #[command(subcommand)]
    Price(prices::PriceCommand),
    /// Monthly bills
    #[command(subcommand)]
    Bill(bills::BillCommand),
    /// Invoices for bills and orders
    #[command(subcommand)]
    Invoice(invoices::InvoiceCommand),
    /// What an account was told: its inbox
    Inbox(notices::InboxArgs),
    /// Notices on their way to people
    #[command(subcommand)]
    Notice(notices::NoticeCommand),
    /// What an account sent in a month, and why not all of it is billed
    Usage(usage::UsageArgs),
    /// What became of each message
    #[command(subcommand)]
    Message(messages::MessageCommand),
    /// The books, for other programs
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// Why things are as they are
    #[command(subcommand)]
    Explain(explain::Explain),
    /// How long a message is and how many units it is billed as
    Length(prices::LengthArgs),
    /// Run scenario files and compare what they say
    Scenario {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print what lets a shell complete commands and options: put it where the shell looks for it
    #[command(hide = true)]
    Completions { shell: clap_complete::Shell },
    /// Print the man page
    #[command(hide = true)]
    Man,
}

/// Parses the arguments, runs the command, prints, and gives the exit code.
pub fn main() -> ExitCode {
    // What it makes is for its user alone, whatever the shell says (F107).
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let matches = Args::command().get_matches();
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    start_log(&args);
    let on_command_line = matches.value_source("database") == Some(ValueSource::CommandLine);
    if on_command_line && args.global.database.as_ref().is_some_and(DatabaseUrl::has_password) {
        tracing::warn!(
            "Other users of this machine can see the password in --database: put the URL into a file that only \
             you can read, and name it by `database_file` in quittance.toml"
        );
    }
    let output = Output { json: args.global.json };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output.fail(&Failure::other(format!("threads can't be started: {error}"))),
    };
    let result = runtime.block_on(dispatch(args, output));
    // A thread that still waits for standard input must not keep the program.
    runtime.shutdown_background();
    let code = result.unwrap_or_else(|failure| output.fail(&failure));
    output::lost().map_or(code, |failure| output.fail(&failure))
}

async fn dispatch(args: Args, output: Output) -> Result<ExitCode, Failure> {
    let session = Session { global: args.global, output };
    match (args.command, args.run_job) {
        (None, Some(job)) => operations::run_job(&session, &job, args.dry_run).await,
        (Some(_), Some(_)) => Err(Failure::usage("--run-job stands alone, without a command")),
        (command, None) => run(&session, command).await,
    }
}

async fn run(session: &Session, command: Option<Command>) -> Result<ExitCode, Failure> {
    match command {
        None => Err(Failure::usage("name a command or --run-job; see --help")),
        Some(Command::Demo { dir }) => crate::demo::run(session, &dir).await,
        Some(Command::Daemon) => daemon::run(session).await,
        Some(Command::Jobs) => status::jobs(session).await,
        Some(Command::Status) => status::status(session).await,
        Some(Command::Migrate { roles }) => operations::migrate(session, roles).await,
        Some(Command::CheckConfig) => operations::check_config(session),
        Some(Command::Audit(args)) => audit::run(session, args).await,
        Some(Command::Backup { file }) => backup::run(session, &file).await,
        Some(Command::Digest) => operations::digest(session).await,
        Some(Command::Ingest(command)) => intake::ingest(session, command).await,
        Some(Command::Batch(command)) => intake::batch(session, command).await,
        Some(Command::Exception(command)) => exceptions::run(session, command).await,
        Some(Command::Account(command)) => accounts::run(session, command).await,
        Some(Command::Package(command)) => prices::packages(session, command).await,
        Some(Command::Coupon(command)) => coupons::coupon(session, command).await,
        Some(Command::Order(command)) => orders::order(session, command).await,
        Some(Command::Plan(command)) => orders::plan(session, command).await,
        Some(Command::Renewal(command)) => renewals::run(session, command).await,
        Some(Command::Price(command)) => prices::prices(session, command).await,
        Some(Command::Bill(command)) => bills::run(session, command).await,
        Some(Command::Invoice(command)) => invoices::run(session, command).await,
        Some(Command::Inbox(args)) => notices::inbox(session, args).await,
        Some(Command::Notice(command)) => notices::run(session, command).await,
        Some(Command::Usage(args)) => usage::run(session, args).await,
        Some(Command::Message(command)) => messages::run(session, command).await,
        Some(Command::Journal(command)) => journal::run(session, command).await,
        Some(Command::Explain(command)) => explain::run(session, command).await,
        Some(Command::Length(args)) => prices::length(session, &args),
        Some(Command::Completions { shell }) => manual::completions(shell),
        Some(Command::Man) => manual::page(),
        Some(Command::Scenario { files }) => operations::scenarios(session, &files),
    }
}

/// What every command has at hand.
#[derive(Clone)]
pub struct Session {
    global: Global,
    pub output: Output,
}

impl Session {
    /// The configuration that applies here.
    pub fn config(&self) -> Result<Arc<Config>, Failure> {
        let config = self.load()?;
        tracing::info!("Configuration: {}", config.place);
        Ok(Arc::new(config))
    }

    fn load(&self) -> Result<Config, ConfigError> {
        let places = [Path::new("config/quittance.toml"), Path::new("/etc/quittance/quittance.toml")];
        let found = places.into_iter().find(|place| place.is_file());
        Config::load(self.global.config.as_deref().or(found))
    }

    /// The database that applies here, ready for use.
    pub async fn open(&self, config: &Config) -> Result<Db, Failure> {
        Ok(store::open(self.url(config)?.expose()).await?)
    }

    pub fn url(&self, config: &Config) -> Result<DatabaseUrl, Failure> {
        self.database(config).map(|(url, _)| url)
    }

    /// Where the books are and who says so: the command line or the environment, else the credential
    /// that systemd hands over, else the configuration.
    fn database(&self, config: &Config) -> Result<(DatabaseUrl, String), Failure> {
        if let Some(url) = &self.global.database {
            return Ok((url.clone(), "--database or QUITTANCE_DATABASE_URL".into()));
        }
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let credential = credentials.map(|dir| dir.join("database-url")).filter(|file| file.exists());
        let found = match (credential, &config.database) {
            (Some(file), _) => {
                database::read_url(&file).map(|url| (url, "systemd's credential database-url".into()))
            }
            (None, Some(configured)) => {
                configured.url().map(|url| (url, configured.place().unwrap_or(&config.place).to_owned()))
            }
            (None, None) => {
                Ok((DatabaseUrl::new("sqlite://quittance.db"), "nobody, so it is in this directory".into()))
            }
        };
        let found = found.map_err(Failure::config)?;
        check_spool(config, &found.0)?;
        Ok(found)
    }

    pub fn now(&self) -> Timestamp {
        self.global.as_of.unwrap_or_else(clock::now)
    }

    pub fn as_of(&self) -> Option<Timestamp> {
        self.global.as_of
    }

    pub fn catch_up(&self) -> bool {
        self.global.catch_up
    }

    pub fn progress(&self) -> Box<dyn crate::progress::Progress + Send> {
        progress::watch(self.global.no_progress)
    }
}

/// What lies in a spool is taken in and moved away: it can't be where the books or their configuration are.
fn check_spool(config: &Config, url: &DatabaseUrl) -> Result<(), Failure> {
    let directory = |file: &Path| {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        parent.canonicalize().ok()
    };
    let Some(spool) = config.spool.as_deref().and_then(|dir| dir.canonicalize().ok()) else { return Ok(()) };
    let books = store::file_of(url.expose());
    let of_books = books.as_deref().map(|file| ("books", file));
    let others = [
        ("configuration", &config.place),
        ("products", &config.products_place),
        ("prices", &config.prices_place),
    ];
    // What is built in lies nowhere.
    let of_config =
        others.into_iter().map(|(what, place)| (what, Path::new(place))).filter(|(_, file)| file.is_file());
    match of_books.into_iter().chain(of_config).find(|(_, file)| directory(file).as_deref() == Some(&spool)) {
        None => Ok(()),
        Some((what, file)) => Err(Failure::config(format!(
            "{}: `spool.dir` is the directory of the {what} ({}), which would be taken in and moved away: name one of \
             its own",
            config.place,
            file.display()
        ))),
    }
}

fn start_log(args: &Args) {
    use std::io::IsTerminal;
    use tracing_subscriber::EnvFilter;
    // A service tells what it does; a command only what goes wrong.
    let serves = matches!(args.command, Some(Command::Daemon));
    let default = match args.global.verbose + u8::from(serves) {
        0 => "warn",
        1 => "quittance=info,warn",
        _ => "quittance=debug,info,tokio_cron_scheduler=warn",
    };
    let filter = EnvFilter::try_from_env("QUITTANCE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let text = match args.global.log_format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    if text {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    } else {
        log.json().flatten_event(true).init();
    }
}

impl From<crate::runner::Finished> for ExitCode {
    fn from(finished: crate::runner::Finished) -> ExitCode {
        match finished.outcome {
            // Books that are wrong are no matter that just waits.
            crate::runner::Outcome::Partial if finished.first_finding().is_some() => {
                ExitCode::from(exit::FAILED)
            }
            crate::runner::Outcome::Partial => ExitCode::from(exit::PARTIAL),
            crate::runner::Outcome::Refused => ExitCode::from(exit::FAILED),
            _ => ExitCode::SUCCESS,
        }
    }
}

impl From<BasisError> for Failure {
    fn from(error: BasisError) -> Failure {
        match error {
            BasisError::Store(error) => error.into(),
            other => Failure::config(describe(&other)),
        }
    }
}

impl From<crate::jobs::JobError> for Failure {
    fn from(error: crate::jobs::JobError) -> Failure {
        match error {
            crate::jobs::JobError::Store(error) => error.into(),
            crate::jobs::JobError::Basis(error) => error.into(),
            other => Failure::other(describe(&other)),
        }
    }
}
