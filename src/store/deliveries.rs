//! Deliveries of notices: decided once, claimed before they are sent, and noted when they were.
//!
//! ```text
//!  waiting --claim, committed--> sending --answer--> sent | waiting (later) | failed
//!                                   '-- its sender died, or its lease ran out: claimed again
//! ```
//! What is `sending` may have been sent: it is sent again under the same name, at most once for each
//! sender that died in between (F96, F101).

use std::time::Duration;

use super::accounts::{self, AccountRow};
use super::db::{Dialect, Row, Tx, Value, values};
use super::error::StoreError;
use super::leases::{self, Lease, database_now};
use super::notices::{NOTICE, NoticeRow, Settings, notice_row, settings};
use crate::domain::notice::Channel;
use crate::domain::period::Timestamp;
use crate::instance;

/// How long a delivery may be `sending` before another run takes it; a run that loses its own lease stops by
/// itself.
const LEASE: Duration = Duration::from_secs(600);

/// A notice whose ways are to be decided, with the account that it goes to.
#[derive(Clone, Debug)]
pub struct New {
    pub notice: NoticeRow,
    /// None for the operator.
    pub account: Option<AccountRow>,
    pub settings: Settings,
}

/// Notices that are due and whose ways nobody has decided, oldest first.
pub async fn undecided(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<New>, StoreError> {
    let sql = format!(
        "select {NOTICE} from notices n where n.expanded_at is null and n.due <= $1 order by n.notice_no limit $2"
    );
    let rows = tx.rows(sql, values![now.0, limit]).await?;
    let notices = rows.iter().map(notice_row).collect::<Result<Vec<_>, _>>()?;
    let ids = notices.iter().map(|notice| notice.account_id.clone()).filter(|id| !id.is_empty()).collect();
    let accounts = accounts::find_all(tx, &ids).await?;
    let settings = settings(tx, &ids).await?;
    let new = |notice: NoticeRow| New {
        account: accounts.get(&notice.account_id).cloned(),
        settings: settings.get(&notice.account_id).cloned().unwrap_or_default(),
        notice,
    };
    Ok(notices.into_iter().map(new).collect())
}

/// The way that a notice is to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub channel: Channel,
    pub target: String,
    /// It is too late to tell it; kept for the record.
    pub outdated: bool,
}

/// Notes the ways of notices, each notice once.
pub async fn decide(
    tx: &mut Tx,
    decided: &[(&NoticeRow, Vec<Way>)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    let mut notices = Vec::new();
    for (notice, ways) in decided {
        notices.push(values![notice.notice_no, now.0]);
        for way in ways {
            let state = if way.outdated { "outdated" } else { "waiting" };
            rows.push(values![
                &notice.account_id,
                notice.notice_no,
                way.channel.as_str(),
                &way.target,
                state,
                now.0,
                now.0
            ]);
        }
    }
    let columns = "account_id, notice_no, channel, target, state, since, next_at";
    let add = format!(
        "insert into deliveries ({columns}) select {columns} from v where true \
         on conflict (account_id, notice_no, channel, target) do nothing"
    );
    super::many::execute_with(tx, columns, rows, &add).await?;
    let mark = "update notices set expanded_at = v.at from v where notices.notice_no = v.notice_no";
    super::many::execute_with(tx, "notice_no, at", notices, mark).await.map(|_| ())
}

/// A delivery by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub account_id: String,
    pub notice_no: i64,
    pub channel: Channel,
    pub target: String,
}

impl Key {
    fn values(&self) -> Vec<Value> {
        values![&self.account_id, self.notice_no, self.channel.as_str(), &self.target]
    }
}

/// A delivery with all that it needs.
#[derive(Clone, Debug)]
pub struct DeliveryRow {
    pub key: Key,
    pub state: String,
    /// How many times it was begun, this time included.
    pub attempts: i64,
    pub since: Timestamp,
    pub next_at: Timestamp,
    pub sent_at: Option<Timestamp>,
    pub units: Option<i64>,
    pub error: Option<String>,
    pub notice: NoticeRow,
    pub account: Option<AccountRow>,
}

const DELIVERY: &str = "d.account_id, d.notice_no, d.channel, d.target, d.state, d.attempts, d.since, d.next_at, \
    d.sent_at, d.units, d.error";

/// Loads deliveries with their notices and accounts, by a condition and its values.
async fn load(tx: &mut Tx, condition: &str, values: Vec<Value>) -> Result<Vec<DeliveryRow>, StoreError> {
    let sql = format!(
        "select {NOTICE}, {DELIVERY} from deliveries d \
         join notices n on n.account_id = d.account_id and n.notice_no = d.notice_no where {condition}"
    );
    let rows = tx.rows(sql, values).await?;
    let ids = rows.iter().map(|row| row.text(1)).filter(|id| id.as_ref().is_ok_and(|id| !id.is_empty()));
    let accounts = accounts::find_all(tx, &ids.collect::<Result<_, _>>()?).await?;
    let one = |row: &Row| {
        let notice = notice_row(row)?;
        let account = accounts.get(&notice.account_id).cloned();
        delivery(row, notice, account)
    };
    rows.iter().map(one).collect()
}

fn delivery(row: &Row, notice: NoticeRow, account: Option<AccountRow>) -> Result<DeliveryRow, StoreError> {
    // The columns of the notice come first.
    let channel = row.text(10)?;
    Ok(DeliveryRow {
        key: Key {
            account_id: row.text(8)?,
            notice_no: row.int(9)?,
            channel: Channel::parse(&channel)
                .ok_or_else(|| StoreError::Corrupt(format!("a delivery by {channel}")))?,
            target: row.text(11)?,
        },
        state: row.text(12)?,
        attempts: row.int(13)?,
        since: Timestamp(row.int(14)?),
        next_at: Timestamp(row.int(15)?),
        sent_at: row.opt_int(16)?.map(Timestamp),
        units: row.opt_int(17)?,
        error: row.opt_text(18)?,
        notice,
        account,
    })
}

/// Those that wait and are due, longest first.
pub async fn waiting(
    tx: &mut Tx,
    channel: Channel,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let condition = "d.state = 'waiting' and d.channel = $1 and d.next_at <= $2 \
                     order by d.next_at, d.notice_no, d.target limit $3";
    load(tx, condition, values![channel.as_str(), now.0, limit]).await
}

/// Whether anything of a channel is to be sent, or was left in doubt.
pub async fn is_any(tx: &mut Tx, channel: Channel, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "select count(*) from (select 1 from deliveries where channel = $1 \
               and ((state = 'waiting' and next_at <= $2) or state = 'sending') limit 1) found";
    Ok(tx.int(sql, values![channel.as_str(), now.0]).await? > 0)
}

/// Whether there are notices whose ways are to be decided.
pub async fn is_any_undecided(tx: &mut Tx, now: Timestamp) -> Result<bool, StoreError> {
    let sql =
        "select count(*) from (select 1 from notices where expanded_at is null and due <= $1 limit 1) found";
    Ok(tx.int(sql, values![now.0]).await? > 0)
}

/// Takes back what dead senders, or those whose lease ran out, left as `sending`.
pub async fn take_over(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    let moment = database_now(tx).await?;
    let sql = "select owner, min(lease_until) from deliveries where state = 'sending' group by owner";
    let mut taken = 0;
    for row in tx.rows(sql, vec![]).await? {
        let owner = row.opt_text(0)?.unwrap_or_default();
        let dead = instance::is_dead(&owner);
        if !dead && row.opt_int(1)?.is_some_and(|until| until > moment.0) {
            continue;
        }
        let sql = "update deliveries set state = 'waiting', owner = null, lease_until = null, next_at = $2 \
                   where state = 'sending' and coalesce(owner, '') = $1 and ($3 = 1 or lease_until <= $4)";
        taken += tx.execute(sql, values![owner, now.0, i64::from(dead), moment.0]).await?;
    }
    Ok(taken)
}

/// Claims deliveries for this process, for as long as the run has its lease. What is claimed is to be
/// committed before any of it is sent.
pub async fn claim(
    tx: &mut Tx,
    lease: &Lease,
    owner: &str,
    channel: Channel,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<DeliveryRow>, StoreError> {
    leases::renew(tx, lease).await?;
    let mut claimed = waiting(tx, channel, now, limit).await?;
    let until = database_now(tx).await?.0 + i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX);
    let key = |row: &DeliveryRow| {
        let mut values = row.key.values();
        values.extend(values![owner, until]);
        values
    };
    let statement = "update deliveries set state = 'sending', attempts = attempts + 1, owner = v.who, \
                     lease_until = v.held_until from v where deliveries.account_id = v.account_id \
                     and deliveries.notice_no = v.notice_no and deliveries.channel = v.way \
                     and deliveries.target = v.target and deliveries.state = 'waiting'";
    let columns = "account_id, notice_no, way, target, who, held_until";
    let touched =
        super::many::execute_with(tx, columns, claimed.iter().map(key).collect(), statement).await?;
    if touched != claimed.len() as u64 {
        return Err(StoreError::Collision);
    }
    claimed.iter_mut().for_each(|row| row.attempts += 1);
    Ok(claimed)
}

/// What became of a claimed delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    Sent {
        units: Option<i64>,
    },
    /// To be tried again.
    Later {
        at: Timestamp,
        error: String,
    },
    Failed {
        error: String,
    },
    /// It was too late to tell it.
    Outdated {
        error: String,
    },
    /// It was not offered to anybody, and counts as no attempt.
    Untouched,
}

/// Notes what became of deliveries that this process claimed. Not fenced by the lease of the run: what
/// was sent was sent.
pub async fn note(
    tx: &mut Tx,
    owner: &str,
    became: &[(Key, Became)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = |(key, became): &(Key, Became)| {
        let (state, next_at, sent_at, units, error, attempts) = match became {
            Became::Sent { units } => ("sent", now, Some(now.0), *units, None, 0),
            Became::Later { at, error } => ("waiting", *at, None, None, Some(error), 0),
            Became::Failed { error } => ("failed", now, None, None, Some(error), 0),
            Became::Outdated { error } => ("outdated", now, None, None, Some(error), -1),
            Became::Untouched => ("waiting", now, None, None, None, -1),
        };
        let mut values = key.values();
        values.extend(values![state, next_at.0, sent_at, units, error.cloned(), attempts, owner]);
        values
    };
    let statement = "update deliveries set state = v.state, next_at = v.next_at, sent_at = v.sent_at, \
                     units = v.units, \
                     error = case when v.state = 'sent' then null else coalesce(v.error, deliveries.error) end, \
                     attempts = deliveries.attempts + v.more, owner = null, lease_until = null from v \
                     where deliveries.account_id = v.account_id and deliveries.notice_no = v.notice_no \
                     and deliveries.channel = v.way and deliveries.target = v.target \
                     and deliveries.state = 'sending' and deliveries.owner = v.who";
    let columns = "account_id, notice_no, way, target, state, next_at, sent_at, units, error, more, who";
    super::many::execute_with(tx, columns, became.iter().map(row).collect(), statement).await.map(|_| ())
}

/// How many deliveries wait, and how many were given up, by channel.
pub async fn open(tx: &mut Tx) -> Result<Vec<(String, String, i64)>, StoreError> {
    let sql = "select channel, case when state = 'failed' then 'failed' else 'waiting' end as state, count(*) \
               from deliveries where state in ('waiting', 'sending', 'failed') \
               group by channel, case when state = 'failed' then 'failed' else 'waiting' end order by 1, 2";
    tx.rows(sql, vec![]).await?.iter().map(|row| Ok((row.text(0)?, row.text(1)?, row.int(2)?))).collect()
}

/// The newest deliveries, of one account or of all; with `failed` those that were given up alone.
pub async fn list(
    tx: &mut Tx,
    account_id: Option<&str>,
    failed: bool,
    limit: i64,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let condition = "($1 is null or d.account_id = $1) and ($2 = 0 or d.state = 'failed') \
                     order by d.notice_no desc, d.channel, d.target limit $3";
    load(tx, condition, values![account_id, i64::from(failed), limit]).await
}

/// Sets the deliveries of a notice, or of all, that failed to be tried again, and those of a named one that
/// were not offered since it was late; gives how many.
pub async fn retry(tx: &mut Tx, notice_no: Option<i64>, now: Timestamp) -> Result<u64, StoreError> {
    let sql = "update deliveries set state = 'waiting', attempts = 0, since = $2, next_at = $2 \
               where (notice_no = $1 and state = 'outdated') or ($1 is null or notice_no = $1) and state = 'failed'";
    tx.execute(sql, values![notice_no, now.0]).await
}

/// Puts the failed deliveries of a notice, or of all, away; gives how many.
pub async fn dismiss(tx: &mut Tx, notice_no: Option<i64>) -> Result<u64, StoreError> {
    let sql =
        "update deliveries set state = 'dismissed' where ($1 is null or notice_no = $1) and state = 'failed'";
    tx.execute(sql, values![notice_no]).await
}

/// Puts all away that waits or is being sent; gives how many.
pub async fn discard(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    tx.execute("update notices set expanded_at = $1 where expanded_at is null and due <= $1", values![now.0])
        .await?;
    let sql = "update deliveries set state = 'dismissed', owner = null, lease_until = null \
               where state in ('waiting', 'sending')";
    tx.execute(sql, vec![]).await
}

/// Where books live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Equal where it is the same place.
    pub id: String,
    pub words: String,
}

/// Where these books are opened, as they see it themselves: the file and the machine, or the server and
/// the machine from which it is reached.
pub async fn place(tx: &mut Tx) -> Result<Place, StoreError> {
    let (id, words) = match tx.dialect() {
        Dialect::Sqlite => {
            let sql = "select coalesce(file, '') from pragma_database_list where name = 'main'";
            let file = tx.row(sql, vec![]).await?.map(|row| row.text(0)).transpose()?.unwrap_or_default();
            (format!("sqlite {file}"), file)
        }
        Dialect::Postgres => {
            let sql = "select cast(system_identifier as text) collate \"C\", cast(current_database() as text) \
                       collate \"C\" from pg_control_system()";
            let row = tx.row(sql, vec![]).await?;
            let row = row.ok_or_else(|| StoreError::Corrupt("the server does not say which it is".into()))?;
            let (server, name) = (row.text(0)?, row.text(1)?);
            (format!("postgres {server} {name}"), format!("the database {name} of server {server}"))
        }
    };
    Ok(Place {
        id: format!("{id} {}", instance::machine()),
        words: format!("{words}, from {}", instance::host()),
    })
}

/// Whether these books may write to people from here. The first place ever may: it is noted.
pub async fn is_at_home(tx: &mut Tx, here: &Place, now: Timestamp) -> Result<bool, StoreError> {
    if tx.int("select count(*) from delivery_places", vec![]).await? == 0 {
        adopt(tx, here, now).await?;
        return Ok(true);
    }
    let sql = "select count(*) from delivery_places where place = $1";
    Ok(tx.int(sql, values![&here.id]).await? > 0)
}

/// Where they wrote from before, newest last.
pub async fn places(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    let rows = tx.rows("select words from delivery_places order by at, place", vec![]).await?;
    rows.iter().map(|row| row.text(0)).collect()
}

/// Lets these books write from here.
pub async fn adopt(tx: &mut Tx, here: &Place, now: Timestamp) -> Result<(), StoreError> {
    let sql =
        "insert into delivery_places (place, words, at) values ($1, $2, $3) on conflict (place) do nothing";
    tx.execute(sql, values![&here.id, &here.words, now.0]).await.map(|_| ())
}
