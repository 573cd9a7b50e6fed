-- What is not kept any more: messages and their receipts, once nothing needs them.

-- Of the lines that were accepted, those whose message or receipt is no longer kept.
alter table batches add column retired {int} not null default 0;

-- What the messages that are no longer kept came to: the totals that the books are compared with.
create table retired_messages (
    account_id {text} primary key,
    messages   {int} not null,
    units      {int} not null                -- of those that a run charged, or left out since they had failed
){strict};

-- Where the failure of a message that was given back and is no longer kept came in, if it named a request
-- and a recipient: only the message told whose it was. The audit gives back in the order of arrival.
create table retired_failures (
    account_id {text} not null,
    id_hi      {int} not null,
    id_lo      {int} not null,
    part       {int} not null,
    batch_no   {int} not null,
    line       {int} not null,
    primary key (account_id, id_hi, id_lo, part)
){strict};
