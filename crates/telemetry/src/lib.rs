//! Logs and metrics; no domain types.
//!
//! What is written goes through [`Lines`]: a bounded queue in front of one thread, so that a slow
//! terminal or a full pipe never holds up a request; what does not fit is lost and counted.
//! [`init_logs`] sends `tracing` events there, [`AccessLog`] one line per request.
//! [`Metrics`] holds every counter of the process; labels come from closed enums, so that nothing a
//! client sends can make a new series.

mod access;
mod fields;
mod lines;
mod logs;
mod metrics;
mod quote;
mod request_id;

pub use access::{AccessEntry, AccessLog};
pub use lines::Lines;
pub use logs::{Error, Format, init_logs};
pub use metrics::{
    CONTENT_TYPE, CacheStatus, CatalogGauges, Collected, CutReason, FillResult, MethodClass,
    Metrics, Outcome, Registry, ReloadTarget, RequestSample, Route, StatusClass, StoreGauges,
    UpstreamClass, UpstreamMetrics, UpstreamOutcome,
};
pub use request_id::{RequestId, RequestIds};
