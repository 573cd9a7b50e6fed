//! Reads quittance.toml: where the books are, the billing zone, schedules, and limits.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::bills::{Bills, Invoices, read_bills, read_invoices};
use super::database::{Database, url};
use super::notices::{self, Notices};
use super::reader::{Entry, File, Place, Reading, Table, closest};
use super::retention::{Retention, read_retention};
use super::values::{address, count, flag, hours, id_form, minutes, one_of, schedule, seconds, text, zone};
use crate::domain::period::Zone;
use crate::domain::refund::{MultiPlan, RefundPolicy};
use crate::ingest::message_ids::IdForm;
use crate::ingest::source::Source;
use crate::jobs;
use crate::schedule::Schedule;

const DEFAULT_ZONE: &str = "Asia/Shanghai";
const DEFAULT_MAX_AHEAD_MINUTES: i64 = 5;
const DEFAULT_MAX_JUMP_HOURS: i64 = 48;
const DEFAULT_RENEWALS_PER_DAY: i64 = 3;
const DEFAULT_LEASE: Duration = Duration::from_secs(30);
/// Where the daemon answers /healthz and /metrics.
const DEFAULT_LISTEN: &str = "127.0.0.1:9464";

/// What quittance.toml says, with the defaults for what it leaves out.
#[derive(Debug)]
pub struct Settings {
    pub database: Option<Database>,
    /// Where the database is said.
    pub database_at: Place,
    /// None where it couldn't be read; the fault is noted.
    pub zone: Option<Zone>,
    pub retention: Retention,
    pub max_ahead_minutes: i64,
    pub source_zones: BTreeMap<Source, Zone>,
    pub message_ids: BTreeMap<Source, IdForm>,
    pub max_jump_hours: i64,
    pub lease: Duration,
    pub renewals_per_day: i64,
    /// When each job runs; a job that is off is not in it.
    pub schedules: BTreeMap<&'static str, Schedule>,
    /// None where it is off.
    pub listen: Option<SocketAddr>,
    /// How refunds of orders are decided.
    pub refund: RefundPolicy,
    /// Where gateways drop files, relative to this file; None where they do not.
    pub spool: Option<PathBuf>,
    pub bills: Bills,
    pub invoices: Invoices,
    pub notices: Notices,
    /// File name of the products, beside this file, and where that is said.
    pub products: (String, Place),
    /// File name of the prices, beside this file, and where that is said.
    pub prices: (String, Place),
}

/// Reads all settings; what is wrong is noted in the file.
pub fn read(file: &File<'_>) -> Settings {
    let tree = file.parse().unwrap_or_default();
    let mut root = Table::root(file, &tree);
    let (mut source_zones, mut message_ids) = (BTreeMap::new(), BTreeMap::new());
    let has_spool = root.has("spool");
    let settings = Settings {
        database_at: root.place_of("database"),
        database: database(&mut root),
        zone: match root.has("zone") {
            true => root.optional("zone", zone),
            false => Zone::parse(DEFAULT_ZONE),
        },
        products: named(&mut root, "products", "products.toml"),
        prices: named(&mut root, "prices", "prices.toml"),
        retention: read_retention(&mut root),
        max_ahead_minutes: in_section(&mut root, "ingest", |table| {
            source_zones = of_sources(table, "zones", has_zone, zone);
            message_ids = of_sources(table, "message_ids", |_| Ok(()), id_form);
            table.optional("max_ahead", minutes)
        })
        .unwrap_or(DEFAULT_MAX_AHEAD_MINUTES),
        max_jump_hours: in_section(&mut root, "clock", |table| table.optional("max_jump", hours))
            .unwrap_or(DEFAULT_MAX_JUMP_HOURS),
        source_zones,
        message_ids,
        lease: in_section(&mut root, "runs", |table| table.optional("lease", seconds))
            .unwrap_or(DEFAULT_LEASE),
        renewals_per_day: in_section(&mut root, "renewal", |table| table.optional("max_per_day", count))
            .unwrap_or(DEFAULT_RENEWALS_PER_DAY),
        schedules: schedules(&mut root, has_spool),
        listen: in_section(&mut root, "http", |table| table.optional("listen", address))
            .unwrap_or_else(|| DEFAULT_LISTEN.parse().ok()),
        refund: refund(&mut root),
        spool: in_section(&mut root, "spool", |table| table.required("dir", text)).map(PathBuf::from),
        bills: read_bills(&mut root),
        invoices: read_invoices(&mut root),
        notices: notices::read(&mut root),
    };
    root.allow(&["zone"]);
    root.finish();
    settings
}

/// How refunds are decided: the specification's more specific text, requests wait for an operator, and
/// what was used once is used (D6, D7).
fn refund(root: &mut Table<'_>) -> RefundPolicy {
    let mut policy =
        RefundPolicy { multi_plan: MultiPlan::Overview, auto_reject: false, used_once_is_used: true };
    let Some(mut table) = root.table("refund") else { return policy };
    let choices = [("overview", MultiPlan::Overview), ("faq", MultiPlan::Faq)];
    if let Some(multi_plan) = table.optional("multi_plan", one_of(&choices)) {
        policy.multi_plan = multi_plan;
    }
    if let Some(auto_reject) = table.optional("auto_reject", flag) {
        policy.auto_reject = auto_reject;
    }
    if let Some(used_once_is_used) = table.optional("used_once_is_used", flag) {
        policy.used_once_is_used = used_once_is_used;
    }
    table.finish();
    policy
}

/// When each job runs: its own default, unless it is said otherwise. Without a spool there is nothing
/// to take from it.
fn schedules(root: &mut Table<'_>, has_spool: bool) -> BTreeMap<&'static str, Schedule> {
    let mut section = root.table("schedule");
    let mut schedules = BTreeMap::new();
    for job in jobs::ALL {
        let said = section.as_mut().and_then(|table| table.optional(job.name, schedule));
        let of_use = has_spool || job.name != jobs::ingest_spool::NAME;
        let when = said.unwrap_or_else(|| Schedule::parse(job.schedule).ok().filter(|_| of_use));
        schedules.extend(when.map(|when| (job.name, when)));
    }
    if let Some(section) = section {
        section.finish();
    }
    schedules
}

/// A file name stays as it is here; it is relative to quittance.toml.
fn database(root: &mut Table<'_>) -> Option<Database> {
    let url = root.optional("database", url);
    let file = root.optional("database_file", text);
    if url.is_some() && file.is_some() {
        let both = "the database is said twice: leave out `database` or `database_file`";
        root.fault_at(root.place_of("database"), both);
    }
    url.map(Database::Url).or(file.map(|file| Database::File(file.into())))
}

fn named(root: &mut Table<'_>, key: &'static str, default: &str) -> (String, Place) {
    let name = root.optional(key, text).unwrap_or_else(|| default.to_owned());
    (name, root.place_of(key))
}

fn in_section<T>(
    root: &mut Table<'_>,
    key: &'static str,
    read: impl FnOnce(&mut Table<'_>) -> Option<T>,
) -> Option<T> {
    let mut section = root.table(key)?;
    let value = read(&mut section);
    section.finish();
    value
}

/// Only sources whose times name no zone have one to be told.
fn has_zone(source: Source) -> Result<(), String> {
    match source.time_forms().zoneless {
        Some(_) => Ok(()),
        None => Err(format!("times of `{}` must name their offset: it has no zone to give", source.name())),
    }
}

/// What a table says of sources; `may` says why one can't be in it.
fn of_sources<T>(
    ingest: &mut Table<'_>,
    key: &'static str,
    may: impl Fn(Source) -> Result<(), String>,
    read: impl Fn(&DeValue<'_>) -> Reading<T>,
) -> BTreeMap<Source, T> {
    let mut said = BTreeMap::new();
    for Entry { key, key_place, value } in ingest.entries(key) {
        let source = Source::parse(key).map_err(|error| match closest(key, &Source::ALL.map(Source::name)) {
            Some(near) => format!("`{key}` is not a source: did you mean `{near}`?"),
            None => error.to_string(),
        });
        let source = match source.and_then(|source| may(source).map(|()| source)) {
            Ok(source) => source,
            Err(what) => {
                ingest.fault_at(key_place, what);
                continue;
            }
        };
        match read(value.get_ref()) {
            Ok(value) => {
                said.insert(source, value);
            }
            Err(what) => ingest.fault_at(value.span().start, format!("`{key}`: {what}")),
        }
    }
    said
}
