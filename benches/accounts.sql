-- Multiplies two accounts, made by the program itself, into :accounts: whatever is stored of
-- `model-0` (pay-as-you-go) and `model-1` (with a plan) is stored of every second account.

create procedure multiply(accounts integer) language plpgsql as $$
declare
    copied record;
begin
    for copied in
        select t.table_name, string_agg(format('%I', c.column_name), ', ' order by c.ordinal_position) as columns,
               string_agg(case c.data_type when 'text' then format('replace(m.%I, m.account_id, a.id)', c.column_name)
                          else format('m.%I', c.column_name) end, ', ' order by c.ordinal_position) as vals
        from information_schema.tables t
        join information_schema.columns c using (table_schema, table_name)
        where t.table_schema = 'public' and t.table_type = 'BASE TABLE' and c.is_identity = 'NO'
        group by t.table_name
        having bool_or(c.column_name = 'account_id')
        -- Parents before their children.
        order by array_position(array['accounts', 'orders'], t.table_name::text)
    loop
        execute format(
            'insert into %I (%s) select %s from generate_series(0, $1 - 1) g '
            'cross join lateral (select ''A'' || lpad(g::text, 5, ''0'') as id, ''model-'' || g %% 2 as model) a '
            'join %1$I m on m.account_id = a.model',
            copied.table_name, copied.columns, copied.vals) using accounts;
    end loop;
end $$;

call multiply(:accounts);
drop procedure multiply;
