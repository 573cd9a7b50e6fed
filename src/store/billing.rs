//! What billing reads: which months are billed, whether charging has caught up, and the sums of a month,
//! account by account.
//!
//! A charge is on the bill of the first month that ended after its window and had seen the run that made
//! it; a return that lowered what was accrued is on the bill of its charge; what was settled at once is
//! on the first bill that was made after it and after its own month's end. So each is on exactly one.

use std::collections::BTreeMap;

use super::db::{Dialect, Row, Tx, Value, values};
use super::error::StoreError;
use super::facts;
use super::kinds::{self, kind_then};
use super::runs::COMPLETED;
use super::staging::{create_temporary, drop_temporary};
use crate::domain::bill::{BilledPrice, Part, What};
use crate::domain::money::Micros;
use crate::domain::period::{Month, Timestamp, Zone};

/// Up to where charges are billed: windows that begin before a time, as made by runs up to a number; of accounts whose
/// bills are parked, up to the month before (D59).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BilledUpTo {
    window: Timestamp,
    run_no: i64,
    parked: BTreeMap<String, (i64, i64)>,
}

impl BilledUpTo {
    const FACT: &str = "billed_up_to";

    /// Whether what a run charged an account in a window stands on a bill.
    pub fn covers(&self, account_id: &str, window: i64, charge_run: i64) -> bool {
        let of_all = (self.window.0, self.run_no);
        let (upto, run_no) = self.parked.get(account_id).copied().unwrap_or(of_all);
        window < upto && charge_run <= run_no
    }

    /// Loads it; until the transaction ends nothing is billed, so that what it says stays true.
    pub async fn hold(tx: &mut Tx) -> Result<BilledUpTo, StoreError> {
        let end = tx.for_share();
        BilledUpTo::load(tx, end).await
    }

    /// Loads it for a change: waits for those that give back, and they wait until this transaction ends.
    pub async fn lock(tx: &mut Tx) -> Result<BilledUpTo, StoreError> {
        let end = tx.for_update();
        BilledUpTo::load(tx, end).await
    }

    async fn load(tx: &mut Tx, end: &str) -> Result<BilledUpTo, StoreError> {
        let sql = format!("select name from instance where name = $1{end}");
        tx.row(sql, values![BilledUpTo::FACT]).await?;
        let known = facts::pair(tx, BilledUpTo::FACT).await?;
        let (window, run_no) = known.unwrap_or((i64::MIN, 0));
        let sql = "select p.account_id, m.ends_at, m.charge_run \
                   from (select account_id, min(month) as month from bills_parked where run_no is null \
                     group by account_id) p \
                   left join bill_months m \
                     on m.month = (select max(b.month) from bill_months b where b.month < p.month)";
        let parked = |row: &Row| {
            let upto = row.opt_int(1)?.unwrap_or(i64::MIN);
            Ok::<_, StoreError>((row.text(0)?, (upto, row.opt_int(2)?.unwrap_or_default())))
        };
        let parked = tx.rows(sql, vec![]).await?.iter().map(parked).collect::<Result<_, _>>()?;
        Ok(BilledUpTo { window: Timestamp(window), run_no, parked })
    }

    /// The month that is billed next, as settling sees it; None while no month is billed.
    pub fn next_month(&self, zone: Zone) -> Option<i64> {
        (self.window.0 != i64::MIN).then(|| zone.month_of(self.window).number())
    }
}

/// A month that is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BilledMonth {
    pub month: i64,
    pub ends_at: Timestamp,
    pub charge_run: i64,
}

/// The billed months, oldest first.
pub async fn billed_months(tx: &mut Tx) -> Result<Vec<BilledMonth>, StoreError> {
    let sql = "select month, ends_at, charge_run from bill_months order by month";
    let month = |row: &Row| {
        Ok(BilledMonth { month: row.int(0)?, ends_at: Timestamp(row.int(1)?), charge_run: row.int(2)? })
    };
    tx.rows(sql, vec![]).await?.iter().map(month).collect()
}

/// The last run that gave back, in SQL. Settling and billing take turns: runs of one begin in another order than they
/// come to the books.
pub(super) fn last_gave_back() -> String {
    format!(
        "(select coalesce(max(run_no), 0) from job_runs where job in ('settle-receipts', 'exception') \
         and outcome in {COMPLETED})"
    )
}

/// Notes that a month is billed.
pub async fn add_month(tx: &mut Tx, span: &Span, run_no: i64, at: Timestamp) -> Result<(), StoreError> {
    let sql = format!(
        "insert into bill_months (month, ends_at, charge_run, settle_run, run_no, at) values ($1, $2, $3, \
         {last_gave_back}, $4, $5)",
        last_gave_back = last_gave_back(),
    );
    let values = values![span.month.number(), span.upto.0, span.charge_run, run_no, at.0];
    tx.execute(sql, values).await?;
    facts::set_pair(tx, BilledUpTo::FACT, (span.upto.0, span.charge_run)).await
}

/// The month of the first charge, order, penalty or refund there is: where billing begins.
pub async fn first_month(tx: &mut Tx, zone: Zone) -> Result<Option<Month>, StoreError> {
    let sql = "select min(t.at) from (select min(window_start) as at from charges union all \
               select min(e.at) from entries e where e.cause >= 'order' and e.cause < 'return') t";
    let first = tx.row(sql, vec![]).await?.map(|row| row.opt_int(0)).transpose()?.flatten();
    Ok(first.map(|at| zone.month_of(Timestamp(at))))
}

/// Before everything: an integer that both databases can read.
const BEGINNING: Timestamp = Timestamp(-i64::MAX);

/// What is on the bills of a month: windows from one time up to another, as made by runs up to a number,
/// and earlier windows as made by runs after another number, which came late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub month: Month,
    pub from: Timestamp,
    pub upto: Timestamp,
    /// None: nothing that came late, for it stands on another month's bill.
    pub late_after: Option<i64>,
    pub charge_run: i64,
    /// Orders and the like of before are left to a bill that is to come first.
    pub settled_from: Timestamp,
}

impl Span {
    /// The span of a month, given the months billed before. The first one begins with the first charge.
    pub fn of(zone: Zone, month: Month, before: &[BilledMonth], charge_run: i64) -> Span {
        let last = before.last();
        Span {
            month,
            from: last.map_or(BEGINNING, |last| last.ends_at),
            upto: zone.month_start(month.next()),
            late_after: last.map(|last| last.charge_run),
            charge_run,
            settled_from: BEGINNING,
        }
    }

    /// A later month than the one that is billed next: what came late is left to that one.
    pub fn later(zone: Zone, month: Month) -> Span {
        let from = zone.month_start(month);
        Span {
            month,
            from,
            upto: zone.month_start(month.next()),
            late_after: None,
            charge_run: i64::MAX,
            settled_from: from,
        }
    }

    /// The span where the bill of an earlier month is parked, and made first.
    pub fn after_parked(self) -> Span {
        Span { settled_from: self.from, ..self }
    }
}

/// Whose sums are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Everybody,
    /// Accounts whose bill of the month is parked.
    Parked,
    /// The account `$1`.
    One,
}

/// Sums of a month, kept in a temporary table so that accounts come one after the other.
pub struct Gathered {
    after: String,
}

const PARTS: &str =
    "account_id, what, ref, product, template_type, country, unit_price, since, units, amount, net, kind";

/// The sums of an account.
pub type AccountParts = (String, Vec<Part>);

impl Gathered {
    /// Sums charges, returns, orders and the like of a month. `cuts` are times at which sums may not run
    /// across: where price lists, VAT rates and months begin. With `empty_too` every account that was
    /// there before the month's end is in it.
    pub async fn gather(
        tx: &mut Tx,
        span: &Span,
        cuts: &[Timestamp],
        whose: Whose,
        empty_too: bool,
    ) -> Result<Gathered, StoreError> {
        create_temporary(tx, "bill_parts", PARTS, &["unit_price", "since", "units", "amount", "net"]).await?;
        let kinds = kinds::any_changed(tx).await?;
        for query in part_queries(span, cuts, whose, kinds) {
            tx.execute(format!("insert into bill_parts ({PARTS}) {query}"), vec![]).await?;
        }
        if empty_too && whose == Whose::Everybody {
            let sql = "insert into bill_parts (account_id, what) select account_id, 'none' from accounts \
                       where created_at < $1 and (closed_at is null or closed_at >= $2)";
            tx.execute(sql, values![span.upto.0, span.from.0]).await?;
        }
        if empty_too && whose == Whose::Parked {
            let sql = "insert into bill_parts (account_id, what) select account_id, 'none' from bills_parked \
                       where month = $1 and run_no is null";
            tx.execute(sql, values![span.month.number()]).await?;
        }
        tx.execute("create index bill_parts_account on bill_parts (account_id)", vec![]).await?;
        if tx.dialect() == Dialect::Postgres {
            // Else each page would read the whole table.
            tx.execute("analyze bill_parts", vec![]).await?;
        }
        Ok(Gathered { after: String::new() })
    }

    /// The next accounts in order of their ids; none at the end.
    pub async fn next(&mut self, tx: &mut Tx, accounts: i64) -> Result<Vec<AccountParts>, StoreError> {
        let sql = "select account_id from bill_parts where account_id > $1 group by account_id \
                   order by account_id limit $2";
        let ids = tx.rows(sql, values![&self.after, accounts]).await?;
        let Some(last) = ids.last().map(|row| row.text(0)).transpose()? else { return Ok(Vec::new()) };
        let sql = format!(
            "select {PARTS} from bill_parts where account_id > $1 and account_id <= $2 \
             order by account_id, what, length(ref), ref, product, template_type, country, unit_price, since, kind"
        );
        let rows = tx.rows(sql, values![&self.after, &last]).await?;
        self.after = last;
        let mut found: Vec<AccountParts> = Vec::with_capacity(ids.len());
        for row in &rows {
            let id = row.text(0)?;
            if found.last().is_none_or(|(known, _)| *known != id) {
                found.push((id, Vec::new()));
            }
            if let (Some((_, parts)), Some(part)) = (found.last_mut(), part(row)?) {
                parts.push(part);
            }
        }
        Ok(found)
    }

    /// Accounts that there are.
    pub async fn count(&self, tx: &mut Tx) -> Result<i64, StoreError> {
        tx.int("select count(distinct account_id) from bill_parts", vec![]).await
    }

    pub async fn close(self, tx: &mut Tx) -> Result<(), StoreError> {
        match tx.dialect() {
            Dialect::Sqlite => drop_temporary(tx, &["bill_parts"]).await,
            // The next month of the run gathers anew.
            Dialect::Postgres => tx.execute("drop table bill_parts", vec![]).await.map(|_| ()),
        }
    }
}

/// The sums of one account.
pub async fn parts_of(
    tx: &mut Tx,
    account_id: &str,
    span: &Span,
    cuts: &[Timestamp],
) -> Result<Vec<Part>, StoreError> {
    let mut parts = Vec::new();
    let kinds = kinds::any_changed(tx).await?;
    for query in part_queries(span, cuts, Whose::One, kinds) {
        let sql = format!(
            "select {PARTS} from ({query}) p order by what, length(ref), ref, product, template_type, country, \
                           unit_price, since, kind"
        );
        for row in tx.rows(sql, values![account_id]).await? {
            parts.extend(part(&row)?);
        }
    }
    Ok(parts)
}

fn part(row: &Row) -> Result<Option<Part>, StoreError> {
    let what = row.text(1)?;
    let reference = row.opt_text(2)?.unwrap_or_default();
    let number = |place: usize| {
        let number = reference.split(':').nth(place).and_then(|word| word.parse().ok());
        number.ok_or_else(|| StoreError::Corrupt(format!("an entry of the cause `{reference}`")))
    };
    let what = match what.as_str() {
        "none" => return Ok(None),
        "payg" => What::Payg,
        "plan" => What::Plan,
        "return" => What::Return,
        "failure" => What::Failure,
        "order" => What::Order(number(1)?),
        "bought" => What::Bought(number(1)?),
        "refund" => What::Refund(number(1)?),
        "kept" => What::Kept(number(1)?),
        "penalty" => What::Penalty(number(1)?),
        other => return Err(StoreError::Corrupt(format!("a part of a bill called {other}"))),
    };
    Ok(Some(Part {
        what,
        product: row.text(3)?,
        template_type: row.text(4)?,
        country: row.text(5)?,
        unit_price: row.opt_int(6)?.map(Micros),
        since: Timestamp(row.int(7)?),
        units: row.int(8)?,
        amount: Micros(row.int(9)?),
        net: Micros(row.int(10)?),
        kind: kinds::kind_of(&row.text(11)?)?,
    }))
}

/// The queries whose rows are the sums. `kinds`: some account's kind was changed.
fn part_queries(span: &Span, cuts: &[Timestamp], whose: Whose, kinds: bool) -> Vec<String> {
    let month = span.month.number();
    let whose = |column: &str| match whose {
        Whose::Everybody => String::new(),
        Whose::One => format!(" and {column} = $1"),
        Whose::Parked => format!(
            " and {column} in (select account_id from bills_parked where month = {month} and run_no is null)"
        ),
    };
    let (from, upto, last) = (span.from.0, span.upto.0, span.charge_run);
    let inside = |column: &str| segment(column, cuts.iter().filter(|cut| from < cut.0 && cut.0 < upto));
    let before = |column: &str| segment(column, cuts.iter().filter(|cut| cut.0 < upto));
    let sums = "min({w}) as since, cast(sum({t}.units) as bigint) as units, cast(sum({t}.amount) as bigint) as amount"
        .replace("{w}", "{t}.window_start");
    let mut queries = Vec::new();
    let mut both = |table: &str, run: &str, head: &dyn Fn(String) -> String, extra: &str, groups: &str| {
        let t = &table[..1];
        let within =
            format!("{t}.window_start >= {from} and {t}.window_start < {upto} and {t}.{run} <= {last}");
        let mut stretches = vec![(within, inside(&format!("{t}.window_start")))];
        if let Some(after) = span.late_after {
            let late = format!("{t}.window_start < {from} and {t}.{run} > {after} and {t}.{run} <= {last}");
            stretches.push((late, before(&format!("{t}.window_start"))));
        }
        for (condition, segment) in stretches {
            let own = whose(&format!("{t}.account_id"));
            let select = head(sums.replace("{t}", t));
            let rows = format!("from {table} {t} where {condition}{extra}{own}");
            queries.push(if kinds {
                let kind = kind_then(t, run);
                format!(
                    "select {select}, {t}.kind from (select {t}.*, {kind} as kind {rows}) {t} \
                     group by {groups}, {t}.kind{segment}"
                )
            } else {
                format!("select {select}, '' as kind {rows} group by {groups}{segment}")
            });
        }
    };
    let by_plan = "case when c.plan_no = 0 then 'payg' else 'plan' end";
    let price = "case when c.plan_no = 0 then c.unit_price end";
    let charges = |sums: String| {
        format!(
            "c.account_id, {by_plan} as what, '' as ref, c.product, c.template_type, c.country, \
             {price} as unit_price, {sums}, cast(sum(case when c.plan_no = 0 then c.net else 0 end) as bigint) as net"
        )
    };
    let groups = format!("c.account_id, {by_plan}, c.product, c.template_type, c.country, {price}");
    // Free units are no part of a bill (R30).
    both("charges", "run_no", &charges, " and c.plan_no >= 0", &groups);
    let class = "r.account_id, r.product, r.template_type, r.country";
    let returns = |sums: String| {
        format!(
            "r.account_id, 'return' as what, '' as ref, r.product, r.template_type, r.country, r.unit_price, \
             {sums}, cast(sum(r.net) as bigint) as net"
        )
    };
    both(
        "returns",
        "charge_run",
        &returns,
        " and r.money_to = 'unbilled'",
        &format!("{class}, r.unit_price"),
    );
    let own = whose("r.account_id");
    let sums = sums.replace("{t}", "r");
    let segment = before("r.window_start");
    queries.push(format!(
        "select r.account_id, 'failure' as what, '' as ref, r.product, r.template_type, r.country, \
         cast(null as bigint) as unit_price, {sums}, cast(0 as bigint) as net, '' as kind from returns r \
         where r.money_to = 'balance' and (r.bill_month = {month} \
           or (r.bill_month is null and r.received_at >= {from} and r.received_at < {upto})){own} \
         group by {class}{segment}"
    ));
    queries.extend(settled_queries(span, &whose("e.account_id")));
    queries
}

/// Entries that bills list as settled and no bill has seen, and the plans that orders bought.
fn settled_queries(span: &Span, own: &str) -> [String; 3] {
    let open = format!(
        "e.cause >= 'order' and e.cause < 'return' and e.at < {} and e.at >= {} and not exists \
         (select 1 from bills b where b.account_id = e.account_id and e.at < b.ends_at \
          and e.entry_no <= b.last_entry){own}",
        span.upto.0, span.settled_from.0
    );
    let none = "cast(null as bigint) as unit_price, min(e.at) as since";
    [
        format!(
            // A refund comes to what it gives back and what penalties keep of it.
            "select e.account_id, case when e.cause < 'p' then 'order' when e.cause < 'r' then 'penalty' \
               else 'refund' end as what, e.cause as ref, '' as product, '' as template_type, '' as country, {none}, \
               cast(0 as bigint) as units, cast(coalesce(sum(s.amount), 0) as bigint) as amount, \
               cast(0 as bigint) as net, '' as kind \
             from entries e left join postings s on s.account_id = e.account_id and s.entry_no = e.entry_no \
               and (s.ledger in ('Liabilities:Customer:Balance', 'Assets:Receivable') \
                 or s.ledger = 'Income:Penalty' and e.cause >= 'refund') \
             where {open} group by e.account_id, e.cause"
        ),
        format!(
            "select e.account_id, 'kept' as what, e.cause as ref, '' as product, '' as template_type, '' as country, \
               {none}, cast(0 as bigint) as units, cast(-sum(s.amount) as bigint) as amount, \
               cast(0 as bigint) as net, '' as kind \
             from entries e join postings s on s.account_id = e.account_id and s.entry_no = e.entry_no \
               and s.ledger = 'Income:Penalty' \
             where {open} and e.cause >= 'refund' group by e.account_id, e.cause"
        ),
        format!(
            "select e.account_id, 'bought' as what, e.cause as ref, p.product, '' as template_type, '' as country, \
               {none}, cast(sum(p.size) as bigint) as units, cast(sum(p.price - p.coupon) as bigint) as amount, \
               cast(0 as bigint) as net, '' as kind \
             from entries e join plans p on p.account_id = e.account_id \
               and e.cause = 'order:' || cast(p.order_no as text) \
             where {open} group by e.account_id, e.cause, p.product"
        ),
    ]
}

/// Which stretch between cuts a time is in, as the last column of a grouping; nothing where there are none.
fn segment<'c>(column: &str, cuts: impl Iterator<Item = &'c Timestamp>) -> String {
    let mut whens = String::new();
    let mut count = 0;
    for cut in cuts {
        whens.push_str(&format!(" when {column} < {} then {count}", cut.0));
        count += 1;
    }
    if count == 0 { String::new() } else { format!(", case{whens} else {count} end") }
}

/// Prices at which `volume` lists billed some accounts' months.
pub async fn billed_prices(
    tx: &mut Tx,
    accounts: impl IntoIterator<Item = &str>,
) -> Result<BTreeMap<String, Vec<BilledPrice>>, StoreError> {
    let rows = accounts.into_iter().map(|id| values![id]).collect();
    let query = "select p.account_id, p.month, p.product, p.class, p.list, p.since, p.units, p.unit_price from v \
                 join billed_prices p on p.account_id = v.account_id order by p.account_id, p.month, p.product, \
                 p.class, p.list, p.since";
    let mut found: BTreeMap<String, Vec<BilledPrice>> = Default::default();
    for row in super::many::rows_with(tx, "account_id", rows, query).await? {
        found.entry(row.text(0)?).or_default().push(BilledPrice {
            month: row.int(1)?,
            product: row.text(2)?,
            class: row.text(3)?,
            list: row.text(4)?,
            since: Timestamp(row.int(5)?),
            units: row.int(6)?,
            unit_price: Micros(row.int(7)?),
        });
    }
    Ok(found)
}

/// How many messages of before a time wait in suspense, by account, of some accounts.
pub async fn suspended(
    tx: &mut Tx,
    accounts: impl IntoIterator<Item = &str>,
    before: Timestamp,
) -> Result<BTreeMap<String, i64>, StoreError> {
    if tx.int("select count(*) from suspense where run_no is null", vec![]).await? == 0 {
        return Ok(Default::default());
    }
    let rows: Vec<Vec<Value>> = accounts.into_iter().map(|id| values![id]).collect();
    let query = format!(
        "select s.account_id, count(*) from v join suspense s on s.account_id = v.account_id \
         join messages m on m.account_id = s.account_id and m.id_hi = s.id_hi and m.id_lo = s.id_lo \
         where s.run_no is null and m.submit_time < {} group by s.account_id",
        before.0
    );
    let rows = super::many::rows_with(tx, "account_id", rows, &query).await?;
    rows.iter().map(|row| Ok((row.text(0)?, row.int(1)?))).collect()
}
