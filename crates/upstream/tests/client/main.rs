//! The client against a registry that misbehaves on request. One binary, so that it links once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

mod blobs;
mod credentials;
mod lists;
mod manifests;
mod mirrors;
mod probe;
mod proxies;
mod redirects;
mod tls;
mod tokens;
