//! Prepaid plans: a quota of units, valid for a time (R27, R28, R54, D8, D40).

use std::sync::Arc;

use super::money::Micros;
use super::period::Timestamp;

/// A plan of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its number among the account's plans, from 1.
    pub plan_no: i64,
    pub product: Arc<str>,
    /// Units bought.
    pub size: i64,
    /// Units that can still pay.
    pub remaining: i64,
    /// What was paid for it, net of VAT: the liability at purchase.
    pub net: Micros,
    /// The part of `net` that has been released by use.
    pub released: Micros,
    pub effective_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What a plan shows of itself at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanState {
    Active,
    /// Used up and not expired: it may still take returns.
    Exhausted,
    Expired,
}

impl PlanState {
    pub fn as_str(self) -> &'static str {
        match self {
            PlanState::Active => "active",
            PlanState::Exhausted => "exhausted",
            PlanState::Expired => "expired",
        }
    }
}

impl Plan {
    /// Whether the plan covers a message of its product sent at this moment:
    /// `effective_at <= submit_time < expires_at`, to the microsecond (D40).
    pub fn covers(&self, submit_time: Timestamp) -> bool {
        self.effective_at <= submit_time && submit_time < self.expires_at
    }

    pub fn state(&self, now: Timestamp) -> PlanState {
        match () {
            () if now >= self.expires_at => PlanState::Expired,
            () if self.remaining == 0 => PlanState::Exhausted,
            () => PlanState::Active,
        }
    }

    /// The order in which plans pay: earliest end, then earliest start, then the older (D8).
    pub fn burn_order(&self) -> (Timestamp, Timestamp, i64) {
        (self.expires_at, self.effective_at, self.plan_no)
    }

    /// The value to release so that `released` is in proportion to the units used. Rounding is
    /// cumulative: the parts always sum to the whole, and the last unit clears it.
    pub fn release(&mut self) -> Micros {
        let due = self.net.share_rounded(self.size - self.remaining, self.size);
        let released = Micros(due.0 - self.released.0);
        self.released = due;
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(size: i64, net: i64) -> Plan {
        Plan {
            plan_no: 1,
            product: "sms-domestic".into(),
            size,
            remaining: size,
            net: Micros(net),
            released: Micros::ZERO,
            effective_at: Timestamp(0),
            expires_at: Timestamp(100),
        }
    }

    #[test]
    fn released_parts_sum_to_the_whole() {
        let mut plan = plan(7, 100);
        let mut parts = Vec::new();
        for _ in 0..7 {
            plan.remaining -= 1;
            parts.push(plan.release().0);
        }
        assert_eq!(parts, [14, 15, 14, 14, 14, 15, 14]);
        assert_eq!(parts.iter().sum::<i64>(), 100);
    }

    #[test]
    fn a_plan_ends_before_its_last_moment() {
        let plan = plan(7, 100);
        assert!(plan.covers(Timestamp(0)) && plan.covers(Timestamp(99)));
        assert!(!plan.covers(Timestamp(100)) && !plan.covers(Timestamp(-1)));
        assert_eq!(plan.state(Timestamp(100)), PlanState::Expired);
    }
}
