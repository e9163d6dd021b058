//! The environment and flags, laid over the file: each option remembers who said it.

use resources::{Node, Place, Problem, Value, nearest, parse_documents, schema_of};
use serde_json::Value as Json;
use std::sync::{Arc, LazyLock};

/// What all variables of ours begin with.
const PREFIX: &str = "LOCKGATE_";
/// Variables of the commands, which are no settings.
const NOT_SETTINGS: [&str; 4] =
    ["LOCKGATE_CONFIG", "LOCKGATE_ID_TOKEN", "LOCKGATE_PLANE", "LOCKGATE_TOKEN"];
/// No option is deeper.
const MAX_STEPS: usize = 8;

/// The schema of the settings, against which names are resolved.
pub(crate) static SCHEMA: LazyLock<Json> = LazyLock::new(schema_of::<super::Settings>);

/// Lays the variables over `node`: `LOCKGATE_CACHE__MAX_BYTES=200GiB` sets `cache.maxBytes`, and
/// `LOCKGATE_LISTENERS__0__ADDRESS` the first listener's address. A value is YAML where the option
/// is no text. Returns variables that begin like ours but are none: Kubernetes sets some for a
/// Service named lockgate, so that they cannot be errors unless they look like a typing mistake.
pub(crate) fn lay_environment(
    node: &mut Node,
    variables: impl Iterator<Item = (String, String)>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let mut foreign = Vec::new();
    let mut ours: Vec<(String, String)> =
        variables.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    ours.sort();
    for (name, value) in ours {
        if NOT_SETTINGS.contains(&name.as_str()) || value.is_empty() {
            continue;
        }
        let place = Place::of(format!("environment {name}"));
        let words: Vec<&str> = name[PREFIX.len()..].split("__").collect();
        match resolve(&words, Spelling::Screaming) {
            Ok(path) => set(node, &path, &value, &place, problems),
            Err(unknown) if words.len() == 1 && unknown.nearest.is_none() => foreign.push(name),
            Err(unknown) => problems.push(
                Problem::new(place, "", format!("no option is named {}", unknown.name))
                    .with_nearest(unknown.nearest),
            ),
        }
    }
    foreign
}

/// Lays one flag over `node`. `path` is as in the file: `cache.maxBytes`, `listeners.0.address`.
pub(crate) fn lay_flag(
    node: &mut Node,
    flag: &str,
    path: &str,
    value: &str,
    problems: &mut Vec<Problem>,
) {
    let place = Place::of(flag);
    let words: Vec<&str> = path.split('.').collect();
    match resolve(&words, Spelling::Camel) {
        Ok(path) => set(node, &path, value, &place, problems),
        Err(unknown) => problems.push(
            Problem::new(place, "", format!("no option is named {}", unknown.name))
                .with_nearest(unknown.nearest),
        ),
    }
}

#[derive(Clone, Copy)]
enum Spelling {
    Camel,
    Screaming,
}

/// One step down: a field or an index.
enum Step {
    Field(String),
    Index(usize),
}

/// A path, and what is at its end.
struct Target {
    steps: Vec<Step>,
    is_text: bool,
}

struct Unknown {
    name: String,
    nearest: Option<String>,
}

fn resolve(words: &[&str], spelling: Spelling) -> Result<Target, Unknown> {
    let separator = if matches!(spelling, Spelling::Camel) { "." } else { "__" };
    let unknown = |nearest| Unknown { name: words.join(separator), nearest };
    if words.len() > MAX_STEPS {
        return Err(unknown(None));
    }
    let mut schema = deref(&SCHEMA);
    let mut steps = Vec::new();
    for (position, word) in words.iter().enumerate() {
        if let (Ok(index), true) = (word.parse::<usize>(), schema["items"].is_object()) {
            steps.push(Step::Index(index));
            schema = deref(&schema["items"]);
            continue;
        }
        let Some(fields) = schema["properties"].as_object() else { return Err(unknown(None)) };
        let spell = |name: &str| match spelling {
            Spelling::Camel => name.to_owned(),
            Spelling::Screaming => screaming(name),
        };
        match fields.keys().find(|name| spell(name) == *word) {
            Some(name) => {
                steps.push(Step::Field(name.clone()));
                schema = deref(&fields[name]);
            }
            None => {
                let names: Vec<String> = fields.keys().map(|name| spell(name)).collect();
                let near = nearest(word, names.iter().map(String::as_str))
                    .map(|name| corrected(words, position, name, spelling));
                return Err(unknown(near));
            }
        }
    }
    let is_text = schema["type"].as_str() == Some("string")
        || schema["type"].as_array().is_some_and(|types| types.iter().any(|t| t == "string"))
        || schema["oneOf"].is_array()
        || schema["enum"].is_array();
    Ok(Target { steps, is_text })
}

/// The whole name with this word of it replaced, and what follows corrected too as far as it can be.
fn corrected(words: &[&str], position: usize, name: &str, spelling: Spelling) -> String {
    let (separator, prefix) = match spelling {
        Spelling::Camel => (".", ""),
        Spelling::Screaming => ("__", PREFIX),
    };
    let mut whole = words.to_vec();
    whole[position] = name;
    // Each step down corrects a later word, so this ends.
    match resolve(&whole, spelling) {
        Ok(_) => format!("{prefix}{}", whole.join(separator)),
        Err(Unknown { nearest: Some(near), .. }) => near,
        Err(_) => format!("{prefix}{}", whole[..=position].join(separator)),
    }
}

fn deref(mut schema: &'static Json) -> &'static Json {
    // References of our own schema lead to a definition in one or two steps.
    for _ in 0..8 {
        if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/")) {
            schema = &SCHEMA["$defs"][name];
        } else if let Some(branches) = schema["anyOf"].as_array() {
            match branches.iter().find(|branch| branch["type"] != "null") {
                Some(branch) => schema = branch,
                None => break,
            }
        } else {
            break;
        }
    }
    schema
}

/// `maxBytes` as environment variables spell it: `MAX_BYTES`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

fn set(node: &mut Node, target: &Target, value: &str, place: &Place, problems: &mut Vec<Problem>) {
    let value = if target.is_text {
        Value::Text(value.to_owned())
    } else {
        match parse_documents(&Arc::from(place.source()), value) {
            Ok(mut documents) if documents.len() == 1 => documents.remove(0).value,
            Ok(_) => Value::Null,
            Err(problem) => {
                problems.push(Problem::new(place.clone(), "", problem.message));
                return;
            }
        }
    };
    let mut value = Node { place: place.clone(), value };
    move_to(&mut value, place);
    if let Err(message) = put(node, &target.steps, value) {
        problems.push(Problem::new(place.clone(), "", message));
    }
}

/// All of a value came from one place without lines.
fn move_to(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| move_to(item, place)),
        Value::Map(entries) => {
            for entry in entries {
                entry.key_place = place.clone();
                move_to(&mut entry.value, place);
            }
        }
        _ => {}
    }
}

fn put(node: &mut Node, steps: &[Step], value: Node) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        *node = value;
        return Ok(());
    };
    let place = value.place.clone();
    let empty = || Node { place: place.clone(), value: Value::Map(Vec::new()) };
    match step {
        Step::Field(name) => {
            let mut inner = node.entry(name).map_or_else(empty, |entry| entry.value.clone());
            put(&mut inner, rest, value)?;
            node.set(name, inner);
        }
        Step::Index(index) => {
            if !matches!(node.value, Value::List(_)) {
                node.value = Value::List(Vec::new());
                node.place = place.clone();
            }
            let Value::List(items) = &mut node.value else { return Ok(()) };
            if *index > items.len() {
                return Err(format!("entry {index} of a list that has {} entries", items.len()));
            }
            if *index == items.len() {
                items.push(empty());
            }
            put(&mut items[*index], rest, value)?;
        }
    }
    Ok(())
}
