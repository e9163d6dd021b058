//! The monotonic time by which limits, tokens and circuits run; tests move it by hand.

/// Now.
#[cfg(not(test))]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[cfg(test)]
pub(crate) use moved::{advance, now};

#[cfg(test)]
mod moved {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    thread_local! {
        /// How far this test's time is ahead. A test and the tasks it spawns share one thread.
        static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    pub(crate) fn now() -> Instant {
        Instant::now() + AHEAD.get()
    }

    pub(crate) fn advance(by: Duration) {
        AHEAD.set(AHEAD.get() + by);
    }
}
