//! Every way not to get what was asked for. `edge` has the one table that maps them to statuses.

use oci::{ErrorCode, route::RouteError};
use policy::Denial;
use std::time::Duration;

/// A negative answer. Its `Display` is the one line that people see.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The path is none of the API's, or a name, tag or digest in it is malformed.
    #[error("{0}")]
    Route(RouteError),
    /// A parameter of the query cannot be used.
    #[error("{0}")]
    Query(String),
    /// The endpoint exists and does not take this method.
    #[error("this endpoint does not take this method; it takes {allow}")]
    Method {
        /// For the `Allow` header.
        allow: &'static str,
    },
    /// Access or policy says no.
    #[error("{0}")]
    Denied(Box<Denial>),
    /// No repository has this name.
    #[error("{0}")]
    NoRepository(String),
    /// A remote repository takes no pushes, uploads or deletes.
    #[error("{0}")]
    Unsupported(String),
    /// Authoritatively not there.
    #[error("{reason}")]
    Absent {
        /// What is not there.
        code: ErrorCode,
        /// Who says so.
        reason: String,
    },
    /// The upstream refuses us; no decision of this plane.
    #[error("{0}")]
    UpstreamDenied(String),
    /// It cannot be told now whether it is there.
    #[error("{reason}")]
    Indeterminate {
        /// What happened, naming the upstream.
        reason: String,
        /// When to ask again.
        retry_after: Option<Duration>,
        /// The upstream's rate limit is spent: 429 rather than 503.
        is_rate_limit: bool,
    },
    /// Our own fault.
    #[error("{0}")]
    Internal(String),
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Denied(Box::new(denial))
    }
}
