//! `Plane`: choices for the whole plane that change decisions, so that a revision holds them.

use super::StoreSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One document, named `default`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaneSpec {
    /// Whether refusals of artifact policies are enforced or only recorded; Enforce if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posture: Option<Posture>,
    /// Where blobs lie; `blobs/` in the data directory if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreSpec>,
}

/// Whether refusals are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Posture {
    /// Refused is refused.
    Enforce,
    /// Refusals are recorded and served.
    Observe,
}
