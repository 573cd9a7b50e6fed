//! What must hold of an account's standing, its renewals and its quotas (I05, I20, I30, R18).

pub const INVARIANTS: &[(&str, &str)] = &[
    (
        "I30 an account's status is that of its last event",
        "select a.account_id from accounts a \
         left join (select account_id, max(event_no) as event_no from account_events group by account_id) l \
           on l.account_id = a.account_id \
         left join account_events v on v.event_no = l.event_no and v.account_id = l.account_id \
         where a.status <> coalesce(v.status, 'active')",
    ),
    (
        "I30 who is held is suspended, and who is closed says when it was",
        "select account_id from accounts where (held is not null and status = 'active') \
         or (closed_at is not null) <> (status = 'closed')",
    ),
    (
        // At exactly its limit an account stays what it was.
        "I05 who is active is not overdue, and who is suspended and not held is",
        "select account_id from accounts where (status = 'active' and balance - unbilled - due + credit_limit < 0) \
         or (status = 'suspended' and held is null and balance - unbilled - due + credit_limit > 0)",
    ),
    (
        "I05 who is held is overdue besides as its money says",
        "select account_id from accounts where case when held is null or status = 'closed' then overdue <> 0 \
         else overdue = 0 and balance - unbilled - due + credit_limit < 0 \
           or overdue <> 0 and balance - unbilled - due + credit_limit > 0 end",
    ),
    (
        "I20 a renewal was told to its account, and what was told so is one",
        "select r.account_id || ' order ' || cast(r.order_no as text) from renewals r \
         join orders o on o.account_id = r.account_id and o.order_no = r.order_no \
         left join notices n on n.account_id = r.account_id and n.kind = 'renewal_done' and n.subject = o.order_id \
         where n.notice_no is null \
         union all select n.account_id || ' order ' || n.subject from notices n \
         left join orders o on o.account_id = n.account_id and o.order_id = n.subject \
         left join renewals r on r.account_id = n.account_id and r.order_no = o.order_no \
         where n.kind = 'renewal_done' and r.order_no is null",
    ),
    (
        "R18 a review of a quota begins where the one before ended",
        "select r.account_id || ' ' || r.product || ' ' || cast(r.week as text) from quota_reviews r \
         join quota_reviews b on b.account_id = r.account_id and b.product = r.product \
           and b.week = (select max(l.week) from quota_reviews l where l.account_id = r.account_id \
             and l.product = r.product and l.week < r.week) where b.to_daily <> r.from_daily",
    ),
    (
        "R18 a review of a quota did what its reason says",
        "select account_id || ' ' || product || ' ' || cast(week as text) from quota_reviews where not case reason \
           when 'used_well' then to_daily > from_daily \
           when 'too_few_answers' then to_daily = from_daily \
           when 'not_used' then to_daily = from_daily \
           when 'highest_level' then to_daily = from_daily \
           else to_daily <= from_daily end",
    ),
];
