//! `Repository.spec.virtual`: one name over others.

use crate::{Glob, RegexText, ResourceName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An ordered union of other repositories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Virtual {
    /// Asked in this order; only "not there, for certain" moves on to the next one.
    #[schemars(length(min = 1, max = 64))]
    pub members: Vec<Member>,
    /// The member that takes pushes: hosted, or virtual with a `pushTo` of its own. None takes
    /// any if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push_to: Option<ResourceName>,
}

/// A member, and the names it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Member {
    /// `metadata.name` of the Repository.
    pub repository: ResourceName,
    /// Names below the virtual repository that are asked of no member without such a claim,
    /// whatever state this one is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub claims: Vec<Glob>,
    /// Names below the member, after the rewrite, that it is asked for; all if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub include: Vec<Glob>,
    /// Names below the member, after the rewrite, that it is never asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub exclude: Vec<Glob>,
    /// From a name below the virtual repository to the one below the member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
}

/// Another name for the same thing. Names that `from` does not match are not asked of the member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rewrite {
    /// A regular expression over the whole name.
    pub from: RegexText,
    /// What the name becomes; `$1` stands for the first group.
    #[schemars(length(min = 1, max = 256))]
    pub to: String,
}
