//! The decision itself: two pure functions, one before any upstream is asked and one before the
//! first byte.

use crate::{Access, Action, DecisionId, Denial, Intent, Object, Permit, Principal};
use oci::Digest;

/// What is known of the target when it is decided.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The content was, or would be, fetched with this credential scope; `None`: public.
    pub private_to: Option<String>,
    /// The digest the target resolved to; none for lists.
    pub digest: Option<Digest>,
}

/// Proof that access was looked at before an upstream is asked (contracts §1). Resolution takes
/// it, so that no upstream learns of a request that nobody may make.
#[derive(Debug)]
pub struct Leave(());

/// Whether this principal may ask this at all. Costs no I/O and says nothing about existence.
/// `private_to`: the credential scope the upstream would be asked with.
pub fn may_ask(
    access: &Access,
    principal: &Principal,
    intent: &Intent,
    private_to: Option<&str>,
) -> Result<Leave, Denial> {
    check(access, principal, intent, private_to).map(|()| Leave(()))
}

/// Decides. Deny wins; with access alone there is one reason at most.
pub fn decide(
    access: &Access,
    principal: &Principal,
    intent: &Intent,
    facts: &Facts,
    revision: &Digest,
) -> Result<Permit, Denial> {
    check(access, principal, intent, facts.private_to.as_deref())?;
    Ok(Permit {
        id: DecisionId::generate(),
        principal: *principal,
        intent: intent.clone(),
        object: facts.digest,
        revision: *revision,
    })
}

/// Whether a body that is being sent may go on after the view changed (contracts §3).
pub fn still_allowed(
    access: &Access,
    principal: &Principal,
    intent: &Intent,
    facts: &Facts,
) -> bool {
    check(access, principal, intent, facts.private_to.as_deref()).is_ok()
}

fn check(
    access: &Access,
    principal: &Principal,
    intent: &Intent,
    private_to: Option<&str>,
) -> Result<(), Denial> {
    if matches!(intent.object, Object::Base)
        || access.allows(principal, intent, private_to.is_some())
    {
        return Ok(());
    }
    let what = match &intent.name {
        Some(name) => format!("{} on {name}", intent.action),
        None => intent.action.to_string(),
    };
    if private_to.is_some() && access.allows(principal, intent, false) {
        return Err(Denial::new(
            "built-in",
            "private-content",
            format!("{} is fetched with a credential, so it is private", shown(intent)),
            format!("allow {} to someone by an AccessPolicy", intent.action),
        ));
    }
    let remedy = match (access.is_explicit(), intent.action) {
        (false, Action::Push | Action::Delete) => {
            "no AccessPolicy exists and a remote repository takes no pushes"
        }
        (false, _) => {
            "without an AccessPolicy only loopback may pull and list; add an AccessPolicy"
        }
        (true, Action::Push | Action::Delete) => {
            "remote repositories take no pushes and deletes; for others ask the owner of the \
             AccessPolicy documents"
        }
        (true, _) => "ask the owner of the AccessPolicy documents",
    };
    let policy = if access.is_explicit() { "access" } else { "built-in" };
    let reason = format!("no AccessPolicy allows {what} to {principal}");
    Err(Denial::new(policy, "access", reason, remedy.to_owned()))
}

fn shown(intent: &Intent) -> String {
    intent.name.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccessRule, NamePattern, Network, Subject};
    use oci::{Name, Reference};

    fn intent(action: Action, name: &str) -> Intent {
        Intent {
            action,
            name: Some(Name::parse(name).unwrap()),
            object: Object::Manifest(Reference::parse("1").unwrap()),
        }
    }

    fn remote() -> Principal {
        Principal::anonymous("10.1.2.3".parse().unwrap(), false)
    }

    fn local() -> Principal {
        Principal::anonymous("127.0.0.1".parse().unwrap(), true)
    }

    #[test]
    fn built_in_access_is_loopback_reading_only() {
        let access = Access::built_in();
        let ask =
            |who, action| may_ask(&access, &who, &intent(action, "docker.io/a"), None).is_ok();
        assert!(ask(local(), Action::Pull));
        assert!(ask(local(), Action::List));
        assert!(ask(local(), Action::Referrers));
        assert!(!ask(local(), Action::Push));
        assert!(!ask(local(), Action::Delete));
        assert!(!ask(local(), Action::Administer));
        assert!(!ask(remote(), Action::Pull));
        assert!(ask(Principal::operator(), Action::Administer));
    }

    #[test]
    fn private_content_needs_an_explicit_grant() {
        let access = Access::built_in();
        let denial =
            may_ask(&access, &local(), &intent(Action::Pull, "docker.io/corp/a"), Some("corp/"))
                .unwrap_err();
        assert_eq!(denial.rule(), "private-content");
        let explicit = Access::new(vec![rule(&["docker.io/**"], vec![])]);
        let asked =
            may_ask(&explicit, &remote(), &intent(Action::Pull, "docker.io/corp/a"), Some("corp/"));
        assert!(asked.is_ok());
    }

    fn rule(patterns: &[&str], networks: Vec<Network>) -> AccessRule {
        AccessRule {
            policy: "p".to_owned(),
            subjects: vec![Subject::Anonymous { networks }],
            actions: vec![Action::Pull],
            repositories: patterns.iter().map(|p| NamePattern::parse(p).unwrap()).collect(),
            is_explicit: true,
        }
    }

    #[test]
    fn the_first_access_policy_replaces_the_built_in_access() {
        let access = Access::new(vec![rule(&["quay.io/**"], vec![])]);
        assert!(may_ask(&access, &local(), &intent(Action::Pull, "docker.io/a"), None).is_err());
        assert!(may_ask(&access, &remote(), &intent(Action::Pull, "quay.io/a"), None).is_ok());
        assert!(may_ask(&access, &remote(), &intent(Action::List, "quay.io/a"), None).is_err());
        let push = may_ask(&access, &remote(), &intent(Action::Push, "quay.io/a"), None);
        let message = push.unwrap_err().message();
        assert!(message.starts_with("denied by access: "), "{message}");
        assert!(message.contains("remote repositories take no pushes"), "{message}");
    }

    #[test]
    fn networks_narrow_a_rule() {
        let net = Network::parse("10.2.0.0/16").unwrap();
        let access = Access::new(vec![rule(&["**"], vec![net])]);
        assert!(may_ask(&access, &remote(), &intent(Action::Pull, "a"), None).is_err());
        let inside = Principal::anonymous("10.2.9.9".parse().unwrap(), false);
        assert!(may_ask(&access, &inside, &intent(Action::Pull, "a"), None).is_ok());
    }

    #[test]
    fn an_access_without_rules_allows_nobody() {
        let access = Access::new(vec![]);
        for action in Action::ALL {
            assert!(may_ask(&access, &local(), &intent(action, "a"), None).is_err());
        }
    }
}
