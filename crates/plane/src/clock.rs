//! The one source of wall-clock time: freshness and expiry are judged by it, and tests move it.

use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The time `age` before another; as far back as times go, if that is further.
pub(crate) fn before(time: Timestamp, age: Duration) -> Timestamp {
    time.checked_sub(age).unwrap_or(Timestamp::MIN)
}

/// Where the time comes from.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until it is moved, beginning now. For tests.
    pub fn manual() -> Self {
        Self(Some(Arc::new(AtomicI64::new(Timestamp::now().as_microsecond()))))
    }

    /// A clock that stands still at a time until it is moved.
    pub fn standing_at(time: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicI64::new(time.as_microsecond()))))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            None => Timestamp::now(),
            Some(micros) => Timestamp::from_microsecond(micros.load(Ordering::Relaxed))
                .unwrap_or(Timestamp::MAX),
        }
    }

    /// Moves a manual clock forward; a system clock goes its own way.
    pub fn advance(&self, by: Duration) {
        if let Some(micros) = &self.0 {
            let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            micros.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// Time passed since `then`; zero if the clock was set back meanwhile.
    pub fn since(&self, then: Timestamp) -> Duration {
        let micros = self.now().as_microsecond().saturating_sub(then.as_microsecond());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}
