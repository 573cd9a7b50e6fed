-- Writes the messages of one 5-minute tick as CSV, the same ones each time.
--
--   messages   how many                    tick  its number: ids and times follow on from the tick before
--   hot        share of the traffic, in per cent, that is the busiest account's
--
-- Chance is a hash of the message's number, so that any server draws the same. The accounts follow
-- Zipf's law: 10,000 to the power of a number between 0 and 1 is n about as often as 1/n. Four in
-- five messages are domestic SMS, the others international SMS and direct mail.

copy (
    with drawn as (
        select 1772326800000 + :tick * 300000 + i * 300000 / :messages as ms,
               hashint8extended(i, 5 * :tick) as a, hashint8extended(i, 5 * :tick + 1) as b,
               (hashint8extended(i, 5 * :tick + 2) & 1048575) / 1048576.0::float8 as c,
               (hashint8extended(i, 5 * :tick + 3) & 1048575) % 100 as d,
               (hashint8extended(i, 5 * :tick + 4) & 1048575) % 1000 as e
        from generate_series(0, :messages::bigint - 1) as i
    )
    select substr(lpad(to_hex(ms), 12, '0'), 1, 8) || '-' || substr(lpad(to_hex(ms), 12, '0'), 9) || '-7'
               || lpad(to_hex(a & 4095), 3, '0') || '-a' || lpad(to_hex((a >> 12) & 4095), 3, '0') || '-'
               || lpad(to_hex(b & 281474976710655), 12, '0') as message_id,
           'A' || lpad((case when d < :hot then 0 else floor(10000 ^ c) - 1 end)::text, 5, '0') as account_id,
           case when e < 950 then 'sms' else 'email' end as channel,
           case when e < 800 then 'CN' when e < 900 then 'HK' when e < 930 then 'SG' when e < 950 then 'TW' end
               as country,
           case when e < 480 then 'verification' when e < 720 then 'notification' when e < 800 then 'promotional' end
               as template_type,
           case when e < 950 then 20 + d end as content_units,
           case when e < 800 then 'DOM' when e < 950 then 'GSM-7' end as encoding,
           to_char(to_timestamp(ms / 1000) at time zone 'Asia/Shanghai', 'YYYY-MM-DD"T"HH24:MI:SS.')
               || lpad((ms % 1000)::text, 3, '0') || '+08:00' as submit_time,
           'accepted' as submit_status
    from drawn
) to stdout (format csv, header);
