-- Whether an account that is held is overdue besides: at exactly 0 its money does not tell (D2). Of those that
-- are held now it is known from before the hold.
alter table accounts add column overdue {int} not null default 0;

update accounts set overdue = 1 where held is not null and status <> 'closed'
    and (balance - unbilled - due + credit_limit < 0
      or balance - unbilled - due + credit_limit = 0
        and 'suspended' = (select v.status from account_events v where v.account_id = accounts.account_id
                           order by v.event_no desc limit 1 offset 1));
