//! `invoice export`: the documents of a month as files, each whole or not at all.
//!
//! A month's documents are the invoices issued and the credit notes written in it. They are read a
//! portion at a time, so that memory stays flat however many there are. Doing it again gives the same
//! files, but for an invoice that was returned since, and for the CSV of a month that has more documents by
//! now: what differs is left alone and named, the rest is written, and `--force` writes all anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::domain::invoice::Invoice;
use crate::domain::period::{Month, Timestamp};
use crate::export::invoice::{Document, csv, fapiao, json, ubl};
use crate::export::pdf::{Language, PdfFault, Printer};
use crate::files::{WholeFile, regular};
use crate::printing;
use crate::progress::Progress;
use crate::store::{Db, invoices};

use super::DeskError;

/// What a document can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    Pdf,
    Csv,
    Json,
    Ubl,
    Fapiao,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub month: Month,
    pub formats: BTreeSet<Format>,
    pub dir: PathBuf,
    /// Whether files that are there and differ are replaced.
    pub replace: bool,
    /// Whether CSV begins with the mark that older spreadsheets need.
    pub byte_order_mark: bool,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub invoices: u64,
    pub credit_notes: u64,
    /// Files that are new or replaced, and those that were there already, equal to the last byte.
    pub written: u64,
    pub unchanged: u64,
    /// Files that are there, differ, and were not to be replaced.
    pub left_alone: Vec<PathBuf>,
    /// Documents that could not be written in a format, each with the reason.
    pub unfit: Vec<(String, String)>,
    /// Characters that can't be printed, with the first document that needed them.
    pub unprinted: BTreeMap<char, String>,
}

/// Invoices that are held in memory at once.
const PORTION: usize = 200;

/// Writes the documents of a month.
///
/// # Errors
/// `bad_branding` where the configured font or logo can't be used; `no_tax_category` where fapiao are asked
/// for without one.
pub async fn export(
    db: &Db,
    config: &Config,
    wanted: &Wanted,
    progress: &dyn Progress,
) -> Result<Written, DeskError> {
    let months = (config.zone.month_start(wanted.month), config.zone.month_start(wanted.month.next()));
    let mut desk = Desk::open(config, wanted, months)?;
    let total = invoices::count_between(&mut db.read().await?, months.0, months.1).await?;
    progress.begin("invoices", u64::try_from(total).ok());
    let mut after = None;
    loop {
        // A transaction a portion: a long one would keep the log from being folded in.
        let mut tx = db.read().await?;
        let page = invoices::between(&mut tx, months.0, months.1, after.as_ref(), PORTION).await?;
        tx.rollback().await?;
        let Some(last) = page.last() else { break };
        after = Some(last.place.clone());
        for found in &page {
            desk.write(&found.invoice, Language::of(&found.locale))?;
            progress.advance(1);
        }
    }
    progress.end();
    desk.end()
}

/// The month's files as they are being written.
struct Desk<'a> {
    config: &'a Config,
    wanted: &'a Wanted,
    months: (Timestamp, Timestamp),
    printer: Option<Printer>,
    category: fapiao::Category,
    /// Lines and summary.
    sheets: Option<[Sheet; 2]>,
    written: Written,
}

/// A file to which every document adds.
struct Sheet {
    path: PathBuf,
    file: WholeFile,
}

impl<'a> Desk<'a> {
    fn open(
        config: &'a Config,
        wanted: &'a Wanted,
        months: (Timestamp, Timestamp),
    ) -> Result<Desk<'a>, DeskError> {
        let has = |format| wanted.formats.contains(&format);
        let invoices = &config.invoices;
        let category = fapiao::Category {
            short_name: invoices.tax_category.clone().unwrap_or_default(),
            code: invoices.tax_code.clone().unwrap_or_default(),
        };
        if has(Format::Fapiao) && (category.short_name.is_empty() || category.code.is_empty()) {
            let message = "a fapiao request names what the tax platform files the service under: set `tax_category` \
                           and `tax_code` in [invoices] of quittance.toml";
            return Err(DeskError::refused("no_tax_category", message));
        }
        let printer = has(Format::Pdf).then(|| printing::printer(config)).transpose();
        let printer = printer.map_err(|fault| DeskError::refused("bad_branding", fault.to_string()))?;
        std::fs::create_dir_all(&wanted.dir).map_err(|error| unwritten(&wanted.dir, error))?;
        let sheets = has(Format::Csv).then(|| sheets(wanted)).transpose()?;
        Ok(Desk { config, wanted, months, printer, category, sheets, written: Written::default() })
    }

    /// Writes an invoice, the credit note that takes it back, or both: what of them is of the month.
    fn write(&mut self, invoice: &Invoice, language: Language) -> Result<(), DeskError> {
        let (from, upto) = self.months;
        let of_month = |at: Timestamp| from <= at && at < upto;
        if of_month(invoice.issued_at) {
            self.written.invoices += 1;
            self.write_document(Document::Invoice(invoice), language)?;
        }
        if let Some(note) = invoice.returned.as_ref().filter(|note| of_month(note.at)) {
            self.written.credit_notes += 1;
            self.write_document(Document::CreditNote(invoice, note), language)?;
        }
        Ok(())
    }

    fn write_document(&mut self, document: Document<'_>, language: Language) -> Result<(), DeskError> {
        for format in self.wanted.formats.clone() {
            match self.written_as(format, document, language) {
                None => {}
                Some(Ok((ending, bytes))) => {
                    let path = self.wanted.dir.join(format!("{}.{ending}", document.stem()));
                    self.keep(path, &bytes)?;
                }
                Some(Err(unfit)) => self.written.unfit.push((document.number().to_owned(), unfit)),
            }
        }
        if let Some([lines, summary]) = &mut self.sheets {
            let zone = self.config.zone;
            lines.add(&csv::lines(document, zone))?;
            summary.add(&csv::summary(document, zone))?;
        }
        Ok(())
    }

    /// A document as a file of its own, with the ending of its name, or why it can't be one; None for CSV,
    /// where many share a file.
    fn written_as(
        &mut self,
        format: Format,
        document: Document<'_>,
        language: Language,
    ) -> Option<Result<(&'static str, Vec<u8>), String>> {
        let zone = self.config.zone;
        let (ending, written) = match format {
            Format::Csv => return None,
            Format::Json => ("json", Ok(json::write(document, zone))),
            Format::Fapiao => {
                let written = fapiao::write(document, zone, &self.category);
                ("fapiao.json", written.map_err(|unfit| unfit.to_string()))
            }
            Format::Ubl => ("xml", ubl::write(document, zone).map_err(|unfit| unfit.to_string())),
            Format::Pdf => ("pdf", self.print(document, language).map_err(|fault| fault.to_string())),
        };
        Some(written.map(|bytes| (ending, bytes)))
    }

    fn print(&mut self, document: Document<'_>, language: Language) -> Result<Vec<u8>, PdfFault> {
        let Some(printer) = &self.printer else { return Ok(Vec::new()) };
        let printed = printer.print(document, language)?;
        for c in printed.missing {
            self.written.unprinted.entry(c).or_insert_with(|| document.number().to_owned());
        }
        Ok(printed.pdf)
    }

    /// Puts a file in its place, unless it is there already.
    fn keep(&mut self, path: PathBuf, bytes: &[u8]) -> Result<(), DeskError> {
        let path = place_of(path)?;
        let write = || {
            let mut file = WholeFile::create(&path)?;
            file.write_all(bytes)?;
            Ok(file)
        };
        match std::fs::read(&path) {
            Ok(known) if known == bytes => {
                self.written.unchanged += 1;
                Ok(())
            }
            _ => {
                let file = write().map_err(|error| unwritten(&path, error))?;
                self.place(&path, file)
            }
        }
    }

    /// Gives a file its name; another of that name stays and is noted unless it is to be replaced.
    fn place(&mut self, path: &Path, file: WholeFile) -> Result<(), DeskError> {
        let placed = if self.wanted.replace { file.replace() } else { file.keep_new() };
        match placed {
            Ok(()) => self.written.written += 1,
            // One that somebody wrote into keeps none of the others from being written.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.written.left_alone.push(path.to_owned());
            }
            Err(error) => return Err(unwritten(path, error)),
        }
        Ok(())
    }

    fn end(mut self) -> Result<Written, DeskError> {
        for sheet in self.sheets.take().into_iter().flatten() {
            let Sheet { path, mut file } = sheet;
            let equal = file.flush().and_then(|()| same_content(file.temporary(), &path));
            match equal.map_err(|error| unwritten(&path, error))? {
                true => self.written.unchanged += 1,
                false => self.place(&path, file)?,
            }
        }
        Ok(self.written)
    }
}

impl Sheet {
    fn add(&mut self, bytes: &[u8]) -> Result<(), DeskError> {
        self.file.write_all(bytes).map_err(|error| unwritten(&self.path, error))
    }
}

fn unwritten(path: &Path, error: io::Error) -> DeskError {
    DeskError::Write(path.display().to_string(), error)
}

/// Where to write what is called so: there, or where a link leads.
fn place_of(path: PathBuf) -> Result<PathBuf, DeskError> {
    match regular(&path) {
        Ok(found) => Ok(found.unwrap_or(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let path = path.display();
            let text = format!("{path}: {error}, and is left as it is: remove it, or name another --out");
            Err(DeskError::refused("file_exists", text))
        }
        Err(error) => Err(unwritten(&path, error)),
    }
}

/// The two CSV files with their headers.
fn sheets(wanted: &Wanted) -> Result<[Sheet; 2], DeskError> {
    let begun = |name: String, header: Vec<u8>| {
        let path = place_of(wanted.dir.join(name))?;
        let file = WholeFile::create(&path).map_err(|error| unwritten(&path, error))?;
        let mut sheet = Sheet { path, file };
        if wanted.byte_order_mark {
            sheet.add(csv::BOM)?;
        }
        sheet.add(&header)?;
        Ok::<_, DeskError>(sheet)
    };
    let month = wanted.month;
    Ok([
        begun(format!("invoices-{month}.csv"), csv::lines_header())?,
        begun(format!("invoices-{month}-summary.csv"), csv::summary_header())?,
    ])
}

/// Whether two files are equal to the last byte; false where one is not there.
fn same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let other = match std::fs::File::open(other) {
        Ok(other) => other,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let one = std::fs::File::open(one)?;
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let mut others = BufReader::new(other).bytes();
    for byte in BufReader::new(one).bytes() {
        if Some(byte?) != others.next().transpose()? {
            return Ok(false);
        }
    }
    Ok(true)
}
