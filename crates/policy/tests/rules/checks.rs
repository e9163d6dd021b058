//! Names, upstreams, tags, age and promotion: pass, refuse, unknown, failed, by tag and by digest.

use crate::world::*;
use oci::{Digest, EvidenceTag, Tag};
use policy::cel::VersionRange;
use policy::{Age, ArtifactKind, Check, Fact, Lists, Outcome, Promotion, TagPattern, Tags};

fn tags(change: impl FnOnce(&mut Tags)) -> Check {
    let mut tags = Tags::default();
    change(&mut tags);
    Check::Tags(tags)
}

fn patterns(list: &[&str]) -> Vec<TagPattern> {
    list.iter().map(|it| TagPattern::parse(it).unwrap()).collect()
}

#[test]
fn repositories_by_allow_and_deny() {
    let check = |allow: &[&str], deny: &[&str]| {
        let all = |list: &[&str]| list.iter().map(|it| name(it)).collect();
        World::by_digest().judge(Check::Repositories(Lists { allow: all(allow), deny: all(deny) }))
    };
    says(&check(&["docker.io/**"], &[]), &Outcome::Pass, "", "");
    says(&check(&[], &["quay.io/**"]), &Outcome::Pass, "", "");
    let found = check(&["quay.io/**", "ghcr.io/**"], &[]);
    says(
        &found,
        &Outcome::Refuses,
        "docker.io/team/app is in none of the allowed repositories",
        "use quay.io/**, ghcr.io/**",
    );
    let found = check(&["docker.io/**"], &["docker.io/team/*"]);
    says(
        &found,
        &Outcome::Refuses,
        "docker.io/team/app fits docker.io/team/*",
        "use another repository",
    );
}

#[test]
fn upstreams_and_what_is_hosted_has_none() {
    let check = |allow: &[&str], deny: &[&str]| Check::Upstreams(texts(allow, deny));
    let world = World::by_digest();
    says(&world.judge(check(&["hub"], &[])), &Outcome::Pass, "", "");
    says(
        &world.judge(check(&["quay"], &[])),
        &Outcome::Refuses,
        "it comes from upstream hub",
        "use one of quay",
    );
    let found = world.judge(check(&["*"], &["hu*"]));
    says(&found, &Outcome::Refuses, "upstream hub, which is not allowed", "use another upstream");
    let hosted = world.with(|facts| facts.upstream = None);
    says(&hosted.judge(check(&["quay"], &["*"])), &Outcome::Pass, "", "");
}

#[test]
fn denied_tags_and_required_digests_judge_the_request() {
    let latest = || tags(|it| it.deny = patterns(&["latest", "dev-*"]));
    let by = |tag| World::by_tag(tag).judge(latest());
    says(&by("v1"), &Outcome::Pass, "", "");
    says(&by("latest"), &Outcome::Refuses, "tag latest is not allowed", "ask by digest");
    says(&by("dev-7"), &Outcome::Refuses, "tag dev-7 fits dev-*", "ask by digest");
    let named = World::by_digest().with(|facts| {
        facts.tags = Fact::Known([Tag::parse("latest").unwrap()].into());
    });
    says(&named.judge(latest()), &Outcome::Pass, "", "");
    let digest = || tags(|it| it.require_digest = true);
    let found = World::by_tag("v1").judge(digest());
    says(&found, &Outcome::Refuses, "it is asked for by tag v1", "ask by digest");
    says(&World::by_digest().judge(digest()), &Outcome::Pass, "", "");
}

#[test]
fn allowed_tags_judge_the_artifact_by_any_way() {
    let releases = || tags(|it| it.allow = patterns(&["v*"]));
    says(&World::by_digest().judge(releases()), &Outcome::Pass, "", "");
    // Another of its tags is a release.
    says(&World::by_tag("latest").judge(releases()), &Outcome::Pass, "", "");
    let other = |world: World| {
        world.with(|facts| facts.tags = Fact::Known([Tag::parse("main").unwrap()].into()))
    };
    let found = other(World::by_digest()).judge(releases());
    says(&found, &Outcome::Refuses, "its tags are main", "use a tag such as v*");
    says(&other(World::by_tag("v9")).judge(releases()), &Outcome::Pass, "", "");
    let none = World::by_digest().with(|facts| facts.tags = Fact::Known([].into()));
    says(&none.judge(releases()), &Outcome::Refuses, "no tag is known to name it", "such as v*");
}

#[test]
fn the_tag_asked_is_known_where_no_other_is() {
    let releases = || tags(|it| it.allow = patterns(&["v*"]));
    let blind = |world: World| world.with(|facts| facts.tags = Fact::unknown("nobody looked"));
    says(&blind(World::by_tag("v1")).judge(releases()), &Outcome::Pass, "", "");
    let found = blind(World::by_tag("main")).judge(releases());
    says(&found, &Outcome::Unknown, "which tags name it is not known: nobody looked", "");
    let down = World::by_digest().with(|facts| facts.tags = Fact::failed("the catalog is busy"));
    says(&down.judge(releases()), &FAILED, "the catalog is busy", "");
}

#[test]
fn ranges_of_versions_pass_over_what_is_no_version() {
    let range = |text: &str| {
        let range = VersionRange::parse(text).unwrap();
        tags(|it| it.semver = Some(range))
    };
    let named = |list: &[&str]| {
        let all: Vec<Tag> = list.iter().map(|it| Tag::parse(it).unwrap()).collect();
        World::by_digest().with(|facts| facts.tags = Fact::Known(all.into()))
    };
    says(&named(&["latest", "v1.4"]).judge(range(">=1.2, <2")), &Outcome::Pass, "", "");
    let found = named(&["latest", "2.0.0"]).judge(range(">=1.2, <2"));
    says(&found, &Outcome::Refuses, "its tags are latest, 2.0.0", "a version in >=1.2, <2");
    let found = named(&["2.0.0-rc.1"]).judge(range(">=1"));
    assert_eq!(found.outcome, Outcome::Refuses, "a pre-release has to be asked for");
    says(&named(&["2.0.0-rc.1"]).judge(range(">=2.0.0-rc.0")), &Outcome::Pass, "", "");
    // One tag has to be both.
    let both = || {
        let range = VersionRange::parse("^1").unwrap();
        tags(|it| (it.allow, it.semver) = (patterns(&["v*"]), Some(range)))
    };
    says(&named(&["v1.0"]).judge(both()), &Outcome::Pass, "", "");
    assert_eq!(named(&["v2.0", "1.0"]).judge(both()).outcome, Outcome::Refuses);
}

#[test]
fn evidence_has_no_release_tags_and_an_image_under_its_tag_is_an_image() {
    let check = || tags(|it| (it.require_digest, it.allow) = (true, patterns(&["v*"])));
    let tag = Tag::evidence(&Digest::sha256(b"subject"), EvidenceTag::Signature);
    let under = |kind| World::by_tag(tag.as_str()).kind(kind).judge(check()).outcome;
    assert_eq!(under(ArtifactKind::Evidence), Outcome::NotApplicable);
    assert_eq!(under(ArtifactKind::Index), Outcome::Refuses, "an index to run, under that tag");
    let referrers = |facts: &mut policy::ManifestFacts| facts.lists_referrers = true;
    let listed = World::by_tag(tag.as_str()).kind(ArtifactKind::Index).manifest(referrers);
    let fallback = "the fallback of referrers";
    assert_eq!(listed.judge(check()).outcome, Outcome::NotApplicable, "{fallback}");
    assert_eq!(under(ArtifactKind::Image), Outcome::Refuses);
    assert_eq!(under(ArtifactKind::Other), Outcome::Refuses);
    let evidence = |world: World| world.kind(ArtifactKind::Evidence).judge(check()).outcome;
    assert_eq!(evidence(World::by_digest()), Outcome::NotApplicable);
    assert_eq!(evidence(World::by_tag("v1")), Outcome::Refuses);
}

#[test]
fn age_since_it_was_made() {
    let check =
        |hours: u32| Check::Age(Age { since_published: Some(HOUR * hours), ..Age::default() });
    let world = World::by_tag("v1");
    says(&world.judge(check(100)), &Outcome::Pass, "", "");
    let found = world.judge(check(101));
    says(
        &found,
        &Outcome::Refuses,
        "it was made at 2026-11-21T08:00:00Z, less than 101h ago",
        "ask again after 2026-11-25T13:00:00Z",
    );
    let evaluation = world.evaluate(&[policy("p", vec![check(101)])]);
    assert_eq!(evaluation.valid_until(), Some(at(1)));
    assert_eq!(world.clone().later(1).judge(check(101)).outcome, Outcome::Pass);
    let silent = world.clone().config(|config| config.created = None);
    says(&silent.judge(check(1)), &Outcome::Unknown, "does not say when it was made", "build it");
    let old = world.clone().config(|it| it.created = Some("1980-01-01T00:00:00Z".parse().unwrap()));
    says(&old.judge(check(1)), &Outcome::Unknown, "no true time of creation", "build it");
    let down = world.clone().with(|facts| facts.config = Fact::failed("upstream is down"));
    says(&down.judge(check(1)), &FAILED, "upstream is down", "");
    assert_eq!(world.kind(ArtifactKind::Index).judge(check(999)).outcome, Outcome::NotApplicable);
}

#[test]
fn a_time_of_creation_in_the_future_is_unknown_until_it_is_not() {
    let check = || Check::Age(Age { since_published: Some(HOUR), ..Age::default() });
    let ahead = |seconds: i64| {
        let made = at(0) + jiff::SignedDuration::from_secs(seconds);
        World::by_tag("v1").config(|config| config.created = Some(made))
    };
    assert_eq!(ahead(300).judge(check()).outcome, Outcome::Refuses, "clocks differ a little");
    says(&ahead(3900).judge(check()), &Outcome::Unknown, "made in the future", "build it");
    let evaluation = ahead(3900).evaluate(&[policy("p", vec![check()])]);
    assert_eq!(evaluation.valid_until(), Some(at(1)), "when it is five minutes ahead only");
    assert_eq!(ahead(3900).later(1).judge(check()).outcome, Outcome::Refuses);
}

#[test]
fn age_since_it_was_first_seen_is_also_of_an_index() {
    let check =
        |hours: u32| Check::Age(Age { since_first_seen: Some(HOUR * hours), ..Age::default() });
    let index = World::by_tag("v1").kind(ArtifactKind::Index);
    says(&index.judge(check(50)), &Outcome::Pass, "", "");
    let found = index.judge(check(51));
    says(
        &found,
        &Outcome::Refuses,
        "first seen here at 2026-11-23T10:00:00Z",
        "after 2026-11-25T13",
    );
    let blind = index.with(|facts| facts.first_seen = Fact::unknown("no record"));
    says(&blind.judge(check(1)), &Outcome::Unknown, "no record", "");
}

#[test]
fn too_young_by_either_is_refused_though_the_other_is_not_known() {
    let both = |published: u32, seen: u32| {
        Check::Age(Age {
            since_published: Some(HOUR * published),
            since_first_seen: Some(HOUR * seen),
            ..Age::default()
        })
    };
    let silent = World::by_tag("v1").config(|config| config.created = None);
    assert_eq!(silent.judge(both(1, 51)).outcome, Outcome::Refuses);
    assert_eq!(silent.judge(both(1, 50)).outcome, Outcome::Unknown);
    let down = World::by_tag("v1").with(|facts| facts.first_seen = Fact::failed("busy"));
    assert_eq!(down.judge(both(101, 1)).outcome, Outcome::Refuses);
    assert_eq!(down.judge(both(1, 1)).outcome, FAILED);
    let evaluation = World::by_tag("v1").evaluate(&[policy("p", vec![both(103, 52)])]);
    assert_eq!(evaluation.valid_until(), Some(at(2)));
}

#[test]
fn names_that_need_not_wait() {
    let age = |except: &str| {
        Check::Age(Age {
            since_published: Some(HOUR * 999),
            since_first_seen: None,
            except: vec![name(except)],
        })
    };
    assert_eq!(World::by_tag("v1").judge(age("docker.io/team/**")).outcome, Outcome::Pass);
    assert_eq!(World::by_tag("v1").judge(age("docker.io/other/**")).outcome, Outcome::Refuses);
}

#[test]
fn promotion_asks_for_another_environment_and_for_how_long() {
    let check = |hours: Option<u32>| {
        let lasting = hours.map(|hours| HOUR * hours);
        Check::Promotion(Promotion { admitted_in: "staging".to_owned(), lasting })
    };
    let never = World::by_tag("v1").admitted(&[("dev", 500)]);
    says(&never.judge(check(None)), &Outcome::Refuses, "never in staging", "deploy it to staging");
    let there = World::by_tag("v1").admitted(&[("staging", 20)]);
    says(&there.judge(check(None)), &Outcome::Pass, "", "");
    says(&there.judge(check(Some(20))), &Outcome::Pass, "", "");
    let found = there.judge(check(Some(24)));
    says(
        &found,
        &Outcome::Refuses,
        "it is in staging since 2026-11-24T16:00:00Z only",
        "ask again after 2026-11-25T16:00:00Z",
    );
    let evaluation = there.evaluate(&[policy("p", vec![check(Some(24))])]);
    assert_eq!(evaluation.valid_until(), Some(at(4)));
    let down = there.with(|facts| facts.admissions = Fact::failed("busy"));
    says(&down.judge(check(None)), &FAILED, "busy", "");
}
