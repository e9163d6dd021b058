//! `Repository`: a name clients use.

use super::{Hosted, Virtual};
use crate::{
    HostName, NamePrefix, PinGlob, RepositoryPath, ResourceName, WireDuration,
    WireDurationOrForever, WireSize,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A tree of names clients use, and where its content comes from: exactly one of `remote`, `hosted`
/// and `virtual`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepositorySpec {
    /// The first segments of the name clients use; `metadata.name` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<RepositoryPath>,
    /// Host names that lead here, also as `?ns=` at the root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub hosts: Vec<HostName>,
    /// Further paths, so that names of an older registry keep working.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub aliases: Vec<RepositoryPath>,
    /// Pull through from an upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// Hold what is pushed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosted: Option<Hosted>,
    /// One name over other repositories.
    #[serde(rename = "virtual", skip_serializing_if = "Option::is_none")]
    pub r#virtual: Option<Virtual>,
    /// What eviction and collection never touch: patterns of names below this repository, with or
    /// without tag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub pins: Vec<PinGlob>,
}

/// Pull through from an upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remote {
    /// `metadata.name` of the Upstream.
    pub upstream: ResourceName,
    /// Put before the rest of the name when the upstream is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<NamePrefix>,
    /// How long an answer counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// What happens to what we hold when the upstream says that a tag is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_upstream_delete: Option<OnUpstreamDelete>,
    /// Most that this repository may hold of the cache; no limit of its own if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_share: Option<WireSize>,
    /// Send clients to the object store for blobs; off if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
}

/// Clients are sent to the object store for blobs, by a presigned URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redirect {
    /// How long such a URL is good for: 1m to 1h.
    pub presign: WireDuration,
}

/// How long an answer of the upstream counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freshness {
    /// How long a tag is served without asking; 5m if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag_ttl: Option<WireDurationOrForever>,
    /// How much longer it is served while we ask; 1h if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_while_revalidate: Option<WireDurationOrForever>,
    /// How much longer it is served when the upstream does not answer; forever if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_if_error: Option<WireDurationOrForever>,
    /// How long an authoritative "absent" is remembered; 30s if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent_ttl: Option<WireDurationOrForever>,
}

/// What happens when the upstream says that a tag is gone: exactly one of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnUpstreamDelete {
    /// Serve what the tag named for this long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_for: Option<WireDurationOrForever>,
    /// True: the tag is gone here too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refuse: Option<bool>,
}
