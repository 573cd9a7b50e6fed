//! Windows whose 72 hours and grace are over: what was charged in them and not given back is earned
//! (R100, R101, D47).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::ledger::{Cause, Earned};
use crate::domain::period::{Timestamp, WINDOW, Zone, window_start};
use crate::domain::product::{ChargeOn, RECEIPT_GRACE, REFUND_WINDOW};
use crate::domain::settle::{Lapsed, finalise as final_entry};
use crate::jobs::{JobError, Run};
use crate::store::settling::{self, FinalUpTo, LapsedRow};

/// From the start of a window until its charges are final.
const UNTIL_FINAL: i64 = WINDOW + REFUND_WINDOW + RECEIPT_GRACE;

/// What a run made final.
pub enum Finalised {
    /// Of so many accounts.
    Accounts(i64),
    /// Nothing: a product was charged that is not configured, and how it was is not known.
    Unknown,
}

/// What is due of some windows.
struct Due {
    stretch: (Timestamp, Timestamp),
    /// These windows were final before; it is about what later runs charged in them.
    late: bool,
    rows: Vec<LapsedRow>,
}

/// Makes final what is due.
pub async fn finalise(run: &mut Run<'_>, done: FinalUpTo) -> Result<Finalised, JobError> {
    let upto = window_start(run.as_of.plus_micros(-(REFUND_WINDOW + RECEIPT_GRACE)));
    let last_run = settling::last_charge_run(run.tx).await?;
    if upto <= done.window && last_run <= done.run_no {
        return Ok(Finalised::Accounts(0));
    }
    if let Some(doubt) = &run.doubt {
        tracing::warn!("Nothing was made final: {doubt}");
        return Ok(Finalised::Accounts(0));
    }
    let upto = upto.max(done.window);
    let from = match done.window {
        Timestamp(i64::MIN) => settling::first_window(run.tx, upto).await?.unwrap_or(upto),
        window => window,
    };
    let mut due = Vec::new();
    for stretch in stretches(from, upto, run.config.zone) {
        let rows = settling::lapsed(run.tx, stretch, last_run, None).await?;
        due.push(Due { stretch, late: false, rows });
    }
    // What came late for windows that were final before is final at once.
    if last_run > done.run_no && done.window != FinalUpTo::NOTHING.window {
        let stretch = (done.window, done.window);
        let rows = settling::lapsed(run.tx, stretch, last_run, Some(done.run_no)).await?;
        due.push(Due { stretch, late: true, rows });
    }
    let catalog = &run.config.catalog;
    let mut rows = due.iter().flat_map(|due| &due.rows);
    if let Some(row) = rows.find(|row| catalog.get(&row.product).is_none()) {
        tracing::warn!(
            "Nothing was made final: product {} was charged and is not configured; put it back into products.toml",
            row.product
        );
        return Ok(Finalised::Unknown);
    }
    let mut accounts = 0;
    for due in due {
        accounts += earn(run, due).await?;
    }
    FinalUpTo { window: upto, run_no: last_run.max(done.run_no) }.save(run.tx).await?;
    Ok(Finalised::Accounts(accounts))
}

/// Cuts a stretch of windows where the month changes in which they become final: revenue belongs to
/// the month of its finality, whenever the run takes place.
fn stretches(from: Timestamp, upto: Timestamp, zone: Zone) -> Vec<(Timestamp, Timestamp)> {
    let mut stretches = Vec::new();
    let mut start = from;
    while start < upto {
        let month_end = zone.month_start(zone.month_of(start.plus_micros(UNTIL_FINAL)).next());
        // The first window that is final only in the next month.
        let next = window_start(month_end.plus_micros(-UNTIL_FINAL + WINDOW - 1));
        let end = next.max(start.plus_micros(WINDOW)).min(upto);
        stretches.push((start, end));
        start = end;
    }
    stretches
}

/// Posts what is earned of a stretch, account by account.
async fn earn(run: &mut Run<'_>, due: Due) -> Result<i64, JobError> {
    let Due { stretch, late, rows } = due;
    let catalog = &run.config.catalog;
    let mut by_account: BTreeMap<Arc<str>, Vec<Lapsed<'_>>> = BTreeMap::new();
    for LapsedRow { account_id, product, by_plan, units, net } in rows {
        let Some(product) = catalog.get(&product).filter(|p| p.charge_on == ChargeOn::Receipt) else {
            continue;
        };
        let earned = if by_plan { Earned::Plan } else { Earned::Payg };
        by_account.entry(account_id.into()).or_default().push(Lapsed { product, earned, units, net });
    }
    // The moment at which the last of them became final; late ones with the run that found them.
    let run_no = run.run_no;
    let (at, cause) = if late {
        (run.as_of, Cause::FinalLate { at: run.as_of, run_no })
    } else {
        let at = stretch.1.plus_micros(UNTIL_FINAL - WINDOW);
        (at, Cause::Final { at, run_no })
    };
    let number = by_account.len() as i64;
    settling::post(run.tx, by_account, |currency, lapsed| final_entry(currency, lapsed, at, cause.clone()))
        .await?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_cut_where_the_month_of_finality_changes() {
        let zone = Zone::parse("Asia/Shanghai").unwrap();
        let time = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
        // Final on the 1st of April at 00:00 is what began on the 27th of March at 23:55.
        let (from, upto) = (time("2026-03-20T00:00:00+08:00"), time("2026-04-02T00:00:00+08:00"));
        let edge = time("2026-03-27T23:55:00+08:00");
        assert_eq!(stretches(from, upto, zone), [(from, edge), (edge, upto)]);
        let month_of = |window: Timestamp| zone.month_of(window.plus_micros(UNTIL_FINAL)).number();
        assert_eq!((month_of(Timestamp(edge.0 - WINDOW)), month_of(edge)), (202_603, 202_604));
        assert_eq!(stretches(from, from, zone), []);
    }
}
