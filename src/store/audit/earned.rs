//! What each product earned, as its charges say it: what was charged and is final, less what went back of that,
//! and what the month's end made of `volume` prices (I15).

use std::collections::BTreeMap;

use super::EarnedRow;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::scope::Scope;
use crate::store::settling::FinalUpTo;

/// By account. What is charged on receipt is pending, and no revenue, until it is final.
pub async fn load(tx: &mut Tx, scope: &Scope) -> Result<BTreeMap<String, Vec<EarnedRow>>, StoreError> {
    let FinalUpTo { window, run_no } = FinalUpTo::load(tx).await?;
    let window = window.0;
    let sql = format!(
        "select account_id, product, earned, cast(sum(net) as bigint) as net from ( \
           select account_id, product, case when plan_no > 0 then 'Plan' else 'Payg' end as earned, -net as net \
             from charges where window_start < {window} and run_no <= {run_no} or coalesce((select i.value \
               from instance i where i.name = 'charge_on ' || charges.product), '') <> 'receipt' \
           union all select account_id, product, case when from_plan > 0 then 'Plan' else 'Payg' end, net \
             from returns where window_start < {window} and charge_run <= {run_no} \
           union all select account_id, product, 'Payg', -net from bill_lines where kind = 'adjustment') e \
         group by account_id, product, earned"
    );
    let mut earned: BTreeMap<String, Vec<EarnedRow>> = BTreeMap::new();
    for row in tx.rows(scope.narrow(&sql), vec![]).await? {
        let of_product = (row.text(1)?, row.text(2)?, row.int(3)?);
        earned.entry(row.text(0)?).or_default().push(of_product);
    }
    Ok(earned)
}
