//! What settling reads and writes: charges of failed messages, returns, exceptions, and how far
//! windows are final.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::db::{Row, Tx, Value, values};
use super::dialect::{Bulk, for_update_of};
use super::error::StoreError;
use super::facts;
use super::failures::{FailedMessage, FailureId, OpenFailure};
use super::orders::LedgerWriter;
use crate::domain::charge::{Charge, Payer, Place, Span};
use crate::domain::ledger::{Entry, LedgerFault};
use crate::domain::message::MessageKey;
use crate::domain::money::Micros;
use crate::domain::period::{Timestamp, Zone, window_start};
use crate::domain::settle::{GivenBack, SettledParts, To};

/// Where the charges of a message are found: account, window, run, and class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChargeKey {
    pub account_id: Arc<str>,
    pub window: i64,
    pub run_no: i64,
    pub product: Arc<str>,
    pub template_type: Arc<str>,
    pub country: Arc<str>,
}

impl ChargeKey {
    /// Of a message that a run charged.
    pub fn of(message: &FailedMessage, run_no: i64) -> ChargeKey {
        ChargeKey {
            account_id: message.account_id.clone(),
            window: window_start(message.submit_time).0,
            run_no,
            product: message.product.clone(),
            template_type: message.template_type.clone(),
            country: message.country.clone(),
        }
    }
}

const CHARGE: &str = "c.account_id, c.window_start, c.run_no, c.product, c.template_type, c.country, c.first_unit, \
    c.units, c.messages, c.plan_no, c.unit_price, c.amount, c.net, c.first_batch, c.first_line, c.first_units, \
    c.last_batch, c.last_line, c.last_units";

/// The charges of some windows of accounts, each as made by one run, in the order of their units.
///
/// An index leads from a run to the charges that it made of an account: these are read once, for all
/// windows together, and never those of other runs.
pub async fn charges<'a>(
    tx: &mut Tx,
    windows: impl IntoIterator<Item = (&'a str, i64, i64)>,
) -> Result<BTreeMap<ChargeKey, Vec<Charge>>, StoreError> {
    let mut wanted: BTreeMap<(&str, i64), BTreeSet<i64>> = BTreeMap::new();
    for (account, window, run) in windows {
        wanted.entry((account, run)).or_default().insert(window);
    }
    let spans = wanted.iter().filter_map(|((account, run), windows)| {
        Some(values![*account, *run, *windows.first()?, *windows.last()?])
    });
    let spans = spans.collect();
    let select = format!(
        "select {CHARGE} from v join charges c on c.run_no = v.run and c.account_id = v.account_id \
         where c.window_start between v.first and v.last order by c.account_id, c.window_start, c.run_no, \
         c.product, c.template_type, c.country, c.first_unit"
    );
    let mut found: BTreeMap<ChargeKey, Vec<Charge>> = BTreeMap::new();
    tx.look_up_one_by_one(true).await?;
    let rows = super::many::rows_with(tx, "account_id, run, first, last", spans, &select).await?;
    tx.look_up_one_by_one(false).await?;
    for row in rows {
        let key = charge_key(&row)?;
        let windows = wanted.get(&(&*key.account_id, key.run_no));
        if windows.is_some_and(|windows| windows.contains(&key.window)) {
            found.entry(key).or_default().push(charge(&row)?);
        }
    }
    Ok(found)
}

/// What allowances gave an account for the windows from one moment up to another.
pub async fn free_charges(
    tx: &mut Tx,
    account_id: &str,
    from: i64,
    upto: i64,
) -> Result<BTreeMap<ChargeKey, Vec<Charge>>, StoreError> {
    let sql = format!(
        "select {CHARGE} from charges c where c.account_id = $1 and c.window_start >= $2 and c.window_start < $3 \
         and c.plan_no < 0 order by c.run_no, c.first_unit"
    );
    let mut found: BTreeMap<ChargeKey, Vec<Charge>> = BTreeMap::new();
    for row in tx.rows(sql, values![account_id, from, upto]).await? {
        found.entry(charge_key(&row)?).or_default().push(charge(&row)?);
    }
    Ok(found)
}

fn charge_key(row: &Row) -> Result<ChargeKey, StoreError> {
    Ok(ChargeKey {
        account_id: row.text(0)?.into(),
        window: row.int(1)?,
        run_no: row.int(2)?,
        product: row.text(3)?.into(),
        template_type: row.text(4)?.into(),
        country: row.text(5)?.into(),
    })
}

fn charge(row: &Row) -> Result<Charge, StoreError> {
    let place = |batch, line| Place { batch_no: batch, line };
    let span = match row.opt_int(13)? {
        None => None,
        Some(batch) => Some(Span {
            first: place(batch, row.int(14)?),
            first_units: row.int(15)?,
            last: place(row.int(16)?, row.int(17)?),
            last_units: row.int(18)?,
        }),
    };
    Ok(Charge {
        window: Timestamp(row.int(1)?),
        class: 0,
        first_unit: row.int(6)?,
        units: row.int(7)?,
        messages: row.int(8)?,
        payer: Payer::of_number(row.int(9)?),
        unit_price: row.opt_int(10)?.map(Micros),
        amount: Micros(row.int(11)?),
        net: Micros(row.int(12)?),
        span,
    })
}

/// When plans were bought, by their accounts and numbers.
pub async fn bought_at(
    tx: &mut Tx,
    plans: impl IntoIterator<Item = (&str, i64)>,
) -> Result<BTreeMap<(String, i64), Timestamp>, StoreError> {
    let rows = plans.into_iter().map(|(account, plan_no)| values![account, plan_no]).collect();
    let select = "select p.account_id, p.plan_no, p.effective_at from v join plans p \
                  on p.account_id = v.account_id and p.plan_no = v.plan_no";
    let bought = |row: &Row| Ok(((row.text(0)?, row.int(1)?), Timestamp(row.int(2)?)));
    tx.look_up_one_by_one(true).await?;
    let rows = super::many::rows_with(tx, "account_id, plan_no", rows, select).await?;
    tx.look_up_one_by_one(false).await?;
    rows.iter().map(bought).collect()
}

/// An account and the key of one of its messages.
pub type MessageOf = (String, MessageKey);

/// Which parts of messages were left out of their charge, and which were given back.
pub async fn settled_parts(
    tx: &mut Tx,
    messages: impl IntoIterator<Item = (&str, MessageKey)>,
) -> Result<BTreeMap<MessageOf, SettledParts>, StoreError> {
    let rows = messages.into_iter().map(|(account, key)| values![account, key.hi, key.lo]).collect();
    let of_message = "on t.account_id = v.account_id and t.id_hi = v.id_hi and t.id_lo = v.id_lo";
    let select = format!(
        "select t.account_id, t.id_hi, t.id_lo, t.part, cast(0 as bigint) as returned from v join not_charged t {of_message} \
         union select t.account_id, t.id_hi, t.id_lo, t.part, cast(1 as bigint) from v join returns t {of_message} \
         order by 1, 2, 3, 4"
    );
    let mut settled: BTreeMap<MessageOf, SettledParts> = BTreeMap::new();
    tx.look_up_one_by_one(true).await?;
    let rows = super::many::rows_with(tx, "account_id, id_hi, id_lo", rows, &select).await?;
    tx.look_up_one_by_one(false).await?;
    for row in rows {
        let key = MessageKey { hi: row.int(1)?, lo: row.int(2)? };
        let parts = settled.entry((row.text(0)?, key)).or_default();
        match row.int(4)? {
            0 => parts.not_charged.push(row.int(3)?),
            _ => parts.returned.push(row.int(3)?),
        }
    }
    Ok(settled)
}

/// Why a receipt needs an operator's eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceptionKind {
    /// It came after the message's charge was final, though reported in time (D47).
    LateArrival,
    /// Its message never came (D18).
    Orphan,
    /// It counts other parts than we charged (D77).
    SegmentDisagreement,
    /// Money is called for and no price is known (D67).
    NoPrice,
    /// Several accounts have a message of its id.
    AmbiguousAccount,
    /// It says otherwise than the one before (D15).
    Conflict,
}

impl ExceptionKind {
    pub const ALL: [ExceptionKind; 6] = [
        ExceptionKind::LateArrival,
        ExceptionKind::Orphan,
        ExceptionKind::SegmentDisagreement,
        ExceptionKind::NoPrice,
        ExceptionKind::AmbiguousAccount,
        ExceptionKind::Conflict,
    ];

    pub fn parse(word: &str) -> Option<ExceptionKind> {
        ExceptionKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            ExceptionKind::LateArrival => "late_arrival",
            ExceptionKind::Orphan => "orphan",
            ExceptionKind::SegmentDisagreement => "segment_disagreement",
            ExceptionKind::NoPrice => "no_price",
            ExceptionKind::AmbiguousAccount => "ambiguous_account",
            ExceptionKind::Conflict => "conflict",
        }
    }
}

/// Returns and exceptions on their way in.
pub struct Returns {
    run_no: i64,
    zone: Zone,
    /// The oldest month that is not billed; None while none is.
    open_month: Option<i64>,
    rows: Bulk,
    exceptions: Vec<Vec<Value>>,
}

impl Returns {
    pub fn new(tx: &Tx, run_no: i64, zone: Zone, open_month: Option<i64>) -> Returns {
        let columns = "account_id, id_hi, id_lo, part, seq, run_no, received_at, window_start, charge_run, product, \
                       template_type, country, from_plan, to_plan, money_to, units, unit_price, amount, net, \
                       was_final, bill_month";
        let rows = Bulk::new(tx.dialect(), "returns", columns);
        Returns { run_no, zone, open_month, rows, exceptions: Vec::new() }
    }

    /// What a failed message, or a part of it, gave back.
    pub fn push(
        &mut self,
        message: &FailedMessage,
        charged: &ChargeKey,
        part: i64,
        received_at: Timestamp,
        given: &[GivenBack],
        was_final: bool,
    ) {
        // Money for the balance is listed in the month in which it came, or the oldest that is open (D5).
        let month = Some(self.zone.month_of(received_at).number()).max(self.open_month);
        for (seq, back) in (1i64..).zip(given) {
            let (to_plan, money_to) = match back.to {
                To::Plan(plan_no) => (plan_no, None),
                To::Unbilled => (0, Some("unbilled")),
                To::Balance => (0, Some("balance")),
            };
            self.rows.push(&[
                (&*message.account_id).into(),
                message.key.hi.into(),
                message.key.lo.into(),
                part.into(),
                seq.into(),
                self.run_no.into(),
                received_at.0.into(),
                charged.window.into(),
                charged.run_no.into(),
                (&*message.product).into(),
                (&*message.template_type).into(),
                (&*message.country).into(),
                back.from.number().into(),
                to_plan.into(),
                money_to.into(),
                back.units.into(),
                back.unit_price.map(|price| price.0).into(),
                back.amount.0.into(),
                back.net.0.into(),
                i64::from(was_final).into(),
                month.filter(|_| back.to == To::Balance).into(),
            ]);
        }
    }

    /// Lists a receipt for an operator. `now` is when that became clear.
    pub fn list(
        &mut self,
        kind: ExceptionKind,
        failure: &OpenFailure,
        account: &str,
        detail: &str,
        now: Timestamp,
    ) {
        let FailureId { key, part, .. } = &failure.id;
        self.exceptions.push(values![
            kind.as_str(),
            account,
            key.hi,
            key.lo,
            *part,
            failure.place.batch_no,
            failure.place.line,
            detail,
            now.0
        ]);
    }

    /// Writes what fills a portion.
    pub async fn flush_full(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.rows.flush_full(tx).await
    }

    pub async fn flush(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.rows.flush(tx).await?;
        let rows = std::mem::take(&mut self.exceptions);
        let columns = "kind, account_id, id_hi, id_lo, part, batch_no, line, detail, opened_at";
        let statement = format!(
            "insert into exceptions ({columns}) select {columns} from v where true \
             on conflict (kind, batch_no, line) do nothing"
        );
        super::many::execute_with(tx, columns, rows, &statement).await.map(|_| ())
    }
}

/// How far charges are final: windows that begin before a time, as made by runs up to a number. Later
/// runs may still have charged messages of those windows that came late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinalUpTo {
    pub window: Timestamp,
    pub run_no: i64,
}

impl FinalUpTo {
    pub const NOTHING: FinalUpTo = FinalUpTo { window: Timestamp(i64::MIN), run_no: 0 };

    /// Whether what a run charged in a window is final.
    pub fn covers(self, window: i64, charge_run: i64) -> bool {
        window < self.window.0 && charge_run <= self.run_no
    }

    pub async fn load(tx: &mut Tx) -> Result<FinalUpTo, StoreError> {
        let known = facts::pair(tx, "final_up_to").await?;
        Ok(known
            .map_or(FinalUpTo::NOTHING, |(window, run_no)| FinalUpTo { window: Timestamp(window), run_no }))
    }

    pub async fn save(self, tx: &mut Tx) -> Result<(), StoreError> {
        facts::set_pair(tx, "final_up_to", (self.window.0, self.run_no)).await
    }
}

/// Charges of one account, product and kind of payer that become final, less what was given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LapsedRow {
    pub account_id: String,
    pub product: String,
    pub by_plan: bool,
    pub units: i64,
    pub net: Micros,
}

/// The last run that charged, and the first window that is not final yet and has charges.
pub async fn last_charge_run(tx: &mut Tx) -> Result<i64, StoreError> {
    let sql = "select coalesce(max(run_no), 0) from job_runs where job = 'aggregate-charges' \
               and outcome in ('done', 'partial')";
    tx.int(sql, vec![]).await
}

/// The first window with charges before a time.
pub async fn first_window(tx: &mut Tx, before: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let row =
        tx.row("select min(window_start) from charges where window_start < $1", values![before.0]).await?;
    Ok(row.map(|row| row.opt_int(0)).transpose()?.flatten().map(Timestamp))
}

/// What becomes final: of windows from one time up to another, and, where `late_after` is given, of
/// all windows before them what later runs than that one charged.
pub async fn lapsed(
    tx: &mut Tx,
    (from, upto): (Timestamp, Timestamp),
    last_run: i64,
    late_after: Option<i64>,
) -> Result<Vec<LapsedRow>, StoreError> {
    let mut parts = Vec::new();
    let mut part = |window: String, run: String| {
        for (table, run_column, plan, sign, extra) in [
            ("charges", "run_no", "plan_no", "", ""),
            ("returns", "charge_run", "from_plan", "-", " and was_final = 0"),
        ] {
            parts.push(format!(
                "select account_id, product, cast(case when {plan} > 0 then 1 else 0 end as bigint) as by_plan, {sign}units as units, \
                 {sign}net as net from {table} where {window} and {run_column} {run} \
                 and {run_column} <= {last_run}{extra}"
            ));
        }
    };
    part(format!("window_start >= {} and window_start < {}", from.0, upto.0), "> 0".into());
    if let Some(run_no) = late_after {
        part(format!("window_start < {}", from.0), format!("> {run_no}"));
    }
    let sql = format!(
        "select account_id, product, by_plan, cast(sum(units) as bigint), cast(sum(net) as bigint) from ({}) lapsed \
         group by account_id, product, by_plan order by account_id, product, by_plan",
        parts.join(" union all ")
    );
    let row = |row: &Row| {
        Ok(LapsedRow {
            account_id: row.text(0)?,
            product: row.text(1)?,
            by_plan: row.int(2)? == 1,
            units: row.int(3)?,
            net: Micros(row.int(4)?),
        })
    };
    tx.rows(sql, vec![]).await?.iter().map(row).collect()
}

/// Writes an entry for each account: in the books alone, nothing else of the account changes.
pub async fn post<T>(
    tx: &mut Tx,
    items: BTreeMap<Arc<str>, T>,
    mut entry: impl FnMut(&Arc<str>, &T) -> Result<Entry, LedgerFault>,
) -> Result<(), StoreError> {
    let mut ledger = LedgerWriter::new(tx.dialect());
    let items: Vec<_> = items.into_iter().collect();
    for together in items.chunks(400) {
        let ids = together.iter().map(|(id, _)| values![&**id]).collect();
        let query = format!(
            "select a.account_id, a.currency, a.entries from v join accounts a on a.account_id = v.account_id \
             order by a.account_id{}",
            for_update_of(tx.dialect(), "a")
        );
        let mut numbers = Vec::new();
        for (row, (id, item)) in
            super::many::rows_with(tx, "account_id", ids, &query).await?.iter().zip(together)
        {
            let found = row.text(0)?;
            if found != **id {
                return Err(StoreError::Corrupt(format!("charges of `{id}`, which is no account")));
            }
            let fault = |fault: LedgerFault| StoreError::Corrupt(format!("account `{id}`: {fault}"));
            let entry = entry(&row.text(1)?.into(), item).map_err(fault)?;
            if entry.postings.is_empty() {
                continue;
            }
            let entry_no = row.int(2)? + 1;
            ledger.push(id, entry_no, &entry);
            numbers.push(values![&**id, entry_no]);
        }
        ledger.flush_full(tx).await?;
        let statement =
            "update accounts set entries = v.entries from v where accounts.account_id = v.account_id";
        super::many::execute_with(tx, "account_id, entries", numbers, statement).await?;
    }
    ledger.flush(tx).await
}
