//! Every way not to get what was asked for. `edge` has the one table that maps them to statuses.

use crate::incoming::IncomingError;
use crate::view::View;
use blobs::UploadId;
use oci::{ErrorCode, route::RouteError};
use policy::{Caller, CannotTell, Denial, PrincipalKind, Refused};
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
    /// What an artifact policy needs could not be found out now.
    #[error("{0}")]
    CannotTell(Box<CannotTell>),
    /// Nobody says who asks, or what they show is wrong: 401 with a challenge.
    #[error("{reason}")]
    Unauthorized {
        /// In one line.
        reason: String,
    },
    /// Somebody anonymous may not, and there is a way to log in: 401 with a challenge.
    #[error("{0}")]
    LoginNeeded(Box<Denial>),
    /// No repository has this name.
    #[error("{0}")]
    NoRepository(String),
    /// What is pushed cannot be taken as it is.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with it.
        code: ErrorCode,
        /// In one line, with what to do.
        reason: String,
    },
    /// What is pushed is larger than anything of its kind may be.
    #[error("{what} is larger than {max_bytes} bytes, the most that is taken here")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// The bound.
        max_bytes: u64,
    },
    /// There is no such upload session, or it is somebody else's.
    #[error("no such upload session under this name; begin a new one by POST")]
    UploadUnknown,
    /// The session is in use by another request.
    #[error("another request is writing to this upload session")]
    UploadBusy,
    /// The bytes of a chunk do not follow those that are there.
    #[error("the chunk does not begin where the upload stands: {received_bytes} bytes are here")]
    UploadRange {
        /// The name as the client wrote it.
        asked_name: String,
        /// The session.
        id: UploadId,
        /// How many bytes it has.
        received_bytes: u64,
    },
    /// The body of the request did not come to its end.
    #[error("{0}; what came of it is kept in the upload session, if there is one")]
    Incoming(IncomingError),
    /// What is asked collides with what is there.
    #[error("{0}")]
    Conflict(String),
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

impl Refusal {
    /// Somebody anonymous who may not, and could log in, is asked to (contracts §2). Not where an
    /// artifact policy refuses: logging in would not change the artifact.
    pub(crate) fn ask_for_login(&mut self, view: &View, caller: &Caller) {
        if let Self::Denied(denial) = self
            && could_log_in(view, caller)
            && denial.is_of_access()
        {
            *self = Self::LoginNeeded(denial.clone());
        }
    }
}

/// Whether logging in could make a caller somebody else.
pub(crate) fn could_log_in(view: &View, caller: &Caller) -> bool {
    caller.principal.kind() == PrincipalKind::Anonymous && !view.providers.is_empty()
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied(denial) => Self::Denied(denial),
            Refused::CannotTell(cannot) => Self::CannotTell(cannot),
        }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Denied(Box::new(denial))
    }
}
