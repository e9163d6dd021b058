//! The wire types of `lockgate.dev/v1alpha1`.
//!
//! Structures of options and plain enums only, every list and text bounded, no defaults: each of
//! them must become a structural schema, and a default in the schema would change what is stored
//! and so the revision (contracts §6). Absent stays absent; who uses a value knows its default.

mod access_policy;
pub(crate) mod metadata;
mod plane;
mod repository;
mod upstream;

pub use access_policy::{AccessAction, AccessPolicySpec, AccessRule, Subject, SubjectKind};
pub use metadata::Metadata;
pub use plane::{PlaneSpec, Posture};
pub use repository::{Freshness, OnUpstreamDelete, Remote, RepositorySpec};
pub use upstream::{
    Basic, Bearer, Boundary, CloudHelper, Credential, DockerConfig, Endpoint, Exec, Limits,
    Profile, Timeouts, UpstreamSpec, UpstreamTls,
};
