//! What a decision was made from. Many decisions share it, so it is written once for a segment and
//! named by its hash from then on; it is made into text by the thread that writes, not by a request.

use crate::chain::Hash;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// Longest text of facts or of outcomes, in bytes. Longer ones are left out, and say so: a line of
/// the record stays bounded whatever an artifact's labels hold.
pub const DETAIL_BYTES_MAX: usize = 256 << 10;

/// What one rule said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleSaid {
    /// The `ArtifactPolicy`.
    pub policy: String,
    /// The rule in it.
    pub rule: String,
    /// `Pass`, `NotApplicable`, `Refuses`, `Unknown`, `Failed` or `Error`.
    pub outcome: String,
    /// `None`, `Refuse`, `CannotTell`, `Warn` or `Audit`.
    pub effect: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// Why the effect is less than a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub softened: Option<String>,
    /// The waiver that made it less, if that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiver: Option<String>,
}

impl From<&policy::RuleOutcome> for RuleSaid {
    fn from(outcome: &policy::RuleOutcome) -> Self {
        let said = match outcome.outcome {
            policy::Outcome::Failed { .. } => "Failed".to_owned(),
            ref other => format!("{other:?}"),
        };
        Self {
            policy: outcome.policy.to_string(),
            rule: outcome.rule.to_string(),
            outcome: said,
            effect: format!("{:?}", outcome.effect),
            reason: outcome.reason.clone(),
            remedy: outcome.remedy.clone(),
            softened: outcome.softened.clone(),
            waiver: None,
        }
    }
}

/// A JSON text and its hash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) json: Box<str>,
    pub(crate) hash: Hash,
}

impl Text {
    pub(crate) fn new(json: String) -> Self {
        let json = match json.len() > DETAIL_BYTES_MAX {
            true => format!("{{\"leftOut\":\"longer than {DETAIL_BYTES_MAX} bytes\"}}"),
            false => json,
        };
        Self { hash: Hash::of(json.as_bytes()), json: json.into() }
    }
}

/// Both texts.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    pub(crate) facts: Arc<Text>,
    pub(crate) outcomes: Arc<Text>,
}

type Make = Box<dyn FnOnce() -> Texts + Send>;

/// The facts that a decision was made from, and what every rule said.
pub struct Detail(LazyLock<Texts, Make>);

impl Detail {
    /// Keeps what makes the facts (a JSON value) and the outcomes, and makes them when they are first
    /// written. Let decisions that are made from the same share one.
    pub fn later(
        make: impl FnOnce() -> (serde_json::Value, Vec<RuleSaid>) + Send + 'static,
    ) -> Self {
        Self(LazyLock::new(Box::new(move || {
            let (facts, outcomes) = make();
            // Strings and numbers alone: there is nothing in them that cannot be written.
            let outcomes = serde_json::to_string(&outcomes).unwrap_or_else(|_| "[]".to_owned());
            let facts = Arc::new(Text::new(facts.to_string()));
            Texts { facts, outcomes: Arc::new(Text::new(outcomes)) }
        })))
    }

    /// The same, from what is there already.
    pub fn new(facts: serde_json::Value, outcomes: Vec<RuleSaid>) -> Self {
        Self::later(move || (facts, outcomes))
    }

    pub(crate) fn of_texts(texts: Texts) -> Self {
        Self(LazyLock::new(Box::new(move || texts)))
    }

    pub(crate) fn texts(&self) -> &Texts {
        &self.0
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (one, two) = (self.texts(), other.texts());
        one.facts.hash == two.facts.hash && one.outcomes.hash == two.outcomes.hash
    }

    /// The facts; `{"leftOut": …}` if they were too long.
    pub fn facts(&self) -> serde_json::Value {
        serde_json::from_str(&self.texts().facts.json).unwrap_or(serde_json::Value::Null)
    }

    /// The hash of the facts, by which lines name them.
    pub fn facts_hash(&self) -> Hash {
        self.texts().facts.hash
    }

    /// What every rule said; none if that was left out for its length.
    pub fn outcomes(&self) -> Vec<RuleSaid> {
        serde_json::from_str(&self.texts().outcomes.json).unwrap_or_default()
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detail").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_facts_are_the_same_detail() {
        let facts = serde_json::json!({ "tags": ["1"] });
        let one = Detail::new(facts.clone(), vec![]);
        let two = Detail::later(|| (serde_json::json!({ "tags": ["1"] }), vec![]));
        assert!(one.is_same(&two));
        assert_eq!(two.facts(), facts);
        let more = Detail::new(facts, vec![RuleSaid::default()]);
        assert!(!one.is_same(&more));
        assert_eq!(more.outcomes(), [RuleSaid::default()]);
    }

    #[test]
    fn what_is_too_long_is_left_out_and_says_so() {
        let long = "x".repeat(DETAIL_BYTES_MAX);
        let detail = Detail::new(serde_json::json!({ "labels": long }), vec![]);
        assert_eq!(detail.facts()["leftOut"], "longer than 262144 bytes");
    }
}
