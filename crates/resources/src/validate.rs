//! A tree held against a schema: every difference is told with its place.
//!
//! Derived deserializers stop at the first error and know no places. So the tree is checked
//! against the very schema that editors get, all problems are collected, and only a tree without
//! problems is turned into the type.

use crate::nearest::nearest;
use crate::tree::{Entry, Node, Value, parse_documents};
use crate::{Place, Problem, Problems, formats, schema_of};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::sync::Arc;

/// More than this many problems of one document help nobody.
const MAX_PROBLEMS: usize = 100;

/// Reads one YAML document into a type; a text without content is an empty map.
///
/// Fails with everything that is wrong: not YAML, more than one document, unknown fields, wrong
/// types, values out of bounds, texts that do not fit their format.
pub fn from_yaml<T: DeserializeOwned + JsonSchema>(file: &str, text: &str) -> Result<T, Problems> {
    let file: Arc<str> = file.into();
    let mut documents = parse_documents(&file, text)?;
    if let Some(second) = documents.get(1) {
        let message = "one document is expected; remove what follows `---`";
        return Err(Problem::new(second.place.clone(), "", message).into());
    }
    let empty = || Node { place: Place::in_file(&file, 1, 1), value: Value::Map(Vec::new()) };
    from_node(&documents.pop().unwrap_or_else(empty))
}

/// Turns a tree into a type, or says everything that is wrong with it.
pub fn from_node<T: DeserializeOwned + JsonSchema>(node: &Node) -> Result<T, Problems> {
    Problems::check(validate(node, &schema_of::<T>(), None))?;
    convert(node, "").map_err(Problems::from)
}

/// The last step, which fails only where the type is stricter than its schema.
pub(crate) fn convert<T: DeserializeOwned>(node: &Node, path: &str) -> Result<T, Problem> {
    serde_json::from_value(node.to_json())
        .map_err(|cause| Problem::new(node.place.clone(), path, cause.to_string()))
}

/// Says something better than "unknown" about a field (no value) or a value, if it knows it.
pub(crate) type Unenforced<'a> = &'a dyn Fn(&str, Option<&str>) -> Option<String>;

/// All differences between a tree and a schema.
pub(crate) fn validate(node: &Node, schema: &Json, unenforced: Option<Unenforced>) -> Vec<Problem> {
    let mut walk = Walk { root: schema, unenforced, problems: Vec::new() };
    walk.check(node, schema, "");
    walk.problems
}

struct Walk<'a> {
    root: &'a Json,
    unenforced: Option<Unenforced<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Walk<'a> {
    fn check(&mut self, node: &Node, schema: &'a Json, path: &str) {
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let schema = self.resolve(schema);
        if let Some(words) = allowed_words(schema) {
            return self.check_word(node, &words, path);
        }
        match (type_of(schema), &node.value) {
            ("object", Value::Map(entries)) => self.check_map(node, entries, schema, path),
            ("array", Value::List(items)) => self.check_list(node, items, schema, path),
            ("string", Value::Text(text)) => self.check_text(node, text, schema, path),
            ("integer", Value::Integer(number)) => {
                self.check_number(node, *number as f64, schema, path);
            }
            ("number", Value::Integer(number)) => {
                self.check_number(node, *number as f64, schema, path);
            }
            ("number", Value::Float(number)) => self.check_number(node, *number, schema, path),
            ("boolean", Value::Bool(_)) | ("", _) => {}
            (wanted, found) => {
                let message = wrong_type(wanted, found);
                self.say(&node.place, path, message);
            }
        }
    }

    /// Follows references and takes the branch that is not null.
    fn resolve(&self, mut schema: &'a Json) -> &'a Json {
        // Each step goes one level down a schema we made; the bound only stops a loop.
        for _ in 0..16 {
            if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/")) {
                schema = &self.root["$defs"][name];
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

    fn check_map(&mut self, node: &Node, entries: &[Entry], schema: &'a Json, path: &str) {
        let properties = schema["properties"].as_object();
        let max = schema["maxProperties"].as_u64().unwrap_or(u64::MAX);
        if entries.len() as u64 > max {
            self.say(&node.place, path, format!("at most {max} entries are allowed"));
        }
        for (index, entry) in entries.iter().enumerate() {
            let inner_path = join(path, &entry.key);
            if let Some(first) = entries[..index].iter().find(|other| other.key == entry.key) {
                let message = format!("the field is already set at {}", first.key_place);
                self.say(&entry.key_place, &inner_path, message);
                continue;
            }
            let property = properties.and_then(|known| known.get(&entry.key));
            match (property, &schema["additionalProperties"]) {
                _ if property.is_some() && entry.value.value == Value::Null => {}
                (Some(property), _) => self.check(&entry.value, property, &inner_path),
                (None, Json::Bool(false)) => self.unknown_field(entry, schema, &inner_path),
                (None, Json::Object(_)) => {
                    self.check(&entry.value, &schema["additionalProperties"], &inner_path);
                }
                _ => {}
            }
        }
        let is_set =
            |name: &str| node.entry(name).is_some_and(|entry| entry.value.value != Value::Null);
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if !is_set(name) {
                self.say(&node.place, &join(path, name), "required field is missing".to_owned());
            }
        }
    }

    fn unknown_field(&mut self, entry: &Entry, schema: &'a Json, path: &str) {
        if let Some(message) = self.unenforced.and_then(|known| known(path, None)) {
            return self.say(&entry.key_place, path, message);
        }
        let names: Vec<&str> = schema["properties"]
            .as_object()
            .map(|properties| properties.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let near = nearest(&entry.key, names.iter().copied())
            .map(str::to_owned)
            .or_else(|| self.one_level_down(&entry.key, schema));
        let message = match (&near, names.is_empty()) {
            (None, false) => format!("unknown field; known here: {}", names.join(", ")),
            _ => "unknown field".to_owned(),
        };
        let problem = Problem::new(entry.key_place.clone(), path, message).with_nearest(near);
        self.problems.push(problem);
    }

    /// A field of that very name in one of the maps below.
    fn one_level_down(&self, key: &str, schema: &'a Json) -> Option<String> {
        schema["properties"].as_object()?.iter().find_map(|(name, property)| {
            let inner = self.resolve(property);
            inner["properties"].get(key).map(|_| format!("{name}.{key}"))
        })
    }

    fn check_list(&mut self, node: &Node, items: &[Node], schema: &'a Json, path: &str) {
        let count = items.len() as u64;
        let (min, max) = (schema["minItems"].as_u64(), schema["maxItems"].as_u64());
        if min.is_some_and(|min| count < min) {
            let message = format!("at least {} needed", entries(min.unwrap_or_default()));
            self.say(&node.place, path, message);
        }
        if max.is_some_and(|max| count > max) {
            let message = format!("at most {} allowed", entries(max.unwrap_or_default()));
            self.say(&node.place, path, message);
        }
        for (index, item) in items.iter().enumerate().take(max.unwrap_or(u64::MAX) as usize) {
            self.check(item, &schema["items"], &format!("{path}[{index}]"));
        }
    }

    fn check_text(&mut self, node: &Node, text: &str, schema: &Json, path: &str) {
        let length = text.chars().count() as u64;
        if schema["minLength"].as_u64().is_some_and(|min| length < min) {
            return self.say(&node.place, path, "the text may not be empty".to_owned());
        }
        if let Some(max) = schema["maxLength"].as_u64().filter(|max| length > *max) {
            return self.say(&node.place, path, format!("at most {max} characters are allowed"));
        }
        let check = schema["format"].as_str().and_then(formats::find);
        if let Some(Err(reason)) = check.map(|check| check(text)) {
            self.say(&node.place, path, reason);
        }
    }

    fn check_number(&mut self, node: &Node, number: f64, schema: &Json, path: &str) {
        let format_max = match schema["format"].as_str() {
            Some("uint8") => Some(f64::from(u8::MAX)),
            Some("uint16") => Some(f64::from(u16::MAX)),
            Some("uint32") => Some(f64::from(u32::MAX)),
            Some("uint64" | "uint") => Some(u64::MAX as f64),
            _ => None,
        };
        let min = schema["minimum"].as_f64();
        let max = schema["maximum"].as_f64().or(format_max);
        if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
            let message = match (min, max) {
                (Some(min), Some(max)) => format!("{number} is not between {min} and {max}"),
                (Some(min), None) => format!("{number} is less than {min}"),
                (_, max) => format!("{number} is more than {}", max.unwrap_or_default()),
            };
            self.say(&node.place, path, message);
        }
    }

    fn check_word(&mut self, node: &Node, words: &[&str], path: &str) {
        let Value::Text(text) = &node.value else {
            let message = format!("expected one of: {}", words.join(", "));
            return self.say(&node.place, path, message);
        };
        if words.contains(&text.as_str()) {
            return;
        }
        if let Some(message) = self.unenforced.and_then(|known| known(path, Some(text))) {
            return self.say(&node.place, path, message);
        }
        let near = nearest(text, words.iter().copied()).map(str::to_owned);
        let shown: String = text.chars().take(64).collect();
        let message = format!("{shown:?} is not one of: {}", words.join(", "));
        self.problems.push(Problem::new(node.place.clone(), path, message).with_nearest(near));
    }

    fn say(&mut self, place: &Place, path: &str, message: String) {
        self.problems.push(Problem::new(place.clone(), path, message));
    }
}

fn join(path: &str, key: &str) -> String {
    let shown: String = key.chars().take(64).filter(|letter| !letter.is_control()).collect();
    if path.is_empty() { shown } else { format!("{path}.{shown}") }
}

fn entries(count: u64) -> String {
    if count == 1 { "one entry is".to_owned() } else { format!("{count} entries are") }
}

/// The type of a schema; `null` beside another type only says that the field may be left out.
fn type_of(schema: &Json) -> &str {
    match &schema["type"] {
        Json::String(name) => name,
        Json::Array(names) => {
            names.iter().filter_map(Json::as_str).find(|name| *name != "null").unwrap_or("")
        }
        _ => "",
    }
}

/// The words of a plain enum in any of the forms the generator writes.
fn allowed_words(schema: &Json) -> Option<Vec<&str>> {
    if let Some(word) = schema["const"].as_str() {
        return Some(vec![word]);
    }
    if let Some(words) = schema["enum"].as_array() {
        return Some(words.iter().filter_map(Json::as_str).collect());
    }
    let branches = schema["oneOf"].as_array()?;
    let words: Vec<&str> = branches.iter().filter_map(allowed_words).flatten().collect();
    (!words.is_empty()).then_some(words)
}

fn wrong_type(wanted: &str, found: &Value) -> String {
    let found_text = match found {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("{value}"),
        Value::Integer(value) => format!("the number {value}"),
        Value::Float(value) => format!("the number {value}"),
        Value::Text(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    };
    let (wanted, hint) = match (wanted, found) {
        ("string", Value::Integer(_) | Value::Float(_) | Value::Bool(_)) => {
            ("text", "; put it in quotes")
        }
        ("string", _) => ("text", ""),
        ("array", Value::Text(_) | Value::Map(_)) => ("a list", "; begin each entry with `- `"),
        ("array", _) => ("a list", ""),
        ("object", Value::List(_)) => ("a map", "; leave out the `- `"),
        ("object", _) => ("a map", ""),
        ("integer", _) => ("a whole number", ""),
        ("number", _) => ("a number", ""),
        ("boolean", _) => ("true or false", ""),
        (other, _) => (other, ""),
    };
    format!("expected {wanted}, found {found_text}{hint}")
}
