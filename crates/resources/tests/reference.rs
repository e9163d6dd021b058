//! The reference in `docs/` names what can be written, and all of it.

use resources::{KNOWN_BUT_UNENFORCED, WELL_KNOWN_REGISTRIES, json_schemas};
use serde_json::Value;
use std::collections::BTreeSet;

const REFERENCE: &str = include_str!("../../../docs/reference/resources.md");

/// Every name of a field and every word of an enum below a schema.
fn names(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(fields) = map.get("properties").and_then(Value::as_object) {
                found.extend(fields.keys().cloned());
            }
            found.extend(map.get("const").and_then(Value::as_str).map(str::to_owned));
            let words = map.get("enum").and_then(Value::as_array).into_iter().flatten();
            found.extend(words.filter_map(Value::as_str).map(str::to_owned));
            map.values().for_each(|inner| names(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| names(inner, found)),
        _ => {}
    }
}

/// Whether the reference has `name` as a whole word within backticks.
fn is_named(name: &str) -> bool {
    REFERENCE.split('`').skip(1).step_by(2).any(|code| {
        let is_part = |c: char| c.is_alphanumeric() || "*./-".contains(c);
        code.split(|c| !is_part(c))
            .any(|word| word == name || word.rsplit('.').next() == Some(name))
    })
}

#[test]
fn every_field_and_word_is_in_the_reference() {
    let mut all = BTreeSet::new();
    for schema in json_schemas().values() {
        names(schema, &mut all);
    }
    assert!(all.contains("staleIfError") && all.contains("Administer"), "{all:?}");
    let missing: Vec<_> = all.iter().filter(|name| !is_named(name)).collect();
    assert!(missing.is_empty(), "docs/reference/resources.md does not name {missing:?}");
    assert!(!is_named("staleIfErro"), "a part of a word is no word");
}

#[test]
fn what_is_built_in_and_what_is_not_enforced_is_in_the_reference() {
    for name in WELL_KNOWN_REGISTRIES.iter().chain(&KNOWN_BUT_UNENFORCED) {
        assert!(is_named(name), "docs/reference/resources.md does not name {name}");
    }
}

/// The resources that stand as examples in a document, without the indent of the list they are in.
fn examples(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(indent) = line.find("```yaml").filter(|at| line[..*at].trim().is_empty()) else {
            continue;
        };
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        let dedented = inside.map(|line| line.get(indent..).unwrap_or_default());
        let example = dedented.collect::<Vec<_>>().join("\n");
        if example.contains("apiVersion:") {
            found.push(example);
        }
    }
    found
}

#[test]
fn the_examples_can_be_put_in_force() {
    for (name, document, count) in [
        ("resources.md", REFERENCE, 9),
        ("policies.md", include_str!("../../../docs/guides/policies.md"), 3),
        ("identity.md", include_str!("../../../docs/guides/identity.md"), 4),
        ("README.md", include_str!("../../../README.md"), 3),
        ("clients.md", include_str!("../../../docs/guides/clients.md"), 2),
        ("storage.md", include_str!("../../../docs/guides/storage.md"), 1),
        ("repositories.md", include_str!("../../../docs/guides/repositories.md"), 3),
    ] {
        let examples = examples(document);
        assert_eq!(examples.len(), count, "{name}");
        // What a page said before holds on.
        let mut in_force = resources::builtin();
        for example in examples {
            let set = resources::read_text(name, &example).unwrap();
            in_force = resources::overlay(&in_force, &set).unwrap();
        }
    }
}
