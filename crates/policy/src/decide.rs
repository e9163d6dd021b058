//! The decision itself: two pure functions, one before any upstream is asked and one before the
//! first byte.

use crate::{Access, DecisionId, Denial, Intent, Object, Permit, Principal};
use oci::Digest;

/// What is known of the target when it is decided.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The content was, or would be, fetched with this credential scope; `None`: public.
    pub private_to: Option<String>,
    /// The digest the target resolved to; of a push, what is to be taken. None for lists, and for
    /// uploads that do not say it yet.
    pub digest: Option<Digest>,
}

/// Proof that access was looked at before an upstream is asked (contracts §1). Resolution takes
/// it, so that no upstream learns of a request that nobody may make.
#[derive(Debug)]
pub struct Leave(());

/// One thing that may be asked for: a member of a virtual repository, or the only one there is.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What is asked, under the candidate's canonical name.
    pub intent: &'a Intent,
    /// The credential scope the upstream would be asked with; `None`: public.
    pub private_to: Option<&'a str>,
}

/// Whether this principal may ask this of any candidate (contracts §1). Costs no I/O and says
/// nothing about existence; whether the one that has it may be used is decided afterwards.
///
/// Fails with the denial of the first candidate. None at all is nobody's, and refused.
pub fn may_ask(
    access: &Access,
    principal: &Principal,
    candidates: &[Candidate<'_>],
) -> Result<Leave, Denial> {
    let mut first = None;
    for candidate in candidates {
        match check(access, principal, candidate.intent, candidate.private_to) {
            Ok(()) => return Ok(Leave(())),
            Err(denial) => first = first.or(Some(denial)),
        }
    }
    Err(first.unwrap_or_else(Denial::no_candidate))
}

/// [`may_ask`] where there is one candidate.
pub fn may_ask_one(
    access: &Access,
    principal: &Principal,
    intent: &Intent,
    private_to: Option<&str>,
) -> Result<Leave, Denial> {
    may_ask(access, principal, &[Candidate { intent, private_to }])
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
    if private_to.is_some() && access.allows(principal, intent, false) {
        return Err(Denial::private_content(intent));
    }
    Err(Denial::not_allowed(principal, intent, access.is_explicit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccessRule, Action, NamePattern, Network, Subject};
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
            |who, action| may_ask_one(&access, &who, &intent(action, "docker.io/a"), None).is_ok();
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
        let denial = may_ask_one(
            &access,
            &local(),
            &intent(Action::Pull, "docker.io/corp/a"),
            Some("corp/"),
        )
        .unwrap_err();
        assert_eq!(denial.rule(), "private-content");
        let explicit = Access::new(vec![rule(&["docker.io/**"], vec![])]);
        let asked = may_ask_one(
            &explicit,
            &remote(),
            &intent(Action::Pull, "docker.io/corp/a"),
            Some("corp/"),
        );
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
        assert!(
            may_ask_one(&access, &local(), &intent(Action::Pull, "docker.io/a"), None).is_err()
        );
        assert!(may_ask_one(&access, &remote(), &intent(Action::Pull, "quay.io/a"), None).is_ok());
        assert!(may_ask_one(&access, &remote(), &intent(Action::List, "quay.io/a"), None).is_err());
        let push = may_ask_one(&access, &remote(), &intent(Action::Push, "quay.io/a"), None);
        let message = push.unwrap_err().message();
        assert!(message.starts_with("denied by access: "), "{message}");
        assert!(message.contains("for actions: [Push] on 'quay.io/**'"), "{message}");
    }

    #[test]
    fn one_candidate_that_is_allowed_is_enough_to_ask() {
        let access = Access::new(vec![rule(&["team/**"], vec![])]);
        let [private, team] = ["docker.io/corp/a", "team/a"].map(|it| intent(Action::Pull, it));
        let closed = Candidate { intent: &private, private_to: Some("corp/") };
        let open = Candidate { intent: &team, private_to: None };
        assert!(may_ask(&access, &remote(), &[closed, open]).is_ok());
        let message = may_ask(&access, &remote(), &[closed, closed]).unwrap_err().message();
        assert!(message.contains("Pull on docker.io/corp/a"), "the first is told: {message}");
        assert_eq!(may_ask(&access, &remote(), &[]).unwrap_err().rule(), "members");
        assert!(may_ask(&access, &Principal::operator(), &[]).is_err());
    }

    #[test]
    fn a_permit_of_a_push_names_what_is_pushed() {
        let access = Access::new(vec![AccessRule {
            actions: vec![Action::Push],
            ..rule(&["team/**"], vec![])
        }]);
        let intent = Intent { object: Object::Upload, ..intent(Action::Push, "team/a") };
        let pushed = Digest::sha256(b"pushed");
        for digest in [None, Some(pushed)] {
            let facts = Facts { private_to: None, digest };
            let permit = decide(&access, &remote(), &intent, &facts, &pushed).unwrap();
            assert_eq!(permit.object().copied(), digest);
        }
    }

    #[test]
    fn networks_narrow_a_rule() {
        let net = Network::parse("10.2.0.0/16").unwrap();
        let access = Access::new(vec![rule(&["**"], vec![net])]);
        assert!(may_ask_one(&access, &remote(), &intent(Action::Pull, "a"), None).is_err());
        let inside = Principal::anonymous("10.2.9.9".parse().unwrap(), false);
        assert!(may_ask_one(&access, &inside, &intent(Action::Pull, "a"), None).is_ok());
    }

    #[test]
    fn an_access_without_rules_allows_nobody() {
        let access = Access::new(vec![]);
        for action in Action::ALL {
            assert!(may_ask_one(&access, &local(), &intent(action, "a"), None).is_err());
        }
    }
}
