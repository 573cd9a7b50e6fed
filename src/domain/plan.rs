//! Prepaid plans: a quota of units, valid for a time (R27, R28, R54, D8, D40).

use std::sync::Arc;

use super::countries::Countries;
use super::money::Micros;
use super::period::Timestamp;

/// A plan of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its number among the account's plans, from 1.
    pub plan_no: i64,
    pub product: Arc<str>,
    /// The countries of the messages that it pays for.
    pub countries: Countries,
    /// Units bought.
    pub size: i64,
    /// Units that can still pay.
    pub remaining: i64,
    /// Units that ended unused with the plan's validity, or with a refund of its order.
    pub forfeited: i64,
    /// What was paid for it, net of VAT: the liability at purchase.
    pub net: Micros,
    /// The part of `net` that has been released by use.
    pub released: Micros,
    /// What units that came back are worth beyond this plan's own: a unit that cost more or less
    /// elsewhere brings its value along (R88).
    pub carried: Micros,
    pub effective_at: Timestamp,
    pub expires_at: Timestamp,
    /// The run that drew it last (D49); None for a plan that never paid.
    pub last_draw: Option<i64>,
}

/// What a plan shows of itself at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanState {
    Active,
    /// Used up and not expired: it may still take returns.
    Exhausted,
    Expired,
    /// A refund of its order cancelled it.
    Refunded,
}

impl PlanState {
    /// The state of a plan that was not refunded.
    pub fn at(now: Timestamp, expires_at: Timestamp, remaining: i64) -> PlanState {
        match () {
            () if now >= expires_at => PlanState::Expired,
            () if remaining == 0 => PlanState::Exhausted,
            () => PlanState::Active,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            PlanState::Active => "active",
            PlanState::Exhausted => "exhausted",
            PlanState::Expired => "expired",
            PlanState::Refunded => "refunded",
        }
    }
}

impl Plan {
    /// Whether the plan is valid at this moment: `effective_at <= at < expires_at`, to the microsecond
    /// (D40).
    pub fn is_valid(&self, at: Timestamp) -> bool {
        self.effective_at <= at && at < self.expires_at
    }

    /// Whether the plan covers a message of its product sent to a country at this moment.
    pub fn covers(&self, submit_time: Timestamp, country: &str) -> bool {
        self.is_valid(submit_time) && self.countries.include(country)
    }

    /// The order in which plans pay: earliest end, then earliest start, then the older (D8).
    pub fn burn_order(&self) -> (Timestamp, Timestamp, i64) {
        (self.expires_at, self.effective_at, self.plan_no)
    }

    /// The order in which plans take units back: the most recently drawn first, of those drawn in one
    /// run the one that pays last (D9, D49).
    pub fn return_order(&self) -> impl Ord + use<> {
        std::cmp::Reverse((self.last_draw, self.burn_order()))
    }

    /// Draws units and gives the value that they release. Rounding is cumulative: the parts always
    /// sum to the whole, and the last unit clears it.
    pub fn draw(&mut self, units: i64) -> Micros {
        let carried = self.carried.share_rounded(units, self.remaining.max(1));
        self.remaining -= units;
        self.carried = Micros(self.carried.0 - carried.0);
        Micros(self.settle().0 + carried.0)
    }

    /// How many units may come back: never more than were bought (R93), and none to a plan whose rest
    /// was forfeited.
    pub fn room(&self) -> i64 {
        if self.forfeited > 0 { 0 } else { self.size - self.remaining }
    }

    /// Takes units back with the value that they carry.
    pub fn take_back(&mut self, units: i64, value: Micros) {
        self.remaining += units;
        let own = -self.settle().0;
        self.carried = Micros(self.carried.0 + value.0 - own);
    }

    /// Ends the plan: gives the units that are forfeited and the value that goes with them (R10, R54).
    /// Nothing of it is left then, and none of what it was worth.
    pub fn forfeit(&mut self) -> (i64, Micros) {
        let (units, value) = (self.remaining, self.liability());
        self.remaining = 0;
        self.forfeited += units;
        self.released = self.net;
        self.carried = Micros::ZERO;
        (units, value)
    }

    /// What the provider owes for the units left.
    pub fn liability(&self) -> Micros {
        Micros(self.net.0 - self.released.0 + self.carried.0)
    }

    /// Brings `released` in proportion to the units used and gives the difference.
    fn settle(&mut self) -> Micros {
        let due = self.net.share_rounded(self.size - self.remaining, self.size);
        let difference = Micros(due.0 - self.released.0);
        self.released = due;
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(size: i64, net: i64) -> Plan {
        Plan {
            plan_no: 1,
            product: "sms-domestic".into(),
            countries: Countries::All,
            size,
            remaining: size,
            forfeited: 0,
            net: Micros(net),
            released: Micros::ZERO,
            carried: Micros::ZERO,
            effective_at: Timestamp(0),
            expires_at: Timestamp(100),
            last_draw: None,
        }
    }

    #[test]
    fn released_parts_sum_to_the_whole() {
        let mut plan = plan(7, 100);
        let parts: Vec<i64> = (0..7).map(|_| plan.draw(1).0).collect();
        assert_eq!(parts, [14, 15, 14, 14, 14, 15, 14]);
        assert_eq!(parts.iter().sum::<i64>(), 100);
    }

    #[test]
    fn a_plan_ends_before_its_last_moment() {
        let plan = plan(7, 100);
        let covers = |at| plan.covers(Timestamp(at), "CN");
        assert!(covers(0) && covers(99) && !covers(100) && !covers(-1));
        let state = |now, remaining| PlanState::at(Timestamp(now), plan.expires_at, remaining);
        assert_eq!((state(99, 0), state(100, 5)), (PlanState::Exhausted, PlanState::Expired));
    }

    #[test]
    fn units_that_come_back_bring_their_value_and_take_it_along() {
        let mut plan = plan(10, 1_000);
        assert_eq!((plan.draw(6), plan.liability()), (Micros(600), Micros(400)));
        plan.take_back(2, Micros(250));
        assert_eq!((plan.remaining, plan.room(), plan.liability()), (6, 4, Micros(650)));
        let drawn: Vec<i64> = (0..6).map(|_| plan.draw(1).0).collect();
        assert_eq!(drawn.iter().sum::<i64>(), 650);
        assert!(drawn.iter().all(|value| (108..=109).contains(value)), "{drawn:?}");
        assert_eq!((plan.liability(), plan.carried), (Micros::ZERO, Micros::ZERO));
    }

    #[test]
    fn units_that_are_worth_less_lower_what_is_owed_for_the_rest() {
        let mut plan = plan(10, 1_000);
        plan.draw(10);
        plan.take_back(3, Micros(200));
        assert_eq!(plan.liability(), Micros(200));
        assert_eq!((0..3).map(|_| plan.draw(1).0).sum::<i64>(), 200);
    }

    #[test]
    fn what_is_forfeited_takes_all_value_along_and_the_plan_takes_nothing_back() {
        let mut plan = plan(7, 100);
        plan.draw(4);
        plan.take_back(1, Micros(20));
        assert_eq!((plan.remaining, plan.liability()), (4, Micros(63)));
        assert_eq!(plan.forfeit(), (4, Micros(63)));
        assert_eq!((plan.remaining, plan.forfeited, plan.liability(), plan.room()), (0, 4, Micros::ZERO, 0));
        assert_eq!(plan.forfeit(), (0, Micros::ZERO));
    }

    #[test]
    fn plans_take_units_back_from_the_last_drawn_to_the_first() {
        let drawn = |plan_no, last_draw, expires_at| Plan {
            plan_no,
            last_draw,
            expires_at: Timestamp(expires_at),
            ..plan(7, 100)
        };
        let mut plans =
            [drawn(1, Some(4), 10), drawn(2, Some(9), 20), drawn(3, Some(9), 30), drawn(4, Some(2), 40)];
        plans.sort_by_key(Plan::return_order);
        assert_eq!(plans.map(|plan| plan.plan_no), [3, 2, 1, 4]);
    }
}
