//! The values labels can have: closed sets, so that series are bounded and resolved by index.

/// A closed set of label values.
pub(super) trait Label: Copy {
    /// The values, in the order of the enum's variants.
    const VALUES: &'static [&'static str];

    /// The place of this value in [`Self::VALUES`].
    fn index(self) -> usize;
}

/// Declares label enums, keeping variants and their texts in one list.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl Label for $name {
            const VALUES: &'static [&'static str] = &[$($text,)+];

            fn index(self) -> usize {
                self as usize
            }
        }

        impl $name {
            /// The value as it stands in metrics and logs.
            pub fn as_str(self) -> &'static str {
                Self::VALUES[self as usize]
            }
        }
    )+};
}

labels! {
    /// The kind of method.
    MethodClass {
        /// GET.
        Get = "get",
        /// HEAD.
        Head = "head",
        /// POST, PUT, PATCH, DELETE.
        Write = "write",
        /// Any other.
        Other = "other",
    }

    /// What part of the surface a request is for.
    Route {
        /// `/v2/` itself.
        Root = "root",
        /// A manifest.
        Manifest = "manifest",
        /// A blob.
        Blob = "blob",
        /// A list of tags.
        Tags = "tags",
        /// A list of referrers.
        Referrers = "referrers",
        /// Tokens.
        Token = "token",
        /// The list of repositories.
        Catalog = "catalog",
        /// An upload.
        Upload = "upload",
        /// The management API.
        Api = "api",
        /// Health and readiness.
        Health = "health",
        /// This.
        Metrics = "metrics",
        /// Anything else.
        Other = "other",
    }

    /// The class of an HTTP status.
    StatusClass {
        /// 1xx.
        Informational = "1xx",
        /// 2xx.
        Success = "2xx",
        /// 3xx.
        Redirection = "3xx",
        /// 4xx.
        ClientError = "4xx",
        /// 5xx.
        ServerError = "5xx",
    }

    /// What came of a request.
    Outcome {
        /// Served from the store, fresh.
        Hit = "hit",
        /// Fetched for this request.
        Miss = "miss",
        /// Served while another request's fetch was running.
        Joined = "joined",
        /// Served from the store although no longer fresh.
        Stale = "stale",
        /// Served from the store after asking the upstream.
        Revalidated = "revalidated",
        /// Fetched and passed on, but not kept.
        Uncached = "uncached",
        /// Authoritatively absent.
        Absent = "absent",
        /// Refused by policy, or by the upstream.
        Denied = "denied",
        /// The request makes no sense.
        Invalid = "invalid",
        /// Cannot be told now: upstream trouble.
        Indeterminate = "indeterminate",
        /// Our own fault.
        Failed = "failed",
        /// The client left before the end.
        Cancelled = "cancelled",
        /// Answered without artifacts.
        Ok = "ok",
    }

    /// Where served artifact bytes came from (RFC 9211).
    CacheStatus {
        /// The store, fresh.
        Hit = "hit",
        /// The upstream.
        Miss = "miss",
        /// A fill that was already running.
        Joined = "joined",
        /// The store, not fresh.
        Stale = "stale",
        /// The store, after asking the upstream.
        Revalidated = "revalidated",
        /// The upstream, without being kept.
        Uncached = "uncached",
        /// No artifact at all.
        None = "none",
    }

    /// How a fill ended.
    FillResult {
        /// Verified and kept.
        Complete = "complete",
        /// The bytes were not those of the digest, or not as many.
        Mismatch = "mismatch",
        /// The upstream failed, and retries with it.
        Failed = "failed",
        /// Nobody wanted it any more; kept for resumption.
        Parked = "parked",
        /// Verified, but not kept: no space.
        Unkept = "unkept",
    }

    /// What an upstream said.
    UpstreamOutcome {
        /// It has it.
        Found = "found",
        /// It does not, for certain.
        Absent = "absent",
        /// It refused.
        Denied = "denied",
        /// Anything else.
        Indeterminate = "indeterminate",
    }

    /// Why an upstream was asked.
    UpstreamClass {
        /// A client waits.
        Waiting = "waiting",
        /// To see whether a tag moved.
        Revalidation = "revalidation",
        /// Nobody waits yet.
        Prefetch = "prefetch",
    }

    /// What could not be read again.
    ReloadTarget {
        /// The directory of resources.
        Resources = "resources",
        /// A listener's certificate or key.
        Certificate = "certificate",
        /// A credential's file or helper.
        Credential = "credential",
    }

    /// Why a connection was ended by us.
    CutReason {
        /// No request for too long.
        Idle = "idle",
        /// A request's head took too long.
        Header = "header",
        /// The TLS handshake failed or took too long.
        Handshake = "handshake",
        /// The client stopped reading.
        Stall = "stall",
        /// No PROXY header, a bad one, or one from a stranger.
        Proxy = "proxy",
        /// Too many connections.
        Limit = "limit",
        /// Still busy when the drain time was over.
        Drain = "drain",
    }
}

impl MethodClass {
    /// The class of an HTTP method.
    pub fn of(method: &str) -> Self {
        match method {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" | "PUT" | "PATCH" | "DELETE" => Self::Write,
            _ => Self::Other,
        }
    }
}

impl StatusClass {
    /// The class of an HTTP status; what is outside 100–599 counts as a server error.
    pub fn of(status: u16) -> Self {
        match status {
            100..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}
