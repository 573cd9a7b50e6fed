//! Failure receipts that no run has answered yet, with the messages that they are about.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::db::{Tx, values};
use super::dialect::{Bulk, Field, for_each_row};
use super::error::StoreError;
use super::receipts;
use super::staging::{create_temporary, drop_temporary};
use crate::domain::charge::Place;
use crate::domain::message::MessageKey;
use crate::domain::period::Timestamp;
use crate::domain::product::{RECEIPT_GRACE, REFUND_WINDOW};

/// A failure receipt that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFailure {
    /// As the receipt has it: the account may be empty.
    pub id: FailureId,
    pub parts: Option<i64>,
    pub place: Place,
    pub report_time: Timestamp,
    pub received_at: Timestamp,
    pub message: Matched,
    /// An earlier receipt, which named the message in another way, told otherwise of it.
    pub contradicted: bool,
}

/// The key of a failure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureId {
    pub account_id: Arc<str>,
    pub key: MessageKey,
    /// 0: the whole message.
    pub part: i64,
}

/// What is known of the message of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matched {
    /// It has not come yet.
    Unknown,
    /// Several messages are of this id, or of this request and recipient.
    Ambiguous,
    One(FailedMessage),
}

/// The message that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedMessage {
    pub account_id: Arc<str>,
    pub key: MessageKey,
    pub product: Arc<str>,
    pub template_type: Arc<str>,
    pub country: Arc<str>,
    /// None: to be charged; else `too_long`, `rejected`, `inbound`.
    pub disposition: Option<Arc<str>>,
    pub units: i64,
    pub submit_time: Timestamp,
    pub place: Place,
    /// The run that charged it; None while it waits to be charged, or in suspense.
    pub charged_by: Option<i64>,
    pub in_suspense: bool,
}

impl OpenFailure {
    /// Whether the carrier reported the failure within 72 hours of submission, that moment included
    /// (D14, D47).
    pub fn reported_in_time(&self, message: &FailedMessage) -> bool {
        self.report_time.0.saturating_sub(message.submit_time.0) <= REFUND_WINDOW
    }

    /// Whether the receipt came before the message's charge was final (D47).
    pub fn received_in_time(&self, message: &FailedMessage) -> bool {
        self.received_at.0.saturating_sub(message.submit_time.0) <= REFUND_WINDOW + RECEIPT_GRACE
    }
}

/// What a run made of a failure receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Returned,
    /// It was known when the message would have been charged.
    NotCharged,
    /// Charged on submission, or never charged at all (R87, D16).
    NoMoney,
    /// Reported after 72 hours (D14).
    Late,
    /// Another receipt was answered for the same message or part.
    Duplicate,
    /// Listed for an operator.
    Exception,
}

impl Answer {
    pub fn as_str(self) -> &'static str {
        match self {
            Answer::Returned => "returned",
            Answer::NotCharged => "not_charged",
            Answer::NoMoney => "no_money",
            Answer::Late => "late",
            Answer::Duplicate => "duplicate",
            Answer::Exception => "exception",
        }
    }
}

/// Whether an earlier final receipt in time, which names the message in another way, says that it was delivered, or
/// tells of parts where this one tells of the whole, or the other way round (D15, D46, D66). Where both name
/// it in the same way that was seen when they came in; the other ways are a request and a recipient instead
/// of an id, and no account. A receipt that other messages answer to, too, contradicts nothing. Few failures
/// have to be looked up for that.
const CONTRADICTED: &str = "cast(case when m.account_id is null then 0 \
      when ({nameless} or f.account_id <> m.account_id or f.id_hi <> m.id_hi or f.id_lo <> m.id_lo) and exists \
        (select 1 from receipts r where r.id_hi = m.id_hi and r.id_lo = m.id_lo and {other_id}) then 1 \
      when m.biz_id is not null and exists \
        (select 1 from receipts r where r.biz_id = m.biz_id and r.recipient_hash = m.recipient_hash \
         and {other_request}) then 1 \
      else 0 end as bigint)";
const OTHER: &str = "r.account_id in (m.account_id, '') and r.slot = 'final' \
    and (r.account_id <> f.account_id or r.id_hi <> f.id_hi or r.id_lo <> f.id_lo) \
    and (sign(r.part) <> sign(f.part) or (r.part = f.part and r.status = 'delivered')) \
    and r.report_time - m.submit_time <= {in_time} \
    and (r.batch_no, r.line) < (f.batch_no, f.line) \
    and not exists (select 1 from messages n where (n.account_id <> m.account_id or n.id_hi <> m.id_hi \
      or n.id_lo <> m.id_lo) and r.account_id in ('', n.account_id) and {same})";

const COLUMNS: &str = "f.account_id, f.id_hi, f.id_lo, f.part, f.parts, f.batch_no, f.line, f.report_time, \
    f.received_at, m.account_id, m.id_hi, m.id_lo, m.product, m.template_type, m.country, m.disposition, m.units, \
    m.submit_time, m.batch_no, m.line, b.run_no, s.batch_no, s.run_no";
const TYPES: &str = "tiiiiiiiitiittttiiiiiiii";

/// The messages that a receipt may name: by their id, or by a request and a recipient.
const BY_ID: &str = "m.id_hi = f.id_hi and m.id_lo = f.id_lo";
const BY_REQUEST: &str = "m.biz_id = f.biz_id and m.recipient_hash = f.recipient_hash";

/// Finds messages by their id, then, where a receipt names a request and a recipient, by these.
fn query(failures: &str, by: &str, any_nameless: bool) -> String {
    let nameless = if any_nameless { "0 = 0" } else { "0 = 1" };
    let other = OTHER.replace("{in_time}", &REFUND_WINDOW.to_string());
    let other = |same| other.replace("{same}", same);
    let contradicted = CONTRADICTED
        .replace("{nameless}", nameless)
        .replace("{other_id}", &other("n.id_hi = r.id_hi and n.id_lo = r.id_lo"))
        .replace("{other_request}", &other("n.biz_id = r.biz_id and n.recipient_hash = r.recipient_hash"));
    format!(
        "select {COLUMNS}, {contradicted} from ({failures}) f \
         left join messages m on {by} and f.account_id in ('', m.account_id) \
         left join batches b on b.batch_no = m.batch_no \
         left join suspense s on s.account_id = m.account_id and s.id_hi = m.id_hi and s.id_lo = m.id_lo"
    )
}

/// Failures that are read together: what memory holds of them.
const PORTION: usize = 100_000;

/// The failures that wait for an answer, in order of arrival, with their messages, so many at a time.
#[derive(Default)]
pub struct OpenFailures {
    /// The last that was read.
    after: Place,
}

impl OpenFailures {
    /// The next portion; empty at the end.
    pub async fn next(&mut self, tx: &mut Tx) -> Result<Vec<OpenFailure>, StoreError> {
        let Place { batch_no, line } = self.after;
        let open =
            format!("select batch_no, line from open_failures where (batch_no, line) > ({batch_no}, {line})");
        let any = format!("select count(*) from ({open} limit 1) first");
        if tx.int(any, vec![]).await? == 0 {
            return Ok(Vec::new());
        }
        let portion = format!(
            "select f.* from ({open} order by batch_no, line limit {PORTION}) o \
             join failures f on f.batch_no = o.batch_no and f.line = o.line"
        );
        tx.look_up_one_by_one(true).await?;
        let found = with_messages(tx, &portion, Which::default()).await?;
        tx.look_up_one_by_one(false).await?;
        self.after = found.last().map_or(self.after, |failure| failure.place);
        Ok(found)
    }
}

/// Which message a receipt is about, where somebody says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Which<'a> {
    pub account_id: Option<&'a str>,
    pub message_id: Option<&'a str>,
}

impl Which<'_> {
    fn is(&self, message: &FailedMessage) -> bool {
        self.account_id.is_none_or(|id| *message.account_id == *id)
            && self.message_id.is_none_or(|id| message.key == MessageKey::of(id))
    }
}

/// A failure, answered or not, with its message; of several messages that one.
pub async fn find(tx: &mut Tx, id: &FailureId, which: Which<'_>) -> Result<Option<OpenFailure>, StoreError> {
    let FailureId { key, part, .. } = id;
    let of_key =
        format!("select * from failures where id_hi = {} and id_lo = {} and part = {part}", key.hi, key.lo);
    let found = with_messages(tx, &of_key, which).await?;
    Ok(found.into_iter().find(|failure| failure.id == *id))
}

async fn with_messages(
    tx: &mut Tx,
    failures: &str,
    which: Which<'_>,
) -> Result<Vec<OpenFailure>, StoreError> {
    let mut found: BTreeMap<Place, OpenFailure> = BTreeMap::new();
    let mut words = Words::default();
    let mut take = |row: &[Field<'_>]| {
        let mut failure = open_failure(row, &mut words)?;
        if matches!(&failure.message, Matched::One(message) if !which.is(message)) {
            failure.message = Matched::Unknown;
        }
        let Some(known) = found.get_mut(&failure.place) else {
            found.insert(failure.place, failure);
            return Ok(());
        };
        known.contradicted |= failure.contradicted;
        let message = std::mem::replace(&mut known.message, Matched::Unknown);
        known.message = match (message, failure.message) {
            (Matched::Unknown, other) | (other, Matched::Unknown) => other,
            (one, other) if one == other => one,
            _ => Matched::Ambiguous,
        };
        Ok(())
    };
    let nameless = receipts::any_nameless(tx).await?;
    for_each_row(tx, &query(failures, BY_ID, nameless), TYPES, &mut take).await?;
    let by_request = query(failures, BY_REQUEST, nameless);
    for_each_row(tx, &format!("{by_request} where f.biz_id is not null"), TYPES, &mut take).await?;
    Ok(found.into_values().collect())
}

/// When the first failure was received, by account, of charged messages whose failures wait for an
/// answer: what they give back is not known yet. A failure whose message was not charged is no such; it
/// gives nothing back, since its message will be left out of the charge.
pub async fn claims_before(
    tx: &mut Tx,
    received_before: Timestamp,
) -> Result<BTreeMap<Arc<str>, Timestamp>, StoreError> {
    let open = format!(
        "select f.* from open_failures o join failures f on f.batch_no = o.batch_no and f.line = o.line \
         where f.received_at < {}",
        received_before.0
    );
    let any = format!("select count(*) from ({open} limit 1) first");
    let mut first = BTreeMap::new();
    if tx.int(any, vec![]).await? == 0 {
        return Ok(first);
    }
    let mut take = |row: &[Field<'_>]| {
        let received_at = Timestamp(row[1].int()?);
        let known = first.entry(row[0].text()?.into()).or_insert(received_at);
        *known = received_at.min(*known);
        Ok(())
    };
    tx.look_up_one_by_one(true).await?;
    for by in [BY_ID, BY_REQUEST] {
        // `cross join` keeps SQLite to this order: few failures, many messages.
        let sql = format!(
            "select m.account_id, f.received_at from ({open}) f \
             cross join messages m cross join batches b \
             left join suspense s on s.account_id = m.account_id and s.id_hi = m.id_hi and s.id_lo = m.id_lo \
             where {by} and f.account_id in ('', m.account_id) and b.batch_no = m.batch_no \
             and ((s.account_id is null and b.run_no is not null) or s.run_no is not null)"
        );
        for_each_row(tx, &sql, "ti", &mut take).await?;
    }
    tx.look_up_one_by_one(false).await?;
    Ok(first)
}

/// Whether a failure of a message of an account, or with "" of any, waits for the next run.
pub async fn any_waits(tx: &mut Tx, account_id: &str, key: MessageKey) -> Result<bool, StoreError> {
    let mut sql =
        "select count(*) from failures where id_hi = $1 and id_lo = $2 and run_no is null".to_owned();
    let mut of = values![key.hi, key.lo];
    if !account_id.is_empty() {
        sql += " and account_id in ($3, '')";
        of.push(account_id.into());
    }
    Ok(tx.int(sql, of).await? > 0)
}

/// Whether failures of an account's messages wait for the next run.
pub async fn any_open(tx: &mut Tx, account_id: &str) -> Result<bool, StoreError> {
    let sql = "select count(*) from (select 1 from open_failures o \
                 join failures f on f.batch_no = o.batch_no and f.line = o.line \
               where f.account_id = $1 or (f.account_id = '' and exists (select 1 from messages m \
                 where m.id_hi = f.id_hi and m.id_lo = f.id_lo and m.account_id = $1)) limit 1) t";
    Ok(tx.int(sql, values![account_id]).await? > 0)
}

/// The columns that a failure has of its receipt.
pub(super) const FAILURE: &str = "id_hi, id_lo, account_id, part, parts, batch_no, line, report_time, received_at, \
    biz_id, recipient_hash";
/// How a failure takes the place of another of its key, and waits for an answer.
pub(super) const TAKES_PLACE: &str = "parts = excluded.parts, batch_no = excluded.batch_no, line = excluded.line, \
    report_time = excluded.report_time, received_at = excluded.received_at, biz_id = excluded.biz_id, \
    recipient_hash = excluded.recipient_hash, run_no = null, answer = null";

/// Takes a receipt that contradicts another for a failure that counts: an operator says so (D15). It takes the
/// place of one that was late.
pub async fn accept_conflict(tx: &mut Tx, id: &FailureId) -> Result<(), StoreError> {
    let sql = format!(
        "insert into failures ({FAILURE}) select {FAILURE} from receipts where id_hi = $1 and id_lo = $2 \
         and account_id = $3 and part = $4 and slot = 'conflict failed' \
         on conflict (id_hi, id_lo, account_id, part) do update set {TAKES_PLACE} where failures.answer = 'late'"
    );
    let added = tx.execute(sql, values![id.key.hi, id.key.lo, &*id.account_id, id.part]).await?;
    if added > 0 {
        let open = "insert into open_failures (batch_no, line) select batch_no, line from failures \
                    where id_hi = $1 and id_lo = $2 and account_id = $3 and part = $4";
        tx.execute(open, values![id.key.hi, id.key.lo, &*id.account_id, id.part]).await?;
    }
    Ok(())
}

/// Words that many rows share, each kept once.
#[derive(Default)]
struct Words(HashSet<Arc<str>>);

impl Words {
    fn keep(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.0.get(word) {
            return known.clone();
        }
        let word: Arc<str> = word.into();
        self.0.insert(word.clone());
        word
    }
}

fn open_failure(row: &[Field<'_>], words: &mut Words) -> Result<OpenFailure, StoreError> {
    let message = match row[9].opt_text()? {
        None => Matched::Unknown,
        Some(account_id) => {
            let in_suspense = row[21].opt_int()?.is_some() && row[22].opt_int()?.is_none();
            let charged_by = row[22].opt_int()?.or(row[20].opt_int()?);
            Matched::One(FailedMessage {
                account_id: words.keep(account_id),
                key: MessageKey { hi: row[10].int()?, lo: row[11].int()? },
                product: words.keep(row[12].text()?),
                template_type: words.keep(row[13].text()?),
                country: words.keep(row[14].text()?),
                disposition: row[15].opt_text()?.map(|word| words.keep(word)),
                units: row[16].int()?,
                submit_time: Timestamp(row[17].int()?),
                place: Place { batch_no: row[18].int()?, line: row[19].int()? },
                charged_by: charged_by.filter(|_| !in_suspense),
                in_suspense,
            })
        }
    };
    Ok(OpenFailure {
        id: FailureId {
            account_id: words.keep(row[0].text()?),
            key: MessageKey { hi: row[1].int()?, lo: row[2].int()? },
            part: row[3].int()?,
        },
        parts: row[4].opt_int()?,
        place: Place { batch_no: row[5].int()?, line: row[6].int()? },
        report_time: Timestamp(row[7].int()?),
        received_at: Timestamp(row[8].int()?),
        message,
        contradicted: row[23].int()? == 1,
    })
}

/// Answers on their way in. They are staged and taken up by one statement: to look a few thousand
/// receipts up in many portions would cost a multiple.
pub struct Answers {
    run_no: i64,
    answered: Bulk,
    any: bool,
    begun: bool,
    not_charged: Bulk,
    not_charged_count: i64,
}

const ANSWERED: &str = "batch_no, line, answer";
const INTEGERS: &[&str] = &["batch_no", "line"];

impl Answers {
    pub fn new(tx: &Tx, run_no: i64) -> Answers {
        let columns = "account_id, id_hi, id_lo, part, units, run_no";
        Answers {
            run_no,
            answered: Bulk::new(tx.dialect(), "answered", ANSWERED),
            any: false,
            begun: false,
            not_charged: Bulk::new(tx.dialect(), "not_charged", columns),
            not_charged_count: 0,
        }
    }

    /// Of the failure at a place.
    pub fn push(&mut self, at: Place, answer: Answer) {
        self.answered.push(&[at.batch_no.into(), at.line.into(), answer.as_str().into()]);
        self.any = true;
    }

    /// So many units of a message, or of a part of it, are not charged, since a receipt was there before that
    /// says that they failed.
    pub fn not_charged(&mut self, message: &FailedMessage, at: Place, part: i64, units: i64) {
        self.push(at, Answer::NotCharged);
        self.not_charged_count += 1;
        let FailedMessage { account_id, key, .. } = message;
        self.not_charged.push(&[
            (&**account_id).into(),
            key.hi.into(),
            key.lo.into(),
            part.into(),
            units.into(),
            self.run_no.into(),
        ]);
    }

    /// Messages, or parts, that were left out so far.
    pub fn not_charged_count(&self) -> i64 {
        self.not_charged_count
    }

    /// Stages what fills a portion.
    pub async fn flush_full(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        if self.any && !self.begun {
            create_temporary(tx, "answered", ANSWERED, INTEGERS).await?;
            self.begun = true;
        }
        self.not_charged.flush_full(tx).await?;
        self.answered.flush_full(tx).await
    }

    /// Takes all of them up, once, at the end of the run. Gives how many deliveries are listed, which contradict them
    /// by another name.
    pub async fn finish(&mut self, tx: &mut Tx, now: Timestamp) -> Result<i64, StoreError> {
        self.flush_full(tx).await?;
        self.not_charged.flush(tx).await?;
        if !self.any {
            return Ok(0);
        }
        self.answered.flush(tx).await?;
        let answer = "update failures set run_no = $1, answer = v.answer from answered v \
                      where failures.batch_no = v.batch_no and failures.line = v.line";
        tx.execute(answer, values![self.run_no]).await?;
        let close =
            "delete from open_failures where (batch_no, line) in (select batch_no, line from answered)";
        tx.execute(close, vec![]).await?;
        let listed = receipts::list_with_answers(tx, now).await?;
        drop_temporary(tx, &["answered"]).await?;
        Ok(listed)
    }
}
