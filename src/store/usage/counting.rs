//! The query that counts messages.
//!
//! Messages are reached by their batches, of which few overlap a day, and each one's receipt by its
//! key, as the only row that is read of all receipts: what a day costs does not depend on what was
//! before it.

use super::Runs;
use crate::domain::period::{Day, Timestamp};
use crate::domain::product::{RECEIPT_GRACE, REFUND_WINDOW};
use crate::store::db::{Tx, values};
use crate::store::error::StoreError;
use crate::store::receipts::any_nameless;

/// Receipts that come later than this after submission change nothing any more: the message is unknown.
const IN_TIME: i64 = REFUND_WINDOW + RECEIPT_GRACE;

/// What is to be counted.
pub struct Counting<'a> {
    /// Days that follow each other; rows name them by their place here.
    pub days: &'a [(Day, Timestamp, Timestamp)],
    pub runs: Runs,
    /// Of one account only: its id in SQL, a parameter or a literal.
    pub account: Option<&'a str>,
    /// Messages whose time for receipts is over by then, and which have none, are unknown.
    pub now: Timestamp,
}

/// Which kinds of receipts there are at all: rare ones cost each message a look.
pub(super) struct Kinds {
    by_part: bool,
    by_request: bool,
    /// Two receipts may name one message in two ways.
    pub(super) two_names: bool,
}

impl Kinds {
    pub(super) async fn load(tx: &mut Tx) -> Result<Kinds, StoreError> {
        let by_request = any(tx, "biz_id is not null").await?;
        let two_names = by_request || any_nameless(tx).await?;
        Ok(Kinds { by_part: any(tx, "part > 0").await?, by_request, two_names })
    }
}

impl Counting<'_> {
    /// Rows of account, place of the day, product, template type, country, then the counts: attempts,
    /// submitted, delivered, failed, unknown, free, billed, suspense, uncharged, allowance.
    pub async fn query(&self, tx: &mut Tx) -> Result<String, StoreError> {
        let kinds = Kinds::load(tx).await?;
        let batches = self.batches(tx).await?;
        let counts = [
            "attempts",
            "submitted",
            "delivered",
            "failed",
            "unknown",
            "free",
            "billed",
            "suspense",
            "uncharged",
            "allowance",
        ];
        let sums = counts.map(|count| format!("cast(sum({count}) as bigint) as {count}")).join(", ");
        let groups = self.groups(batches, &kinds);
        Ok(format!(
            "select account_id, place, product, template_type, country, {sums} from ( \
               select account_id, place, product, template_type, country, {COUNTS} from ({groups}) g \
               union all {} union all {}) t \
             group by account_id, place, product, template_type, country",
            self.billed("charges", "run_no", PAID, ""),
            self.billed("returns", "charge_run", "-units, 0, 0, 0", " and was_final = 0"),
        ))
    }

    pub(super) fn from(&self) -> i64 {
        self.days.first().map_or(0, |(_, begins, _)| begins.0)
    }

    pub(super) fn upto(&self) -> i64 {
        self.days.last().map_or(0, |(.., ends)| ends.0)
    }

    /// The first and the last batch that may hold such messages.
    pub(super) async fn batches(&self, tx: &mut Tx) -> Result<(i64, i64), StoreError> {
        let sql = format!(
            "select min(batch_no), max(batch_no) from batches where kind = 'messages' and first_submit < $1 \
             and last_submit >= $2 and {}",
            self.runs.name("run_no")
        );
        let row = tx.row(sql, values![self.upto(), self.from()]).await?;
        let Some(row) = row else { return Ok((0, -1)) };
        Ok((row.opt_int(0)?.unwrap_or(0), row.opt_int(1)?.unwrap_or(-1)))
    }

    /// Messages with the same fate.
    fn groups(&self, batches: (i64, i64), kinds: &Kinds) -> String {
        let columns = |state: &str, _: &str| {
            let told = |what: String| told(state, &what);
            format!(
                "m.account_id, {} as place, m.product, m.template_type, m.country, {KIND} as kind, {state} as state, \
                 {} as ripe, {} as fate, count(*) as messages, sum(m.units) as units, \
                 sum(coalesce({}, 0)) as delivered_parts, sum(coalesce({}, 0)) as failed_parts",
                self.place("m.submit_time"),
                self.ripe(),
                told(status(kinds)),
                told(delivered_parts(kinds)),
                told(failed_parts(kinds)),
            )
        };
        self.messages(batches, columns, "group by 1, 2, 3, 4, 5, 6, 7, 8, 9")
    }

    /// Columns of the messages `m`, which are told how each stands and which run charged it: of those of
    /// batches, and of those that were or are in suspense, which their batch's run did not charge.
    pub(super) fn messages(
        &self,
        (first, last): (i64, i64),
        columns: impl Fn(&str, &str) -> String,
        end: &str,
    ) -> String {
        let mut submitted = format!("m.submit_time >= {} and m.submit_time < {}", self.from(), self.upto());
        let mut suspended = String::new();
        if let Some(account) = self.account {
            submitted += &format!(" and m.account_id = {account}");
            suspended = format!(" and s.account_id = {account}");
        }
        format!(
            "select {} from messages m join batches b on b.batch_no = m.batch_no \
             where m.batch_no between {first} and {last} and {submitted} and {} \
             and not exists (select 1 from suspense s where s.account_id = m.account_id and s.id_hi = m.id_hi \
                             and s.id_lo = m.id_lo) {end} \
             union all select {} from suspense s join messages m on m.account_id = s.account_id \
             and m.id_hi = s.id_hi and m.id_lo = s.id_lo where {submitted} and {}{suspended} {end}",
            columns("case when b.run_no is null then 'uncharged' else 'charged' end", "b.run_no"),
            self.runs.name("b.run_no"),
            columns("case when s.run_no is null then 'suspense' else 'charged' end", "s.run_no"),
            self.runs.name("s.run_no"),
        )
    }

    /// Whether nothing that comes now would be in time.
    pub(super) fn ripe(&self) -> String {
        format!("case when m.submit_time < {} then 1 else 0 end", self.now.0.saturating_sub(IN_TIME))
    }

    /// What windows of these days were charged, or given back.
    fn billed(&self, table: &str, run: &str, units: &str, only: &str) -> String {
        format!(
            "select account_id, {}, product, template_type, country, 0, 0, 0, 0, 0, 0, {units} from {table} \
             where window_start >= {} and window_start < {} and {}{}{only}",
            self.place("window_start"),
            self.from(),
            self.upto(),
            self.runs.name(run),
            self.account.map_or(String::new(), |account| format!(" and account_id = {account}")),
        )
    }

    /// The place of a moment's day. SQL knows no zones, but most days have 24 hours.
    fn place(&self, column: &str) -> String {
        let hours = |(_, begins, ends): &(Day, Timestamp, Timestamp)| ends.0 - begins.0;
        let mut cases = String::new();
        let mut place = 0;
        for alike in self.days.chunk_by(|a, b| hours(a) == hours(b)) {
            if let (Some((_, begins, ends)), Some((.., upto))) = (alike.first(), alike.last()) {
                let day = ends.0 - begins.0;
                cases +=
                    &format!(" when {column} < {} then {place} + ({column} - {}) / {day}", upto.0, begins.0);
            }
            place += alike.len();
        }
        format!("case{cases} end")
    }
}

async fn any(tx: &mut Tx, what: &str) -> Result<bool, StoreError> {
    let sql = format!("select count(*) from (select 1 from receipts where {what} limit 1) found");
    Ok(tx.int(sql, vec![]).await? > 0)
}

pub(super) const SENT: &str = "(m.disposition is null or m.disposition = 'too_long')";

pub(super) const KIND: &str = "case when m.disposition = 'inbound' then 'inbound' \
    when m.disposition = 'rejected' and m.reject_code = 'blacklist' then 'blacklist' \
    when m.disposition = 'rejected' then 'rejected' else 'sent' end";

/// Counts of a group of messages, or of one.
pub(super) const COUNTS: &str = "case when kind in ('sent', 'rejected') then messages else 0 end as attempts, \
    case when kind = 'sent' then units else 0 end as submitted, \
    case when fate = 'delivered' then units when fate is null then delivered_parts else 0 end as delivered, \
    case when fate <> 'delivered' then units when fate is null then failed_parts else 0 end as failed, \
    case when kind = 'sent' and state <> 'suspense' and ripe = 1 and fate is null \
         then units - delivered_parts - failed_parts else 0 end as unknown, \
    case when kind = 'inbound' then units else 0 end as free, 0 as billed, \
    case when kind = 'sent' and state = 'suspense' then units else 0 end as suspense, \
    case when kind = 'sent' and state = 'uncharged' then units else 0 end as uncharged, 0 as allowance";

/// Billed, suspense, uncharged and allowance of a charge: free units are nobody's bill (R30).
const PAID: &str =
    "case when plan_no < 0 then 0 else units end, 0, 0, case when plan_no < 0 then units else 0 end";

/// The final receipts of a message `m` that came in time. One that names no account, or a request and a
/// recipient, is a message's only where no other answers to it.
fn receipts(kinds: &Kinds, r: &str) -> String {
    let by_key = format!("{r}.id_hi = m.id_hi and {r}.id_lo = m.id_lo");
    let (found, alone) = if kinds.by_request {
        let alone = format!(
            " and not exists (select 1 from messages o where {r}.biz_id is not null and o.biz_id = {r}.biz_id \
             and o.recipient_hash = {r}.recipient_hash and {r}.account_id in (o.account_id, '') \
             and not (o.account_id = m.account_id and o.id_hi = m.id_hi and o.id_lo = m.id_lo))"
        );
        (format!("({by_key} or {r}.biz_id = m.biz_id and {r}.recipient_hash = m.recipient_hash)"), alone)
    } else {
        (by_key, String::new())
    };
    format!(
        "from receipts {r} where {found} and {r}.account_id in (m.account_id, '') and {r}.slot = 'final' \
         and {r}.received_at <= m.submit_time + {IN_TIME} \
         and not exists (select 1 from messages o where {r}.account_id = '' and o.id_hi = {r}.id_hi \
           and o.id_lo = {r}.id_lo and o.account_id <> m.account_id){alone}"
    )
}

/// By what the receipts of a message follow on one another: the first one in time counts, whatever was reported
/// later (D14, D15, D46).
fn order(r: &str) -> String {
    format!(
        "case when {r}.report_time - m.submit_time > {REFUND_WINDOW} then 1 else 0 end, {r}.batch_no, {r}.line"
    )
}

/// Where another receipt may name the message in another way: that none such comes before. SQLite finds no
/// column of the message in the order of a subquery.
fn is_first(kinds: &Kinds, which: &str) -> String {
    if !kinds.two_names {
        return String::new();
    }
    let (before, this) = (order("p"), order("r"));
    format!(" and not exists (select 1 {} and {which} and ({before}) < ({this}))", receipts(kinds, "p"))
}

/// What receipts say of a message in such a state: of one that no carrier was asked to deliver, or that
/// waits in suspense, nothing is counted.
pub(super) fn told(state: &str, what: &str) -> String {
    format!("case when {SENT} and {state} <> 'suspense' then {what} end")
}

/// A column of the receipt that tells of a whole message (D15, D46).
pub(super) fn fate(kinds: &Kinds, column: &str) -> String {
    let whole = format!("{} and r.part = 0", receipts(kinds, "r"));
    if !kinds.two_names {
        return format!("(select {column} {whole} limit 1)");
    }
    let first = if kinds.by_part { is_first(kinds, "p.part >= 0") } else { is_first(kinds, "p.part = 0") };
    format!("(select {column} {whole}{first} limit 1)")
}

/// What became of a whole message. One that was given back, or left out of its charge, failed, also where others
/// answer to its receipt by now.
pub(super) fn status(kinds: &Kinds) -> String {
    let told = fate(kinds, "r.status");
    if !kinds.two_names {
        return told;
    }
    let of_message = "t.account_id = m.account_id and t.id_hi = m.id_hi and t.id_lo = m.id_lo and t.part = 0";
    format!(
        "coalesce({told}, case when exists (select 1 from returns t where {of_message} and t.was_final = 0) \
           or exists (select 1 from not_charged t where {of_message}) then 'failed' end)"
    )
}

/// How many parts of a message were delivered.
pub(super) fn delivered_parts(kinds: &Kinds) -> String {
    told_parts(kinds, "=")
}

/// How many parts of a message failed. As of whole messages, those that were given back, or left out of its
/// charge, did so also where others answer to their receipts by now.
pub(super) fn failed_parts(kinds: &Kinds) -> String {
    let told = told_parts(kinds, "<>");
    if !kinds.by_part || !kinds.two_names {
        return told;
    }
    let of_message = "t.account_id = m.account_id and t.id_hi = m.id_hi and t.id_lo = m.id_lo \
                      and t.part between 1 and m.units";
    format!(
        "({told} + (select count(*) from (select t.part from returns t where {of_message} and t.was_final = 0 \
           union select t.part from not_charged t where {of_message}) settled \
           where not exists (select 1 {} and r.part = settled.part)))",
        receipts(kinds, "r")
    )
}

/// How many parts of a message were delivered (`=`), or failed (`<>`), as receipts say.
fn told_parts(kinds: &Kinds, delivered: &str) -> String {
    if !kinds.by_part {
        return "0".into();
    }
    let first = is_first(kinds, "p.part = r.part");
    format!("(select count(distinct r.part) {}{first} and r.status {delivered} 'delivered')", of_parts(kinds))
}

/// When the last part that counts was reported.
pub(super) fn last_part(kinds: &Kinds) -> String {
    if kinds.by_part {
        format!("(select max(r.report_time) {})", of_parts(kinds))
    } else {
        "cast(null as bigint)".into()
    }
}

fn of_parts(kinds: &Kinds) -> String {
    format!("{} and r.part between 1 and m.units", receipts(kinds, "r"))
}
