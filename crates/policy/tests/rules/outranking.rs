//! What outranks rules: waivers let pass, blocks let nothing pass.

use crate::world::*;
use oci::{Digest, Tag};
use policy::{
    Action, AlreadyAdmitted, ArtifactPolicy, BlobGrounds, Block, Effect, Enforcement, Evaluation,
    Fact, Mode, Object, OnUnknown, Policies, Posture, TagPattern, Tags, Verdict, Waiver,
};

fn waiver(rule: &str) -> Waiver {
    Waiver {
        name: "w".into(),
        digests: Vec::new(),
        repositories: Vec::new(),
        rules: vec![text(rule)],
        vulnerabilities: Vec::new(),
        environments: Vec::new(),
        expires: at(10),
        reason: "ticket 1".into(),
        requested_by: "shop".into(),
        approved_by: "security".into(),
    }
}

fn block() -> Block {
    Block {
        name: "b".into(),
        digests: Vec::new(),
        repositories: Vec::new(),
        tags: Vec::new(),
        upstreams: Vec::new(),
        first_seen_since: None,
        reason: "CVE-2024-3094".into(),
        owner: Some("security".into()),
    }
}

fn waived(world: &World, policies: &[ArtifactPolicy], waivers: &[Waiver]) -> Evaluation {
    let policies =
        Policies::new(policies.to_vec(), Posture::Enforce).with_waivers(waivers.to_vec());
    policies.evaluate(&world.question())
}

fn blocked(world: &World, block: Block) -> Evaluation {
    Policies::new(Vec::new(), Posture::Enforce).with_blocks(vec![block]).evaluate(&world.question())
}

fn digest_of(world: &World) -> Digest {
    world.facts.manifest.as_ref().unwrap().digest
}

#[test]
fn a_waiver_fits_by_all_that_it_names() {
    let world = World::by_tag("v1");
    let digest = digest_of(&world);
    let names = |pattern: &str| vec![name(pattern)];
    let own = world.intent.name.clone().unwrap();
    let other = Digest::sha256(b"other");
    for (what, waiver, is_waived) in [
        ("the rule", waiver("p/r0"), true),
        ("every rule of the policy", waiver("p/*"), true),
        ("another rule", waiver("p/r1"), false),
        ("another policy", waiver("q/*"), false),
        ("no rule", Waiver { rules: Vec::new(), ..waiver("p/r0") }, false),
        ("its digest", Waiver { digests: vec![digest], ..waiver("p/r0") }, true),
        ("another digest", Waiver { digests: vec![other], ..waiver("p/r0") }, false),
        ("its name", Waiver { repositories: names(own.as_str()), ..waiver("p/r0") }, true),
        ("another name", Waiver { repositories: names("quay.io/**"), ..waiver("p/r0") }, false),
        ("its environment", Waiver { environments: vec![text("prod")], ..waiver("p/r0") }, true),
        (
            "another environment",
            Waiver { environments: vec![text("dev")], ..waiver("p/r0") },
            false,
        ),
        ("too late", Waiver { expires: at(0), ..waiver("p/r0") }, false),
        (
            "its name, and another digest",
            Waiver { digests: vec![other], repositories: names("**"), ..waiver("p/r0") },
            false,
        ),
    ] {
        let found = waived(&world, &[policy("p", vec![refusing()])], &[waiver]);
        let verdict = if is_waived { Verdict::Pass } else { Verdict::Refuse };
        assert_eq!(found.verdict(), verdict, "{what}");
        assert_eq!(found.waivers().len(), usize::from(is_waived), "{what}");
    }
}

#[test]
fn a_waiver_ends_by_itself_and_says_so() {
    let world = World::by_tag("v1");
    let policies = [policy("p", vec![refusing()])];
    let found = waived(&world, &policies, &[waiver("p/r0")]);
    assert_eq!(found.valid_until(), Some(at(10)));
    let [outcome] = found.outcomes() else { panic!("one rule") };
    assert_eq!(outcome.effect, Effect::Warn, "whoever asks is told before it ends");
    assert!(outcome.softened.as_ref().unwrap().contains("waived by w until"), "{outcome:?}");
    assert_eq!(outcome.waiver.as_deref(), Some("w"));
    let later = world.later(10);
    assert_eq!(waived(&later, &policies, &[waiver("p/r0")]).verdict(), Verdict::Refuse);
}

#[test]
fn one_waiver_does_not_excuse_another_rule() {
    let policies = [policy("p", vec![refusing(), refusing()])];
    let found = waived(&World::by_tag("v1"), &policies, &[waiver("p/r0")]);
    assert_eq!(found.verdict(), Verdict::Refuse);
    assert_eq!(found.with_effect(Effect::Refuse).count(), 1);
}

#[test]
fn what_cannot_be_found_out_is_waived_like_what_is_refused() {
    let world = World::by_tag("v1").with(|facts| facts.config = Fact::failed("upstream is down"));
    let platforms = policy::Check::Platforms(vec![text("linux/*")]);
    let policies = [policy("p", vec![platforms])];
    assert_eq!(waived(&world, &policies, &[]).verdict(), Verdict::CannotTell);
    assert_eq!(waived(&world, &policies, &[waiver("p/r0")]).verdict(), Verdict::Pass);
}

#[test]
fn a_wish_for_a_stricter_environment_is_waived_only_where_both_are() {
    let world = World::by_tag("v1").asked_by(raised());
    let policies = [policy("p", vec![refusing()])];
    let of = |names: &[&str]| Waiver {
        environments: names.iter().map(|name| text(name)).collect(),
        ..waiver("p/r0")
    };
    assert_eq!(waived(&world, &policies, &[of(&["prod"])]).verdict(), Verdict::Refuse);
    assert_eq!(waived(&world, &policies, &[of(&["dev"])]).verdict(), Verdict::Refuse);
    assert_eq!(waived(&world, &policies, &[of(&["dev", "prod"])]).verdict(), Verdict::Pass);
}

#[test]
fn what_a_digest_may_yet_waive_is_not_refused_before_it_is_known() {
    let latest = || {
        policy::Check::Tags(Tags {
            deny: vec![TagPattern::parse("latest").unwrap()],
            ..Tags::default()
        })
    };
    let world = World::by_tag("latest");
    let digest = digest_of(&world);
    let blind = world.clone().with(|facts| *facts = policy::Facts::default());
    let before = |waiver: Waiver| {
        let policies = Policies::new(vec![policy("p", vec![latest()])], Posture::Enforce);
        let policies = policies.with_waivers(vec![waiver]);
        policies.evaluate_intent(&blind.question()).map_or(Verdict::Pass, |it| it.verdict())
    };
    assert_eq!(before(waiver("q/*")), Verdict::Refuse);
    assert_eq!(before(Waiver { digests: vec![digest], ..waiver("p/r0") }), Verdict::Pass);
    let found = waived(
        &world,
        &[policy("p", vec![latest()])],
        &[Waiver { digests: vec![Digest::sha256(b"other")], ..waiver("p/r0") }],
    );
    assert_eq!(found.verdict(), Verdict::Refuse, "once it is known to be another");
}

#[test]
fn a_block_is_about_what_fits_all_that_it_names() {
    let world = World::by_tag("v1").with(|facts| {
        let tags = [Tag::parse("v1").unwrap(), Tag::parse("stable").unwrap()];
        facts.any_tags = Fact::Known(tags.into());
        facts.first_seen = Fact::Known(at(-5));
    });
    let (digest, other) = (digest_of(&world), Digest::sha256(b"other"));
    let own = world.intent.name.clone().unwrap();
    let upstream = world.facts.upstream.clone().unwrap();
    let tags = |pattern: &str| vec![TagPattern::parse(pattern).unwrap()];
    for (what, block, is_blocked) in [
        ("its digest", Block { digests: vec![other, digest], ..block() }, true),
        ("another digest", Block { digests: vec![other], ..block() }, false),
        ("its name", Block { repositories: vec![name(own.as_str())], ..block() }, true),
        ("another name", Block { repositories: vec![name("quay.io/**")], ..block() }, false),
        ("the tag asked by", Block { tags: tags("v*"), ..block() }, true),
        ("a tag that names it", Block { tags: tags("stable"), ..block() }, true),
        ("another tag", Block { tags: tags("nightly"), ..block() }, false),
        ("its upstream", Block { upstreams: vec![text(&upstream)], ..block() }, true),
        ("another upstream", Block { upstreams: vec![text("other")], ..block() }, false),
        ("seen since", Block { first_seen_since: Some(at(-6)), ..block() }, true),
        ("seen before", Block { first_seen_since: Some(at(-4)), ..block() }, false),
        (
            "its name, another digest",
            Block { repositories: vec![name("**")], digests: vec![other], ..block() },
            false,
        ),
    ] {
        let found = blocked(&world, block);
        let verdict = if is_blocked { Verdict::Refuse } else { Verdict::Pass };
        assert_eq!((found.verdict(), found.is_blocked()), (verdict, is_blocked), "{what}");
    }
    let unseen = world.clone().with(|facts| facts.first_seen = Fact::unknown("never"));
    let since = Block { first_seen_since: Some(at(-6)), ..block() };
    assert_eq!(blocked(&unseen, since.clone()).verdict(), Verdict::Refuse, "it is seen now");
    let down = world.with(|facts| facts.first_seen = Fact::failed("the catalog is busy"));
    let found = blocked(&down, since);
    assert_eq!((found.verdict(), found.is_blocked()), (Verdict::CannotTell, true));
}

#[test]
fn nothing_softens_a_block() {
    let world = World::by_tag("v1").admitted(&[("prod", -50)]);
    let digest = digest_of(&world);
    let mut soft = policy("b", vec![]);
    soft.already_admitted = Some(AlreadyAdmitted { mode: Mode::Audit, lasting: HOUR * 1000 });
    soft.on_unknown = OnUnknown::Allow;
    soft.enforcement = vec![Enforcement {
        environments: Vec::new(),
        clusters: Vec::new(),
        mode: Mode::Audit,
        from: None,
        until: None,
    }];
    let policies = Policies::new(vec![soft], Posture::Observe)
        .with_waivers(vec![waiver("**")])
        .with_blocks(vec![Block { digests: vec![digest], ..block() }]);
    let found = policies.evaluate(&world.question());
    assert!(found.is_blocked() && found.verdict() == Verdict::Refuse);
    let [outcome] = found.outcomes() else { panic!("one block") };
    assert_eq!((outcome.policy.as_ref(), outcome.rule.as_ref()), ("b", "block"));
    assert!(outcome.reason.contains("CVE-2024-3094") && outcome.remedy.contains("security"));
}

#[test]
fn bytes_are_cut_by_digest_name_and_the_manifest_that_speaks_for_them() {
    let world = World::by_digest();
    let own = world.intent.name.clone().unwrap();
    let (blob, manifest) = (Digest::sha256(b"blob"), Digest::sha256(b"manifest"));
    let grounds = BlobGrounds::Lease { manifest };
    let digests = [Some(blob), grounds.manifest()].map(Option::unwrap);
    let cuts = |block: Block| {
        let policies = Policies::new(Vec::new(), Posture::Enforce).with_blocks(vec![block]);
        policies.cut_by(Some(&own), &digests).is_some()
    };
    assert!(cuts(Block { digests: vec![blob], ..block() }));
    assert!(cuts(Block { digests: vec![manifest], ..block() }));
    assert!(cuts(Block { repositories: vec![name("**")], ..block() }));
    assert!(!cuts(Block { digests: vec![Digest::sha256(b"other")], ..block() }));
    assert!(!cuts(Block { repositories: vec![name("quay.io/**")], ..block() }));
    let tags = vec![TagPattern::parse("*").unwrap()];
    assert!(!cuts(Block { tags, ..block() }), "that needs to be looked up");
}

#[test]
fn blocks_concern_pulls_and_pushes_and_nothing_else() {
    let policies = Policies::new(Vec::new(), Posture::Enforce)
        .with_blocks(vec![Block { digests: vec![Digest::sha256(b"x")], ..block() }]);
    assert!(!policies.is_empty());
    let mut world = World::by_digest();
    for (action, concerns) in
        [(Action::Pull, true), (Action::Push, true), (Action::Delete, false), (Action::List, false)]
    {
        world.intent.action = action;
        assert_eq!(policies.blocks_may_concern(&world.intent), concerns, "{action:?}");
    }
    world.intent.action = Action::Pull;
    world.intent.object = Object::Blob(Digest::sha256(b"x"));
    assert!(policies.blocks_may_concern(&world.intent));
}

#[test]
fn a_part_of_nothing_but_blocked_indexes_is_blocked_with_them() {
    let (bad, good) = (Digest::sha256(b"bad index"), Digest::sha256(b"good index"));
    let of = |parents: &[Digest]| {
        let parents = Fact::Known(parents.to_vec().into());
        let world = World::by_digest().with(|facts| facts.parents = parents);
        blocked(&world, Block { digests: vec![bad], ..block() }).is_blocked()
    };
    assert!(of(&[bad]));
    assert!(!of(&[bad, good]), "it is a part of one that is not");
    assert!(!of(&[good]));
    assert!(!of(&[]));
    let down = World::by_digest().with(|facts| facts.parents = Fact::failed("the catalog is busy"));
    let found = blocked(&down, Block { digests: vec![bad], ..block() });
    assert_eq!((found.verdict(), found.is_blocked()), (Verdict::CannotTell, true));
}

#[test]
fn an_open_block_is_asked_for_again_whatever_else_refuses() {
    let world = World::by_tag("v1").with(|facts| facts.first_seen = Fact::failed("busy"));
    let since = Block { first_seen_since: Some(at(-6)), ..block() };
    let policies = Policies::new(vec![policy("p", vec![refusing()])], Posture::Observe);
    let found = policies.with_blocks(vec![since]).evaluate(&world.question());
    assert_eq!(found.verdict(), Verdict::Refuse);
    assert_eq!(found.valid_until(), Some(at(0)), "it holds for this moment only");
}

#[test]
fn the_parts_of_what_a_digest_waives_are_left_to_it() {
    let mut world = World::by_digest();
    let digest = digest_of(&world);
    world.intent.object = Object::Blob(Digest::sha256(b"a layer"));
    let world = world.with(|facts| *facts = policy::Facts::default());
    let elsewhere = policy::Lists { allow: vec![name("quay.io/**")], deny: vec![] };
    let policies = [policy("p", vec![policy::Check::Repositories(elsewhere)])];
    let before = |waivers: Vec<Waiver>| {
        let policies = Policies::new(policies.to_vec(), Posture::Enforce).with_waivers(waivers);
        policies.evaluate_intent(&world.question()).map_or(Verdict::Pass, |it| it.verdict())
    };
    assert_eq!(before(Vec::new()), Verdict::Refuse);
    assert_eq!(before(vec![Waiver { digests: vec![digest], ..waiver("p/r0") }]), Verdict::Pass);
}
