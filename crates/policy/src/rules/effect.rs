//! What becomes of what rules find: the mode of the policy, dates, what is unknown, what already runs.

use super::check::Finding;
use super::{
    ArtifactPolicy, CompiledRule, Effect, Evaluation, Mode, OnUnknown, Outcome, Question,
    RuleOutcome,
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Outcomes as they are found, and until when they hold.
#[derive(Default)]
pub(super) struct Effects {
    outcomes: Vec<RuleOutcome>,
    valid_until: Option<Timestamp>,
    softened: Vec<Arc<str>>,
}

impl Effects {
    /// Takes what a rule found.
    pub(super) fn add(
        &mut self,
        policy: &ArtifactPolicy,
        rule: &CompiledRule,
        finding: Finding,
        question: &Question<'_>,
    ) {
        let now = question.now;
        self.holds_until(finding.until, now);
        let (mode, note, until) = mode_of(policy, question);
        self.holds_until(until, now);
        let on_unknown = rule.on_unknown.unwrap_or(policy.on_unknown);
        let mut effect = effect(&finding, mode, on_unknown);
        let mut softened = note.filter(|_| effect == Effect::Warn);
        if effect == Effect::Refuse
            && let Some(end) = self.runs_already(policy, question)
        {
            self.holds_until(Some(end.at), now);
            (effect, softened) = (end.effect, Some(end.note));
        }
        let remedy = match &rule.remedy {
            Some(remedy) => remedy.to_string(),
            None => finding.remedy,
        };
        self.outcomes.push(RuleOutcome {
            policy: policy.name.clone(),
            rule: rule.name.clone(),
            outcome: finding.outcome,
            effect,
            reason: finding.reason,
            remedy,
            softened,
        });
    }

    pub(super) fn finish(self) -> Evaluation {
        Evaluation::new(self.outcomes, self.valid_until, self.softened)
    }

    /// A moment at which the answer may be another one. What has passed changes nothing any more,
    /// except what holds for this moment only.
    fn holds_until(&mut self, at: Option<Timestamp>, now: Timestamp) {
        let Some(at) = at.filter(|at| *at >= now) else { return };
        self.valid_until = Some(self.valid_until.map_or(at, |held| held.min(at)));
    }

    /// What the environments that have a say run already is warned of for a while, counted from the
    /// first time. One of them that does not run it is enough to refuse it.
    fn runs_already(
        &mut self,
        policy: &ArtifactPolicy,
        question: &Question<'_>,
    ) -> Option<Softening> {
        let already = policy.already_admitted?;
        let admissions = question.facts.admissions.known()?;
        let lasting = SignedDuration::try_from(already.lasting).ok()?;
        let (mut since, mut begins) = (question.now, false);
        for environment in question.caller.setting.environments() {
            let name = environment.as_str().to_owned();
            admissions.by_environment.get(&name)?;
            match admissions.softened_since.get(&(name, policy.name.to_string())) {
                Some(first) => since = since.min(*first),
                None => begins = true,
            }
        }
        let at = since.checked_add(lasting).unwrap_or(Timestamp::MAX);
        if at <= question.now {
            return None;
        }
        if begins && !self.softened.contains(&policy.name) {
            self.softened.push(policy.name.clone());
        }
        let effect = if already.mode == Mode::Audit { Effect::Audit } else { Effect::Warn };
        let environment = question.caller.setting.environment();
        let note = format!("it runs in {environment} already; refused from {}", to_second(at));
        Some(Softening { at, effect, note })
    }
}

struct Softening {
    at: Timestamp,
    effect: Effect,
    note: String,
}

/// The mode in force, why it is less than Enforce if a date is to come, and when it changes.
fn mode_of(
    policy: &ArtifactPolicy,
    question: &Question<'_>,
) -> (Mode, Option<String>, Option<Timestamp>) {
    let (caller, now) = (question.caller, question.now);
    let mut changes = None;
    for entry in &policy.enforcement {
        let is_there = entry.environments.is_empty()
            || caller.setting.environments().any(|environment| {
                entry.environments.iter().any(|it| it.matches(environment.as_str()))
            });
        let is_cluster = entry.clusters.is_empty()
            || caller
                .cluster()
                .is_some_and(|cluster| entry.clusters.iter().any(|it| it.matches(cluster)));
        if !is_there || !is_cluster || entry.until.is_some_and(|until| until <= now) {
            continue;
        }
        changes = earlier(changes, entry.until);
        if let Some(from) = entry.from.filter(|from| *from > now) {
            let note = format!("refused from {}", to_second(from));
            let mode = if entry.mode == Mode::Enforce { Mode::Warn } else { entry.mode };
            return (mode, Some(note), earlier(changes, Some(from)));
        }
        return (entry.mode, None, changes);
    }
    (Mode::Enforce, None, changes)
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// What becomes of a finding in a mode.
fn effect(finding: &Finding, mode: Mode, on_unknown: OnUnknown) -> Effect {
    let by_mode = |enforced| match mode {
        Mode::Enforce => enforced,
        Mode::Warn => Effect::Warn,
        Mode::Audit => Effect::Audit,
    };
    let refused = match &finding.outcome {
        Outcome::Pass | Outcome::NotApplicable => return Effect::None,
        Outcome::Refuses | Outcome::Error => by_mode(Effect::Refuse),
        Outcome::Unknown | Outcome::Failed { .. } => match on_unknown {
            OnUnknown::Warn => by_mode(Effect::Warn),
            OnUnknown::Allow => Effect::Audit,
            OnUnknown::Deny if finding.outcome == Outcome::Unknown => by_mode(Effect::Refuse),
            OnUnknown::Deny => by_mode(Effect::CannotTell),
        },
    };
    match refused {
        Effect::Refuse | Effect::CannotTell if finding.warns => Effect::Warn,
        effect => effect,
    }
}

fn to_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
