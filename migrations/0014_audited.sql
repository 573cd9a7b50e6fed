-- How far each account was found right. An account whose last entry has another number is due to be audited:
-- no watermark over all accounts, so that no entry that is committed late is passed over.
create table audited (
    account_id {text} primary key,           -- '': what only holds over all accounts together
    entry_no   {int} not null,               -- the last entry when it was found right; 0: never
    at         {int} not null,               -- when it was looked at last
    fault      {text}                        -- what was wrong then; null: nothing
){strict};

create index audited_wrong on audited (account_id) where fault is not null;
