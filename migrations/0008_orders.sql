-- Coupons, gifts and refunds of orders.

alter table orders add column coupon_no {int};                    -- the coupon that paid a part of it
alter table orders add column coupon {int} not null default 0 check (coupon >= 0);  -- total = paid + coupon
alter table orders add column refunds {int} not null default 0;   -- last refund number
create index orders_by_id on orders (order_id);

alter table plans add column coupon {int} not null default 0 check (coupon >= 0);   -- its share of the coupon
alter table plans add column bonus {int} not null default 0 check (bonus >= 0);     -- gift units in its size
alter table plans add column refund_no {int};                     -- the refund of its order that cancelled it
alter table plans add column refunded_at {int};
alter table plans add column refunded {int} not null default 0 check (refunded >= 0);  -- cash it gave back

create table coupons (
    account_id {text} not null references accounts,
    coupon_no  {int} not null,
    coupon_id  {text} not null,
    amount     {int} not null check (amount > 0),
    balance    {int} not null check (balance between 0 and amount),
    product    {text},                       -- null: any
    min_order  {int} not null default 0 check (min_order >= 0),
    issued_at  {int} not null,
    expires_at {int},                        -- null: never
    plan_no    {int},                        -- the plan that it was a gift to
    voided_at  {int},                        -- the plan was refunded
    primary key (account_id, coupon_no),
    unique (account_id, coupon_id)
){strict};

-- What an order gave back. Of `cash`, the cash shares of the plans that it cancelled, penalties kept
-- `kept`; the rest went to the account.
create table refunds (
    account_id {text} not null,
    order_no   {int} not null,
    refund_no  {int} not null,
    at         {int} not null,
    cash       {int} not null check (cash >= 0),
    kept       {int} not null check (kept between 0 and cash),
    primary key (account_id, order_no, refund_no),
    foreign key (account_id, order_no) references orders
){strict};
{append_only refunds}

drop view v_plans;
create view v_plans as
select p.account_id, p.plan_id, o.order_id, p.product, p.package, p.size, p.bonus, p.remaining, p.forfeited,
       {money p.price} as price, {money p.coupon} as coupon, {money p.refunded} as refunded,
       {time p.effective_at} as effective_at, {time p.expires_at} as expires_at, {time p.refunded_at} as refunded_at
from plans p join orders o on o.account_id = p.account_id and o.order_no = p.order_no;

create view v_orders as
select o.account_id, o.order_id, o.reference, o.request, o.status, {time o.placed_at} as placed_at,
       {money o.total} as total, {money o.coupon} as coupon, c.coupon_id, {money o.paid} as paid,
       {money coalesce(r.cash - r.kept, 0)} as refunded, {money coalesce(r.kept, 0)} as kept
from orders o
left join coupons c on c.account_id = o.account_id and c.coupon_no = o.coupon_no
left join (select account_id, order_no, cast(sum(cash) as bigint) as cash, cast(sum(kept) as bigint) as kept
           from refunds group by account_id, order_no) r
  on r.account_id = o.account_id and r.order_no = o.order_no;

create view v_coupons as
select c.account_id, c.coupon_id, {money c.amount} as amount, {money c.balance} as balance, c.product,
       {money c.min_order} as min_order, {time c.issued_at} as issued_at, {time c.expires_at} as expires_at,
       p.plan_id as gift_of, {time c.voided_at} as voided_at
from coupons c left join plans p on p.account_id = c.account_id and p.plan_no = c.plan_no;

create view v_refunds as
select r.account_id, o.order_id, r.refund_no, {time r.at} as at, {money r.cash} as cash, {money r.kept} as kept,
       {money r.cash - r.kept} as amount
from refunds r join orders o on o.account_id = r.account_id and o.order_no = r.order_no;
