//! Reads quittance.toml: where the books are, the billing zone, and limits.

use super::reader::{File, Place, Table};
use super::values::{hours, minutes, months, text, zone};
use crate::domain::period::Zone;

const DEFAULT_ZONE: &str = "Asia/Shanghai";
const DEFAULT_DEDUPE_MONTHS: u32 = 13;
const DEFAULT_MAX_AHEAD_MINUTES: i64 = 5;
const DEFAULT_MAX_JUMP_HOURS: i64 = 48;

/// What quittance.toml says, with the defaults for what it leaves out.
#[derive(Debug)]
pub struct Settings {
    pub database: Option<String>,
    /// None where it couldn't be read; the fault is noted.
    pub zone: Option<Zone>,
    pub dedupe_months: u32,
    pub max_ahead_minutes: i64,
    pub max_jump_hours: i64,
    /// File name of the products, beside this file, and where that is said.
    pub products: (String, Place),
    /// File name of the prices, beside this file, and where that is said.
    pub prices: (String, Place),
}

/// Reads all settings; what is wrong is noted in the file.
pub fn read(file: &File<'_>) -> Settings {
    let tree = file.parse().unwrap_or_default();
    let mut root = Table::root(file, &tree);
    let settings = Settings {
        database: root.optional("database", text),
        zone: match root.has("zone") {
            true => root.optional("zone", zone),
            false => Zone::parse(DEFAULT_ZONE),
        },
        products: named(&mut root, "products", "products.toml"),
        prices: named(&mut root, "prices", "prices.toml"),
        dedupe_months: in_section(&mut root, "retention", |table| table.optional("messages", months))
            .unwrap_or(DEFAULT_DEDUPE_MONTHS),
        max_ahead_minutes: in_section(&mut root, "ingest", |table| table.optional("max_ahead", minutes))
            .unwrap_or(DEFAULT_MAX_AHEAD_MINUTES),
        max_jump_hours: in_section(&mut root, "clock", |table| table.optional("max_jump", hours))
            .unwrap_or(DEFAULT_MAX_JUMP_HOURS),
    };
    root.allow(&["zone"]);
    root.finish();
    settings
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
