//! Our reading of CEL against another implementation of it: what both take, they agree on; and whatever
//! text is thrown at ours, it ends, within bounds and without a panic.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself fails")]

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

fn one_of(texts: &[&str]) -> BoxedStrategy<String> {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    prop::sample::select(texts).boxed()
}

/// Texts of a form, with the parts that strategies give in place of `$`, in order.
fn form(form: &'static str, parts: Vec<BoxedStrategy<String>>) -> BoxedStrategy<String> {
    let fill = |parts: Vec<String>| {
        let mut parts = parts.into_iter();
        let pieces = form.split_inclusive('$').map(|piece| match piece.strip_suffix('$') {
            Some(before) => before.to_owned() + &parts.next().unwrap(),
            None => piece.to_owned(),
        });
        pieces.collect::<String>()
    };
    parts.prop_map(fill).boxed()
}

/// A number; `x` is one within a loop.
fn number(depth: u32) -> BoxedStrategy<String> {
    let leaf =
        one_of(&["0", "1", "-3", "7", "claims.number", "claims.list[1]", "x", "claims.ratio"]);
    if depth == 0 {
        return leaf;
    }
    let (number, text, list) = (number(depth - 1), text(depth - 1), list(depth - 1));
    let operator = one_of(&["+", "-", "*", "/", "%"]);
    prop_oneof![
        leaf,
        form("($ $ $)", vec![number.clone(), operator, number.clone()]),
        form("size($)", vec![text.clone()]),
        form("($).size()", vec![list.clone()]),
        form("($)[$]", vec![list, number.clone()]),
        form("int($)", vec![number.clone()]),
        form("int(string($))", vec![number.clone()]),
        form("($ ? $ : $)", vec![truth(depth - 1), number.clone(), number.clone()]),
        form("duration(string($) + 's').getMinutes()", vec![number.clone()]),
        form("timestamp(int($)).getDayOfWeek()", vec![number.clone()]),
        form("-($)", vec![number]),
    ]
    .boxed()
}

fn text(depth: u32) -> BoxedStrategy<String> {
    let leaf =
        one_of(&["''", "'abc'", "'a'", "'añb'", "claims.text", "claims.names[1]", "'90s'", "'3'"]);
    if depth == 0 {
        return leaf;
    }
    let (number, text) = (number(depth - 1), text(depth - 1));
    prop_oneof![
        leaf,
        form("($ + $)", vec![text.clone(), text.clone()]),
        form("string($)", vec![number.clone()]),
        form("($).substring($)", vec![text.clone(), number.clone()]),
        form("($).substring($, $)", vec![text.clone(), number.clone(), number.clone()]),
        form("($).replace($, $)", vec![text.clone(), text.clone(), text.clone()]),
        form("($).replace($, $, $)", vec![text.clone(), text.clone(), text.clone(), number]),
        form("($).split($).join($)", vec![text.clone(), text.clone(), text]),
    ]
    .boxed()
}

/// A list of numbers.
fn list(depth: u32) -> BoxedStrategy<String> {
    let leaf = one_of(&["[]", "[1, 2]", "claims.list", "[3, 0, 3]"]);
    if depth == 0 {
        return leaf;
    }
    let (number, list) = (number(depth - 1), list(depth - 1));
    prop_oneof![
        leaf,
        form("[$, $]", vec![number.clone(), number.clone()]),
        form("($ + $)", vec![list.clone(), list.clone()]),
        form("($).map(x, $)", vec![list.clone(), number.clone()]),
        form("($).map(x, $, $)", vec![list.clone(), truth(depth - 1), number]),
        form("($).filter(x, $)", vec![list, truth(depth - 1)]),
    ]
    .boxed()
}

fn truth(depth: u32) -> BoxedStrategy<String> {
    let leaf = one_of(&[
        "true",
        "false",
        "claims.flag",
        "has(claims.map.a)",
        "has(claims.map.z)",
        "x == 1",
    ]);
    if depth == 0 {
        return leaf;
    }
    let (number, text, list, truth) =
        (number(depth - 1), text(depth - 1), list(depth - 1), truth(depth - 1));
    let orders = one_of(&["==", "!=", "<", "<=", ">", ">="]);
    let texts = one_of(&["contains", "startsWith", "endsWith"]);
    let macros = one_of(&["all", "exists", "exists_one"]);
    prop_oneof![
        leaf,
        form("($ $ $)", vec![number.clone(), orders.clone(), number.clone()]),
        form("($ $ $)", vec![text.clone(), orders, text.clone()]),
        form("($ $ $)", vec![list.clone(), one_of(&["==", "!="]), list.clone()]),
        form("($ $ $)", vec![truth.clone(), one_of(&["&&", "||", "==", "!="]), truth.clone()]),
        form("!($)", vec![truth.clone()]),
        form("($ in $)", vec![number, list.clone()]),
        form("($ in claims.map)", vec![text.clone()]),
        form("($).$($)", vec![text.clone(), texts, text.clone()]),
        form("($).matches('^a.?b')", vec![text]),
        form("($).$(x, $)", vec![list, macros, truth.clone()]),
        form("($ ? $ : $)", vec![truth.clone(), truth.clone(), truth]),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_both_take_gives_the_same(text in truth(3)) {
        if let (Some(ours), Some(theirs)) = (ours(&text), theirs(&text)) {
            let agree = match (&ours, &theirs) {
                (Ok(ours), Ok(theirs)) => ours == theirs,
                (ours, theirs) => ours.is_err() && theirs.is_err(),
            };
            prop_assert!(agree, "{}: ours {:?}, theirs {:?}", text, ours, theirs);
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
    assert_eq!(
        ours(&("1 == 1".to_owned() + &" && claims.number == 3".repeat(150))),
        Some(Ok(true))
    );
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
        "['a', 'b'].exists(x, artifact.tags.exists(t, t + x == x))",
        "artifact.labels.exists(key, artifact.labels[key] in artifact.tags)",
        "artifact.tags.map(t, t + t).join(',') == '' || true",
        "artifact.tags.join(',').size() > 1 || true",
        "artifact.labels.map(key, artifact.labels[key]).join().split('x').size() == 1",
        "artifact.labels.filter(key, artifact.tags == artifact.tags).size() == 0",
    ] {
        let rule = Expression::compile(text, &Schema::facts(), Expect::Bool);
        let rule = rule.unwrap_or_else(|error| panic!("{text}: {error}"));
        let error = match rule.evaluate_bool(&huge) {
            Err(error) => error.to_string(),
            Ok(value) => panic!("{text}: {value}"),
        };
        let bounded = error.contains("too many steps") || error.contains("1 MiB");
        assert!(bounded, "{text}: {error}");
    }
}
