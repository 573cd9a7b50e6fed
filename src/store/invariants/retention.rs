//! What must hold of what is no longer kept (I36). Asked of all accounts together: messages are found by their
//! batches, which are of many accounts.

pub const INVARIANTS: &[(&str, &str)] = &[
    (
        "I36 what is no longer kept of an account's messages is what their runs charged",
        "{all}select a.account_id from accounts a \
         left join retired_messages t on t.account_id = a.account_id \
         left join (select account_id, sum(units) as units from charges where run_no <= {retired_run} \
           group by account_id) c on c.account_id = a.account_id \
         left join (select account_id, sum(units) as units from not_charged where run_no <= {retired_run} \
           group by account_id) n on n.account_id = a.account_id \
         left join (select m.account_id, sum(m.units) as units from batches b \
             join messages m on m.batch_no = b.batch_no \
             left join suspense s on s.account_id = m.account_id and s.id_hi = m.id_hi and s.id_lo = m.id_lo \
             where b.kind = 'messages' and b.run_no <= {retired_run} and b.retired < b.accepted \
             and (m.disposition is null or m.disposition = 'too_long') \
             and (s.account_id is null or s.run_no <= {retired_run}) group by m.account_id) m \
           on m.account_id = a.account_id \
         where coalesce(t.units, 0) + coalesce(m.units, 0) <> coalesce(c.units, 0) + coalesce(n.units, 0)",
    ),
    (
        "I36 messages that are no longer kept are as many as the lines of batches, and those of retired runs",
        "{all}select cast(t.messages as text) || ' messages, ' || cast(b.lines as text) || ' lines' \
         from (select coalesce(sum(messages), 0) as messages from retired_messages) t, \
              (select coalesce(sum(retired), 0) as lines from batches where kind = 'messages' \
                 and run_no <= {retired_run}) b \
         where t.messages <> b.lines \
         union all select 'batch ' || cast(batch_no as text) from batches where retired > accepted or retired < 0 \
           or (kind = 'messages' and retired > 0 and (run_no is null or run_no > {retired_run}))",
    ),
    (
        "I36 runs are retired when their charges are final and billed",
        "{all}select 'run ' || cast({retired_run} as text) from (select coalesce(max(charge_run), 0) as billed \
           from bill_months) b where {retired_run} > {final_run} or {retired_run} > b.billed",
    ),
];
