//! What must hold of bills and invoices (I22-I25).

/// The month on whose bill a charge stands, given its window and the run that made it.
macro_rules! month_of {
    ($window:literal, $run:literal) => {
        concat!(
            "(select min(m.month) from bill_months m where m.ends_at > ",
            $window,
            " and m.charge_run >= ",
            $run,
            ")"
        )
    };
}

/// Whether the account's bill of a month waits for a fault to be mended.
macro_rules! parked {
    ($of:literal) => {
        concat!(
            "exists (select 1 from bills_parked p where p.account_id = ",
            $of,
            ".account_id and p.month = ",
            $of,
            ".month and p.run_no is null)"
        )
    };
}

pub const INVARIANTS: &[(&str, &str)] = &[
    (
        "I22 a bill's total is the sum of its unsettled lines, in whole hundredths",
        "select b.bill_id from bills b where b.total % 10000 <> 0 or b.total <> coalesce((select sum(l.amount) \
         from bill_lines l where l.account_id = b.account_id and l.month = b.month and l.settled = 0), 0)",
    ),
    (
        "I22 a bill has all its lines, and a line its bill",
        "select b.bill_id from bills b where b.lines <> (select count(*) from bill_lines l \
           where l.account_id = b.account_id and l.month = b.month) \
         union all select l.account_id || ' ' || cast(l.month as text) from bill_lines l \
           where not exists (select 1 from bills b where b.account_id = l.account_id and b.month = l.month)",
    ),
    (
        "I22 a bill's total and what it clears are what the ledger says",
        "select b.bill_id from bills b \
         left join entries e on e.account_id = b.account_id and e.cause = 'bill:' || cast(b.month as text) \
         where b.total <> coalesce((select sum(s.amount) from postings s where s.account_id = e.account_id \
             and s.entry_no = e.entry_no \
             and s.ledger in ('Liabilities:Customer:Balance', 'Assets:Receivable')), 0) \
         or b.accrued <> -coalesce((select sum(s.amount) from postings s where s.account_id = e.account_id \
             and s.entry_no = e.entry_no and s.ledger = 'Assets:Unbilled'), 0)",
    ),
    (
        "I22 what a bill's balance did not pay is claimed",
        "select b.bill_id from bills b where b.total - b.paid <> coalesce((select sum(c.amount) from claims c \
         where c.account_id = b.account_id and c.kind = 'bill' \
         and c.ref = cast(b.month / 100 as text) || '-' || substr(cast(b.month as text), 5)), 0)",
    ),
    (
        "I23 every charge and return of a billed month is on the one bill that clears it",
        concat!(
            "select t.account_id || ' ' || cast(t.month as text) from (select account_id, month, \
               sum(amount) as amount, sum(units) as units from ( \
                 select c.account_id, c.amount, c.units, ",
            month_of!("c.window_start", "c.run_no"),
            " as month from charges c where c.plan_no >= 0 union all select r.account_id, -r.amount, -r.units, ",
            month_of!("r.window_start", "r.charge_run"),
            " from returns r where r.money_to = 'unbilled') p where month is not null group by account_id, month) t \
             left join bills b on b.account_id = t.account_id and b.month = t.month where not ",
            parked!("t"),
            " and (b.accrued is null or b.accrued <> t.amount or t.units <> (select sum(l.units) from bill_lines l \
               where l.account_id = b.account_id and l.month = b.month and l.kind in ('payg', 'plan', 'return')))"
        ),
    ),
    (
        "I23 what bills clear is what was charged and not given back of billed months",
        concat!(
            // No index leads from an account to its charges: they are summed once for all.
            "select a.account_id from accounts a \
             left join (select c.account_id, sum(c.amount) as amount from charges c where ",
            month_of!("c.window_start", "c.run_no"),
            " is not null group by c.account_id) c on c.account_id = a.account_id where \
             coalesce((select sum(b.accrued) from bills b where b.account_id = a.account_id), 0) <> \
             coalesce(c.amount, 0) - coalesce((select sum(r.amount) from returns r where r.account_id = a.account_id \
               and r.money_to = 'unbilled' and ",
            month_of!("r.window_start", "r.charge_run"),
            " is not null), 0) and not exists (select 1 from bills_parked p where p.account_id = a.account_id \
               and p.run_no is null)"
        ),
    ),
    (
        "I23 orders, their refunds and penalties are on one bill each",
        "select a.account_id from accounts a where \
         coalesce((select sum(l.amount) from bill_lines l where l.account_id = a.account_id \
           and (l.kind in ('order', 'penalty') or l.kind = 'refund' and l.product is null)), 0) <> \
         coalesce((select sum(s.amount) from entries e join postings s on s.account_id = e.account_id \
             and s.entry_no = e.entry_no and s.ledger in ('Liabilities:Customer:Balance', 'Assets:Receivable') \
           where e.account_id = a.account_id and e.cause >= 'order' and e.cause < 'return' \
           and exists (select 1 from bills b where b.account_id = e.account_id and e.at < b.ends_at \
             and e.entry_no <= b.last_entry)), 0)",
    ),
    (
        "I30 a bill has seen the entries of the runs that it bills, and its own is the next",
        "select b.bill_id from bills b join accounts a on a.account_id = b.account_id \
         join bill_months m on m.month = b.month \
         left join entries e on e.account_id = b.account_id and e.cause = 'bill:' || cast(b.month as text) \
         where b.last_entry < 0 or b.last_entry > a.entries or e.entry_no <> b.last_entry + 1 \
         or exists (select 1 from entries c where c.account_id = b.account_id and c.entry_no > b.last_entry \
           and c.cause like 'charge:%' and cast('0' || substr(c.cause, length(rtrim(c.cause, '0123456789')) + 1) \
             as bigint) <= m.charge_run)",
    ),
    (
        "I24 numbers of bills and invoices have no gap and are given once",
        "{all}select t.series from (select series, series_no from bills union all select series, series_no from invoices \
           union all select series, series_no from invoice_returns) t \
         left join number_series n on n.series = t.series group by t.series, n.last \
         having count(*) <> count(distinct t.series_no) or min(t.series_no) <> 1 or count(*) <> max(t.series_no) \
           or n.last is null or n.last <> max(t.series_no)",
    ),
    (
        "I25 money for failures is on the bill of its month, once",
        concat!(
            "select t.account_id || ' ' || cast(t.month as text) from (select account_id, month, \
               sum(amount) as amount from (select account_id, bill_month as month, amount from returns \
                   where money_to = 'balance' \
                 union all select account_id, month, amount from bill_lines \
                   where kind = 'refund' and product is not null) b group by account_id, month) t \
             join bill_months m on m.month = t.month where t.amount <> 0 and not ",
            parked!("t")
        ),
    ),
    (
        // The months of before the first bill, and those that are not billed yet, are told by the zone alone.
        "I25 money for failures is on the first bill after it came, or of a month that was not billed then",
        "select account_id || ' ' || cast(received_at as text) from ( \
           select r.account_id, r.received_at, r.bill_month, (select min(m.month) from bill_months m \
             where m.ends_at > r.received_at and m.settle_run >= r.run_no) as billed, \
             (select min(m.month) from bill_months m) as first, (select max(m.month) from bill_months m) as last \
           from returns r where r.money_to = 'balance') b \
         where bill_month is null or (billed is null and bill_month <= last and bill_month >= first) \
           or (bill_month >= first and bill_month <> billed)",
    ),
    (
        "I25 money goes back to the balance for what was billed, or for plans",
        concat!(
            "select r.account_id || ' ' || cast(r.window_start as text) from returns r \
             where r.money_to = 'balance' and r.bill_month is not null and r.from_plan = 0 and coalesce(",
            month_of!("r.window_start", "r.charge_run"),
            ", 999999) >= r.bill_month"
        ),
    ),
    (
        // Where no unit is left of a list, nothing is priced anew.
        "I25 what a bill priced anew has its price",
        "select l.account_id || ' ' || cast(l.month as text) || ' ' || l.product from bill_lines l \
         where l.kind = 'adjustment' and not exists (select 1 from billed_prices b where b.account_id = l.account_id \
           and b.product = l.product and b.class = coalesce(l.template_type, l.country, '') \
           and b.month = coalesce(cast(replace(l.ref, '-', '') as bigint), l.month))",
    ),
    (
        "I25 what a bill priced anew has units under its VAT rate",
        "select l.account_id || ' ' || cast(l.month as text) || ' ' || l.product from bill_lines l \
         where l.kind = 'adjustment' and not exists (select 1 from bill_lines u where u.account_id = l.account_id \
           and u.month = l.month and u.kind in ('payg', 'return') and u.product = l.product \
           and u.vat_ppm = l.vat_ppm and coalesce(u.ref, '') = coalesce(l.ref, '') \
           and coalesce(u.template_type, '') = coalesce(l.template_type, u.template_type, '') \
           and coalesce(u.country, '') = coalesce(l.country, u.country, ''))",
    ),
    (
        "I24 an order says which invoice stands for it",
        "select o.order_id from orders o \
         left join (select i.account_id, i.invoice_no, i.ref from invoices i where i.kind = 'order' \
           and not exists (select 1 from invoice_returns r where r.account_id = i.account_id \
             and r.invoice_no = i.invoice_no)) i on i.account_id = o.account_id and i.ref = o.order_id \
         where coalesce(o.invoice_no, 0) <> coalesce(i.invoice_no, 0)",
    ),
    (
        "an invoice stands for a bill or order once",
        "select i.account_id || ' ' || i.ref from invoices i where not exists (select 1 from invoice_returns r \
           where r.account_id = i.account_id and r.invoice_no = i.invoice_no) \
         group by i.account_id, i.kind, i.ref having count(*) > 1",
    ),
    (
        "VAT that is payable is that of the invoices that stand",
        "select a.account_id from accounts a where -coalesce((select sum(s.amount) from postings s \
           where s.account_id = a.account_id and s.ledger = 'Liabilities:VAT:Output'), 0) <> \
         coalesce((select sum(i.vat) from invoices i where i.account_id = a.account_id \
           and not exists (select 1 from invoice_returns r where r.account_id = i.account_id \
             and r.invoice_no = i.invoice_no)), 0)",
    ),
];
