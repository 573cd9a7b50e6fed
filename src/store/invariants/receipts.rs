//! What must hold of receipts, of how failures were answered, and of what waits (I13, I27, I28). Mostly asked
//! of all accounts together: a receipt need not name its account.

/// A message that a failure `f` names: `$alias` where it does so by its id, or by its request and recipient.
macro_rules! named {
    ($message:literal, id) => {
        concat!(
            $message,
            ".id_hi = f.id_hi and ",
            $message,
            ".id_lo = f.id_lo and f.account_id in ('', ",
            $message,
            ".account_id)"
        )
    };
    ($message:literal, request) => {
        concat!(
            $message,
            ".biz_id = f.biz_id and ",
            $message,
            ".recipient_hash = f.recipient_hash and f.account_id in ('', ",
            $message,
            ".account_id)"
        )
    };
}

/// Failures with an answer that no message which they name calls for: `$bad` says so of a message `m`, `$good`
/// of another one `o` that it does. Where messages are no longer kept, the one that was meant may be gone;
/// one that is named by its account and id is that or none.
macro_rules! answered_wrongly {
    ($answer:literal, $bad:literal, $good:literal) => {
        concat!(
            answered_wrongly!($answer, $bad, $good, id),
            " union all ",
            answered_wrongly!($answer, $bad, $good, request)
        )
    };
    ($answer:literal, $bad:literal, $good:literal, $by:ident) => {
        concat!(
            "select m.account_id || ' batch ' || cast(f.batch_no as text) || ' line ' || cast(f.line as text) \
             from failures f join messages m on ", named!("m", $by), " where f.answer = '", $answer, "' and ", $bad,
            " and ({retired_run} = 0 or (f.account_id <> '' and f.biz_id is null)) \
             and not exists (select 1 from messages o where ", named!("o", id), " and ", $good, ") \
             and not exists (select 1 from messages o where ", named!("o", request), " and ", $good, ")"
        )
    };
}

pub const INVARIANTS: &[(&str, &str)] = &[
    (
        // In the place of one that was late there may be another that an operator let count.
        "I27 a final receipt that says no is among the failures",
        "{all}select 'batch ' || cast(r.batch_no as text) || ' line ' || cast(r.line as text) from receipts r \
         left join failures f on f.id_hi = r.id_hi and f.id_lo = r.id_lo and f.account_id = r.account_id \
           and f.part = r.part \
         where r.slot = 'final' and r.status <> 'delivered' and (f.batch_no is null \
           or ((f.batch_no <> r.batch_no or f.line <> r.line) and not exists (select 1 from receipts c \
             where c.id_hi = f.id_hi and c.id_lo = f.id_lo and c.account_id = f.account_id and c.part = f.part \
               and c.slot = 'conflict failed' and c.batch_no = f.batch_no and c.line = f.line)))",
    ),
    (
        // One that was late may have left its place to another, and is not kept for ever then.
        "I27 a failure is what its receipt says",
        "{all}select 'batch ' || cast(f.batch_no as text) || ' line ' || cast(f.line as text) from failures f \
         left join receipts r on r.id_hi = f.id_hi and r.id_lo = f.id_lo and r.account_id = f.account_id \
           and r.part = f.part and r.batch_no = f.batch_no and r.line = f.line and r.status <> 'delivered' \
           and r.slot in ('final', 'superseded', 'conflict failed') and r.report_time = f.report_time \
           and r.received_at = f.received_at and coalesce(r.parts, 0) = coalesce(f.parts, 0) \
         where (f.run_no is null) <> (f.answer is null) or (r.line is null \
           and ({retired_run} = 0 or f.answer is null or f.answer in ('returned', 'not_charged')))",
    ),
    (
        "I13 a failure that was answered as late was reported late",
        concat!(
            "{all}",
            answered_wrongly!(
                "late",
                "f.report_time - m.submit_time <= {in_time}",
                "f.report_time - o.submit_time > {in_time}"
            )
        ),
    ),
    (
        // Free units are nobody's loss.
        "I13 a failure that gave nothing back is of what costs nothing, or is charged on submission",
        concat!(
            "{all}",
            answered_wrongly!(
                "no_money",
                "coalesce(m.disposition, '') not in ('rejected', 'inbound')",
                "(o.disposition in ('rejected', 'inbound') \
              or not exists (select 1 from instance i where i.name = 'charge_on ' || o.product \
                and i.value = 'receipt') \
              or exists (select 1 from free_units u where u.account_id = o.account_id and u.product = o.product))"
            )
        ),
    ),
    (
        "I13 a failure that was listed for an operator is on the list",
        "{all}select 'batch ' || cast(f.batch_no as text) || ' line ' || cast(f.line as text) from failures f \
         where f.answer = 'exception' and not exists (select 1 from exceptions e where e.batch_no = f.batch_no \
           and e.line = f.line)",
    ),
    (
        "I09 what is or was in suspense is a message",
        "select s.account_id || ' batch ' || cast(s.batch_no as text) || ' line ' || cast(s.line as text) \
         from suspense s left join messages m on m.id_hi = s.id_hi and m.id_lo = s.id_lo \
           and m.account_id = s.account_id and m.batch_no = s.batch_no and m.line = s.line \
         where m.line is null and (s.run_no is null or s.run_no > {retired_run})",
    ),
    (
        "I28 a batch has as many messages or receipts as it says, and each of them has its batch",
        "{all}select 'batch ' || cast(batch_no as text) from ( \
           select batch_no, count(*) as lines from messages group by batch_no \
           union all select batch_no, count(*) from receipts where slot not like 'conflict %' group by batch_no \
           union all select batch_no, retired - accepted from batches) l \
         group by batch_no having sum(lines) <> 0",
    ),
    (
        "I28 a batch has as many rejected lines as it says",
        "{all}select 'batch ' || cast(b.batch_no as text) from batches b \
         left join (select batch_no, count(*) as lines from batch_lines where verdict = 'rejected' \
           group by batch_no) l \
           on l.batch_no = b.batch_no where b.rejected <> coalesce(l.lines, 0)",
    ),
];
