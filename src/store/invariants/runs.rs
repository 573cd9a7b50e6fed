//! What must hold of runs, and of how far they have come (I27, I30, I31).

pub const INVARIANTS: &[(&str, &str)] = &[
    (
        "I31 a run that the books name is on record as done",
        "{all}select 'run ' || cast(n.run_no as text) from ( \
           select run_no from batches where kind = 'messages' union select run_no from suspense \
           union select run_no from failures union select run_no from bill_months union select run_no from renewals \
           union select run_no from bills_parked) n \
         left join job_runs j on j.run_no = n.run_no and j.outcome in {completed} \
         where n.run_no is not null and j.run_no is null",
    ),
    (
        "I30 months are billed one after the other, each up to a run that charged",
        "{all}select cast(m.month as text) from bill_months m left join job_runs j on j.run_no = m.charge_run \
         where (m.charge_run <> 0 and coalesce(j.job, '') <> 'aggregate-charges') \
         or exists (select 1 from bill_months b where b.month < m.month \
           and (b.ends_at >= m.ends_at or b.charge_run > m.charge_run or b.settle_run > m.settle_run))",
    ),
    (
        "I30 the books are billed up to the last month that was",
        "{all}select i.value from instance i where i.name = 'billed_up_to' \
         and i.value <> coalesce((select cast(ends_at as text) || ' ' || cast(charge_run as text) from bill_months \
           order by month desc limit 1), '-9223372036854775808 0')",
    ),
    (
        "I27 the billed units of days that are counted for good are those charged and not given back",
        "select a.account_id from accounts a \
         left join (select account_id, sum(billed) as billed, sum(allowance) as free from usage_days \
           group by account_id) u on u.account_id = a.account_id \
         left join (select account_id, sum(case when plan_no < 0 then 0 else units end) as units, \
             sum(case when plan_no < 0 then units else 0 end) as free from charges \
           where window_start < {counted_day} and run_no <= {counted_run} group by account_id) c \
           on c.account_id = a.account_id \
         left join (select account_id, sum(units) as units from returns where was_final = 0 \
           and window_start < {counted_day} and charge_run <= {counted_run} group by account_id) r \
           on r.account_id = a.account_id \
         where coalesce(u.free, 0) <> coalesce(c.free, 0) \
         or coalesce(u.billed, 0) <> coalesce(c.units, 0) - coalesce(r.units, 0)",
    ),
];
