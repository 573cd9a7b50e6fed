//! What must differ between the databases: bulk load, streams out, row locks.

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row as _};

use super::connection::{Conn, Copying, copy_in};
use super::db::{Dialect, Tx};
use super::error::StoreError;

/// The end of a `select` that locks the rows it reads; SQLite's writers hold the whole database.
pub fn for_update(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => " for update",
    }
}

/// The same for many that read, of which nobody may change it meanwhile.
pub fn for_share(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => " for share",
    }
}

/// The same for one table of a join.
pub fn for_update_of(dialect: Dialect, table: &str) -> String {
    match dialect {
        Dialect::Sqlite => String::new(),
        Dialect::Postgres => format!(" for update of {table}"),
    }
}

/// The same, failing at once as busy instead of waiting.
pub fn for_update_nowait(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => " for update nowait",
    }
}

/// Where rows lie in their table: the first and the last place of some of them as a query for two numbers,
/// and how many places hold some 20,000 messages. A row of SQLite has a number, one of PostgreSQL lies on a
/// page.
pub fn place_span(dialect: Dialect) -> (&'static str, i64) {
    match dialect {
        Dialect::Sqlite => ("min(rowid), max(rowid)", 20_000),
        Dialect::Postgres => (
            "cast((cast(cast(min(ctid) as text) as point))[0] as bigint), \
             cast((cast(cast(max(ctid) as text) as point))[0] as bigint)",
            300,
        ),
    }
}

/// The condition that rows of a table lie at a place or after it, and before another.
pub fn places_between(dialect: Dialect, table: &str, (from, upto): (i64, i64)) -> String {
    match dialect {
        Dialect::Sqlite => format!("{table}.rowid >= {from} and {table}.rowid < {upto}"),
        Dialect::Postgres => {
            format!("{table}.ctid >= cast('({from},0)' as tid) and {table}.ctid < cast('({upto},0)' as tid)")
        }
    }
}

/// A column of a bulk row or of a streamed row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    Int(i64),
    Text(&'a str),
    Null,
}

impl<'a> From<i64> for Field<'a> {
    fn from(value: i64) -> Field<'a> {
        Field::Int(value)
    }
}

impl<'a> From<Option<i64>> for Field<'a> {
    fn from(value: Option<i64>) -> Field<'a> {
        value.map_or(Field::Null, Field::Int)
    }
}

impl<'a> From<&'a str> for Field<'a> {
    fn from(value: &'a str) -> Field<'a> {
        Field::Text(value)
    }
}

impl<'a> From<Option<&'a str>> for Field<'a> {
    fn from(value: Option<&'a str>) -> Field<'a> {
        value.map_or(Field::Null, Field::Text)
    }
}

impl<'a> Field<'a> {
    pub fn int(self) -> Result<i64, StoreError> {
        match self {
            Field::Int(value) => Ok(value),
            other => Err(StoreError::Corrupt(format!("{other:?} where an integer belongs"))),
        }
    }

    pub fn text(self) -> Result<&'a str, StoreError> {
        match self {
            Field::Text(value) => Ok(value),
            other => Err(StoreError::Corrupt(format!("{other:?} where a text belongs"))),
        }
    }

    pub fn opt_int(self) -> Result<Option<i64>, StoreError> {
        if self == Field::Null { Ok(None) } else { self.int().map(Some) }
    }

    pub fn opt_text(self) -> Result<Option<&'a str>, StoreError> {
        if self == Field::Null { Ok(None) } else { self.text().map(Some) }
    }
}

/// Rows on their way into one table, in large portions: binary COPY on PostgreSQL, inserts of
/// many rows on SQLite.
pub struct Bulk {
    table: &'static str,
    columns: &'static str,
    width: usize,
    portion: Portion,
}

enum Portion {
    Copy(CopyRows),
    Inserts { values: Vec<Owned>, bytes: usize, full: String },
}

enum Owned {
    Int(i64),
    Text(String),
    Null,
}

/// Bytes of a portion: large enough to be cheap, small enough to stay flat.
const PORTION_BYTES: usize = 1 << 20;
/// Values of one SQLite insert, well under its limit of 32,766.
const INSERT_VALUES: usize = 4_000;
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

impl Bulk {
    /// `columns` as in an insert statement: `account_id, line`.
    pub fn new(dialect: Dialect, table: &'static str, columns: &'static str) -> Bulk {
        let width = columns.split(',').count();
        let portion = match dialect {
            Dialect::Postgres => Portion::Copy(CopyRows::new()),
            Dialect::Sqlite => Portion::Inserts { values: Vec::new(), bytes: 0, full: String::new() },
        };
        Bulk { table, columns, width, portion }
    }

    /// Adds a row; call `flush_full` now and then, and `flush` at the end.
    pub fn push(&mut self, row: &[Field<'_>]) {
        debug_assert_eq!(row.len(), self.width);
        match &mut self.portion {
            Portion::Copy(rows) => rows.push(row),
            Portion::Inserts { values, bytes, .. } => values.extend(row.iter().map(|field| match field {
                Field::Int(v) => Owned::Int(*v),
                Field::Text(v) => {
                    *bytes += v.len();
                    Owned::Text((*v).to_owned())
                }
                Field::Null => Owned::Null,
            })),
        }
    }

    fn rows_per_insert(&self) -> usize {
        (INSERT_VALUES / self.width).max(1)
    }

    /// Sends what fills a portion.
    pub async fn flush_full(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let full = match &self.portion {
            Portion::Copy(rows) => rows.bytes() >= PORTION_BYTES,
            Portion::Inserts { values, bytes, .. } => {
                values.len() >= self.rows_per_insert() * self.width || *bytes >= PORTION_BYTES
            }
        };
        if full { self.flush(tx).await } else { Ok(()) }
    }

    /// Sends everything pushed so far.
    pub async fn flush(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let (table, columns, width) = (self.table, self.columns, self.width);
        let per_insert = self.rows_per_insert();
        match &mut self.portion {
            Portion::Copy(rows) => {
                if rows.count() == 0 {
                    return Ok(());
                }
                let rows = std::mem::replace(rows, CopyRows::new());
                tx.behind(Copying { statement: copy_statement(table, columns), rows: rows.finished() }).await
            }
            Portion::Inserts { values, bytes, full } => {
                *bytes = 0;
                if full.is_empty() {
                    *full = insert_sql(table, columns, width, per_insert);
                }
                let mut rest = std::mem::take(values).into_iter();
                while rest.len() > 0 {
                    let rows = per_insert.min(rest.len() / width);
                    let portion = rest.by_ref().take(rows * width);
                    if rows == per_insert {
                        insert(tx, full.clone(), portion).await?;
                    } else {
                        insert(tx, insert_sql(table, columns, width, rows), portion).await?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// Rows encoded for COPY; the table is named when they are sent.
pub struct CopyRows {
    bytes: Vec<u8>,
    count: i64,
}

impl CopyRows {
    pub fn new() -> CopyRows {
        CopyRows { bytes: COPY_HEADER.to_vec(), count: 0 }
    }

    pub fn push(&mut self, row: &[Field<'_>]) {
        encode_copy_row(&mut self.bytes, row);
        self.count += 1;
    }

    pub fn count(&self) -> i64 {
        self.count
    }

    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Sends the rows and keeps them.
    pub async fn copy_into(&mut self, tx: &mut Tx, table: &str, columns: &str) -> Result<(), StoreError> {
        if self.count == 0 {
            return Ok(());
        }
        let end = self.bytes.len();
        self.bytes.extend_from_slice(&(-1i16).to_be_bytes());
        let sent = copy_in(tx, &copy_statement(table, columns), &self.bytes).await;
        self.bytes.truncate(end);
        sent
    }

    /// All that is to be sent.
    fn finished(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&(-1i16).to_be_bytes());
        self.bytes
    }

    pub fn clear(&mut self) {
        self.bytes.truncate(COPY_HEADER.len());
        self.count = 0;
    }
}

fn encode_copy_row(bytes: &mut Vec<u8>, row: &[Field<'_>]) {
    bytes.extend_from_slice(&(row.len() as i16).to_be_bytes());
    for field in row {
        match field {
            Field::Int(value) => {
                bytes.extend_from_slice(&8i32.to_be_bytes());
                bytes.extend_from_slice(&value.to_be_bytes());
            }
            Field::Text(value) => {
                bytes.extend_from_slice(&(value.len() as i32).to_be_bytes());
                bytes.extend_from_slice(value.as_bytes());
            }
            Field::Null => bytes.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }
}

fn copy_statement(table: &str, columns: &str) -> String {
    format!("copy {table} ({columns}) from stdin (format binary)")
}

fn insert_sql(table: &str, columns: &str, width: usize, rows: usize) -> String {
    let mut sql = format!("insert into {table} ({columns}) values ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..width {
            sql.push_str(if column == 0 { "?" } else { ",?" });
        }
        sql.push(')');
    }
    sql
}

async fn insert(tx: &mut Tx, sql: String, values: impl Iterator<Item = Owned>) -> Result<(), StoreError> {
    let Conn::Sqlite(conn) = tx.conn().await? else {
        return Err(StoreError::Corrupt("a SQLite insert on another database".into()));
    };
    let query = values.fold(sqlx::query(AssertSqlSafe(sql)), |query, value| match value {
        Owned::Int(v) => query.bind(v),
        Owned::Text(v) => query.bind(v),
        Owned::Null => query.bind(None::<i64>),
    });
    let done = query.execute(conn).await.map(|_| ());
    tx.note(done)
}

/// Streams the rows of a query without parameters, each as its fields: binary COPY on PostgreSQL,
/// a plain cursor on SQLite. Memory stays flat. `types` says for each column whether it is an
/// integer (`i`) or a text (`t`), which binary data does not.
pub async fn for_each_row(
    tx: &mut Tx,
    query: &str,
    types: &'static str,
    mut each: impl FnMut(&[Field<'_>]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let types = types.as_bytes();
    match tx.conn().await? {
        Conn::Sqlite(conn) => {
            let mut rows = sqlx::query(AssertSqlSafe(query.to_owned())).fetch(conn);
            let mut fields = Vec::with_capacity(types.len());
            while let Some(row) = rows.try_next().await? {
                for (column, kind) in types.iter().enumerate() {
                    fields.push(match kind {
                        b'i' => row.try_get::<Option<i64>, _>(column)?.into(),
                        _ => row.try_get::<Option<&str>, _>(column)?.into(),
                    });
                }
                each(&fields)?;
                fields = recycle(fields);
            }
            Ok(())
        }
        Conn::Postgres(conn) => {
            let sql = format!("copy ({query}) to stdout (format binary)");
            let mut chunks = conn.copy_out_raw(&sql).await?;
            let mut decoder = CopyDecoder { types, rest: Vec::new(), begun: false, ended: false };
            let mut fault = None;
            // Read to the end even after a fault: a COPY left half-read spoils the connection.
            while let Some(chunk) = chunks.try_next().await? {
                if fault.is_none() {
                    fault = decoder.feed(&chunk, &mut each).err();
                }
            }
            fault.map_or(Ok(()), Err)
        }
    }
}

/// An empty vector with the same memory for fields of another row.
fn recycle<'b>(mut fields: Vec<Field<'_>>) -> Vec<Field<'b>> {
    fields.clear();
    fields.into_iter().map(|_| Field::Null).collect()
}

/// Reads binary COPY data, which arrives cut anywhere.
struct CopyDecoder {
    types: &'static [u8],
    rest: Vec<u8>,
    begun: bool,
    ended: bool,
}

impl CopyDecoder {
    fn feed(
        &mut self,
        chunk: &[u8],
        each: &mut impl FnMut(&[Field<'_>]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // PostgreSQL sends whole rows a chunk, so that `rest` is mostly empty and nothing is copied.
        if self.rest.is_empty() {
            let used = self.rows(chunk, each)?;
            self.rest.extend_from_slice(&chunk[used..]);
        } else {
            let mut bytes = std::mem::take(&mut self.rest);
            bytes.extend_from_slice(chunk);
            let used = self.rows(&bytes, each)?;
            bytes.drain(..used);
            self.rest = bytes;
        }
        Ok(())
    }

    /// Hands out the whole rows in `bytes` and gives the number of bytes that they took.
    fn rows(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(&[Field<'_>]) -> Result<(), StoreError>,
    ) -> Result<usize, StoreError> {
        let mut at = 0;
        if !self.begun {
            if bytes.len() < COPY_HEADER.len() {
                return Ok(0);
            }
            self.begun = true;
            at = COPY_HEADER.len();
        }
        let mut fields = Vec::with_capacity(self.types.len());
        while !self.ended {
            let Some((count, mut next)) = take::<2>(bytes, at) else { break };
            if i16::from_be_bytes(count) < 0 {
                self.ended = true;
                at = next;
                break;
            }
            fields.clear();
            for kind in self.types {
                let Some(field) = read_field(bytes, &mut next, *kind)? else { return Ok(at) };
                fields.push(field);
            }
            each(&fields)?;
            at = next;
        }
        Ok(at)
    }
}

/// The field that begins at `at`, or None where it is not all there yet.
fn read_field<'a>(bytes: &'a [u8], at: &mut usize, kind: u8) -> Result<Option<Field<'a>>, StoreError> {
    let Some((length, next)) = take::<4>(bytes, *at) else { return Ok(None) };
    *at = next;
    let Ok(length) = usize::try_from(i32::from_be_bytes(length)) else { return Ok(Some(Field::Null)) };
    let Some(raw) = bytes.get(next..next + length) else { return Ok(None) };
    *at = next + length;
    let corrupt = |what: &str| StoreError::Corrupt(format!("{what} in a row that was streamed out"));
    if kind == b'i' {
        let raw = <[u8; 8]>::try_from(raw).map_err(|_| corrupt("an integer of another size"))?;
        return Ok(Some(Field::Int(i64::from_be_bytes(raw))));
    }
    let text = std::str::from_utf8(raw).map_err(|_| corrupt("a text that is not UTF-8"))?;
    Ok(Some(Field::Text(text)))
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<([u8; N], usize)> {
    let slice = bytes.get(at..at + N)?;
    Some((slice.try_into().ok()?, at + N))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_data_reads_back_wherever_it_is_cut() {
        let rows: [&[Field<'_>]; 3] = [
            &[Field::Int(-5), Field::Text("eight by"), Field::Null],
            &[Field::Int(i64::MAX), Field::Text(""), Field::Text("短信")],
            &[Field::Null, Field::Null, Field::Text("x")],
        ];
        let mut bytes = COPY_HEADER.to_vec();
        rows.iter().for_each(|row| encode_copy_row(&mut bytes, row));
        bytes.extend_from_slice(&(-1i16).to_be_bytes());
        for cut in 0..bytes.len() {
            let mut decoder = CopyDecoder { types: b"itt", rest: Vec::new(), begun: false, ended: false };
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                let mut each = |row: &[Field<'_>]| {
                    seen.push(format!("{row:?}"));
                    Ok(())
                };
                decoder.feed(part, &mut each).unwrap();
            }
            let expected: Vec<_> = rows.iter().map(|row| format!("{row:?}")).collect();
            assert_eq!(seen, expected, "cut at {cut}");
        }
    }
}
