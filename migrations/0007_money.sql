-- What a customer owes and is owed: status changes, claims, withdrawals, penalties; and notices.

alter table accounts add column closed_at {int};
alter table accounts add column verified_region {text};  -- for which region, where it is told (R3)
-- Why the provider suspended it until it is released; null where it did not (R56).
alter table accounts add column held {text};
alter table accounts add column penalties {int} not null default 0;  -- last penalty number

-- Who paid, where it is told: another than the verified entity is shown (R85, D36).
alter table top_ups add column payer {text};

-- The invoice that stands for the order; null where there is none, or it was returned (D28).
alter table orders add column invoice_no {int};

create table withdrawals (
    account_id {text} not null references accounts,
    reference  {text} not null,
    amount     {int} not null check (amount > 0),
    at         {int} not null,
    primary key (account_id, reference)
){strict};

-- Against the account: the balance paid `amount` as far as it went. Against an order: its refunds are
-- lower by `amount`, and nothing moves before (R57, D30).
create table penalties (
    account_id {text} not null references accounts,
    penalty_no {int} not null,
    order_no   {int},
    amount     {int} not null check (amount > 0),
    reason     {text} not null,
    reference  {text},
    at         {int} not null,
    primary key (account_id, penalty_no),
    unique (account_id, reference)
){strict};

-- What was billed or claimed and could not be paid at once. Payments pay the oldest first, so that of
-- what is due now the newest claims are open: nothing here is ever changed.
create table claims (
    account_id {text} not null references accounts,
    kind       {text} not null check (kind in ('bill', 'penalty')),
    ref        {text} not null,              -- the month, the penalty's number
    at         {int} not null,
    amount     {int} not null check (amount > 0),
    primary key (account_id, kind, ref)
){strict};

-- Every change of an account's status, with the ledger entry that brought it: gateways follow it.
create table account_events (
    event_no   {serial},
    account_id {text} not null,
    entry_no   {int} not null,               -- the account's last entry then; 0: there was none
    by_entry   {int} not null,               -- 1: that entry brought it; 0: somebody did, after it
    status     {text} not null check (status in ('active', 'suspended', 'closed')),
    at         {int} not null,
    reason     {text} not null,
    available  {int} not null
){strict};

create index account_events_account on account_events (account_id);

-- What an account was, up to its ledger entry of a number, before it became something else (R70): its prices
-- were those of that kind.
create table account_kinds (
    account_id {text} not null references accounts,
    entry_no   {int} not null,
    kind       {text} not null,
    primary key (account_id, entry_no)
){strict};

-- Read on from the last event_no that was seen, oldest first; a transaction that is still open may add
-- lower ones, so that a reader goes back a little.
create view v_account_events as
select v.event_no, v.account_id, {time v.at} as at, v.status, v.reason, {money v.available} as available, e.cause
from account_events v
left join entries e on e.account_id = v.account_id and e.entry_no = v.entry_no and v.by_entry = 1;

-- What is to be told, once each; delivered later, by each channel.
create table notices (
    notice_no  {serial},
    account_id {text} not null,              -- '' for the operator
    kind       {text} not null,
    subject    {text} not null,
    due        {int} not null,
    at         {int} not null,               -- when it was decided
    facts      {text} not null,              -- a JSON object of name to [type, value]
    unique (account_id, kind, subject, due)
){strict};
