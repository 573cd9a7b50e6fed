//! What must hold in the books at all times, each as a query for the rows that break it
//! (I01-I10, I12, I13, I15, I28). Cheap enough to be asked after every step of a scenario.

use super::db::Tx;
use super::error::StoreError;
use super::settling::FinalUpTo;
use crate::domain::product::REFUND_WINDOW;

/// What must hold, and the query that names what breaks it in its first column.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "I02 an entry's postings sum to zero per commodity",
        "select account_id || ' entry ' || cast(entry_no as text) || ' ' || commodity from postings \
         group by account_id, entry_no, commodity having sum(amount) <> 0",
    ),
    (
        "I02 an entry has at least two postings",
        "select e.account_id || ' ' || e.cause from entries e where (select count(*) from postings s \
         where s.account_id = e.account_id and s.entry_no = e.entry_no) < 2",
    ),
    (
        "I04 an account's balance is the sum of its postings",
        "select a.account_id from accounts a where a.balance <> -coalesce((select sum(s.amount) from postings s \
         where s.account_id = a.account_id and s.ledger = 'Liabilities:Customer:Balance'), 0)",
    ),
    (
        "I04 an account's unbilled amount is the sum of its postings and of its charges",
        "select a.account_id from accounts a where a.unbilled <> coalesce((select sum(s.amount) from postings s \
         where s.account_id = a.account_id and s.ledger = 'Assets:Unbilled'), 0) \
         or a.unbilled <> coalesce((select sum(c.amount) from charges c where c.account_id = a.account_id), 0) \
         - coalesce((select sum(r.amount) from returns r where r.account_id = a.account_id \
           and r.money_to = 'unbilled'), 0)",
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
        "select p.plan_id from plans p where p.size - p.remaining - p.forfeited <> coalesce((select sum(c.units) \
         from charges c where c.account_id = p.account_id and c.plan_no = p.plan_no), 0) \
         - coalesce((select sum(r.units) from returns r where r.account_id = p.account_id \
           and r.to_plan = p.plan_no), 0)",
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
         left join (select account_id, sum(units) as units from not_charged group by account_id) n \
           on n.account_id = a.account_id \
         where coalesce(c.units, 0) + coalesce(n.units, 0) <> coalesce(m.units, 0)",
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
        "select m.account_id || ' ' || cast(m.id_hi as text) || ' ' || cast(m.id_lo as text) from messages m \
         where m.disposition in ('rejected', 'inbound') \
         and (exists (select 1 from returns r where r.account_id = m.account_id and r.id_hi = m.id_hi \
                and r.id_lo = m.id_lo) \
              or exists (select 1 from not_charged n where n.account_id = m.account_id and n.id_hi = m.id_hi \
                and n.id_lo = m.id_lo))",
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
        "I13 what was returned is what failure receipts were answered so",
        "select 'returned ' || cast(f.failures as text) || ' receipts, ' || cast(r.returns as text) || ' messages' \
         from (select count(*) as failures from failures where answer = 'returned') f, \
              (select count(*) as returns from returns where seq = 1) r \
         where f.failures <> r.returns",
    ),
    (
        "I15 what was charged and not given back is pending or earned",
        "select a.account_id from accounts a where \
         coalesce((select sum(s.amount) from postings s where s.account_id = a.account_id \
           and (s.ledger = 'Liabilities:Pending:Receipt' or s.ledger like 'Income:%:Plan' \
                or s.ledger like 'Income:%:Payg')), 0) \
         + coalesce((select sum(c.net) from charges c where c.account_id = a.account_id), 0) \
         - coalesce((select sum(r.net) from returns r where r.account_id = a.account_id), 0) <> 0",
    ),
    (
        "I15 plan units that were charged and not given back are pending or consumed",
        "select a.account_id from accounts a where \
         coalesce((select sum(s.amount) from postings s where s.account_id = a.account_id \
           and s.ledger in ('Quota:Pending', 'Equity:Quota:Consumed')), 0) \
         <> coalesce((select sum(c.units) from charges c where c.account_id = a.account_id and c.plan_no > 0), 0) \
         - coalesce((select sum(r.units) from returns r where r.account_id = a.account_id and r.from_plan > 0), 0)",
    ),
    (
        "I15 no more is pending than was charged on receipt and is not final",
        "select a.account_id from accounts a where \
         coalesce((select sum(s.amount) from postings s where s.account_id = a.account_id \
           and s.ledger = 'Quota:Pending'), 0) not between 0 and \
         coalesce((select sum(c.units) from charges c where c.account_id = a.account_id and c.plan_no > 0 \
           and (c.window_start >= {final_window} or c.run_no > {final_run})), 0)",
    ),
    (
        "I15 nothing is pending where all is final",
        "select a.account_id from accounts a where \
         coalesce((select sum(s.amount) from postings s where s.account_id = a.account_id \
           and s.ledger = 'Liabilities:Pending:Receipt'), 0) <> 0 \
         and not exists (select 1 from charges c where c.account_id = a.account_id \
           and (c.window_start >= {final_window} or c.run_no > {final_run}))",
    ),
    (
        "F102 a delivery is of a notice to the same account, and one that was sent says when",
        "select d.account_id || ' notice ' || cast(d.notice_no as text) || ' by ' || d.channel from deliveries d \
         left join notices n on n.notice_no = d.notice_no and n.account_id = d.account_id \
         where n.notice_no is null or n.expanded_at is null or (d.state = 'sent') <> (d.sent_at is not null) \
         or (d.state = 'sending') <> (d.owner is not null)",
    ),
    (
        "I28 a batch's lines are accepted, duplicate, conflict or rejected",
        "select cast(b.batch_no as text) from batches b where \
         b.accepted <> (select count(*) from messages m where m.batch_no = b.batch_no) \
         + (select count(*) from receipts r where r.batch_no = b.batch_no and r.slot not like 'conflict %') \
         or b.rejected <> (select count(*) from batch_lines l where l.batch_no = b.batch_no and verdict = 'rejected')",
    ),
];

/// What is broken, in words; empty when all holds.
pub async fn broken(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    let mut broken = Vec::new();
    let done = FinalUpTo::load(tx).await?;
    for (what, query) in INVARIANTS {
        let query = query
            .replace("{final_window}", &done.window.0.to_string())
            .replace("{final_run}", &done.run_no.to_string())
            .replace("{in_time}", &REFUND_WINDOW.to_string());
        for row in tx.rows(format!("{query} limit 5"), vec![]).await? {
            broken.push(format!("{what}: {}", row.text(0)?));
        }
    }
    Ok(broken)
}
