//! The schema: one text in `migrations/`, rendered for each database.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::db::Dialect;

/// Name and text of each migration, in order. Released ones never change.
const TEXTS: &[(&str, &str)] = &[
    ("foundation", include_str!("../../migrations/0001_foundation.sql")),
    ("views", include_str!("../../migrations/0002_views.sql")),
    ("runs", include_str!("../../migrations/0003_runs.sql")),
    ("append_only", include_str!("../../migrations/0004_append_only.sql")),
    ("lean_books", include_str!("../../migrations/0005_lean_books.sql")),
    ("receipts", include_str!("../../migrations/0006_receipts.sql")),
    ("money", include_str!("../../migrations/0007_money.sql")),
    ("orders", include_str!("../../migrations/0008_orders.sql")),
    ("renewals", include_str!("../../migrations/0009_renewals.sql")),
    ("bills", include_str!("../../migrations/0010_bills.sql")),
    ("delivery", include_str!("../../migrations/0011_delivery.sql")),
    ("mail", include_str!("../../migrations/0012_mail.sql")),
    ("retention", include_str!("../../migrations/0013_retention.sql")),
    ("audited", include_str!("../../migrations/0014_audited.sql")),
    ("open_failures", include_str!("../../migrations/0015_open_failures.sql")),
    ("nameless_receipts", include_str!("../../migrations/0016_nameless_receipts.sql")),
    ("held_overdue", include_str!("../../migrations/0017_held_overdue.sql")),
    ("lists_of_prices", include_str!("../../migrations/0018_lists_of_prices.sql")),
    ("parked_failures", include_str!("../../migrations/0019_parked_failures.sql")),
    ("parked_receipts", include_str!("../../migrations/0020_parked_receipts.sql")),
];

/// The version that this binary works with.
pub const VERSION: i64 = TEXTS.len() as i64;

pub fn migrator(dialect: Dialect) -> Migrator {
    let migrations = (1..).zip(TEXTS).map(|(version, (name, text))| {
        let sql = AssertSqlSafe(render(dialect, text)).into_sql_str();
        Migration::new(version, (*name).into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// Fills in `{int}`, `{text}`, `{money column}` and the like.
fn render(dialect: Dialect, text: &str) -> String {
    let mut sql = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (word, after) = after.split_once('}').unwrap_or((after, ""));
        sql.push_str(before);
        sql.push_str(&placeholder(dialect, word));
        rest = after;
    }
    sql.push_str(rest);
    sql
}

/// Triggers that refuse to change or delete a table's rows.
fn append_only(dialect: Dialect, table: &str) -> String {
    let refusal = format!("{table} is append only: add a row that mends it");
    match dialect {
        Dialect::Postgres => format!(
            "create or replace function {table}_append_only() returns trigger language plpgsql as \
             $$ begin raise exception '{refusal}'; end $$;\n\
             create trigger {table}_append_only before update or delete or truncate on {table} \
             for each statement execute function {table}_append_only();"
        ),
        Dialect::Sqlite => ["update", "delete"]
            .map(|event| {
                format!(
                    "create trigger {table}_no_{event} before {event} on {table} \
                     begin select raise(abort, '{refusal}'); end;"
                )
            })
            .join("\n"),
    }
}

fn placeholder(dialect: Dialect, word: &str) -> String {
    let (name, column) = word.split_once(' ').unwrap_or((word, ""));
    match (name, dialect) {
        ("int", Dialect::Sqlite) => "integer".into(),
        ("int", Dialect::Postgres) => "bigint".into(),
        ("text", Dialect::Sqlite) => "text".into(),
        // Unique keys must not change with the operating system's collations (F23).
        ("text", Dialect::Postgres) => "text collate \"C\"".into(),
        ("serial", Dialect::Sqlite) => "integer primary key autoincrement".into(),
        ("serial", Dialect::Postgres) => "bigint generated always as identity primary key".into(),
        ("spans", Dialect::Sqlite) => format!("({column})"),
        ("spans", Dialect::Postgres) => format!("using brin ({column}) with (autosummarize = on)"),
        ("strict", Dialect::Sqlite) => " strict".into(),
        ("strict", Dialect::Postgres) => String::new(),
        ("money", Dialect::Postgres) => format!("(({column})::numeric / 1000000)::numeric(24, 6)"),
        // SQLite knows no decimals: text, exact.
        ("money", Dialect::Sqlite) => format!(
            "(case when ({column}) < 0 then '-' else '' end || \
             printf('%d.%06d', abs({column}) / 1000000, abs({column}) % 1000000))"
        ),
        ("count", Dialect::Postgres) => format!("({column})::numeric(24, 6)"),
        ("count", Dialect::Sqlite) => format!("cast(({column}) as text)"),
        ("time", Dialect::Postgres) => {
            format!("(timestamptz 'epoch' + ({column}) * interval '1 microsecond')")
        }
        ("time", Dialect::Sqlite) => format!(
            "(strftime('%Y-%m-%dT%H:%M:%S', ({column}) / 1000000, 'unixepoch') || \
             printf('.%06dZ', ({column}) % 1000000))"
        ),
        ("append_only", dialect) => append_only(dialect, column),
        // Room on each page for new versions of its rows: the index is left alone then.
        ("roomy", Dialect::Sqlite) => String::new(),
        ("roomy", Dialect::Postgres) => " with (fillfactor = 45)".into(),
        ("make", Dialect::Sqlite) => String::new(),
        ("make", Dialect::Postgres) => {
            format!("alter table {} set (fillfactor = 45);", column.trim_end_matches(" roomy"))
        }
        // Lists of lists as JSON: made of rows, and taken apart into rows again.
        ("list", Dialect::Sqlite) => format!("json_group_array(json_array({column}))"),
        ("list", Dialect::Postgres) => format!("cast(json_agg(json_build_array({column})) as text)"),
        ("each", Dialect::Sqlite) => format!("cross join json_each({column}) as item"),
        ("each", Dialect::Postgres) => {
            format!("cross join lateral json_array_elements(cast({column} as json)) as item(value)")
        }
        ("item", dialect) => item(dialect, column),
        // Left as it is, so that the database names it in its complaint.
        _ => format!("{{{word}}}"),
    }
}

/// An element of a list, by its place and type: `0 text`.
fn item(dialect: Dialect, which: &str) -> String {
    let (place, kind) = which.split_once(' ').unwrap_or((which, "text"));
    match (dialect, kind) {
        (Dialect::Sqlite, _) => format!("json_extract(item.value, '$[{place}]')"),
        (Dialect::Postgres, "int") => format!("cast(item.value ->> {place} as bigint)"),
        (Dialect::Postgres, _) => format!("(item.value ->> {place}) collate \"C\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_is_known_to_both_dialects() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            for (name, text) in TEXTS {
                assert!(!render(dialect, text).contains('{'), "{name} for {dialect:?}");
            }
        }
    }
}
