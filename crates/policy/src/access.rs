//! Access: who may do what where. Only this allows; nothing that no rule allows happens.

use crate::{Action, Intent, NamePattern, Network, Principal, PrincipalKind};

/// Whom a rule speaks of.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// Anyone, from one of these networks; from anywhere if there are none.
    Anonymous {
        /// Networks the client's address must lie in.
        networks: Vec<Network>,
    },
    /// Anyone on a loopback listener: the built-in access when no `AccessPolicy` exists.
    Loopback,
}

impl Subject {
    fn covers(&self, principal: &Principal) -> bool {
        match self {
            Self::Anonymous { networks } => {
                networks.is_empty()
                    || principal
                        .address()
                        .is_some_and(|address| networks.iter().any(|net| net.contains(address)))
            }
            Self::Loopback => principal.is_local(),
        }
    }
}

/// One `allow` entry of an `AccessPolicy`.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessRule {
    /// The `AccessPolicy` it stands in.
    pub policy: String,
    /// Any of these.
    pub subjects: Vec<Subject>,
    /// May do any of these.
    pub actions: Vec<Action>,
    /// Where any of these match the canonical name.
    pub repositories: Vec<NamePattern>,
    /// Written by a person. The built-in default is not, and so opens nothing private.
    pub is_explicit: bool,
}

/// All rules of a view.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    rules: Vec<AccessRule>,
}

impl Access {
    /// The rules of the `AccessPolicy` documents. Without any document, use [`Access::built_in`].
    pub fn new(rules: Vec<AccessRule>) -> Self {
        Self { rules }
    }

    /// Without an `AccessPolicy`: loopback may pull and list, nobody may push.
    pub fn built_in() -> Self {
        Self::new(vec![AccessRule {
            policy: "built-in".to_owned(),
            subjects: vec![Subject::Loopback],
            actions: vec![Action::Pull, Action::List, Action::Referrers],
            repositories: Vec::new(),
            is_explicit: false,
        }])
    }

    /// Whether some rule allows it. `needs_explicit`: the built-in default does not count.
    pub(crate) fn allows(
        &self,
        principal: &Principal,
        intent: &Intent,
        needs_explicit: bool,
    ) -> bool {
        match principal.kind() {
            PrincipalKind::System => return intent.action != Action::Administer,
            PrincipalKind::Operator => return true,
            PrincipalKind::Anonymous => {}
        }
        self.rules.iter().any(|rule| {
            (rule.is_explicit || !needs_explicit)
                && rule.actions.contains(&intent.action)
                && rule.subjects.iter().any(|subject| subject.covers(principal))
                && rule.speaks_of(intent)
        })
    }

    /// Whether anything but the built-in default is in force.
    pub fn is_explicit(&self) -> bool {
        self.rules.iter().any(|rule| rule.is_explicit)
    }
}

impl AccessRule {
    fn speaks_of(&self, intent: &Intent) -> bool {
        match &intent.name {
            // The built-in rule has no patterns and speaks of every name.
            Some(name) => {
                self.repositories.iter().any(|pattern| pattern.matches(name)) || !self.is_explicit
            }
            None => true,
        }
    }
}
