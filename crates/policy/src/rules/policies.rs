//! Policies of a view, and which of them speak of a request. To be filled in.

use super::{CompiledRule, Evaluation};
use crate::{
    Action, ArtifactKind, Caller, Facts, Intent, NamePattern, Needs, Purpose, TextPattern,
};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Whether refusals of artifact policies are enforced on this plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Posture {
    /// Refused is refused.
    #[default]
    Enforce,
    /// Refusals are recorded and served.
    Observe,
}

/// What becomes of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The request is refused.
    Enforce,
    /// The client is warned.
    Warn,
    /// It is recorded.
    Audit,
}

/// What becomes of a rule whose facts are unknown or could not be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// Refused; 503 where asking again may help.
    Deny,
    /// The client is warned.
    Warn,
    /// Nothing; the record says that it was unknown.
    Allow,
}

/// What a policy speaks of: all that are given must match, each by any of its entries; empty: any.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Environments that have a say in the request.
    pub environments: Vec<TextPattern>,
    /// Clusters of the principal.
    pub clusters: Vec<TextPattern>,
    /// Actions.
    pub actions: Vec<Action>,
    /// Purposes.
    pub purposes: Vec<Purpose>,
    /// Canonical names.
    pub repositories: Vec<NamePattern>,
    /// Kinds of artifact.
    pub artifacts: Vec<ArtifactKind>,
}

/// How a policy's refusals are enforced, somewhere and for some time.
#[derive(Clone, Debug)]
pub struct Enforcement {
    /// Environments; empty: any.
    pub environments: Vec<TextPattern>,
    /// Clusters of the principal; empty: any.
    pub clusters: Vec<TextPattern>,
    /// What becomes of a refusal.
    pub mode: Mode,
    /// Before this, a refusal is a warning that names the date.
    pub from: Option<Timestamp>,
    /// After this, the next entry counts.
    pub until: Option<Timestamp>,
}

/// What becomes of a refusal of what the environment runs already.
#[derive(Clone, Copy, Debug)]
pub struct AlreadyAdmitted {
    /// Warn or Audit.
    pub mode: Mode,
    /// For how long, from the first time that it was softened.
    pub lasting: Duration,
}

/// One `ArtifactPolicy`, compiled.
#[derive(Clone, Debug)]
pub struct ArtifactPolicy {
    /// Its name.
    pub name: Arc<str>,
    /// Who answers for it.
    pub owner: Option<Arc<str>>,
    /// What it speaks of.
    pub matches: Match,
    /// The first entry that fits counts; none: Enforce.
    pub enforcement: Vec<Enforcement>,
    /// What becomes of unknown facts.
    pub on_unknown: OnUnknown,
    /// What becomes of what already runs.
    pub already_admitted: Option<AlreadyAdmitted>,
    /// Tags that it refuses are left out of tag lists.
    pub hides: bool,
    /// Its rules, in order.
    pub rules: Vec<CompiledRule>,
}

/// One question to all policies.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// What: a Pull or a Push of a manifest under a canonical name.
    pub intent: &'a Intent,
    /// The name of the `Repository` document.
    pub repository: &'a str,
    /// What is known of it.
    pub facts: &'a Facts,
    /// When.
    pub now: Timestamp,
}

/// All policies of a view.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    list: Vec<ArtifactPolicy>,
    posture: Posture,
}

impl Policies {
    /// The policies in the order of their names.
    pub fn new(mut list: Vec<ArtifactPolicy>, posture: Posture) -> Self {
        list.sort_by(|a, b| a.name.cmp(&b.name));
        Self { list, posture }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them.
    pub fn list(&self) -> &[ArtifactPolicy] {
        &self.list
    }

    /// Whether refusals are enforced on this plane.
    pub fn posture(&self) -> Posture {
        self.posture
    }

    /// Whether some policy could match, whatever the artifact turns out to be.
    pub fn may_concern(&self, _caller: &Caller, _intent: &Intent) -> bool {
        !self.list.is_empty()
    }

    /// Which facts the policies that could match need.
    pub fn needs(&self, _caller: &Caller, _intent: &Intent) -> Needs {
        Needs::default()
    }

    /// Whether some rule of some policy that could match looks at who asks, so that answers for one
    /// principal are none for another.
    pub fn looks_at_principal(&self, _caller: &Caller, _intent: &Intent) -> bool {
        false
    }

    /// The rules that need the intent alone: allowed repositories, upstreams of the candidate, refused
    /// tags. Judged before any upstream is asked (contracts §1).
    pub fn evaluate_intent(&self, _question: &Question<'_>) -> Evaluation {
        Evaluation::default()
    }

    /// All rules of all policies that match.
    pub fn evaluate(&self, _question: &Question<'_>) -> Evaluation {
        Evaluation::default()
    }

    pub fn hides(&self, _question: &Question<'_>) -> bool { false }
}
