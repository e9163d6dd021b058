//! What an environment runs already is refused later (`alreadyAdmitted`).

use crate::world::*;
use policy::{
    AlreadyAdmitted, ArtifactPolicy, Check, Effect, Evaluation, Fact, Mode, Outcome, Pairs, Verdict,
};

fn softening(mode: Mode, hours: u32) -> ArtifactPolicy {
    let already = AlreadyAdmitted { mode, lasting: HOUR * hours };
    ArtifactPolicy { already_admitted: Some(already), ..policy("p", vec![refusing()]) }
}

fn judged(world: &World, policy: &ArtifactPolicy) -> Evaluation {
    world.evaluate(std::slice::from_ref(policy))
}

fn effect(world: &World, policy: &ArtifactPolicy) -> Effect {
    judged(world, policy).outcomes()[0].effect
}

#[test]
fn what_does_not_run_is_refused() {
    let policy = softening(Mode::Warn, 24);
    let evaluation = judged(&World::by_digest(), &policy);
    assert_eq!(evaluation.verdict(), Verdict::Refuse);
    assert!(evaluation.softened().is_empty());
    let elsewhere = World::by_digest().admitted(&[("dev", 500)]);
    assert_eq!(effect(&elsewhere, &policy), Effect::Refuse);
    let unknown = elsewhere.with(|facts| facts.admissions = Fact::unknown("no record"));
    assert_eq!(effect(&unknown, &policy), Effect::Refuse);
}

#[test]
fn the_window_begins_with_the_first_time_it_is_needed() {
    let policy = softening(Mode::Warn, 24);
    let world = World::by_digest().admitted(&[("prod", 500)]);
    let evaluation = judged(&world, &policy);
    assert_eq!(evaluation.verdict(), Verdict::Pass);
    assert_eq!(evaluation.outcomes()[0].outcome, Outcome::Refuses, "it is refused all the same");
    assert_eq!(evaluation.outcomes()[0].effect, Effect::Warn);
    assert_eq!(
        evaluation.outcomes()[0].softened.as_deref(),
        Some("it runs in prod already; refused from 2026-11-26T12:00:00Z")
    );
    assert_eq!(evaluation.softened(), ["p".into()], "to be noted");
    assert_eq!(evaluation.valid_until(), Some(at(24)));
    assert_eq!(effect(&world, &softening(Mode::Audit, 24)), Effect::Audit);
}

#[test]
fn the_window_ends() {
    let policy = softening(Mode::Warn, 24);
    let world = World::by_digest().admitted(&[("prod", 500)]).softened("prod", "p", 20);
    let evaluation = judged(&world, &policy);
    assert_eq!(evaluation.outcomes()[0].effect, Effect::Warn);
    assert!(evaluation.softened().is_empty(), "it began before");
    assert_eq!(evaluation.valid_until(), Some(at(4)));
    assert_eq!(effect(&world.clone().later(4), &policy), Effect::Refuse);
    // What was noted for another policy or place is not this one's.
    for (environment, noted) in [("prod", "q"), ("dev", "p")] {
        let world = World::by_digest().admitted(&[("prod", 500)]).softened(environment, noted, 90);
        assert_eq!(judged(&world, &policy).softened(), ["p".into()]);
    }
}

#[test]
fn all_environments_that_the_policy_speaks_of_have_to_run_it() {
    let mut policy = softening(Mode::Warn, 24);
    let asked = |admitted: &[(&str, i64)]| World::by_digest().asked_by(raised()).admitted(admitted);
    assert_eq!(effect(&asked(&[("prod", 9)]), &policy), Effect::Refuse, "dev does not run it");
    assert_eq!(effect(&asked(&[("prod", 9), ("dev", 9)]), &policy), Effect::Warn);
    // The earliest beginning counts for both.
    let both = asked(&[("prod", 9), ("dev", 9)]).softened("dev", "p", 20);
    assert_eq!(judged(&both, &policy).valid_until(), Some(at(4)));
    policy.matches.environments = vec![text("prod")];
    assert_eq!(effect(&asked(&[("prod", 9)]), &policy), Effect::Warn);
    assert_eq!(effect(&asked(&[("dev", 9)]), &policy), Effect::Refuse);
}

#[test]
fn what_cannot_be_told_is_not_softened() {
    let mut policy = softening(Mode::Warn, 24);
    let labels = Pairs { require: vec![("a".to_owned(), text("*"))], deny: Vec::new() };
    policy.rules = vec![rule("r", Check::Labels(labels))];
    let world = World::by_digest()
        .admitted(&[("prod", 500)])
        .with(|facts| facts.config = Fact::failed("down"));
    assert_eq!(judged(&world, &policy).verdict(), Verdict::CannotTell);
    let unknown = world.with(|facts| facts.config = Fact::unknown("odd"));
    assert_eq!(effect(&unknown, &policy), Effect::Warn, "unknown is a refusal, and softened");
}

#[test]
fn whether_it_runs_may_not_be_known_now() {
    let world = World::by_digest().with(|facts| facts.admissions = Fact::failed("catalog is busy"));
    let evaluation = judged(&world, &softening(Mode::Warn, 24));
    assert_eq!(evaluation.verdict(), Verdict::CannotTell);
    assert_eq!(evaluation.outcomes()[0].outcome, FAILED);
    let reason = &evaluation.outcomes()[0].reason;
    assert!(reason.contains("1000B, more than 1B"), "{reason}");
    assert!(reason.ends_with("whether it runs already is not known: catalog is busy"), "{reason}");
    // Another policy, of which nothing is softened, refuses anyway.
    let both = [softening(Mode::Warn, 24), policy("q", vec![refusing()])];
    assert_eq!(world.evaluate(&both).verdict(), Verdict::Refuse);
}
