//! The end of the demo's month: the bills are made and paid, some are invoiced, and what leaves the house
//! is written as files: PDF and UBL to open, a journal for other programs to check, and the audit.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{MONTH, run_job};
use crate::audit::{Audit, audit};
use crate::cli::Failure;
use crate::config::Config;
use crate::desk::invoice_files::{self, Format};
use crate::desk::invoices::{About, issue};
use crate::desk::{DeskError, journal};
use crate::domain::invoice::InvoiceType;
use crate::domain::period::Timestamp;
use crate::export::journal::Format as JournalFormat;
use crate::files::WholeFile;
use crate::progress::Progress;
use crate::store::Db;

/// Bills that are invoiced.
const INVOICES: usize = 20;

/// What the month's end left.
pub struct MonthEnd {
    pub bills: i64,
    pub unpaid: i64,
    pub invoices: u64,
    /// The directory of the invoices, and one to open.
    pub files: PathBuf,
    pub pdf: Option<PathBuf>,
    pub journal: PathBuf,
    pub audit: Audit,
}

/// Closes the month half an hour into the next one, and audits the books.
pub async fn close(
    db: &Db,
    config: &Arc<Config>,
    accounts: impl Iterator<Item = &str>,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<MonthEnd, Failure> {
    let now = config.zone.month_start(MONTH.next()).plus_micros(30 * Timestamp::MINUTE);
    for job in ["aggregate-charges", "settle-receipts", "expire-plans", "auto-renew"] {
        run_job(db, config, job, now).await?;
    }
    let billed = run_job(db, config, "monthly-bills", now).await?;
    let counted = |name| billed.counts.iter().find(|(of, _)| *of == name).map_or(0, |(_, count)| *count);
    let mut first = None;
    let mut issued = 0;
    for id in accounts {
        let about = About::Bill(MONTH);
        match issue(db, config, id, (&about, InvoiceType::General), now).await {
            Ok(invoice) => {
                first.get_or_insert(invoice.number);
                issued += 1;
            }
            // Not all of them have a bill that is paid.
            Err(DeskError::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if issued == INVOICES {
            break;
        }
    }
    let files = dir.join("invoices");
    let wanted = invoice_files::Wanted {
        month: MONTH.next(),
        formats: [Format::Pdf, Format::Ubl, Format::Csv].into(),
        dir: files.clone(),
        replace: true,
        byte_order_mark: false,
    };
    let written = invoice_files::export(db, config, &wanted, progress).await?;
    let journal = write_journal(db, config, dir, progress).await?;
    let mut tx = db.read().await?;
    let audit = audit(&mut tx, config, true, progress).await?;
    tx.rollback().await?;
    let pdf = first.map(|number| files.join(format!("invoice-{number}.pdf")));
    let (bills, unpaid) = (counted("bills"), counted("unpaid"));
    Ok(MonthEnd { bills, unpaid, invoices: written.invoices, files, pdf, journal, audit })
}

/// The whole ledger, a transaction a customer and day.
async fn write_journal(
    db: &Db,
    config: &Config,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<PathBuf, Failure> {
    let path = dir.join("books.journal");
    let failed = |error| Failure::other(format!("{} can't be written: {error}", path.display()));
    let wanted =
        journal::Wanted { format: JournalFormat::Hledger, by: journal::By::Day, from: None, to: None };
    let mut file = WholeFile::create(&path).map_err(failed)?;
    journal::export(db, config.zone, wanted, &mut file, progress).await?;
    file.flush().and_then(|()| file.replace()).map_err(failed)?;
    Ok(path)
}
