//! Policies of a view, and which of them speak of a request.

use super::effect::Effects;
use super::waiver::Covers;
use super::{Block, CompiledRule, Evaluation, Outcome, Waiver};
use crate::{
    Action, ArtifactKind, Caller, EnvironmentName, Facts, Intent, NamePattern, Needs, Object,
    PrincipalKind, Purpose, Setting, TextPattern,
};
use jiff::Timestamp;
use oci::{Digest, Name, Reference};
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

impl Question<'_> {
    /// The digest of what is asked for, as far as it is known.
    pub(super) fn digest(&self) -> Option<Digest> {
        let asked = match &self.intent.object {
            Object::Manifest(Reference::Digest(digest)) | Object::Blob(digest) => Some(*digest),
            _ => None,
        };
        self.facts.manifest.as_ref().map(|it| it.digest).or(asked).or(self.facts.digest)
    }
}

/// All policies of a view, with what outranks them.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    list: Vec<ArtifactPolicy>,
    posture: Posture,
    /// Whether any rule of any of them looks at who asks; most sets have none.
    any_looks_at_principal: bool,
    waivers: Vec<Waiver>,
    blocks: Vec<Block>,
}

impl Policies {
    /// The policies in the order of their names.
    pub fn new(mut list: Vec<ArtifactPolicy>, posture: Posture) -> Self {
        list.sort_by(|a, b| a.name.cmp(&b.name));
        let any_looks_at_principal = list.iter().any(ArtifactPolicy::looks_at_principal);
        let (waivers, blocks) = (Vec::new(), Vec::new());
        Self { list, posture, any_looks_at_principal, waivers, blocks }
    }

    /// With waivers, in the order of their names.
    #[must_use]
    pub fn with_waivers(mut self, mut waivers: Vec<Waiver>) -> Self {
        waivers.sort_by(|a, b| a.name.cmp(&b.name));
        self.waivers = waivers;
        self
    }

    /// With blocks, in the order of their names.
    #[must_use]
    pub fn with_blocks(mut self, mut blocks: Vec<Block>) -> Self {
        blocks.sort_by(|a, b| a.name.cmp(&b.name));
        self.blocks = blocks;
        self
    }

    /// Whether nothing is said of any artifact.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.blocks.is_empty()
    }

    /// All waivers.
    pub fn waivers(&self) -> &[Waiver] {
        &self.waivers
    }

    /// All blocks.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Whether some block could be about this.
    pub fn blocks_may_concern(&self, intent: &Intent) -> bool {
        self.blocks.iter().any(|block| block.may_concern(intent))
    }

    /// The block that bytes under a name fall under by what is known without asking. `digests`: the blob,
    /// and the manifest that speaks for it.
    pub fn cut_by(&self, name: Option<&Name>, digests: &[Digest]) -> Option<&Block> {
        self.blocks.iter().find(|block| block.cuts(name, digests))
    }

    /// Whether [`Self::cut_by`] is not enough to say what blocks are about.
    pub fn has_blocks_by_facts(&self, intent: &Intent) -> bool {
        self.blocks.iter().any(|block| block.needs_facts() && block.may_concern(intent))
    }

    /// All of them.
    pub fn list(&self) -> &[ArtifactPolicy] {
        &self.list
    }

    /// Whether refusals are enforced on this plane.
    pub fn posture(&self) -> Posture {
        self.posture
    }

    /// Those that could match, whatever the artifact turns out to be. The plane's own work brings things
    /// in, and whoever asks for them is judged then.
    fn concerning<'a>(
        &'a self,
        caller: &'a Caller,
        intent: &'a Intent,
    ) -> impl Iterator<Item = &'a ArtifactPolicy> {
        let is_own_work = caller.principal.kind() == PrincipalKind::System;
        let list = if is_own_work { &[][..] } else { &self.list[..] };
        list.iter().filter(move |policy| policy.matches.may_concern(caller, intent))
    }

    /// Whether some policy could match, whatever the artifact turns out to be.
    pub fn may_concern(&self, caller: &Caller, intent: &Intent) -> bool {
        self.concerning(caller, intent).next().is_some()
    }

    /// Which facts the policies that could match need.
    pub fn needs(&self, caller: &Caller, intent: &Intent) -> Needs {
        let blocks = self.blocks.iter().filter(|block| block.may_concern(intent));
        let of_blocks = blocks.map(Block::needs).fold(Needs::default(), Needs::and);
        self.concerning(caller, intent).fold(of_blocks, |needs, policy| {
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
        let mut effects = Effects::new(question.now, &self.waivers);
        let mut is_good = true;
        for block in &self.blocks {
            if let Some(finding) = block.judge_intent(question) {
                is_good = false;
                effects.add_block(block, finding);
            }
        }
        for policy in self.concerning(question.caller, question.intent) {
            if policy.already_admitted.is_some() || !policy.matches.artifacts.is_empty() {
                continue;
            }
            for rule in &policy.rules {
                let finding = rule.check.judge_intent(question);
                // Which artifact it is decides whether it is waived.
                let is_open = || self.is_perhaps_waived(policy, rule, question);
                if let Some(finding) = finding.filter(|it| !it.is_good() && !is_open()) {
                    is_good = false;
                    effects.add(policy, rule, finding, question);
                }
            }
        }
        (!is_good).then(|| effects.finish())
    }

    /// All rules of all policies that match.
    pub fn evaluate(&self, question: &Question<'_>) -> Evaluation {
        let mut effects = Effects::new(question.now, &self.waivers);
        for block in &self.blocks {
            if let Some(finding) = block.judge(question) {
                effects.add_block(block, finding);
            }
        }
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

    fn is_perhaps_waived(
        &self,
        policy: &ArtifactPolicy,
        rule: &CompiledRule,
        question: &Question<'_>,
    ) -> bool {
        self.waivers.iter().any(|it| it.covers(policy, rule, question) == Covers::Perhaps)
    }

    /// Whether a policy that hides what it refuses refuses this, as far as is known: what is unknown
    /// hides nothing.
    pub fn hides(&self, question: &Question<'_>) -> bool {
        let hiding = self.concerning(question.caller, question.intent).filter(|it| it.hides);
        hiding.filter(|policy| policy.matches.is_known_to_speak_of(question.facts)).any(|policy| {
            let mut effects = Effects::new(question.now, &self.waivers);
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
            && NamePattern::any_fits(&self.repositories, intent.name.as_ref())
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
