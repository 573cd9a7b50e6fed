-- Runs of a service: leases with fencing tokens, scheduled slots, attempts.

alter table jobs add column token {int} not null default 0;  -- grows with each lease; older ones are void
alter table jobs add column owner {text};                     -- who holds the lease, null where nobody does
alter table jobs add column lease_until {int};                -- by the database's clock
alter table jobs add column since {int};                      -- first seen by a daemon: slots before are nobody's

alter table job_runs add column token {int};
alter table job_runs add column owner {text};
alter table job_runs add column slot {int};                    -- the scheduled time it stands for, null by hand
alter table job_runs add column slots {int} not null default 0; -- how many slots it makes up for, itself included
alter table job_runs add column attempt {int} not null default 1;

-- A slot is done once.
create unique index job_runs_slot on job_runs (job, slot)
    where slot is not null and outcome in ('done', 'nothing_to_do', 'partial');
create index job_runs_job on job_runs (job, run_no);

drop view v_runs;
create view v_runs as
select run_no, job, {time slot} as slot, slots, attempt, owner, {time as_of} as as_of,
       {time started_at} as started_at, duration_ms, outcome, counts, error
from job_runs;
