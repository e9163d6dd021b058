//! The way through an upstream's endpoints: in order, the next one only when nothing is known, a
//! second round only where that may help and the retry budget allows it.

use crate::budget::jittered;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::health::{Admission, Errand};
use crate::request::Ask;
use crate::settings::Class;
use crate::upstream::Shared;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use telemetry::UpstreamOutcome;
use tokio::time::Instant;

/// No attempt begins when this many times `firstByte` have passed: whoever waits has had enough.
const PATIENCE_FACTOR: u32 = 3;

/// Wait before the second round, jittered.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// One request on its way through the endpoints.
pub(crate) struct Tour<'a> {
    shared: &'a Shared,
    class: Class,
    is_counted: bool,
    order: VecDeque<Arc<Endpoint>>,
    /// Where a second attempt may help.
    again: VecDeque<Arc<Endpoint>>,
    is_second_round: bool,
    deadline: Instant,
    failures: Vec<Failure>,
}

/// Leave to ask one endpoint.
pub(crate) struct Visit {
    pub(crate) endpoint: Arc<Endpoint>,
    admission: Admission,
    started: Instant,
}

impl<'a> Tour<'a> {
    /// A tour that begins with the endpoint at `first` and goes around.
    pub(crate) fn new(shared: &'a Shared, ask: &Ask, first: usize) -> Self {
        shared.retries.deposit();
        let mut order: VecDeque<_> = shared.endpoints.iter().cloned().collect();
        let count = order.len();
        order.rotate_left(first % count.max(1));
        let deadline = Instant::now() + shared.settings.timeouts.first_byte * PATIENCE_FACTOR;
        Self {
            shared,
            class: ask.class,
            is_counted: ask.is_counted,
            order,
            again: VecDeque::new(),
            is_second_round: false,
            deadline,
            failures: Vec::new(),
        }
    }

    /// The next endpoint to ask; the failure to tell when there is none left.
    pub(crate) async fn next(&mut self) -> Result<Visit, Failure> {
        loop {
            let Some(endpoint) = self.order.pop_front() else {
                if self.begin_second_round() {
                    tokio::time::sleep(jittered(RETRY_WAIT)).await;
                    continue;
                }
                return Err(self.told());
            };
            if !self.failures.is_empty() && Instant::now() >= self.deadline {
                return Err(self.told());
            }
            if let Err(said) = endpoint.budget.allows(self.class) {
                let text = format!(
                    "{}: {} of {} requests are left in this window; they are kept for who waits",
                    endpoint.label(),
                    said.remaining,
                    said.limit
                );
                let wait = Duration::from_secs(said.window_seconds.min(15 * 60));
                self.failures.push(Failure::limited(text, wait).blameless());
                continue;
            }
            let is_eager = self.class == Class::Waiting && self.shared.all_are_open();
            match endpoint.health.admit(Errand { is_counted: self.is_counted, is_eager }) {
                Ok(admission) => return Ok(Visit { endpoint, admission, started: Instant::now() }),
                Err(failure) => self.failures.push(failure),
            }
        }
    }

    /// What came of a visit when nothing good did. `Err` is final: the endpoint's word stands.
    pub(crate) fn failed(&mut self, visit: Visit, failure: Failure) -> Result<(), Failure> {
        let metrics = &self.shared.metrics;
        metrics.request(failure.label(), self.class.label(), visit.started.elapsed());
        if !failure.is_indeterminate() {
            visit.admission.succeeded();
            return Err(failure);
        }
        tracing::debug!(reason = %failure, "upstream attempt failed");
        if failure.is_blameless() {
            // Dropping the admission tells nothing of the endpoint.
        } else if failure.is_rate_limit() {
            visit.admission.succeeded();
        } else {
            visit.admission.failed(&failure);
            if failure.is_transient() && !self.is_second_round {
                self.again.push_back(visit.endpoint);
            }
        }
        self.failures.push(failure);
        Ok(())
    }

    /// The endpoint had it; `latency` is the time to the head of its answer.
    pub(crate) fn found(&self, visit: Visit, latency: Duration) -> Arc<Endpoint> {
        self.shared.metrics.request(UpstreamOutcome::Found, self.class.label(), latency);
        visit.admission.succeeded();
        visit.endpoint
    }

    /// A second round asks only the endpoints that failed quickly, and only for someone who waits.
    fn begin_second_round(&mut self) -> bool {
        let may = !self.is_second_round
            && self.class == Class::Waiting
            && !self.again.is_empty()
            && Instant::now() + RETRY_WAIT < self.deadline
            && self.shared.retries.withdraw();
        if may {
            self.is_second_round = true;
            self.order = std::mem::take(&mut self.again);
        }
        may
    }

    /// What to tell of all that failed: a limit, which names its end, before anything else, then
    /// the last; with the others behind it.
    fn told(&self) -> Failure {
        let limited = self.failures.iter().find(|failure| failure.is_rate_limit());
        let Some(chosen) = limited.or(self.failures.last()) else {
            return Failure::indeterminate("no endpoint to ask");
        };
        let others = self.failures.iter().map(Failure::reason);
        chosen.clone().told_as(without_repeats(chosen.reason(), others))
    }
}

/// `first`, and behind it what the others say besides.
fn without_repeats<'f>(first: &str, others: impl Iterator<Item = &'f str>) -> String {
    let mut text = first.to_owned();
    for other in others {
        // An endpoint that is not asked for a while repeats why, with a figure that changes.
        let sentence = other.rfind(" (").filter(|at| other[*at..].contains("asked again in "));
        if !text.contains(&other[..sentence.unwrap_or(other.len())]) {
            text.push_str("; before that: ");
            text.push_str(other);
        }
    }
    text
}

impl Shared {
    fn all_are_open(&self) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.health.is_open())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_twice() {
        let down = "a: cannot connect";
        let others =
            [down, "a: cannot connect (repeatedly; asked again in 4 s)", "b: 500", "b: 500"];
        let told = without_repeats(
            "a: cannot connect (repeatedly; asked again in 3 s)",
            others.into_iter(),
        );
        assert_eq!(told, "a: cannot connect (repeatedly; asked again in 3 s); before that: b: 500");
    }
}
