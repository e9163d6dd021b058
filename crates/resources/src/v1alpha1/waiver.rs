//! `Waiver`: for some artifacts, somewhere and until a day, some rules do not refuse.

use crate::{DigestText, Glob, ShortText, TextGlob, WireTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What it is about, why, by whom, and until when. All of it has to be said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaiverSpec {
    /// What it is about: all that are given must fit, each by any of its entries.
    pub scope: WaiverScope,
    /// Why: what makes it safe, and where it was decided.
    pub reason: ShortText,
    /// Who asked for it.
    pub requested_by: ShortText,
    /// Who let it; another one.
    pub approved_by: ShortText,
    /// From then on it holds no more.
    pub expires: WireTime,
}

/// Rules or vulnerabilities, of artifacts by digest or by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaiverScope {
    /// Rules, as `policy/rule`; `policy/*` are all of a policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub rules: Vec<TextGlob>,
    /// Vulnerabilities that rules about vulnerabilities overlook.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub vulnerabilities: Vec<ShortText>,
    /// Artifacts by the digest of their manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub digests: Vec<DigestText>,
    /// Canonical names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub repositories: Vec<Glob>,
    /// Environments; any if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub environments: Vec<TextGlob>,
}
