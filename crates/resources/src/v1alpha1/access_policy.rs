//! `AccessPolicy`: who may do what where. Only this allows.

use crate::{Cidr, Glob};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is allowed. Nothing that no policy allows happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessPolicySpec {
    /// Each entry allows what it says; none takes anything away.
    #[schemars(length(min = 1, max = 256))]
    pub allow: Vec<AccessRule>,
}

/// Whom, what and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessRule {
    /// Any of these.
    #[schemars(length(min = 1, max = 256))]
    pub subjects: Vec<Subject>,
    /// Any of these.
    #[schemars(length(min = 1, max = 16))]
    pub actions: Vec<AccessAction>,
    /// Where the canonical name matches any of these patterns.
    #[schemars(length(min = 1, max = 1024))]
    pub repositories: Vec<Glob>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// What vouches for it.
    pub kind: SubjectKind,
    /// Networks the client's address must lie in; anywhere if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub networks: Vec<Cidr>,
}

/// What vouches for a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// Nobody.
    Anonymous,
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessAction {
    /// Read manifests and blobs.
    Pull,
    /// Write them.
    Push,
    /// Remove tags, manifests and blobs.
    Delete,
    /// List tags and names.
    List,
    /// List what refers to an artifact.
    Referrers,
    /// Change or inspect the plane itself.
    Administer,
    /// All of them.
    #[serde(rename = "*")]
    All,
}
