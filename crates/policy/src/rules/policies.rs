//! Policies of a view, and which of them speak of a request.

use super::effect::Effects;
use super::{CompiledRule, Evaluation, Outcome};
use crate::{
    Action, ArtifactKind, Caller, EnvironmentName, Facts, Intent, NamePattern, Needs, Purpose,
    Setting, TextPattern,
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
    /// Whether any rule of any of them looks at who asks; most sets have none.
    any_looks_at_principal: bool,
}

impl Policies {
    /// The policies in the order of their names.
    pub fn new(mut list: Vec<ArtifactPolicy>, posture: Posture) -> Self {
        list.sort_by(|a, b| a.name.cmp(&b.name));
        let any_looks_at_principal = list.iter().any(ArtifactPolicy::looks_at_principal);
        Self { list, posture, any_looks_at_principal }
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

    /// Those that could match, whatever the artifact turns out to be.
    fn concerning<'a>(
        &'a self,
        caller: &'a Caller,
        intent: &'a Intent,
    ) -> impl Iterator<Item = &'a ArtifactPolicy> {
        self.list.iter().filter(move |policy| policy.matches.may_concern(caller, intent))
    }

    /// Whether some policy could match, whatever the artifact turns out to be.
    pub fn may_concern(&self, caller: &Caller, intent: &Intent) -> bool {
        self.concerning(caller, intent).next().is_some()
    }

    /// Which facts the policies that could match need.
    pub fn needs(&self, caller: &Caller, intent: &Intent) -> Needs {
        self.concerning(caller, intent).fold(Needs::default(), |needs, policy| {
            let of_policy =
                Needs { admissions: policy.already_admitted.is_some(), ..Needs::default() };
            let rules = policy.rules.iter().map(|rule| rule.check.needs());
            rules.fold(needs.and(of_policy), Needs::and)
        })
    }

    /// Whether some rule of some policy that could match looks at who asks, so that answers for one
    /// principal are none for another.
    pub fn looks_at_principal(&self, caller: &Caller, intent: &Intent) -> bool {
        self.any_looks_at_principal
            && self.concerning(caller, intent).any(ArtifactPolicy::looks_at_principal)
    }

    /// The rules that need the intent alone: allowed repositories, upstreams of the candidate, refused
    /// tags. Judged before any upstream is asked (contracts §1). What could still be softened, or is
    /// about some kinds of artifact only, is left to the whole evaluation.
    ///
    /// `None`: none has anything against it. Asked for every request, so nothing is put together then.
    pub fn evaluate_intent(&self, question: &Question<'_>) -> Option<Evaluation> {
        let mut effects = Effects::new(question.now);
        let mut is_good = true;
        for policy in self.concerning(question.caller, question.intent) {
            if policy.already_admitted.is_some() || !policy.matches.artifacts.is_empty() {
                continue;
            }
            for rule in &policy.rules {
                let finding = rule.check.judge_intent(question);
                if let Some(finding) = finding.filter(|finding| !finding.is_good()) {
                    is_good = false;
                    effects.add(policy, rule, finding, question);
                }
            }
        }
        (!is_good).then(|| effects.finish())
    }

    /// All rules of all policies that match.
    pub fn evaluate(&self, question: &Question<'_>) -> Evaluation {
        let mut effects = Effects::new(question.now);
        for policy in self.concerning(question.caller, question.intent) {
            if !policy.matches.speaks_of_kind(question.facts) {
                continue;
            }
            for rule in &policy.rules {
                effects.add(policy, rule, rule.check.judge(question), question);
            }
        }
        effects.finish()
    }

    /// Whether a policy that hides what it refuses refuses this, as far as is known: what is unknown
    /// hides nothing.
    pub fn hides(&self, question: &Question<'_>) -> bool {
        let hiding = self.concerning(question.caller, question.intent).filter(|it| it.hides);
        hiding.filter(|policy| policy.matches.is_known_to_speak_of(question.facts)).any(|policy| {
            let mut effects = Effects::new(question.now);
            for rule in &policy.rules {
                let finding = rule.check.judge(question);
                if finding.outcome == Outcome::Refuses {
                    effects.add(policy, rule, finding, question);
                }
            }
            effects.finish().verdict() == super::Verdict::Refuse
        })
    }
}

impl ArtifactPolicy {
    fn looks_at_principal(&self) -> bool {
        self.rules.iter().any(|rule| rule.check.looks_at_principal())
    }
}

impl Match {
    /// Whether all but the kind of artifact fits. A caller with two environments or purposes is spoken
    /// of by what speaks of either.
    fn may_concern(&self, caller: &Caller, intent: &Intent) -> bool {
        let actions: &[Action] =
            if self.actions.is_empty() { &[Action::Pull] } else { &self.actions };
        let any_text = |patterns: &[TextPattern], text: &str| {
            patterns.iter().any(|pattern| pattern.matches(text))
        };
        actions.contains(&intent.action)
            && (self.purposes.is_empty()
                || caller.setting.purposes().any(|it| self.purposes.contains(&it)))
            && self.environments_of(&caller.setting).next().is_some()
            && (self.clusters.is_empty()
                || caller.cluster().is_some_and(|it| any_text(&self.clusters, it)))
            && (self.repositories.is_empty()
                || intent.name.as_ref().is_some_and(|name| {
                    self.repositories.iter().any(|pattern| pattern.matches(name))
                }))
    }

    /// The environments with a say that it speaks of.
    pub(super) fn environments_of<'s>(
        &'s self,
        setting: &'s Setting,
    ) -> impl Iterator<Item = &'s EnvironmentName> {
        setting.environments().filter(|environment| {
            self.environments.is_empty()
                || self.environments.iter().any(|it| it.matches(environment.as_str()))
        })
    }

    /// Whether the kind of artifact fits; one that is not known may be any.
    fn speaks_of_kind(&self, facts: &Facts) -> bool {
        self.artifacts.is_empty()
            || facts.manifest.as_ref().is_none_or(|it| self.artifacts.contains(&it.kind))
    }

    fn is_known_to_speak_of(&self, facts: &Facts) -> bool {
        self.artifacts.is_empty()
            || facts.manifest.as_ref().is_some_and(|it| self.artifacts.contains(&it.kind))
    }
}
