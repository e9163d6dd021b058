//! `Block`: what nobody may have, whatever else is said of it.

use crate::{DigestText, Glob, ShortText, TagGlob, TextGlob, WireTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is blocked, and why. It outranks waivers, dates, what runs already, and the posture of the plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlockSpec {
    /// What is blocked: all that are given must fit, each by any of its entries.
    #[serde(rename = "match")]
    pub r#match: BlockMatch,
    /// Why; whoever meets it reads this.
    pub reason: ShortText,
    /// Who is to be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<ShortText>,
}

/// What a block is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlockMatch {
    /// Manifests and blobs by digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub digests: Vec<DigestText>,
    /// Canonical names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub repositories: Vec<Glob>,
    /// Tags that it is asked by, or that are known to name it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub tags: Vec<TagGlob>,
    /// Upstreams that it comes from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub upstreams: Vec<TextGlob>,
    /// Only what its name had for the first time at this moment or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen_since: Option<WireTime>,
}
