//! What the audit reads: the raw inputs of accounts, and what the books made of them.

mod earned;

use std::collections::{BTreeMap, BTreeSet};

use super::db::{Row, Tx};
use super::dialect::for_each_row;
use super::error::StoreError;
use super::retention::Retired;
use super::scope::Scope;
use super::value::literal;
use crate::domain::period::WINDOW;

/// A message that a run charged, as it is streamed out.
#[derive(Clone, Copy, Debug)]
pub struct ChargedMessage<'a> {
    pub account_id: &'a str,
    pub class: [&'a str; 3],
    pub run_no: i64,
    pub units: i64,
    pub submit_time: i64,
    pub key: (i64, i64),
}

/// Streams the charged messages of accounts by account, and for each as they were charged: by run, window and
/// arrival; but for those of retired runs, of which not all are kept.
/// Those that were left out of their charge, since their failure was known, are among them.
pub async fn for_each_charged(
    tx: &mut Tx,
    scope: &Scope,
    mut each: impl FnMut(ChargedMessage<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let retired_run = Retired::load(tx).await?.run_no;
    let sql = format!(
        "select m.account_id, m.product, m.template_type, m.country, coalesce(s.run_no, b.run_no) as run, m.units, \
           m.submit_time, m.id_hi, m.id_lo \
         from messages m join batches b on b.batch_no = m.batch_no \
         left join suspense s on s.account_id = m.account_id and s.id_hi = m.id_hi and s.id_lo = m.id_lo \
         where (m.disposition is null or m.disposition = 'too_long') and b.run_no is not null \
         and (s.account_id is null or s.run_no is not null) and coalesce(s.run_no, b.run_no) > {retired_run} \
         order by m.account_id, run, m.submit_time - m.submit_time % {WINDOW}, m.batch_no, m.line"
    );
    for_each_row(tx, &scope.narrow(&sql), "ttttiiiii", |row| {
        each(ChargedMessage {
            account_id: row[0].text()?,
            class: [row[1].text()?, row[2].text()?, row[3].text()?],
            run_no: row[4].int()?,
            units: row[5].int()?,
            submit_time: row[6].int()?,
            key: (row[7].int()?, row[8].int()?),
        })
    })
    .await
}

/// The ids of all accounts, in order.
pub async fn account_ids(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    let rows = tx.rows("select account_id from accounts order by account_id", vec![]).await?;
    rows.iter().map(|row| row.text(0)).collect()
}

/// A message or receipt by its id.
pub type Key = (i64, i64);
/// Run, time of arrival, id and part of a failure that was answered by giving back.
pub type FailedRow = (i64, i64, Key, i64);
/// A month that is billed: the last run that gave back before, its end, the last charging run that it saw.
pub type BilledRow = (i64, [i64; 3]);
/// Month, product, class, whom the list is for, since when, and the price of a unit that was billed.
pub type BilledPriceRow = (i64, String, String, String, i64, i64);
/// Product, day, and the free units that it allowed a day and in all.
pub type AllowedRow = (String, i64, i64, i64);
/// Run, window, plan, price of a unit and units of a charge; its class.
pub type GivenChargeRow = ([i64; 5], [String; 3]);
/// The message; part, plan that had paid, plan that took it (0: none), price of a unit, units, charged window and
/// the run that charged; what money was given back to, and the class.
pub type GivenReturnRow = (Key, [i64; 7], String, [String; 3]);
/// Run, charged window, run that charged, plan that had paid, amount and net of money that went back; its class.
pub type MoneyBackRow = ([i64; 6], [String; 3]);
/// Product, what earned it (`Plan` or `Payg`), and what was posted for it: below zero, as revenue is.
pub type EarnedRow = (String, String, i64);
/// Plan, order, size, start, end and refund (0: none); product; countries.
pub type PlanRow = ([i64; 6], String, String);

/// Rows of some accounts, by account: what the audit knows of each.
#[derive(Debug, Default)]
pub struct Rows {
    /// kind, currency
    pub accounts: BTreeMap<String, (String, String)>,
    /// entry up to which it was of another kind, and that kind
    pub kinds: BTreeMap<String, Vec<(i64, String)>>,
    pub allowed: BTreeMap<String, Vec<AllowedRow>>,
    /// entry, cause
    pub causes: BTreeMap<String, Vec<(i64, String)>>,
    /// entry after which it holds, whether plans pay
    pub standing: BTreeMap<String, Vec<(i64, bool)>>,
    /// by cause
    pub amounts: BTreeMap<String, BTreeMap<String, i64>>,
    pub plans: BTreeMap<String, Vec<PlanRow>>,
    /// id, part
    pub left_out: BTreeMap<String, Vec<(Key, i64)>>,
    pub failed: BTreeMap<String, Vec<FailedRow>>,
    /// Of all accounts.
    pub billed: Vec<BilledRow>,
    /// month, the run after which and the run up to which failures found its bill parked
    pub waited: BTreeMap<String, Vec<(i64, i64, i64)>>,
    pub billed_prices: BTreeMap<String, Vec<BilledPriceRow>>,
    pub earned: BTreeMap<String, Vec<EarnedRow>>,
    /// The last run whose messages are no longer kept; what such runs charged and gave back, and what others did
    /// of products that are taken as the books say them.
    pub retired_run: i64,
    pub given_charges: BTreeMap<String, Vec<GivenChargeRow>>,
    pub given_returns: BTreeMap<String, Vec<GivenReturnRow>>,
    pub money_back: BTreeMap<String, Vec<MoneyBackRow>>,
    /// What the books hold, in the words of the recount.
    pub stored: BTreeMap<String, BTreeMap<String, i128>>,
}

/// What the month's end made of `volume` prices: bill, product, month, class and VAT rate.
const ADJUSTMENTS: &str = "select account_id, 'adjustment ' || cast(month as text) || ' ' || product || ' ' \
      || coalesce(replace(ref, '-', ''), cast(month as text)) || ' ' || coalesce(template_type, country, '') || ' ' \
      || cast(vat_ppm as text) as name, amount from bill_lines where kind = 'adjustment'";

/// Queries of amounts that were moved, each giving the account, the cause and the amount.
const AMOUNTS: &[&str] = &[
    "select account_id, 'top-up:' || reference as name, amount from top_ups",
    "select account_id, 'withdrawal:' || reference as name, amount from withdrawals",
    "select account_id, 'penalty:' || cast(penalty_no as text) as name, amount from penalties where order_no is null",
    "select account_id, 'bill:' || cast(month as text) as name, total as amount from bills",
    "select account_id, 'accrued:' || cast(month as text) as name, accrued as amount from bills",
    "select account_id, 'refund:' || cast(order_no as text) || ':' || cast(refund_no as text) as name, \
       cash - kept as amount from refunds",
    "select account_id, 'order:' || cast(order_no as text) as name, paid as amount from orders",
    ADJUSTMENTS,
];

/// Queries of what the books hold, each giving the account, the name in the recount and the amount.
const STORED: &[&str] = &[
    "select account_id, 'balance' as name, balance as amount from accounts",
    "select account_id, 'unbilled' as name, unbilled as amount from accounts",
    "select account_id, 'due' as name, due as amount from accounts",
    "select account_id, 'billed ' || cast(month as text) || ' ' || product || ' ' || class || ' ' || list || ' ' \
       || cast(since as text) as name, unit_price as amount from billed_prices where list <> ''",
    "select account_id, 'accrued ' || cast(month as text) || ' ' || product || ' ' || cast(vat_ppm as text) as name, \
       gross as amount from accruals",
    ADJUSTMENTS,
    "select s.account_id, 'refund difference' as name, s.amount from postings s \
       join entries e on e.account_id = s.account_id and e.entry_no = s.entry_no \
     where s.ledger = 'Income:RefundDifference' and e.cause like 'return:%'",
    "select account_id, ledger as name, amount from postings where ledger like 'Income:%:Plan' \
       or ledger like 'Income:%:Payg'",
    "select account_id, 'plan ' || cast(plan_no as text) as name, remaining as amount from plans",
    "select account_id, 'tier ' || cast(month as text) || ' ' || product || ' ' || class as name, units as amount from tier_counters",
    "select account_id, 'charge ' || cast(window_start as text) || ' run ' || cast(run_no as text) || ' ' || product \
       || ' ' || template_type || ' ' || country || case when plan_no > 0 then ' from plan ' \
       || cast(plan_no as text) when plan_no < 0 then ' free' else ' at ' || cast(unit_price as text) end as name, units as amount from charges",
    "select account_id, 'return ' || cast(id_hi as text) || ' ' || cast(id_lo as text) || ' part ' \
       || cast(part as text) || ' from ' || cast(from_plan as text) || ' to ' \
       || case when to_plan > 0 then 'plan ' || cast(to_plan as text) \
          else money_to || ' at ' || coalesce(cast(unit_price as text), '0') end as name, units as amount from returns",
];

/// Returns in the order in which their failures came.
const FAILED: &str = "select r.account_id, r.run_no, r.received_at, r.id_hi, r.id_lo, r.part, \
      min(coalesce(f.batch_no, q.batch_no, t.batch_no, 0)) as batch, \
      min(coalesce(f.line, q.line, t.line, 0)) as line \
    from returns r \
    left join failures f on f.id_hi = r.id_hi and f.id_lo = r.id_lo and f.part = r.part \
      and f.account_id in (r.account_id, '') and f.answer = 'returned' \
    left join messages m on m.account_id = r.account_id and m.id_hi = r.id_hi and m.id_lo = r.id_lo \
    left join failures q on q.biz_id = m.biz_id and q.recipient_hash = m.recipient_hash and q.part = r.part \
      and q.account_id in (r.account_id, '') and q.answer = 'returned' \
    left join retired_failures t on t.account_id = r.account_id and t.id_hi = r.id_hi and t.id_lo = r.id_lo \
      and t.part = r.part \
    where r.seq = 1 \
    group by r.account_id, r.run_no, r.received_at, r.id_hi, r.id_lo, r.part \
    order by r.account_id, r.run_no, r.received_at, batch, line";

impl Rows {
    pub async fn load(tx: &mut Tx, ids: &[String]) -> Result<Rows, StoreError> {
        // The charges are found by the runs that the accounts' ledgers name.
        let scope = Scope::without_messages(tx, ids);
        let of = |sql: &str| scope.narrow(sql);
        let mut rows = Rows::default();
        for row in tx.rows(of("select account_id, kind, currency from accounts"), vec![]).await? {
            rows.accounts.insert(row.text(0)?, (row.text(1)?, row.text(2)?));
        }
        let kinds = of("select account_id, entry_no, kind from account_kinds");
        for row in tx.rows(format!("{kinds} order by account_id, entry_no"), vec![]).await? {
            rows.kinds.entry(row.text(0)?).or_default().push((row.int(1)?, row.text(2)?));
        }
        let allowed = of("select account_id, product, day, per_day, total from free_units");
        for row in tx.rows(allowed, vec![]).await? {
            let allowance = (row.text(1)?, row.int(2)?, row.int(3)?, row.int(4)?);
            rows.allowed.entry(row.text(0)?).or_default().push(allowance);
        }
        let causes = format!(
            "{} order by account_id, entry_no",
            of("select account_id, entry_no, cause from entries")
        );
        for row in tx.rows(causes, vec![]).await? {
            rows.causes.entry(row.text(0)?).or_default().push((row.int(1)?, row.text(2)?));
        }
        let events = of("select account_id, event_no, entry_no, status from account_events");
        for row in tx.rows(format!("{events} order by account_id, event_no"), vec![]).await? {
            let active = row.text(3)? == "active";
            rows.standing.entry(row.text(0)?).or_default().push((row.int(2)?, active));
        }
        for sql in AMOUNTS {
            for row in tx.rows(of(sql), vec![]).await? {
                rows.amounts.entry(row.text(0)?).or_default().insert(row.text(1)?, row.int(2)?);
            }
        }
        let plans = of("select account_id, plan_no, order_no, size, effective_at, expires_at, \
             coalesce(refund_no, 0) as refund_no, product, countries from plans");
        for row in tx.rows(format!("{plans} order by account_id, plan_no"), vec![]).await? {
            let numbers = [row.int(1)?, row.int(2)?, row.int(3)?, row.int(4)?, row.int(5)?, row.int(6)?];
            let plan = (numbers, row.text(7)?, row.text(8)?);
            rows.plans.entry(row.text(0)?).or_default().push(plan);
        }
        for row in tx.rows(of("select account_id, id_hi, id_lo, part from not_charged"), vec![]).await? {
            let left_out = ((row.int(1)?, row.int(2)?), row.int(3)?);
            rows.left_out.entry(row.text(0)?).or_default().push(left_out);
        }
        let months = "select month, settle_run, ends_at, charge_run from bill_months order by month";
        for row in tx.rows(months, vec![]).await? {
            rows.billed.push((row.int(0)?, [row.int(1)?, row.int(2)?, row.int(3)?]));
        }
        let waited = of("select account_id, month, given_from, \
                         coalesce(given_upto, 9223372036854775807) as given_upto from bills_parked");
        for row in tx.rows(waited, vec![]).await? {
            let waited = (row.int(1)?, row.int(2)?, row.int(3)?);
            rows.waited.entry(row.text(0)?).or_default().push(waited);
        }
        let prices =
            of("select account_id, month, product, class, list, since, unit_price from billed_prices");
        for row in tx.rows(prices, vec![]).await? {
            let (month, product, class, list) = (row.int(1)?, row.text(2)?, row.text(3)?, row.text(4)?);
            let price = (month, product, class, list, row.int(5)?, row.int(6)?);
            rows.billed_prices.entry(row.text(0)?).or_default().push(price);
        }
        for row in tx.rows(of(FAILED), vec![]).await? {
            let failed = (row.int(1)?, row.int(2)?, (row.int(3)?, row.int(4)?), row.int(5)?);
            rows.failed.entry(row.text(0)?).or_default().push(failed);
        }
        rows.load_given(tx, ids, &BTreeSet::new()).await?;
        rows.earned = earned::load(tx, &scope).await?;
        let money_back = "select account_id, run_no, window_start, charge_run, from_plan, amount, net, product, \
                          template_type, country from returns where money_to = 'balance'";
        for row in tx.rows(of(money_back), vec![]).await? {
            let numbers = [row.int(1)?, row.int(2)?, row.int(3)?, row.int(4)?, row.int(5)?, row.int(6)?];
            let back = (numbers, [row.text(7)?, row.text(8)?, row.text(9)?]);
            rows.money_back.entry(row.text(0)?).or_default().push(back);
        }
        for sql in STORED {
            for row in tx.rows(of(sql), vec![]).await? {
                rows.add_stored(&row)?;
            }
        }
        Ok(rows)
    }

    /// What is taken as the books say it: what retired runs charged, and what any did of some products.
    pub async fn load_given(
        &mut self,
        tx: &mut Tx,
        ids: &[String],
        products: &BTreeSet<String>,
    ) -> Result<(), StoreError> {
        let scope = Scope::without_messages(tx, ids);
        let of = |sql: &str| scope.narrow(sql);
        let run_no = Retired::load(tx).await?.run_no;
        self.retired_run = run_no;
        if run_no == 0 && products.is_empty() {
            return Ok(());
        }
        let products: Vec<_> = products.iter().map(|product| literal(product)).collect();
        let or_of_product = match products.is_empty() {
            true => String::new(),
            false => format!(" or product in ({})", products.join(", ")),
        };
        let charges = format!(
            "select account_id, run_no, window_start, plan_no, coalesce(unit_price, 0) as price, units, product, \
             template_type, country from charges where run_no <= {run_no}{or_of_product} order by account_id, run_no, window_start"
        );
        for row in tx.rows(of(&charges), vec![]).await? {
            let numbers = [row.int(1)?, row.int(2)?, row.int(3)?, row.int(4)?, row.int(5)?];
            let charge = (numbers, [row.text(6)?, row.text(7)?, row.text(8)?]);
            self.given_charges.entry(row.text(0)?).or_default().push(charge);
        }
        let returns = format!(
            "select account_id, id_hi, id_lo, part, from_plan, to_plan, coalesce(unit_price, 0) as price, units, \
             coalesce(money_to, '') as money_to, window_start, product, charge_run, template_type, country \
             from returns where charge_run <= {run_no}{or_of_product}"
        );
        for row in tx.rows(of(&returns), vec![]).await? {
            let [part, from, to] = [row.int(3)?, row.int(4)?, row.int(5)?];
            let numbers = [part, from, to, row.int(6)?, row.int(7)?, row.int(9)?, row.int(11)?];
            let class = [row.text(10)?, row.text(12)?, row.text(13)?];
            let back = ((row.int(1)?, row.int(2)?), numbers, row.text(8)?, class);
            self.given_returns.entry(row.text(0)?).or_default().push(back);
        }
        Ok(())
    }

    fn add_stored(&mut self, row: &Row) -> Result<(), StoreError> {
        let of_account = self.stored.entry(row.text(0)?).or_default();
        *of_account.entry(row.text(1)?).or_default() += i128::from(row.int(2)?);
        Ok(())
    }
}
