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

-- Of the units that usage counts, those that were free by such an allowance.
alter table usage_days add column allowance {int} not null default 0;

-- For which countries a plan pays: '' for all, 'only HK MO', 'except US'.
alter table plans add column countries {text} not null default '';
