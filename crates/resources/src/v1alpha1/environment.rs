//! `Environment`: where artifacts are meant to go.

use super::Subject;
use crate::{Cidr, TextGlob};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose requests are for it. What a verified identity settles, nothing changes; networks and host
/// names speak only where no identity did. Where several match, the strictest stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// The higher, the stricter; 0 is `default`, which may leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub strictness: Option<u32>,
    /// Identities whose requests are for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub subjects: Vec<Subject>,
    /// Networks that requests for it come from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub networks: Vec<Cidr>,
    /// Host names that requests for it are sent to, without a port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub listener_hosts: Vec<TextGlob>,
}
