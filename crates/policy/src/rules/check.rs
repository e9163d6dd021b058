//! One rule: what it looks at. To be filled in.

use super::OnUnknown;
use std::sync::Arc;

/// One rule of a policy.
#[derive(Clone, Debug)]
pub struct CompiledRule {
    /// Its name, unique in its policy.
    pub name: Arc<str>,
    /// What becomes of it when a fact is unknown; the policy's, if left out.
    pub on_unknown: Option<OnUnknown>,
    /// What to do, in the words of the policy's author.
    pub remedy: Option<Arc<str>>,
    /// What it looks at.
    pub check: Check,
}

/// What a rule looks at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Check {
    /// Nothing that exists yet.
    Nothing,
}
