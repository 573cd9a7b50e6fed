//! Whether the server keeps what it says it has kept (I37).

use super::db::{Dialect, Tx};
use super::error::StoreError;

/// What of a PostgreSQL server's settings can cost committed books when its machine stops. SQLite's are set with
/// each connection.
///
/// # Errors
/// The database fails.
pub async fn warnings(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    if tx.dialect() == Dialect::Sqlite {
        return Ok(Vec::new());
    }
    let sql = "select name from pg_settings where name in ('fsync', 'full_page_writes') and setting = 'off' \
               order by name";
    let mut warnings = Vec::new();
    for row in tx.rows(sql, vec![]).await? {
        let name = row.text(0)?;
        warnings.push(format!(
            "the PostgreSQL server runs with {name} = off: a crash of its machine can destroy the books; set \
             `{name} = on` in postgresql.conf"
        ));
    }
    Ok(warnings)
}
