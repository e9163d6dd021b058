//! How much may still be asked: the registry's own rate limit, and our budget for retries.

use crate::clock;
use crate::probe::RateLimit;
use crate::settings::Class;
use http::HeaderMap;
use parking_lot::Mutex;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Below this share of the limit nothing is prefetched any more.
const PREFETCH_SHARE: f64 = 0.5;

/// Below this share of the limit nothing is revalidated any more.
const REVALIDATION_SHARE: f64 = 0.2;

/// The window of a limit that does not name one.
const WINDOW_DEFAULT_SECONDS: u64 = 60;

/// What a registry said of its rate limit (Docker Hub: `ratelimit-limit: 100;w=21600`, the form of
/// the IETF draft "RateLimit header fields").
#[derive(Debug, Default)]
pub(crate) struct RateBudget(Mutex<Option<(RateLimit, Instant)>>);

impl RateBudget {
    /// Reads an answer's headers; what they say, if they say anything.
    pub(crate) fn observe(&self, headers: &HeaderMap) -> Option<RateLimit> {
        let value = |name: &str| headers.get(name)?.to_str().ok().and_then(amount);
        let (limit, window) = value("ratelimit-limit")?;
        let (remaining, other_window) = value("ratelimit-remaining")?;
        let window_seconds = window.or(other_window).unwrap_or(WINDOW_DEFAULT_SECONDS);
        let said = RateLimit { limit, remaining: remaining.min(limit), window_seconds };
        *self.0.lock() = Some((said, clock::now()));
        Some(said)
    }

    /// What was said last.
    pub(crate) fn last(&self) -> Option<RateLimit> {
        self.0.lock().map(|(said, _)| said)
    }

    /// Whether `class` may go on; if not, what stands in the way.
    pub(crate) fn allows(&self, class: Class) -> Result<(), RateLimit> {
        let mut known = self.0.lock();
        let Some((said, at)) = *known else { return Ok(()) };
        if clock::now().saturating_duration_since(at) >= Duration::from_secs(said.window_seconds) {
            // The window has passed: what was said means nothing now.
            *known = None;
            return Ok(());
        }
        let share_needed = match class {
            Class::Waiting => return Ok(()),
            Class::Revalidation => REVALIDATION_SHARE,
            Class::Prefetch => PREFETCH_SHARE,
        };
        if said.limit > 0 && (said.remaining as f64) < share_needed * said.limit as f64 {
            return Err(said);
        }
        Ok(())
    }
}

/// `100;w=21600` as (100, 21600).
fn amount(text: &str) -> Option<(u64, Option<u64>)> {
    let (amount, parameters) = text.split_once(';').unwrap_or((text, ""));
    // The draft allows a list of policies after the first number.
    let amount = amount.split(',').next().unwrap_or_default().trim().parse().ok()?;
    let mut parameters = parameters.split([';', ',']).map(str::trim);
    let window = parameters.find_map(|text| text.strip_prefix("w=")?.parse().ok());
    Some((amount, window.filter(|seconds| (1..=7 * 86_400).contains(seconds))))
}

/// A budget that keeps retries a small share of all requests, so that an outage is not answered
/// with a multiple of the load (Google SRE book, "Handling Overload": per-client retry budget).
#[derive(Debug)]
pub(crate) struct RetryBudget(Mutex<f64>);

impl RetryBudget {
    /// Retries that may come in a row after a quiet time.
    const MAX: f64 = 10.0;

    /// What each request adds.
    const SHARE: f64 = 0.1;

    pub(crate) fn new() -> Self {
        Self(Mutex::new(Self::MAX))
    }

    /// A request that is no retry is sent.
    pub(crate) fn deposit(&self) {
        let mut tokens = self.0.lock();
        *tokens = (*tokens + Self::SHARE).min(Self::MAX);
    }

    /// Whether a retry may be sent.
    pub(crate) fn withdraw(&self) -> bool {
        let mut tokens = self.0.lock();
        let has_one = *tokens >= 1.0;
        if has_one {
            *tokens -= 1.0;
        }
        has_one
    }
}

/// Somewhere between half of `duration` and all of it, so that many who wait do not come back at
/// once.
pub(crate) fn jittered(duration: Duration) -> Duration {
    let random = RandomState::new().hash_one(0u8);
    let share = 0.5 + 0.5 * (random >> 11) as f64 / (1u64 << 53) as f64;
    duration.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(limit: &str, remaining: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit-limit", limit.parse().unwrap());
        headers.insert("ratelimit-remaining", remaining.parse().unwrap());
        headers
    }

    #[test]
    fn reads_the_forms_there_are() {
        let said = RateBudget::default().observe(&headers("100;w=21600", "76;w=21600"));
        assert_eq!(said, Some(RateLimit { limit: 100, remaining: 76, window_seconds: 21600 }));
        assert_eq!(amount("10, 10;w=1, 50;w=60"), Some((10, Some(1))));
        assert_eq!(amount("5"), Some((5, None)));
        assert_eq!(amount("many"), None);
        assert_eq!(amount("1;w=0"), Some((1, None)));
        assert_eq!(RateBudget::default().observe(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn background_work_stops_first() {
        let budget = RateBudget::default();
        let may = |remaining: &str| {
            budget.observe(&headers("100;w=60", remaining));
            [Class::Waiting, Class::Revalidation, Class::Prefetch]
                .map(|class| budget.allows(class).is_ok())
        };
        assert_eq!(may("50"), [true, true, true]);
        assert_eq!(may("49"), [true, true, false]);
        assert_eq!(may("19"), [true, false, false]);
        assert_eq!(may("0"), [true, false, false]);
        clock::advance(Duration::from_secs(61));
        assert!(budget.allows(Class::Prefetch).is_ok());
    }

    #[test]
    fn retries_stay_a_share_of_requests() {
        let budget = RetryBudget::new();
        let sent = (0..1000).filter(|_| budget.withdraw()).count();
        assert_eq!(sent, 10);
        for _ in 0..30 {
            budget.deposit();
        }
        let sent = (0..1000).filter(|_| budget.withdraw()).count();
        assert!((2..=3).contains(&sent), "{sent}");
    }

    #[test]
    fn jitter_stays_in_its_half() {
        let second = Duration::from_secs(1);
        let all: Vec<Duration> = (0..50).map(|_| jittered(second)).collect();
        assert!(all.iter().all(|d| *d >= second / 2 && *d <= second));
        assert!(all.iter().any(|d| *d != all[0]));
    }
}
