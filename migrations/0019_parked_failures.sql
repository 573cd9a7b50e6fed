-- What fails of a month whose bill is parked stands on that bill (D59), so it is kept which runs gave back while
-- it waited: those after `given_from` up to `given_upto`. Runs of before took such a month for billed.
alter table bills_parked add column given_from {int} not null default 0;
alter table bills_parked add column given_upto {int};    -- null: it waits

update bills_parked set given_from = (select coalesce(max(run_no), 0) from job_runs);
update bills_parked set given_upto = given_from where run_no is not null;

-- Accounts whose failures could not be settled by the last run, for a fault of their own.
create table failures_parked (
    account_id {text} not null primary key,
    failures   {int} not null,
    fault      {text} not null
){strict};
