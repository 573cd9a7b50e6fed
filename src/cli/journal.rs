//! `journal export`.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::output::count;
use super::{Failure, Session};
use crate::desk::DeskError;
use crate::desk::journal::{By, Wanted, Written, export};
use crate::domain::period::Day;
use crate::export::journal::Format;
use crate::files::{WholeFile, regular};

#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// Write all ledger entries of all accounts as a journal that other programs check
    Export(ExportArgs),
}

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// hledger: one file for hledger and ledger
    #[arg(long, value_enum)]
    format: FormatArg,
    /// The first day, in the billing zone; what stood in the accounts before is brought forward
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<Day>,
    /// The last day, whole
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<Day>,
    /// A transaction for each entry, or the sum of each customer's day
    #[arg(long, value_enum, default_value = "entry")]
    by: ByArg,
    /// Write to this file, whole or not at all, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    Hledger,
    Beancount,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ByArg {
    Entry,
    Day,
}

pub async fn run(session: &Session, command: JournalCommand) -> Result<ExitCode, Failure> {
    let JournalCommand::Export(args) = command;
    if session.output.json && args.out.is_none() {
        return Err(Failure::usage(
            "a journal is no JSON: write it to a file with --out, or leave out --json",
        ));
    }
    let config = session.config()?;
    let db = session.open(&config).await?;
    let wanted = Wanted {
        format: match args.format {
            FormatArg::Hledger => Format::Hledger,
            FormatArg::Beancount => Format::Beancount,
        },
        by: match args.by {
            ByArg::Entry => By::Entry,
            ByArg::Day => By::Day,
        },
        from: args.from,
        to: args.to,
    };
    let progress = session.progress();
    let Some(path) = args.out else {
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout());
        let exported = export(&db, config.zone, wanted, &mut out, &*progress).await;
        db.close().await;
        return match exported {
            // A reader that went away (`| head`) is no fault of ours.
            Err(DeskError::Write(_, error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Ok(ExitCode::SUCCESS)
            }
            exported => Ok(exported.map(|_| ExitCode::SUCCESS)?),
        };
    };
    let name = path.display().to_string();
    let unwritten = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let text = format!(
                "{name}: {error}, and is left as it is: name another file; without --out the journal goes to standard \
                 output"
            );
            DeskError::refused("file_exists", text)
        }
        _ => DeskError::Write(name.clone(), error),
    };
    let path = to_write(path).map_err(unwritten)?;
    let mut file = WholeFile::create(&path).map_err(unwritten)?;
    let exported = export(&db, config.zone, wanted, &mut file, &*progress).await;
    db.close().await;
    let written = exported.map_err(|error| match error {
        DeskError::Write(_, error) => unwritten(error),
        other => other,
    })?;
    file.flush().and_then(|()| file.replace()).map_err(unwritten)?;
    tell(session, &name, &written);
    Ok(ExitCode::SUCCESS)
}

/// The file to write: of this name or where its link leads. It is new, or a journal that an earlier export wrote:
/// nothing else is replaced, the books least of all.
fn to_write(path: PathBuf) -> io::Result<PathBuf> {
    let Some(file) = regular(&path)? else { return Ok(path) };
    let mut begins = Vec::new();
    File::open(&file)?.take(Format::BEGINS.len() as u64).read_to_end(&mut begins)?;
    match begins.is_empty() || begins == Format::BEGINS.as_bytes() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is no journal of ours")),
    }
}

fn tell(session: &Session, file: &str, written: &Written) {
    let Written { accounts, transactions, days } = *written;
    let json = json!({
        "file": file,
        "accounts": accounts,
        "transactions": transactions,
        "from": days.map(|(from, _)| from.to_string()),
        "to": days.map(|(_, to)| to.to_string()),
    });
    session.output.show(&json, || {
        let (accounts, transactions) = (count(accounts as i64), count(transactions as i64));
        match days {
            None => format!("The books are empty, and so is {file}."),
            Some((from, to)) => {
                format!("{file}: {transactions} transactions, {from} to {to}, in {accounts} accounts.")
            }
        }
    });
}
