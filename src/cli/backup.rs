//! `backup`: a checked copy of the books, in a file of its own, whole or not at all (F19).

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::output::count;
use super::{Failure, Session};
use crate::desk::DeskError;
use crate::files::WholeFile;
use crate::store::{Dialect, backup, deliveries};

pub async fn run(session: &Session, path: &Path) -> Result<ExitCode, Failure> {
    let name = path.display().to_string();
    let config = session.config()?;
    let db = session.open(&config).await?;
    if db.dialect() == Dialect::Postgres {
        // Without the password's stars.
        let url = session.url(&config)?.to_string().replace(":***@", "@");
        let message = format!(
            "PostgreSQL backs itself up, consistently and while everything goes on: run `pg_dump --format=custom \
             --file='{name}' --dbname='{url}'` (a password comes from ~/.pgpass), and bring it back with \
             `pg_restore --create --dbname=postgres`"
        );
        return Err(DeskError::refused("use_pg_dump", message).into());
    }
    if path.exists() {
        return Err(exists(&name));
    }
    let unwritten = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(&name),
        _ => DeskError::Write(name.clone(), error).into(),
    };
    // The copy is to know that it is one, also where these books have not written to anybody yet.
    if deliveries::places(&mut db.read().await?).await?.is_empty() {
        let mut tx = db.write().await?;
        let here = deliveries::place(&mut tx).await?;
        deliveries::is_at_home(&mut tx, &here, session.now()).await?;
        tx.commit().await?;
    }
    let file = WholeFile::create(path).map_err(unwritten)?;
    let progress = session.progress();
    progress.begin("copy", None);
    let copied = backup::copy_into(&db, file.temporary()).await;
    db.close().await;
    copied?;
    progress.end();
    file.keep_new().map_err(unwritten)?;
    let bytes = std::fs::metadata(path).map_err(unwritten)?.len();
    let json = json!({ "file": name, "bytes": bytes });
    session.output.show(&json, || {
        format!(
            "{name}: {} bytes, checked. To work with it: --database sqlite://{}",
            count(i64::try_from(bytes).unwrap_or(i64::MAX)),
            in_url(&name)
        )
    });
    Ok(ExitCode::SUCCESS)
}

fn exists(name: &str) -> Failure {
    let message = format!("{name} exists already and is left as it is: name another file");
    DeskError::refused("file_exists", message).into()
}

/// A file's name as it stands in a URL, and on a command line without quotes.
fn in_url(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-~".contains(c);
    let mut url = String::new();
    for c in name.chars() {
        match plain(c) {
            true => url.push(c),
            false => url.extend(c.to_string().bytes().map(|byte| format!("%{byte:02X}"))),
        }
    }
    url
}
