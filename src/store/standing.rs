//! Changes of an account's standing: active, suspended, closed. Each is an event that gateways follow,
//! linked to the ledger entry that brought it, and a notice to the customer (D2). So is a balance that
//! falls below its account's bound (R143, D39).

use super::db::{Row, Tx, Value, values};
use super::error::StoreError;
use super::notices::{Notices, balance_facts};
use crate::domain::account::Status;
use crate::domain::money::Micros;
use crate::domain::notice::{Fact, Notice, NoticeKind};
use crate::domain::period::Timestamp;

/// A change of one account's money, and of the status that follows from it.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    pub account_id: &'a str,
    /// The account's last ledger entry.
    pub entry_no: i64,
    /// Whether that entry brought it.
    pub by_entry: bool,
    pub before: Status,
    pub after: Status,
    pub available_before: Micros,
    pub available: Micros,
    pub at: Timestamp,
    /// In somebody's words; None where it follows from the money.
    pub reason: Option<&'a str>,
}

/// Changes of a transaction.
#[derive(Default)]
pub struct Standings {
    events: Vec<Vec<Value>>,
    /// Balances on their way down.
    falls: Vec<Vec<Value>>,
    notices: Notices,
}

impl Standings {
    /// Takes up what may be a change.
    pub fn push(&mut self, change: &Change<'_>) {
        let Change { account_id, entry_no, after, available, at, .. } = *change;
        // Who is suspended is told that instead, and who left nothing.
        if available < change.available_before && after == Status::Active {
            self.falls.push(values![account_id, entry_no, change.available_before.0, available.0, at.0]);
        }
        if after.is_same_standing(change.before) {
            return;
        }
        let (reason, kind) = match after {
            Status::Suspended => ("overdue", Some(NoticeKind::Suspended)),
            Status::Held { .. } => ("held", Some(NoticeKind::Suspended)),
            Status::Active => ("paid", Some(NoticeKind::Restored)),
            Status::Closed => ("closed", None),
        };
        let reason = change.reason.unwrap_or(reason);
        let by_entry = i64::from(change.by_entry);
        self.events.push(values![account_id, entry_no, by_entry, after.as_str(), at.0, reason, available.0]);
        if let Some(kind) = kind {
            let facts = vec![
                ("available", Fact::Money(available)),
                ("held", Fact::Count(i64::from(matches!(after, Status::Held { .. })))),
                ("reason", Fact::Text(reason.to_owned())),
            ];
            let notice = Notice { kind, subject: account_id.to_owned(), due: at, facts };
            self.notices.push(account_id, &notice, at);
        }
    }

    pub async fn flush(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let columns = "account_id, entry_no, by_entry, status, at, reason, available";
        let statement = format!("insert into account_events ({columns}) select {columns} from v");
        super::many::execute_with(tx, columns, std::mem::take(&mut self.events), &statement).await?;
        // Each fall is told once: when it passes the bound.
        let statement = format!(
            "insert into notices (account_id, kind, subject, due, at, facts) \
             select v.account_id, 'balance_low', cast(v.entry_no as text), v.at, v.at, {} \
             from v join balance_alerts t on t.account_id = v.account_id \
             where v.available_before >= t.threshold and v.available < t.threshold \
             on conflict (account_id, kind, subject, due) do nothing",
            balance_facts("v.available", "t.threshold")
        );
        let columns = "account_id, entry_no, available_before, available, at";
        super::many::execute_with(tx, columns, std::mem::take(&mut self.falls), &statement).await?;
        self.notices.flush(tx).await
    }
}

/// A change of an account's status as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingEvent {
    pub at: Timestamp,
    pub status: String,
    pub reason: String,
    pub available: Micros,
    /// The ledger entry that brought it; None where there was none before.
    pub cause: Option<String>,
}

/// The changes of an account's standing, the oldest first.
pub async fn events(tx: &mut Tx, account_id: &str) -> Result<Vec<StandingEvent>, StoreError> {
    let sql = "select v.at, v.status, v.reason, v.available, e.cause from account_events v \
               left join entries e on e.account_id = v.account_id and e.entry_no = v.entry_no and v.by_entry = 1 \
               where v.account_id = $1 order by v.event_no";
    let event = |row: &Row| {
        Ok(StandingEvent {
            at: Timestamp(row.int(0)?),
            status: row.text(1)?,
            reason: row.text(2)?,
            available: Micros(row.int(3)?),
            cause: row.opt_text(4)?,
        })
    };
    tx.rows(sql, values![account_id]).await?.iter().map(event).collect()
}
