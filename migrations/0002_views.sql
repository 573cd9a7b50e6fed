-- Views for people and reporting tools: decimal money, real timestamps.

create view v_accounts as
select account_id, name, kind, status, currency,
       {money balance} as balance, {money unbilled} as unbilled, {money due} as due,
       {money balance - unbilled - due} as available, {time created_at} as created_at
from accounts;

create view v_plans as
select p.account_id, p.plan_id, o.order_id, p.product, p.package, p.size, p.remaining, p.forfeited,
       {money p.price} as price, {time p.effective_at} as effective_at, {time p.expires_at} as expires_at
from plans p join orders o on o.account_id = p.account_id and o.order_no = p.order_no;

create view v_charges as
select c.account_id, {time c.window_start} as window_start, c.run_no, c.product, c.template_type, c.country,
       c.units, c.messages, p.plan_id, {money c.unit_price} as unit_price, {money c.amount} as amount
from charges c left join plans p on p.account_id = c.account_id and p.plan_no = c.plan_no;

create view v_journal as
select e.account_id, e.entry_no, {time e.at} as at, e.cause, s.ledger, p.plan_id, s.commodity,
       case when length(s.commodity) = 3 then {money s.amount} else {count s.amount} end as amount
from entries e
join postings s on s.account_id = e.account_id and s.entry_no = e.entry_no
left join plans p on p.account_id = s.account_id and p.plan_no = s.plan_no;

create view v_runs as
select run_no, job, {time as_of} as as_of, {time started_at} as started_at, duration_ms, outcome, counts, error
from job_runs;
