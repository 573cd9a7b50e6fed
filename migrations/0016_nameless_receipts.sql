-- Whether some receipt names no account. Only then may an earlier receipt of a message that a failure names
-- whole, by its account and its id, have named it otherwise.
insert into instance (name, value)
    select 'nameless_receipts', '1' where exists (select 1 from receipts where account_id = '');
