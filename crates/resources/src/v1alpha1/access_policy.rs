//! `AccessPolicy`: who may do what where. Only this allows.

use crate::{Cidr, Glob, TextGlob};
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
    /// In any of these environments; in all if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub environments: Vec<TextGlob>,
}

/// Who asks. Of the fields besides `kind` and `networks`, each kind has some; one that is left out fits
/// everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// What vouches for it.
    pub kind: SubjectKind,
    /// Of User, Group and ServiceAccount: the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<TextGlob>,
    /// Of ServiceAccount and Node: the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<TextGlob>,
    /// Of ServiceAccount: the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<TextGlob>,
    /// Of Workload: the SPIFFE id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<TextGlob>,
    /// Of CI: who issued the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<TextGlob>,
    /// Of CI: the source repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<TextGlob>,
    /// Of CI: the git ref.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<TextGlob>,
    /// Networks the client's address must lie in; anywhere if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub networks: Vec<Cidr>,
}

/// What vouches for a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// Nobody: whoever it is, with or without an identity.
    Anonymous,
    /// Any identity.
    Authenticated,
    /// A person.
    User,
    /// Whoever is in a group.
    Group,
    /// A Kubernetes service account.
    ServiceAccount,
    /// A node of a cluster.
    Node,
    /// A SPIFFE workload.
    Workload,
    /// A CI job.
    CI,
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
