//! What holds whatever the policies, the facts and the time are.

use crate::world::*;
use oci::Tag;
use policy::cel::{Expect, Expression, Schema};
use policy::{
    Age, AlreadyAdmitted, ArtifactKind, ArtifactPolicy, Cel, Check, Enforcement, Evaluation, Fact,
    Mode, OnUnknown, Outcome, Pairs, Promotion, TagPattern, Tags, Verdict,
};
use proptest::prelude::*;

fn expression(text: &str) -> Check {
    let condition = Expression::compile(text, &Schema::facts(), Expect::Bool).unwrap();
    Check::Cel(Cel { condition, message: None, warns: false })
}

fn a_check() -> impl Strategy<Value = Check> {
    let tags = |pattern: &str| vec![TagPattern::parse(pattern).unwrap()];
    let hours = 1u32..80;
    let age = (prop::option::of(hours.clone()), prop::option::of(hours.clone()));
    let labels = Pairs { require: vec![("team".to_owned(), text("shop"))], deny: Vec::new() };
    prop_oneof![
        Just(Check::Size { max_bytes: 1000 }),
        Just(refusing()),
        Just(Check::Tags(Tags { deny: tags("latest"), ..Tags::default() })),
        Just(Check::Tags(Tags { allow: tags("v*"), ..Tags::default() })),
        Just(Check::Labels(labels)),
        Just(expression("now > timestamp('2026-11-25T20:00:00Z')")),
        Just(expression("artifact.published > timestamp('2026-11-25T20:00:00Z')")),
        Just(expression("size(admission.environments) == 0")),
        age.prop_map(|(published, seen)| Check::Age(Age {
            since_published: published.map(|it| HOUR * it),
            since_first_seen: seen.map(|it| HOUR * it),
            except: Vec::new(),
        })),
        prop::option::of(hours).prop_map(|it| Check::Promotion(Promotion {
            admitted_in: "staging".to_owned(),
            lasting: it.map(|it| HOUR * it),
        })),
    ]
}

fn a_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Enforce), Just(Mode::Warn), Just(Mode::Audit)]
}

fn an_enforcement() -> impl Strategy<Value = Enforcement> {
    let date = || prop::option::of((-40i64..40).prop_map(at));
    let environment = prop::sample::select(vec!["", "prod", "dev", "*"]);
    (a_mode(), date(), date(), environment).prop_map(|(mode, from, until, environment)| {
        let environments = match environment {
            "" => Vec::new(),
            glob => vec![text(glob)],
        };
        Enforcement { environments, clusters: Vec::new(), mode, from, until }
    })
}

fn a_policy(name: &'static str) -> impl Strategy<Value = ArtifactPolicy> {
    let on_unknown =
        prop_oneof![Just(OnUnknown::Deny), Just(OnUnknown::Warn), Just(OnUnknown::Allow)];
    let already = prop::option::of(1u32..60);
    (
        prop::collection::vec(a_check(), 1..4),
        prop::collection::vec(an_enforcement(), 0..3),
        on_unknown,
        already,
    )
        .prop_map(move |(checks, enforcement, on_unknown, already)| ArtifactPolicy {
            enforcement,
            on_unknown,
            already_admitted: already
                .map(|hours| AlreadyAdmitted { mode: Mode::Warn, lasting: HOUR * hours }),
            ..policy(name, checks)
        })
}

fn a_fact<T: Clone + std::fmt::Debug + 'static>(value: T) -> impl Strategy<Value = Fact<T>> {
    prop_oneof![
        4 => Just(Fact::Known(value)),
        1 => Just(Fact::unknown("nobody knows")),
        1 => Just(Fact::failed("it is down")),
    ]
}

fn a_world() -> impl Strategy<Value = World> {
    let admitted = prop::collection::btree_map(
        prop::sample::select(vec!["prod", "dev", "staging"]),
        0i64..80,
        0..3,
    );
    let world = (
        prop::sample::select(vec!["latest", "v1", "main"]),
        any::<bool>(),
        any::<bool>(),
        -80i64..30,
        -80i64..0,
        admitted,
        prop::option::of(0i64..60),
    );
    world
        .prop_map(|(tag, is_index, is_raised, made, seen, admitted, softened)| {
            let admitted: Vec<_> = admitted.into_iter().collect();
            let mut world = World::by_tag(tag)
                .config(|config| config.created = Some(at(made)))
                .admitted(&admitted)
                .with(|facts| {
                    facts.first_seen = Fact::Known(at(seen));
                    facts.tags = Fact::Known([Tag::parse(tag).unwrap()].into());
                });
            if is_index {
                world = world.kind(ArtifactKind::Index);
            }
            if is_raised {
                world = world.asked_by(raised());
            }
            match softened {
                Some(hours) => world.softened("prod", "a", hours).softened("dev", "a", hours),
                None => world,
            }
        })
        .prop_flat_map(|world| {
            let facts = world.facts.clone();
            let known = |fact: &Fact<_>| fact.known().cloned().unwrap();
            let config = a_fact(known(&facts.config));
            let admissions = a_fact(facts.admissions.known().cloned().unwrap());
            (Just(world), config, admissions).prop_map(|(world, config, admissions)| {
                world.with(|facts| (facts.config, facts.admissions) = (config, admissions))
            })
        })
}

/// The effects, and what they are told with; dates that are counted from the moment apart.
fn told(evaluation: &Evaluation) -> Vec<String> {
    let begins = !evaluation.softened().is_empty();
    let all = evaluation.outcomes().iter().map(|it| {
        let softened = it.softened.as_ref().filter(|_| !begins);
        format!(
            "{}/{} {:?} {:?} {} {softened:?}",
            it.policy, it.rule, it.outcome, it.effect, it.reason
        )
    });
    all.collect()
}

fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::CannotTell => 1,
        Verdict::Refuse => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_same_question_has_the_same_answer(
        world in a_world(), a in a_policy("a"), b in a_policy("b"),
    ) {
        let one = world.evaluate(&[a.clone(), b.clone()]);
        let other = world.evaluate(&[b, a]);
        prop_assert_eq!(one.outcomes(), other.outcomes());
        prop_assert_eq!(one.valid_until(), other.valid_until());
        prop_assert_eq!(one.softened(), other.softened());
    }

    #[test]
    fn another_policy_makes_nothing_laxer(
        world in a_world(), a in a_policy("a"), b in a_policy("b"),
    ) {
        let alone = world.evaluate(std::slice::from_ref(&a)).verdict();
        let both = world.evaluate(&[a, b]).verdict();
        prop_assert!(rank(both) >= rank(alone), "{:?} became {:?}", alone, both);
    }

    #[test]
    fn an_answer_holds_until_it_says(
        world in a_world(), a in a_policy("a"), b in a_policy("b"), later in 0i64..400,
    ) {
        let policies = [a, b];
        let first = world.evaluate(&policies);
        let wait = jiff::SignedDuration::from_mins(later * 15);
        let then = World { now: world.now + wait, ..world.clone() };
        if first.valid_until().is_none_or(|until| then.now < until) {
            let second = then.evaluate(&policies);
            prop_assert_eq!(told(&first), told(&second));
        }
    }

    #[test]
    fn no_answer_that_may_change_at_once_is_kept(world in a_world(), a in a_policy("a")) {
        let evaluation = world.evaluate(&[a]);
        let is_failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed { .. });
        let has_failed = evaluation.outcomes().iter().any(|it| is_failed(&it.outcome));
        if has_failed && evaluation.verdict() != Verdict::Refuse {
            prop_assert_eq!(evaluation.valid_until(), Some(world.now));
        }
    }

    #[test]
    fn what_is_refused_before_asking_is_refused_afterwards(
        world in a_world(), a in a_policy("a"), b in a_policy("b"),
    ) {
        let policies = policy::Policies::new(vec![a, b], policy::Posture::Enforce);
        let before = policies.evaluate_intent(&world.question()).map_or(Verdict::Pass, |it| it.verdict());
        let whole = policies.evaluate(&world.question()).verdict();
        if before == Verdict::Refuse {
            prop_assert_eq!(whole, Verdict::Refuse);
        }
    }

    #[test]
    fn asking_for_a_stricter_environment_makes_nothing_laxer(
        world in a_world(), mut a in a_policy("a"),
    ) {
        // Softening is by what each environment runs.
        a.already_admitted = None;
        let alone = world.clone().asked_by(caller("dev", "prod-eu"));
        let alone = alone.evaluate(std::slice::from_ref(&a)).verdict();
        let wished = world.asked_by(raised()).evaluate(&[a]).verdict();
        prop_assert!(rank(wished) >= rank(alone), "{:?} became {:?}", alone, wished);
    }
}
