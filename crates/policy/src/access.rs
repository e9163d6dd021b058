//! Access: who may do what where. Only this allows; nothing that no rule allows happens.

use crate::{
    Action, Caller, EnvironmentName, Intent, NamePattern, PrincipalKind, Subject, TextPattern, Who,
};

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
    /// In any of these environments; empty: in all.
    pub environments: Vec<TextPattern>,
    /// Written by a person. The built-in default is not, and so opens nothing private.
    pub is_explicit: bool,
}

/// All rules of a view.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    rules: Vec<AccessRule>,
    has_providers: bool,
}

impl Access {
    /// The rules of the `AccessPolicy` documents. Without any document, use [`Access::built_in`].
    pub fn new(rules: Vec<AccessRule>) -> Self {
        Self { rules, has_providers: false }
    }

    /// Without an `AccessPolicy`: loopback may pull and list, nobody may push.
    pub fn built_in() -> Self {
        Self::new(vec![AccessRule {
            policy: "built-in".to_owned(),
            subjects: vec![Subject::new(Who::Loopback)],
            actions: vec![Action::Pull, Action::List, Action::Referrers],
            repositories: Vec::new(),
            environments: Vec::new(),
            is_explicit: false,
        }])
    }

    /// Says whether some `IdentityProvider` exists, so that refusals tell people to log in.
    #[must_use]
    pub fn with_providers(mut self, has_providers: bool) -> Self {
        self.has_providers = has_providers;
        self
    }

    /// Whether some `IdentityProvider` exists.
    pub fn has_providers(&self) -> bool {
        self.has_providers
    }

    /// Whether rules allow it, in every environment that has a say. `needs_explicit`: the built-in
    /// default does not count.
    pub(crate) fn allows(&self, caller: &Caller, intent: &Intent, needs_explicit: bool) -> bool {
        let principal = &caller.principal;
        match principal.kind() {
            PrincipalKind::System => return intent.action != Action::Administer,
            PrincipalKind::Operator => return true,
            _ => {}
        }
        if !principal.is_in_scope(intent.action, intent.name.as_ref()) {
            return false;
        }
        caller.setting.environments().all(|environment| {
            self.rules.iter().any(|rule| {
                (rule.is_explicit || !needs_explicit)
                    && rule.actions.contains(&intent.action)
                    && rule.holds_in(environment)
                    && rule.speaks_of(intent)
                    && rule.subjects.iter().any(|subject| subject.covers(principal))
            })
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

    fn holds_in(&self, environment: &EnvironmentName) -> bool {
        self.environments.is_empty()
            || self.environments.iter().any(|pattern| pattern.matches(environment.as_str()))
    }
}
