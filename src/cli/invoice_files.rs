//! `invoice export`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::output::count;
use super::{Failure, Session, exit};
use crate::config::Config;
use crate::desk::invoice_files::{Format, Wanted, Written, export};
use crate::domain::period::Month;
use crate::printing;
use crate::store::Db;

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// The month in which invoices were issued and credit notes written, in the billing zone
    #[arg(long, value_name = "YYYY-MM")]
    month: Month,
    /// pdf, csv, json, ubl (EN 16931), fapiao (requests for the tax platform); several with commas
    #[arg(long, value_enum, value_delimiter = ',', required = true, value_name = "FORMAT,...")]
    format: Vec<FormatArg>,
    /// The directory of the files, made where it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace files that are there and say something else
    #[arg(long)]
    force: bool,
    /// Begin CSV with a byte order mark, which older spreadsheets need to read UTF-8
    #[arg(long)]
    bom: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    Pdf,
    Csv,
    Json,
    Ubl,
    Fapiao,
}

pub async fn run(session: &Session, config: &Config, db: &Db, args: ExportArgs) -> Result<ExitCode, Failure> {
    let format = |format: &FormatArg| match format {
        FormatArg::Pdf => Format::Pdf,
        FormatArg::Csv => Format::Csv,
        FormatArg::Json => Format::Json,
        FormatArg::Ubl => Format::Ubl,
        FormatArg::Fapiao => Format::Fapiao,
    };
    let wanted = Wanted {
        month: args.month,
        formats: args.format.iter().map(format).collect(),
        dir: args.out,
        replace: args.force,
        byte_order_mark: args.bom,
    };
    let written = export(db, config, &wanted, &*session.progress()).await?;
    printing::unprinted(&written.unprinted).iter().for_each(|warning| tracing::warn!("{warning}"));
    session.output.show(&to_json(&wanted, &written), || words(&wanted, &written));
    let whole = written.unfit.is_empty() && written.left_alone.is_empty();
    Ok(ExitCode::from(if whole { 0 } else { exit::PARTIAL }))
}

fn to_json(wanted: &Wanted, written: &Written) -> Value {
    let unfit = written.unfit.iter().map(|(number, reason)| json!({ "number": number, "reason": reason }));
    json!({
        "month": wanted.month.to_string(),
        "out": wanted.dir,
        "invoices": written.invoices,
        "credit_notes": written.credit_notes,
        "written": written.written,
        "unchanged": written.unchanged,
        "left_alone": written.left_alone,
        "unfit": unfit.collect::<Vec<_>>(),
        "unprinted": written.unprinted.keys().map(char::to_string).collect::<Vec<_>>(),
    })
}

fn words(wanted: &Wanted, written: &Written) -> String {
    let count = |number: u64| count(i64::try_from(number).unwrap_or(i64::MAX));
    let mut lines = vec![format!(
        "{} of {}: {} invoices and {} credit notes; {} files written, {} there already.",
        wanted.dir.display(),
        wanted.month,
        count(written.invoices),
        count(written.credit_notes),
        count(written.written),
        count(written.unchanged)
    )];
    lines.extend(written.unfit.iter().map(|(number, reason)| format!("  {number} left out: {reason}")));
    let left =
        |path: &PathBuf| format!("  {} left alone: it is there and says something else", path.display());
    lines.extend(written.left_alone.iter().map(left));
    if !written.left_alone.is_empty() {
        lines.push(
            "Look at what was left alone, then name another --out, or replace it with --force.".to_owned(),
        );
    }
    lines.join("\n")
}
