-- Of an account that became another kind, two `volume` lists may have priced one class of a month: the key tells them
-- apart. Of what was billed before it is not known whom the list was for.
alter table billed_prices rename to billed_prices_before;

create table billed_prices (
    account_id {text} not null references accounts,
    month      {int} not null,
    product    {text} not null,
    class      {text} not null,              -- template type or country, as it is priced
    list       {text} not null,              -- whom it is for: account, everyone or a kind; '' where it is not known
    since      {int} not null,               -- windows from then on: a list may end within a month
    units      {int} not null,
    unit_price {int} not null,
    primary key (account_id, month, product, class, list, since)
){strict};

insert into billed_prices (account_id, month, product, class, list, since, units, unit_price)
    select account_id, month, product, class, '', since, units, unit_price from billed_prices_before;

drop table billed_prices_before;
