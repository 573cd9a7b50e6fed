//! Single facts about the books as a whole: how far they have come, their key, their roles.

use super::db::{Tx, values};
use super::error::StoreError;

/// A fact by its name; None where it was never noted.
pub async fn get(tx: &mut Tx, name: &str) -> Result<Option<String>, StoreError> {
    let row = tx.row("select value from instance where name = $1", values![name]).await?;
    row.map(|row| row.text(0)).transpose()
}

pub async fn set(tx: &mut Tx, name: &str, value: &str) -> Result<(), StoreError> {
    let sql = "insert into instance (name, value) values ($1, $2) \
               on conflict (name) do update set value = excluded.value";
    tx.execute(sql, values![name, value]).await.map(|_| ())
}

/// Two numbers in one fact.
pub async fn pair(tx: &mut Tx, name: &str) -> Result<Option<(i64, i64)>, StoreError> {
    let Some(text) = get(tx, name).await? else { return Ok(None) };
    let pair = text.split_once(' ').and_then(|(one, two)| Some((one.parse().ok()?, two.parse().ok()?)));
    pair.map(Some).ok_or_else(|| StoreError::Corrupt(format!("the fact `{name}` is `{text}`")))
}

pub async fn set_pair(tx: &mut Tx, name: &str, (one, two): (i64, i64)) -> Result<(), StoreError> {
    set(tx, name, &format!("{one} {two}")).await
}
