//! What every document says of itself.

use crate::ResourceName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name and labels of a document. Only the name and the namespace are part of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Unique among the documents of its kind; a DNS-1123 subdomain.
    pub name: ResourceName,
    /// The plane's own namespace, in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<ResourceName>,
    /// Labels, for people and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub labels: BTreeMap<String, String>,
    /// Annotations, for people and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub annotations: BTreeMap<String, String>,
}

/// Fields that a Kubernetes API server writes; they are accepted in files, so that what
/// `kubectl get -o yaml` prints can be read, and mean nothing.
pub(crate) const WRITTEN_BY_SERVER: [&str; 9] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "uid",
];
