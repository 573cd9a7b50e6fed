//! `audit`: whether the books are right, all of them or those of some accounts.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde_json::json;

use super::output::{count, exit};
use super::{Failure, Session};
use crate::audit::{Audit, AuditError, Depth, audit, audit_accounts, parked};
use crate::desk::DeskError;
use crate::domain::account::Parked;
use crate::listed::Listed;
use crate::runner::describe;
use crate::store::accounts::find_all;
use crate::store::scope::Scope;

#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    /// Audit these accounts alone; all of the books where none is named
    #[arg(value_name = "ACCOUNT")]
    accounts: Vec<String>,
    /// Only ask for the invariants; do not work every account out anew
    #[arg(long)]
    quick: bool,
    /// Work every account out anew, which is the default
    #[arg(long, conflicts_with = "quick")]
    full: bool,
}

/// Exit 0 where the books are right, 1 where they are not, 3 where they are right but accounts are parked, so
/// that not all could be booked, or can't be worked out anew by what is configured (I34).
pub async fn run(session: &Session, args: AuditArgs) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let mut tx = db.read().await?;
    let progress = session.progress();
    let ids: BTreeSet<String> = args.accounts.into_iter().collect();
    let known = find_all(&mut tx, &ids).await?;
    if let Some(unknown) = ids.iter().find(|id| !known.contains_key(*id)) {
        return Err(DeskError::unknown_account(unknown).into());
    }
    let ids: Vec<String> = ids.into_iter().collect();
    let (found, scope) = if ids.is_empty() {
        (audit(&mut tx, &config, !args.quick, &*progress).await?, Scope::All)
    } else {
        let depth = if args.quick { Depth::Quick } else { Depth::Full };
        let found = audit_accounts(&mut tx, &config, &ids, depth, &*progress).await?;
        (found, Scope::without_messages(&tx, &ids))
    };
    let parked = parked(&mut tx, &scope).await?;
    let unchecked: Listed<Parked> = found.as_parked().collect();
    tx.rollback().await?;
    db.close().await;
    let json = json!({
        "sound": found.is_right(),
        "invariants": found.invariants,
        "accounts": found.accounts,
        "messages": found.messages,
        "findings": found.findings.first,
        "findings_left_out": found.findings.left_out,
        "warnings": found.warnings,
        "parked": parked.first.iter().chain(&unchecked.first).map(|parked| json!({
            "account_id": parked.account_id,
            "fault": parked.fault,
        })).collect::<Vec<_>>(),
        "parked_left_out": parked.left_out + unchecked.left_out,
    });
    session.output.show(&json, || words(&ids, &found, &parked, &unchecked));
    Ok(match (found.is_right(), parked.is_empty() && unchecked.is_empty()) {
        (false, _) => ExitCode::from(exit::FAILED),
        (true, false) => ExitCode::from(exit::PARTIAL),
        (true, true) => ExitCode::SUCCESS,
    })
}

fn words(ids: &[String], found: &Audit, parked: &Listed<Parked>, unchecked: &Listed<Parked>) -> String {
    let mut asked = format!("{} invariants", found.invariants);
    if found.accounts > 0 {
        let (accounts, messages) = (count(found.accounts), count(found.messages));
        asked.push_str(&format!(", accounts worked out anew: {accounts}, with {messages} messages"));
    }
    let books = if ids.is_empty() { "The books".into() } else { format!("The books of {}", ids.join(", ")) };
    let mut lines = if found.is_right() {
        vec![format!("{books} are right: {asked}.")]
    } else {
        let many = match found.findings.count() {
            1 => "one fault".into(),
            many => format!("{} faults", count(many)),
        };
        let first = format!("{books} are NOT right: {many} in {asked}. The first is where to begin:");
        std::iter::once(first)
            .chain(found.findings.first.iter().cloned())
            .chain(found.findings.more())
            .collect()
    };
    if !parked.is_empty() {
        lines.push("Not all could be booked. Parked, until what is wrong with them is mended:".into());
        lines.extend(listed(parked));
    }
    if !unchecked.is_empty() {
        lines.push("Not all could be worked out anew, until it is configured again:".into());
        lines.extend(listed(unchecked));
    }
    lines.extend(found.warnings.iter().map(|warning| format!("Not a fault of the books: {warning}")));
    lines.join("\n")
}

fn listed(parked: &Listed<Parked>) -> impl Iterator<Item = String> {
    let named = parked.first.iter().map(|parked| format!("{}: {}", parked.account_id, parked.fault));
    named.chain(parked.more())
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Failure {
        match error {
            AuditError::Store(error) => error.into(),
            AuditError::Basis(error) => error.into(),
            other => Failure::other(describe(&other)),
        }
    }
}
