//! The list of an account's delivery receipts: one row a message, the sum of what was sent equal to the
//! usage (R131, R132, R150).

use std::fmt;
use std::io;
use std::str::FromStr;

use super::{DeskError, accounts};
use crate::config::Config;
use crate::domain::period::{Day, Month, Timestamp, Zone};
use crate::store::retention::{Retired, may_lack};
use crate::store::usage::{self, ListedMessage, Status, for_each_message};
use crate::store::{Db, StoreError, Tx};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub account_id: &'a str,
    pub period: Period,
    pub product: Option<&'a str>,
    pub status: Option<Status>,
    /// The first so many; None: all.
    pub limit: Option<u32>,
}

/// A day or a month of the billing zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Day(Day),
    Month(Month),
}

/// What was listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub messages: u64,
    /// There are more of them than the limit lets through.
    pub has_more: bool,
}

/// Hands out the messages of one state of the books, in the order of their submission, then of their
/// arrival. Memory stays flat.
///
/// # Errors
/// `unknown_account`, `unknown_product`; `not_kept` where some may have been deleted; what reading and
/// writing may say.
pub async fn list(
    db: &Db,
    config: &Config,
    wanted: Wanted<'_>,
    now: Timestamp,
    each: impl FnMut(&ListedMessage) -> io::Result<()>,
) -> Result<Listed, DeskError> {
    let mut tx = db.read().await?;
    let listed = read(&mut tx, config, wanted, now, each).await;
    tx.rollback().await?;
    listed
}

async fn read(
    tx: &mut Tx,
    config: &Config,
    wanted: Wanted<'_>,
    now: Timestamp,
    mut each: impl FnMut(&ListedMessage) -> io::Result<()>,
) -> Result<Listed, DeskError> {
    let Wanted { account_id, period, product, status, limit } = wanted;
    accounts::find(tx, account_id).await?;
    if let Some(product) = product.filter(|product| config.catalog.get(product).is_none()) {
        return Err(DeskError::unknown_product(&config.catalog, product));
    }
    let zone = config.zone;
    let (from, upto) = period.span(zone);
    if may_lack(tx, account_id, (from, upto)).await? {
        let before = zone.format(Retired::load(tx).await?.before);
        let text = format!(
            "not all messages of account `{account_id}` of {period} are kept: those submitted before {before} may \
             be gone (retention.messages), and the list would not be whole; `quittance usage` has the counts"
        );
        return Err(DeskError::refused("not_kept", text));
    }
    let days = zone.days(from, upto);
    // One more than is wanted tells whether there are more.
    let asked = limit.map(|limit| i64::from(limit) + 1);
    let stored = usage::Wanted { account_id, days: &days, product, status, limit: asked };
    let (mut listed, mut fault) = (Listed::default(), None);
    let read = for_each_message(tx, stored, now, |message| {
        if limit.is_some_and(|limit| listed.messages == u64::from(limit)) {
            listed.has_more = true;
            return Ok(());
        }
        listed.messages += 1;
        each(&message).map_err(|error| {
            fault = Some(error);
            StoreError::Stopped
        })
    })
    .await;
    if let Some(error) = fault {
        return Err(DeskError::Write("the list".into(), error));
    }
    read?;
    Ok(listed)
}

impl Period {
    fn span(self, zone: Zone) -> (Timestamp, Timestamp) {
        match self {
            Period::Day(day) => (zone.day_start(day), zone.day_start(day.next())),
            Period::Month(month) => (zone.month_start(month), zone.month_start(month.next())),
        }
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Period, String> {
        text.parse().map(Period::Month).or_else(|_| text.parse().map(Period::Day))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Period::Day(day) => day.fmt(f),
            Period::Month(month) => month.fmt(f),
        }
    }
}
