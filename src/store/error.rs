//! What can go wrong with a database, in words for its operator.

/// A fault of the store. Its text says what was wrong and how to mend it; the source stays apart.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database URL can't be used: {0}; write sqlite://FILE or postgres://USER@HOST/NAME")]
    Url(String),
    #[error(
        "SQLite {0} is linked, which can lose committed data; quittance needs 3.51.3 or newer, \
         build it with the bundled SQLite"
    )]
    OldSqlite(String),
    #[error("the database {place} can't be opened; check the URL, the server and the file's rights")]
    Open { place: String, source: sqlx::Error },
    #[error("the database has no quittance schema; run `quittance migrate` once")]
    NoSchema,
    #[error("the database has schema version {found}, this quittance works with {wanted}; {remedy}")]
    OtherSchema { found: i64, wanted: i64, remedy: &'static str },
    #[error("another run or writer holds the database; try again")]
    Busy,
    #[error("the transaction was aborted by an earlier fault; nothing was written")]
    Aborted,
    #[error("the database holds what it can't: {0}")]
    Corrupt(String),
    #[error("the database answered: {0}")]
    Sql(#[source] sqlx::Error),
    #[error("the schema could not be migrated: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// Whether the fault is that others hold what is needed, so that trying again can help.
    pub fn is_busy(&self) -> bool {
        matches!(self, StoreError::Busy)
    }
}

impl StoreError {
    /// Whether a unique key was in the way.
    pub(super) fn is_unique_violation(&self) -> bool {
        let StoreError::Sql(error) = self else { return false };
        error.as_database_error().is_some_and(|error| error.is_unique_violation())
    }
}

/// SQLSTATE of PostgreSQL for a lock that could not be had, and SQLite's codes for busy and locked
/// with their extended forms.
const BUSY_CODES: &[&str] = &["55P03", "40P01", "40001", "5", "6", "261", "517", "773", "262"];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        let code = error.as_database_error().and_then(|e| e.code());
        match code {
            Some(code) if BUSY_CODES.contains(&code.as_ref()) => StoreError::Busy,
            _ => StoreError::Sql(error),
        }
    }
}
