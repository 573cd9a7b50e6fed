//! Reminders before plans expire, and alerts while they are used (R11, R12, R26, D39).
//!
//! Both follow from the state of a plan, not from what ran before: after any downtime at most one
//! reminder of a plan is still worth telling, that of the nearest bound (F32).

use super::notice::{Fact, Notice, NoticeKind};
use super::period::{Timestamp, Zone};
use super::plan::Plan;

/// A bound that a plan has come to: so many days before it expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub days: u32,
    /// The beginning of the day that lies so many days before the plan's last.
    pub due: Timestamp,
}

/// The nearest of the bounds that a plan has come to by `now`, counted in days of the billing zone. None
/// before the first of them, once it has expired, and where the plan was bought within it: who buys five
/// days need not be told that ten are not left.
///
/// # Example: after two weeks without reminders only the nearest is told
/// ```
/// use quittance::domain::period::{Timestamp, Zone};
/// use quittance::domain::reminder::nearest_bound;
/// let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
/// let zone = Zone::parse("Asia/Shanghai").unwrap();
/// let (bought, ends) = (at("2025-03-01T10:00:00+08:00"), at("2026-03-31T10:00:00+08:00"));
/// let bound = nearest_bound(&[30, 10, 3, 1], bought, ends, at("2026-03-29T09:00:00+08:00"), zone);
/// assert_eq!(bound.map(|bound| bound.days), Some(3));
/// assert_eq!(bound.map(|bound| bound.due), Some(at("2026-03-28T00:00:00+08:00")));
/// ```
pub fn nearest_bound(
    bounds: &[u32],
    effective_at: Timestamp,
    expires_at: Timestamp,
    now: Timestamp,
    zone: Zone,
) -> Option<Bound> {
    if now >= expires_at {
        return None;
    }
    let last = zone.day_of(expires_at);
    let reached = bounds.iter().copied().filter(|days| {
        let day = last.days_before(*days);
        day <= zone.day_of(now) && day > zone.day_of(effective_at)
    });
    reached.min().map(|days| Bound { days, due: zone.day_start(last.days_before(days)) })
}

/// A plan that is about to expire, as it is told.
pub fn plan_expiring(plan_id: &str, plan: &Plan, bound: Bound, now: Timestamp, zone: Zone) -> Notice {
    let days_left = zone.day_of(now).days_until(zone.day_of(plan.expires_at));
    Notice {
        kind: NoticeKind::PlanExpiring,
        subject: plan_id.to_owned(),
        due: bound.due,
        facts: vec![
            ("plan", Fact::Text(plan_id.to_owned())),
            ("product", Fact::Text(plan.product.to_string())),
            ("remaining", Fact::Count(plan.remaining)),
            ("expires_at", Fact::Time(plan.expires_at)),
            ("days_left", Fact::Count(days_left)),
        ],
    }
}

/// What charging made of a plan, where people should know: it is used up, or less than a share (in
/// millionths) of it is left. `left` is what all valid plans of its product still have.
///
/// Due when the plan began, so that it is told once a plan: units that come back and are used again
/// don't repeat it.
pub fn plan_alert(
    plan_id: &str,
    before: &Plan,
    after: &Plan,
    left: i64,
    low_ppm: i64,
    now: Timestamp,
) -> Option<Notice> {
    if after.remaining >= before.remaining || now >= after.expires_at {
        return None;
    }
    let is_low =
        |remaining: i64| i128::from(remaining) * 1_000_000 <= i128::from(after.size) * i128::from(low_ppm);
    let kind = match after.remaining {
        0 => NoticeKind::PlanUsedUp,
        remaining if is_low(remaining) && !is_low(before.remaining) => NoticeKind::QuotaLow,
        _ => return None,
    };
    let facts = vec![
        ("plan", Fact::Text(plan_id.to_owned())),
        ("product", Fact::Text(after.product.to_string())),
        ("size", Fact::Count(after.size)),
        ("remaining", Fact::Count(after.remaining)),
        ("left", Fact::Count(left)),
        ("expires_at", Fact::Time(after.expires_at)),
    ];
    Some(Notice { kind, subject: plan_id.to_owned(), due: after.effective_at, facts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Micros;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(&format!("{text}+08:00")).unwrap()
    }

    fn days(effective_at: &str, expires_at: &str, now: &str) -> Option<u32> {
        let zone = Zone::parse("Asia/Shanghai").unwrap();
        let bounds = [30, 10, 3, 1];
        nearest_bound(&bounds, at(effective_at), at(expires_at), at(now), zone).map(|bound| bound.days)
    }

    #[test]
    fn bounds_are_days_before_the_last_day_and_end_with_the_plan() {
        let of = |now| days("2025-01-01T10:00:00", "2026-03-31T10:00:00", now);
        assert_eq!(of("2026-02-28T23:59:59"), None);
        assert_eq!(of("2026-03-01T00:00:00"), Some(30));
        assert_eq!(of("2026-03-20T23:59:59"), Some(30));
        assert_eq!(of("2026-03-21T00:00:00"), Some(10));
        assert_eq!(of("2026-03-30T09:00:00"), Some(1));
        assert_eq!(of("2026-03-31T09:59:59"), Some(1));
        assert_eq!(of("2026-03-31T10:00:00"), None);
    }

    #[test]
    fn who_buys_a_short_plan_is_not_told_of_bounds_before() {
        let of = |now| days("2026-03-01T10:00:00", "2026-03-08T10:00:00", now);
        assert_eq!(of("2026-03-01T11:00:00"), None);
        assert_eq!(of("2026-03-05T09:00:00"), Some(3));
        // Bought on the bound's own day.
        assert_eq!(days("2026-03-01T10:00:00", "2026-03-11T10:00:00", "2026-03-01T11:00:00"), None);
    }

    fn plan(size: i64, remaining: i64) -> Plan {
        Plan {
            plan_no: 1,
            product: "sms-domestic".into(),
            size,
            remaining,
            forfeited: 0,
            countries: Default::default(),
            net: Micros::ZERO,
            released: Micros::ZERO,
            carried: Micros::ZERO,
            effective_at: Timestamp(7),
            expires_at: Timestamp(100),
            last_draw: None,
        }
    }

    #[test]
    fn a_plan_alerts_when_it_crosses_the_share_and_when_it_ends() {
        let alert = |before, after, now| {
            let notice = plan_alert("p", &plan(10, before), &plan(10, after), 5, 200_000, Timestamp(now));
            notice.map(|notice| (notice.kind, notice.due))
        };
        let low = Some((NoticeKind::QuotaLow, Timestamp(7)));
        assert_eq!((alert(10, 3, 50), alert(3, 2, 50), alert(2, 1, 50)), (None, low, None));
        // Never two for one run.
        assert_eq!(alert(10, 0, 50), Some((NoticeKind::PlanUsedUp, Timestamp(7))));
        // Units that came back, and plans that have expired meanwhile, alert nobody.
        assert_eq!((alert(1, 2, 50), alert(0, 0, 50), alert(3, 0, 100)), (None, None, None));
    }

    #[test]
    fn shares_of_any_size_are_reckoned_exactly() {
        let whole = plan(i64::MAX, i64::MAX);
        let left = Plan { remaining: i64::MAX / 5, ..whole.clone() };
        assert!(plan_alert("p", &whole, &left, 0, 200_000, Timestamp(0)).is_some());
    }
}
