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
    #[error(
        "the database {place} gives no TLS that can be trusted; name the authority that signed its \
         certificate (one that signed itself is none) with sslrootcert=FILE in the URL, and the server as the \
         certificate does"
    )]
    Tls { place: String, source: sqlx::Error },
    #[error(
        "{place} is the database of another program (it has the table `{table}`); name a file of its own"
    )]
    Foreign { place: String, table: String },
    #[error("SQLite has no roles: whoever can read the file reads the books; leave --roles out")]
    NoRoles,
    #[error("the database has no quittance schema; run `quittance migrate` once")]
    NoSchema,
    #[error("the database has schema version {found}, this quittance works with {wanted}; {remedy}")]
    OtherSchema { found: i64, wanted: i64, remedy: &'static str },
    #[error("another run or writer holds the database; try again")]
    Busy,
    #[error("`{job}` is being run by {owner}; try again when it is done")]
    Held { job: &'static str, owner: String },
    #[error("the lease of `{job}` was lost to another run; nothing was written, try again when it is done")]
    Fenced { job: &'static str },
    #[error(
        "messages as old as some of these were retired while they were read; nothing was taken, hand them in again"
    )]
    RetiredMeanwhile,
    #[error("two transactions got in each other's way; nothing was written, try again")]
    Collision,
    #[error("the connection to the database was lost or can't be had; try again")]
    Lost(#[source] sqlx::Error),
    #[error("the database did not answer within {0} s; try again")]
    Silent(u64),
    #[error("the transaction was aborted by an earlier fault; nothing was written")]
    Aborted,
    #[error("{what}; {remedy}")]
    Unfit { what: &'static str, remedy: &'static str, source: sqlx::Error },
    #[error("this is for SQLite alone")]
    NotSqlite,
    #[error(
        "the copy is damaged and was thrown away: {0}; check the disk, and the books with `quittance digest`"
    )]
    BadCopy(String),
    /// Whoever took the rows wants no more of them, and knows why.
    #[error("the rows were not read to the end")]
    Stopped,
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
        matches!(
            self,
            StoreError::Busy
                | StoreError::Held { .. }
                | StoreError::Fenced { .. }
                | StoreError::Collision
                | StoreError::RetiredMeanwhile
        )
    }

    /// Whether time heals it: the same again, a little later, may well work.
    pub fn is_transient(&self) -> bool {
        self.is_busy() || matches!(self, StoreError::Lost(_) | StoreError::Silent(_))
    }

    /// A database that can't be connected to.
    pub(super) fn not_open(place: String, source: sqlx::Error) -> StoreError {
        match source {
            sqlx::Error::Tls(_) => StoreError::Tls { place, source },
            // So a handshake ends in which the certificate was not accepted.
            sqlx::Error::Io(ref fault) if fault.kind() == std::io::ErrorKind::InvalidData => {
                StoreError::Tls { place, source }
            }
            source => StoreError::Open { place, source },
        }
    }

    /// Whether a unique key was in the way.
    pub(super) fn is_unique_violation(&self) -> bool {
        let StoreError::Sql(error) = self else { return false };
        error.as_database_error().is_some_and(|error| error.is_unique_violation())
    }
}

/// A lock that could not be had: SQLSTATE of PostgreSQL, and SQLite's codes for busy and locked with
/// their extended forms.
const BUSY_CODES: &[&str] = &["55P03", "5", "6", "261", "517", "773", "262"];
/// Deadlock and failed serialisation.
const COLLISION_CODES: &[&str] = &["40P01", "40001"];
/// The server goes down, comes up, ended the session, or has no connection left.
const LOST_CODES: &[&str] = &["57P01", "57P02", "57P03", "57P05", "25P03", "53300", "08006", "08003"];

/// What a database is not fit for, by its codes, and what mends it.
const UNFIT: &[(&[&str], &str, &str)] = &[
    (
        &["11", "26", "267", "523", "779"],
        "the database file is damaged, or is none",
        "bring back the newest backup",
    ),
    (
        &["8", "264", "520", "776", "1032", "1288", "1544"],
        "this user may not write the database",
        "check the rights of the file, of those beside it, and of the directory",
    ),
    (
        // 4874: no room for the file that its readers share.
        &["13", "4874", "53100"],
        "the disk of the database or of temporary files is full, nothing was written",
        "make room and try again",
    ),
];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        let code = error.as_database_error().and_then(|e| e.code());
        let is_one_of = |codes: &[&str]| code.as_ref().is_some_and(|code| codes.contains(&code.as_ref()));
        if let Some((_, what, remedy)) = UNFIT.iter().find(|(codes, ..)| is_one_of(codes)) {
            return StoreError::Unfit { what, remedy, source: error };
        }
        match &error {
            _ if is_one_of(BUSY_CODES) => StoreError::Busy,
            _ if is_one_of(COLLISION_CODES) => StoreError::Collision,
            _ if is_one_of(LOST_CODES) => StoreError::Lost(error),
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => {
                StoreError::Lost(error)
            }
            _ => StoreError::Sql(error),
        }
    }
}
