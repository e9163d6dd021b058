//! What a rule looks at, one struct per check.

use crate::{Glob, PlatformGlob, ResourceName, TagGlob, TextGlob, WireDuration, WireSize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Canonical names: at least one of `allow` and `deny`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepositoriesCheck {
    /// The name has to fit one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub allow: Vec<Glob>,
    /// The name must fit none of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub deny: Vec<Glob>,
}

/// Names of Upstreams: at least one of `allow` and `deny`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpstreamsCheck {
    /// It has to come from one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub allow: Vec<TextGlob>,
    /// It must come from none of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub deny: Vec<TextGlob>,
}

/// Tags: at least one field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TagsCheck {
    /// Requests by such a tag are refused; asking by digest is the remedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub deny: Vec<TagGlob>,
    /// Some tag that is known to name the artifact has to fit one of these, also by digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub allow: Vec<TagGlob>,
    /// Some tag that is known to name the artifact has to be a version in this range: `>=1.2, <2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub semver: Option<String>,
    /// Requests by any tag are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_digest: Option<bool>,
}

/// Platforms of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlatformsCheck {
    /// `os/architecture` or `os/architecture/variant`; a star stands for any.
    #[schemars(length(min = 1, max = 64))]
    pub allow: Vec<PlatformGlob>,
}

/// The manifest, its config and its layers together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SizeCheck {
    /// Most bytes.
    pub max: WireSize,
}

/// Texts: at least one of `allow` and `deny`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GlobsCheck {
    /// Each has to fit one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub allow: Vec<TextGlob>,
    /// None may fit any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub deny: Vec<TextGlob>,
}

/// Cool-down: at least one of `sincePublished` and `sinceFirstSeen`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgeCheck {
    /// Least time since it was made, as it says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_published: Option<WireDuration>,
    /// Least time since this name had it first here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_first_seen: Option<WireDuration>,
    /// Canonical names that need not wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub except: Vec<Glob>,
}

/// Keys with values: at least one of `require` and `deny`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairsCheck {
    /// Each has to be there with a value that fits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub require: BTreeMap<String, TextGlob>,
    /// None may be there with a value that fits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub deny: BTreeMap<String, TextGlob>,
}

/// What an image says that it is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BaseImageCheck {
    /// Names, without tag and digest.
    #[schemars(length(min = 1, max = 256))]
    pub allow: Vec<Glob>,
}

/// That another environment was served it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PromotionCheck {
    /// The Environment.
    pub admitted_in: ResourceName,
    /// How long ago at least; any time if left out.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub r#for: Option<WireDuration>,
}

/// On which manifest evidence may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EvidenceScope {
    /// On the index.
    Index,
    /// On each image.
    Each,
    /// On either.
    Either,
}

/// Signatures: at least one of `anyOf` and `allOf`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignaturesCheck {
    /// Any of these Signers, `count` of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub any_of: Vec<ResourceName>,
    /// All of these Signers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub all_of: Vec<ResourceName>,
    /// How many of `anyOf`; 1 if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub count: Option<u32>,
    /// On which manifest; Either if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<EvidenceScope>,
}

/// Provenance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProvenanceCheck {
    /// Builders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub builders: Vec<TextGlob>,
    /// Source repositories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub sources: Vec<TextGlob>,
    /// On which manifest; Either if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<EvidenceScope>,
}

/// SBOMs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SbomCheck {
    /// Whether there has to be one; true if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// In one of these formats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub formats: Vec<SbomFormat>,
    /// How old it may be; any age if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<WireDuration>,
}

/// The format of an SBOM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum SbomFormat {
    SPDX,
    CycloneDX,
}

/// Vulnerabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VulnerabilitiesCheck {
    /// Most of each severity.
    pub max: SeverityCounts,
    /// Only those with a fix count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixable_only: Option<bool>,
    /// How long one of a severity does not count after it became known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<SeverityGrace>,
    /// How old what is known of advisories may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_advisory_age: Option<WireDuration>,
}

/// Most of each severity; any number if left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs)]
pub struct SeverityCounts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<u32>,
}

/// How long one of a severity does not count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs)]
pub struct SeverityGrace {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical: Option<WireDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<WireDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<WireDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<WireDuration>,
}
