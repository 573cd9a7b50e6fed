//! Three PostgreSQL roles, none of which can log in: each login is made a member of the one that
//! it needs (F109).
//!
//! ```text
//! PREFIX_owner   owns the schema and migrates it
//! PREFIX_run     runs jobs and takes orders: it can add to the ledger but not change it, and deletes nothing
//!                but what `housekeeping` does, and the marks of failures that wait for an answer
//! PREFIX_audit   reads everything but the key of the recipients' hashes
//! ```
//! The prefix is kept in the database, so that each later migration gives rights on its new tables.

use super::db::{Db, Tx, values};
use super::error::StoreError;
use super::facts;

/// Tables to which rows are added, and whose rows are never changed.
const ADDED_TO: &[&str] = &[
    "account_events",
    "account_kinds",
    "activations",
    "bill_lines",
    "bill_months",
    "billed_prices",
    "bills",
    "charges",
    "claims",
    "entries",
    "invoice_returns",
    "invoices",
    "messages",
    "not_charged",
    "penalties",
    "postings",
    "receipts",
    "refunds",
    "renewals",
    "retired_failures",
    "returns",
    "top_ups",
    "withdrawals",
];
/// Tables of which rows are deleted: by housekeeping what nothing needs any more, and from `open_failures`
/// and `failures_parked` what was answered.
const DELETED_FROM: &[&str] =
    &["deliveries", "failures_parked", "job_runs", "messages", "open_failures", "receipts"];
/// Tables that only migrations write.
const MIGRATED: &[&str] = &["_sqlx_migrations"];

/// The roles of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    prefix: String,
}

impl Roles {
    /// Names go into SQL as they are, so that only plain ones are taken.
    pub fn parse(prefix: &str) -> Result<Roles, String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let begins = prefix.starts_with(|c: char| c.is_ascii_lowercase());
        if begins && prefix.len() <= 40 && prefix.bytes().all(plain) {
            return Ok(Roles { prefix: prefix.to_owned() });
        }
        Err("write small letters, digits and `_`, beginning with a letter, at most 40".into())
    }

    pub fn owner(&self) -> String {
        format!("{}_owner", self.prefix)
    }

    pub fn run(&self) -> String {
        format!("{}_run", self.prefix)
    }

    pub fn audit(&self) -> String {
        format!("{}_audit", self.prefix)
    }
}

/// The roles that were given to this database, which has a schema.
pub async fn kept(db: &Db) -> Result<Option<Roles>, StoreError> {
    let prefix = facts::get(&mut db.read().await?, "roles").await?;
    prefix.map(|prefix| Roles::parse(&prefix)).transpose().map_err(StoreError::Corrupt)
}

/// Makes the roles that are missing and hands the schema over to the owner, tables of earlier
/// migrations with it. Where all that was done before, no special rights are needed.
pub async fn hand_over(db: &Db, roles: &Roles) -> Result<(), StoreError> {
    let mut tx = begin(db).await?;
    for role in [roles.owner(), roles.run(), roles.audit()] {
        if tx.int("select count(*) from pg_roles where rolname = $1", values![&role]).await? == 0 {
            tx.execute(format!("create role {role} nologin"), vec![]).await?;
        }
    }
    let schema = schema(&mut tx).await?;
    let owner = roles.owner();
    let allowed = "select has_schema_privilege($1, $2, 'create')::int::bigint";
    if tx.int(allowed, values![&owner, &schema]).await? == 0 {
        tx.execute(format!("grant usage, create on schema {schema} to {owner}"), vec![]).await?;
    }
    if tx.int(allowed, values!["public", &schema]).await? == 1 {
        tx.execute(format!("revoke create on schema {schema} from public"), vec![]).await?;
    }
    for statement in strangers(&mut tx, &owner).await? {
        tx.execute(statement, vec![]).await?;
    }
    tx.commit().await
}

/// Statements that give the owner what an earlier migration made under another name.
async fn strangers(tx: &mut Tx, owner: &str) -> Result<Vec<String>, StoreError> {
    let sql = "with before as (select relowner from pg_class where oid = to_regclass('_sqlx_migrations')) \
        select format('alter %s %s owner to %I', case relkind when 'v' then 'view' else 'table' end, \
            c.oid::regclass, $1::text) \
        from pg_class c, before b where c.relowner = b.relowner and c.relkind in ('r', 'v') \
        and c.relnamespace = current_schema()::regnamespace and b.relowner <> $1::regrole \
        union all select format('alter function %s owner to %I', p.oid::regprocedure, $1::text) \
        from pg_proc p, before b where p.proowner = b.relowner \
        and p.pronamespace = current_schema()::regnamespace and b.relowner <> $1::regrole";
    tx.rows(sql, values![owner]).await?.iter().map(|row| row.text(0)).collect()
}

/// Gives each role its rights on the tables and views that there are now, no more and no less.
pub async fn grant(db: &Db, roles: &Roles) -> Result<(), StoreError> {
    let mut tx = begin(db).await?;
    let (run, audit) = (roles.run(), roles.audit());
    tx.execute(format!("set local role {}", roles.owner()), vec![]).await?;
    let sql = "select relname::text from pg_class where relkind in ('r', 'v') \
               and relnamespace = current_schema()::regnamespace and relowner = $1::regrole order by relname";
    let names = tx.rows(sql, values![roles.owner()]).await?;
    for name in names.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()? {
        tx.execute(format!("revoke all on {name} from {run}, {audit}"), vec![]).await?;
        tx.execute(format!("grant select on {name} to {run}, {audit}"), vec![]).await?;
        let writes = match name.as_str() {
            name if MIGRATED.contains(&name) || name.starts_with("v_") => continue,
            name if ADDED_TO.contains(&name) => "insert",
            _ => "insert, update",
        };
        let deletes = if DELETED_FROM.contains(&name.as_str()) { ", delete" } else { "" };
        tx.execute(format!("grant {writes}{deletes} on {name} to {run}"), vec![]).await?;
    }
    let names = schema(&mut tx).await?;
    tx.execute(format!("grant usage on all sequences in schema {names} to {run}"), vec![]).await?;
    hide_recipient_key(&mut tx, &run, &audit).await?;
    facts::set(&mut tx, "roles", &roles.prefix).await?;
    tx.execute("reset role", vec![]).await?;
    let schema = schema(&mut tx).await?;
    for role in [run, audit] {
        let allowed = "select has_schema_privilege($1, $2, 'usage')::int::bigint";
        if tx.int(allowed, values![&role, &schema]).await? == 0 {
            tx.execute(format!("grant usage on schema {schema} to {role}"), vec![]).await?;
        }
    }
    tx.commit().await
}

/// With the key, whoever reads the hashes of phone numbers could try all numbers. The run role
/// needs it and can't change it; the audit role does not see it.
async fn hide_recipient_key(tx: &mut Tx, run: &str, audit: &str) -> Result<(), StoreError> {
    for policy in ["run_reads", "run_writes", "audit_reads"] {
        tx.execute(format!("drop policy if exists {policy} on instance"), vec![]).await?;
    }
    for statement in [
        "alter table instance enable row level security".to_owned(),
        format!("create policy run_reads on instance for select to {run} using (true)"),
        format!("create policy run_writes on instance to {run} using (name <> 'recipient_key')"),
        format!(
            "create policy audit_reads on instance for select to {audit} using (name <> 'recipient_key')"
        ),
    ] {
        tx.execute(statement, vec![]).await?;
    }
    Ok(())
}

/// Two programs that do this at once take turns.
async fn begin(db: &Db) -> Result<Tx, StoreError> {
    let mut tx = db.write().await?;
    tx.execute("select pg_advisory_xact_lock(hashtext('quittance roles'))", vec![]).await?;
    Ok(tx)
}

/// The schema that holds the books, quoted as needed.
async fn schema(tx: &mut Tx) -> Result<String, StoreError> {
    let row = tx.row("select quote_ident(current_schema()::text)", vec![]).await?;
    row.ok_or_else(|| StoreError::Corrupt("there is no schema to be used".into()))?.text(0)
}
