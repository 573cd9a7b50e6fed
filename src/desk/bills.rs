//! Bills as they are shown: issued ones, and what a bill would be now (R79, R121, R139, D55, D84).

use super::{DeskError, accounts};
use crate::billing::{cuts, terms};
use crate::config::Config;
use crate::domain::bill::{Bill, draw_up, suspense_note};
use crate::domain::money::Micros;
use crate::domain::period::{Month, Timestamp};
use crate::domain::price::Buyer;
use crate::store::accounts::AccountRow;
use crate::store::billing::{self, BilledMonth, Span};
use crate::store::bills::{self, BillRow};
use crate::store::{StoreError, Tx};

/// A bill and what is paid and due of it now; of a preview, what would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub bill: Bill,
    pub paid: Micros,
    pub due: Micros,
    /// Its hash; None for a preview.
    pub hash: Option<String>,
}

impl Shown {
    /// `issued` or `preview`.
    pub fn status(&self) -> &'static str {
        if self.hash.is_some() { "issued" } else { "preview" }
    }
}

impl From<BillRow> for Shown {
    fn from(row: BillRow) -> Shown {
        Shown { paid: row.paid(), due: row.due, bill: row.bill, hash: Some(row.hash) }
    }
}

/// The bills of a month, or all; without their lines.
pub async fn list(tx: &mut Tx, month: Option<Month>) -> Result<Vec<Shown>, StoreError> {
    let rows = bills::list(tx, month.map(Month::number)).await?;
    Ok(rows.into_iter().map(Shown::from).collect())
}

/// The bill of an account and month. Of a month that is not billed yet a preview: the bill as it would be
/// if the month ended now and nothing more came.
pub async fn show(
    tx: &mut Tx,
    config: &Config,
    account_id: &str,
    month: Month,
    now: Timestamp,
) -> Result<Shown, DeskError> {
    let account = accounts::find(tx, account_id).await?;
    if let Some(row) = bills::find(tx, account_id, month.number()).await? {
        return Ok(row.into());
    }
    let months = billing::billed_months(tx).await?;
    let span = open_span(tx, config, account_id, (month, &months), now).await?;
    preview(tx, config, &account, &span, now).await
}

/// What a bill that is still to come would be about.
async fn open_span(
    tx: &mut Tx,
    config: &Config,
    account_id: &str,
    (month, months): (Month, &[BilledMonth]),
    now: Timestamp,
) -> Result<Span, DeskError> {
    let zone = config.zone;
    let none = |why: &str| {
        let text = format!("account `{account_id}` has no bill of {month}: {why}");
        Err(DeskError::refused("bill_unknown", text))
    };
    if zone.month_start(month) > now {
        return none("the month has not begun");
    }
    let parked = bills::parked(tx).await?;
    let mut parked = parked.iter().filter(|(id, _)| id == account_id).map(|(_, of)| *of);
    let one_before = parked.clone().any(|of| of < month.number());
    let in_turn = |span: Span| if one_before { span.after_parked() } else { span };
    match months.iter().position(|billed| billed.month == month.number()) {
        Some(index) if parked.any(|of| of == month.number()) => {
            let span = Span::of(zone, month, &months[..index], months[index].charge_run);
            return Ok(in_turn(span));
        }
        Some(_) => return none("there was nothing to bill"),
        None => {}
    }
    let next = match months.last() {
        Some(last) => zone.month_of(last.ends_at),
        None => billing::first_month(tx, zone).await?.unwrap_or(month),
    };
    match month.cmp(&next) {
        std::cmp::Ordering::Less => none("there was nothing to bill"),
        std::cmp::Ordering::Equal => Ok(in_turn(Span::of(zone, month, months, i64::MAX))),
        std::cmp::Ordering::Greater => Ok(Span::later(zone, month)),
    }
}

async fn preview(
    tx: &mut Tx,
    config: &Config,
    account: &AccountRow,
    span: &Span,
    now: Timestamp,
) -> Result<Shown, DeskError> {
    let id = account.account_id.as_str();
    let cuts = cuts(tx, config).await?;
    let parts = billing::parts_of(tx, id, span, &cuts).await?;
    let prices = billing::billed_prices(tx, [id]).await?.remove(id).unwrap_or_default();
    let suspended = billing::suspended(tx, [id], span.upto).await?.remove(id).unwrap_or_default();
    let buyer = Buyer { account_id: id, kind: account.kind.as_str(), currency: &account.currency };
    let terms = terms(config, span.month, buyer, &prices);
    let fault = |fault: crate::domain::bill::BillFault| {
        DeskError::refused("bill_parked", format!("the bill of account `{id}` can't be made: {fault}"))
    };
    let draft = draw_up(&parts, &terms).map_err(fault)?;
    let (_, split) = draft.settle(&terms, &mut account.funds.clone(), now).map_err(fault)?;
    let bill = Bill {
        bill_id: String::new(),
        account_id: account.account_id.clone(),
        month: span.month.number(),
        currency: account.currency.clone(),
        lines: draft.lines,
        total: draft.total,
        paid: split.balance,
        accrued: draft.accrued,
        issued_at: now,
        note: suspense_note(suspended),
    };
    Ok(Shown { paid: split.balance, due: split.due, bill, hash: None })
}
