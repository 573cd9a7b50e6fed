//! Where everything is kept: SQLite or PostgreSQL. The only module that says `sqlx`.
//!
//! `db` is the connection layer, `dialect` what must differ; the others load and save one
//! aggregate each, whole.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

mod arriving;
pub mod db;
mod dialect;
pub mod effects;
mod error;
mod facts;
mod many;
mod migrations;
mod months;
mod released;
pub mod staging;
mod row_sum;
mod suspense;
mod url;
mod value;

pub mod accounts;
pub mod audit;
pub mod audited;
pub mod backup;
pub mod basis;
pub mod batches;
pub mod billing;
pub mod bills;
pub mod cash;
pub mod caught_up;
pub mod charging;
mod connection;
pub mod coupons;
pub mod deliveries;
pub mod digest;
pub mod durable;
pub mod exceptions;
pub mod expiry;
pub mod failures;
pub mod free;
pub mod invariants;
pub mod invoice_quota;
pub mod invoices;
pub mod journal;
pub mod kinds;
pub mod leases;
pub mod messages;
pub mod notices;
pub mod reminding;
pub mod orders;
pub mod orphans;
pub mod quotas;
pub mod receipts;
pub mod refunds;
pub mod renewals;
pub mod retention;
pub mod returns;
pub mod roles;
pub mod runs;
pub mod scope;
pub mod settling;
pub mod standing;
pub mod status;
pub mod usage;

pub use db::{Db, Dialect, Tx};
pub use error::StoreError;
pub use roles::Roles;

use db::values;

/// The version of the schema that this binary works with.
pub const SCHEMA_VERSION: i64 = migrations::VERSION;

/// Whether a URL can be used, without using it.
pub fn check_url(url: &str) -> Result<(), StoreError> {
    url::check(url)
}

/// The file of a SQLite database; None where the URL names a server.
pub fn file_of(url: &str) -> Option<PathBuf> {
    url::file(url)
}

/// Opens a database that is ready for use: SQLite is created and migrated as needed, PostgreSQL
/// must have been migrated.
pub async fn open(url: &str) -> Result<Db, StoreError> {
    let db = Db::open(url).await?;
    let mut tx = db.read().await?;
    let found = schema_version(&mut tx).await?.unwrap_or(0);
    if db.dialect() == Dialect::Sqlite && found < SCHEMA_VERSION {
        tx.rollback().await?;
        prepare(&db).await?;
    } else {
        check_schema(&mut tx).await?;
        tx.rollback().await?;
    }
    Ok(db)
}

/// Whether the schema is the one that this binary works with. Another one may have migrated it since
/// it was opened (F22).
pub async fn check_schema(tx: &mut Tx) -> Result<(), StoreError> {
    let found = match schema_version(tx).await? {
        Some(SCHEMA_VERSION) => return Ok(()),
        None => return Err(StoreError::NoSchema),
        Some(found) => found,
    };
    let remedy = if found < SCHEMA_VERSION {
        "run `quittance migrate`"
    } else {
        "install the newer quittance that migrated it"
    };
    Err(StoreError::OtherSchema { found, wanted: SCHEMA_VERSION, remedy })
}

/// Brings the schema up to date, and with it the rights of the roles where there are any. `named`
/// are roles to be made now.
pub async fn migrate(db: &Db, named: Option<Roles>) -> Result<Option<Roles>, StoreError> {
    let roles = match named {
        None if schema_version(&mut db.read().await?).await?.is_some() => roles::kept(db).await?,
        named => named,
    };
    if roles.is_some() && db.dialect() == Dialect::Sqlite {
        return Err(StoreError::NoRoles);
    }
    if let Some(roles) = &roles {
        roles::hand_over(db, roles).await?;
    }
    prepare_as(db, roles.as_ref()).await?;
    if let Some(roles) = &roles {
        roles::grant(db, roles).await?;
    }
    Ok(roles)
}

/// A file in which another program keeps its tables is not given ours. On PostgreSQL that is what schemas are for.
async fn refuse_foreign(db: &Db) -> Result<(), StoreError> {
    if db.dialect() == Dialect::Postgres {
        return Ok(());
    }
    let mut tx = db.read().await?;
    let sql = "select m.name, d.file from sqlite_master m join pragma_database_list d on d.name = 'main' \
               where m.type = 'table' and m.name not like 'sqlite\\_%' escape '\\' \
               and not exists (select 1 from sqlite_master where name = '_sqlx_migrations') order by m.name limit 1";
    let found = tx.row(sql, vec![]).await?;
    tx.rollback().await?;
    match found {
        None => Ok(()),
        Some(row) => Err(StoreError::Foreign { place: row.text(1)?, table: row.text(0)? }),
    }
}

/// Brings the schema of a database without roles up to date.
pub async fn prepare(db: &Db) -> Result<(), StoreError> {
    prepare_as(db, None).await
}

/// Applies the missing migrations and gives the instance its own key for recipient hashes.
async fn prepare_as(db: &Db, roles: Option<&Roles>) -> Result<(), StoreError> {
    refuse_foreign(db).await?;
    db.migrate(roles.map(Roles::owner)).await?;
    let mut key = [0u8; 32];
    getrandom::fill(&mut key).map_err(|e| StoreError::Corrupt(format!("no randomness for a key: {e}")))?;
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut tx = db.write().await?;
    let sql = "insert into instance (name, value) values ('recipient_key', $1) on conflict do nothing";
    tx.execute(sql, values![hex]).await?;
    tx.commit().await
}

/// A name that these books alone have, and copies of them.
pub async fn books_name(tx: &mut Tx) -> Result<String, StoreError> {
    let digest = Sha256::new().chain_update("the name of these books").chain_update(recipient_key(tx).await?);
    Ok(digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// The key of the recipient hashes (recipients are never stored plain).
pub async fn recipient_key(tx: &mut Tx) -> Result<[u8; 32], StoreError> {
    let hex = facts::get(tx, "recipient_key").await?.unwrap_or_default();
    let mut key = [0u8; 32];
    let digits =
        hex.as_bytes().chunks_exact(2).map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16));
    let mut count = 0;
    for (slot, digit) in key.iter_mut().zip(digits) {
        *slot = digit.map_err(|_| StoreError::Corrupt("the recipient key is not hexadecimal".into()))?;
        count += 1;
    }
    if count != 32 || hex.len() != 64 {
        return Err(StoreError::Corrupt("the recipient key is missing; was the database migrated?".into()));
    }
    Ok(key)
}

/// The newest migration that the database has, or None where it has no schema at all.
async fn schema_version(tx: &mut Tx) -> Result<Option<i64>, StoreError> {
    let exists = match tx.dialect() {
        Dialect::Sqlite => "select count(*) from sqlite_master where name = '_sqlx_migrations'",
        Dialect::Postgres => "select count(to_regclass('_sqlx_migrations'))",
    };
    if tx.int(exists, vec![]).await? == 0 {
        return Ok(None);
    }
    let version = tx.int("select max(version) from _sqlx_migrations where success", vec![]).await?;
    Ok((version > 0).then_some(version))
}
