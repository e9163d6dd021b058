//! Logs and metrics; no domain types.
