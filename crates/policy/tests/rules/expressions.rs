//! Rules in CEL: what they are told, and what becomes of what they say.

use crate::world::*;
use policy::cel::{Expect, Expression, Schema};
use policy::{
    ArtifactKind, Cel, Check, Effect, Fact, Mode, Outcome, Policies, Posture, RuleOutcome,
};

fn cel(condition: &str, message: Option<&str>) -> Cel {
    let schema = Schema::facts();
    let compile = |text: &str, expect| Expression::compile(text, &schema, expect).unwrap();
    Cel {
        condition: compile(condition, Expect::Bool),
        message: message.map(|text| compile(text, Expect::String)),
        warns: false,
    }
}

fn denies(condition: &str) -> Check {
    Check::Cel(cel(condition, None))
}

fn warns(condition: &str) -> Check {
    Check::Cel(Cel { warns: true, ..cel(condition, None) })
}

fn judged(condition: &str) -> RuleOutcome {
    World::by_tag("v1").judge(denies(condition))
}

#[test]
fn every_fact_is_told() {
    let world = World::by_tag("v1").admitted(&[("staging", 30)]).manifest(|manifest| {
        manifest.annotations = pairs(&[
            ("a", "b"),
            ("org.opencontainers.image.licenses", "MIT OR Apache-2.0"),
            ("org.opencontainers.image.base.name", "docker.io/library/debian:12"),
        ]);
    });
    for truth in [
        "principal.kind == 'Node' && principal.provider == 'p' && principal.issuer == 'iss'",
        "principal.name == 'system:node:n' && size(principal.groups) == 0",
        "principal.attributes['cluster'] == 'prod-eu'",
        "request.action == 'pull' && request.reference == 'v1' && request.tag == 'v1'",
        "!request.isByDigest && request.environment == 'prod' && request.purpose == 'Deploy'",
        "request.cluster == 'prod-eu' && request.address == ''",
        "artifact.name == 'docker.io/team/app' && artifact.repository == 'docker.io'",
        "artifact.upstream == 'hub' && artifact.digest.startsWith('sha256:')",
        "artifact.mediaType == 'application/vnd.oci.image.manifest.v1+json'",
        "artifact.artifactType == 'application/vnd.oci.image.config.v1+json'",
        "artifact.kind == 'Image' && artifact.sizeBytes == 1000 && artifact.layerCount == 1",
        "artifact.platforms == ['linux/arm64/v8'] && artifact.labels['team'] == 'shop'",
        "artifact.annotations['a'] == 'b' && artifact.licences == ['MIT', 'Apache-2.0']",
        "artifact.baseImage == 'docker.io/library/debian' && artifact.tags == ['v1.2.3']",
        "artifact.published == timestamp('2026-11-21T08:00:00Z')",
        "artifact.firstSeen == timestamp('2026-11-23T10:00:00Z')",
        "admission.environments == ['staging']",
        "admission.first['staging'] == timestamp('2026-11-24T06:00:00Z')",
        "admission.last['staging'] < now && now == timestamp('2026-11-25T12:00:00Z')",
    ] {
        let found = world.judge(denies(truth));
        assert_eq!(found.outcome, Outcome::Refuses, "{truth}: {}", found.reason);
        assert_eq!(world.judge(denies(&format!("!({truth})"))).outcome, Outcome::Pass, "{truth}");
    }
}

#[test]
fn by_digest_there_is_no_tag_and_what_is_hosted_has_no_upstream() {
    let hosted = World::by_digest().with(|facts| facts.upstream = None);
    let found =
        hosted.judge(denies("request.isByDigest && request.tag == '' && artifact.upstream == ''"));
    assert_eq!(found.outcome, Outcome::Refuses);
}

#[test]
fn the_reason_is_the_message_or_the_expression() {
    let told =
        |message| World::by_tag("v1").judge(Check::Cel(cel("artifact.layerCount > 0", message)));
    says(&told(None), &Outcome::Refuses, "artifact.layerCount > 0 is true", "");
    let found = told(Some("'image ' + artifact.name + ' is too large'"));
    says(&found, &Outcome::Refuses, "image docker.io/team/app is too large", "");
    // A message that cannot be made costs no refusal.
    let found = told(Some("artifact.labels['owner']"));
    says(&found, &Outcome::Refuses, "artifact.layerCount > 0 is true (", "");
}

#[test]
fn an_error_is_a_refusal_that_says_so() {
    let found = judged("artifact.labels['owner'] == 'x'");
    says(&found, &Outcome::Error, "cannot be evaluated", "mend the rule");
    assert_eq!(found.effect, Effect::Refuse);
}

#[test]
fn facts_that_are_not_there_are_unknown_or_failed_unless_another_part_decides() {
    let reads = "artifact.labels['team'] == 'bank'";
    let odd = World::by_tag("v1").with(|facts| facts.config = Fact::unknown("it is no JSON"));
    says(&odd.judge(denies(reads)), &Outcome::Unknown, "it is no JSON", "");
    let down = World::by_tag("v1").with(|facts| facts.config = Fact::failed("no route"));
    says(&down.judge(denies(reads)), &FAILED, "no route", "");
    let decided = down.judge(denies(&format!("artifact.layerCount > 0 || {reads}")));
    assert_eq!(decided.outcome, Outcome::Refuses);
    assert_eq!(down.judge(denies(&format!("false && {reads}"))).outcome, Outcome::Pass);
    let busy = World::by_tag("v1").with(|facts| facts.admissions = Fact::failed("busy"));
    says(&busy.judge(denies("size(admission.environments) == 0")), &FAILED, "busy", "");
}

#[test]
fn a_rule_that_warns_never_refuses() {
    let world = World::by_tag("v1");
    assert_eq!(world.judge(warns("artifact.layerCount > 0")).effect, Effect::Warn);
    assert_eq!(world.judge(warns("artifact.layerCount > 9")).effect, Effect::None);
    assert_eq!(world.judge(warns("artifact.labels['x'] == 'y'")).effect, Effect::Warn, "an error");
    for fact in [Fact::unknown("odd"), Fact::failed("down")] {
        let world = world.clone().with(|facts| facts.config = fact.clone());
        assert_eq!(world.judge(warns("artifact.labels['x'] == 'y'")).effect, Effect::Warn);
    }
    let mut audited = policy("p", vec![warns("true")]);
    audited.enforcement = vec![policy::Enforcement {
        environments: Vec::new(),
        clusters: Vec::new(),
        mode: Mode::Audit,
        from: None,
        until: None,
    }];
    assert_eq!(world.evaluate(&[audited]).outcomes()[0].effect, Effect::Audit);
}

#[test]
fn what_reads_an_images_facts_is_left_to_the_images_of_an_index() {
    let index = World::by_tag("v1").kind(ArtifactKind::Index);
    for (condition, outcome) in [
        ("artifact.labels['team'] == 'shop'", Outcome::NotApplicable),
        ("artifact.sizeBytes > 1", Outcome::NotApplicable),
        ("artifact.layerCount > 0", Outcome::NotApplicable),
        ("artifact.published < now", Outcome::NotApplicable),
        ("artifact.kind == 'Index'", Outcome::Refuses),
        ("request.tag == 'v1'", Outcome::Refuses),
    ] {
        assert_eq!(index.judge(denies(condition)).outcome, outcome, "{condition}");
    }
}

#[test]
fn what_reads_the_clock_holds_for_one_moment() {
    let until = |condition: &str| {
        World::by_tag("v1").evaluate(&[policy("p", vec![denies(condition)])]).valid_until()
    };
    assert_eq!(until("now < timestamp('2020-01-01T00:00:00Z')"), Some(at(0)));
    assert_eq!(until("artifact.layerCount > 5"), None);
    let ahead = World::by_tag("v1").config(|config| config.created = Some(at(10)));
    let reads = denies("artifact.published < timestamp('2020-01-01T00:00:00Z')");
    let evaluation = ahead.evaluate(&[policy("p", vec![reads])]);
    assert_eq!(evaluation.outcomes()[0].outcome, Outcome::Unknown, "made in the future");
    let soon = evaluation.valid_until();
    assert!(soon.is_some_and(|until| until < at(10) && until > at(9)));
    // A message that reads it says something else then.
    let told = Check::Cel(cel("artifact.layerCount > 0", Some("string(artifact.published)")));
    let evaluation = ahead.evaluate(&[policy("p", vec![told])]);
    assert_eq!(evaluation.outcomes()[0].outcome, Outcome::Refuses);
    assert_eq!(evaluation.valid_until(), soon);
}

#[test]
fn only_what_is_read_is_needed() {
    let world = World::by_tag("v1");
    let needs = |condition: &str| {
        let policies = Policies::new(vec![policy("p", vec![denies(condition)])], Posture::Enforce);
        let needs = policies.needs(&world.caller, &world.intent);
        let asker = policies.looks_at_principal(&world.caller, &world.intent);
        (needs.config, needs.tags, needs.first_seen, needs.admissions, asker)
    };
    assert_eq!(needs("artifact.layerCount > 5"), (false, false, false, false, false));
    assert_eq!(needs("size(artifact.licences) > 5"), (true, false, false, false, false));
    assert_eq!(needs("size(artifact.tags) > 5"), (false, true, false, false, false));
    assert_eq!(needs("artifact.firstSeen < artifact.published"), (true, false, true, false, false));
    assert_eq!(needs("size(admission.last) > 5"), (false, false, false, true, false));
    assert_eq!(needs("principal.name == 'x'"), (false, false, false, false, true));
    assert_eq!(needs("request.address == 'x'"), (false, false, false, false, true));
    assert_eq!(needs("request.environment == 'x'"), (false, false, false, false, false));
}
