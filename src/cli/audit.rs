//! `audit`: whether the books are right.

use std::process::ExitCode;

use serde_json::json;

use super::output::{count, exit};
use super::{Failure, Session};
use crate::audit::{Audit, AuditError, audit};
use crate::runner::describe;

#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    /// Only ask for the invariants; do not work every account out anew
    #[arg(long)]
    quick: bool,
    /// Work every account out anew, which is the default
    #[arg(long, conflicts_with = "quick")]
    full: bool,
}

/// Exit 0 where the books are right, 1 where they are not.
pub async fn run(session: &Session, args: AuditArgs) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let mut tx = db.read().await?;
    let progress = session.progress();
    let found = audit(&mut tx, &config, !args.quick, &*progress).await?;
    tx.rollback().await?;
    db.close().await;
    let json = json!({
        "sound": found.findings.is_empty(),
        "invariants": found.invariants,
        "accounts": found.accounts,
        "messages": found.messages,
        "findings": found.findings,
    });
    session.output.show(&json, || words(&found));
    Ok(if found.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

fn words(found: &Audit) -> String {
    let mut asked = format!("{} invariants", found.invariants);
    if found.accounts > 0 {
        let (accounts, messages) = (count(found.accounts), count(found.messages));
        asked.push_str(&format!(", accounts worked out anew: {accounts}, with {messages} messages"));
    }
    if found.findings.is_empty() {
        return format!("The books are right: {asked}.");
    }
    let many = if found.findings.len() == 1 {
        "one fault".into()
    } else {
        format!("{} faults", found.findings.len())
    };
    format!(
        "The books are NOT right: {many} in {asked}. The first is where to begin:\n{}",
        found.findings.join("\n")
    )
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Failure {
        match error {
            AuditError::Store(error) => error.into(),
            other => Failure::other(describe(&other)),
        }
    }
}
