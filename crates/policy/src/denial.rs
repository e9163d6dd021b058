//! A refusal, and the one line that explains it. The text of a refusal is made in this crate and
//! nowhere else (contracts §11): the line here, what each one says in [`crate::denials`].

use crate::rules::{Effect, Evaluation, Outcome};
use crate::{DecisionId, denials};
use std::sync::Arc;
use std::time::Duration;

/// Why something is refused, and what to do about it.
#[derive(Clone, Debug)]
pub struct Denial {
    id: DecisionId,
    policy: String,
    rule: String,
    reason: String,
    remedy: String,
    /// Of a refusal by artifact policies: all that they said.
    evaluation: Option<Arc<Evaluation>>,
}

impl Denial {
    /// A message is one line of at most this many characters; runtimes cut longer ones.
    pub const MAX_MESSAGE_CHARS: usize = 300;
    /// Of these, the name of the policy gets so many.
    const MAX_POLICY_CHARS: usize = 64;

    pub(crate) fn new(policy: &str, rule: &str, reason: String, remedy: String) -> Self {
        let id = DecisionId::generate();
        let (policy, rule) = (policy.to_owned(), rule.to_owned());
        Self { id, policy, rule, reason, remedy, evaluation: None }
    }

    pub(crate) fn with_evaluation(mut self, evaluation: &Arc<Evaluation>) -> Self {
        self.evaluation = Some(evaluation.clone());
        self
    }

    /// The decision's id.
    pub fn id(&self) -> DecisionId {
        self.id
    }

    /// The policy that refused.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The rule in it.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Whether access refused: somebody else might be allowed.
    pub fn is_of_access(&self) -> bool {
        matches!(self.rule.as_str(), "access" | "private-content")
    }

    /// Why, without what to do.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What to do about it.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// Of a refusal by artifact policies: all that they said.
    pub fn evaluation(&self) -> Option<&Arc<Evaluation>> {
        self.evaluation.as_ref()
    }

    /// The further rules that refuse, one line each: what is left to do after the first is put right.
    pub fn further_reasons(&self) -> Vec<String> {
        let refusing = self.evaluation.iter().flat_map(|it| it.with_effect(Effect::Refuse));
        refusing.skip(1).map(denials::line).collect()
    }

    /// `denied by <policy>/<rule>: <reason>; <what to do>; lockgate why <id>`, on one line. The
    /// reason gives way when it gets too long; what to do and the id do not. Where no policy in
    /// particular refused, because none allowed, only the rule is named: `denied by access: …`.
    pub fn message(&self) -> String {
        // A repository's name may be as long as the whole line.
        let policy: String = self.policy.chars().take(Self::MAX_POLICY_CHARS).collect();
        let head = match self.policy == self.rule {
            true => format!("denied by {policy}: "),
            false => format!("denied by {policy}/{}: ", self.rule),
        };
        let tail = format!("; {}; lockgate why {}", self.remedy, self.id);
        let room = Self::MAX_MESSAGE_CHARS
            .saturating_sub(head.chars().count() + tail.chars().count())
            .max(20);
        let mut reason: String = self.reason.chars().take(room).collect();
        if self.reason.chars().count() > room {
            reason.pop();
            reason.push('…');
        }
        let line = head + &reason + &tail;
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message())
    }
}

/// What a rule needs could not be found out: 503, and asking again may help.
#[derive(Clone, Debug)]
pub struct CannotTell {
    id: DecisionId,
    evaluation: Arc<Evaluation>,
}

impl CannotTell {
    pub(crate) fn new(evaluation: &Arc<Evaluation>) -> Self {
        Self { id: DecisionId::generate(), evaluation: evaluation.clone() }
    }

    /// The decision's id.
    pub fn id(&self) -> DecisionId {
        self.id
    }

    /// All that the policies said.
    pub fn evaluation(&self) -> &Arc<Evaluation> {
        &self.evaluation
    }

    /// When to ask again, if somebody said.
    pub fn retry_after(&self) -> Option<Duration> {
        let all = self.evaluation.with_effect(Effect::CannotTell);
        let waits = all.filter_map(|it| match it.outcome {
            Outcome::Failed { retry_after } => retry_after,
            _ => None,
        });
        waits.max()
    }

    /// One line, as [`Denial::message`] has it.
    pub fn message(&self) -> String {
        let first = self.evaluation.with_effect(Effect::CannotTell).next();
        let (what, why) = match first {
            Some(it) => (format!("{}/{}", it.policy, it.rule), it.reason.as_str()),
            None => ("a policy".to_owned(), "a fact is missing"),
        };
        let line =
            format!("cannot be decided now by {what}: {why}; ask again; lockgate why {}", self.id);
        let line: String = line.chars().take(Denial::MAX_MESSAGE_CHARS).collect();
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

impl std::fmt::Display for CannotTell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_bounded_line() {
        let denial = Denial::new("p", "r", "x\n".repeat(400), "do this".to_owned());
        let message = denial.message();
        assert!(message.chars().count() <= Denial::MAX_MESSAGE_CHARS);
        assert!(!message.contains('\n'));
        assert!(message.starts_with("denied by p/r: x"));
        assert!(message.ends_with(&format!("; do this; lockgate why {}", denial.id())));
        let nobodys = Denial::new("access", "access", "no".to_owned(), "ask".to_owned());
        assert!(nobodys.message().starts_with("denied by access: no; "), "{nobodys}");
    }
}
