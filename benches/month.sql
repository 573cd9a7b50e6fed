-- Writes a month of messages as CSV, the same ones each time: 20 of each account, in March 2026, spread
-- evenly over its days. Every account is charged in as many windows, which is what bills are slow by.
--
--   accounts   how many accounts           messages   how many messages of each
--
-- Four in five are domestic SMS, the others international SMS. Chance is a hash of the message's number.

copy (
    with drawn as (
        select i, i % :accounts as account, hashint8extended(i, 7) as a, hashint8extended(i, 8) as b,
               (hashint8extended(i, 9) & 1048575) % 1000 as e,
               -- From 2026-03-01T00:00:00+08:00 on.
               1772294400000 + (i / :accounts) * (31 * 86400000::bigint / :messages)
                   + (hashint8extended(i, 10) & 1073741823) % (31 * 86400000::bigint / :messages) as ms
        from generate_series(0, :accounts::bigint * :messages - 1) as i
    )
    select substr(lpad(to_hex(ms), 12, '0'), 1, 8) || '-' || substr(lpad(to_hex(ms), 12, '0'), 9) || '-7'
               || lpad(to_hex(a & 4095), 3, '0') || '-a' || lpad(to_hex((a >> 12) & 4095), 3, '0') || '-'
               || lpad(to_hex(b & 281474976710655), 12, '0') as message_id,
           'A' || lpad(account::text, 5, '0') as account_id,
           'sms' as channel,
           case when e < 800 then 'CN' when e < 900 then 'HK' else 'SG' end as country,
           case when e < 480 then 'verification' when e < 720 then 'notification' when e < 800 then 'promotional' end
               as template_type,
           70 as content_units,
           case when e < 800 then 'DOM' else 'GSM-7' end as encoding,
           to_char(to_timestamp(ms / 1000) at time zone 'Asia/Shanghai', 'YYYY-MM-DD"T"HH24:MI:SS.')
               || lpad((ms % 1000)::text, 3, '0') || '+08:00' as submit_time,
           'accepted' as submit_status
    from drawn
) to stdout (format csv, header);
