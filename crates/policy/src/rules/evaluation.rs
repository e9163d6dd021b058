//! What came of the rules for one question: each outcome, and what all of them mean together.

use crate::Fact;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// What one rule says of one artifact.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It has nothing against it.
    Pass,
    /// It is not about this: of an index, what is judged at each child.
    NotApplicable,
    /// It has something against it.
    Refuses,
    /// A fact that it needs is unknown.
    Unknown,
    /// A fact that it needs could not be found out now.
    Failed {
        /// When to ask again.
        retry_after: Option<Duration>,
    },
    /// It could not be evaluated.
    Error,
}

/// What becomes of an outcome that is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// The request is refused.
    Refuse,
    /// The request cannot be answered now.
    CannotTell,
    /// The client is told.
    Warn,
    /// It is recorded.
    Audit,
}

/// What came of one rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleOutcome {
    /// The `ArtifactPolicy`.
    pub policy: Arc<str>,
    /// The rule in it.
    pub rule: Arc<str>,
    /// What it says.
    pub outcome: Outcome,
    /// What becomes of it.
    pub effect: Effect,
    /// Why, in one line; empty where it has nothing against it.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
    /// Why the effect is less than a refusal: a date to come, a mode, what already runs, a waiver.
    pub softened: Option<String>,
    /// The `Waiver` that was used.
    pub waiver: Option<Arc<str>>,
    /// A `Block` said it: it binds in any posture.
    pub is_block: bool,
}

/// What all rules mean together. Deny wins; what cannot be told comes before what is only warned of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing stands against it.
    #[default]
    Pass,
    /// At least one rule refuses.
    Refuse,
    /// No rule refuses, and at least one cannot tell.
    CannotTell,
}

/// What came of all rules of all policies that match.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    outcomes: Vec<RuleOutcome>,
    /// What they mean, and whether any warns: asked of a remembered evaluation far more often than it is made.
    verdict: Verdict,
    warns: bool,
    is_blocked: bool,
    valid_until: Option<Timestamp>,
    /// Policies whose refusal was softened for the first time, because the environment runs the
    /// artifact already: to be noted, so that the softening ends.
    softened: Vec<Arc<str>>,
}

impl Evaluation {
    /// Puts outcomes together. `valid_until`: the earliest moment at which a date, an age or a window
    /// used in it passes; `softened`: policies whose softening begins with this.
    pub(crate) fn new(
        outcomes: Vec<RuleOutcome>,
        valid_until: Option<Timestamp>,
        softened: Vec<Arc<str>>,
    ) -> Self {
        let has = |effect| outcomes.iter().any(|it: &RuleOutcome| it.effect == effect);
        let verdict = if has(Effect::Refuse) {
            Verdict::Refuse
        } else if has(Effect::CannotTell) {
            Verdict::CannotTell
        } else {
            Verdict::Pass
        };
        let warns = has(Effect::Warn);
        let is_blocked = outcomes.iter().any(|it| it.is_block);
        Self { outcomes, verdict, warns, is_blocked, valid_until, softened }
    }

    /// That it means the same no longer than another one does.
    #[must_use]
    pub fn no_longer_than(mut self, other: &Self) -> Self {
        self.valid_until = super::check::earlier(self.valid_until, other.valid_until);
        self
    }

    /// Every rule of every policy that matched.
    pub fn outcomes(&self) -> &[RuleOutcome] {
        &self.outcomes
    }

    /// Until when the same facts mean the same.
    pub fn valid_until(&self) -> Option<Timestamp> {
        self.valid_until
    }

    /// Policies whose softening begins with this.
    pub fn softened(&self) -> &[Arc<str>] {
        &self.softened
    }

    /// What all of them mean.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether a block refuses it, or cannot tell: that binds whatever the posture is.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Waivers that were used, each once.
    pub fn waivers(&self) -> Vec<Arc<str>> {
        let mut all: Vec<Arc<str>> =
            self.outcomes.iter().filter_map(|it| it.waiver.clone()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Whether the client is to be warned of any.
    pub fn warns(&self) -> bool {
        self.warns
    }

    /// The outcomes with an effect, in the order of the policies.
    pub fn with_effect(&self, effect: Effect) -> impl Iterator<Item = &RuleOutcome> {
        self.outcomes.iter().filter(move |it| it.effect == effect)
    }
}

/// The value, or the outcome and the reason that a fact without one leads to.
pub(crate) fn needed<T>(fact: &Fact<T>) -> Result<&T, (Outcome, String)> {
    match fact {
        Fact::Known(value) => Ok(value),
        Fact::Unknown(why) => Err((Outcome::Unknown, why.to_string())),
        Fact::Failed { why, retry_after } => {
            Err((Outcome::Failed { retry_after: *retry_after }, why.to_string()))
        }
    }
}
