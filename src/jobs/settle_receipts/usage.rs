//! Days whose last window is final: what was sent on them is counted once and kept (R127-R132).

use crate::domain::period::Timestamp;
use crate::jobs::{JobError, Run};
use crate::store::settling::FinalUpTo;
use crate::store::usage::{self, Runs, WrittenUpTo};

/// Counts the days that became final, and adds to earlier ones what came late for them; gives the
/// number of counts that were written.
pub async fn write_days(run: &mut Run<'_>) -> Result<i64, JobError> {
    let zone = run.config.zone;
    let finals = FinalUpTo::load(run.tx).await?;
    if finals == FinalUpTo::NOTHING {
        return Ok(0);
    }
    let day_of = |at: Timestamp| zone.day_start(zone.day_of(at));
    let today = day_of(finals.window);
    let (written, known) = match WrittenUpTo::load(run.tx).await? {
        Some(written) => (written, true),
        None => (WrittenUpTo { day: Timestamp(i64::MIN), run_no: 0 }, false),
    };
    let upto = WrittenUpTo { day: today.max(written.day), run_no: finals.run_no.max(written.run_no) };
    if upto == written {
        return Ok(0);
    }
    let all = Runs { after: 0, upto: Some(upto.run_no) };
    let from = match known {
        true => Some(written.day),
        false => usage::first_submit(run.tx, all, upto.day).await?.map(day_of),
    };
    let mut rows = 0;
    if let Some(from) = from {
        rows += usage::write(run.tx, zone, (from, upto.day), all).await?;
    }
    // Days that were written before: what later runs than then have charged of them.
    let later = Runs { after: written.run_no, upto: Some(upto.run_no) };
    if known
        && upto.run_no > written.run_no
        && let Some(from) = usage::first_submit(run.tx, later, written.day).await?
    {
        rows += usage::write(run.tx, zone, (day_of(from), written.day), later).await?;
    }
    upto.save(run.tx).await?;
    Ok(rows as i64)
}
