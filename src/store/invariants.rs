//! What must hold in the books at all times, each as a query for the rows that break it
//! (I01-I09, I12, I13, I15, I28). Cheap enough to be asked after every step of a scenario.

use super::db::Tx;
use super::error::StoreError;

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
        "select p.plan_id from plans p where p.size - p.remaining <> coalesce((select sum(c.units) \
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
        "I13 what was returned is what failure receipts were answered so",
        "select 'returned ' || cast(f.failures as text) || ' receipts, ' || cast(r.returns as text) || ' messages' \
         from (select count(*) as failures from failures where answer = 'returned') f, \
              (select count(*) as returns from returns where seq = 1) r \
         where f.failures <> r.returns",
    ),
    (
        "I15 what is pending is charged, not given back, and not final",
        "select a.account_id from accounts a where \
         coalesce((select sum(s.amount) from postings s where s.account_id = a.account_id \
           and s.ledger = 'Quota:Pending'), 0) < 0",
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
    for (what, query) in INVARIANTS {
        for row in tx.rows(format!("{query} limit 5"), vec![]).await? {
            broken.push(format!("{what}: {}", row.text(0)?));
        }
    }
    Ok(broken)
}
