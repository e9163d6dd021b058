//! What becomes of what rules find: the mode of the policy, dates, what is unknown, what already runs.

use super::check::{Finding, earlier};
use super::waiver::Covers;
use super::{
    ArtifactPolicy, Block, CompiledRule, Effect, Evaluation, Mode, OnUnknown, Outcome, Question,
    RuleOutcome, Waiver,
};
use crate::{EnvironmentName, Fact};
use jiff::{SignedDuration, Timestamp};
use std::cmp::Reverse;
use std::sync::Arc;

/// Outcomes as they are found, and until when they hold.
pub(super) struct Effects<'p> {
    now: Timestamp,
    waivers: &'p [Waiver],
    outcomes: Vec<RuleOutcome>,
    valid_until: Option<Timestamp>,
    softened: Vec<Arc<str>>,
}

impl<'p> Effects<'p> {
    /// None yet, at this moment.
    pub(super) fn new(now: Timestamp, waivers: &'p [Waiver]) -> Self {
        Self { now, waivers, outcomes: Vec::new(), valid_until: None, softened: Vec::new() }
    }

    /// Takes what a rule found.
    pub(super) fn add(
        &mut self,
        policy: &ArtifactPolicy,
        rule: &CompiledRule,
        finding: Finding,
        question: &Question<'_>,
    ) {
        self.holds_until(finding.until);
        // What is good is nobody's concern, in whatever mode.
        if finding.is_good() {
            return self.push(policy, rule, finding, Effect::None, None);
        }
        let force = force(policy, question);
        self.holds_until(force.changes);
        let on_unknown = rule.on_unknown.unwrap_or(policy.on_unknown);
        let effect = effect(&finding, force.mode, on_unknown);
        if matches!(effect, Effect::Refuse | Effect::CannotTell)
            && let Some(waiver) = self.waiver(policy, rule, question)
        {
            return self.waive(policy, rule, finding, waiver);
        }
        if effect == Effect::Refuse {
            return self.refuse(policy, rule, finding, question);
        }
        let later = self::effect(&finding, Mode::Enforce, on_unknown);
        let will_be = matches!(later, Effect::Refuse | Effect::CannotTell);
        let note = force.from.filter(|_| effect == Effect::Warn && will_be);
        let note = note.map(|from| format!("refused from {}", to_second(from)));
        self.push(policy, rule, finding, effect, note);
    }

    /// Takes what a block found: nothing softens it.
    pub(super) fn add_block(&mut self, block: &Block, finding: Finding) {
        let effect = match finding.outcome {
            Outcome::Refuses => Effect::Refuse,
            _ => Effect::CannotTell,
        };
        self.outcomes.push(RuleOutcome {
            policy: block.name.clone(),
            rule: Block::rule(),
            outcome: finding.outcome,
            effect,
            reason: finding.reason,
            remedy: finding.remedy,
            softened: None,
            waiver: None,
            is_block: true,
        });
    }

    /// The waiver that holds longest.
    fn waiver(
        &self,
        policy: &ArtifactPolicy,
        rule: &CompiledRule,
        question: &Question<'_>,
    ) -> Option<&'p Waiver> {
        let all = self.waivers.iter();
        let covering = all.filter(|it| it.covers(policy, rule, question) == Covers::Yes);
        covering.max_by_key(|it| it.expires)
    }

    fn waive(
        &mut self,
        policy: &ArtifactPolicy,
        rule: &CompiledRule,
        finding: Finding,
        waiver: &Waiver,
    ) {
        self.holds_until(Some(waiver.expires));
        let note = format!("waived by {} until {}", waiver.name, to_second(waiver.expires));
        self.push(policy, rule, finding, Effect::Warn, Some(note));
        if let Some(outcome) = self.outcomes.last_mut() {
            outcome.waiver = Some(waiver.name.clone());
        }
    }

    /// What is refused, unless it runs already.
    fn refuse(
        &mut self,
        policy: &ArtifactPolicy,
        rule: &CompiledRule,
        mut finding: Finding,
        question: &Question<'_>,
    ) {
        match self.runs_already(policy, question) {
            Already::No => self.push(policy, rule, finding, Effect::Refuse, None),
            Already::Runs { effect, until, note } => {
                self.holds_until(Some(until));
                self.push(policy, rule, finding, effect, Some(note));
            }
            // A refusal would be remembered, though it may be none a moment later.
            Already::CannotTell { outcome, why } => {
                finding.reason =
                    format!("{}; whether it runs already is not known: {why}", finding.reason);
                finding.outcome = outcome;
                self.push(policy, rule, finding, Effect::CannotTell, None);
            }
        }
    }

    fn push(
        &mut self,
        policy: &ArtifactPolicy,
        rule: &CompiledRule,
        finding: Finding,
        effect: Effect,
        softened: Option<String>,
    ) {
        let remedy = match &rule.remedy {
            Some(remedy) if effect != Effect::None => remedy.to_string(),
            _ => finding.remedy,
        };
        self.outcomes.push(RuleOutcome {
            policy: policy.name.clone(),
            rule: rule.name.clone(),
            outcome: finding.outcome,
            effect,
            reason: finding.reason,
            remedy,
            softened,
            waiver: None,
            is_block: false,
        });
    }

    pub(super) fn finish(mut self) -> Evaluation {
        let is_refused = self.outcomes.iter().any(|it| it.effect == Effect::Refuse);
        let is_missing = |it: &RuleOutcome| matches!(it.outcome, Outcome::Failed { .. });
        // What could not be found out now may be found out next time, also where it is let pass
        // meanwhile; only a refusal stands whatever else comes to light.
        // A block that cannot be told binds in any posture, and is asked for again whatever else refuses.
        let is_open_block = |it: &RuleOutcome| it.is_block && is_missing(it);
        let is_open = !is_refused && self.outcomes.iter().any(is_missing);
        if is_open || self.outcomes.iter().any(is_open_block) {
            self.holds_until(Some(self.now));
        }
        Evaluation::new(self.outcomes, self.valid_until, self.softened)
    }

    /// A moment at which the answer may be another one. What has passed changes nothing any more,
    /// except what holds for this moment only.
    fn holds_until(&mut self, at: Option<Timestamp>) {
        self.valid_until = earlier(self.valid_until, at.filter(|at| *at >= self.now));
    }

    /// What the environments that the policy speaks of run already is warned of for a while, counted
    /// from the first time. One of them that does not run it is enough to refuse it.
    fn runs_already(&mut self, policy: &ArtifactPolicy, question: &Question<'_>) -> Already {
        let Some(already) = policy.already_admitted else { return Already::No };
        let admissions = match &question.facts.admissions {
            Fact::Known(admissions) => admissions,
            Fact::Unknown(_) => return Already::No,
            Fact::Failed { why, retry_after } => {
                let outcome = Outcome::Failed { retry_after: *retry_after };
                return Already::CannotTell { outcome, why: why.clone() };
            }
        };
        let Ok(lasting) = SignedDuration::try_from(already.lasting) else { return Already::No };
        let (mut since, mut begins) = (question.now, false);
        for environment in policy.matches.environments_of(&question.caller.setting) {
            let name = environment.as_str().to_owned();
            if !admissions.by_environment.contains_key(&name) {
                return Already::No;
            }
            match admissions.softened_since.get(&(name, policy.name.to_string())) {
                Some(first) => since = since.min(*first),
                None => begins = true,
            }
        }
        let until = since.checked_add(lasting).unwrap_or(Timestamp::MAX);
        if until <= question.now {
            return Already::No;
        }
        if begins && !self.softened.contains(&policy.name) {
            self.softened.push(policy.name.clone());
        }
        let effect = if already.mode == Mode::Audit { Effect::Audit } else { Effect::Warn };
        let environment = question.caller.setting.environment();
        let note = format!("it runs in {environment} already; refused from {}", to_second(until));
        Already::Runs { effect, until, note }
    }
}

/// Whether what is refused runs already where it is asked for.
enum Already {
    /// It does not, or for too long.
    No,
    /// It does, and until then no more becomes of it than this.
    Runs { effect: Effect, until: Timestamp, note: String },
    /// Nobody could say now.
    CannotTell { outcome: Outcome, why: Arc<str> },
}

/// How a policy is enforced for one question.
struct Force {
    mode: Mode,
    /// When it will be enforced, if it is not yet.
    from: Option<Timestamp>,
    /// When time alone changes this.
    changes: Option<Timestamp>,
}

/// The strictest of what holds in the environments that the policy speaks of: a client that asks for a
/// stricter one gets no laxer answer than by asking for it alone.
fn force(policy: &ArtifactPolicy, question: &Question<'_>) -> Force {
    let mut changes = None;
    let all = policy.matches.environments_of(&question.caller.setting);
    let strictest = all
        .map(|environment| {
            let (mode, from, at) = mode_in(policy, environment, question);
            changes = earlier(changes, at);
            (mode, from)
        })
        .max_by_key(|(mode, from)| (strictness(*mode), Reverse(from.unwrap_or(Timestamp::MAX))));
    let (mode, from) = strictest.unwrap_or((Mode::Enforce, None));
    Force { mode, from, changes }
}

fn strictness(mode: Mode) -> u8 {
    match mode {
        Mode::Audit => 0,
        Mode::Warn => 1,
        Mode::Enforce => 2,
    }
}

/// The mode in one environment, when it becomes Enforce if that is to come, and when it changes.
fn mode_in(
    policy: &ArtifactPolicy,
    environment: &EnvironmentName,
    question: &Question<'_>,
) -> (Mode, Option<Timestamp>, Option<Timestamp>) {
    let (caller, now) = (question.caller, question.now);
    let mut changes = None;
    for entry in &policy.enforcement {
        let is_there = entry.environments.is_empty()
            || entry.environments.iter().any(|it| it.matches(environment.as_str()));
        let is_cluster = entry.clusters.is_empty()
            || caller
                .cluster()
                .is_some_and(|cluster| entry.clusters.iter().any(|it| it.matches(cluster)));
        if !is_there || !is_cluster || entry.until.is_some_and(|until| until <= now) {
            continue;
        }
        changes = earlier(changes, entry.until);
        return match entry.from.filter(|from| *from > now) {
            Some(from) if entry.mode == Mode::Enforce => {
                (Mode::Warn, Some(from), earlier(changes, Some(from)))
            }
            _ => (entry.mode, None, changes),
        };
    }
    (Mode::Enforce, None, changes)
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
