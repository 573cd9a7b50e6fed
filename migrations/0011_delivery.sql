-- How notices reach people: one row for each way that a notice takes, sent at least once.

-- When its ways were decided; null for a notice that nobody has looked at yet.
alter table notices add column expanded_at {int};
-- When its account had read it; null until then.
alter table notices add column read_at {int};

create index notices_new on notices (notice_no) where expanded_at is null;
create index notices_account on notices (account_id, notice_no);

create table deliveries (
    account_id  {text} not null,             -- '' for the operator
    notice_no   {int} not null,
    channel     {text} not null check (channel in ('email', 'sms', 'webhook')),
    target      {text} not null,             -- which of the operator's addresses; '' for the account's own
    state       {text} not null check (state in ('waiting', 'sending', 'sent', 'failed', 'outdated', 'dismissed')),
    attempts    {int} not null default 0,
    since       {int} not null,              -- counted from here, what fails too long is given up
    next_at     {int} not null,
    owner       {text},                      -- who is sending it, until when: then others may
    lease_until {int},
    sent_at     {int},
    units       {int},                       -- of a text message
    error       {text},
    primary key (account_id, notice_no, channel, target)
){strict};

-- One for each question: SQLite takes a partial index only where the question says its very condition.
create index deliveries_waiting on deliveries (channel, next_at, notice_no, target) where state = 'waiting';
create index deliveries_sending on deliveries (channel, owner) where state = 'sending';
create index deliveries_open on deliveries (channel, state) where state in ('waiting', 'sending', 'failed');

-- What an account wants otherwise than is usual; kind '' is all kinds. 'default' takes an 'on' or 'off' back:
-- nothing is deleted, which the role that runs jobs could not.
create table notice_settings (
    account_id {text} not null references accounts,
    kind       {text} not null,
    channel    {text} not null check (channel in ('inbox', 'email', 'sms', 'webhook')),
    setting    {text} not null check (setting in ('on', 'off', 'default')),
    primary key (account_id, kind, channel)
){strict};

-- Below this an account's available balance is low (D39); reckoned once a day. No reference to accounts: it
-- would lock their rows, against charging, in another order.
create table balance_alerts (
    account_id {text} not null,
    threshold  {int} not null,
    as_of      {int} not null,
    primary key (account_id)
){strict};

-- Where these books may write to people from: a copy of them lives elsewhere (F20).
create table delivery_places (
    place      {text} not null,
    words      {text} not null,
    at         {int} not null,
    primary key (place)
){strict};

create view v_notices as
select n.notice_no, n.account_id, n.kind, n.subject, {time n.due} as due, {time n.read_at} as read_at,
       d.channel, d.state, d.attempts, {time d.sent_at} as sent_at, d.units, d.error
from notices n left join deliveries d on d.account_id = n.account_id and d.notice_no = n.notice_no;
