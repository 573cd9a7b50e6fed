//! What a database URL comes to: checked parameters, and TLS that can't be talked away.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::SqliteConnectOptions;

use super::db::Dialect;
use super::error::StoreError;

/// Parameters that a PostgreSQL URL may have, beside `options[..]`.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "connections",
];

/// Connections of the pool where the URL has no `connections=`.
const CONNECTIONS: u32 = 8;

/// Takes our own parameter `connections=N` out of a URL. One connection is enough, if slower; leases
/// are kept on one beside them.
fn split_connections(url: &str) -> Result<(String, u32), StoreError> {
    let Some((place, query)) = url.split_once('?') else { return Ok((url.to_owned(), CONNECTIONS)) };
    let mut connections = CONNECTIONS;
    let mut rest = Vec::new();
    for pair in query.split('&') {
        let Some(number) = pair.strip_prefix("connections=") else {
            rest.push(pair);
            continue;
        };
        let number = number.parse().ok().filter(|number| (1..=1_000).contains(number));
        connections =
            number.ok_or_else(|| StoreError::Url("`connections` is a number from 1 to 1000".into()))?;
    }
    Ok((format!("{place}?{}", rest.join("&")), connections))
}

/// Which database a URL is of. What it says otherwise is not told: it may be a password.
pub(super) fn dialect(url: &str) -> Result<Dialect, StoreError> {
    match url {
        _ if url.starts_with("sqlite:") => Ok(Dialect::Sqlite),
        _ if url.starts_with("postgres://") || url.starts_with("postgresql://") => Ok(Dialect::Postgres),
        _ => Err(StoreError::Url("it begins neither with sqlite:// nor with postgres://".into())),
    }
}

/// Whether a URL can be used, without using it.
pub(super) fn check(url: &str) -> Result<(), StoreError> {
    match dialect(url)? {
        Dialect::Sqlite => sqlite_options(url).map(drop),
        Dialect::Postgres => postgres_options(url).map(drop),
    }
}

/// How to connect to the PostgreSQL server that a URL names, and with how many connections.
pub(super) fn postgres_options(url: &str) -> Result<(PgConnectOptions, u32), StoreError> {
    check_user(url)?;
    check_parameters(url)?;
    let (url, connections) = split_connections(url)?;
    let options = PgConnectOptions::from_str(&url)
        .map_err(|e| StoreError::Url(e.to_string()))?
        .application_name("quittance")
        // Notices are not for the log: the rollback after each release draws one when not needed.
        .options([
            ("lock_timeout", "30s"),
            ("TimeZone", "UTC"),
            ("jit", "off"),
            ("client_min_messages", "error"),
            // The server notices that a client is gone, and gives its locks back (F08).
            ("client_connection_check_interval", "10s"),
            ("tcp_keepalives_idle", "20"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "4"),
            ("tcp_user_timeout", "40s"),
        ])
        .disable_statement_logging();
    let said = parameter_names(&url).any(|name| name == "sslmode") || std::env::var_os("PGSSLMODE").is_some();
    let options = if is_local(&options) { options } else { secured(options, said)? };
    Ok((options, connections))
}

/// How to open the file that a URL names. Books in memory would be gone with the command that made them.
pub(super) fn sqlite_options(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    let refused = |why: &str| Err(StoreError::Url(why.to_owned()));
    let options = SqliteConnectOptions::from_str(url).map_err(|e| StoreError::Url(e.to_string()))?;
    let name = options.get_filename().as_os_str().as_encoded_bytes();
    let (place, parameters) = url.split_once('?').unwrap_or((url, ""));
    let written = place.trim_start_matches("sqlite:").trim_start_matches("//");
    if matches!(written, "" | ":memory:") || name == b":memory:" {
        return refused("it names no file");
    }
    // SQLite reads parameters of its own in such a name.
    if name.starts_with(b"file:") {
        return refused("the name of the file stands in it without `file:`");
    }
    if parameters.contains('%') {
        return refused("parameters of SQLite are written without %");
    }
    match parameters.split('&').any(|pair| matches!(pair, "mode=memory" | "vfs=memdb")) {
        true => refused("it names books in memory, which would be gone with the command that made them"),
        false => Ok(options),
    }
}

/// The file of a SQLite database; None where the URL names a server.
pub(super) fn file(url: &str) -> Option<PathBuf> {
    SqliteConnectOptions::from_str(url)
        .ok()
        .filter(|_| url.starts_with("sqlite:"))
        .map(|o| o.get_filename().to_owned())
}

/// Server and database in words, without user and password.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    format!("{} on {host}", options.get_database().unwrap_or("of the user's name"))
}

/// An `@` behind the server is most likely the end of a password with a `/`, `?` or `#` in it, of which the rest
/// would be taken, and told, for the name of a database or a parameter (F106).
fn check_user(url: &str) -> Result<(), StoreError> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let behind = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
    let (place, query) = behind.split_once('?').unwrap_or((behind, ""));
    let may_have_one = |pair: &str| pair.starts_with("user=") || pair.starts_with("password=");
    if !place.contains('@') && query.split('&').all(|pair| !pair.contains('@') || may_have_one(pair)) {
        return Ok(());
    }
    let why =
        "it has an `@` behind the server: write / as %2F in a password, ? as %3F, # as %23, and @ as %40";
    Err(StoreError::Url(why.into()))
}

/// Any other parameter is a slip of the pen. sqlx would ignore it, be it `sslmod=verify-full`, and
/// log it with its value, be it `pasword=..` (F106).
fn check_parameters(url: &str) -> Result<(), StoreError> {
    let known = |name: &str| name.is_empty() || name.starts_with("options[") || PARAMETERS.contains(&name);
    match parameter_names(url).find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => Err(StoreError::Url(format!(
            "`{name}` is not a parameter of PostgreSQL; there are {}",
            PARAMETERS.join(", ")
        ))),
    }
}

fn parameter_names(url: &str) -> impl Iterator<Item = &str> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').map(|pair| pair.split('=').next().unwrap_or(pair))
}

/// Whether nobody is on the way: a unix socket or this very machine.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || address.is_ok_and(|address| address.is_loopback())
}

/// A connection over a network is encrypted and the server verified, unless the URL or PGSSLMODE
/// says otherwise in so many words. What falls back without a word is refused (F108): a server, or
/// whoever poses as one, would only need to say that it knows no TLS.
fn secured(options: PgConnectOptions, said: bool) -> Result<PgConnectOptions, StoreError> {
    if !said {
        return Ok(options.ssl_mode(PgSslMode::VerifyFull));
    }
    let host = options.get_host().to_owned();
    let falls_back = |mode: &str| {
        Err(StoreError::Url(format!(
            "sslmode={mode} falls back to an open line to {host} without a word: leave it out for \
             verify-full, or say which risk you take with verify-ca, require or disable"
        )))
    };
    let weakness = match options.get_ssl_mode() {
        PgSslMode::Prefer => return falls_back("prefer"),
        PgSslMode::Allow => return falls_back("allow"),
        PgSslMode::VerifyFull => return Ok(options),
        PgSslMode::VerifyCa => {
            "sslmode=verify-ca: any server with a certificate of this authority is trusted"
        }
        PgSslMode::Require => "sslmode=require: encrypted, but whoever answers is trusted",
        PgSslMode::Disable => "sslmode=disable: books and password cross the network in the clear",
    };
    tracing::warn!("The connection to the database on {host} is weak, as its URL says. {weakness}.");
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> Result<PgSslMode, String> {
        postgres_options(url).map(|(options, _)| options.get_ssl_mode()).map_err(|error| error.to_string())
    }

    #[test]
    fn f108_a_server_over_the_network_is_verified_unless_the_url_says_otherwise() {
        let remote = [
            "postgres://clerk@db.example.com/books",
            "postgresql://10.0.0.5:6432/books",
            "postgres:///books?host=db.example.com",
            "postgres://localhost/books?hostaddr=192.0.2.7",
            "postgres://[2001:db8::1]/books",
            "postgres://localhost.example.com/books",
        ];
        for url in remote {
            assert!(matches!(mode(url), Ok(PgSslMode::VerifyFull)), "{url}");
        }
        assert!(matches!(mode("postgres://db.example.com/b?sslmode=require"), Ok(PgSslMode::Require)));
        assert!(matches!(mode("postgres://db.example.com/b?sslmode=disable"), Ok(PgSslMode::Disable)));
        for fallback in ["prefer", "allow"] {
            let refused = mode(&format!("postgres://db.example.com/books?sslmode={fallback}"));
            let told = refused.expect_err("it falls back");
            assert!(told.contains(fallback) && told.contains("verify-full"), "{told}");
        }
    }

    #[test]
    fn a_server_on_this_machine_needs_no_tls() {
        for url in [
            "postgres:///books?host=/run/postgresql",
            "postgres://%2Frun%2Fpostgresql/books",
            "postgres://db.example.com/books?host=/run/postgresql",
            "postgres://localhost/books",
            "postgres://127.0.0.9/books",
            "postgres://[::1]/books",
        ] {
            assert!(matches!(mode(url), Ok(PgSslMode::Prefer)), "{url}");
        }
        assert!(matches!(mode("postgres://localhost/books?sslmode=prefer"), Ok(PgSslMode::Prefer)));
    }

    #[test]
    fn f106_what_may_be_the_rest_of_a_password_is_not_told() {
        for url in [
            "postgres://clerk:s3?cret@127.0.0.1:1/books",
            "postgres://clerk:s3?cret=x&y@127.0.0.1:1/books",
            "postgres://clerk:s3?sslmode=cret@127.0.0.1/books",
            "postgres://clerk:33/cret@127.0.0.1/books",
            "postgres://clerk:33#cret@127.0.0.1/books",
            "postgres:clerk:cret@127.0.0.1/books",
            "postgres:/clerk:cret@127.0.0.1/books",
            "clerk:cret@127.0.0.1/books",
        ] {
            let told = check(url).expect_err(url).to_string();
            assert!(!told.contains("cret"), "{told}");
        }
        for url in ["postgres://clerk:s3@cret@localhost/b", "postgres:///b?host=/run&user=a@b&password=@"] {
            check(url).expect(url);
        }
    }

    #[test]
    fn books_in_memory_and_of_no_name_are_refused() {
        for url in [
            "sqlite:",
            "sqlite://",
            "sqlite://?mode=rw",
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://%3Amemory%3A",
            "sqlite://m.db?mode=memory",
            "sqlite://m.db?cache=shared&mode=memory",
            "sqlite://m.db?mode=mem%6Fry",
            "sqlite://m.db?vfs=memdb",
            "sqlite://file::memory:",
            "sqlite:file:m.db%3Fmode=memory",
        ] {
            assert!(check(url).is_err(), "{url}");
        }
        for url in ["sqlite:a.db", "sqlite:///tmp/a b.db?mode=rwc", "sqlite://a%3Fb.db"] {
            check(url).expect(url);
        }
    }

    #[test]
    fn a_url_without_a_user_means_whoever_runs_the_program() {
        let id = std::process::Command::new("id").arg("-un").output().unwrap();
        let me = std::env::var("PGUSER").unwrap_or(String::from_utf8(id.stdout).unwrap().trim().to_owned());
        let (options, _) = postgres_options("postgres:///books?host=/run/postgresql").unwrap();
        assert_eq!(options.get_username(), me);
    }
}
