//! Who is asking, from the outside: credentials of every kind, good and bad, against whole providers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;
mod hostile;
mod issuer;
mod issuers;
mod local;
mod own_tokens;
mod settings;
mod svids;
