//! What is due: slots that have passed and that no run stands for, from what the database knows.
//!
//! Nothing is kept in memory, so that restarts, several daemons, and cron beside them agree (F34).

use crate::config::Config;
use crate::domain::period::Timestamp;
use crate::jobs::Job;
use crate::store::runs::{self, Slot};
use crate::store::{StoreError, Tx};

/// Where a job stands on its schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The latest slot that has passed and was not run, with all those before it that it makes up for.
    pub slot: Option<Slot>,
    /// When the next slot comes; None for a job that is off.
    pub next: Option<Timestamp>,
    /// Whether a daemon has ever looked after it: without one no slot is anybody's.
    pub known: bool,
}

impl Due {
    /// How many slots have passed without a run.
    pub fn slots_behind(&self) -> i64 {
        self.slot.map_or(0, |slot| slot.slots)
    }
}

pub async fn due(tx: &mut Tx, config: &Config, job: &Job, now: Timestamp) -> Result<Due, StoreError> {
    let Some(schedule) = config.schedules.get(job.name) else { return Ok(Due::default()) };
    let next = schedule.next_after(now, config.zone);
    let Some(since) = runs::since(tx, job.name).await? else {
        return Ok(Due { slot: None, next, known: false });
    };
    let done = runs::done_up_to(tx, job.name, now).await?;
    // Of a job that was first seen while the clock ran ahead, only what comes from now on is due.
    let done = done.map_or(since, |done| done.max(since)).min(now);
    let latest = schedule.latest_up_to(now, config.zone).filter(|latest| *latest > done);
    let slot = latest.map(|at| Slot { at, slots: schedule.count(done, at, config.zone) });
    Ok(Due { slot, next, known: true })
}
