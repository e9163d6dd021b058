//! Documents as rules: nothing is lost or swapped on the way, and mistakes are told with their places.

use super::build;
use policy::{
    Action, ArtifactKind, ArtifactPolicy, Check, Evidence, Mode, OnUnknown, Posture, Purpose,
    TextPattern,
};
use resources::{Problem, read_text};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn documents(spec: &str) -> String {
    format!(
        "apiVersion: lockgate.dev/v1alpha1\nkind: ArtifactPolicy\nmetadata: {{ name: p }}\nspec:\n{spec}"
    )
}

fn policy(spec: &str) -> ArtifactPolicy {
    let mut problems = Vec::new();
    let set = read_text("p.yaml", &documents(spec)).expect("the documents can be read");
    let policies = build(&set, &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(policies.posture(), Posture::Enforce);
    policies.list()[0].clone()
}

fn check(check: &str) -> Check {
    policy(&format!("  rules: [{{ name: r, {check} }}]\n")).rules[0].check.clone()
}

fn written<'a, P: 'a>(
    patterns: impl IntoIterator<Item = &'a P>,
    text: fn(&P) -> &str,
) -> Vec<String> {
    patterns.into_iter().map(|it| text(it).to_owned()).collect()
}

fn texts(patterns: &[TextPattern]) -> Vec<String> {
    written(patterns, TextPattern::as_str)
}

#[test]
fn what_is_said_of_the_whole() {
    let policy = policy(
        "  match:
    environments: [default, pr-*]
    clusters: [c1]
    actions: [Push, Pull]
    purposes: [Deploy, Build, Develop, Scan, Replicate]
    repositories: ['docker.io/**']
    artifacts: [Image, Index, HelmChart, Bundle, File, Evidence, Other]
  enforcement:
    - { environments: [pr-*], clusters: [c2], mode: Audit }
    - { mode: Warn, until: 2026-12-01T00:00:00Z }
    - { mode: Enforce, from: 2026-12-02T00:00:00Z }
  onUnknown: Warn
  alreadyAdmitted: { mode: Audit, for: 2h }
  hide: true
  owner: the shop
  rules:
    - { name: one, size: { max: 1KiB }, onUnknown: Allow, remedy: do this }
    - { name: two, size: { max: 2KiB } }
",
    );
    assert_eq!((&*policy.name, policy.owner.as_deref()), ("p", Some("the shop")));
    let matches = &policy.matches;
    assert_eq!(texts(&matches.environments), ["default", "pr-*"]);
    assert_eq!(texts(&matches.clusters), ["c1"]);
    assert_eq!(matches.actions, [Action::Push, Action::Pull]);
    let mut purposes = matches.purposes.clone();
    purposes.sort();
    assert_eq!(purposes, Purpose::ALL);
    assert_eq!(matches.artifacts, ArtifactKind::ALL);
    assert_eq!(written(&matches.repositories, policy::NamePattern::as_str), ["docker.io/**"]);
    let [audit, warn, enforce] = &policy.enforcement[..] else { panic!("three entries") };
    assert_eq!((audit.mode, warn.mode, enforce.mode), (Mode::Audit, Mode::Warn, Mode::Enforce));
    assert_eq!(texts(&audit.environments), ["pr-*"]);
    assert_eq!(texts(&audit.clusters), ["c2"]);
    assert_eq!(warn.until, "2026-12-01T00:00:00Z".parse().ok());
    assert_eq!(enforce.from, "2026-12-02T00:00:00Z".parse().ok());
    assert_eq!((warn.from, enforce.until), (None, None));
    assert_eq!(policy.on_unknown, OnUnknown::Warn);
    let already = policy.already_admitted.expect("it is said");
    assert_eq!((already.mode, already.lasting), (Mode::Audit, 2 * HOUR));
    assert!(policy.hides);
    let [one, two] = &policy.rules[..] else { panic!("two rules") };
    assert_eq!((&*one.name, &*two.name), ("one", "two"));
    assert_eq!((one.on_unknown, two.on_unknown), (Some(OnUnknown::Allow), None));
    assert_eq!((one.remedy.as_deref(), two.remedy.as_deref()), (Some("do this"), None));
}

#[test]
fn what_is_left_out_is_as_strict_as_can_be() {
    let policy = policy("  rules: [{ name: r, size: { max: 1B } }]\n");
    assert_eq!(policy.on_unknown, OnUnknown::Deny);
    assert!(policy.enforcement.is_empty() && policy.already_admitted.is_none() && !policy.hides);
    assert!(policy.matches.actions.is_empty() && policy.matches.environments.is_empty());
}

#[test]
fn names_and_tags() {
    let Check::Repositories(lists) = check("repositories: { allow: ['a/**'], deny: ['b/**'] }")
    else {
        panic!("repositories")
    };
    assert_eq!(written(&lists.allow, policy::NamePattern::as_str), ["a/**"]);
    assert_eq!(written(&lists.deny, policy::NamePattern::as_str), ["b/**"]);
    let Check::Upstreams(lists) = check("upstreams: { allow: ['a*'], deny: ['b*'] }") else {
        panic!("upstreams")
    };
    assert_eq!((texts(&lists.allow), texts(&lists.deny)), (vec!["a*".into()], vec!["b*".into()]));
    let tags = "tags: { deny: [latest], allow: ['v*'], semver: '>=1.2, <2', requireDigest: true }";
    let Check::Tags(tags) = check(tags) else { panic!("tags") };
    assert_eq!(written(&tags.deny, policy::TagPattern::as_str), ["latest"]);
    assert_eq!(written(&tags.allow, policy::TagPattern::as_str), ["v*"]);
    assert!(tags.require_digest);
    assert!(tags.semver.is_some_and(|range| range.contains("1.3") && !range.contains("2.0")));
    let Check::BaseImage(base) = check("baseImage: { allow: ['a/**'] }") else { panic!("base") };
    assert_eq!(written(&base.allow, policy::NamePattern::as_str), ["a/**"]);
}

#[test]
fn what_it_is_made_of() {
    let Check::Platforms(allow) = check("platforms: { allow: ['linux/*'] }") else {
        panic!("platforms")
    };
    assert_eq!(texts(&allow), ["linux/*"]);
    assert!(matches!(check("size: { max: 3KiB }"), Check::Size { max_bytes: 3072 }));
    for (field, is_media_types) in [("mediaTypes", true), ("licences", false)] {
        let lists = match check(&format!("{field}: {{ allow: ['a*'], deny: ['b*'] }}")) {
            Check::MediaTypes(lists) if is_media_types => lists,
            Check::Licences(lists) if !is_media_types => lists,
            other => panic!("{field} is {other:?}"),
        };
        assert_eq!(texts(&lists.allow), ["a*"]);
        assert_eq!(texts(&lists.deny), ["b*"]);
    }
    for (field, is_labels) in [("labels", true), ("annotations", false)] {
        let pairs = match check(&format!("{field}: {{ require: {{ a: b }}, deny: {{ c: d }} }}")) {
            Check::Labels(pairs) if is_labels => pairs,
            Check::Annotations(pairs) if !is_labels => pairs,
            other => panic!("{field} is {other:?}"),
        };
        assert_eq!((&*pairs.require[0].0, pairs.require[0].1.as_str()), ("a", "b"));
        assert_eq!((&*pairs.deny[0].0, pairs.deny[0].1.as_str()), ("c", "d"));
    }
}

#[test]
fn times_and_evidence() {
    let age = "age: { sincePublished: 1h, sinceFirstSeen: 2h, except: ['a/**'] }";
    let Check::Age(age) = check(age) else { panic!("age") };
    assert_eq!((age.since_published, age.since_first_seen), (Some(HOUR), Some(2 * HOUR)));
    assert_eq!(written(&age.except, policy::NamePattern::as_str), ["a/**"]);
    let Check::Promotion(promotion) = check("promotion: { admittedIn: default, for: 3h }") else {
        panic!("promotion")
    };
    assert_eq!((&*promotion.admitted_in, promotion.lasting), ("default", Some(3 * HOUR)));
    for (text, evidence) in [
        ("provenance: { builders: ['a'] }", Evidence::Provenance),
        ("sbom: { required: true }", Evidence::Sbom),
        ("vulnerabilities: { max: { critical: 0 } }", Evidence::Vulnerabilities),
    ] {
        assert!(matches!(check(text), Check::Evidence(found) if found == evidence), "{text}");
    }
}

#[test]
fn expressions() {
    let Check::Cel(deny) = check("deny: 'artifact.layerCount > 1', message: artifact.name") else {
        panic!("an expression")
    };
    assert_eq!((deny.condition.text(), deny.warns), ("artifact.layerCount > 1", false));
    assert_eq!(deny.message.map(|it| it.text().to_owned()), Some("artifact.name".to_owned()));
    let Check::Cel(warn) = check("warn: 'artifact.layerCount > 1'") else { panic!("a warning") };
    assert!(warn.warns && warn.message.is_none());
}

/// What is wrong with a policy, whoever finds it.
fn problems(spec: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    match read_text("p.yaml", &documents(spec)) {
        Ok(set) => {
            let policies = build(&set, &mut problems);
            assert!(policies.is_empty(), "what is wrong is not in force in part");
        }
        Err(found) => problems = found.into_vec(),
    }
    problems
}

#[test]
fn mistakes_in_expressions_have_their_line_and_column() {
    let spec = "  rules:
    - name: r
      deny: |
        artifact.layerCount > 1 &&
        artifact.lables['a'] == 'b'
    - name: s
      warn: artifact.name
    - { name: t, deny: 'true', message: artifact.layerCount }
";
    let found: Vec<String> = problems(spec).iter().map(ToString::to_string).collect();
    let [first, second, third] = &found[..] else { panic!("three mistakes: {found:?}") };
    // Four lines of head, and the expression begins on the fourth line of the spec.
    assert!(first.starts_with("p.yaml:9:"), "{first}");
    assert!(first.contains("spec.rules[0].deny") && first.contains("labels"), "{first}");
    assert!(second.starts_with("p.yaml:11:") && second.contains("spec.rules[1].warn"), "{second}");
    assert!(third.starts_with("p.yaml:12:") && third.contains("spec.rules[2].message"), "{third}");
}

#[test]
fn mistakes_in_ranges_are_told_where_they_are() {
    let found: Vec<_> = problems("  rules: [{ name: r, tags: { semver: '1.2.3' } }]\n");
    let [problem] = &found[..] else { panic!("one mistake: {found:?}") };
    let problem = problem.to_string();
    assert!(problem.starts_with("p.yaml:5:"), "{problem}");
    assert!(problem.contains("spec.rules[0].tags.semver"), "{problem}");
}

#[test]
fn a_plane_that_observes() {
    let plane = "---\napiVersion: lockgate.dev/v1alpha1\nkind: Plane\nmetadata: { name: default }\n\
                 spec: { posture: Observe }\n";
    let policy = documents("  rules: [{ name: r, size: { max: 1B } }]\n");
    let set = read_text("p.yaml", &(policy + plane)).expect("the documents can be read");
    assert_eq!(build(&set, &mut Vec::new()).posture(), Posture::Observe);
}
