//! Remote registries: token dance, credentials, limits, retries, health, mirrors, resumable reads.
//!
//! Only this crate opens connections to registries. What it gives back is one of four outcomes that
//! never blur: found, authoritatively absent, denied, or indeterminate ([`FailureKind`]). Nothing
//! here touches the network before somebody asks for something.

mod auth;
mod base64;
mod budget;
mod challenge;
mod classify;
mod client;
mod clock;
mod credentials;
mod dance;
mod endpoint;
mod expiry;
mod failover;
mod failure;
mod guard;
mod health;
mod limits;
mod lists;
mod manifests;
mod origin;
mod probe;
mod redirect;
mod request;
mod resume;
mod settings;
mod stamped;
mod token;
mod transfer;
mod upstream;
mod wire;

pub use expiry::{Expiry, ExpiryKind};
pub use failure::{Failure, FailureKind};
pub use health::{Circuit, EndpointHealth};
pub use manifests::{BlobHead, MANIFEST_BYTES_MAX, ManifestAnswer, ManifestHead};
pub use origin::{OriginPattern, OriginPatternError};
pub use probe::{CredentialProbe, EndpointProbe, Problem, RateLimit};
pub use settings::{
    Boundary, Class, CredentialKind, Error, Limits, PrefixCredential, Profile, Settings, Timeouts,
};
pub use transfer::{Resume, Transfer, Validators};
pub use upstream::Upstream;
