//! Which messages a charge is for.

use super::Place;

/// The messages that a charge pays for, from the first to the last in order of arrival. Only these
/// two may be paid in part by the charges beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: Place,
    /// Units of the first message that this charge pays.
    pub first_units: i64,
    pub last: Place,
    pub last_units: i64,
}

impl Span {
    /// Takes in more units: of its last message, where two tiers have one price, or of a later one.
    pub(super) fn extend(&mut self, place: Place, units: i64) {
        if self.first == place {
            self.first_units += units;
        }
        self.last_units = if self.last == place { self.last_units + units } else { units };
        self.last = place;
    }
}
