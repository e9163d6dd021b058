//! The wire types of `lockgate.dev/v1alpha1`.
//!
//! Structures of options and plain enums only, every list and text bounded, no defaults: each of
//! them must become a structural schema, and a default in the schema would change what is stored
//! and so the revision (contracts §6). Absent stays absent; who uses a value knows its default.

mod access_policy;
mod artifact_policy;
mod block;
mod environment;
mod hosted;
mod identity_provider;
pub(crate) mod metadata;
mod plane;
mod repository;
mod signer;
mod store;
mod upstream;
mod virtual_repository;
mod waiver;

pub use access_policy::{AccessAction, AccessPolicySpec, AccessRule, Subject, SubjectKind};
pub use artifact_policy::*;
pub use block::{BlockMatch, BlockSpec};
pub use environment::EnvironmentSpec;
pub use hosted::{Hosted, Retention, Untagged};
pub use identity_provider::{
    ClaimMapping, ClientCertificates, ClusterCredential, IdentityKind, IdentityProviderSpec,
    KubernetesTokens, Local, Oidc, OidcLogin, SignatureAlgorithm, Spiffe,
};
pub use metadata::Metadata;
pub use plane::{PlaneSpec, Posture};
pub use repository::{Freshness, OnUpstreamDelete, Redirect, Remote, RepositorySpec};
pub use signer::{Keyless, KeylessSubject, Notation, Pgp, PublicKey, SignerSpec};
pub use store::{AzureStore, FileStore, GcsStore, S3Store, StoreSpec};
pub use upstream::{
    Basic, Bearer, Boundary, CloudHelper, Credential, DockerConfig, Endpoint, Exec, Limits,
    Profile, Timeouts, UpstreamSpec, UpstreamTls,
};
pub use virtual_repository::{Member, Rewrite, Virtual};
pub use waiver::{WaiverScope, WaiverSpec};
