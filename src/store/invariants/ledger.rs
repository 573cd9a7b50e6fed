//! What must hold of the ledger: whose its entries are, what they came from, and what went to which of its
//! accounts (I03, I12, I15, I17, I26, I33, D43).

/// What an entry moved of one of the ledger's accounts.
macro_rules! moved {
    ($ledger:literal) => {
        concat!(
            "coalesce((select sum(s.amount) from postings s where s.account_id = e.account_id \
             and s.entry_no = e.entry_no and s.ledger = '",
            $ledger,
            "'), 0)"
        )
    };
}

/// What an entry moved of the value of those plans for which something holds.
macro_rules! value_of_plans {
    ($which:literal) => {
        concat!(
            "coalesce((select sum(s.amount) from postings s join plans p on p.account_id = s.account_id \
             and p.plan_no = s.plan_no where s.account_id = e.account_id and s.entry_no = e.entry_no \
             and s.ledger = 'Liabilities:Contract:Plan' and ",
            $which,
            "), 0)"
        )
    };
}

/// Entries but for those of charges and of what became final. A run that gives back in portions goes by the
/// cause of the first.
macro_rules! entries {
    () => {
        "(select account_id, at, case when cause like 'return:%:%:%' \
            then rtrim(rtrim(cause, '0123456789'), ':') else cause end as cause from entries \
          where cause not like 'charge:%' and cause not like 'final:%' and cause not like 'final-late:%')"
    };
}

/// What these come from, each by its cause and time, and whether it must have moved something.
macro_rules! sources {
    () => {
        "(select account_id, 'top-up:' || reference as cause, at, 1 as moves from top_ups \
          union all select account_id, 'withdrawal:' || reference, at, 1 from withdrawals \
          union all select account_id, 'order:' || cast(order_no as text), placed_at, 1 from orders \
          union all select account_id, 'penalty:' || cast(penalty_no as text), at, 1 from penalties \
            where order_no is null \
          union all select account_id, 'refund:' || cast(order_no as text) || ':' || cast(refund_no as text), at, 1 \
            from refunds \
          union all select account_id, 'expiry:' || cast(plan_no as text), expires_at, 0 from plans \
            where ended_at is not null \
          union all select account_id, 'bill:' || cast(month as text), issued_at, \
            case when total <> 0 or accrued <> 0 then 1 else 0 end from bills \
          union all select account_id, 'invoice:' || cast(invoice_no as text), issued_at, 1 from invoices \
            where vat <> 0 \
          union all select r.account_id, 'invoice-return:' || cast(r.invoice_no as text), r.at, 1 \
            from invoice_returns r join invoices i on i.account_id = r.account_id and i.invoice_no = r.invoice_no \
            where i.vat <> 0 \
          union all select account_id, 'return:' || cast(received_at as text) || ':' || cast(run_no as text), \
            received_at, max(case when to_plan > 0 or from_plan > 0 or amount <> 0 then 1 else 0 end) from returns \
            group by account_id, received_at, run_no)"
    };
}

pub const INVARIANTS: &[(&str, &str)] = &[
    (
        "I33 an account's entries are numbered without a gap, and each posting is of one",
        "select a.account_id from accounts a \
         left join (select account_id, count(*) as entries, min(entry_no) as first, max(entry_no) as last \
           from entries group by account_id) e on e.account_id = a.account_id \
         left join (select account_id, min(entry_no) as first, max(entry_no) as last from postings \
           group by account_id) s on s.account_id = a.account_id \
         where a.entries <> coalesce(e.entries, 0) or a.entries <> coalesce(e.last, 0) or e.first <> 1 \
         or s.first < 1 or s.last > a.entries",
    ),
    (
        // What was charged, paid and given back has its entry.
        "I17 there are the accounts that entries, orders and bills are of",
        "{all}select t.account_id || ' of ' || t.name from (select distinct account_id, 'entries' as name from entries \
           union all select distinct account_id, 'postings' from postings \
           union all select account_id, 'orders' from orders \
           union all select account_id, 'plans' from plans \
           union all select account_id, 'bills' from bills) t \
         where not exists (select 1 from accounts a where a.account_id = t.account_id)",
    ),
    (
        "I26 bills and invoices are in their account's currency",
        "select a.account_id || ' ' || b.bill_id from bills b \
           join accounts a on a.account_id = b.account_id where b.currency <> a.currency \
         union all select a.account_id || ' ' || i.number from invoices i \
           join accounts a on a.account_id = i.account_id where i.currency <> a.currency",
    ),
    (
        "I03 an entry is of something that there is, and at its time",
        concat!(
            "select e.account_id || ' ' || e.cause from ",
            entries!(),
            " e left join ",
            sources!(),
            " o on o.account_id = e.account_id and o.cause = e.cause and o.at = e.at where o.cause is null"
        ),
    ),
    (
        "I03 what moves something has its entry",
        concat!(
            "select o.account_id || ' ' || o.cause from ",
            sources!(),
            " o where o.moves = 1 and not exists (select 1 from entries e where e.account_id = o.account_id \
               and e.cause = o.cause) \
             and not exists (select 1 from entries e where e.account_id = o.account_id and o.cause like 'return:%' \
               and e.cause >= o.cause || ':' and e.cause < o.cause || ';')"
        ),
    ),
    (
        "I03 charges, and what became final, are booked at their time",
        "select account_id || ' ' || cause from entries where (cause like 'charge:%' \
           and cause not like 'charge:' || cast(at / 1000000 as text) || ':%') \
         or (cause like 'final%' and cause not like 'final:' || cast(at as text) || ':%' \
           and cause not like 'final-late:' || cast(at as text) || ':%')",
    ),
    (
        "I15 each of the ledger's accounts is moved by what may move it",
        "select s.account_id || ' ' || e.cause || ' ' || s.ledger from postings s \
         join entries e on e.account_id = s.account_id and e.entry_no = s.entry_no \
         where s.ledger not in ('Assets:Unbilled', 'Assets:Receivable', 'Liabilities:Customer:Balance', \
           'Liabilities:Contract:Plan', 'Liabilities:Pending:Receipt', 'Liabilities:VAT:Pending', 'Quota:Plan', \
           'Quota:Pending') \
         and s.ledger not like 'Income:%:Plan' and s.ledger not like 'Income:%:Payg' \
         and not case s.ledger when 'Assets:Bank' then e.cause like 'top-up:%' or e.cause like 'withdrawal:%' \
           when 'Liabilities:VAT:Output' then e.cause like 'invoice:%' or e.cause like 'invoice-return:%' \
           when 'Income:RefundDifference' then e.cause like 'return:%' or e.cause like 'refund:%' \
           when 'Income:Breakage' then e.cause like 'expiry:%' or e.cause like 'refund:%' \
           when 'Income:Penalty' then e.cause like 'penalty:%' or e.cause like 'refund:%' \
           when 'Equity:Quota:Issued' then e.cause like 'order:%' or e.cause like 'refund:%' \
             or e.cause like 'charge:%' or e.cause like 'return:%' \
           when 'Equity:Quota:Expired' then e.cause like 'expiry:%' or e.cause like 'refund:%' \
           when 'Equity:Quota:Consumed' then e.cause like 'charge:%' or e.cause like 'return:%' \
             or e.cause like 'final%' \
           when 'Income:RoundDown' then e.cause like 'bill:%' else e.cause like '' end",
    ),
    (
        "I26 a plan's units are of one commodity, and money and units never stand in one another's accounts",
        "select account_id || '-p' || cast(plan_no as text) from postings where ledger = 'Quota:Plan' \
           group by account_id, plan_no having min(commodity) <> max(commodity) \
         union all select s.account_id || ' entry ' || cast(s.entry_no as text) || ' ' || s.ledger from postings s \
           join accounts a on a.account_id = s.account_id \
           where (s.ledger = 'Quota:Plan' or s.ledger = 'Quota:Pending' or s.ledger like 'Equity:Quota:%') \
             = (s.commodity = a.currency)",
    ),
    (
        "I15 what was charged and not given back is pending or earned, by plans or by pay-as-you-go, in its currency",
        // One pass over each table for all of it.
        "select a.account_id from accounts a \
         left join (select account_id, sum(net) as net, sum(case when plan_no > 0 then net else 0 end) as plan, \
             sum(case when plan_no <> 0 then units else 0 end) as units from charges group by account_id) c \
           on c.account_id = a.account_id \
         left join (select o.account_id, sum(o.net) as net, \
             sum(case when o.plan_no > 0 then o.net else 0 end) as plan, \
             sum(case when o.plan_no > 0 then o.units else 0 end) as units from charges o \
             where (o.window_start >= {final_window} or o.run_no > {final_run}) and (select i.value from instance i \
               where i.name = 'charge_on ' || o.product) = 'receipt' group by o.account_id) p \
           on p.account_id = a.account_id \
         left join (select account_id, sum(net) as net, sum(case when from_plan > 0 then net else 0 end) as plan, \
             sum(case when from_plan > 0 then units else 0 end) as units, sum(pending * net) as net_pending, \
             sum(case when from_plan > 0 then pending * net else 0 end) as plan_pending, \
             sum(case when from_plan > 0 then pending * units else 0 end) as units_pending \
             from (select account_id, from_plan, net, units, case when window_start >= {final_window} \
               or charge_run > {final_run} then 1 else 0 end as pending from returns) b group by account_id) r \
           on r.account_id = a.account_id \
         left join (select account_id, sum(net) as net from bill_lines where kind = 'adjustment' \
             group by account_id) l on l.account_id = a.account_id \
         left join (select account_id, \
             sum(case when ledger = 'Liabilities:Pending:Receipt' then amount else 0 end) as pending, \
             sum(case when ledger like 'Income:%:Plan' then amount else 0 end) as plan, \
             sum(case when ledger like 'Income:%:Payg' then amount else 0 end) as payg, \
             sum(case when ledger = 'Quota:Pending' then amount else 0 end) as units_pending, \
             sum(case when ledger = 'Equity:Quota:Consumed' then amount else 0 end) as units_consumed, \
             min(case when ledger like '%Quota:%' then null else commodity end) as currency, \
             max(case when ledger like '%Quota:%' then null else commodity end) as last_currency \
             from postings group by account_id) s on s.account_id = a.account_id \
         where s.currency <> a.currency or s.last_currency <> a.currency \
         or coalesce(s.pending, 0) <> coalesce(r.net_pending, 0) - coalesce(p.net, 0) \
         or coalesce(s.plan, 0) <> coalesce(r.plan, 0) - coalesce(r.plan_pending, 0) \
           - coalesce(c.plan, 0) + coalesce(p.plan, 0) \
         or coalesce(s.plan, 0) + coalesce(s.payg, 0) <> coalesce(r.net, 0) - coalesce(r.net_pending, 0) \
           - coalesce(c.net, 0) + coalesce(p.net, 0) - coalesce(l.net, 0) \
         or coalesce(s.units_pending, 0) <> coalesce(p.units, 0) - coalesce(r.units_pending, 0) \
         or coalesce(s.units_consumed, 0) <> coalesce(c.units, 0) - coalesce(p.units, 0) \
           - coalesce(r.units, 0) + coalesce(r.units_pending, 0)",
    ),
    (
        "I15 accruals are what was charged for money and not given back, each split by its VAT rate",
        "select a.account_id || ' ' || a.product from (select account_id, product, sum(gross) as gross, \
             sum(net) as net from accruals group by account_id, product) a \
         left join (select account_id, product, sum(amount) as gross, sum(net) as net from ( \
             select account_id, product, amount, net from charges where plan_no = 0 \
             union all select account_id, product, -amount, -net from returns where money_to = 'unbilled') p \
             group by account_id, product) c on c.account_id = a.account_id and c.product = a.product \
         where a.gross <> coalesce(c.gross, 0) or a.net <> coalesce(c.net, 0) \
         union all select c.account_id || ' ' || c.product from (select account_id, product, sum(amount) as amount \
             from charges where plan_no = 0 group by account_id, product) c \
           left join accruals a on a.account_id = c.account_id and a.product = c.product \
           where c.amount <> 0 and a.product is null \
         union all select account_id || ' ' || cast(month as text) || ' ' || product from accruals \
           where net <> case when gross < 0 then -1 else 1 end * (abs(gross) / (1000000 + vat_ppm) * 1000000 \
             + (abs(gross) % (1000000 + vat_ppm) * 1000000 + (1000000 + vat_ppm) / 2) / (1000000 + vat_ppm))",
    ),
    (
        "I15 a penalty is booked as it was claimed",
        concat!(
            "select e.account_id || ' ' || e.cause from penalties p join entries e on e.account_id = p.account_id \
               and e.cause = 'penalty:' || cast(p.penalty_no as text) where p.order_no is null and p.amount <> -",
            moved!("Income:Penalty")
        ),
    ),
    (
        "I22 what a penalty's balance did not pay is claimed",
        concat!(
            "select e.account_id || ' ' || e.cause from entries e left join claims c on c.account_id = e.account_id \
               and c.kind = 'penalty' and e.cause = 'penalty:' || c.ref \
             where e.cause like 'penalty:%' and coalesce(c.amount, 0) <> ",
            moved!("Assets:Receivable")
        ),
    ),
    (
        "I22 a claim is of what was booked when it was made",
        "select c.account_id || ' ' || c.kind || ' ' || c.ref from claims c left join entries e \
           on e.account_id = c.account_id and e.cause = c.kind || ':' || replace(c.ref, '-', '') and e.at = c.at \
         where e.at is null",
    ),
    (
        "I12 what an order's refund kept is a penalty, and the VAT of its unused plans comes back",
        concat!(
            "select e.account_id || ' ' || e.cause from refunds r join entries e on e.account_id = r.account_id \
               and e.cause = 'refund:' || cast(r.order_no as text) || ':' || cast(r.refund_no as text) \
             where r.kept <> -",
            moved!("Income:Penalty"),
            " or coalesce((select sum(p.refunded - p.net) from plans p where p.account_id = r.account_id \
               and p.order_no = r.order_no and p.refund_no = r.refund_no and p.refunded > 0), 0) <> ",
            moved!("Liabilities:VAT:Pending"),
            // Of a plan that cost no cash it is not known which way it went.
            " or (",
            moved!("Income:Breakage"),
            " <> -",
            value_of_plans!("p.refunded = 0"),
            " and ",
            value_of_plans!("p.refunded = 0 and p.price = p.coupon"),
            " = 0)"
        ),
    ),
    (
        "D43 what a plan was still worth at its end is earned",
        concat!(
            "select e.account_id || ' ' || e.cause from entries e where e.cause like 'expiry:%' and ",
            moved!("Income:Breakage"),
            " <> -",
            moved!("Liabilities:Contract:Plan")
        ),
    ),
    (
        "I22 what a bill leaves out below a hundredth is booked so",
        concat!(
            "select e.account_id || ' ' || e.cause from (select account_id, month, sum(amount) as amount \
               from bill_lines where kind = 'round_down' group by account_id, month) l \
             join entries e on e.account_id = l.account_id and e.cause = 'bill:' || cast(l.month as text) \
             where l.amount <> -",
            moved!("Income:RoundDown")
        ),
    ),
];
