//! The wire: listeners, TLS reload, /v2, /api/v1, health; errors to responses.

pub mod respond;
pub mod server;
