//! `Repository.spec.hosted`: what is pushed here, and how long it stays.

use super::Redirect;
use crate::{Glob, TagGlob, WireDuration, WireDurationOrForever, WireSize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is pushed here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hosted {
    /// Tags that can neither move nor be deleted by clients once they were pushed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub immutable_tags: Vec<TagGlob>,
    /// Most that this repository may hold, each name's content counted in full; no limit if left
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<WireSize>,
    /// Which tags collection removes: those for which any of these rules speaks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub retention: Vec<Retention>,
    /// How long a manifest stays that nothing names any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untagged: Option<Untagged>,
    /// Whether an index may name manifests that are not here; false if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sparse_indexes: Option<bool>,
    /// The largest manifest taken; 4MiB if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_manifest_size: Option<WireSize>,
    /// Send clients to the object store for blobs; off if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
}

/// Removes the tags that it covers and that fulfil every condition given; one is needed at least.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retention {
    /// Names below the repository that it covers; all if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub names: Vec<Glob>,
    /// Tags that it covers; all if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub tags: Vec<TagGlob>,
    /// So many of the newest that it covers, under each name, stay whatever their age.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub keep_last: Option<u32>,
    /// Last pushed longer ago than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than: Option<WireDuration>,
    /// Neither pushed nor pulled for this long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_pulled_for: Option<WireDuration>,
}

/// How long a manifest stays that no tag, index or subject names any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Untagged {
    /// Counted from its last push or pull.
    pub keep_for: WireDurationOrForever,
}
