//! Which endpoints are worth asking: a circuit breaker each, and obedience to "too many requests".
//!
//! The breaker is Nygard's (Release It!, "Circuit Breaker"): after some failures in a row nobody
//! waits for a dead endpoint any more, and one request at a time finds out whether it is back.

use crate::budget::jittered;
use crate::clock;
use crate::failure::Failure;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use telemetry::UpstreamMetrics;

/// Failures in a row that open a circuit.
const FAILURES_TO_OPEN: u32 = 5;

/// How long a circuit is open the first time; doubled with each probe that fails.
const OPEN_FIRST: Duration = Duration::from_secs(1);

/// Longest time without a probe.
const OPEN_MAX: Duration = Duration::from_secs(60);

/// When every endpoint is given up and someone waits, one may be probed this often all the same: a
/// client should not be sent away for a minute when the registry has come back.
const EAGER_INTERVAL: Duration = Duration::from_secs(1);

/// Longest `Retry-After` that is obeyed; a registry's mistake must not shut it out for a day.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// What "too many requests" without `Retry-After` means.
pub(crate) const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(30);

/// How an endpoint is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointHealth {
    /// `scheme://host[:port]`.
    pub endpoint: String,
    /// Whether it is asked at all.
    pub circuit: Circuit,
    /// How long it will not be asked because it said "too many requests".
    pub throttled_for: Option<Duration>,
    /// The last thing that went wrong, and when.
    pub last_problem: Option<(Timestamp, String)>,
    /// When it last gave an answer that counts.
    pub last_ok: Option<Timestamp>,
}

/// The state of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// Asked as usual.
    Closed,
    /// Not asked for this long.
    Open {
        /// Time left.
        remaining: Duration,
    },
    /// One request is on its way to see whether it is back, or may go now.
    HalfOpen,
}

/// The number of open circuits of one upstream, kept where it is shown.
#[derive(Debug)]
pub(crate) struct OpenCircuits {
    count: AtomicU64,
    metrics: Arc<UpstreamMetrics>,
}

impl OpenCircuits {
    pub(crate) fn new(metrics: Arc<UpstreamMetrics>) -> Self {
        Self { count: AtomicU64::new(0), metrics }
    }

    fn opened(&self) {
        self.metrics.set_open_circuits(self.count.fetch_add(1, Ordering::Relaxed) + 1);
    }

    fn closed(&self) {
        self.metrics.set_open_circuits(self.count.fetch_sub(1, Ordering::Relaxed) - 1);
    }
}

/// What is known of one endpoint's health.
#[derive(Debug)]
pub(crate) struct Health {
    endpoint: String,
    state: Mutex<State>,
    open_circuits: Arc<OpenCircuits>,
}

#[derive(Debug, Default)]
struct State {
    failures_in_a_row: u32,
    open: Option<Open>,
    /// Until when nothing is asked.
    throttled: Option<Instant>,
    /// Until when nothing is asked that counts against the pull limit.
    pulls_throttled: Option<Instant>,
    last_problem: Option<(Timestamp, Failure)>,
    last_ok: Option<Timestamp>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    /// The wait that `until` came from.
    interval: Duration,
    is_probing: bool,
    last_probe: Instant,
}

/// What a request is, as far as limits care.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand {
    /// Whether it counts against the registry's pull limit.
    pub(crate) is_counted: bool,
    /// Whether a probe may go before its time.
    pub(crate) is_eager: bool,
}

impl Health {
    pub(crate) fn new(endpoint: String, open_circuits: Arc<OpenCircuits>) -> Arc<Self> {
        Arc::new(Self { endpoint, state: Mutex::default(), open_circuits })
    }

    /// Leave to ask, or why not.
    pub(crate) fn admit(self: &Arc<Self>, errand: Errand) -> Result<Admission, Failure> {
        let now = clock::now();
        let mut state = self.state.lock();
        if let Some(left) = state.throttled_for(errand.is_counted, now) {
            let seconds = left.as_secs().max(1);
            let text = format!("{} (asked again in {seconds} s)", state.last_reason());
            return Err(Failure::limited(text, left));
        }
        let last_reason = state.last_reason();
        let Some(open) = &mut state.open else {
            return Ok(Admission::new(self, false));
        };
        let is_due = now >= open.until
            || (errand.is_eager && now >= open.last_probe + EAGER_INTERVAL.min(open.interval));
        if open.is_probing || !is_due {
            let left = open.until.saturating_duration_since(now).max(EAGER_INTERVAL);
            let text = format!("{last_reason} (repeatedly; asked again in {} s)", left.as_secs());
            return Err(Failure::indeterminate(text).blameless().with_retry_after(left));
        }
        open.is_probing = true;
        open.last_probe = now;
        Ok(Admission::new(self, true))
    }

    /// The registry said "too many requests": nothing more until `after` has passed.
    pub(crate) fn throttle(&self, after: Duration, only_pulls: bool, failure: &Failure) {
        let until = clock::now() + after.min(RETRY_AFTER_MAX);
        let mut state = self.state.lock();
        let target = if only_pulls { &mut state.pulls_throttled } else { &mut state.throttled };
        *target = Some(target.map_or(until, |known| known.max(until)));
        state.last_problem = Some((Timestamp::now(), failure.clone()));
    }

    fn succeeded(&self) {
        let mut state = self.state.lock();
        state.failures_in_a_row = 0;
        state.last_ok = Some(Timestamp::now());
        if state.open.take().is_some() {
            tracing::info!(endpoint = %self.endpoint, "upstream endpoint answers again");
            self.open_circuits.closed();
        }
    }

    fn failed(&self, failure: &Failure, was_probe: bool) {
        let now = clock::now();
        let mut state = self.state.lock();
        state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
        state.last_problem = Some((Timestamp::now(), failure.clone()));
        let is_enough = state.failures_in_a_row >= FAILURES_TO_OPEN;
        match &mut state.open {
            Some(open) if was_probe => {
                open.interval = (open.interval * 2).min(OPEN_MAX);
                open.until = now + jittered(open.interval);
                open.is_probing = false;
            }
            // Begun before the circuit opened: says nothing new.
            Some(_) => {}
            None if is_enough => {
                let until = now + jittered(OPEN_FIRST);
                state.open =
                    Some(Open { until, interval: OPEN_FIRST, is_probing: false, last_probe: now });
                self.open_circuits.opened();
                tracing::warn!(endpoint = %self.endpoint, reason = %failure, "upstream endpoint given up for now");
            }
            None => {}
        }
    }

    /// A transfer from it broke off, which no admission is around to tell.
    pub(crate) fn broke_off(&self, failure: &Failure) {
        self.failed(failure, false);
    }

    /// Whether it is given up for now.
    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().open.is_some()
    }

    fn abandoned(&self) {
        if let Some(open) = &mut self.state.lock().open {
            open.is_probing = false;
        }
    }

    /// The state as people see it.
    pub(crate) fn snapshot(&self) -> EndpointHealth {
        let now = clock::now();
        let state = self.state.lock();
        let circuit = match &state.open {
            None => Circuit::Closed,
            Some(open) if open.is_probing || now >= open.until => Circuit::HalfOpen,
            Some(open) => Circuit::Open { remaining: open.until - now },
        };
        let problem = state.last_problem.as_ref();
        EndpointHealth {
            endpoint: self.endpoint.clone(),
            circuit,
            throttled_for: state.throttled_for(true, now),
            last_problem: problem.map(|(at, failure)| (*at, failure.reason().to_owned())),
            last_ok: state.last_ok,
        }
    }
}

impl State {
    fn throttled_for(&self, is_counted: bool, now: Instant) -> Option<Duration> {
        let pulls = self.pulls_throttled.filter(|_| is_counted);
        let until = self.throttled.max(pulls)?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// What went wrong last, without what it was asked for: that may be another's private name.
    fn last_reason(&self) -> String {
        let reason = self.last_problem.as_ref().map_or("", |(_, failure)| failure.reason());
        reason.split(" for ").next().unwrap_or(reason).to_owned()
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        // The gauge outlives a revision that drops this upstream and its state.
        if self.state.get_mut().open.is_some() {
            self.open_circuits.closed();
        }
    }
}

/// Leave to send one request. What came of it must be told; if nothing is, it counts as never sent.
#[derive(Debug)]
pub(crate) struct Admission {
    health: Arc<Health>,
    is_probe: bool,
    is_told: bool,
}

impl Admission {
    fn new(health: &Arc<Health>, is_probe: bool) -> Self {
        Self { health: health.clone(), is_probe, is_told: false }
    }

    /// The endpoint gave an answer that counts, good or bad.
    pub(crate) fn succeeded(mut self) {
        self.is_told = true;
        self.health.succeeded();
    }

    /// The endpoint is in trouble.
    pub(crate) fn failed(mut self, failure: &Failure) {
        self.is_told = true;
        self.health.failed(failure, self.is_probe);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.is_probe && !self.is_told {
            self.health.abandoned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Errand = Errand { is_counted: true, is_eager: false };
    const EAGER: Errand = Errand { is_counted: true, is_eager: true };

    fn health() -> Arc<Health> {
        let metrics = telemetry::Metrics::new(Default::default(), "test", None).upstream("test");
        Health::new("http://h".into(), Arc::new(OpenCircuits::new(metrics)))
    }

    fn fail(health: &Arc<Health>, times: usize) {
        for _ in 0..times {
            health.admit(USUAL).unwrap().failed(&Failure::indeterminate("it is down"));
        }
    }

    #[tokio::test]
    async fn five_failures_open_it_and_one_probe_closes_it() {
        let health = health();
        fail(&health, 4);
        health.admit(USUAL).unwrap().succeeded();
        fail(&health, 5);
        let refused = health.admit(USUAL).unwrap_err();
        assert!(refused.reason().contains("it is down"), "{refused}");
        assert!(refused.retry_after().is_some());
        clock::advance(OPEN_FIRST * 2);
        let probe = health.admit(USUAL).unwrap();
        assert_eq!(health.snapshot().circuit, Circuit::HalfOpen);
        assert!(health.admit(USUAL).is_err(), "one probe at a time");
        probe.succeeded();
        assert_eq!(health.snapshot().circuit, Circuit::Closed);
        health.admit(USUAL).unwrap().succeeded();
    }

    #[tokio::test]
    async fn what_one_asked_for_is_not_told_to_another() {
        let health = health();
        let text = "upstream test: h answers 429 for manifests/1 of corp/secret";
        let failure = Failure::limited(text, Duration::from_secs(30));
        health.throttle(Duration::from_secs(30), false, &failure);
        let refused = health.admit(USUAL).unwrap_err();
        assert!(refused.reason().contains("answers 429 (asked again in "), "{refused}");
        assert!(!refused.reason().contains("secret"), "{refused}");
    }

    #[tokio::test]
    async fn the_wait_doubles_up_to_a_minute() {
        let health = health();
        fail(&health, 5);
        for _ in 0..10 {
            clock::advance(OPEN_MAX);
            fail(&health, 1);
        }
        let Circuit::Open { remaining } = health.snapshot().circuit else { panic!() };
        assert!(remaining <= OPEN_MAX && remaining > OPEN_MAX / 4, "{remaining:?}");
    }

    #[tokio::test]
    async fn a_probe_that_is_dropped_makes_room_for_another() {
        let health = health();
        fail(&health, 5);
        clock::advance(OPEN_FIRST * 2);
        drop(health.admit(USUAL).unwrap());
        health.admit(USUAL).unwrap().succeeded();
        assert_eq!(health.snapshot().circuit, Circuit::Closed);
    }

    #[tokio::test]
    async fn who_waits_may_probe_early_but_not_all_the_time() {
        let health = health();
        fail(&health, 5);
        for _ in 0..8 {
            clock::advance(OPEN_MAX);
            fail(&health, 1);
        }
        assert!(health.admit(EAGER).is_err(), "the last probe was just now");
        clock::advance(EAGER_INTERVAL);
        assert!(health.admit(USUAL).is_err());
        let probe = health.admit(EAGER).unwrap();
        assert!(health.admit(EAGER).is_err());
        probe.succeeded();
    }

    #[tokio::test]
    async fn too_many_requests_is_obeyed_for_what_it_counts() {
        let health = health();
        let failure = Failure::limited("429", Duration::from_secs(40));
        health.throttle(Duration::from_secs(40), true, &failure);
        let refused = health.admit(USUAL).unwrap_err();
        assert!(refused.is_rate_limit());
        assert!(refused.retry_after().unwrap() > Duration::from_secs(30));
        health.admit(Errand { is_counted: false, is_eager: false }).unwrap().succeeded();
        clock::advance(Duration::from_secs(41));
        health.admit(USUAL).unwrap().succeeded();
        health.throttle(Duration::from_secs(86_400), false, &failure);
        assert!(health.admit(Errand { is_counted: false, is_eager: false }).is_err());
        clock::advance(RETRY_AFTER_MAX + Duration::from_secs(1));
        health.admit(USUAL).unwrap().succeeded();
    }
}
