//! Access alone, and what it does to permits.

use super::*;
use crate::{AccessRule, Action, NamePattern, Network, Principal, Setting, Subject, Who};
use oci::{Name, Reference};

fn intent(action: Action, name: &str) -> Intent {
    Intent {
        action,
        name: Some(Name::parse(name).unwrap()),
        object: Object::Manifest(Reference::parse("1").unwrap()),
    }
}

fn at(address: &str, is_local: bool) -> Caller {
    Caller::new(Principal::anonymous(address.parse().unwrap(), is_local), Setting::default())
}

fn remote() -> Caller {
    at("10.1.2.3", false)
}

fn local() -> Caller {
    at("127.0.0.1", true)
}

fn operator() -> Caller {
    Caller::new(Principal::operator(), Setting::default())
}

fn governance(access: Access) -> Governance {
    Governance {
        access,
        environments: Environments::default(),
        policies: Policies::default(),
        revision: Digest::sha256(b"revision"),
    }
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
    assert!(ask(operator(), Action::Administer));
}

#[test]
fn private_content_needs_an_explicit_grant() {
    let access = Access::built_in();
    let denial =
        may_ask_one(&access, &local(), &intent(Action::Pull, "docker.io/corp/a"), Some("corp/"))
            .unwrap_err();
    assert_eq!(denial.rule(), "private-content");
    let explicit = Access::new(vec![rule(&["docker.io/**"], vec![])]);
    let asked =
        may_ask_one(&explicit, &remote(), &intent(Action::Pull, "docker.io/corp/a"), Some("corp/"));
    assert!(asked.is_ok());
}

fn rule(patterns: &[&str], networks: Vec<Network>) -> AccessRule {
    AccessRule {
        policy: "p".to_owned(),
        subjects: vec![Subject { who: Who::Anonymous, networks }],
        actions: vec![Action::Pull],
        repositories: patterns.iter().map(|p| NamePattern::parse(p).unwrap()).collect(),
        environments: Vec::new(),
        is_explicit: true,
    }
}

#[test]
fn the_first_access_policy_replaces_the_built_in_access() {
    let access = Access::new(vec![rule(&["quay.io/**"], vec![])]);
    assert!(may_ask_one(&access, &local(), &intent(Action::Pull, "docker.io/a"), None).is_err());
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
    assert!(may_ask(&access, &operator(), &[]).is_err());
}

#[test]
fn a_permit_of_a_push_names_what_is_pushed() {
    let access =
        Access::new(vec![AccessRule { actions: vec![Action::Push], ..rule(&["team/**"], vec![]) }]);
    let intent = Intent { object: Object::Upload, ..intent(Action::Push, "team/a") };
    let pushed = Digest::sha256(b"pushed");
    for digest in [None, Some(pushed)] {
        let facts = Facts { digest, ..Facts::default() };
        let governance = governance(access.clone());
        let permit = decide(&governance, &remote(), &intent, &facts, None).unwrap();
        assert_eq!(permit.object().copied(), digest);
    }
}

#[test]
fn networks_narrow_a_rule() {
    let net = Network::parse("10.2.0.0/16").unwrap();
    let access = Access::new(vec![rule(&["**"], vec![net])]);
    assert!(may_ask_one(&access, &remote(), &intent(Action::Pull, "a"), None).is_err());
    let inside = at("10.2.9.9", false);
    assert!(may_ask_one(&access, &inside, &intent(Action::Pull, "a"), None).is_ok());
}

#[test]
fn an_access_without_rules_allows_nobody() {
    let access = Access::new(vec![]);
    for action in Action::ALL {
        assert!(may_ask_one(&access, &local(), &intent(action, "a"), None).is_err());
    }
}
