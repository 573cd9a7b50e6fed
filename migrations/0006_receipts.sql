-- Receipts: what carriers answered, what failures gave back, what became final, and what needs an eye.

-- Value that came back with units, beyond the plan's own.
alter table plans add column carried {int} not null default 0;

alter table charges add column net {int} not null default 0;  -- worth without VAT
-- Which messages a charge pays for, where the class has several charges in the window and run: the first
-- and the last in order of arrival, and how many of their units. Null where it pays for all of them.
alter table charges add column first_batch {int};
alter table charges add column first_line {int};
alter table charges add column first_units {int};
alter table charges add column last_batch {int};
alter table charges add column last_line {int};
alter table charges add column last_units {int};

drop index batches_uncharged;
create index batches_uncharged on batches (batch_no) where run_no is null and kind = 'messages';

-- Receipts that name a request and a recipient instead of a message find theirs by these.
create index messages_request on messages (biz_id, recipient_hash) where biz_id is not null;

-- The first final receipt of each message or part, the first that contradicts it, and the first of each
-- other status.
create table receipts (
    id_hi          {int} not null,
    id_lo          {int} not null,
    account_id     {text} not null,          -- '' where the provider does not say
    part           {int} not null,           -- 0: the whole message
    slot           {text} not null,          -- 'final', 'conflict delivered', 'conflict failed', else the status
    batch_no       {int} not null,
    line           {int} not null,
    status         {text} not null,
    raw_status     {text},
    err_code       {text},
    parts          {int},
    report_time    {int} not null,           -- the carrier's, else when it was received
    received_at    {int} not null,
    source_units   {int},
    raw_id         {text},
    receipt_id     {text},
    biz_id         {text},
    recipient_hash {int},
    primary key (id_hi, id_lo, account_id, part, slot)
){strict};

create index receipts_batch on receipts {spans batch_no};
create index receipts_request on receipts (biz_id, recipient_hash) where biz_id is not null;

-- Final receipts that say no: kept apart, so that giving back never reads the others.
create table failures (
    id_hi          {int} not null,
    id_lo          {int} not null,
    account_id     {text} not null,
    part           {int} not null,
    parts          {int},
    batch_no       {int} not null,
    line           {int} not null,
    report_time    {int} not null,
    received_at    {int} not null,
    biz_id         {text},
    recipient_hash {int},
    run_no         {int},                    -- the run that answered it
    answer         {text},                   -- returned, not_charged, no_money, late, duplicate, exception
    primary key (id_hi, id_lo, account_id, part)
){strict};

create index failures_open on failures (batch_no, line) where run_no is null;

-- What failed messages gave back: each message, or part of it, once.
create table returns (
    account_id    {text} not null,
    id_hi         {int} not null,
    id_lo         {int} not null,
    part          {int} not null,            -- 0: the whole message
    seq           {int} not null,            -- from 1: a message may go back in several ways
    run_no        {int} not null,
    received_at   {int} not null,
    window_start  {int} not null,
    charge_run    {int} not null,
    product       {text} not null,
    template_type {text} not null,
    country       {text} not null,
    from_plan     {int} not null,            -- who had paid; 0: pay-as-you-go
    to_plan       {int} not null,            -- 0: money
    money_to      {text} check (money_to in ('unbilled', 'balance')),
    units         {int} not null check (units > 0),
    unit_price    {int},
    amount        {int} not null,
    net           {int} not null,
    was_final     {int} not null,            -- 1: an operator approved it after its charge was final
    primary key (account_id, id_hi, id_lo, part, seq)
){strict};

create index returns_window on returns {spans window_start};

-- Messages, or parts, whose failure was known when they would have been charged.
create table not_charged (
    account_id {text} not null,
    id_hi      {int} not null,
    id_lo      {int} not null,
    part       {int} not null,
    units      {int} not null check (units > 0),
    run_no     {int} not null,
    primary key (account_id, id_hi, id_lo, part)
){strict};

-- What needs an operator's eye, once.
create table exceptions (
    exception_no {serial},
    kind         {text} not null,            -- late_arrival, conflict, orphan, segment_disagreement, no_price,
                                             -- ambiguous_account; dismissed lines: rejected_line, conflict_line
    account_id   {text} not null,            -- '' where it is not known
    id_hi        {int} not null,
    id_lo        {int} not null,
    part         {int} not null,
    batch_no     {int} not null,             -- of the receipt
    line         {int} not null,
    detail       {text} not null,
    opened_at    {int} not null,
    closed_at    {int},
    resolution   {text} check (resolution in ('approved', 'dismissed')),
    reason       {text},                     -- in the words of whoever resolved it
    run_no       {int},                      -- the record of its approval
    unique (kind, batch_no, line)
){strict};

create index exceptions_open on exceptions (exception_no) where closed_at is null;
create index exceptions_message on exceptions (id_hi, id_lo);

-- What was sent on days that are final, for good: written once a day, added to by what comes late.
-- Units in suspense are added when they are charged.
create table usage_days (
    account_id    {text} not null,
    day           {int} not null,            -- 20260301, in the billing zone
    product       {text} not null,
    template_type {text} not null,
    country       {text} not null,
    attempts      {int} not null,            -- messages that were handed in to be sent
    submitted     {int} not null,            -- units of those that the gateway took
    delivered     {int} not null,            -- of these
    failed        {int} not null,
    unknown       {int} not null,            -- no receipt came in time
    free          {int} not null,            -- units that users sent in
    billed        {int} not null,            -- charged and not given back
    primary key (account_id, day, product, template_type, country),
    check (submitted = delivered + failed + unknown)
){strict};

-- Messages of a day, or of a run, are found by their batches, and by what left suspense.
create index batches_by_time on batches (last_submit) where kind = 'messages';
create index batches_of_run on batches (run_no) where run_no is not null;
create index suspense_released on suspense (run_no) where run_no is not null;

-- The run that listed which receipts of a batch found no message; null until their time is over.
alter table batches add column closed_by {int};
create index batches_open on batches (ingested_at) where kind = 'receipts' and closed_by is null;

create view v_returns as
select r.account_id, {time r.received_at} as received_at, {time r.window_start} as window_start, r.product,
       r.template_type, r.country, r.units, f.plan_id as from_plan, t.plan_id as to_plan, r.money_to,
       {money r.unit_price} as unit_price, {money r.amount} as amount
from returns r
left join plans f on f.account_id = r.account_id and f.plan_no = r.from_plan
left join plans t on t.account_id = r.account_id and t.plan_no = r.to_plan;

-- Windows become final in order of time.
create index charges_window on charges {spans window_start};
create index receipts_by_part on receipts (id_hi, id_lo) where part > 0;
