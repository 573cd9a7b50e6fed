-- The end of plans, and their renewal.

-- When a plan's end was posted: nothing of it is left, and it takes nothing back any more. What is left of
-- a plan changes with every run, so these indexes know nothing of it: its row stays where it is then.
alter table plans add column ended_at {int};
create index plans_to_end on plans (expires_at) where ended_at is null;
create index plans_open on plans (account_id, product) where ended_at is null;

-- How far a job has come is asked by those that wait for it (D48, D65), and each run looks for one of its
-- job that was killed.
create index job_runs_as_of on job_runs (job, as_of) where outcome in ('done', 'nothing_to_do', 'partial');
create index job_runs_running on job_runs (job) where outcome = 'running';

-- Which messages wait, of all batches there ever were. SQLite takes an index that begins with what is asked
-- for equal.
create index batches_to_charge on batches (kind, first_submit) where run_no is null;

-- What an account has renewed for it, and why that was last refused.
create table renewal_settings (
    account_id   {text} not null references accounts,
    product      {text} not null,
    package      {text} not null,
    threshold    {int} not null check (threshold >= 0),
    set_at       {int} not null,
    off_at       {int},                      -- null while it is on
    refused_at   {int},                      -- the first time that day for that reason
    refused_code {text},
    refused_text {text},
    primary key (account_id, product)
){strict};

create index renewal_settings_on on renewal_settings (account_id, product) where off_at is null;

-- Why an order was placed by renewal: a plan is renewed for its time once, and a product once a run.
create table renewals (
    account_id   {text} not null,
    order_no     {int} not null,
    product      {text} not null,
    due_by       {text} not null check (due_by in ('threshold', 'time', 'both')),
    renewed_plan {int} not null,             -- the plan in use, whose time is used up; 0: there was none
    remaining    {int} not null,             -- units left then
    threshold    {int} not null,
    list_price   {int} not null,
    discount_ppm {int} not null,
    validity     {text} not null,
    at           {int} not null,
    run_no       {int} not null,
    primary key (account_id, order_no),
    unique (account_id, product, run_no),
    foreign key (account_id, order_no) references orders
){strict};

create unique index renewals_by_time on renewals (account_id, renewed_plan) where due_by <> 'threshold';
create index renewals_of_product on renewals (account_id, product, at);

create view v_renewals as
select r.account_id, {time r.at} as at, o.order_id, r.product, r.due_by, p.plan_id as renewed_plan, r.remaining,
       r.threshold, {money r.list_price} as list_price, {money o.total} as price, r.validity
from renewals r
join orders o on o.account_id = r.account_id and o.order_no = r.order_no
left join plans p on p.account_id = r.account_id and p.plan_no = r.renewed_plan;
