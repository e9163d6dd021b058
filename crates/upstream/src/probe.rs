//! What `lockgate doctor` asks of an upstream.

use jiff::Timestamp;

/// What a look at one endpoint found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointProbe {
    /// `scheme://host[:port]`.
    pub endpoint: String,
    /// Whether it answered as a registry does.
    pub is_reachable: bool,
    /// End of the server certificate it showed, for https.
    pub certificate_not_after: Option<Timestamp>,
    /// What its clock says: the `Date` header of its answer, by which ours is judged.
    pub clock: Option<Timestamp>,
    /// One for each credential; one for anonymous use when there is none.
    pub credentials: Vec<CredentialProbe>,
    /// What it says of its rate limit.
    pub rate_limit: Option<RateLimit>,
    /// What is wrong, and what to do.
    pub problems: Vec<Problem>,
}

/// Whether one credential is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialProbe {
    /// Its prefix, `*` for the empty one; `None` for anonymous.
    pub scope: Option<String>,
    /// Whether the registry or its token service took it.
    pub is_accepted: bool,
}

/// A rate limit in requests per window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per window.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
    /// The window in seconds.
    pub window_seconds: u64,
}

/// Something wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, in one line.
    pub what: String,
    /// What to do, in one line.
    pub remedy: String,
}
