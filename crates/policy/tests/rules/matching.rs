//! What a policy speaks of, what it says before any upstream is asked, and what it hides.

use crate::world::*;
use oci::Tag;
use policy::{
    Action, AlreadyAdmitted, ArtifactKind, ArtifactPolicy, Check, Enforcement, Fact, Facts, Lists,
    Match, Mode, Policies, Posture, Purpose, TagPattern, Tags, Verdict,
};

fn concerns(world: &World, matches: Match) -> bool {
    let policy = ArtifactPolicy { matches, ..policy("p", vec![refusing()]) };
    let policies = Policies::new(vec![policy], Posture::Enforce);
    let may = policies.may_concern(&world.caller, &world.intent);
    assert_eq!(policies.evaluate(&world.question()).outcomes().is_empty(), !may);
    may
}

#[test]
fn all_that_is_given_has_to_match() {
    let world = World::by_tag("v1");
    let any = Match::default;
    assert!(concerns(&world, any()));
    for (fits, matches) in [
        (true, Match { environments: vec![text("dev"), text("pr*")], ..any() }),
        (false, Match { environments: vec![text("dev")], ..any() }),
        (true, Match { clusters: vec![text("*-eu")], ..any() }),
        (false, Match { clusters: vec![text("*-us")], ..any() }),
        (true, Match { purposes: vec![Purpose::Build, Purpose::Deploy], ..any() }),
        (false, Match { purposes: vec![Purpose::Scan], ..any() }),
        (true, Match { repositories: vec![name("docker.io/**")], ..any() }),
        (false, Match { repositories: vec![name("quay.io/**")], ..any() }),
        (true, Match { actions: vec![Action::Push, Action::Pull], ..any() }),
        (false, Match { actions: vec![Action::Push], ..any() }),
        (false, Match { environments: vec![text("prod")], clusters: vec![text("x")], ..any() }),
    ] {
        assert_eq!(concerns(&world, matches.clone()), fits, "{matches:?}");
    }
}

#[test]
fn pushes_are_judged_only_where_a_policy_says_so() {
    let mut push = World::by_tag("v1");
    push.intent.action = Action::Push;
    assert!(!concerns(&push, Match::default()));
    assert!(concerns(&push, Match { actions: vec![Action::Push], ..Match::default() }));
}

#[test]
fn who_belongs_to_no_cluster_is_of_none() {
    let nobody = policy::Principal::anonymous("192.0.2.1".parse().unwrap(), false);
    let setting = policy::Setting::default();
    let world = World::by_tag("v1").asked_by(policy::Caller::new(nobody, setting));
    assert!(!concerns(&world, Match { clusters: vec![text("**")], ..Match::default() }));
}

#[test]
fn two_environments_are_spoken_of_by_what_speaks_of_either() {
    let world = World::by_tag("v1").asked_by(raised());
    let of = |name: &str| Match { environments: vec![text(name)], ..Match::default() };
    assert!(concerns(&world, of("dev")) && concerns(&world, of("prod")));
    assert!(!concerns(&world, of("staging")));
}

#[test]
fn kinds_are_matched_by_what_it_is_and_unknown_ones_by_all() {
    let matches = Match { artifacts: vec![ArtifactKind::Image], ..Match::default() };
    let policy = ArtifactPolicy { matches, ..policy("p", vec![refusing()]) };
    let verdict = |world: World| world.evaluate(std::slice::from_ref(&policy)).verdict();
    assert_eq!(verdict(World::by_tag("v1")), Verdict::Refuse);
    assert_eq!(verdict(World::by_tag("v1").kind(ArtifactKind::HelmChart)), Verdict::Pass);
    assert_eq!(verdict(World::by_tag("v1").kind(ArtifactKind::Index)), Verdict::Pass);
    assert_eq!(verdict(World::by_tag("v1").with(|it| it.manifest = None)), Verdict::Refuse);
    let policies = Policies::new(vec![policy], Posture::Enforce);
    let world = World::by_tag("v1");
    assert!(policies.may_concern(&world.caller, &world.intent), "whatever it turns out to be");
}

fn no_latest() -> Check {
    let deny = vec![TagPattern::parse("latest").unwrap()];
    Check::Tags(Tags { deny, ..Tags::default() })
}

/// What is said when nothing is known but where it would come from.
fn before_asking(world: &World, policies: &[ArtifactPolicy]) -> Verdict {
    let blind = Facts { upstream: world.facts.upstream.clone(), ..Facts::default() };
    let world = world.clone().with(|facts| *facts = blind);
    let policies = Policies::new(policies.to_vec(), Posture::Enforce);
    policies.evaluate_intent(&world.question()).map_or(Verdict::Pass, |it| it.verdict())
}

#[test]
fn what_the_request_alone_settles_is_said_before_anybody_is_asked() {
    let elsewhere = || Check::Repositories(Lists { allow: vec![name("quay.io/**")], deny: vec![] });
    let other = || Check::Upstreams(texts(&["quay"], &[]));
    let digest = Check::Tags(Tags { require_digest: true, ..Tags::default() });
    let releases = vec![TagPattern::parse("v*").unwrap()];
    let releases = Check::Tags(Tags { allow: releases, ..Tags::default() });
    for (tag, check, verdict) in [
        ("latest", no_latest(), Verdict::Refuse),
        ("v1", no_latest(), Verdict::Pass),
        ("v1", digest, Verdict::Refuse),
        ("v1", elsewhere(), Verdict::Refuse),
        ("v1", other(), Verdict::Refuse),
        // These need the artifact, which may have another tag, or be small enough.
        ("main", releases, Verdict::Pass),
        ("v1", refusing(), Verdict::Pass),
    ] {
        let found = before_asking(&World::by_tag(tag), &[policy("p", vec![check.clone()])]);
        assert_eq!(found, verdict, "{tag} {check:?}");
    }
    assert_eq!(before_asking(&World::by_digest(), &[policy("p", vec![other()])]), Verdict::Refuse);
    assert_eq!(
        before_asking(&World::by_digest(), &[policy("p", vec![no_latest()])]),
        Verdict::Pass
    );
}

#[test]
fn what_may_yet_be_let_pass_is_not_refused_before_it_is_known() {
    let world = World::by_tag("latest");
    let plain = policy("p", vec![no_latest()]);
    let already = AlreadyAdmitted { mode: Mode::Warn, lasting: HOUR };
    let softened = ArtifactPolicy { already_admitted: Some(already), ..plain.clone() };
    assert_eq!(before_asking(&world, &[softened]), Verdict::Pass);
    let matches = Match { artifacts: vec![ArtifactKind::Image], ..Match::default() };
    let of_images = ArtifactPolicy { matches, ..plain.clone() };
    assert_eq!(before_asking(&world, &[of_images]), Verdict::Pass);
    let warns = Enforcement {
        environments: Vec::new(),
        clusters: Vec::new(),
        mode: Mode::Warn,
        from: None,
        until: None,
    };
    let warned = ArtifactPolicy { enforcement: vec![warns], ..plain };
    assert_eq!(before_asking(&world, &[warned]), Verdict::Pass);
}

#[test]
fn only_what_is_known_to_be_refused_is_hidden() {
    let hides = |policy: ArtifactPolicy, world: &World| {
        Policies::new(vec![policy], Posture::Enforce).hides(&world.question())
    };
    let hiding = |check| ArtifactPolicy { hides: true, ..policy("p", vec![check]) };
    let latest = World::by_tag("latest");
    assert!(hides(hiding(no_latest()), &latest));
    assert!(!hides(policy("p", vec![no_latest()]), &latest), "it does not say `hide`");
    assert!(!hides(hiding(no_latest()), &World::by_tag("v1")));
    let unread = latest.clone().with(|facts| facts.manifest = None);
    assert!(!hides(hiding(refusing()), &unread), "what is unknown hides nothing");
    let mut warned = hiding(no_latest());
    warned.enforcement = vec![Enforcement {
        environments: Vec::new(),
        clusters: Vec::new(),
        mode: Mode::Warn,
        from: None,
        until: None,
    }];
    assert!(!hides(warned, &latest), "what may be had is shown");
    let mut of_charts = hiding(no_latest());
    of_charts.matches.artifacts = vec![ArtifactKind::HelmChart];
    assert!(!hides(of_charts.clone(), &latest));
    assert!(!hides(of_charts, &unread), "nobody knows that it is a chart");
}

#[test]
fn needs_are_of_the_policies_that_could_match() {
    let allow = vec![TagPattern::parse("v*").unwrap()];
    let by_tags = policy("a", vec![Check::Tags(Tags { allow, ..Tags::default() })]);
    let mut elsewhere = policy("b", vec![Check::Platforms(vec![text("linux/*")])]);
    elsewhere.matches.environments = vec![text("dev")];
    let already = AlreadyAdmitted { mode: Mode::Warn, lasting: HOUR };
    let softened = ArtifactPolicy { already_admitted: Some(already), ..policy("c", vec![]) };
    let world = World::by_tag("v1").with(|facts| {
        facts.tags = Fact::Known([Tag::parse("v1").unwrap()].into());
    });
    let needs = |list: &[ArtifactPolicy]| {
        let policies = Policies::new(list.to_vec(), Posture::Enforce);
        let needs = policies.needs(&world.caller, &world.intent);
        (needs.config, needs.tags, needs.first_seen, needs.admissions)
    };
    assert_eq!(needs(&[]), (false, false, false, false));
    assert_eq!(needs(&[by_tags.clone(), elsewhere.clone()]), (false, true, false, false));
    assert_eq!(needs(&[by_tags, elsewhere, softened]), (false, true, false, true));
}
