//! What must hold in the books at all times, each as a query for the rows that break it
//! (I01-I10, I12, I13, I15, I17, I20, I22-I28, I30, I31, I33, I36; D43, F102, R18). Cheap enough to be asked after
//! every step of a scenario.

mod bills;
mod issued;
mod ledger;
mod receipts;
mod retention;
mod runs;
mod standing;

use super::bills::changed;
use super::db::Tx;
use super::error::StoreError;
use super::retention::Retired;
use super::runs::COMPLETED;
use super::scope::{Scope, goes_through_messages};
use super::settling::FinalUpTo;
use super::usage::{self, WrittenUpTo};
use crate::domain::period::Timestamp;
use crate::domain::product::REFUND_WINDOW;
use crate::domain::renewal::BEFORE_END;

/// What must hold, and the query that names what breaks it in its first column. One that begins with `{all}`
/// makes sense over all accounts only.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "I02 an entry's postings sum to zero per commodity",
        "select account_id || ' entry ' || cast(entry_no as text) || ' ' || commodity from postings \
         group by account_id, entry_no, commodity having sum(amount) <> 0",
    ),
    (
        // A charge of what costs nothing has none.
        "I02 an entry has at least two postings",
        // Counted at once: the postings of each entry by itself take ten times as long.
        "select e.account_id || ' ' || e.cause from entries e \
         left join (select account_id, entry_no, count(*) as postings from postings group by account_id, entry_no) s \
           on s.account_id = e.account_id and s.entry_no = e.entry_no \
         where s.postings = 1 or s.postings is null and e.cause not like 'charge:%'",
    ),
    (
        "I04 an account's balance is the sum of its postings",
        "select a.account_id from accounts a where a.balance <> -coalesce((select sum(s.amount) from postings s \
         where s.account_id = a.account_id and s.ledger = 'Liabilities:Customer:Balance'), 0)",
    ),
    (
        "I04 an account's unbilled amount is the sum of its postings, and of its charges less what was billed",
        "select a.account_id from accounts a \
         left join (select account_id, sum(amount) as amount from charges group by account_id) c \
           on c.account_id = a.account_id \
         where a.unbilled <> coalesce((select sum(s.amount) from postings s \
         where s.account_id = a.account_id and s.ledger = 'Assets:Unbilled'), 0) \
         or a.unbilled <> coalesce(c.amount, 0) \
         - coalesce((select sum(r.amount) from returns r where r.account_id = a.account_id \
           and r.money_to = 'unbilled'), 0) \
         - coalesce((select sum(b.accrued) from bills b where b.account_id = a.account_id), 0)",
    ),
    (
        "I04 what is due of an account is the sum of its postings, and of claims",
        "select a.account_id from accounts a where a.due <> coalesce((select sum(s.amount) from postings s \
         where s.account_id = a.account_id and s.ledger = 'Assets:Receivable'), 0) \
         or a.due > coalesce((select sum(c.amount) from claims c where c.account_id = a.account_id), 0)",
    ),
    (
        "I05 nothing is due while there is a balance",
        "select account_id from accounts where due > 0 and balance > 0",
    ),
    (
        "I04 what was paid out is what the ledger says",
        "select a.account_id from accounts a where \
         coalesce((select sum(t.amount) from top_ups t where t.account_id = a.account_id), 0) \
         - coalesce((select sum(w.amount) from withdrawals w where w.account_id = a.account_id), 0) \
         <> coalesce((select sum(s.amount) from postings s where s.account_id = a.account_id \
           and s.ledger = 'Assets:Bank'), 0)",
    ),
    ("I05 no balance is below zero", "select account_id from accounts where balance < 0"),
    (
        "I06 a plan's units left are what the ledger says",
        "select p.plan_id from plans p where p.remaining <> coalesce((select sum(s.amount) from postings s \
         where s.account_id = p.account_id and s.plan_no = p.plan_no and s.ledger = 'Quota:Plan'), 0)",
    ),
    (
        "I06 a plan's value left is what the ledger says",
        "select p.plan_id from plans p where p.net - p.released + p.carried <> -coalesce((select sum(s.amount) \
         from postings s where s.account_id = p.account_id and s.plan_no = p.plan_no \
         and s.ledger = 'Liabilities:Contract:Plan'), 0)",
    ),
    (
        "I08 what a plan has paid is the sum of its charges less what came back",
        "select p.plan_id from plans p \
         left join (select account_id, plan_no, sum(units) as units from charges group by account_id, plan_no) c \
           on c.account_id = p.account_id and c.plan_no = p.plan_no \
         where p.size - p.remaining - p.forfeited <> coalesce(c.units, 0) \
         - coalesce((select sum(r.units) from returns r where r.account_id = p.account_id \
           and r.to_plan = p.plan_no), 0)",
    ),
    (
        "I06 a plan that was refunded holds neither units nor value",
        "select plan_id from plans where refund_no is not null \
         and (remaining <> 0 or net - released + carried <> 0 or refunded_at is null)",
    ),
    (
        "I04 an order's cash and coupon make its total, and its plans share both",
        "select o.order_id from orders o where o.total <> o.paid + o.coupon \
         or o.total <> (select coalesce(sum(p.price), 0) from plans p where p.account_id = o.account_id \
           and p.order_no = o.order_no) \
         or o.coupon <> (select coalesce(sum(p.coupon), 0) from plans p where p.account_id = o.account_id \
           and p.order_no = o.order_no) \
         or exists (select 1 from plans p where p.account_id = o.account_id and p.order_no = o.order_no \
           and p.coupon > p.price)",
    ),
    (
        "I04 a coupon has paid what its orders say",
        "select c.coupon_id from coupons c where c.amount - c.balance <> coalesce((select sum(o.coupon) from orders o \
         where o.account_id = c.account_id and o.coupon_no = c.coupon_no), 0)",
    ),
    (
        "I12 an order gives back what its cancelled plans cost in cash, each once",
        "select o.order_id from orders o where coalesce((select sum(r.cash) from refunds r \
           where r.account_id = o.account_id and r.order_no = o.order_no), 0) \
         <> coalesce((select sum(p.refunded) from plans p where p.account_id = o.account_id \
           and p.order_no = o.order_no), 0) \
         or exists (select 1 from plans p where p.account_id = o.account_id and p.order_no = o.order_no \
           and p.refunded not in (0, case when p.refund_no is null then 0 else p.price - p.coupon end))",
    ),
    (
        "I12 what an order gave back was booked",
        "select r.account_id || ' order ' || cast(r.order_no as text) from refunds r where r.cash - r.kept <> \
         -coalesce((select sum(s.amount) from entries e join postings s on s.account_id = e.account_id \
           and s.entry_no = e.entry_no where e.account_id = r.account_id \
           and e.cause = 'refund:' || cast(r.order_no as text) || ':' || cast(r.refund_no as text) \
           and s.ledger in ('Liabilities:Customer:Balance', 'Assets:Receivable')), 0)",
    ),
    (
        "I12 a coupon that came with a plan is void since its plan was refunded, and no other is",
        "select c.coupon_id from coupons c left join plans p on p.account_id = c.account_id \
           and p.plan_no = c.plan_no where coalesce(c.voided_at, -1) <> coalesce(p.refunded_at, -1)",
    ),
    (
        "I12 the status of an order follows from its plans",
        "select o.order_id from orders o where (o.status = 'refunded') <> not exists (select 1 from plans p \
           where p.account_id = o.account_id and p.order_no = o.order_no and p.refund_no is null) \
         or (o.status = 'paid' and exists (select 1 from plans p where p.account_id = o.account_id \
           and p.order_no = o.order_no and p.refund_no is not null))",
    ),
    (
        "I06 of a plan that has ended nothing is left",
        "select plan_id from plans where ended_at is not null \
         and (remaining <> 0 or net - released + carried <> 0 or ended_at < expires_at)",
    ),
    (
        "D43 what a plan forfeited at its end is booked at its end",
        "select e.account_id || ' ' || e.cause from entries e left join plans p on p.account_id = e.account_id \
         and e.cause = 'expiry:' || cast(p.plan_no as text) where e.cause like 'expiry:%' \
         and (p.ended_at is null or e.at <> p.expires_at or p.forfeited <> -coalesce((select sum(s.amount) \
           from postings s where s.account_id = e.account_id and s.entry_no = e.entry_no \
           and s.ledger = 'Quota:Plan'), 0))",
    ),
    (
        "I20 a renewal is an order of one plan of its product, for a reason that held",
        "select r.account_id || ' order ' || cast(r.order_no as text) from renewals r \
         where 1 <> (select count(*) from plans p where p.account_id = r.account_id and p.order_no = r.order_no \
           and p.product = r.product and p.effective_at = r.at and p.size > r.threshold) \
         or (r.due_by <> 'time' and r.remaining > r.threshold) \
         or (r.due_by <> 'threshold' and not exists (select 1 from plans p where p.account_id = r.account_id \
           and p.plan_no = r.renewed_plan and p.product = r.product and r.at >= p.expires_at - {before_end}))",
    ),
    (
        "I09 an account's charged units are those of its charged messages",
        "select a.account_id from accounts a \
         left join (select account_id, sum(units) as units from charges group by account_id) c \
           on c.account_id = a.account_id \
         left join (select m.account_id, sum(m.units) as units from messages m \
             join batches b on b.batch_no = m.batch_no \
             left join suspense s on s.account_id = m.account_id and s.id_hi = m.id_hi and s.id_lo = m.id_lo \
             where b.run_no is not null and (m.disposition is null or m.disposition = 'too_long') \
             and (s.account_id is null or s.run_no is not null) group by m.account_id) m \
           on m.account_id = a.account_id \
         left join retired_messages t on t.account_id = a.account_id \
         left join (select account_id, sum(units) as units from not_charged group by account_id) n \
           on n.account_id = a.account_id \
         where coalesce(c.units, 0) + coalesce(n.units, 0) <> coalesce(m.units, 0) + coalesce(t.units, 0)",
    ),
    (
        // The charges of some accounts are found by their ledgers: only among all could one be missed.
        "I03 a charge has the ledger entry of its window and run, and such an entry its charges",
        "{all}select c.account_id || ' ' || coalesce(cast(c.missing as text), 'has more entries than windows') \
         from (select w.account_id, count(*) as windows, min(case when e.account_id is null then w.window_start end) \
             as missing from (select distinct account_id, window_start, run_no from charges) w \
           left join entries e on e.account_id = w.account_id \
             and e.cause = 'charge:' || cast(w.window_start / 1000000 as text) || ':' || cast(w.run_no as text) \
           group by w.account_id) c \
         left join (select account_id, count(*) as entries from entries where cause like 'charge:%' \
           group by account_id) e on e.account_id = c.account_id \
         where c.missing is not null or e.entries <> c.windows",
    ),
    (
        "I09 free units are those of charges that nobody paid",
        "select a.account_id || ' ' || a.product from (select account_id, product, sum(units) as units, \
           sum(case when plan_no < 0 then units else 0 end) as free from charges \
           group by account_id, product) a \
         left join (select account_id, product, sum(units) as units from free_units group by account_id, product) f \
           on f.account_id = a.account_id and f.product = a.product where a.free <> coalesce(f.units, 0)",
    ),
    (
        "I09 nobody has more free units than the allowance, nor pays for them",
        "select account_id || ' ' || product from free_units group by account_id, product \
         having sum(units) > max(total) union all \
         select account_id || ' ' || product from charges where plan_no < 0 and (amount <> 0 or net <> 0)",
    ),
    (
        "I12 a message gives back no more units than it was charged",
        "select r.account_id || ' ' || cast(r.id_hi as text) || ' ' || cast(r.id_lo as text) \
         from (select account_id, id_hi, id_lo, sum(units) as units from returns \
               group by account_id, id_hi, id_lo) r \
         join messages m on m.account_id = r.account_id and m.id_hi = r.id_hi and m.id_lo = r.id_lo \
         where r.units > m.units - coalesce((select sum(n.units) from not_charged n \
           where n.account_id = m.account_id and n.id_hi = m.id_hi and n.id_lo = m.id_lo), 0)",
    ),
    (
        "I12 what a plan or money paid in a window is given back once",
        "select r.account_id || ' ' || cast(r.window_start as text) || ' from plan ' || cast(r.from_plan as text) \
         from (select account_id, window_start, charge_run, product, template_type, country, from_plan, \
                      sum(units) as units, sum(case when money_to = 'unbilled' then amount else 0 end) as amount \
               from returns group by account_id, window_start, charge_run, product, template_type, country, \
               from_plan) r \
         left join (select account_id, window_start, run_no, product, template_type, country, plan_no, \
                      sum(units) as units, sum(amount) as amount \
               from charges group by account_id, window_start, run_no, product, template_type, country, plan_no) c \
           on c.account_id = r.account_id and c.window_start = r.window_start and c.run_no = r.charge_run \
           and c.product = r.product and c.template_type = r.template_type and c.country = r.country \
           and c.plan_no = r.from_plan \
         where c.units is null or r.units > c.units or r.amount > c.amount",
    ),
    (
        "I10 what was never charged gives nothing back",
        "select b.account_id || ' ' || cast(b.id_hi as text) || ' ' || cast(b.id_lo as text) \
         from (select account_id, id_hi, id_lo from returns union select account_id, id_hi, id_lo from not_charged) b \
         join messages m on m.account_id = b.account_id and m.id_hi = b.id_hi and m.id_lo = b.id_lo \
         where m.disposition in ('rejected', 'inbound')",
    ),
    (
        "I13 what was given back had failed in time",
        "select r.account_id || ' ' || cast(r.id_hi as text) || ' ' || cast(r.id_lo as text) from returns r \
         join messages m on m.account_id = r.account_id and m.id_hi = r.id_hi and m.id_lo = r.id_lo \
         where not exists (select 1 from failures f where f.id_hi = m.id_hi and f.id_lo = m.id_lo \
             and f.account_id in ('', m.account_id) and f.part = r.part \
             and f.report_time - m.submit_time <= {in_time}) \
           and not exists (select 1 from failures f where f.biz_id = m.biz_id \
             and f.recipient_hash = m.recipient_hash and f.account_id in ('', m.account_id) and f.part = r.part \
             and f.report_time - m.submit_time <= {in_time})",
    ),
    (
        "I13 what was given back has a failure receipt that was answered so",
        "select r.account_id || ' ' || cast(r.id_hi as text) || ' ' || cast(r.id_lo as text) from returns r \
         join messages m on m.account_id = r.account_id and m.id_hi = r.id_hi and m.id_lo = r.id_lo \
         where r.seq = 1 and not exists (select 1 from failures f where f.id_hi = m.id_hi and f.id_lo = m.id_lo \
             and f.account_id in ('', m.account_id) and f.part = r.part and f.answer = 'returned') \
           and not exists (select 1 from failures f where f.biz_id = m.biz_id \
             and f.recipient_hash = m.recipient_hash and f.account_id in ('', m.account_id) and f.part = r.part \
             and f.answer = 'returned')",
    ),
    (
        "I13 what was returned is what failure receipts were answered so",
        "{all}select 'returned ' || cast(f.failures as text) || ' receipts, ' || cast(r.returns as text) || ' messages' \
         from (select count(*) as failures from failures where answer = 'returned') f, \
              (select count(*) as returns from returns where seq = 1) r \
         where f.failures <> r.returns",
    ),
    (
        "I13 the failures that wait for an answer are those that have none",
        "{all}select 'batch ' || cast(w.batch_no as text) || ' line ' || cast(w.line as text) \
         from (select batch_no, line from failures where run_no is null union all \
               select batch_no, line from open_failures) w \
         group by w.batch_no, w.line having count(*) <> 2",
    ),
    (
        "F102 a delivery is of a notice to the same account, and one that was sent says when",
        "select d.account_id || ' notice ' || cast(d.notice_no as text) || ' by ' || d.channel from deliveries d \
         left join notices n on n.notice_no = d.notice_no and n.account_id = d.account_id \
         where n.notice_no is null or n.expanded_at is null or (d.state = 'sent') <> (d.sent_at is not null) \
         or (d.state = 'sending') <> (d.owner is not null)",
    ),
];

/// It is asked with the query that counts them.
const COUNTED: &str =
    "I27 the counts of days that are counted for good are those of their messages and receipts";

/// What breaks one invariant is told up to so many.
const TOLD: usize = 5;

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub words: String,
    /// It is about the books as a whole, not about an account.
    pub of_all: bool,
}

/// What is broken, in words; empty when all holds.
pub async fn broken(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    Ok(ask(tx, &Scope::All, true).await?.1.into_iter().map(|broken| broken.words).collect())
}

/// Asks of some accounts, or of all, and gives how many invariants were asked and what is broken. Those for
/// which the messages are read can be left out.
pub async fn ask(tx: &mut Tx, scope: &Scope, with_messages: bool) -> Result<(i64, Vec<Broken>), StoreError> {
    let mut broken = Vec::new();
    let mut asked = 0;
    let done = FinalUpTo::load(tx).await?;
    let retired = Retired::load(tx).await?;
    let nothing = WrittenUpTo { day: Timestamp(-i64::MAX), run_no: 0 };
    let counted = WrittenUpTo::load(tx).await?.unwrap_or(nothing);
    let all = [
        INVARIANTS,
        ledger::INVARIANTS,
        bills::INVARIANTS,
        receipts::INVARIANTS,
        runs::INVARIANTS,
        standing::INVARIANTS,
        retention::INVARIANTS,
    ];
    for (what, query) in all.into_iter().flatten() {
        let of_all = query.starts_with("{all}");
        let left_out = !with_messages && goes_through_messages(query);
        if !scope.is_all() && (of_all || left_out) {
            continue;
        }
        let query = query
            .trim_start_matches("{all}")
            .replace("{final_window}", &done.window.0.to_string())
            .replace("{final_run}", &done.run_no.to_string())
            .replace("{retired_run}", &retired.run_no.to_string())
            .replace("{counted_day}", &counted.day.0.to_string())
            .replace("{counted_run}", &counted.run_no.to_string())
            .replace("{completed}", COMPLETED)
            .replace("{before_end}", &BEFORE_END.to_string())
            .replace("{in_time}", &REFUND_WINDOW.to_string());
        asked += 1;
        let query = format!("{query} limit {}", TOLD + 1);
        let rows = tx.rows(scope.narrow(&query), vec![]).await?;
        let names: Result<Vec<String>, StoreError> = rows.iter().map(|row| row.text(0)).collect();
        tell(&mut broken, what, names?, of_all);
    }
    let mut changed_ones = |what: &str, names: Vec<String>| {
        asked += 1;
        tell(&mut broken, &format!("{what} is as it was issued"), names, false);
    };
    changed_ones("I24 a bill", changed(tx, scope).await?);
    changed_ones("I24 an invoice", issued::changed_invoices(tx, scope).await?);
    if with_messages {
        asked += 1;
        let names = usage::differing(tx, scope, &retired, &counted, TOLD + 1).await?;
        tell(&mut broken, COUNTED, names, false);
    }
    Ok((asked, broken))
}

/// What breaks an invariant: the first by name, the last of them with a word on there being more.
fn tell(broken: &mut Vec<Broken>, what: &str, mut names: Vec<String>, of_all: bool) {
    if names.len() > TOLD {
        names.truncate(TOLD);
        names.iter_mut().last().into_iter().for_each(|last| last.push_str(", and more"));
    }
    broken.extend(names.iter().map(|name| Broken { words: format!("{what}: {name}"), of_all }));
}
