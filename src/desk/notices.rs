//! Notices by hand: an account's inbox, what it wants to be told how, and deliveries that failed
//! (R12, R26, F20, F100).

use super::{DeskError, accounts};
use crate::config::Config;
use crate::domain::notice::{Channel, NoticeKind};
use crate::domain::period::{Month, Timestamp};
use crate::export::pdf::{Issued, Language};
use crate::notify::sample::{self, Size};
use crate::notify::templates::Part;
use crate::notify::{Attached, Told};
use crate::printing;
use crate::store::deliveries::{self, Place};
use crate::store::notices::{self, NoticeRow, Settings};
use crate::store::{Db, Tx};
use crate::telling;

/// A notice as it stands in an inbox.
#[derive(Clone, Debug)]
pub struct Message {
    pub notice: NoticeRow,
    pub told: Told,
    pub title: String,
    pub text: String,
}

/// What an account finds in its inbox, newest first; None is the operator.
pub async fn inbox(
    db: &Db,
    config: &Config,
    account_id: Option<&str>,
    unread: bool,
    now: Timestamp,
) -> Result<Vec<Message>, DeskError> {
    let mut tx = db.read().await?;
    let (account, settings) = match account_id {
        None => (None, Settings::default()),
        Some(id) => (Some(accounts::find(&mut tx, id).await?), notices::settings_of(&mut tx, id).await?),
    };
    let found = notices::inbox(&mut tx, account_id.unwrap_or_default(), unread, now).await?;
    tx.rollback().await?;
    let is_wanted = |kind: NoticeKind| {
        let usual = || config.notices.channels_of(kind).contains(&Channel::Inbox);
        settings.said(kind, Channel::Inbox).unwrap_or_else(usual)
    };
    let message = |notice: NoticeRow| {
        let told = telling::told(config, &notice, account.as_ref());
        // A template that can't be filled in hides nobody's notice.
        let part = |part| config.notices.templates.part(&told, part).unwrap_or_else(|fault| fault);
        Message { title: part(Part::Subject), text: part(Part::Text), notice, told }
    };
    Ok(found.into_iter().filter(|notice| is_wanted(notice.kind)).map(message).collect())
}

/// Marks a notice as read, or all of them; gives how many were unread.
pub async fn read(
    db: &Db,
    account_id: Option<&str>,
    notice_no: Option<i64>,
    now: Timestamp,
) -> Result<u64, DeskError> {
    let mut tx = db.write().await?;
    let id = account_id.unwrap_or_default();
    if account_id.is_some() {
        accounts::find(&mut tx, id).await?;
    }
    if let Some(number) = notice_no
        && !notices::exists(&mut tx, id, number).await?
    {
        return Err(unknown(number));
    }
    let marked = notices::mark_read(&mut tx, id, notice_no, now).await?;
    tx.commit().await?;
    Ok(marked)
}

/// What an account wants otherwise than is usual.
pub async fn settings(db: &Db, account_id: &str) -> Result<Settings, DeskError> {
    let mut tx = db.read().await?;
    accounts::find(&mut tx, account_id).await?;
    Ok(notices::settings_of(&mut tx, account_id).await?)
}

/// Notes whether an account wants a kind of notice by a channel; None goes back to what is usual.
pub async fn set(
    db: &Db,
    account_id: &str,
    kind: Option<NoticeKind>,
    channel: Channel,
    on: Option<bool>,
) -> Result<Settings, DeskError> {
    let mut tx = db.write().await?;
    accounts::find(&mut tx, account_id).await?;
    notices::set(&mut tx, account_id, kind, channel, on).await?;
    let settings = notices::settings_of(&mut tx, account_id).await?;
    tx.commit().await?;
    Ok(settings)
}

/// Has the failed deliveries of a notice, or of all, tried again; gives how many.
pub async fn retry(db: &Db, notice_no: Option<i64>, now: Timestamp) -> Result<u64, DeskError> {
    let mut tx = db.write().await?;
    let retried = deliveries::retry(&mut tx, notice_no, now).await?;
    some(retried, notice_no)?;
    tx.commit().await?;
    Ok(retried)
}

/// Puts the failed deliveries of a notice, or of all, away; gives how many.
pub async fn dismiss(db: &Db, notice_no: Option<i64>) -> Result<u64, DeskError> {
    let mut tx = db.write().await?;
    let dismissed = deliveries::dismiss(&mut tx, notice_no).await?;
    some(dismissed, notice_no)?;
    tx.commit().await?;
    Ok(dismissed)
}

/// To do nothing for all is no fault.
fn some(count: u64, notice_no: Option<i64>) -> Result<(), DeskError> {
    let Some(number) = notice_no.filter(|_| count == 0) else { return Ok(()) };
    let message =
        format!("notice {number} has no delivery that failed; see `quittance notice list --failed`");
    Err(DeskError::refused("no_failed_delivery", message))
}

fn unknown(notice_no: i64) -> DeskError {
    let message = format!("there is no notice {notice_no} in this inbox; see `quittance inbox ACCOUNT`");
    DeskError::refused("unknown_notice", message)
}

/// What became of books that were given leave to write from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    pub here: Place,
    /// Places from which they wrote before.
    pub before: Vec<String>,
    /// Deliveries that were put away.
    pub discarded: u64,
}

/// Lets these books write to people from where they are now (F20); with `discard` what waits is put away.
pub async fn adopt(db: &Db, discard: bool, now: Timestamp) -> Result<Adopted, DeskError> {
    let mut tx = db.write().await?;
    let here = deliveries::place(&mut tx).await?;
    let before = deliveries::places(&mut tx).await?;
    deliveries::adopt(&mut tx, &here, now).await?;
    let discarded = if discard { deliveries::discard(&mut tx, now).await? } else { 0 };
    tx.commit().await?;
    Ok(Adopted { here, before, discarded })
}

/// A notice of a kind as it would be, to an account or to nobody in particular: with sample data.
pub async fn sample(
    tx: &mut Tx,
    config: &Config,
    kind: NoticeKind,
    account_id: Option<&str>,
    locale: Option<&str>,
) -> Result<Told, DeskError> {
    let account = match account_id {
        Some(id) => Some(accounts::find(tx, id).await?),
        None => None,
    };
    let usual = account.as_ref().map_or("en", |account| account.locale.as_str());
    let mut told = sample::told(kind, locale.unwrap_or(usual), config.zone, Size::Usual);
    if let Some(account) = account.filter(|_| !kind.is_for_operator()) {
        told.account_id = account.account_id;
        told.name = account.name;
        told.currency = account.currency;
    }
    Ok(told)
}

/// What comes with the letter of a sample: for `bill_ready` a bill, drawn as those that are sent.
///
/// # Errors
/// Why the letter would go without it.
pub fn sample_attachment(config: &Config, told: &Told) -> Result<Option<Attached>, String> {
    let month = told.text("month").and_then(|month| month.parse::<Month>().ok());
    let Some(month) = month.filter(|_| told.kind == NoticeKind::BillReady) else { return Ok(None) };
    let bill = sample::bill(told, month);
    let issued = Issued { bill: &bill, seller: &config.invoices.seller, name: &told.name };
    let printer = printing::printer(config).map_err(|fault| fault.to_string())?;
    let printed =
        printer.print_bill(issued, Language::of(&told.locale)).map_err(|fault| fault.to_string())?;
    let name = printing::bill_file_name(&told.account_id, month);
    Ok(Some(Attached { name, pdf: printed.pdf }))
}
