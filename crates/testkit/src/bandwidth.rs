//! A bandwidth limit shared by many connections: a token bucket kept as a clock.
//!
//! Every sender books the time its bytes take on the shared line and sleeps until its booking ends.
//! Bookings are served in the order they were made, so that connections share the line evenly.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a line may have been idle and still send without waiting.
const BURST: Duration = Duration::from_millis(5);
/// What one booking may take of the line, so that waits stay fine-grained.
const SLICE: Duration = Duration::from_millis(2);

/// A line of some bytes per second. Zero means no limit.
#[derive(Debug, Default)]
pub struct Bandwidth {
    bytes_per_second: AtomicU64,
    free_at: Mutex<Option<Instant>>,
}

impl Bandwidth {
    /// A line of `bytes_per_second`; 0 for no limit.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: AtomicU64::new(bytes_per_second), free_at: Mutex::new(None) }
    }

    /// Changes the rate from the next booking on; 0 for no limit.
    pub fn set(&self, bytes_per_second: u64) {
        self.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    /// How much to send at once: about two milliseconds' worth, or 1 MiB on an unlimited line.
    pub fn piece_bytes(&self) -> u64 {
        match self.bytes_per_second.load(Ordering::Relaxed) {
            0 => 1 << 20,
            rate => (rate * SLICE.as_millis() as u64 / 1000).clamp(1, 1 << 20),
        }
    }

    /// Waits until `bytes` may be sent.
    pub async fn take(&self, bytes: u64) {
        let rate = self.bytes_per_second.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let until = self.book(bytes, rate, Instant::now());
        tokio::time::sleep_until(until.into()).await;
    }

    fn book(&self, bytes: u64, rate: u64, now: Instant) -> Instant {
        let mut free_at = self.free_at.lock();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let start = free_at.map_or(now, |at| at.max(earliest));
        let end =
            start + Duration::from_nanos((bytes as u128 * 1_000_000_000 / rate as u128) as u64);
        *free_at = Some(end);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bookings_add_up_to_the_rate_whatever_their_sizes() {
        let line = Bandwidth::new(1_000_000);
        let start = Instant::now();
        let mut end = start;
        for bytes in [1, 999, 4000, 95_000, 100_000, 800_000] {
            end = line.book(bytes, 1_000_000, start);
        }
        assert_eq!(end - start, Duration::from_secs(1));
    }

    #[test]
    fn an_idle_line_saves_up_no_more_than_the_burst() {
        let line = Bandwidth::new(1000);
        let start = Instant::now();
        line.book(1, 1000, start);
        let later = start + Duration::from_secs(60);
        assert_eq!(line.book(100, 1000, later), later - BURST + Duration::from_millis(100));
    }

    #[test]
    fn pieces_are_small_on_a_slow_line() {
        assert_eq!(Bandwidth::new(0).piece_bytes(), 1 << 20);
        assert_eq!(Bandwidth::new(100_000_000).piece_bytes(), 200_000);
        assert_eq!(Bandwidth::new(10).piece_bytes(), 1);
    }
}
