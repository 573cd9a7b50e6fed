//! What was sent, delivered, failed and billed, by day (R127-R132).
//!
//! Days that are final are kept as counts, written once. Younger days are counted from their messages
//! each time: the batches of these days lead to the messages, and each message to its first final
//! receipt. What was billed is what was charged less what was given back, so that it can't differ from
//! the bill; what an operator gives back of what is final is taken off whenever it is told.

mod checking;
mod counting;
mod listing;

use std::collections::BTreeMap;

use self::counting::Counting;
use super::db::{Row, Tx, values};
use super::error::StoreError;
use super::facts;
use crate::domain::period::{Day, Month, Timestamp, Zone};

pub use self::checking::differing;
pub use self::listing::{ListedMessage, Status, Wanted, for_each_message};

/// Counts of messages of one kind and day, in units but for the attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that were handed in to be sent, those that the gateway turned away too; not those that
    /// a blacklist stopped (R127, R132, D24).
    pub attempts: i64,
    /// Units of the messages that the gateway took (R128).
    pub submitted: i64,
    pub delivered: i64,
    pub failed: i64,
    /// No final receipt came in time.
    pub unknown: i64,
    /// Units that users sent in, which cost nothing (R97). They are not among the submitted ones.
    pub free: i64,
    /// Units of messages that were free by an allowance of their product (R30). They are among the
    /// submitted ones, and not among the billed.
    pub allowance: i64,
    /// Charged and not given back: delivered, or not yet receipted (R129).
    pub billed: i64,
    /// Given back by an operator when the charge was final already (D47).
    pub approved: i64,
    /// Those of them that are among the failed, since their receipts had come in time (D67, D77).
    pub approved_failed: i64,
    /// Submitted and waiting in suspense: pending, and not billed (D82).
    pub suspense: i64,
    /// Submitted since the last charging run.
    pub uncharged: i64,
}

/// Counts of one class on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    pub day: Day,
    pub product: String,
    pub template_type: String,
    pub country: String,
    pub counts: Counts,
}

impl Counts {
    /// Units that may still be delivered or fail, as far as is known.
    pub fn pending(&self) -> i64 {
        self.submitted - self.delivered - self.failed - self.unknown
    }

    /// Units that failed and cost nothing: given back, the approved ones too, or never charged (R86, R123).
    pub fn given_back(&self) -> i64 {
        self.submitted - self.billed - self.allowance - self.suspense - self.uncharged
    }

    /// Failed units that are billed all the same: charged on submission (R87), or failed too late (D14).
    pub fn failed_billed(&self) -> i64 {
        // An operator may have given back what was delivered by the first receipt (D15).
        // Which of them were free is not known here: all that can be.
        let given_back = self.given_back() - self.approved + self.approved_failed;
        (self.failed - given_back - self.allowance).max(0)
    }

    pub fn add(&mut self, more: &Counts) {
        self.attempts += more.attempts;
        self.submitted += more.submitted;
        self.delivered += more.delivered;
        self.failed += more.failed;
        self.unknown += more.unknown;
        self.free += more.free;
        self.billed += more.billed;
        self.allowance += more.allowance;
        self.approved += more.approved;
        self.approved_failed += more.approved_failed;
        self.suspense += more.suspense;
        self.uncharged += more.uncharged;
    }
}

/// Up to when days are written, with what runs up to a number had charged by then. Later runs may still
/// charge messages of those days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenUpTo {
    pub day: Timestamp,
    pub run_no: i64,
}

impl WrittenUpTo {
    pub async fn load(tx: &mut Tx) -> Result<Option<WrittenUpTo>, StoreError> {
        let known = facts::pair(tx, "usage_up_to").await?;
        Ok(known.map(|(day, run_no)| WrittenUpTo { day: Timestamp(day), run_no }))
    }

    pub async fn save(self, tx: &mut Tx) -> Result<(), StoreError> {
        facts::set_pair(tx, "usage_up_to", (self.day.0, self.run_no)).await
    }
}

/// Which runs' messages are counted: of runs after one, up to another; None: also what no run has
/// charged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    pub after: i64,
    pub upto: Option<i64>,
}

impl Runs {
    /// The condition on a column that names the run.
    fn name(self, column: &str) -> String {
        match self.upto {
            Some(upto) => format!("{column} > {} and {column} <= {upto}", self.after),
            None if self.after == 0 => "true".into(),
            None => format!("({column} is null or {column} > {})", self.after),
        }
    }
}

/// The first message of such runs that was submitted before a time: by its batch, so it may be too early.
pub async fn first_submit(
    tx: &mut Tx,
    runs: Runs,
    before: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let sql = format!(
        "select min(t.first_submit) from ( \
           select first_submit from batches where kind = 'messages' and {} \
           union all select b.first_submit from suspense s join batches b on b.batch_no = s.batch_no where {}) t \
         where t.first_submit < $1",
        runs.name("run_no"),
        runs.name("s.run_no")
    );
    let row = tx.row(sql, values![before.0]).await?;
    Ok(row.map(|row| row.opt_int(0)).transpose()?.flatten().map(Timestamp))
}

/// Adds the counts of some days to what is kept, and gives the number of its rows that it touched.
pub async fn write(
    tx: &mut Tx,
    zone: Zone,
    (from, upto): (Timestamp, Timestamp),
    runs: Runs,
) -> Result<u64, StoreError> {
    let days = zone.days(from, upto);
    if days.is_empty() {
        return Ok(0);
    }
    let counting = Counting { days: &days, runs, account: None, now: Timestamp(i64::MAX) };
    let query = counting.query(tx).await?;
    let numbers: Vec<_> =
        days.iter().enumerate().map(|(index, (day, ..))| format!("({index}, {})", day.number())).collect();
    let kept = "attempts, submitted, delivered, failed, unknown, free, billed, allowance";
    let more: Vec<_> =
        kept.split(", ").map(|count| format!("{count} = usage_days.{count} + excluded.{count}")).collect();
    let sql = format!(
        "with days(place, day) as (values {}) \
         insert into usage_days (account_id, day, product, template_type, country, {kept}) \
         select c.account_id, d.day, c.product, c.template_type, c.country, {kept} \
         from ({query}) c join days d on d.place = c.place \
         where c.attempts + c.submitted + c.free + c.billed + c.allowance <> 0 \
         on conflict (account_id, day, product, template_type, country) do update set {}",
        numbers.join(", "),
        more.join(", ")
    );
    tx.execute(sql, vec![]).await
}

/// What an account sent in a month, by day and class.
pub async fn of_account(
    tx: &mut Tx,
    account_id: &str,
    zone: Zone,
    month: Month,
    now: Timestamp,
) -> Result<Vec<UsageRow>, StoreError> {
    let (from, upto) = (zone.month_start(month), zone.month_start(month.next()));
    let written = WrittenUpTo::load(tx).await?.unwrap_or(WrittenUpTo { day: from, run_no: 0 });
    let edge = written.day.clamp(from, upto);
    let mut rows = BTreeMap::new();
    add_written(tx, account_id, month, &mut rows).await?;
    // Of days that are written only what came since, of others everything.
    for (from, upto, after) in [(from, edge, written.run_no), (edge, upto, 0)] {
        let days = zone.days(from, upto);
        if days.is_empty() {
            continue;
        }
        let runs = Runs { after, upto: None };
        let counting = Counting { days: &days, runs, account: Some("$1"), now };
        let query = counting.query(tx).await?;
        for row in tx.rows(query, values![account_id]).await? {
            let place = usize::try_from(row.int(1)?).ok();
            let Some((day, ..)) = place.and_then(|place| days.get(place)) else { continue };
            let class = [row.text(2)?, row.text(3)?, row.text(4)?];
            let counts: &mut Counts = rows.entry((*day, class)).or_default();
            counts.add(&counts_of(&row, 5)?);
            counts.suspense += row.int(12)?;
            counts.uncharged += row.int(13)?;
            counts.allowance += row.int(14)?;
        }
    }
    take_approved(tx, account_id, zone, (from, upto), &mut rows).await?;
    let row = |((day, class), counts): ((Day, [String; 3]), Counts)| {
        let [product, template_type, country] = class;
        UsageRow { day, product, template_type, country, counts }
    };
    Ok(rows.into_iter().filter(|(_, counts)| *counts != Counts::default()).map(row).collect())
}

async fn add_written(
    tx: &mut Tx,
    account_id: &str,
    month: Month,
    rows: &mut BTreeMap<(Day, [String; 3]), Counts>,
) -> Result<(), StoreError> {
    let sql = "select day, product, template_type, country, attempts, submitted, delivered, failed, unknown, free, \
               billed, allowance from usage_days where account_id = $1 and day > $2 and day < $3";
    let (first, last) = (month.number() * 100, month.number() * 100 + 99);
    for row in tx.rows(sql, values![account_id, first, last]).await? {
        let number = row.int(0)?;
        let day = Day::from_number(number)
            .ok_or_else(|| StoreError::Corrupt(format!("usage of {number}, which is no day")))?;
        let class = [row.text(1)?, row.text(2)?, row.text(3)?];
        let counts = Counts { allowance: row.int(11)?, ..counts_of(&row, 4)? };
        rows.entry((day, class)).or_default().add(&counts);
    }
    Ok(())
}

/// Takes off what operators gave back of what was final: days that are kept count it as billed.
async fn take_approved(
    tx: &mut Tx,
    account_id: &str,
    zone: Zone,
    (from, upto): (Timestamp, Timestamp),
    rows: &mut BTreeMap<(Day, [String; 3]), Counts>,
) -> Result<(), StoreError> {
    let sql = "select r.window_start, r.product, r.template_type, r.country, r.units, \
                 case when exists (select 1 from exceptions e where e.run_no = r.run_no \
                   and e.kind in ('no_price', 'segment_disagreement')) then r.units else 0 end \
               from returns r where r.account_id = $1 and r.was_final = 1 \
               and r.window_start >= $2 and r.window_start < $3";
    for row in tx.rows(sql, values![account_id, from.0, upto.0]).await? {
        let day = zone.day_of(Timestamp(row.int(0)?));
        let counts = rows.entry((day, [row.text(1)?, row.text(2)?, row.text(3)?])).or_default();
        counts.billed -= row.int(4)?;
        counts.approved += row.int(4)?;
        counts.approved_failed += row.int(5)?;
    }
    Ok(())
}

fn counts_of(row: &Row, first: usize) -> Result<Counts, StoreError> {
    Ok(Counts {
        attempts: row.int(first)?,
        submitted: row.int(first + 1)?,
        delivered: row.int(first + 2)?,
        failed: row.int(first + 3)?,
        unknown: row.int(first + 4)?,
        free: row.int(first + 5)?,
        billed: row.int(first + 6)?,
        allowance: 0,
        approved: 0,
        approved_failed: 0,
        suspense: 0,
        uncharged: 0,
    })
}
