-- Monthly bills and invoices.

-- The billed months, in order. A charge is on the bill of the first month that ended after its window
-- and had seen the run that made it: each on one, whatever came late.
create table bill_months (
    month      {int} primary key,            -- 202603, in the billing zone
    ends_at    {int} not null,               -- the first moment after it
    charge_run {int} not null,               -- the last charging run whose charges are billed
    settle_run {int} not null,               -- the last run that settled before it was billed
    run_no     {int} not null,               -- the run that billed it
    at         {int} not null
){strict};

-- Up to where charges are billed: the newest of these months, and what settling and billing lock to take
-- turns.
insert into instance (name, value) values ('billed_up_to', '-9223372036854775808 0');

-- Numbers without gaps: taken in the transaction that uses them.
create table number_series (
    series {text} primary key,
    last   {int} not null
){strict};

-- One an account and month, for good. `total` is the sum of the unsettled lines; what of it the balance
-- could not pay is a claim.
create table bills (
    account_id {text} not null references accounts,
    month      {int} not null,
    bill_id    {text} not null,
    series     {text} not null,
    series_no  {int} not null,
    currency   {text} not null,
    total      {int} not null,
    paid       {int} not null,               -- when it was issued
    accrued    {int} not null,               -- what it takes off the account's unbilled amount
    issued_at  {int} not null,
    ends_at    {int} not null,
    last_entry {int} not null,               -- the account's last ledger entry that it has seen
    lines      {int} not null,
    note       {text},                       -- what waits in suspense
    hash       {text} not null,              -- SHA-256 of its content
    primary key (account_id, month),
    check (paid <= total)
){strict};

create index bills_of_month on bills (month, account_id);
create index bills_series on bills (series, series_no);

create table bill_lines (
    account_id    {text} not null,
    month         {int} not null,
    line_no       {int} not null,
    kind          {text} not null check (kind in ('payg', 'plan', 'return', 'adjustment', 'order', 'refund',
                                                  'penalty', 'round_down')),
    product       {text},
    template_type {text},
    country       {text},
    units         {int},
    unit_price    {int},
    amount        {int} not null,
    net           {int} not null,            -- of what is unsettled: worth without VAT in the books
    vat_ppm       {int},
    settled       {int} not null check (settled in (0, 1)),
    ref           {text},                    -- the earlier month of what came late, the order, the penalty
    primary key (account_id, month, line_no)
){strict};

{append_only bills}
{append_only bill_lines}

-- Accounts whose bill of a month waits for a fault to be mended.
create table bills_parked (
    account_id {text} not null references accounts,
    month      {int} not null,
    fault      {text} not null,
    since_run  {int} not null,
    run_no     {int},                        -- the run that billed it
    primary key (account_id, month)
){strict};

create index bills_parked_open on bills_parked (month) where run_no is null;

-- What a unit of a billed month came to under a `volume` list (D51, D78): for failures and messages that
-- come later.
create table billed_prices (
    account_id {text} not null references accounts,
    month      {int} not null,
    product    {text} not null,
    class      {text} not null,              -- template type or country, as it is priced
    since      {int} not null,               -- windows from then on: a list may end within a month
    units      {int} not null,
    unit_price {int} not null,
    primary key (account_id, month, product, class, since)
){strict};

-- The month on whose bill money for failures stands: its own, or the oldest that was not billed yet when
-- it was given back.
alter table returns add column bill_month {int};
create index returns_refund on returns (bill_month) where money_to = 'balance';
create index returns_charge_run on returns {spans charge_run};

-- Orders, penalties and refunds among the entries: what bills list as settled.
create index entries_settled on entries (account_id, entry_no, at) where cause >= 'order' and cause < 'return';

alter table accounts add column invoices {int} not null default 0;  -- last invoice number

-- Who stands on an account's invoices as the buyer.
create table invoice_buyers (
    account_id {text} not null references accounts,
    title      {text} not null,
    tax_id     {text},
    address    {text},
    bank       {text},
    country    {text} not null,
    at         {int} not null,
    primary key (account_id)
){strict};

create table invoices (
    account_id {text} not null references accounts,
    invoice_no {int} not null,
    invoice_id {text} not null,
    number     {text} not null,
    series     {text} not null,
    series_no  {int} not null,
    kind       {text} not null check (kind in ('bill', 'order')),
    ref        {text} not null,              -- the bill's month (2026-03), the order's id
    type       {text} not null check (type in ('general', 'special')),
    currency   {text} not null,
    amount     {int} not null,               -- what was paid for the bill or order
    net        {int} not null,
    vat        {int} not null,
    total      {int} not null check (total > 0),
    issued_at  {int} not null,
    content    {text} not null,              -- parties, lines, allowances and rates, as JSON
    hash       {text} not null,
    primary key (account_id, invoice_no),
    check (net + vat = total)
){strict};

create index invoices_series on invoices (series, series_no);
create index invoices_id on invoices (invoice_id);
create index invoices_number on invoices (number);
create index invoices_time on invoices (issued_at);

-- Red-letter documents: each takes an invoice back whole.
create table invoice_returns (
    account_id {text} not null references accounts,
    invoice_no {int} not null,
    number     {text} not null,
    series     {text} not null,
    series_no  {int} not null,
    at         {int} not null,
    primary key (account_id, invoice_no),
    foreign key (account_id, invoice_no) references invoices
){strict};

create index invoice_returns_time on invoice_returns (at);

{append_only invoices}
{append_only invoice_returns}

create view v_bills as
select b.account_id, b.bill_id, b.month, b.currency, {money b.total} as total, {money b.paid} as paid_at_issue,
       {time b.issued_at} as issued_at, b.note, b.hash
from bills b;

create view v_bill_lines as
select l.account_id, l.month, l.line_no, l.kind, l.product, l.template_type, l.country, l.units,
       {money l.unit_price} as unit_price, {money l.amount} as amount, l.settled, l.ref
from bill_lines l;

create view v_invoices as
select i.account_id, i.invoice_id, i.number, i.kind, i.ref, i.type,
       case when r.number is null then 'issued' else 'returned' end as status, i.currency, {money i.net} as net,
       {money i.vat} as vat, {money i.total} as total, {time i.issued_at} as issued_at,
       r.number as credit_note, {time r.at} as returned_at
from invoices i left join invoice_returns r on r.account_id = i.account_id and r.invoice_no = i.invoice_no;
