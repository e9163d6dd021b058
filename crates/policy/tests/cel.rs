//! Expressions of policies and claims: what they give, what is refused when they are loaded and where, and
//! what can go wrong only when they are evaluated.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself fails")]

use jiff::Timestamp;
use policy::cel::{EvaluationError, Expect, Expression, Roots, Schema, Type, Value};
use std::collections::BTreeMap;

/// The facts of one pull, of which `artifact.firstSeen` is not known.
#[derive(Debug)]
struct Pull {
    labels: BTreeMap<String, String>,
    attributes: BTreeMap<String, String>,
    tags: Vec<String>,
    groups: Vec<String>,
    admitted: BTreeMap<String, Timestamp>,
    name: String,
    claims: Value<'static>,
}

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn texts<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

impl Pull {
    fn example() -> Self {
        let claims = r#"{
            "sub": "repo:corp/web:ref:refs/heads/main", "email": "alice@corp.example", "email_verified": true,
            "groups": ["dev", "ops"], "realm_access": {"roles": ["admin"]}, "iat": 1790000000, "ratio": 0.5,
            "nothing": null
        }"#;
        Self {
            labels: texts([("org.example.owner", "team-a"), ("tier", "gold")]),
            attributes: texts([("cluster", "eu-1"), ("namespace", "shop")]),
            tags: ["v1.2.3", "stable", "latest"].map(str::to_owned).to_vec(),
            groups: ["dev", "ops"].map(str::to_owned).to_vec(),
            admitted: BTreeMap::from([("staging".to_owned(), moment("2026-01-01T00:00:00Z"))]),
            name: "docker.io/library/alpine".to_owned(),
            claims: serde_json::from_str(claims).unwrap(),
        }
    }
}

impl Roots for Pull {
    fn fact(&self, path: &str) -> Option<Value<'_>> {
        Some(match path {
            "artifact.labels" => Value::from(&self.labels),
            "principal.attributes" => Value::from(&self.attributes),
            "artifact.tags" => Value::from(&self.tags),
            "principal.groups" => Value::from(&self.groups),
            "admission.last" => Value::from(&self.admitted),
            "artifact.name" => Value::from(self.name.as_str()),
            "artifact.sizeBytes" => Value::from(4_000_000),
            "artifact.layerCount" => Value::from(3),
            "request.isByDigest" => Value::from(false),
            "request.tag" => Value::from("v1.2.3"),
            "artifact.published" => Value::from(moment("2026-01-10T12:34:56.789Z")),
            "now" => Value::from(moment("2026-01-31T00:00:00Z")),
            "claims" => self.claims.clone(),
            _ => return None,
        })
    }
}

fn compile(text: &str, expect: Expect) -> Expression {
    let schema = if text.contains("claims") { Schema::claims() } else { Schema::facts() };
    Expression::compile(text, &schema, expect).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn truth(text: &str) -> Result<bool, EvaluationError> {
    compile(text, Expect::Bool).evaluate_bool(&Pull::example())
}

/// The first expression is equal to the second, or true.
#[test]
fn what_expressions_give() {
    let cases = include_str!("cel/true.txt").lines().filter(|line| is_case(line));
    let wrong: Vec<String> = cases
        .map(|text| (text, truth(text)))
        .filter(|(_, value)| *value != Ok(true))
        .map(|(text, value)| format!("{text}: {value:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn is_case(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with("//")
}

/// Holds a file of cases against what comes of them: an expression, then a line that begins with `#`.
fn assert_outcomes(file: &str, outcome: impl Fn(&str) -> String) {
    let lines: Vec<&str> = file.lines().filter(|line| is_case(line)).collect();
    assert!(
        lines.len().is_multiple_of(2),
        "each expression has one line that says what comes of it"
    );
    let mut wrong = String::new();
    for pair in lines.chunks(2) {
        let (expected, found) = (pair[1].strip_prefix("# ").unwrap(), outcome(pair[0]));
        if found != expected {
            wrong.push_str(&format!("{}\n# {expected}\n# {found}\n", pair[0]));
        }
    }
    assert!(wrong.is_empty(), "the second of each two is found:\n{wrong}");
}

#[test]
fn what_is_refused_when_it_is_loaded() {
    let outcome = |text: &str| {
        let schema = if text.contains("claims") { Schema::claims() } else { Schema::facts() };
        let compiled = Expression::compile(text, &schema, Expect::Bool);
        compiled.map_or_else(|error| error.to_string(), |_| "it compiles".to_owned())
    };
    assert_outcomes(include_str!("cel/refused.txt"), outcome);
}

#[test]
fn what_goes_wrong_when_it_is_evaluated() {
    let outcome = |text: &str| {
        truth(text).map_or_else(|error| error.to_string(), |value| format!("it gives {value}"))
    };
    assert_outcomes(include_str!("cel/errors.txt"), outcome);
}

#[test]
fn only_what_is_read_is_needed() {
    let needs = |text: &str| compile(text, Expect::Bool).needs().collect::<Vec<_>>();
    assert_eq!(needs("!('org.example.owner' in artifact.labels)"), ["artifact.labels"]);
    assert_eq!(
        needs("now - artifact.published < duration('72h') || 'ops' in principal.groups"),
        ["artifact.published", "now", "principal.groups"]
    );
    assert_eq!(needs("['a'].exists(now, now == 'a')"), Vec::<&str>::new(), "a variable is no fact");
    assert_eq!(needs("has(claims.email) && claims.sub != ''"), ["claims"]);
}

#[test]
fn an_unknown_fact_is_told_apart_from_a_mistake() {
    let error = truth("artifact.firstSeen < now").unwrap_err();
    assert_eq!(error.missing_fact(), Some("artifact.firstSeen"));
    let error = truth("artifact.labels['absent'] == ''").unwrap_err();
    assert_eq!(error.missing_fact(), None);
    assert_eq!(
        truth("artifact.firstSeen < now || true"),
        Ok(true),
        "what decides without it, does"
    );
}

#[test]
fn claims_give_names_and_groups() {
    let pull = Pull::example();
    let name = compile("claims.email_verified ? claims.email : claims.sub", Expect::String);
    assert_eq!(name.evaluate_string(&pull).unwrap(), "alice@corp.example");
    let groups = compile("claims.realm_access.roles + claims.groups", Expect::Strings);
    assert_eq!(groups.evaluate_strings(&pull).unwrap(), ["admin", "dev", "ops"]);
    let groups = compile("claims.groups.map(g, 'oidc:' + g)", Expect::Strings);
    assert_eq!(groups.evaluate_strings(&pull).unwrap(), ["oidc:dev", "oidc:ops"]);
    let wrong = compile("claims.iat", Expect::String);
    let error = wrong.evaluate_string(&pull).unwrap_err();
    assert_eq!(error.message(), "it gave int, not string");
    let wrong = compile("[claims.iat]", Expect::Strings);
    assert!(wrong.evaluate_strings(&pull).is_err(), "every item has to be a text");
}

#[test]
fn certificates_have_their_own_schema() {
    struct Certificate(Vec<String>);
    impl Roots for Certificate {
        fn fact(&self, path: &str) -> Option<Value<'_>> {
            match path {
                "certificate.commonName" => Some(Value::from("system:node:n1")),
                "certificate.organizations" => Some(Value::from(&self.0)),
                _ => None,
            }
        }
    }
    let schema = Schema::certificate();
    let text = "'system:nodes' in certificate.organizations ? certificate.commonName : ''";
    let name = Expression::compile(text, &schema, Expect::String).unwrap();
    let certificate = Certificate(vec!["system:nodes".to_owned()]);
    assert_eq!(name.evaluate_string(&certificate).unwrap(), "system:node:n1");
}

#[test]
fn a_doubled_claim_is_nobodys() {
    assert!(serde_json::from_str::<Value<'_>>(r#"{"sub": "a", "sub": "b"}"#).is_err());
}

#[test]
fn every_fact_is_explained_once() {
    for schema in [Schema::facts(), Schema::claims(), Schema::certificate()] {
        let mut paths: Vec<&str> = schema.fields().map(|field| field.path()).collect();
        let count = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), count, "no path twice");
        for field in schema.fields() {
            assert!(!field.doc().is_empty() && !field.doc().ends_with('.'), "{}", field.path());
            let typed = field.field_type();
            assert!(*typed != Type::Dyn && field.max() > 0, "{}", field.path());
        }
    }
}
