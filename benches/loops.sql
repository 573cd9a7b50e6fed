-- The two ways of charging that are measured for comparison: a transaction a message, and a loop
-- over groups in PL/pgSQL. Both do less than the product: no VAT, no ledger, no suspense, no price
-- book, no split of a message between payers.
--
-- They charge the messages of `bare` to accounts and plans of their own in the schema `loops`. Its
-- tables are those that one would think of first.

drop schema if exists loops cascade;
create schema loops;

create table loops.accounts (like accounts including all);
create table loops.plans (like plans including all);
create table loops.tier_counters (
    account_id text collate "C", month bigint, product text collate "C", class text collate "C", units bigint not null,
    primary key (account_id, month, product, class)
);
create table loops.charges (
    like charges including defaults,
    primary key (account_id, window_start, run_no, product, template_type, country, first_unit)
);
insert into loops.accounts select * from accounts;
insert into loops.plans select * from plans;

create function loops.charge(of text, time_window bigint, of_product text, of_type text, of_country text,
                             new_units bigint, new_messages bigint) returns void language plpgsql as $$
declare
    plan record;
    before bigint;
    price bigint;
begin
    perform 1 from loops.accounts where account_id = of for update;
    select * into plan from loops.plans
        where account_id = of and product = of_product and remaining >= new_units
        order by expires_at, plan_no limit 1 for update;
    if found then
        update loops.plans set remaining = remaining - new_units where account_id = of and plan_no = plan.plan_no;
        price := 0;
    else
        insert into loops.tier_counters as t (account_id, month, product, class, units)
            values (of, 202603, of_product, of_type || of_country, new_units)
            on conflict (account_id, month, product, class) do update set units = t.units + excluded.units
            returning units - new_units into before;
        price := case when before < 100000 then 45000 when before < 300000 then 40000 else 39000 end;
        update loops.accounts set unbilled = unbilled + price * new_units where account_id = of;
    end if;
    insert into loops.charges as c (account_id, window_start, run_no, product, template_type, country, first_unit,
                                    units, messages, plan_no, unit_price, amount)
        values (of, time_window, 1, of_product, of_type, of_country, 0,
                new_units, new_messages, coalesce(plan.plan_no, 0), price, price * new_units)
        on conflict (account_id, window_start, run_no, product, template_type, country, first_unit) do update
        set units = c.units + excluded.units, messages = c.messages + excluded.messages,
            amount = c.amount + excluded.amount;
end $$;

create function loops.charge_groups() returns void language plpgsql as $$
declare
    g record;
begin
    for g in
        select account_id, submit_time / 300000000 * 300000000 as time_window, product, template_type, country,
               sum(units)::bigint as units, count(*) as messages
        from bare group by 1, 2, 3, 4, 5 order by 1, 2
    loop
        perform loops.charge(g.account_id, g.time_window, g.product, g.template_type, g.country, g.units, g.messages);
    end loop;
end $$;

-- A few seconds of a loop need no more messages; a faster machine begins again from the first.
create table loops.sample (n bigint primary key, account_id text, submit_time bigint, product text,
                           template_type text, country text, units bigint);
insert into loops.sample select row_number() over (), account_id, submit_time, product, template_type, country, units
    from (select * from bare limit 250000) m;
create table loops.size as select count(*) as count from loops.sample;
create sequence loops.next cache 100;

create function loops.charge_next() returns void language sql as $$
    select loops.charge(account_id, submit_time / 300000000 * 300000000, product, template_type, country, units, 1)
    from loops.sample where n = (select 1 + nextval('loops.next') % (select count from loops.size))
$$;
analyze loops.sample, loops.accounts, loops.plans;
