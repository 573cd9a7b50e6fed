//! Auto-renewal: what accounts want renewed, what was renewed and why, and what was last refused.

use std::collections::BTreeMap;

use super::charging::{PLAN, plan};
use super::db::{Row, Tx, Value, values};
use super::error::StoreError;
use super::many::{execute_with, rows_with};
use crate::domain::money::Micros;
use crate::domain::period::Timestamp;
use crate::domain::plan::Plan;
use crate::domain::renewal::{BEFORE_END, Before, Due, DueBy, Setting};

/// A setting as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingRow {
    pub account_id: String,
    pub setting: Setting,
    pub set_at: Timestamp,
    /// None while it is on.
    pub off_at: Option<Timestamp>,
    pub refused: Option<Refused>,
}

/// The last refusal: the first time on its day for its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub at: Timestamp,
    pub code: String,
    pub text: String,
}

const SETTING: &str = "s.account_id, s.product, s.package, s.threshold, s.set_at, s.off_at, s.refused_at, \
    s.refused_code, s.refused_text";

fn setting_row(row: &Row) -> Result<SettingRow, StoreError> {
    let refused = match row.opt_int(6)? {
        None => None,
        Some(at) => Some(Refused {
            at: Timestamp(at),
            code: row.opt_text(7)?.unwrap_or_default(),
            text: row.opt_text(8)?.unwrap_or_default(),
        }),
    };
    Ok(SettingRow {
        account_id: row.text(0)?,
        setting: Setting {
            product: row.text(1)?.into(),
            package: row.text(2)?.into(),
            threshold: row.int(3)?,
        },
        set_at: Timestamp(row.int(4)?),
        off_at: row.opt_int(5)?.map(Timestamp),
        refused,
    })
}

/// The settings of an account, those that are off among them.
pub async fn settings(tx: &mut Tx, account_id: &str) -> Result<Vec<SettingRow>, StoreError> {
    let sql = format!("select {SETTING} from renewal_settings s where s.account_id = $1 order by s.product");
    tx.rows(sql, values![account_id]).await?.iter().map(setting_row).collect()
}

/// Switches renewal of a product on, or over to another package or threshold. What was refused before is
/// of no interest then.
pub async fn set(tx: &mut Tx, account_id: &str, setting: &Setting, now: Timestamp) -> Result<(), StoreError> {
    let sql = "insert into renewal_settings (account_id, product, package, threshold, set_at) \
               values ($1, $2, $3, $4, $5) on conflict (account_id, product) do update set \
               package = excluded.package, threshold = excluded.threshold, set_at = excluded.set_at, \
               off_at = null, refused_at = null, refused_code = null, refused_text = null \
               where renewal_settings.package <> excluded.package \
               or renewal_settings.threshold <> excluded.threshold or renewal_settings.off_at is not null";
    let Setting { product, package, threshold } = setting;
    tx.execute(sql, values![account_id, &**product, &**package, *threshold, now.0]).await.map(|_| ())
}

/// Switches it off; false where it was not on.
pub async fn switch_off(
    tx: &mut Tx,
    account_id: &str,
    product: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql =
        "update renewal_settings set off_at = $3 where account_id = $1 and product = $2 and off_at is null";
    Ok(tx.execute(sql, values![account_id, product, now.0]).await? == 1)
}

/// Accounts of which something may be due: more than are, for the rule is judged by the domain. Where no
/// plan has units left, nothing is left, and that is due by any threshold; so only plans that can pay
/// matter here.
pub async fn candidates(tx: &mut Tx, now: Timestamp) -> Result<Vec<String>, StoreError> {
    let paying = "from plans p where p.account_id = s.account_id and p.product = s.product \
                  and p.ended_at is null and p.remaining > 0 and p.effective_at <= $1 and p.expires_at > $1";
    let sql = format!(
        "select distinct s.account_id from renewal_settings s where s.off_at is null and \
         ((select coalesce(sum(p.remaining), 0) {paying}) <= s.threshold \
          or exists (select 1 {paying} and p.expires_at <= $2 and not exists (select 1 from renewals r \
            where r.account_id = p.account_id and r.renewed_plan = p.plan_no))) order by s.account_id"
    );
    let soon = now.plus_micros(BEFORE_END);
    tx.rows(sql, values![now.0, soon.0]).await?.iter().map(|row| row.text(0)).collect()
}

/// A setting that is on, with what the domain judges it by.
#[derive(Clone, Debug)]
pub struct Judged {
    pub row: SettingRow,
    pub plans: Vec<Plan>,
    pub before: Before,
}

/// What is on for some accounts, which are locked, by account and product; `day` is today.
pub async fn load(
    tx: &mut Tx,
    account_ids: &[&str],
    day: (Timestamp, Timestamp),
) -> Result<BTreeMap<(String, String), Judged>, StoreError> {
    let bound = || account_ids.iter().map(|id| values![*id]).collect::<Vec<_>>();
    let query = format!(
        "select {SETTING} from renewal_settings s where s.account_id in (select id from v) and s.off_at is null"
    );
    let mut judged = BTreeMap::new();
    for row in rows_with(tx, "id", bound(), &query).await? {
        let row = setting_row(&row)?;
        let key = (row.account_id.clone(), row.setting.product.to_string());
        judged.insert(key, Judged { row, plans: Vec::new(), before: Before::default() });
    }
    let query = format!(
        "select {PLAN} from plans where account_id in (select id from v) order by account_id, plan_no"
    );
    for row in rows_with(tx, "id", bound(), &query).await? {
        if let Some(found) = judged.get_mut(&(row.text(0)?, row.text(2)?)) {
            found.plans.push(plan(&row)?);
        }
    }
    let query = "select account_id, product, renewed_plan, at from renewals \
                 where account_id in (select id from v)";
    for row in rows_with(tx, "id", bound(), query).await? {
        if let Some(found) = judged.get_mut(&(row.text(0)?, row.text(1)?)) {
            found.before.used_up.push(row.int(2)?);
            let at = Timestamp(row.int(3)?);
            found.before.today += i64::from(day.0 <= at && at < day.1);
        }
    }
    Ok(judged)
}

/// A purchase as it is noted beside its order.
#[derive(Clone, Debug)]
pub struct NewRenewal<'a> {
    pub account_id: &'a str,
    pub order_no: i64,
    pub setting: &'a Setting,
    pub due: Due,
    pub list_price: Micros,
    pub discount_ppm: i64,
    pub validity: String,
    pub at: Timestamp,
    pub run_no: i64,
}

/// Notes why an order was placed. A second one for the same time of the same plan, or for the same
/// product and run, breaks a unique key, and nothing is bought.
pub async fn note(tx: &mut Tx, new: &NewRenewal<'_>) -> Result<(), StoreError> {
    let sql = "insert into renewals (account_id, order_no, product, due_by, renewed_plan, remaining, threshold, \
               list_price, discount_ppm, validity, at, run_no) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let values = values![
        new.account_id,
        new.order_no,
        &*new.setting.product,
        new.due.by.as_str(),
        new.due.plan_no.unwrap_or(0),
        new.due.remaining,
        new.setting.threshold,
        new.list_price.0,
        new.discount_ppm,
        &new.validity,
        new.at.0,
        new.run_no,
    ];
    tx.execute(sql, values).await.map(|_| ())
}

/// Refusals on their way in.
#[derive(Default)]
pub struct Refusals {
    rows: Vec<Vec<Value>>,
}

impl Refusals {
    pub fn push(&mut self, account_id: &str, product: &str, refused: &Refused) {
        self.rows.push(values![account_id, product, refused.at.0, &refused.code, &refused.text]);
    }

    pub async fn flush(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.rows);
        let statement = "update renewal_settings set refused_at = v.at, refused_code = v.code, refused_text = v.said \
                         from v where renewal_settings.account_id = v.account_id \
                         and renewal_settings.product = v.of_product";
        execute_with(tx, "account_id, of_product, at, code, said", rows, statement).await.map(|_| ())
    }
}

/// A purchase as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalRow {
    pub product: String,
    pub order_id: String,
    pub due_by: DueBy,
    /// The plan in use then; None where there was none.
    pub renewed_plan: Option<String>,
    pub remaining: i64,
    pub threshold: i64,
    pub list_price: Micros,
    pub price: Micros,
    pub at: Timestamp,
}

/// The last purchase of each product of an account.
pub async fn last_purchases(tx: &mut Tx, account_id: &str) -> Result<Vec<RenewalRow>, StoreError> {
    let sql = "select r.product, o.order_id, r.due_by, p.plan_id, r.remaining, r.threshold, r.list_price, o.total, \
               r.at from renewals r join orders o on o.account_id = r.account_id and o.order_no = r.order_no \
               left join plans p on p.account_id = r.account_id and p.plan_no = r.renewed_plan \
               where r.account_id = $1 and r.order_no = (select max(l.order_no) from renewals l \
                 where l.account_id = r.account_id and l.product = r.product) order by r.product";
    let purchase = |row: &Row| {
        let due_by = row.text(2)?;
        Ok(RenewalRow {
            product: row.text(0)?,
            order_id: row.text(1)?,
            due_by: DueBy::parse(&due_by).ok_or_else(|| {
                StoreError::Corrupt(format!("a renewal of account {account_id} is due by {due_by}"))
            })?,
            renewed_plan: row.opt_text(3)?,
            remaining: row.int(4)?,
            threshold: row.int(5)?,
            list_price: Micros(row.int(6)?),
            price: Micros(row.int(7)?),
            at: Timestamp(row.int(8)?),
        })
    };
    tx.rows(sql, values![account_id]).await?.iter().map(purchase).collect()
}
