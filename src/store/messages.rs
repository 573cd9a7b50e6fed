//! One message and what became of it, derived from stored facts.

use super::db::{Tx, values};
use super::error::StoreError;
use crate::domain::message::MessageKey;
use crate::domain::money::Micros;
use crate::domain::period::{Timestamp, WINDOW, window_start};

/// A message as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    pub batch_no: i64,
    pub line: i64,
    pub product: String,
    pub template_type: String,
    pub country: String,
    /// None: to be charged; else `too_long`, `rejected`, `inbound`.
    pub disposition: Option<String>,
    pub reject_code: Option<String>,
    pub units: i64,
    pub submit_time: Timestamp,
    /// Why it waits in suspense; None where it does not.
    pub suspense: Option<String>,
    /// The run that charged it.
    pub run_no: Option<i64>,
    /// The run that took its batch: earlier, where it waited in suspense.
    pub batch_run_no: Option<i64>,
}

/// Some of a message's units and who paid for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidPart {
    /// None: pay-as-you-go.
    pub plan_id: Option<String>,
    pub units: i64,
    pub unit_price: Option<Micros>,
}

pub async fn find(
    tx: &mut Tx,
    account_id: &str,
    message_id: &str,
) -> Result<Option<StoredMessage>, StoreError> {
    let key = MessageKey::of(message_id);
    let sql = "select m.batch_no, m.line, m.product, m.template_type, m.country, m.disposition, m.reject_code, \
               m.units, m.submit_time, s.reason, s.run_no, b.run_no from messages m \
               join batches b on b.batch_no = m.batch_no \
               left join suspense s on s.account_id = m.account_id and s.id_hi = m.id_hi and s.id_lo = m.id_lo \
               where m.account_id = $1 and m.id_hi = $2 and m.id_lo = $3";
    let Some(row) = tx.row(sql, values![account_id, key.hi, key.lo]).await? else { return Ok(None) };
    let (suspense, released, batch_run) = (row.opt_text(9)?, row.opt_int(10)?, row.opt_int(11)?);
    let waits = suspense.is_some() && released.is_none();
    Ok(Some(StoredMessage {
        batch_no: row.int(0)?,
        line: row.int(1)?,
        product: row.text(2)?,
        template_type: row.text(3)?,
        country: row.text(4)?,
        disposition: row.opt_text(5)?,
        reject_code: row.opt_text(6)?,
        units: row.int(7)?,
        submit_time: Timestamp(row.int(8)?),
        run_no: if waits { None } else { released.or(batch_run) },
        batch_run_no: batch_run,
        suspense: suspense.filter(|_| waits),
    }))
}

/// Units of a class and window that a run charged before a place: of its batches, unless they went
/// into suspense, and out of suspense. The batches lead to the messages, which have no order by
/// account of their own.
const UNITS_BEFORE: &str = "select cast(coalesce(sum(t.units), 0) as bigint) from ( \
      select m.units, m.product, m.template_type, m.country, m.submit_time, m.batch_no, m.line \
      from batches b join messages m on m.batch_no = b.batch_no \
      where b.run_no = $7 and m.account_id = $1 and (m.disposition is null or m.disposition = 'too_long') \
      and not exists (select 1 from suspense s where s.account_id = m.account_id and s.id_hi = m.id_hi \
                      and s.id_lo = m.id_lo) \
      union all \
      select m.units, m.product, m.template_type, m.country, m.submit_time, m.batch_no, m.line \
      from suspense s join messages m on m.account_id = s.account_id and m.id_hi = s.id_hi and m.id_lo = s.id_lo \
      where s.run_no = $7 and s.account_id = $1 \
    ) t where t.product = $2 and t.template_type = $3 and t.country = $4 \
      and t.submit_time >= $5 and t.submit_time < $6 \
      and (t.batch_no < $8 or (t.batch_no = $8 and t.line < $9))";

/// Who paid for the units of a charged message: its place among the messages of its class, window
/// and run, laid over the charges of that window.
pub async fn paid_parts(
    tx: &mut Tx,
    account_id: &str,
    message: &StoredMessage,
) -> Result<Vec<PaidPart>, StoreError> {
    // What the gateway refused or a user sent in has no place among the charged messages.
    let free = matches!(message.disposition.as_deref(), Some("rejected" | "inbound"));
    let Some(run_no) = message.run_no.filter(|_| !free) else { return Ok(Vec::new()) };
    let window = window_start(message.submit_time).0;
    let class = values![account_id, &message.product, &message.template_type, &message.country];
    let place = values![window, window + WINDOW, run_no, message.batch_no, message.line];
    let before = tx.int(UNITS_BEFORE, [class.clone(), place].concat()).await?;
    let sql = "select c.first_unit, c.units, p.plan_id, c.unit_price from charges c \
               left join plans p on p.account_id = c.account_id and p.plan_no = c.plan_no \
               where c.account_id = $1 and c.product = $2 and c.template_type = $3 and c.country = $4 \
               and c.window_start = $5 and c.run_no = $6 order by c.first_unit";
    let mut parts = Vec::new();
    for row in tx.rows(sql, [class, values![window, run_no]].concat()).await? {
        let (first, units) = (row.int(0)?, row.int(1)?);
        let covered = (first + units).min(before + message.units) - first.max(before);
        if covered > 0 {
            let unit_price = row.opt_int(3)?.map(Micros);
            parts.push(PaidPart { plan_id: row.opt_text(2)?, units: covered, unit_price });
        }
    }
    Ok(parts)
}
