//! Remote registries: token dance, credentials, limits, retries, health, mirrors, resumable reads.
//!
//! Only this crate opens connections to registries. What it gives back is one of four outcomes that
//! never blur: found, authoritatively absent, denied, or indeterminate ([`FailureKind`]). Nothing
//! here touches the network before somebody asks for something.
#![allow(dead_code)]

mod expiry;
mod failure;
mod health;
mod manifests;
mod origin;
mod probe;
mod settings;
mod transfer;
mod upstream;

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
