//! How much is asked at once and per second, so that we are never the storm.

use crate::failure::Failure;
use crate::settings::{Class, Limits};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Slack of the pace: requests that come together may go together, this much ahead of time.
const PACE_SLACK: Duration = Duration::from_millis(250);

/// The requests that may be under way at once. Work that nobody waits for gets half of them;
/// downloads leave some for what is short, so that manifests do not wait behind layers.
#[derive(Debug)]
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    background: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
    pace: Option<Pace>,
}

/// The right to have one request under way, until dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _one: OwnedSemaphorePermit,
    _background: Option<OwnedSemaphorePermit>,
    _transfer: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub(crate) fn new(limits: &Limits) -> Self {
        let connections = limits.connections.min(Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(connections)),
            background: Arc::new(Semaphore::new(connections.div_ceil(2))),
            transfers: Arc::new(Semaphore::new(connections - connections / 8)),
            pace: limits.requests_per_second.map(Pace::new),
        }
    }

    /// A slot, after a bounded wait: `patience` for who waits, less for the others.
    pub(crate) async fn take(
        &self,
        upstream: &str,
        class: Class,
        patience: Duration,
    ) -> Result<Slot, Failure> {
        let patience = patience_of(class, patience);
        let busy = || busy(upstream);
        let both = async {
            let background = match class {
                Class::Waiting => None,
                _ => Some(self.background.clone().acquire_owned().await),
            };
            let one = self.all.clone().acquire_owned().await;
            (background, one)
        };
        let (background, one) = tokio::time::timeout(patience, both).await.map_err(|_| busy())?;
        // The semaphores are never closed.
        let background = background.transpose().map_err(|_| busy())?;
        let one = one.map_err(|_| busy())?;
        Ok(Slot { _one: one, _background: background, _transfer: None })
    }

    /// A slot for a download, whose `patience` is as for [`take`](Self::take).
    pub(crate) async fn take_for_transfer(
        &self,
        upstream: &str,
        class: Class,
        patience: Duration,
    ) -> Result<Slot, Failure> {
        let deadline = Instant::now() + patience;
        let transfer = self.transfers.clone().acquire_owned();
        let transfer = tokio::time::timeout(patience_of(class, patience), transfer).await;
        let Ok(Ok(transfer)) = transfer else { return Err(busy(upstream)) };
        let left = deadline.saturating_duration_since(Instant::now());
        let slot = self.take(upstream, class, left).await?;
        Ok(Slot { _transfer: Some(transfer), ..slot })
    }

    /// Waits for this request's turn in the second.
    pub(crate) async fn pace(
        &self,
        upstream: &str,
        class: Class,
        patience: Duration,
    ) -> Result<(), Failure> {
        let Some(pace) = &self.pace else { return Ok(()) };
        match pace.reserve(Instant::now(), patience_of(class, patience)) {
            Ok(turn) => {
                tokio::time::sleep_until(turn).await;
                Ok(())
            }
            Err(wait) => {
                let text = format!("upstream {upstream}: limits.requestsPerSecond is used up");
                Err(Failure::limited(text, wait).blameless())
            }
        }
    }
}

fn busy(upstream: &str) -> Failure {
    let text = format!("upstream {upstream}: all connections allowed to it are in use");
    Failure::indeterminate(text).blameless().with_retry_after(Duration::from_secs(1))
}

fn patience_of(class: Class, patience: Duration) -> Duration {
    match class {
        Class::Waiting => patience,
        Class::Revalidation => patience / 2,
        Class::Prefetch => patience / 4,
    }
}

/// A pace of requests: the generic cell rate algorithm (ITU-T I.371), which is a token bucket that
/// keeps one time instead of a count.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    fn new(per_second: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), next: Mutex::new(None) }
    }

    /// The time of the next turn, taken; or how long it would be, if that is more than `patience`.
    fn reserve(&self, now: Instant, patience: Duration) -> Result<Instant, Duration> {
        let mut next = self.next.lock();
        let due = next.map_or(now, |due| due.max(now));
        let turn = (due.checked_sub(PACE_SLACK).unwrap_or(due)).max(now);
        let wait = turn - now;
        if wait > patience {
            return Err(wait);
        }
        *next = Some(due + self.interval);
        Ok(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn background_work_leaves_half_of_the_slots() {
        const PATIENCE: Duration = Duration::from_millis(20);
        let slots = Slots::new(&Limits { connections: 4, requests_per_second: None });
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(slots.take("u", Class::Prefetch, PATIENCE).await.unwrap());
        }
        let refused = slots.take("u", Class::Revalidation, PATIENCE).await.unwrap_err();
        assert!(refused.is_blameless() && refused.retry_after().is_some());
        for _ in 0..2 {
            held.push(slots.take("u", Class::Waiting, PATIENCE).await.unwrap());
        }
        assert!(slots.take("u", Class::Waiting, PATIENCE).await.is_err());
        drop(held);

        let slots = Slots::new(&Limits { connections: 8, requests_per_second: None });
        let mut held = Vec::new();
        for _ in 0..7 {
            held.push(slots.take_for_transfer("u", Class::Waiting, PATIENCE).await.unwrap());
        }
        assert!(slots.take_for_transfer("u", Class::Waiting, PATIENCE).await.is_err());
        slots.take("u", Class::Waiting, PATIENCE).await.unwrap();
        held.pop();
        slots.take("u", Class::Waiting, PATIENCE).await.unwrap();
    }

    #[test]
    fn the_pace_is_even_and_the_wait_bounded() {
        let pace = Pace::new(10);
        let now = Instant::now();
        let turns: Vec<_> = (0..20).map(|_| pace.reserve(now, PATIENCE)).collect();
        let waits = |turn: &Result<Instant, Duration>| turn.map(|turn| turn - now);
        assert!(turns[..3].iter().all(|turn| waits(turn) == Ok(Duration::ZERO)));
        assert_eq!(waits(&turns[5]), Ok(Duration::from_millis(250)));
        assert_eq!(waits(&turns[12]), Ok(Duration::from_millis(950)));
        assert!(turns[13..].iter().all(Result::is_err));
        let later = now + Duration::from_secs(10);
        assert_eq!(pace.reserve(later, PATIENCE), Ok(later));
    }
}
