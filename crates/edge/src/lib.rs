//! The wire: what stands between a socket and the pipeline.
//!
//! [`server`] has the listeners, TLS and the bounds of connections, and knows nothing of artifacts.
//! [`service`] answers requests: the distribution API, the management API, health and metrics. The
//! only crate that names HTTP server types; errors become answers in one table.

mod api;
mod body;
mod challenge;
mod credentials;
mod errors;
mod framing;
mod health;
mod percent;
mod respond;
mod routes;
pub mod server;
mod service;
mod token;
mod v2;

pub use api::openapi;
pub use body::{Body, BoxError, WrongLength};
pub use service::service;
