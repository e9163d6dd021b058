//! The client against a registry that misbehaves on request. One binary, so that it links once.

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
