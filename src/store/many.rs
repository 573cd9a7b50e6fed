//! Statements about many rows at once: the way to look up or change ten thousand accounts in a few of
//! them. The rows are a table `v` to the statement.

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;

use super::connection::Conn;
use super::db::{Dialect, Row, Tx, Value};
use super::error::StoreError;

/// Rows of one statement. PostgreSQL is given each column as one array, since it would parse and plan a
/// list of values one by one, at ten times the cost; SQLite takes no more than 32,766 values.
fn portion(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Sqlite => 1_000,
        Dialect::Postgres => 10_000,
    }
}

/// Runs `with v(columns) as (rows) statement`, in portions; gives the number of rows that it touched.
pub(super) async fn execute_with(
    tx: &mut Tx,
    columns: &str,
    rows: Vec<Vec<Value>>,
    statement: &str,
) -> Result<u64, StoreError> {
    let mut touched = 0;
    for rows in portions(rows, portion(tx.dialect())) {
        touched += match tx.conn().await? {
            Conn::Sqlite(_) => {
                let sql = listed(columns, rows.len(), statement);
                tx.execute(sql, rows.into_iter().flatten().collect()).await?
            }
            Conn::Postgres(conn) => {
                let done = as_arrays(columns, rows, statement)?.execute(conn).await;
                tx.note(done)?.rows_affected()
            }
        };
    }
    Ok(touched)
}

/// The same for a query: its rows, portion after portion.
pub(super) async fn rows_with(
    tx: &mut Tx,
    columns: &str,
    rows: Vec<Vec<Value>>,
    query: &str,
) -> Result<Vec<Row>, StoreError> {
    let mut found = Vec::new();
    for rows in portions(rows, portion(tx.dialect())) {
        match tx.conn().await? {
            Conn::Sqlite(_) => {
                let sql = listed(columns, rows.len(), query);
                found.extend(tx.rows(sql, rows.into_iter().flatten().collect()).await?);
            }
            Conn::Postgres(conn) => {
                let rows = as_arrays(columns, rows, query)?.fetch_all(conn).await;
                found.extend(tx.note(rows)?.into_iter().map(Row::Postgres));
            }
        }
    }
    Ok(found)
}

fn portions(mut rows: Vec<Vec<Value>>, size: usize) -> Vec<Vec<Vec<Value>>> {
    let mut portions = Vec::new();
    while rows.len() > size {
        let rest = rows.split_off(size);
        portions.push(std::mem::replace(&mut rows, rest));
    }
    if !rows.is_empty() {
        portions.push(rows);
    }
    portions
}

/// A statement over a list of so many rows.
fn listed(columns: &str, rows: usize, statement: &str) -> String {
    let width = columns.split(',').count();
    let mut sql = format!("with v({columns}) as (values ");
    for row in 0..rows {
        let values = (1..=width).map(|column| format!("${}", row * width + column));
        sql.push_str(if row == 0 { "(" } else { ",(" });
        sql.push_str(&values.collect::<Vec<_>>().join(","));
        sql.push(')');
    }
    sql.push_str(") ");
    sql.push_str(statement);
    sql
}

/// The values of a column.
enum Column {
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
}

/// A statement over as many arrays as there are columns.
fn as_arrays(
    columns: &str,
    rows: Vec<Vec<Value>>,
    statement: &str,
) -> Result<Query<'static, Postgres, PgArguments>, StoreError> {
    let count = rows.len();
    let mut arrays: Vec<Column> = Vec::new();
    for row in rows {
        if arrays.is_empty() {
            arrays = row.iter().map(|value| Column::like(value, count)).collect();
        }
        for (array, value) in arrays.iter_mut().zip(row) {
            array.push(value)?;
        }
    }
    let typed = |(number, array): (usize, &Column)| format!("${}::{}[]", number + 1, array.sql_type());
    let list = arrays.iter().enumerate().map(typed).collect::<Vec<_>>().join(", ");
    let sql = format!("with v({columns}) as (select * from unnest({list})) {statement}");
    let query = sqlx::query(AssertSqlSafe(sql));
    Ok(arrays.into_iter().fold(query, |query, array| match array {
        Column::Ints(values) => query.bind(values),
        Column::Texts(values) => query.bind(values),
    }))
}

impl Column {
    fn like(value: &Value, count: usize) -> Column {
        match value {
            Value::Int(_) => Column::Ints(Vec::with_capacity(count)),
            Value::Text(_) => Column::Texts(Vec::with_capacity(count)),
        }
    }

    fn sql_type(&self) -> &'static str {
        match self {
            Column::Ints(_) => "bigint",
            Column::Texts(_) => "text",
        }
    }

    fn push(&mut self, value: Value) -> Result<(), StoreError> {
        match (self, value) {
            (Column::Ints(values), Value::Int(value)) => values.push(value),
            (Column::Texts(values), Value::Text(value)) => values.push(value),
            (_, value) => return Err(StoreError::Corrupt(format!("{value:?} in a column of another type"))),
        }
        Ok(())
    }
}
