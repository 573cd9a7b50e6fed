//! Notices on their way to people: written in the transaction of their cause, each once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::db::{Row, Tx, Value, values};
use super::error::StoreError;
use crate::domain::money::Micros;
use crate::domain::notice::{Channel, Fact, Notice, NoticeKind};
use crate::domain::period::Timestamp;

/// Notices of a transaction.
#[derive(Default)]
pub struct Notices {
    rows: Vec<Vec<Value>>,
}

impl Notices {
    /// Takes up a notice to an account; to the operator where the account is empty.
    pub fn push(&mut self, account_id: &str, notice: &Notice, at: Timestamp) {
        self.rows.push(values![
            account_id,
            notice.kind.as_str(),
            &notice.subject,
            notice.due.0,
            at.0,
            facts_json(&notice.facts)
        ]);
    }

    /// Writes them; those that were written before are left as they are.
    pub async fn flush(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.rows);
        let columns = "account_id, kind, subject, due, at, facts";
        let statement = format!(
            "insert into notices ({columns}) select {columns} from v where true \
             on conflict (account_id, kind, subject, due) do nothing"
        );
        super::many::execute_with(tx, columns, rows, &statement).await.map(|_| ())
    }
}

/// Facts as they are kept: each with its type, so that amounts and times are written out for the reader.
fn facts_json(facts: &[(&'static str, Fact)]) -> String {
    let value = |fact: &Fact| match fact {
        Fact::Money(amount) => json!(["money", amount.0]),
        Fact::Count(count) => json!(["count", count]),
        Fact::Time(at) => json!(["time", at.0]),
        Fact::Text(text) => json!(["text", text]),
    };
    let facts: Map<String, Json> =
        facts.iter().map(|(name, fact)| ((*name).to_owned(), value(fact))).collect();
    Json::Object(facts).to_string()
}

/// Facts as they were kept.
fn facts_of(text: &str) -> Result<Vec<(String, Fact)>, StoreError> {
    let corrupt = || StoreError::Corrupt(format!("the facts of a notice: {text}"));
    let kept: Map<String, Json> = serde_json::from_str(text).map_err(|_| corrupt())?;
    let fact = |(name, value): (String, Json)| {
        let number = || value[1].as_i64().ok_or_else(corrupt);
        let fact = match value[0].as_str() {
            Some("money") => Fact::Money(Micros(number()?)),
            Some("count") => Fact::Count(number()?),
            Some("time") => Fact::Time(Timestamp(number()?)),
            Some("text") => Fact::Text(value[1].as_str().ok_or_else(corrupt)?.to_owned()),
            _ => return Err(corrupt()),
        };
        Ok((name, fact))
    };
    kept.into_iter().map(fact).collect()
}

/// A notice as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeRow {
    pub notice_no: i64,
    pub account_id: String,
    pub kind: NoticeKind,
    pub subject: String,
    pub due: Timestamp,
    pub at: Timestamp,
    pub facts: Vec<(String, Fact)>,
    pub read_at: Option<Timestamp>,
}

/// The columns of a notice, as [`notice_row`] reads them.
pub(super) const NOTICE: &str =
    "n.notice_no, n.account_id, n.kind, n.subject, n.due, n.at, n.facts, n.read_at";

pub(super) fn notice_row(row: &Row) -> Result<NoticeRow, StoreError> {
    let kind = row.text(2)?;
    Ok(NoticeRow {
        notice_no: row.int(0)?,
        account_id: row.text(1)?,
        kind: NoticeKind::parse(&kind)
            .ok_or_else(|| StoreError::Corrupt(format!("a notice is of the kind {kind}")))?,
        subject: row.text(3)?,
        due: Timestamp(row.int(4)?),
        at: Timestamp(row.int(5)?),
        facts: facts_of(&row.text(6)?)?,
        read_at: row.opt_int(7)?.map(Timestamp),
    })
}

/// What an account finds in its inbox, newest first: all that is due by now.
pub async fn inbox(
    tx: &mut Tx,
    account_id: &str,
    unread: bool,
    now: Timestamp,
) -> Result<Vec<NoticeRow>, StoreError> {
    let unread = if unread { "and n.read_at is null" } else { "" };
    let sql = format!(
        "select {NOTICE} from notices n where n.account_id = $1 and n.due <= $2 {unread} \
         order by n.at desc, n.notice_no desc"
    );
    tx.rows(sql, values![account_id, now.0]).await?.iter().map(notice_row).collect()
}

/// Marks one notice of an account as read, or all that are due; gives how many were not before.
pub async fn mark_read(
    tx: &mut Tx,
    account_id: &str,
    notice_no: Option<i64>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let sql = "update notices set read_at = $3 where account_id = $1 and ($2 is null or notice_no = $2) \
               and due <= $3 and read_at is null";
    tx.execute(sql, values![account_id, notice_no, now.0]).await
}

/// Whether an account has such a notice.
pub async fn exists(tx: &mut Tx, account_id: &str, notice_no: i64) -> Result<bool, StoreError> {
    let sql = "select count(*) from notices where account_id = $1 and notice_no = $2";
    Ok(tx.int(sql, values![account_id, notice_no]).await? > 0)
}

/// What an account wants otherwise than is usual: kind (None for all), channel, and whether it is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(pub Vec<(Option<NoticeKind>, Channel, bool)>);

impl Settings {
    /// What is said of a kind and channel; of the kind itself before that of all kinds.
    pub fn said(&self, kind: NoticeKind, channel: Channel) -> Option<bool> {
        let of = |wanted: Option<NoticeKind>| {
            let same = |(of, by, _): &&(Option<NoticeKind>, Channel, bool)| *of == wanted && *by == channel;
            self.0.iter().find(same).map(|(_, _, on)| *on)
        };
        of(Some(kind)).or_else(|| of(None))
    }
}

/// The settings of accounts, of those that have any.
pub async fn settings(
    tx: &mut Tx,
    accounts: &BTreeSet<String>,
) -> Result<BTreeMap<String, Settings>, StoreError> {
    let mut found: BTreeMap<String, Settings> = BTreeMap::new();
    let rows = accounts.iter().map(|id| values![id]).collect();
    let query = "select account_id, kind, channel, setting from notice_settings \
                 where account_id in (select wanted from v) and setting <> 'default' \
                 order by account_id, kind, channel";
    for row in super::many::rows_with(tx, "wanted", rows, query).await? {
        let (account_id, kind, channel) = (row.text(0)?, row.text(1)?, row.text(2)?);
        let corrupt =
            || StoreError::Corrupt(format!("account {account_id} has a setting for {kind} {channel}"));
        let of = if kind.is_empty() { None } else { Some(NoticeKind::parse(&kind).ok_or_else(corrupt)?) };
        let by = Channel::parse(&channel).ok_or_else(corrupt)?;
        found.entry(account_id.clone()).or_default().0.push((of, by, row.text(3)? == "on"));
    }
    Ok(found)
}

/// The settings of one account.
pub async fn settings_of(tx: &mut Tx, account_id: &str) -> Result<Settings, StoreError> {
    let found = settings(tx, &BTreeSet::from([account_id.to_owned()])).await?;
    Ok(found.into_values().next().unwrap_or_default())
}

/// Notes what an account wants; None takes it back.
pub async fn set(
    tx: &mut Tx,
    account_id: &str,
    kind: Option<NoticeKind>,
    channel: Channel,
    on: Option<bool>,
) -> Result<(), StoreError> {
    let kind = kind.map_or("", NoticeKind::as_str);
    let setting = match on {
        Some(true) => "on",
        Some(false) => "off",
        None => "default",
    };
    let sql = "insert into notice_settings (account_id, kind, channel, setting) values ($1, $2, $3, $4) \
               on conflict (account_id, kind, channel) do update set setting = excluded.setting";
    tx.execute(sql, values![account_id, kind, channel.as_str(), setting]).await.map(|_| ())
}

/// The facts of a low balance, made by the database of two columns.
pub(super) fn balance_facts(available: &str, threshold: &str) -> String {
    format!(
        "'{{\"available\":[\"money\",' || cast({available} as text) || '],\"threshold\":[\"money\",' || \
         cast({threshold} as text) || ']}}'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_as_they_were_written() {
        let facts = [
            ("a", Fact::Money(Micros(-5))),
            ("b", Fact::Count(i64::MAX)),
            ("c", Fact::Time(Timestamp(7))),
            ("d", Fact::Text("\"x\"\n".to_owned())),
        ];
        let read = facts_of(&facts_json(&facts)).unwrap();
        assert_eq!(read, facts.map(|(name, fact)| (name.to_owned(), fact)));
        for text in ["", "[]", r#"{"a":["money","1"]}"#, r#"{"a":["float",1]}"#, r#"{"a":1}"#] {
            assert!(facts_of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_said_of_a_kind_comes_before_what_is_said_of_all() {
        let email = Channel::Email;
        let settings = Settings(vec![(None, email, false), (Some(NoticeKind::BillReady), email, true)]);
        assert_eq!(settings.said(NoticeKind::BillReady, email), Some(true));
        assert_eq!(settings.said(NoticeKind::Overdue, email), Some(false));
        assert_eq!(settings.said(NoticeKind::Overdue, Channel::Sms), None);
    }
}
