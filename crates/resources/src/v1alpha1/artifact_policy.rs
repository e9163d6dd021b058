//! `ArtifactPolicy`: what an artifact must be. Never allows, only refuses.

mod checks;

pub use checks::*;

use crate::{Expression, Glob, ResourceName, ShortText, TextGlob, WireDuration, WireTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What it speaks of, how it is enforced, and its rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArtifactPolicySpec {
    /// What it speaks of; everything if left out.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub r#match: Option<PolicyMatch>,
    /// How refusals are enforced: the first entry that fits counts; Enforce if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub enforcement: Vec<Enforcement>,
    /// What becomes of a rule whose facts are unknown; Deny if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_unknown: Option<OnUnknown>,
    /// What becomes of a refusal of what the environment runs already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub already_admitted: Option<AlreadyAdmitted>,
    /// Whether tags that it refuses are left out of tag lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hide: Option<bool>,
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<ShortText>,
    /// Its rules; all are asked, and all reasons are told.
    #[schemars(length(min = 1, max = 64))]
    pub rules: Vec<PolicyRule>,
}

/// What a policy speaks of: all that are given must match, each by any of its entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyMatch {
    /// Environments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub environments: Vec<TextGlob>,
    /// Clusters of the one who asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub clusters: Vec<TextGlob>,
    /// Actions; Pull if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub actions: Vec<PolicyAction>,
    /// Purposes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub purposes: Vec<Purpose>,
    /// Canonical names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub repositories: Vec<Glob>,
    /// Kinds of artifact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub artifacts: Vec<ArtifactKind>,
}

/// What is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyAction {
    /// Pulls.
    Pull,
    /// Pushes.
    Push,
}

/// What an artifact is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Purpose {
    /// To run it.
    Deploy,
    /// As a part of something that is being built.
    Build,
    /// By a person.
    Develop,
    /// To look into it.
    Scan,
    /// To copy it.
    Replicate,
}

/// What an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ArtifactKind {
    /// What a runtime runs.
    Image,
    /// A list of images by platform.
    Index,
    /// A Helm chart.
    HelmChart,
    /// An operator or OCI bundle.
    Bundle,
    /// A plain file.
    File,
    /// What says something about another artifact.
    Evidence,
    /// Anything else.
    Other,
}

/// How refusals are enforced, somewhere and for some time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Enforcement {
    /// Environments; any if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub environments: Vec<TextGlob>,
    /// Clusters of the one who asks; any if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub clusters: Vec<TextGlob>,
    /// What becomes of a refusal.
    pub mode: EnforcementMode,
    /// Before this, a refusal is a warning that names the date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<WireTime>,
    /// After this, the next entry counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<WireTime>,
}

/// What becomes of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EnforcementMode {
    /// Refused is refused.
    Enforce,
    /// The client is warned.
    Warn,
    /// It is recorded.
    Audit,
}

/// What becomes of a rule whose facts are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnUnknown {
    /// It refuses; where asking again may help, the answer is 503.
    Deny,
    /// The client is warned.
    Warn,
    /// Nothing; the record has it.
    Allow,
}

/// What becomes of a refusal of what the environment runs already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlreadyAdmitted {
    /// What becomes of it.
    pub mode: SoftenedMode,
    /// For how long, from the first time; then it is refused.
    #[serde(rename = "for")]
    pub r#for: WireDuration,
}

/// What becomes of a softened refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SoftenedMode {
    /// The client is warned.
    Warn,
    /// It is recorded.
    Audit,
}

/// One rule: a name and exactly one check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRule {
    /// Unique in its policy; stands in refusals.
    pub name: RuleName,
    /// What becomes of it when a fact is unknown; the policy's if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_unknown: Option<OnUnknown>,
    /// What to do about a refusal, in your own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 120))]
    pub remedy: Option<ShortText>,
    /// Names that are allowed, or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repositories: Option<RepositoriesCheck>,
    /// Upstreams that are allowed, or not. What is hosted here has none, and passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstreams: Option<UpstreamsCheck>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<TagsCheck>,
    /// Platforms of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platforms: Option<PlatformsCheck>,
    /// Size of an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<SizeCheck>,
    /// Media types of the manifest, its config and its layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_types: Option<GlobsCheck>,
    /// Cool-down: how long ago it was published, or first seen under this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<AgeCheck>,
    /// Labels of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<PairsCheck>,
    /// Annotations of a manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<PairsCheck>,
    /// What an image says that it is made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_image: Option<BaseImageCheck>,
    /// Licences that an image says it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licences: Option<GlobsCheck>,
    /// That another environment was served it for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promotion: Option<PromotionCheck>,
    /// Signatures. Unknown in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signatures: Option<SignaturesCheck>,
    /// Provenance. Unknown in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<ProvenanceCheck>,
    /// SBOMs. Unknown in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sbom: Option<SbomCheck>,
    /// Vulnerabilities. Unknown in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vulnerabilities: Option<VulnerabilitiesCheck>,
    /// Refuses where this CEL expression is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<Expression>,
    /// Warns where this CEL expression is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn: Option<Expression>,
    /// The reason, a CEL expression that gives a text; for `deny` and `warn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub message: Option<Expression>,
}

/// The name of a rule.
pub type RuleName = ResourceName;

impl PolicyRule {
    /// The checks that are given, by their field.
    pub fn checks(&self) -> Vec<&'static str> {
        [
            ("repositories", self.repositories.is_some()),
            ("upstreams", self.upstreams.is_some()),
            ("tags", self.tags.is_some()),
            ("platforms", self.platforms.is_some()),
            ("size", self.size.is_some()),
            ("mediaTypes", self.media_types.is_some()),
            ("age", self.age.is_some()),
            ("labels", self.labels.is_some()),
            ("annotations", self.annotations.is_some()),
            ("baseImage", self.base_image.is_some()),
            ("licences", self.licences.is_some()),
            ("promotion", self.promotion.is_some()),
            ("signatures", self.signatures.is_some()),
            ("provenance", self.provenance.is_some()),
            ("sbom", self.sbom.is_some()),
            ("vulnerabilities", self.vulnerabilities.is_some()),
            ("deny", self.deny.is_some()),
            ("warn", self.warn.is_some()),
        ]
        .into_iter()
        .filter(|(_, is_given)| *is_given)
        .map(|(name, _)| name)
        .collect()
    }
}
