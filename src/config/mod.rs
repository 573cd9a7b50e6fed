//! Configuration: three TOML files in, one checked [`Config`] out, or every fault at once
//! (R46, R47, R66-R69, R103, R124, R135-R138, D3, D34, D37, D51, D54, D73).
//!
//! ```text
//! quittance.toml --settings--> zone, database, limits; names the other two
//! products.toml  --products--> Catalog
//! prices.toml    --prices, packages--> PriceBook
//!                  reader: typed keys, places, faults     values: single values
//! ```

pub mod reader;
pub mod values;

pub mod bills;
pub mod database;
pub mod notices;
pub mod packages;
pub mod prices;
pub mod quotas;
pub mod products;
pub mod retention;
pub mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use self::bills::{Bills, Invoices};
use self::database::{Database, is_open_to_others};
use self::notices::Notices;
use self::products::Products;
use self::reader::{Fault, File};
use self::retention::Retention;
use self::settings::Settings;
use crate::domain::period::{Timestamp, Zone};
use crate::domain::price::PriceBook;
use crate::domain::product::Catalog;
use crate::domain::refund::RefundPolicy;
use crate::domain::renewal::Rules;
use crate::ingest::message_ids::IdForm;
use crate::ingest::source::Source;
use crate::schedule::Schedule;

/// Everything that is configured, complete and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from, or `built in`.
    pub place: String,
    /// The files of products and prices.
    pub products_place: String,
    pub prices_place: String,
    /// Where the books are, unless the command line or the environment says otherwise.
    pub database: Option<Database>,
    /// Months, days and validities follow this zone's calendar.
    pub zone: Zone,
    /// How long what is kept for a time is kept.
    pub retention: Retention,
    /// A message may be submitted this many minutes ahead of the clock (D58).
    pub max_ahead_minutes: i64,
    /// Zones of sources whose times name none, where they are not the source's usual ones.
    pub source_zones: BTreeMap<Source, Zone>,
    /// How sources write ids of messages in receipts, where messages have them otherwise.
    pub message_ids: BTreeMap<Source, IdForm>,
    /// How far business time may go forward at once without being told to (D44).
    pub max_jump_hours: i64,
    /// How long a run may go without a sign of life before another takes its place.
    pub lease: Duration,
    /// How often a product may be renewed for an account in a day (D62).
    pub renewals_per_day: i64,
    /// When each job runs; a job that is off is not in it.
    pub schedules: BTreeMap<&'static str, Schedule>,
    /// Where the daemon answers /healthz and /metrics; None where it does not.
    pub listen: Option<SocketAddr>,
    /// How refunds of orders are decided.
    pub refund: RefundPolicy,
    /// The directory into which gateways drop files.
    pub spool: Option<PathBuf>,
    pub bills: Bills,
    pub invoices: Invoices,
    /// How people are told.
    pub notices: Notices,
    pub catalog: Catalog,
    pub book: PriceBook,
    /// What one unit of each product is called: `message`, `email`.
    pub unit_words: BTreeMap<Arc<str>, String>,
    /// SHA-256 over the three texts in hexadecimal: equal where the configuration is.
    pub fingerprint: String,
}

/// All faults of a configuration, sorted by place. Printed one a line:
/// `file:line:column: what is wrong, and how to mend it`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The names by which faults call the three texts.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    pub quittance: &'a str,
    pub products: &'a str,
    pub prices: &'a str,
}

impl Config {
    /// The rules of renewals at a moment (R40-R45, D62, D73).
    pub fn renewal_rules(&self, now: Timestamp) -> Rules<'_> {
        Rules {
            catalog: &self.catalog,
            book: &self.book,
            zone: self.zone,
            max_per_day: self.renewals_per_day,
            now,
        }
    }

    /// Reads a configuration from its first file and the two that it names, or the built-in one
    /// where no file is given.
    ///
    /// # Errors
    /// Every fault of all three files, a file that can't be read among them.
    pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
        let Some(path) = path else { return Config::built_in() };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let what =
                format!("the file can't be read ({error}): check its name, or give another with --config");
            ConfigError { faults: vec![Fault { file: name.clone(), at: None, what }] }
        })?;
        let file = File::new(&name, &text);
        let mut settings = settings::read(&file);
        refuse_open_secrets(path, &file, &settings);
        if let Some(Database::File(name)) = &mut settings.database {
            *name = path.with_file_name(&*name);
        }
        let beside = |key: &str, named: &(String, reader::Place)| {
            let path = path.with_file_name(&named.0);
            let read = std::fs::read_to_string(&path).map_err(|error| {
                let path = path.display();
                let mend = format!("put it there, or name another file with {key} = \"..\"");
                file.fault(named.1, format!("`{key}`: {path} can't be read ({error}): {mend}"));
            });
            read.ok().map(|text| (path.display().to_string(), text))
        };
        let products = beside("products", &settings.products);
        let prices = beside("prices", &settings.prices);
        assemble(&name, (file, &text), settings, products.as_ref(), prices.as_ref())
    }

    /// The configuration that the program carries: the files of `config/`. A test reads them, so
    /// an error here means that the program was built from other files.
    pub fn built_in() -> Result<Config, ConfigError> {
        let names = Names {
            quittance: "built-in quittance.toml",
            products: "built-in products.toml",
            prices: "built-in prices.toml",
        };
        let quittance = include_str!("../../config/quittance.toml");
        let products = include_str!("../../config/products.toml");
        let prices = include_str!("../../config/prices.toml");
        let config = Config::from_texts(quittance, products, prices, names)?;
        Ok(Config { place: "built in".to_owned(), ..config })
    }

    /// Reads a configuration from its three texts. The file names inside the first are not
    /// followed.
    pub fn from_texts(
        quittance: &str,
        products: &str,
        prices: &str,
        names: Names<'_>,
    ) -> Result<Config, ConfigError> {
        let file = File::new(names.quittance, quittance);
        let settings = settings::read(&file);
        let products = (names.products.to_owned(), products.to_owned());
        let prices = (names.prices.to_owned(), prices.to_owned());
        assemble(names.quittance, (file, quittance), settings, Some(&products), Some(&prices))
    }

    /// What one unit of a product is called.
    pub fn unit_word(&self, product: &str) -> &str {
        self.unit_words.get(product).map_or("unit", String::as_str)
    }
}

/// A password in a file that everybody reads is no secret (F107).
fn refuse_open_secrets(path: &Path, file: &File<'_>, settings: &Settings) {
    let Some(Database::Url(url)) = &settings.database else { return };
    let is_open = std::fs::metadata(path).is_ok_and(|file| is_open_to_others(&file.permissions()));
    if url.has_password() && is_open {
        let path = path.display();
        let what = format!(
            "`database` has a password, and this file is open to others: run `chmod 640 {path}`, or put the URL \
             into a file of its own and name it by `database_file`"
        );
        file.fault(settings.database_at, what);
    }
}

/// Puts the parts together, or all their faults. A text is None where its file can't be read; its
/// absence is a fault of the first file, and the other one is checked all the same.
fn assemble(
    place: &str,
    (quittance, quittance_text): (File<'_>, &str),
    mut settings: Settings,
    products_file: Option<&(String, String)>,
    prices_file: Option<&(String, String)>,
) -> Result<Config, ConfigError> {
    let mut faults = quittance.into_faults();
    let file = Path::new(place);
    let mut notices = std::mem::take(&mut settings.notices).beside(file);
    faults.extend(notices::load_templates(&mut notices, file.is_file().then_some(file)));
    let mut products = Products::default();
    if let Some((name, text)) = products_file {
        let file = File::new(name, text);
        products = products::read(&file);
        faults.extend(file.into_faults());
    }
    let mut book = PriceBook::default();
    if let Some((name, text)) = prices_file {
        let file = File::new(name, text);
        book = prices::read(&file, &products).unwrap_or_default();
        faults.extend(file.into_faults());
    }
    let zone = match settings.zone {
        Some(zone) if faults.is_empty() => zone,
        _ => {
            faults.sort();
            // Tiers shared by several template types show the same fault once for each.
            faults.dedup();
            return Err(ConfigError { faults });
        }
    };
    let text = |file: Option<&(String, String)>| file.map(|(_, text)| text.clone()).unwrap_or_default();
    let name = |file: Option<&(String, String)>| file.map(|(name, _)| name.clone()).unwrap_or_default();
    Ok(Config {
        place: place.to_owned(),
        products_place: name(products_file),
        prices_place: name(prices_file),
        database: settings.database,
        zone,
        retention: settings.retention,
        max_ahead_minutes: settings.max_ahead_minutes,
        source_zones: settings.source_zones,
        message_ids: settings.message_ids,
        max_jump_hours: settings.max_jump_hours,
        lease: settings.lease,
        renewals_per_day: settings.renewals_per_day,
        schedules: settings.schedules,
        listen: settings.listen,
        refund: settings.refund,
        bills: settings.bills,
        invoices: settings.invoices.beside(file),
        spool: settings.spool.map(|dir| file.with_file_name(dir)),
        notices,
        catalog: products.catalog,
        book,
        unit_words: products.unit_words,
        fingerprint: fingerprint([quittance_text, &text(products_file), &text(prices_file)]),
    })
}

/// Each text's length goes first, so that moving a line to the next file is a difference.
fn fingerprint(texts: [&str; 3]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
