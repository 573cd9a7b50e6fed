//! The ledger of all accounts, streamed out in the order of its days.

use super::db::Tx;
use super::dialect::for_each_row;
use super::error::StoreError;
use crate::domain::period::{Day, Timestamp, Zone};

/// A posting with its entry; of a whole day, the sum of the customer's postings to the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted<'a> {
    pub account_id: &'a str,
    /// Postings of one entry follow each other, those of one customer's day where they are summed.
    pub entry_no: i64,
    /// When, and why, where it is one entry's; of a day its first moment.
    pub at: Timestamp,
    pub cause: Option<&'a str>,
    pub ledger: &'a str,
    pub plan_id: Option<&'a str>,
    pub commodity: &'a str,
    pub amount: i64,
}

/// What stands in an account of the chart by one customer's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    pub account_id: &'a str,
    pub ledger: &'a str,
    pub plan_id: Option<&'a str>,
    pub commodity: &'a str,
    /// Before the first moment asked for, and before the one after the last.
    pub opening: i64,
    pub closing: i64,
}

/// Times of the first and the last entry; None in empty books.
pub async fn span(tx: &mut Tx) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
    let Some(row) = tx.row("select min(at), max(at) from entries", vec![]).await? else { return Ok(None) };
    let (first, last) = (row.opt_int(0)?, row.opt_int(1)?);
    Ok(first.zip(last).map(|(first, last)| (Timestamp(first), Timestamp(last))))
}

/// The postings of `from <= at < upto` by time, then account and entry.
pub async fn for_each_posting(
    tx: &mut Tx,
    from: Timestamp,
    upto: Timestamp,
    mut each: impl FnMut(Posted<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let (from, upto) = (from.0, upto.0);
    let query = format!(
        "select e.account_id, e.entry_no, e.at, e.cause, s.ledger, p.plan_id, s.commodity, s.amount \
         from entries e join postings s on s.account_id = e.account_id and s.entry_no = e.entry_no \
         left join plans p on p.account_id = s.account_id and p.plan_no = s.plan_no \
         where e.at >= {from} and e.at < {upto} \
         order by e.at, e.account_id, e.entry_no, s.ledger, s.plan_no, s.commodity"
    );
    for_each_row(tx, &query, "tiitttti", |row| {
        each(Posted {
            account_id: row[0].text()?,
            entry_no: row[1].int()?,
            at: Timestamp(row[2].int()?),
            cause: row[3].opt_text()?,
            ledger: row[4].text()?,
            plan_id: row[5].opt_text()?,
            commodity: row[6].text()?,
            amount: row[7].int()?,
        })
    })
    .await
}

/// The same summed by day of the zone and customer, without what came to nothing.
pub async fn for_each_day(
    tx: &mut Tx,
    zone: Zone,
    from: Timestamp,
    upto: Timestamp,
    mut each: impl FnMut(Posted<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let day = day_number(zone, from, upto);
    let (from, upto) = (from.0, upto.0);
    let query = format!(
        "select d.account_id, d.day, s.ledger, p.plan_id, s.commodity, cast(sum(s.amount) as bigint) \
         from (select e.account_id, e.entry_no, {day} as day from entries e \
               where e.at >= {from} and e.at < {upto}) d \
         join postings s on s.account_id = d.account_id and s.entry_no = d.entry_no \
         left join plans p on p.account_id = s.account_id and p.plan_no = s.plan_no \
         group by d.day, d.account_id, s.ledger, s.plan_no, p.plan_id, s.commodity having sum(s.amount) <> 0 \
         order by d.day, d.account_id, s.ledger, s.plan_no, s.commodity"
    );
    for_each_row(tx, &query, "tittti", |row| {
        let number = row[1].int()?;
        let day = Day::from_epoch_days(number)
            .ok_or_else(|| StoreError::Corrupt(format!("an entry of day {number} since 1970")))?;
        each(Posted {
            account_id: row[0].text()?,
            entry_no: number,
            at: zone.day_start(day),
            cause: None,
            ledger: row[2].text()?,
            plan_id: row[3].opt_text()?,
            commodity: row[4].text()?,
            amount: row[5].int()?,
        })
    })
    .await
}

/// What stands in each account that has entries before `upto`, by customer.
pub async fn for_each_standing(
    tx: &mut Tx,
    from: Timestamp,
    upto: Timestamp,
    mut each: impl FnMut(Standing<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let (from, upto) = (from.0, upto.0);
    let query = format!(
        "select s.account_id, s.ledger, p.plan_id, s.commodity, \
         cast(sum(case when e.at < {from} then s.amount else 0 end) as bigint), cast(sum(s.amount) as bigint) \
         from entries e join postings s on s.account_id = e.account_id and s.entry_no = e.entry_no \
         left join plans p on p.account_id = s.account_id and p.plan_no = s.plan_no \
         where e.at < {upto} group by s.account_id, s.ledger, s.plan_no, p.plan_id, s.commodity \
         order by s.account_id, s.ledger, s.plan_no, s.commodity"
    );
    for_each_row(tx, &query, "ttttii", |row| {
        each(Standing {
            account_id: row[0].text()?,
            ledger: row[1].text()?,
            plan_id: row[2].opt_text()?,
            commodity: row[3].text()?,
            opening: row[4].int()?,
            closing: row[5].int()?,
        })
    })
    .await
}

/// The day of `e.at` in a zone, counted from 1970, as SQL: it knows no zones, but can add the offset
/// that holds for days of 24 hours, and be told the few others, on which clocks are changed.
fn day_number(zone: Zone, from: Timestamp, upto: Timestamp) -> String {
    let mut spans: Vec<(Timestamp, String)> = Vec::new();
    for (day, begins, _) in zone.days(from, upto) {
        let (starts, ends) = (zone.day_start(day), zone.day_start(day.next()));
        let number = day.epoch_days();
        let sql = match ends.0 - starts.0 {
            Timestamp::DAY => {
                format!("(e.at + {}) / {}", number * Timestamp::DAY - starts.0, Timestamp::DAY)
            }
            _ => number.to_string(),
        };
        if spans.last().is_none_or(|(_, last)| *last != sql) {
            spans.push((begins, sql));
        }
    }
    let first = spans.first().map_or("0", |(_, sql)| sql);
    if spans.len() < 2 {
        return first.to_owned();
    }
    let later = spans.iter().skip(1).rev();
    let whens: String = later.map(|(since, sql)| format!("when e.at >= {} then {sql} ", since.0)).collect();
    format!("case {whens}else {first} end")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day_number_of(zone: &str, from: &str, upto: &str) -> String {
        let at = |text| Timestamp::parse_rfc3339(text).unwrap();
        day_number(Zone::parse(zone).unwrap(), at(from), at(upto))
    }

    #[test]
    fn days_of_24_hours_share_an_offset_and_the_others_are_named() {
        let year = day_number_of("Asia/Shanghai", "2026-01-01T00:00:00+08:00", "2027-01-01T00:00:00+08:00");
        assert_eq!(year, "(e.at + 28800000000) / 86400000000");
        let spring = day_number_of("Europe/Berlin", "2026-03-28T00:00:00+01:00", "2026-03-31T00:00:00+02:00");
        let expected = "case when e.at >= 1774821600000000 then (e.at + 7200000000) / 86400000000 \
                        when e.at >= 1774738800000000 then 20541 else (e.at + 3600000000) / 86400000000 end";
        assert_eq!(spring, expected);
    }
}
