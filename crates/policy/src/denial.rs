//! A refusal, and the one line that explains it. The text of a refusal is made here and nowhere
//! else (contracts §11).

use crate::DecisionId;

/// Why something is refused, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    id: DecisionId,
    policy: String,
    rule: String,
    reason: String,
    remedy: String,
}

impl Denial {
    /// A message is one line of at most this many characters; runtimes cut longer ones.
    pub const MAX_MESSAGE_CHARS: usize = 300;

    pub(crate) fn new(policy: &str, rule: &str, reason: String, remedy: String) -> Self {
        let id = DecisionId::generate();
        Self { id, policy: policy.to_owned(), rule: rule.to_owned(), reason, remedy }
    }

    /// A request that names a registry no repository stands for (no open proxy).
    pub fn foreign_namespace(namespace: &str) -> Self {
        let shown: String = namespace.chars().filter(|c| !c.is_control()).take(80).collect();
        Self::new(
            "routing",
            "namespace",
            format!("no repository here stands for registry {shown}"),
            "add a Repository whose spec.hosts names it".to_owned(),
        )
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

    /// `denied by <policy>/<rule>: <reason>; <what to do>; lockgate why <id>`, on one line. The
    /// reason gives way when it gets too long; what to do and the id do not. Where no policy in
    /// particular refused, because none allowed, only the rule is named: `denied by access: …`.
    pub fn message(&self) -> String {
        let head = match self.policy == self.rule {
            true => format!("denied by {}: ", self.rule),
            false => format!("denied by {}/{}: ", self.policy, self.rule),
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
