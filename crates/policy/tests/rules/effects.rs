//! What becomes of what a rule finds: the mode by place and date, and facts that are not known.

use crate::world::*;
use jiff::Timestamp;
use policy::{
    ArtifactPolicy, Check, Effect, Enforcement, Evaluation, Fact, Mode, OnUnknown, Outcome, Pairs,
    Verdict,
};

fn enforced(mode: Mode) -> Enforcement {
    Enforcement { environments: Vec::new(), clusters: Vec::new(), mode, from: None, until: None }
}

fn in_environment(name: &str, mode: Mode) -> Enforcement {
    Enforcement { environments: vec![text(name)], ..enforced(mode) }
}

fn under(list: &[Enforcement]) -> ArtifactPolicy {
    ArtifactPolicy { enforcement: list.to_vec(), ..policy("p", vec![refusing()]) }
}

fn said(world: &World, policy: &ArtifactPolicy) -> (Effect, Option<String>, Option<Timestamp>) {
    let evaluation = world.evaluate(std::slice::from_ref(policy));
    let [outcome] = evaluation.outcomes() else { panic!("one rule") };
    assert_eq!(outcome.outcome, Outcome::Refuses, "what it finds is the same in every mode");
    (outcome.effect, outcome.softened.clone(), evaluation.valid_until())
}

#[test]
fn the_first_entry_that_fits_is_the_mode() {
    let world = World::by_digest();
    let effect = |list: &[Enforcement]| said(&world, &under(list)).0;
    assert_eq!(effect(&[]), Effect::Refuse, "Enforce, if nothing is said");
    assert_eq!(effect(&[enforced(Mode::Enforce)]), Effect::Refuse);
    assert_eq!(effect(&[enforced(Mode::Warn)]), Effect::Warn);
    assert_eq!(effect(&[enforced(Mode::Audit)]), Effect::Audit);
    assert_eq!(effect(&[in_environment("dev", Mode::Audit)]), Effect::Refuse, "none fits");
    let list = [in_environment("dev", Mode::Audit), enforced(Mode::Warn)];
    assert_eq!(effect(&list), Effect::Warn);
    let list = [in_environment("pr*", Mode::Audit), enforced(Mode::Warn)];
    assert_eq!(effect(&list), Effect::Audit);
    let cluster = |glob: &str| Enforcement { clusters: vec![text(glob)], ..enforced(Mode::Warn) };
    assert_eq!(effect(&[cluster("prod-*")]), Effect::Warn);
    assert_eq!(effect(&[cluster("dev-*")]), Effect::Refuse);
    let both = Enforcement { environments: vec![text("dev")], ..cluster("prod-*") };
    assert_eq!(effect(&[both]), Effect::Refuse, "both have to fit");
}

#[test]
fn before_its_date_a_refusal_is_a_warning_that_names_it() {
    let policy = under(&[Enforcement { from: Some(at(24)), ..enforced(Mode::Enforce) }]);
    let note = "refused from 2026-11-26T12:00:00Z".to_owned();
    let world = World::by_digest();
    assert_eq!(said(&world, &policy), (Effect::Warn, Some(note), Some(at(24))));
    assert_eq!(said(&world.clone().later(24), &policy), (Effect::Refuse, None, None));
    // What will only ever be a warning names no date.
    let policy = under(&[Enforcement { from: Some(at(24)), ..enforced(Mode::Warn) }]);
    assert_eq!(said(&world, &policy).0, Effect::Warn);
    assert_eq!(said(&world, &policy).1, None);
    let audit = under(&[Enforcement { from: Some(at(24)), ..enforced(Mode::Audit) }]);
    assert_eq!(said(&world, &audit).0, Effect::Audit);
}

#[test]
fn a_rule_that_lets_unknown_facts_pass_promises_no_refusal() {
    let labels = Check::Labels(Pairs { require: vec![("a".to_owned(), text("*"))], deny: vec![] });
    let mut policy = under(&[Enforcement { from: Some(at(24)), ..enforced(Mode::Enforce) }]);
    policy.rules = vec![rule("r", labels)];
    policy.on_unknown = OnUnknown::Warn;
    let world = World::by_digest().with(|facts| facts.config = Fact::unknown("odd"));
    let evaluation = world.evaluate(&[policy]);
    assert_eq!(evaluation.outcomes()[0].effect, Effect::Warn);
    assert_eq!(evaluation.outcomes()[0].softened, None, "after the date it is a warning, too");
}

#[test]
fn after_its_end_an_entry_is_none() {
    let policy = under(&[
        Enforcement { until: Some(at(5)), ..enforced(Mode::Audit) },
        Enforcement { until: Some(at(9)), ..enforced(Mode::Warn) },
    ]);
    let world = World::by_digest();
    let effect = |hours| {
        let (effect, _, until) = said(&world.clone().later(hours), &policy);
        (effect, until)
    };
    assert_eq!(effect(4), (Effect::Audit, Some(at(5))));
    assert_eq!(effect(5), (Effect::Warn, Some(at(9))));
    assert_eq!(effect(9), (Effect::Refuse, None));
}

#[test]
fn who_asks_for_a_stricter_environment_gets_its_mode() {
    let world = World::by_digest().asked_by(raised());
    let lax_first = [in_environment("dev", Mode::Audit), in_environment("prod", Mode::Enforce)];
    assert_eq!(said(&world, &under(&lax_first)).0, Effect::Refuse);
    let rest = [in_environment("dev", Mode::Audit), enforced(Mode::Warn)];
    assert_eq!(said(&world, &under(&rest)).0, Effect::Warn);
    // What the policy does not speak of has no say in how it is enforced.
    let mut of_dev = under(&[in_environment("dev", Mode::Audit)]);
    of_dev.matches.environments = vec![text("dev")];
    assert_eq!(said(&world, &of_dev).0, Effect::Audit);
    let dates = [
        Enforcement { from: Some(at(9)), ..in_environment("dev", Mode::Enforce) },
        Enforcement { from: Some(at(5)), ..in_environment("prod", Mode::Enforce) },
    ];
    let (effect, note, until) = said(&world, &under(&dates));
    assert_eq!((effect, until), (Effect::Warn, Some(at(5))));
    assert!(note.unwrap().ends_with("2026-11-25T17:00:00Z"), "the first of the dates");
}

fn of_unknown(mode: Mode, on_unknown: OnUnknown, config: Fact<()>) -> Evaluation {
    let labels = Check::Labels(Pairs { require: vec![("a".to_owned(), text("*"))], deny: vec![] });
    let mut policy = under(&[enforced(mode)]);
    policy.rules = vec![rule("r", labels)];
    policy.on_unknown = on_unknown;
    let world = World::by_digest().with(|facts| {
        facts.config = match config {
            Fact::Failed { why, retry_after } => Fact::Failed { why, retry_after },
            _ => Fact::unknown("it is odd"),
        }
    });
    world.evaluate(&[policy])
}

#[test]
fn unknown_and_failed_in_every_mode_and_by_every_wish() {
    use {Effect as E, Mode as M, OnUnknown as U};
    for (mode, on_unknown, of_unknown_fact, of_failed) in [
        (M::Enforce, U::Deny, E::Refuse, E::CannotTell),
        (M::Enforce, U::Warn, E::Warn, E::Warn),
        (M::Enforce, U::Allow, E::Audit, E::Audit),
        (M::Warn, U::Deny, E::Warn, E::Warn),
        (M::Warn, U::Warn, E::Warn, E::Warn),
        (M::Warn, U::Allow, E::Audit, E::Audit),
        (M::Audit, U::Deny, E::Audit, E::Audit),
        (M::Audit, U::Warn, E::Audit, E::Audit),
        (M::Audit, U::Allow, E::Audit, E::Audit),
    ] {
        let unknown = of_unknown(mode, on_unknown, Fact::unknown(""));
        assert_eq!(unknown.outcomes()[0].outcome, Outcome::Unknown);
        assert_eq!(unknown.outcomes()[0].effect, of_unknown_fact, "{mode:?} {on_unknown:?}");
        assert_eq!(unknown.valid_until(), None);
        let failed = of_unknown(mode, on_unknown, Fact::failed("down"));
        assert_eq!(failed.outcomes()[0].outcome, FAILED);
        assert_eq!(failed.outcomes()[0].effect, of_failed, "{mode:?} {on_unknown:?}");
        assert_eq!(failed.valid_until(), Some(at(0)), "it is asked again next time");
    }
}

#[test]
fn a_rule_has_its_own_wish_and_its_own_remedy() {
    let mut policy = policy("p", vec![refusing()]);
    policy.on_unknown = OnUnknown::Allow;
    policy.rules[0].on_unknown = Some(OnUnknown::Deny);
    policy.rules[0].remedy = Some("ask the shop team".into());
    let unread = World::by_digest().with(|facts| facts.manifest = None);
    let evaluation = unread.evaluate(std::slice::from_ref(&policy));
    assert_eq!(evaluation.outcomes()[0].effect, Effect::Refuse);
    assert_eq!(evaluation.outcomes()[0].remedy, "ask the shop team");
    policy.rules[0].check = Check::Size { max_bytes: 1000 };
    let evaluation = World::by_digest().evaluate(&[policy]);
    assert_eq!(evaluation.outcomes()[0].remedy, "", "nothing is to be done");
}

#[test]
fn deny_wins_and_every_reason_is_kept() {
    let failing = Check::Labels(Pairs { require: vec![("a".to_owned(), text("*"))], deny: vec![] });
    let passing = Check::Size { max_bytes: 5000 };
    let world = World::by_digest().with(|facts| facts.config = Fact::failed("down"));
    let verdict = |checks: Vec<Check>| world.evaluate(&[policy("p", checks)]).verdict();
    assert_eq!(verdict(vec![passing.clone()]), Verdict::Pass);
    assert_eq!(verdict(vec![failing.clone(), passing.clone()]), Verdict::CannotTell);
    assert_eq!(verdict(vec![failing.clone(), refusing()]), Verdict::Refuse);
    let both = [policy("b", vec![refusing(), passing]), policy("a", vec![refusing(), failing])];
    let evaluation = world.evaluate(&both);
    let all: Vec<_> = evaluation.outcomes().iter().map(|it| (&*it.policy, &*it.rule)).collect();
    assert_eq!(all, [("a", "r0"), ("a", "r1"), ("b", "r0"), ("b", "r1")], "by name, by rule");
    assert_eq!(evaluation.with_effect(Effect::Refuse).count(), 2);
    assert_eq!(evaluation.valid_until(), None, "a refusal stands whatever is found out");
}
