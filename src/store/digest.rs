//! One hash over the canonical books: equal input gives equal digests on both databases, whatever
//! was killed, repeated or run twice (D45).
//!
//! Canonical means sorted, without surrogate numbers (batches, runs) and wall times, and summed
//! over what may be cut differently: charges and returns over the runs of a window, postings over a month.
//! An exception that was listed twice is one. What is no longer kept is in it all the same (I36).

use sha2::{Digest, Sha256};

use super::db::Tx;
use super::dialect::for_each_row;
use super::error::StoreError;
use super::retention::{self, DIGESTED, DIGESTED_TYPES};
use super::row_sum::hash_row;
use crate::domain::period::{Timestamp, Zone};

/// The sections of the books: a name, the query, the types of its columns.
const SECTIONS: &[(&str, &str, &str)] = &[
    (
        "accounts",
        "select account_id, kind, currency, status, \
         cast(case when held is null then 0 else 1 + overdue end as bigint), balance, unbilled, due, \
         credit_limit from accounts order by account_id",
        "ttttiiiii",
    ),
    (
        "withdrawals",
        "select account_id, reference, amount, at from withdrawals order by account_id, reference",
        "ttii",
    ),
    (
        "penalties",
        "select account_id, penalty_no, coalesce(order_no, 0), amount, at from penalties \
         order by account_id, penalty_no",
        "tiiii",
    ),
    (
        "claims",
        "select account_id, kind, ref, at, amount from claims order by account_id, kind, ref",
        "tttii",
    ),
    (
        "top_ups",
        "select account_id, reference, amount, at from top_ups order by account_id, reference",
        "ttii",
    ),
    (
        "orders",
        "select account_id, order_id, placed_at, total, coalesce(coupon_no, 0), coupon, paid, status from orders \
         order by account_id, order_no",
        "ttiiiiit",
    ),
    (
        "coupons",
        "select account_id, coupon_id, amount, balance, coalesce(product, ''), min_order, issued_at, \
         coalesce(expires_at, -1), coalesce(plan_no, 0), coalesce(voided_at, -1) from coupons \
         order by account_id, coupon_no",
        "ttiitiiiii",
    ),
    (
        "refunds",
        "select account_id, order_no, refund_no, at, cash, kept from refunds \
         order by account_id, order_no, refund_no",
        "tiiiii",
    ),
    (
        "plans",
        "select account_id, plan_id, product, package, size, remaining, forfeited, price, net, released, \
         carried, effective_at, expires_at, bonus, coupon, coalesce(refund_no, 0), coalesce(refunded_at, -1), \
         refunded, countries from plans order by account_id, plan_no",
        "ttttiiiiiiiiiiiiiit",
    ),
    (
        "renewal_settings",
        "select account_id, product, package, threshold, cast(case when off_at is null then 1 else 0 end as bigint) \
         from renewal_settings order by account_id, product",
        "tttii",
    ),
    (
        "renewals",
        "select r.account_id, o.order_id, r.product, r.due_by, r.renewed_plan, r.remaining, r.threshold, \
         r.list_price, r.discount_ppm, r.validity, r.at from renewals r \
         join orders o on o.account_id = r.account_id and o.order_no = r.order_no \
         order by r.account_id, r.order_no",
        "ttttiiiiiti",
    ),
    (
        "charges",
        "select account_id, window_start, product, template_type, country, plan_no, \
         coalesce(unit_price, -1) as price, cast(sum(units) as bigint), cast(sum(messages) as bigint), \
         cast(sum(amount) as bigint) from charges \
         group by account_id, window_start, product, template_type, country, plan_no, coalesce(unit_price, -1) \
         order by account_id, window_start, product, template_type, country, plan_no, price",
        "titttiiiii",
    ),
    (
        "tiers",
        "select account_id, month, product, class, units from tier_counters \
         order by account_id, month, product, class",
        "titti",
    ),
    (
        "free_units",
        "select account_id, product, day, units from free_units order by account_id, product, day",
        "ttii",
    ),
    (
        "quota_reviews",
        "select account_id, product, week, sent, busiest, delivered, failed, invalid, complained, from_daily, \
         to_daily, reason from quota_reviews order by account_id, product, week",
        "ttiiiiiiiiit",
    ),
    (
        "suspense",
        "select account_id, id_hi, id_lo, reason from suspense where run_no is null \
         order by account_id, id_hi, id_lo",
        "tiit",
    ),
    (
        "failures",
        "select account_id, id_hi, id_lo, part, coalesce(answer, 'open') from failures \
         order by id_hi, id_lo, account_id, part",
        "tiiit",
    ),
    (
        "not_charged",
        "select account_id, id_hi, id_lo, part, units from not_charged order by account_id, id_hi, id_lo, part",
        "tiiii",
    ),
    (
        "returns",
        "select account_id, window_start, product, template_type, country, from_plan, to_plan, \
         coalesce(money_to, '') as money_to, coalesce(unit_price, -1) as price, was_final, \
         cast(sum(units) as bigint), cast(sum(amount) as bigint) from returns \
         group by account_id, window_start, product, template_type, country, from_plan, to_plan, \
         coalesce(money_to, ''), coalesce(unit_price, -1), was_final \
         order by account_id, window_start, product, template_type, country, from_plan, to_plan, money_to, price, \
         was_final",
        "titttiitiiii",
    ),
    (
        "bills",
        "select account_id, month, bill_id, currency, total, paid, accrued from bills order by account_id, month",
        "tittiii",
    ),
    (
        "bill_lines",
        "select account_id, month, kind, product, template_type, country, units, unit_price, amount, net, vat_ppm, \
         settled, ref from bill_lines order by account_id, month, line_no",
        "tittttiiiiiit",
    ),
    (
        "invoices",
        "select i.account_id, i.invoice_id, i.number, i.kind, i.ref, i.type, i.net, i.vat, i.total, r.number \
         from invoices i left join invoice_returns r on r.account_id = i.account_id \
         and r.invoice_no = i.invoice_no order by i.account_id, i.invoice_no",
        "ttttttiiit",
    ),
    (
        "exceptions",
        "select distinct kind, account_id, id_hi, id_lo, part, coalesce(resolution, 'open') as resolution \
         from exceptions order by kind, account_id, id_hi, id_lo, part, resolution",
        "ttiiit",
    ),
];

/// Postings by account of the chart and day; folded into months of the billing zone here, since
/// SQL knows no zones.
const POSTINGS: &str = "select e.account_id, s.ledger, s.plan_no, s.commodity, e.at, \
    cast(sum(s.amount) as bigint) from entries e \
    join postings s on s.account_id = e.account_id and s.entry_no = e.entry_no \
    group by e.account_id, s.ledger, s.plan_no, s.commodity, e.at \
    order by e.account_id, s.ledger, s.plan_no, s.commodity, e.at";

/// The digest as hexadecimal SHA-256.
pub async fn digest(tx: &mut Tx, zone: Zone) -> Result<String, StoreError> {
    let mut hash = Sha256::new();
    for (name, query, types) in SECTIONS {
        hash.update(format!("[{name}]\n"));
        for_each_row(tx, query, types, |row| {
            hash_row(&mut hash, row);
            Ok(())
        })
        .await?;
    }
    // By sum: those that are no longer kept are added to those that are, in whatever order.
    let mut sum = retention::receipts(tx).await?;
    let finals = format!("select {DIGESTED} from receipts where slot = 'final'");
    for_each_row(tx, &finals, DIGESTED_TYPES, |row| {
        sum.add(row);
        Ok(())
    })
    .await?;
    hash.update(format!("[receipts]\n{sum}\n"));
    hash.update("[postings]\n");
    let mut sum = MonthSum { key: None, amount: 0 };
    for_each_row(tx, POSTINGS, "ttitii", |row| {
        let month = zone.month_of(Timestamp(row[4].int()?)).number();
        let key = (row[0].text()?, row[1].text()?, row[2].int()?, row[3].text()?, month);
        sum.add(&mut hash, key, row[5].int()?);
        Ok(())
    })
    .await?;
    sum.write(&mut hash);
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Sums consecutive postings of one month.
struct MonthSum {
    key: Option<(String, String, i64, String, i64)>,
    amount: i128,
}

impl MonthSum {
    fn add(&mut self, hash: &mut Sha256, key: (&str, &str, i64, &str, i64), amount: i64) {
        let same = self.key.as_ref().is_some_and(|(account, ledger, plan, commodity, month)| {
            (account.as_str(), ledger.as_str(), *plan, commodity.as_str(), *month) == key
        });
        if !same {
            self.write(hash);
            let (account, ledger, plan, commodity, month) = key;
            self.key = Some((account.into(), ledger.into(), plan, commodity.into(), month));
        }
        self.amount += i128::from(amount);
    }

    fn write(&mut self, hash: &mut Sha256) {
        if let Some((account, ledger, plan, commodity, month)) = self.key.take()
            && self.amount != 0
        {
            let place = format!("{}:{account}\t{ledger}\t{plan}\t{commodity}\t{month}", account.len());
            hash.update(format!("{place}\t{}\n", self.amount));
        }
        self.amount = 0;
    }
}
