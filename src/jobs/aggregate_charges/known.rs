//! Messages whose failure is known before they are charged: they, or the parts that failed, are not
//! charged at all (R99, D45).

use rustc_hash::FxHashMap;

use super::order::Waiting;
use crate::domain::charge::Place;
use crate::domain::product::{Catalog, ChargeOn};
use crate::store::failures::{Answers, FailedMessage, Matched, OpenFailure, OpenFailures};
use crate::store::{StoreError, Tx};

/// Failures of the messages that a run charges, by where these came in.
#[derive(Default)]
pub struct KnownFailures {
    failed: FxHashMap<Place, Failed>,
}

struct Failed {
    message: FailedMessage,
    told: Vec<Told>,
}

/// What a failure receipt tells of it.
struct Told {
    /// Where the receipt stands.
    place: Place,
    /// 0: the whole message.
    part: i64,
    units: i64,
}

impl Failed {
    /// A second source may tell the same of a message, or of a part of it, in another way: that is
    /// answered when receipts are settled.
    fn add(&mut self, told: Told) {
        let before = |known: &Told| known.part == told.part || known.part == 0 || told.part == 0;
        if !self.told.iter().any(before) {
            self.told.push(told);
        }
    }

    fn units(&self) -> i64 {
        self.told.iter().map(|told| told.units).sum()
    }
}

impl KnownFailures {
    pub async fn load(tx: &mut Tx, run_no: i64, catalog: &Catalog) -> Result<KnownFailures, StoreError> {
        let mut known = KnownFailures::default();
        let mut open = OpenFailures::default();
        loop {
            let portion = open.next(tx).await?;
            if portion.is_empty() {
                return Ok(known);
            }
            portion.into_iter().for_each(|failure| known.add(failure, run_no, catalog));
        }
    }

    fn add(&mut self, failure: OpenFailure, run_no: i64, catalog: &Catalog) {
        let Matched::One(message) = &failure.message else { return };
        if let Some(units) = counts(&failure, message, run_no, catalog) {
            let failed = self.failed.entry(message.place);
            let failed = failed.or_insert_with(|| Failed { message: message.clone(), told: Vec::new() });
            failed.add(Told { place: failure.place, part: failure.id.part, units });
        }
    }

    /// The message with the units that are still to be charged; None where it failed whole.
    pub fn rest_of(&self, message: Waiting) -> Option<Waiting> {
        if self.failed.is_empty() {
            return Some(message);
        }
        let failed = self.failed.get(&message.place()).map_or(0, Failed::units);
        (failed < message.units || failed == 0).then(|| Waiting { units: message.units - failed, ..message })
    }

    /// Notes that a message was charged less its failed parts.
    pub fn charged(&self, message: &Waiting, answers: &mut Answers) {
        if let Some(failed) = self.failed.get(&message.place()) {
            for told in &failed.told {
                answers.not_charged(&failed.message, told.place, told.part, told.units);
            }
        }
    }

    /// Notes every message that failed whole, and gives those that leave suspense by that.
    pub fn free(&self, answers: &mut Answers) -> Vec<&FailedMessage> {
        let whole = self.failed.values().filter(|failed| failed.units() == failed.message.units);
        let mut from_suspense = Vec::new();
        for failed in whole {
            for told in &failed.told {
                answers.not_charged(&failed.message, told.place, told.part, told.units);
            }
            from_suspense.extend(failed.message.in_suspense.then_some(&failed.message));
        }
        from_suspense
    }
}

/// How many units of a message that is about to be charged a failure is about; None where it changes
/// nothing now.
fn counts(failure: &OpenFailure, message: &FailedMessage, run_no: i64, catalog: &Catalog) -> Option<i64> {
    // A batch that came in after the run took its own is for the next run, and its failures, too.
    let now_charged = message.in_suspense || message.charged_by == Some(run_no);
    let billable = matches!(message.disposition.as_deref(), None | Some("too_long"));
    let on_receipt = catalog.get(&message.product).is_some_and(|p| p.charge_on == ChargeOn::Receipt);
    let in_time = failure.reported_in_time(message) && failure.received_in_time(message);
    if !(now_charged && billable && on_receipt && in_time) || failure.contradicted {
        return None;
    }
    match failure.parts {
        None => Some(message.units),
        Some(parts) => (parts == message.units).then_some(1),
    }
}
