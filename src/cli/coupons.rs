//! `coupon add | list`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::accounts::parse_money;
use super::output::table;
use super::{Failure, Session, parse_time};
use crate::desk::{accounts, coupons};
use crate::domain::money::Micros;
use crate::domain::period::{Timestamp, Zone};
use crate::store::coupons::{CouponRow, NewCoupon, list};

#[derive(Debug, Subcommand)]
pub enum CouponCommand {
    /// Issue a coupon, which pays for orders before cash does
    Add {
        account: String,
        #[arg(value_parser = parse_money)]
        amount: Micros,
        /// Only for orders of this product
        #[arg(long)]
        product: Option<String>,
        /// Only for orders that cost this much by their list prices
        #[arg(long, value_name = "M", default_value = "0", value_parser = parse_money)]
        min_order: Micros,
        /// Until when it can be used, that moment excluded (RFC 3339)
        #[arg(long, value_name = "T", value_parser = parse_time)]
        expires: Option<Timestamp>,
    },
    /// The coupons of an account
    List { account: String },
}

pub async fn coupon(session: &Session, command: CouponCommand) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let now = session.now();
    match command {
        CouponCommand::Add { account, amount, product, min_order, expires } => {
            let new = NewCoupon { amount, product, min_order, expires_at: expires, plan_no: None };
            let added = coupons::add(&db, &config, &account, &new, now).await?;
            db.close().await;
            let json = coupon_json(&account, &added, config.zone, now);
            session.output.show(&json, || {
                let coupon = &added.coupon;
                let id = &coupon.coupon_id;
                format!(
                    "Coupon {id} of {}: `quittance order place {account} PACKAGE --coupon {id}`",
                    coupon.amount.for_people()
                )
            });
        }
        CouponCommand::List { account } => {
            let mut tx = db.read().await?;
            accounts::find(&mut tx, &account).await?;
            let coupons = list(&mut tx, &account).await?;
            let json: Vec<Value> =
                coupons.iter().map(|row| coupon_json(&account, row, config.zone, now)).collect();
            session.output.show(&json!(json), || match coupons.is_empty() {
                true => format!("Account {account} has no coupons."),
                false => coupon_table(&coupons, config.zone, now),
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The keys that scripts read.
fn coupon_json(account: &str, row: &CouponRow, zone: Zone, now: Timestamp) -> Value {
    let coupon = &row.coupon;
    json!({
        "coupon_id": &*coupon.coupon_id,
        "account_id": account,
        "amount": coupon.amount.to_string(),
        "balance": coupon.balance.to_string(),
        "product": coupon.product.as_deref(),
        "min_order": coupon.min_order.to_string(),
        "issued_at": zone.format(coupon.issued_at),
        "expires_at": coupon.expires_at.map(|at| zone.format(at)),
        "gift_of": row.gift_of,
        "state": coupon.state(now).as_str(),
    })
}

fn coupon_table(coupons: &[CouponRow], zone: Zone, now: Timestamp) -> String {
    let row = |row: &CouponRow| {
        let coupon = &row.coupon;
        vec![
            coupon.coupon_id.to_string(),
            coupon.amount.for_people(),
            coupon.balance.for_people(),
            coupon.product.as_deref().unwrap_or("any").to_owned(),
            coupon.min_order.for_people(),
            zone.format_short(coupon.issued_at),
            coupon.expires_at.map_or_else(|| "never".to_owned(), |at| zone.format_short(at)),
            row.gift_of.clone().unwrap_or_else(|| "-".into()),
            coupon.state(now).as_str().replace('_', " "),
        ]
    };
    let columns =
        ["coupon", ">amount", ">left", "product", ">orders from", "issued", "expires", "gift of", "state"];
    table(&columns, coupons.iter().map(row).collect())
}
