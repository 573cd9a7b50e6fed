//! Where the books are: a URL whose password stays with those who may know it (F106, F107).

use std::fmt;
use std::fs::{File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::reader::Reading;
use super::values::text;

/// A database URL. Printing it shows everything but its password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

/// What quittance.toml says about the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    Url(DatabaseUrl),
    /// A file that holds the URL, read when the database is opened: not everybody who may read
    /// prices may read it.
    File(PathBuf),
}

impl Database {
    pub fn url(&self) -> Result<DatabaseUrl, String> {
        match self {
            Database::Url(url) => Ok(url.clone()),
            Database::File(path) => read_url(path),
        }
    }

    /// The file that holds the URL, where it is one of its own.
    pub fn place(&self) -> Option<&str> {
        match self {
            Database::Url(_) => None,
            Database::File(path) => path.to_str(),
        }
    }
}

/// Parameters of a URL that are no secrets.
const PLAIN: &[&str] =
    &["host", "hostaddr", "port", "dbname", "user", "sslmode", "sslrootcert", "connections"];

impl DatabaseUrl {
    pub fn new(url: impl Into<String>) -> DatabaseUrl {
        DatabaseUrl(url.into())
    }

    /// The whole URL, password and all, for whoever opens the database.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn has_password(&self) -> bool {
        let rest = self.0.split_once("://").map_or(self.0.as_str(), |(_, rest)| rest);
        let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
        let parameters = rest.split_once('?').map_or("", |(_, parameters)| parameters);
        user.contains(':') || parameters.split('&').any(|pair| pair.starts_with("password="))
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> DatabaseUrl {
        DatabaseUrl(url)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            // Also SQLite knows it without the slashes; a server, which may have a password, does not.
            return write!(f, "{}", if self.0.starts_with("sqlite:") { &self.0 } else { "(no URL)" });
        };
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        if parameters.contains('@') {
            // It may well be a password with a question mark in it.
            return write!(f, "{scheme}://***");
        }
        match place.rsplit_once('@') {
            Some((user, place)) => {
                let (user, secret) = user.split_once(':').map_or((user, ""), |(user, _)| (user, ":***"));
                write!(f, "{scheme}://{user}{secret}@{place}")?;
            }
            None => write!(f, "{scheme}://{place}")?,
        }
        for (index, pair) in parameters.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            let name = pair.split('=').next().unwrap_or(pair);
            let shown = if PLAIN.contains(&name) { pair.to_owned() } else { format!("{name}=***") };
            write!(f, "{}{shown}", if index == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The value of the key `database`.
pub fn url(value: &DeValue<'_>) -> Reading<DatabaseUrl> {
    checked(&text(value)?)
}

/// The URL in a file of a secret.
pub fn read_url(path: &Path) -> Result<DatabaseUrl, String> {
    let secret = read_secret(path)?;
    checked(&secret).map_err(|fault| format!("{}: {fault}", path.display()))
}

fn checked(url: &str) -> Reading<DatabaseUrl> {
    match ["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        true => Ok(DatabaseUrl::new(url)),
        false => Err("this is no database URL: write sqlite://FILE or postgres://USER@HOST/NAME".to_owned()),
    }
}

/// Reads a secret from a file that is only for its owner and group.
pub fn read_secret(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("{} can't be read ({error})", path.display());
    let file = File::open(path).map_err(unreadable)?;
    // Asked of the open file, so that nobody can put another in its place.
    let permissions = file.metadata().map_err(unreadable)?.permissions();
    if is_open_to_others(&permissions) {
        let (path, mode) = (path.display(), permissions.mode() & 0o777);
        return Err(format!(
            "{path} holds a secret and is open to others (mode {mode:o}): run `chmod 640 {path}`"
        ));
    }
    let mut secret = String::new();
    file.take(10_000).read_to_string(&mut secret).map_err(unreadable)?;
    match secret.trim() {
        "" => Err(format!("{} is empty: write the secret into it", path.display())),
        secret => Ok(secret.to_owned()),
    }
}

/// Whether others can read or change a file, or its group can change it.
pub fn is_open_to_others(permissions: &Permissions) -> bool {
    permissions.mode() & 0o027 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f106_a_url_is_shown_without_its_password() {
        for (url, shown, has_password) in [
            ("sqlite://quittance.db", "sqlite://quittance.db", false),
            ("sqlite:///var/lib/quittance/quittance.db", "sqlite:///var/lib/quittance/quittance.db", false),
            ("postgres:///books?host=/run/postgresql", "postgres:///books?host=/run/postgresql", false),
            ("postgres://clerk@db/books?sslmode=require", "postgres://clerk@db/books?sslmode=require", false),
            ("postgres://clerk:s3cret@db/books", "postgres://clerk:***@db/books", true),
            ("postgres://clerk:s3@cr:et/@db:5432/books", "postgres://clerk:***@db:5432/books", true),
            ("postgres://clerk:s3?cret@db/books", "postgres://***", true),
            (
                "postgres://db/books?user=clerk&password=s3cret",
                "postgres://db/books?user=clerk&password=***",
                true,
            ),
            ("postgres://db/books?pasword=s3cret", "postgres://db/books?pasword=***", false),
            ("s3cret", "(no URL)", false),
            ("postgres:clerk:s3cret@db/books", "(no URL)", true),
            ("postgres://clerk:33/s3cret@db/books", "postgres://clerk:***@db/books", true),
            ("postgres://clerk:33#s3cret@db/books", "postgres://clerk:***@db/books", true),
            ("sqlite:quittance.db", "sqlite:quittance.db", false),
        ] {
            let url = DatabaseUrl::new(url);
            assert_eq!((url.to_string().as_str(), url.has_password()), (shown, has_password));
            assert_eq!(format!("{url:?}"), shown);
        }
    }
}
