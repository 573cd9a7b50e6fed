//! The only reader of the wall clock. Everything else takes time as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::period::Timestamp;

/// The present moment, to the microsecond.
#[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Measures how long something takes.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub fn elapsed_ms(self) -> i64 {
        i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// The moment so far ahead, for timers.
pub fn deadline(ahead: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + ahead
}
