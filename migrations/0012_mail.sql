-- Direct Mail: free units, daily quotas and their reviews; plans for some countries only.

-- Units that cost nothing, by day of the billing zone. The allowance is what held when they were had.
create table free_units (
    account_id {text} not null,
    product    {text} not null,
    day        {int} not null,               -- 20260301
    units      {int} not null check (units > 0),
    per_day    {int} not null,
    total      {int} not null,
    primary key (account_id, product, day),
    check (units <= per_day)
){strict};

-- 1: the message failed because there is no such address; null else.
alter table receipts add column invalid_address {int};

-- What a week showed of an account, and what became of its daily quota. The last one holds.
create table quota_reviews (
    account_id {text} not null,
    product    {text} not null,
    week       {int} not null,               -- its Monday: 20260302
    at         {int} not null,
    run_no     {int} not null,
    sent       {int} not null,               -- messages of the week that the gateway took
    busiest    {int} not null,               -- of these, those of the day with the most
    delivered  {int} not null,               -- answers of the week
    failed     {int} not null,
    invalid    {int} not null,
    complained {int} not null,
    from_daily {int} not null,
    to_daily   {int} not null check (to_daily > 0),
    reason     {text} not null,
    primary key (account_id, product, week)
){strict};

-- The day that the last charging run worked in, and what accounts without a review may send in it.
create table quota_days (
    product {text} primary key,
    day     {int} not null,                  -- 20260301
    begins  {int} not null,
    ends    {int} not null,
    initial {int} not null
){strict};

-- For gateways: how many messages an account may send a day, and how many of them it has sent, as far as
-- they are charged. A day that has ended (`day_ends`) says nothing of the next but `daily`.
create view v_mail_quotas as
select q.account_id, q.product, q.day, {time q.begins} as day_begins, {time q.ends} as day_ends, q.daily, q.used,
       case when q.used < q.daily then q.daily - q.used else 0 end as left_today
from (select a.account_id, d.product, d.day, d.begins, d.ends, coalesce(r.to_daily, d.initial) as daily,
             coalesce(u.messages, 0) as used
      from accounts a
      cross join quota_days d
      left join quota_reviews r on r.account_id = a.account_id and r.product = d.product
        and r.week = (select max(l.week) from quota_reviews l
                      where l.account_id = a.account_id and l.product = d.product)
      left join (select c.account_id, c.product, cast(sum(c.messages) as {int}) as messages
                 from charges c join quota_days t on t.product = c.product
                 where c.window_start >= t.begins and c.window_start < t.ends
                 group by c.account_id, c.product) u
        on u.account_id = a.account_id and u.product = d.product
      where a.status <> 'closed') q;

-- Of the units that usage counts, those that were free by such an allowance.
alter table usage_days add column allowance {int} not null default 0;

-- For which countries a plan pays: '' for all, 'only HK MO', 'except US'.
alter table plans add column countries {text} not null default '';

drop view v_plans;
create view v_plans as
select p.account_id, p.plan_id, o.order_id, p.product, p.package, p.countries, p.size, p.bonus, p.remaining, p.forfeited,
       {money p.price} as price, {money p.coupon} as coupon, {money p.refunded} as refunded,
       {time p.effective_at} as effective_at, {time p.expires_at} as expires_at, {time p.refunded_at} as refunded_at
from plans p join orders o on o.account_id = p.account_id and o.order_no = p.order_no;

-- payer: 'plan', 'payg', or 'free' by an allowance.
drop view v_charges;
create view v_charges as
select c.account_id, {time c.window_start} as window_start, c.run_no, c.product, c.template_type, c.country,
       c.units, c.messages, case when c.plan_no < 0 then 'free' when c.plan_no = 0 then 'payg' else 'plan' end as payer,
       p.plan_id, {money c.unit_price} as unit_price, {money c.amount} as amount
from charges c left join plans p on p.account_id = c.account_id and p.plan_no = c.plan_no;

-- Failures that name a request and a recipient, found for the messages that they are of.
create index failures_request on failures (biz_id, recipient_hash) where biz_id is not null;
