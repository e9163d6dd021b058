//! Expressions: one that passes the check ends within its cost for facts within the bounds of the schema,
//! gives the type that was expected, the same each time, and where all types are known never fails by a type.
//! The input is an expression, and bytes that facts are made of.
#![no_main]

use fuzz::facts::Facts;
use libfuzzer_sys::fuzz_target;
use policy::cel::{EvaluationError, Expect, Expression, Schema, Value};
use std::sync::LazyLock;

static SCHEMAS: LazyLock<[(bool, Schema); 3]> = LazyLock::new(|| {
    [(true, Schema::facts()), (false, Schema::claims()), (true, Schema::certificate())]
});

/// How an evaluation fails by a type.
const OF_TYPES: [&str; 8] = [
    "a bool is needed here, not ",
    "a map is needed here, not ",
    "a text is needed here, not ",
    "a list or a map is needed here, not ",
    "the function does not take ",
    "`in` needs a list or a map after it, not ",
    "- needs a number, not ",
    "it gave ",
];

fuzz_target!(|data: &[u8]| {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (text, facts) = data.split_at(at);
    let facts = facts.get(1..).unwrap_or_default();
    let Ok(text) = std::str::from_utf8(text) else { return };
    for (is_typed, schema) in &*SCHEMAS {
        let mut made = None;
        for expect in [Expect::Bool, Expect::String, Expect::Strings] {
            match Expression::compile(text, schema, expect) {
                Ok(expression) => {
                    let facts = made.get_or_insert_with(|| Facts::of(schema, facts));
                    evaluate(&expression, expect, schema, facts, *is_typed);
                }
                Err(error) => {
                    let lines = text.split('\n').count();
                    assert!(error.line() >= 1 && error.line() as usize <= lines, "{error}");
                    assert!(error.column() >= 1 && !error.message().is_empty());
                }
            }
        }
    }
});

fn evaluate(
    expression: &Expression,
    expect: Expect,
    schema: &Schema,
    facts: &Facts,
    is_typed: bool,
) {
    for path in expression.needs() {
        assert!(schema.fields().any(|field| field.path() == path), "{path}");
    }
    let value = expression.evaluate(facts);
    let again = expression.evaluate(facts);
    assert_eq!(format!("{value:?}"), format!("{again:?}"), "it depends on something else");
    match (&value, expect) {
        (Ok(Value::Bool(_)), Expect::Bool)
        | (Ok(Value::String(_)), Expect::String)
        | (Ok(Value::List(_)), Expect::Strings) => {}
        (Ok(other), _) => panic!("{expect:?} was expected, not {other:?}"),
        (Err(error), _) => failed(error, expression, is_typed),
    }
}

fn failed(error: &EvaluationError, expression: &Expression, is_typed: bool) {
    assert!(!error.message().contains("too many steps"), "it costs more than was reckoned");
    if let Some(path) = error.missing_fact() {
        assert!(
            expression.needs().any(|needed| needed == path),
            "{path} was not said to be needed"
        );
    }
    // Literals of lists and maps and `?:` may mix types, as the language allows.
    let is_mixed = expression.text().contains(['[', '{', '?']);
    if is_typed && !is_mixed {
        let is_of_types = OF_TYPES.iter().any(|text| error.message().starts_with(text));
        assert!(!is_of_types, "the check let it pass: {error}");
    }
}
