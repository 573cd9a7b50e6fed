//! `journal export`: all ledger entries of all accounts as one file that other programs check.
//!
//! Memory stays flat: entries are streamed, and what is known of each account only after the last of
//! them (that it is used, what stood in it, what stands in it) waits in temporary files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};

use crate::domain::period::{Day, Zone};
use crate::export::journal::{Account, Format, Head, Posting, Transaction, words};
use crate::progress::Progress;
use crate::store::journal::{self, Posted, Standing};
use crate::store::{Db, StoreError, Tx};

use super::DeskError;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub format: Format,
    pub by: By,
    /// Days of the zone, both with all of their entries; else all that there are.
    pub from: Option<Day>,
    pub to: Option<Day>,
}

/// What a transaction of the journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// An entry of the books.
    Entry,
    /// A customer's day: its entries summed by account of the chart.
    Day,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub accounts: u64,
    /// Without those that bring forward what stood before, and without assertions.
    pub transactions: u64,
    /// None in empty books.
    pub days: Option<(Day, Day)>,
}

/// Writes the journal of one state of the books.
///
/// # Errors
/// `bad_period` where the days are in the wrong order; what reading and writing may say.
pub async fn export(
    db: &Db,
    zone: Zone,
    wanted: Wanted,
    out: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<Written, DeskError> {
    if let (Some(from), Some(to)) = (wanted.from, wanted.to)
        && from > to
    {
        return Err(DeskError::refused(
            "bad_period",
            format!("{from} is after {to}: name the earlier day first"),
        ));
    }
    let mut tx = db.read().await?;
    let written = write(&mut tx, zone, wanted, out, progress).await;
    tx.rollback().await?;
    written
}

async fn write(
    tx: &mut Tx,
    zone: Zone,
    wanted: Wanted,
    out: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<Written, DeskError> {
    let Some((earliest, latest)) = journal::span(tx).await? else { return Ok(Written::default()) };
    let (earliest, latest) = (zone.day_of(earliest), zone.day_of(latest));
    // Days before the first entry, or after the last, are there and empty.
    let first = wanted.from.unwrap_or_else(|| wanted.to.map_or(earliest, |to| to.min(earliest)));
    let last = wanted.to.unwrap_or(latest).max(first);
    let (from, upto) = (zone.day_start(first), zone.day_start(last.next()));
    let format = wanted.format;

    progress.begin("accounts", None);
    let mut sections = Sections::new(format, first, last).map_err(unwritten)?;
    journal::for_each_standing(tx, from, upto, |standing| {
        progress.advance(1);
        sections.add(standing)
    })
    .await
    .map_err(|error| sections.fault(error))?;
    progress.end();
    let (commodities, accounts) = sections.end().map_err(unwritten)?;
    let head = Head { first, last, continued: first > earliest, commodities };
    out.write_all(format.head(&head).as_bytes()).map_err(unwritten)?;
    sections.declarations.pour(out).map_err(unwritten)?;
    sections.openings.pour(out).map_err(unwritten)?;

    progress.begin("entries", None);
    let mut pen = Pen { format, zone, by: wanted.by, out, open: None, transactions: 0, fault: None };
    let each = |posted: Posted<'_>| {
        progress.advance(1);
        pen.add(&posted)
    };
    // The days that have entries, so that none of the others is thought about.
    let some = (from.max(zone.day_start(earliest)), upto.min(zone.day_start(latest.next())));
    let read = match wanted.by {
        By::Entry => journal::for_each_posting(tx, some.0, some.1, each).await,
        By::Day => journal::for_each_day(tx, zone, some.0, some.1, each).await,
    };
    let transactions = pen.end(read)?;
    progress.end();
    sections.closings.pour(out).map_err(unwritten)?;
    out.flush().map_err(unwritten)?;
    Ok(Written { accounts, transactions, days: Some((first, last)) })
}

fn unwritten(error: io::Error) -> DeskError {
    DeskError::Write("the journal".into(), error)
}

/// Writes transactions as their postings come in.
struct Pen<'a> {
    format: Format,
    zone: Zone,
    by: By,
    out: &'a mut (dyn Write + Send),
    /// The transaction whose postings are coming in, with its account and entry.
    open: Option<(i64, Transaction)>,
    transactions: u64,
    /// What stopped it.
    fault: Option<io::Error>,
}

impl Pen<'_> {
    fn add(&mut self, posted: &Posted<'_>) -> Result<(), StoreError> {
        let same = |(entry_no, open): &(i64, Transaction)| {
            *entry_no == posted.entry_no && open.customer == posted.account_id
        };
        if !self.open.as_ref().is_some_and(same) {
            self.put_down().map_err(|error| {
                self.fault = Some(error);
                StoreError::Stopped
            })?;
            self.open = Some((posted.entry_no, self.begun(posted)));
        }
        if let Some((_, open)) = &mut self.open {
            open.postings.push(Posting {
                account: Account::of(posted.ledger, posted.account_id, posted.plan_id),
                commodity: posted.commodity.to_owned(),
                amount: posted.amount.into(),
            });
        }
        Ok(())
    }

    fn begun(&self, posted: &Posted<'_>) -> Transaction {
        let words = match (self.by, posted.cause) {
            (By::Entry, Some(cause)) => words(cause, self.zone),
            _ => "The day's entries".to_owned(),
        };
        Transaction {
            date: self.zone.day_of(posted.at),
            customer: posted.account_id.to_owned(),
            words,
            event: posted.cause.map(str::to_owned),
            postings: Vec::new(),
        }
    }

    fn put_down(&mut self) -> io::Result<()> {
        let Some((_, done)) = self.open.take() else { return Ok(()) };
        self.transactions += 1;
        self.out.write_all(self.format.transaction(&done).as_bytes())
    }

    /// Writes the last transaction; gives their number, or what stopped the reading or the writing.
    fn end(mut self, read: Result<(), StoreError>) -> Result<u64, DeskError> {
        if let Some(error) = self.fault {
            return Err(unwritten(error));
        }
        read?;
        self.put_down().map_err(unwritten)?;
        Ok(self.transactions)
    }
}

/// The parts of a journal that follow from what stands in the accounts.
struct Sections {
    format: Format,
    first: Day,
    last: Day,
    declarations: Aside,
    openings: Aside,
    closings: Aside,
    /// What all customers share, by account and commodity: before the first day and after the last.
    shared: BTreeMap<(Account, String), i128>,
    commodities: BTreeSet<String>,
    /// The account that was declared last, and how many were.
    declared: Option<Account>,
    /// Whose balances were asserted last; None at the beginning.
    closed: Option<Option<String>>,
    accounts: u64,
    opening: Option<Transaction>,
    fault: Option<io::Error>,
}

impl Sections {
    fn new(format: Format, first: Day, last: Day) -> io::Result<Sections> {
        Ok(Sections {
            format,
            first,
            last,
            declarations: Aside::new()?,
            openings: Aside::new()?,
            closings: Aside::new()?,
            shared: BTreeMap::new(),
            commodities: BTreeSet::new(),
            declared: None,
            closed: None,
            accounts: 0,
            opening: None,
            fault: None,
        })
    }

    fn add(&mut self, standing: Standing<'_>) -> Result<(), StoreError> {
        self.try_add(standing).map_err(|error| {
            self.fault = Some(error);
            StoreError::Stopped
        })
    }

    fn try_add(&mut self, standing: Standing<'_>) -> io::Result<()> {
        let Standing { account_id, ledger, plan_id, commodity, opening, closing } = standing;
        let account = Account::of(ledger, account_id, plan_id);
        if !self.commodities.contains(commodity) {
            self.commodities.insert(commodity.to_owned());
        }
        if opening != 0 {
            self.bring_forward(&account, account_id, commodity, opening)?;
        }
        if account.customer.is_none() {
            *self.shared.entry((account, commodity.to_owned())).or_default() += i128::from(closing);
            return Ok(());
        }
        let balance = Posting { account, commodity: commodity.to_owned(), amount: closing.into() };
        self.state(&balance)
    }

    fn bring_forward(
        &mut self,
        account: &Account,
        customer: &str,
        commodity: &str,
        amount: i64,
    ) -> io::Result<()> {
        if self.opening.as_ref().is_none_or(|open| open.customer != customer) {
            self.end_opening()?;
            self.opening = Some(Transaction {
                date: self.first,
                customer: customer.to_owned(),
                words: "Brought forward".to_owned(),
                event: None,
                postings: Vec::new(),
            });
        }
        if let Some(open) = &mut self.opening {
            let (account, commodity) = (account.clone(), commodity.to_owned());
            open.postings.push(Posting { account, commodity, amount: amount.into() });
        }
        Ok(())
    }

    fn end_opening(&mut self) -> io::Result<()> {
        match self.opening.take() {
            Some(open) => self.openings.write(&self.format.transaction(&open)),
            None => Ok(()),
        }
    }

    /// Declares an account, and asserts what stands in it at the end.
    fn state(&mut self, balance: &Posting) -> io::Result<()> {
        if self.declared.as_ref() != Some(&balance.account) {
            self.declarations.write(&self.format.declaration(&balance.account, self.first))?;
            self.declared = Some(balance.account.clone());
            self.accounts += 1;
        }
        let customer = &balance.account.customer;
        if self.closed.as_ref() != Some(customer) {
            self.closings.write(&self.format.closing(self.last, customer.as_deref()))?;
            self.closed = Some(customer.clone());
        }
        self.closings.write(&self.format.assertion(balance, self.last))
    }

    /// Adds what all customers share; gives the commodities and the number of accounts.
    fn end(&mut self) -> io::Result<(Vec<String>, u64)> {
        self.end_opening()?;
        for ((account, commodity), amount) in std::mem::take(&mut self.shared) {
            self.state(&Posting { account, commodity, amount })?;
        }
        Ok((self.commodities.iter().cloned().collect(), self.accounts))
    }

    /// What stopped the reading: what could not be written, where that was it.
    fn fault(&mut self, read: StoreError) -> DeskError {
        self.fault.take().map_or_else(|| read.into(), unwritten)
    }
}

/// Text that waits in a temporary file for its place.
struct Aside {
    file: BufWriter<File>,
}

impl Aside {
    fn new() -> io::Result<Aside> {
        Ok(Aside { file: BufWriter::new(tempfile::tempfile()?) })
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())
    }

    fn pour(&mut self, out: &mut (dyn Write + Send)) -> io::Result<()> {
        self.file.rewind()?;
        let mut waiting = self.file.get_ref();
        let mut part = vec![0; 1 << 16];
        loop {
            match waiting.read(&mut part)? {
                0 => return Ok(()),
                read => out.write_all(&part[..read])?,
            }
        }
    }
}
