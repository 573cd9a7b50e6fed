-- Failures that wait for an answer, by their places. An index of the unanswered ones would have to be told
-- of every answer, and with it all other indexes of the table.
create table open_failures (
    batch_no {int} not null,
    line     {int} not null,
    primary key (batch_no, line)
){strict};

insert into open_failures (batch_no, line) select batch_no, line from failures where run_no is null;

drop index failures_open;
create index failures_place on failures (batch_no, line);
{make failures roomy}
