//! Whether charging and settling have caught up with a moment, as the end of plans and the bills wait for
//! it (D43, D48, D65, D80). Answered from runs, batches and open failures; no message is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::db::{Tx, values};
use super::error::StoreError;
use super::failures::claims_before;
use super::runs::COMPLETED;
use crate::domain::period::Timestamp;

/// What is behind a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Messages that were sent before it may not be charged yet.
    Charging,
    /// Failures that were received before it may not be answered yet.
    Settling,
}

impl Behind {
    /// The job that is waited for.
    pub fn job(self) -> &'static str {
        match self {
            Behind::Charging => CHARGING,
            Behind::Settling => SETTLING,
        }
    }
}

const CHARGING: &str = "aggregate-charges";
const SETTLING: &str = "settle-receipts";

/// How far charging and settling have come, for any moment up to the one it was asked for.
#[derive(Clone, Debug, Default)]
pub struct CaughtUp {
    /// The latest as-of of a run that charged, and the first submit time that it left or that came since.
    /// Refused and inbound messages count until their batch was run; suspense does not (D80).
    charged_as_of: Option<Timestamp>,
    first_uncharged: Option<Timestamp>,
    settled_as_of: Option<Timestamp>,
    /// By account the first failure of a charged message that has no answer. The account is the one that
    /// pays for the message: one that can't be settled keeps nobody else waiting.
    first_claims: BTreeMap<Arc<str>, Timestamp>,
}

/// Whether messages that were sent before a moment may not be charged yet.
pub async fn charging_behind(tx: &mut Tx, moment: Timestamp) -> Result<bool, StoreError> {
    let (charged_as_of, first_uncharged) = charging(tx).await?;
    Ok(is_charging_behind(charged_as_of, first_uncharged, moment))
}

/// The latest as-of of a run that charged, and the first submit time that no run has charged.
async fn charging(tx: &mut Tx) -> Result<(Option<Timestamp>, Option<Timestamp>), StoreError> {
    let first = "select min(first_submit) from batches where run_no is null and kind = 'messages'";
    let row = tx.row(first, vec![]).await?;
    let first_uncharged = row.map(|row| row.opt_int(0)).transpose()?.flatten().map(Timestamp);
    Ok((last_as_of(tx, CHARGING).await?, first_uncharged))
}

fn is_charging_behind(
    charged_as_of: Option<Timestamp>,
    first_uncharged: Option<Timestamp>,
    moment: Timestamp,
) -> bool {
    charged_as_of.is_none_or(|as_of| as_of < moment) || first_uncharged.is_some_and(|first| first < moment)
}

impl CaughtUp {
    /// Reads what is needed to answer for moments up to `upto`.
    pub async fn load(tx: &mut Tx, upto: Timestamp) -> Result<CaughtUp, StoreError> {
        let (charged_as_of, first_uncharged) = charging(tx).await?;
        Ok(CaughtUp {
            charged_as_of,
            first_uncharged,
            settled_as_of: last_as_of(tx, SETTLING).await?,
            first_claims: claims_before(tx, upto).await?,
        })
    }

    /// What is behind a moment, for one account: charging is judged over all of them all the same.
    pub fn account_behind(&self, account_id: &str, moment: Timestamp) -> Option<Behind> {
        let first_claim = self.first_claims.get(account_id);
        if is_charging_behind(self.charged_as_of, self.first_uncharged, moment) {
            Some(Behind::Charging)
        } else if self.settled_as_of.is_none_or(|as_of| as_of < moment)
            || first_claim.is_some_and(|first| *first < moment)
        {
            Some(Behind::Settling)
        } else {
            None
        }
    }
}

/// The latest as-of of a job's runs that did their work.
async fn last_as_of(tx: &mut Tx, job: &str) -> Result<Option<Timestamp>, StoreError> {
    let sql = format!("select max(as_of) from job_runs where job = $1 and outcome in {COMPLETED}");
    let row = tx.row(sql, values![job]).await?;
    Ok(row.map(|row| row.opt_int(0)).transpose()?.flatten().map(Timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught_up(charged: Option<i64>, uncharged: Option<i64>, settled: Option<i64>) -> CaughtUp {
        CaughtUp {
            charged_as_of: charged.map(Timestamp),
            first_uncharged: uncharged.map(Timestamp),
            settled_as_of: settled.map(Timestamp),
            first_claims: [("beta".into(), Timestamp(5))].into(),
        }
    }

    #[test]
    fn a_run_at_the_moment_is_enough_and_what_was_sent_at_it_is_not_waited_for() {
        let behind = |charged, uncharged, settled| {
            caught_up(charged, uncharged, settled).account_behind("acme", Timestamp(10))
        };
        assert_eq!(behind(None, None, Some(10)), Some(Behind::Charging));
        assert_eq!(behind(Some(9), None, Some(10)), Some(Behind::Charging));
        assert_eq!(behind(Some(10), Some(9), Some(10)), Some(Behind::Charging));
        assert_eq!(behind(Some(10), Some(10), None), Some(Behind::Settling));
        assert_eq!(behind(Some(10), Some(10), Some(9)), Some(Behind::Settling));
        assert_eq!(behind(Some(10), Some(10), Some(10)), None);
    }

    #[test]
    fn an_open_failure_keeps_its_own_account_waiting() {
        let all = caught_up(Some(10), None, Some(10));
        assert_eq!(all.account_behind("acme", Timestamp(10)), None);
        assert_eq!(all.account_behind("beta", Timestamp(10)), Some(Behind::Settling));
        assert_eq!(all.account_behind("beta", Timestamp(5)), None);
        assert_eq!(all.account_behind("beta", Timestamp(6)), Some(Behind::Settling));
    }
}
