//! Answers, and the rules that are in the way.

use super::*;
use serde_json::{Value, json};

fn result(verdict: &str, message: &str, outcomes: &[(&str, &str)], children: Vec<Value>) -> Value {
    let outcomes: Vec<Value> = outcomes
        .iter()
        .map(|(rule, effect)| {
            json!({ "policy": "p", "rule": rule, "outcome": "Refuses", "effect": effect,
                    "reason": "because", "remedy": format!("mend {rule}") })
        })
        .collect();
    let decision = json!({
        "id": "1", "at": "2026-11-25T00:00:00Z", "principal": "", "principalKey": "",
        "environment": "", "purpose": "", "request": "", "verdict": verdict, "policy": "", "rule": "",
        "message": message, "revision": format!("sha256:{}", "0".repeat(64)),
        "outcomes": outcomes, "facts": null, "waivers": [],
    });
    let decision = if outcomes.is_empty() { Value::Null } else { decision };
    json!({ "reference": "ghcr.io/a/b:1", "name": "", "verdict": verdict, "message": message,
            "decision": decision, "children": children })
}

/// Rules with whether each is alone, and whether it is the first of more.
#[track_caller]
fn reasons(value: Value) -> Vec<(String, bool, bool)> {
    let result: CheckResult = serde_json::from_value(value).unwrap();
    let all = of(&result).into_iter();
    all.map(|(rule, it)| (rule.title(), it.is_alone, it.is_first_of_more)).collect()
}

fn told(rule: &str, is_alone: bool, is_first_of_more: bool) -> (String, bool, bool) {
    (rule.to_owned(), is_alone, is_first_of_more)
}

#[test]
fn a_rule_is_alone_where_no_other_is_in_the_way() {
    let deny = |outcomes: &[(&str, &str)]| result("Deny", "no", outcomes, vec![]);
    assert_eq!(reasons(deny(&[("a", "Refuse"), ("b", "None")])), [told("p/a", true, false)]);
    let two = [told("p/a", false, false), told("p/b", false, false)];
    assert_eq!(reasons(deny(&[("a", "Refuse"), ("b", "Refuse"), ("c", "Warn")])), two);
    // What nobody can tell is in the way too.
    let unknown = [("a", "Refuse"), ("b", "CannotTell")];
    assert_eq!(reasons(deny(&unknown)), [told("p/a", false, false)]);
}

#[test]
fn of_an_index_one_platform_is_enough() {
    let child = |outcomes: &[(&str, &str)]| result("Deny", "no", outcomes, vec![]);
    let children = vec![child(&[("a", "Refuse")]), child(&[("a", "Refuse"), ("b", "Refuse")])];
    let index = result("Deny", "every platform is refused: no", &[("z", "None")], children.clone());
    assert_eq!(reasons(index), [told("p/a", true, false), told("p/b", false, false)]);
    let warned = result("Warn", "1 of 2", &[("w", "Warn")], children);
    let expected = ["p/a", "p/b", "p/w"].map(|rule| told(rule, false, false));
    assert_eq!(reasons(warned), expected);
}

#[test]
fn what_a_plane_only_observes_is_a_warning() {
    let observed = result("Warn", "would be denied", &[("a", "Refuse")], vec![]);
    assert_eq!(reasons(observed), [told("p/a", true, false)]);
}

#[test]
fn what_is_refused_early_is_told_by_its_line() {
    let line =
        "denied by releases/no-latest: tag latest; it moves; name a version; lockgate why 01k";
    let early = result("Deny", line, &[], vec![]);
    assert_eq!(reasons(early), [told("releases/no-latest", true, true)]);
    let (rule, remedy) = denied_by(line).unwrap();
    assert_eq!((rule.policy.as_str(), remedy.as_str()), ("releases", "name a version"));
    let access =
        "denied by access: no AccessPolicy allows Pull on a to b; ask them; lockgate why 01k";
    let (rule, remedy) = denied_by(access).unwrap();
    assert_eq!((rule.title().as_str(), remedy.as_str()), ("access", "ask them"));
    for odd in ["", "denied by ", "denied by a", "denied by a: ", "no"] {
        let _ = denied_by(odd);
    }
}

#[test]
fn what_is_elsewhere_is_told_by_its_host() {
    let line = format!("{ELSEWHERE}ghcr.io; names here begin with: docker.io");
    let elsewhere = result("CannotTell", &line, &[], vec![]);
    assert_eq!(reasons(elsewhere), [told("ghcr.io", true, true)]);
    let lost = result("CannotTell", "the upstream is down", &[], vec![]);
    assert_eq!(reasons(lost), [told("could not be found out", true, true)]);
    assert_eq!(reasons(result("Allow", "permitted", &[("a", "Audit")], vec![])), []);
    assert_eq!(
        Class::of(&serde_json::from_value(result("Quarantine", "", &[], vec![])).unwrap()),
        Class::Unknown
    );
}
