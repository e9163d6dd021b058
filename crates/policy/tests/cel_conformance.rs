//! Our reading of CEL against another implementation of it: what both take, they agree on; and whatever
//! text is thrown at ours, it ends, within bounds and without a panic.

use policy::cel::{Expect, Expression, Roots, Schema, Value};
use proptest::prelude::*;
use std::collections::BTreeMap;

const CLAIMS: &str = r#"{
    "text": "abc", "number": 3, "ratio": 0.5, "flag": true,
    "list": [1, 2, 3], "names": ["a", "bb", "añ"], "map": {"a": 1, "b": 2}
}"#;

#[derive(Debug)]
struct Claims(Value<'static>);

impl Roots for Claims {
    fn fact(&self, path: &str) -> Option<Value<'_>> {
        (path == "claims").then(|| self.0.clone())
    }
}

fn claims() -> Claims {
    Claims(serde_json::from_str(CLAIMS).unwrap())
}

/// True or false, or what went wrong; none if the check refuses the text.
fn ours(text: &str) -> Option<Result<bool, String>> {
    let expression = Expression::compile(text, &Schema::claims(), Expect::Bool).ok()?;
    Some(expression.evaluate_bool(&claims()).map_err(|error| error.to_string()))
}

/// The same of the other implementation; none if it does not read the text or has no such function.
fn theirs(text: &str) -> Option<Result<bool, String>> {
    let mut env = cel::Env::stdlib();
    env.add_extension(cel::extensions::strings).unwrap();
    let program = env.compile(text).ok()?;
    let mut context = cel::Context::with_env(std::sync::Arc::new(env));
    let claims: serde_json::Value = serde_json::from_str(CLAIMS).unwrap();
    context.add_variable("claims", from_json(&claims)).unwrap();
    match program.execute(&context) {
        Ok(cel::Value::Bool(it)) => Some(Ok(it)),
        Ok(_) => None,
        Err(cel::ExecutionError::UndeclaredReference(_)) => None,
        Err(error) => Some(Err(error.to_string())),
    }
}

/// The values as ours are made: whole numbers are `int`.
fn from_json(value: &serde_json::Value) -> cel::Value {
    match value {
        serde_json::Value::Null => cel::Value::Null,
        serde_json::Value::Bool(it) => cel::Value::Bool(*it),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(int) => cel::Value::Int(int),
            None => cel::Value::Float(number.as_f64().unwrap()),
        },
        serde_json::Value::String(text) => cel::Value::from(text.as_str()),
        serde_json::Value::Array(items) => {
            cel::Value::from(items.iter().map(from_json).collect::<Vec<_>>())
        }
        serde_json::Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), from_json(value)));
            cel::Value::from(entries.collect::<std::collections::HashMap<_, _>>())
        }
    }
}

#[test]
fn the_other_implementation_agrees_with_the_table() {
    let mut held = 0;
    let mut wrong = Vec::new();
    for text in include_str!("cel/true.txt").lines() {
        let facts = ["artifact.", "principal.", "request.", "admission.", "now", "claims", "//"];
        if text.trim().is_empty() || facts.iter().any(|fact| text.contains(fact)) {
            continue;
        }
        match theirs(text) {
            Some(Ok(true)) => held += 1,
            other => wrong.push(format!("{text}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(held > 20, "{held}");
}

/// Expressions that the grammar allows, whether their types fit or not.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1", "0", "-3", "2.5", "'abc'", "''", "'añ'", "true", "false", "null", "claims.text",
        "claims.number", "claims.ratio", "claims.flag", "claims.list", "claims.names", "claims.map",
        "claims.absent", "[]", "[1, 2]", "['a']", "{'a': 1}", "x", "duration('90s')",
        "timestamp('2026-01-31T00:00:00Z')", "9223372036854775807",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let operators = prop::sample::select(vec![
            "==", "!=", "<", "<=", ">", ">=", "in", "+", "-", "*", "/", "%", "&&", "||",
        ]);
        let functions = prop::sample::select(vec![
            "size()", "startsWith('a')", "contains('b')", "getHours()", "split('b')", "join('-')",
            "exists(x, x == 1)", "all(x, x > 1)", "exists_one(x, x == 'a')", "map(x, x)",
            "map(x, x + x)", "filter(x, x != 2)", "substring(1)", "replace('a', 'b')", "matches('^a')",
        ]);
        let conversions = prop::sample::select(vec!["int", "double", "string", "size", "-", "!"]);
        prop_oneof![
            (two.clone(), operators).prop_map(|((a, b), operator)| format!("({a} {operator} {b})")),
            (inner.clone(), functions).prop_map(|(a, function)| format!("({a}).{function}")),
            (inner.clone(), conversions).prop_map(|(a, function)| format!("{function}({a})")),
            (two.clone(), inner.clone()).prop_map(|((a, b), c)| format!("({a} ? {b} : {c})")),
            two.clone().prop_map(|(a, b)| format!("({a})[{b}]")),
            two.clone().prop_map(|(a, b)| format!("[{a}, {b}]")),
            two.clone().prop_map(|(a, b)| format!("{{'a': {a}, 'b': {b}}}")),
            (two, prop::sample::select(vec!["exists", "all"]))
                .prop_map(|((a, b), each)| format!("({a}).{each}(x, {b})")),
            inner.prop_map(|a| format!("has(claims.map.{})", if a.len() > 5 { "a" } else { "z" })),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_both_take_gives_the_same(left in expressions(), right in expressions()) {
        for text in [format!("{left} == {right}"), left.clone(), format!("{left} != null")] {
            let Some(ours) = ours(&text) else { continue };
            let Some(theirs) = theirs(&text) else { continue };
            if std::env::var_os("CELCOUNT").is_some() { eprintln!("HELD {ours:?} {text}"); }
            match (&ours, &theirs) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs, "{}", text),
                (Err(_), Err(_)) => {}
                _ => prop_assert!(false, "{}: ours {:?}, theirs {:?}", text, ours, theirs),
            }
        }
    }

    #[test]
    fn any_text_ends_without_a_panic(text in "[ -~\\n\u{e0}-\u{ff}]{0,80}") {
        let _ = ours(&text);
    }

    #[test]
    fn any_tokens_end_without_a_panic(words in prop::collection::vec(prop::sample::select(vec![
        "claims", ".", "list", "text", "(", ")", "[", "]", "{", "}", "'a'", "\"", "\\", "'''", "1", "2.",
        "e9", "0x", "?", ":", ",", "&&", "||", "!", "-", "==", "<", "in", "+", "exists", "map", "x", "has",
        "r'", "//", "\n", "matches", "true", "null", "u", " ",
    ]), 0..60)) {
        let _ = ours(&words.concat());
    }
}

#[test]
fn nesting_of_every_kind_is_refused_and_not_followed() {
    let many = 4000;
    for text in [
        "(".repeat(many),
        "[".repeat(many),
        "{'a':".repeat(many / 5),
        "!".repeat(many),
        "-".repeat(many) + "1",
        "true?true:".repeat(many / 10) + "true",
        "true?".repeat(many / 5),
        "a.".repeat(many / 2) + "a",
        "a[".repeat(many / 2),
        "f(".repeat(many / 2),
        "1".to_owned() + &"+1".repeat(many / 2) + " == 1",
        "[1".to_owned() + &",1".repeat(many / 2 - 2) + "]",
        "x".repeat(5000),
    ] {
        assert!(ours(&text).is_none(), "{}", &text[..20]);
    }
    // Chains that are flat to a reader are allowed.
    assert_eq!(ours(&("true".to_owned() + &" && true".repeat(400))), Some(Ok(true)));
    assert_eq!(ours(&("1 == 1".to_owned() + &" && claims.number == 3".repeat(150))), Some(Ok(true)));
}

#[test]
fn facts_beyond_all_bounds_end_the_evaluation() {
    #[derive(Debug)]
    struct Huge(Vec<String>, BTreeMap<String, String>);
    impl Roots for Huge {
        fn fact(&self, path: &str) -> Option<Value<'_>> {
            match path {
                "artifact.tags" => Some(Value::from(&self.0)),
                "artifact.labels" => Some(Value::from(&self.1)),
                _ => None,
            }
        }
    }
    let many = 20_000;
    let tags = (0..many).map(|number| format!("{number:0200}")).collect();
    let labels = (0..many).map(|number| (number.to_string(), "x".repeat(200))).collect();
    let huge = Huge(tags, labels);
    for text in [
        "['a', 'b'].exists(x, ['a', 'b'].all(y, artifact.tags.all(t, t != x + y)))",
        "artifact.tags.exists(t, t in artifact.tags)",
        "artifact.tags.map(t, t + t).join(',') == '' || true",
        "artifact.tags.join(',').size() > 1 || true",
        "artifact.labels.map(key, artifact.labels[key]).join().split('x').size() == 1",
        "artifact.tags.filter(t, artifact.tags == artifact.tags).size() == 0",
    ] {
        let Ok(rule) = Expression::compile(text, &Schema::facts(), Expect::Bool) else { continue };
        let error = rule.evaluate_bool(&huge).unwrap_err().to_string();
        let bounded = error.contains("too many steps") || error.contains("1 MiB");
        assert!(bounded, "{text}: {error}");
    }
}
