//! Which endpoints are worth asking.

use jiff::Timestamp;
use std::time::Duration;

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
