//! Scenarios: who asks for what, under which documents, and what is expected; tests of policies.
//!
//! They are read like resources: every mistake is told with its place and the nearest valid name.

use crate::{PlatformGlob, ResourceName, Set, ShortText, WireTime, read_text};
use crate::{Problems, from_yaml};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One file: documents, artifacts, and questions that are asked one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in one sentence.
    #[schemars(length(min = 1, max = 500))]
    pub about: String,
    /// When the first question is asked; left out: 2026-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<WireTime>,
    /// The documents in force, as they stand in files.
    #[schemars(length(max = 1_000_000))]
    pub resources: String,
    /// What there is to be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub artifacts: Vec<ScenarioArtifact>,
    /// The questions, in order, all asked of one plane.
    #[schemars(length(min = 1, max = 256))]
    pub cases: Vec<ScenarioCase>,
}

/// What an artifact of a scenario is made as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScenarioArtifactKind {
    /// An image; with several platforms, an index of images.
    #[default]
    Image,
    /// A Helm chart.
    HelmChart,
    /// A plain file.
    File,
    /// A signature of another artifact.
    Signature,
    /// An SBOM of another artifact.
    Sbom,
}

/// One artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScenarioArtifact {
    /// How the questions call it.
    pub id: ResourceName,
    /// The canonical name that has it; left out: nobody has it yet, it is there to be pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub name: Option<String>,
    /// Tags that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128)))]
    pub tags: Vec<String>,
    /// What it is.
    #[serde(default)]
    pub kind: ScenarioArtifactKind,
    /// Platforms of an image; left out: `linux/amd64`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub platforms: Vec<PlatformGlob>,
    /// Labels of its config.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 4096)))]
    pub labels: BTreeMap<String, String>,
    /// Annotations of its manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 4096)))]
    pub annotations: BTreeMap<String, String>,
    /// When it says that it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<WireTime>,
    /// Layers; left out: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 200))]
    pub layers: Option<u32>,
    /// What its layers have together, as its manifest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_bytes: Option<u64>,
    /// The media type of its layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_media_type: Option<ShortText>,
    /// The artifact that a signature or an SBOM is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<ResourceName>,
    /// When its name had it first; left out: at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<WireTime>,
    /// Environments that were served it before, and when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 32))]
    pub admitted: BTreeMap<String, ScenarioAdmission>,
}

/// When an environment was served an artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScenarioAdmission {
    /// First.
    pub first: WireTime,
    /// Last; left out: once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<WireTime>,
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ScenarioAnswer {
    /// It is served, or taken.
    Allow,
    /// So it is, with a warning.
    Warn,
    /// 403.
    Deny,
    /// 401: whoever logs in may have it.
    Login,
    /// 503: it cannot be told now.
    CannotTell,
    /// 404.
    Absent,
    /// 400, 405 and others: it cannot be done there, whoever asks.
    Invalid,
}

/// One question. Exactly one of `head`, `pull`, `layer`, `push`, `delete`, `list` and `referrers` says what is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScenarioCase {
    /// What is shown by it: "it …".
    #[schemars(length(min = 1, max = 300))]
    pub it: String,
    /// How long after the question before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<crate::WireDuration>,
    /// Who asks, as for `lockgate check --as`; left out: anonymous.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub r#as: Option<String>,
    /// Their groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 256)))]
    pub groups: Vec<String>,
    /// Their cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub cluster: Option<String>,
    /// Their address; left out: 127.0.0.1, on a loopback listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub address: Option<String>,
    /// The host that they name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub host: Option<String>,
    /// The header `Lockgate-Environment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub environment: Option<String>,
    /// The header `Lockgate-Purpose`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub purpose: Option<String>,
    /// HEAD of a manifest: `name:tag`, `name@digest`, or `name@id`, with `/platform` for one of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub head: Option<String>,
    /// GET of a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub pull: Option<String>,
    /// GET of the first layer of an artifact, by its digest alone: `name@id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub layer: Option<String>,
    /// A push: `name:tag`; of which artifact says `artifact`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub push: Option<String>,
    /// DELETE of a tag or a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub delete: Option<String>,
    /// The tags of a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub list: Option<String>,
    /// What refers to a manifest: `name@id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub referrers: Option<String>,
    /// What is pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ResourceName>,
    /// What is answered.
    pub expect: ScenarioAnswer,
    /// Texts that stand in the answer: in the refusal, in the warnings, or in the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 500)))]
    pub says: Vec<String>,
    /// Texts that do not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 500)))]
    pub says_not: Vec<String>,
}

/// Reads a scenario and the documents in it.
///
/// # Errors
/// Everything that is wrong with either. Places in the documents count lines from the first of `resources`.
pub fn read_scenario(file: &str, text: &str) -> Result<(Scenario, Set), Problems> {
    let scenario: Scenario = from_yaml(file, text)?;
    let written = read_text(&format!("{file}, resources"), &scenario.resources)?;
    let set = crate::overlay(&crate::builtin(), &written)?;
    Ok((scenario, set))
}
