-- Fewer and smaller writes of a charging run: what a run adds is appended, and what it changes of an
-- account is one row a month.

drop view v_charges;
drop view v_journal;

-- Units and accruals of an account's month, as a run loads and saves them: whole. Lists, as JSON, of
-- [product, class, units] and [product, VAT rate, gross, net].
create table account_months (
    account_id {text} not null,
    month      {int} not null,               -- 202603, in the billing zone
    tiers      {text} not null,
    accruals   {text} not null,
    primary key (account_id, month)
){strict}{roomy};

insert into account_months (account_id, month, tiers, accruals)
select k.account_id, k.month, coalesce(t.list, '[]'), coalesce(a.list, '[]')
from (select account_id, month from tier_counters union select account_id, month from accruals) k
left join (select account_id, month, {list product, class, units} as list
           from tier_counters group by account_id, month) t
  on t.account_id = k.account_id and t.month = k.month
left join (select account_id, month, {list product, vat_ppm, gross, net} as list
           from accruals group by account_id, month) a
  on a.account_id = k.account_id and a.month = k.month;

drop table tier_counters;
drop table accruals;

create view tier_counters as
select m.account_id, m.month, {item 0 text} as product, {item 1 text} as class, {item 2 int} as units
from account_months m {each m.tiers};

create view accruals as
select m.account_id, m.month, {item 0 text} as product, {item 1 int} as vat_ppm, {item 2 int} as gross,
       {item 3 int} as net
from account_months m {each m.accruals};

-- Charges are found by the run that made them, and each run's come after those of the run before: the
-- index grows at its end instead of all over. That nothing is charged twice is what `entries` sees to,
-- whose cause is the window and the run.
create table run_charges (
    account_id    {text} not null,
    window_start  {int} not null,
    run_no        {int} not null,
    product       {text} not null,
    template_type {text} not null,
    country       {text} not null,
    first_unit    {int} not null,            -- units of this class, window and run before these
    units         {int} not null check (units > 0),
    messages      {int} not null check (messages >= 0),
    plan_no       {int} not null,            -- 0: pay-as-you-go
    unit_price    {int},                     -- pay-as-you-go price at that moment, for plans too
    amount        {int} not null
){strict};

insert into run_charges
select account_id, window_start, run_no, product, template_type, country, first_unit, units, messages, plan_no,
       unit_price, amount
from charges order by run_no, account_id;

drop table charges;
alter table run_charges rename to charges;
create index charges_of_run on charges (run_no, account_id);

-- Postings are found by their entry, which is known by its cause.
create table entry_postings (
    account_id {text} not null,
    entry_no   {int} not null,
    ledger     {text} not null,              -- name in the chart of accounts
    plan_no    {int} not null,               -- 0: none
    commodity  {text} not null,
    amount     {int} not null                -- debit positive
){strict};

insert into entry_postings select account_id, entry_no, ledger, plan_no, commodity, amount from postings;

drop table postings;
alter table entry_postings rename to postings;
{append_only postings}
create index postings_of_entry on postings (account_id, entry_no);

{make accounts roomy}
{make plans roomy}

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
