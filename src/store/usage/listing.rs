//! The messages that usage counts, one by one: each is a group of one to the same query, so that their
//! sums are the counts (R131, R132).
//!
//! Only what is shown is looked up, unless receipts decide what that is.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::counting::{
    COUNTS, Counting, KIND, Kinds, SENT, delivered_parts, failed_parts, fate, last_part, status, told,
};
use super::{Counts, Runs, WrittenUpTo};
use crate::domain::charge::{Charge, Place};
use crate::domain::message::MessageKey;
use crate::domain::period::{Day, Timestamp, window_start};
use crate::store::db::Tx;
use crate::store::dialect::{Field, for_each_row};
use crate::store::error::StoreError;
use crate::store::settling::{ChargeKey, free_charges};
use crate::store::value::literal;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Delivered,
    Failed,
    /// No final receipt came in time.
    Unknown,
    /// It may still be delivered or fail, as far as is known.
    Pending,
    /// Its units have not all fared alike: receipts of single parts say so.
    Partial,
    /// The gateway turned it away.
    Rejected,
    /// Sent in by a user.
    Inbound,
}

/// A message with what it adds to the usage of its day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedMessage {
    /// As it was handed in.
    pub message_id: String,
    pub submit_time: Timestamp,
    pub product: String,
    pub template_type: String,
    pub country: String,
    pub status: Status,
    /// Why the gateway turned it away.
    pub reject_code: Option<String>,
    pub counts: Counts,
    /// When the receipt was reported that counts; of parts the last one.
    pub report_time: Option<Timestamp>,
    /// Not where a blacklist stopped it (R132).
    pub is_included: bool,
}

/// Which messages are listed.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub account_id: &'a str,
    /// Days that follow each other.
    pub days: &'a [(Day, Timestamp, Timestamp)],
    pub product: Option<&'a str>,
    /// Those of which a unit fared so, whatever became of the others.
    pub status: Option<Status>,
    /// The first so many.
    pub limit: Option<i64>,
}

impl Status {
    pub const ALL: [Status; 7] = [
        Status::Delivered,
        Status::Failed,
        Status::Unknown,
        Status::Pending,
        Status::Partial,
        Status::Rejected,
        Status::Inbound,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Delivered => "delivered",
            Status::Failed => "failed",
            Status::Unknown => "unknown",
            Status::Pending => "pending",
            Status::Partial => "partial",
            Status::Rejected => "rejected",
            Status::Inbound => "inbound",
        }
    }

    fn of(kind: &str, counts: &Counts) -> Status {
        let units = [
            (counts.delivered, Status::Delivered),
            (counts.failed, Status::Failed),
            (counts.unknown, Status::Unknown),
            (counts.pending(), Status::Pending),
        ];
        match kind {
            "inbound" => Status::Inbound,
            "sent" => {
                let all = units.into_iter().find(|(units, _)| *units == counts.submitted);
                all.map_or(Status::Partial, |(_, status)| status)
            }
            _ => Status::Rejected,
        }
    }

    /// Whether receipts decide it.
    fn is_told(self) -> bool {
        !matches!(self, Status::Rejected | Status::Inbound)
    }

    /// The condition on a message that may fare so, whatever its receipts say.
    fn possible(self) -> &'static str {
        match self {
            Status::Rejected => "m.disposition = 'rejected'",
            Status::Inbound => "m.disposition = 'inbound'",
            _ => SENT,
        }
    }

    /// The condition on what was counted of a message.
    fn counted(self) -> &'static str {
        match self {
            Status::Delivered => "delivered > 0",
            Status::Failed => "failed > 0",
            Status::Unknown => "unknown > 0",
            Status::Pending => "submitted > delivered + failed + unknown",
            Status::Partial => {
                "kind = 'sent' and submitted not in (delivered, failed, unknown, \
                 submitted - delivered - failed - unknown)"
            }
            Status::Rejected => "kind in ('rejected', 'blacklist')",
            Status::Inbound => "kind = 'inbound'",
        }
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(word: &str) -> Result<Status, String> {
        let known = Status::ALL.into_iter().find(|status| status.as_str() == word);
        known.ok_or_else(|| {
            let words = Status::ALL.map(Status::as_str).join(", ");
            format!("`{word}` is no status of a message: write one of {words}")
        })
    }
}

/// Lists messages in the order of their submission, then of their arrival: day by day, so that no more than
/// a day is sorted, and no day is read that the limit leaves out.
pub async fn for_each_message(
    tx: &mut Tx,
    wanted: Wanted<'_>,
    now: Timestamp,
    mut each: impl FnMut(ListedMessage) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let account = literal(wanted.account_id);
    let written = WrittenUpTo::load(tx).await?.map_or(i64::MIN, |written| written.day.0);
    let runs = Runs { after: 0, upto: None };
    let kinds = Kinds::load(tx).await?;
    let mut left = wanted.limit;
    for day in wanted.days.chunks(1) {
        if left == Some(0) {
            break;
        }
        let counting = Counting { days: day, runs, account: Some(&account), now };
        let batches = counting.batches(tx).await?;
        let free = free_charges(tx, wanted.account_id, counting.from(), counting.upto()).await?;
        let query = query(&counting, batches, &kinds, Wanted { limit: left, ..wanted }, written);
        for_each_row(tx, &query, TYPES, |row| {
            left = left.map(|left| left - 1);
            each(listed(wanted.account_id, row, &free)?)
        })
        .await?;
    }
    Ok(())
}

const LISTED: &str = "submit_time, id_hi, id_lo, raw_id, product, template_type, country, kind, reject_code, \
    attempts, submitted, delivered, failed, unknown, free, suspense, uncharged, charge_run, batch_no, line, \
    left_out, given_back, report_time";
const TYPES: &str = "iiittttttiiiiiiiiiiiiii";

/// First the messages, then what receipts say of each, then what that counts as.
fn query(
    counting: &Counting<'_>,
    batches: (i64, i64),
    kinds: &Kinds,
    wanted: Wanted<'_>,
    written: i64,
) -> String {
    let columns = |state: &str, run: &str| {
        format!(
            "m.account_id, m.id_hi, m.id_lo, m.raw_id, m.batch_no, m.line, m.product, m.template_type, m.country, \
             m.disposition, m.reject_code, m.units, m.submit_time, m.biz_id, m.recipient_hash, {state} as state, \
             {run} as charge_run"
        )
    };
    let mut only = String::new();
    if let Some(product) = wanted.product {
        only += &format!(" and m.product = {}", literal(product));
    }
    if let Some(status) = wanted.status {
        only += &format!(" and {}", status.possible());
    }
    let messages = counting.messages(batches, columns, &only);
    let order = "order by submit_time, batch_no, line";
    let limit = wanted.limit.map_or(String::new(), |limit| format!(" limit {limit}"));
    // Before receipts are looked up, where these don't decide which messages are listed.
    let first = match wanted {
        Wanted { limit: None, .. } => String::new(),
        Wanted { status: Some(status), .. } if status.is_told() => String::new(),
        _ => format!(" {order}{limit}"),
    };
    let told = |what: String| told("m.state", &what);
    let settled = |table: &str| {
        format!(
            "(select cast(coalesce(sum(t.units), 0) as bigint) from {table} t where t.account_id = m.account_id \
             and t.id_hi = m.id_hi and t.id_lo = m.id_lo)"
        )
    };
    format!(
        "with listed as materialized (select * from ({messages}) m{first}), \
         known as materialized (select m.*, {KIND} as kind, cast(1 as bigint) as messages, \
           case when m.submit_time < {written} then 1 else {} end as ripe, {} as fate, \
           coalesce({}, 0) as delivered_parts, coalesce({}, 0) as failed_parts, \
           coalesce({}, {}) as report_time, {} as left_out, {} as given_back from listed m) \
         select {LISTED} from (select known.*, {COUNTS} from known) c where {} {order}{limit}",
        counting.ripe(),
        told(status(kinds)),
        told(delivered_parts(kinds)),
        told(failed_parts(kinds)),
        told(fate(kinds, "r.report_time")),
        told(last_part(kinds)),
        settled("not_charged"),
        settled("returns"),
        wanted.status.map_or("true", Status::counted),
    )
}

fn listed(
    account_id: &str,
    row: &[Field<'_>],
    free: &BTreeMap<ChargeKey, Vec<Charge>>,
) -> Result<ListedMessage, StoreError> {
    let key = MessageKey { hi: row[1].int()?, lo: row[2].int()? };
    let (submit_time, kind) = (Timestamp(row[0].int()?), row[7].text()?);
    let mut counts = Counts {
        attempts: row[9].int()?,
        submitted: row[10].int()?,
        delivered: row[11].int()?,
        failed: row[12].int()?,
        unknown: row[13].int()?,
        free: row[14].int()?,
        suspense: row[15].int()?,
        uncharged: row[16].int()?,
        ..Counts::default()
    };
    let (product, template_type, country) = (row[4].text()?, row[5].text()?, row[6].text()?);
    if let Some(run_no) = row[17].opt_int()?.filter(|_| kind == "sent") {
        let charged = counts.submitted - row[20].int()?;
        // Most have no free units: nothing is made of theirs to be looked for.
        if !free.is_empty() {
            let class = ChargeKey {
                account_id: account_id.into(),
                window: window_start(submit_time).0,
                run_no,
                product: product.into(),
                template_type: template_type.into(),
                country: country.into(),
            };
            let place = Place { batch_no: row[18].int()?, line: row[19].int()? };
            let charges = free.get(&class).map_or(&[][..], Vec::as_slice);
            counts.allowance = charges.iter().map(|charge| charge.units_of(place, charged)).sum();
        }
        counts.billed = charged - counts.allowance - row[21].int()?;
    }
    Ok(ListedMessage {
        message_id: key.original(row[3].opt_text()?),
        submit_time,
        product: product.to_owned(),
        template_type: template_type.to_owned(),
        country: country.to_owned(),
        status: Status::of(kind, &counts),
        reject_code: row[8].opt_text()?.map(str::to_owned),
        counts,
        report_time: row[22].opt_int()?.map(Timestamp),
        is_included: kind != "blacklist",
    })
}
