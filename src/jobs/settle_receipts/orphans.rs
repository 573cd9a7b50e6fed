//! Receipts whose message never came (D18). Failures are listed one by one, since money hangs on them;
//! of the others it is enough to say for each batch how many there are.

use crate::domain::product::{RECEIPT_GRACE, REFUND_WINDOW};
use crate::jobs::{JobError, Run};
use crate::store::orphans;

/// Looks once through each batch of receipts whose time is over, and gives the number of batches that
/// were listed.
pub async fn list(run: &mut Run<'_>) -> Result<i64, JobError> {
    if run.doubt.is_some() {
        return Ok(0);
    }
    let came_before = run.as_of.plus_micros(-(REFUND_WINDOW + RECEIPT_GRACE));
    let batches = orphans::open_batches(run.tx, came_before).await?;
    let mut listed = 0;
    for batch_no in batches {
        let receipts = orphans::close_batch(run.tx, batch_no, run.run_no).await?;
        if receipts > 0 {
            orphans::list(run.tx, batch_no, receipts, run.as_of).await?;
            listed += 1;
        }
    }
    Ok(listed)
}
