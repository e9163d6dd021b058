//! YAML as a tree in which every node knows its place.

use crate::{Place, Problem};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;
use std::fmt;
use std::sync::Arc;

/// Deeper nesting than any document needs; protects the stack.
const MAX_DEPTH: usize = 48;
/// Nodes of one file, aliases expanded; protects memory from alias bombs.
const MAX_NODES: usize = 1_000_000;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing; in a map the same as leaving the field out.
    Null,
    /// `true` or `false`; the words yes, no, on and off are text.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map in the order written; a key may stand there twice, which readers refuse.
    Map(Vec<Entry>),
}

/// A key of a map and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_place: Place,
    /// What it leads to.
    pub value: Node,
}

/// Reads the documents of one YAML (or JSON) text; documents without content are left out.
///
/// Fails on what is not YAML, and on texts with more documents, nodes or depth than any honest
/// file has. A text with a syntax error gives that one problem: what follows cannot be trusted.
pub fn parse_documents(file: &Arc<str>, text: &str) -> Result<Vec<Node>, Problem> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_documents: crate::MAX_DOCUMENTS,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES / 10,
            max_replay_stack_depth: 8,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        emit_comments: false,
    };
    let documents: Vec<Spanned<RawNode>> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| syntax_problem(file, &error))?;
    Ok(documents
        .into_iter()
        .map(|document| place_node(file, document))
        .filter(|node| node.value != Value::Null)
        .collect())
}

fn syntax_problem(file: &Arc<str>, error: &serde_saphyr::Error) -> Problem {
    let text = error.without_snippet().to_string();
    // The parser ends its messages with the place; ours stands in front.
    let message = text.lines().next().unwrap_or_default();
    let message = message.rfind(" at line ").map_or(message, |at| &message[..at]);
    let place = match error.location() {
        Some(location) => place(file, location),
        None => Place::of(Arc::clone(file)),
    };
    Problem::new(place, "", format!("not valid YAML: {message}"))
}

fn place(file: &Arc<str>, location: serde_saphyr::Location) -> Place {
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Place::in_file(file, number(location.line()), number(location.column()))
}

fn place_node(file: &Arc<str>, node: Spanned<RawNode>) -> Node {
    let value = match node.value {
        RawNode::Leaf(value) => value,
        RawNode::List(items) => {
            Value::List(items.into_iter().map(|item| place_node(file, item)).collect())
        }
        RawNode::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    key_place: place(file, key.referenced),
                    key: key.value,
                    value: place_node(file, value),
                })
                .collect(),
        ),
    };
    Node { place: place(file, node.referenced), value }
}

/// What the parser hands over, before the file's name is known to it.
enum RawNode {
    Leaf(Value),
    List(Vec<Spanned<RawNode>>),
    Map(Vec<(Spanned<String>, Spanned<RawNode>)>),
}

impl<'de> Deserialize<'de> for RawNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawNodeVisitor)
    }
}

struct RawNodeVisitor;

impl<'de> Visitor<'de> for RawNodeVisitor {
    type Value = RawNode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Value::Null))
    }
    fn visit_none<E>(self) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Value::Null))
    }
    fn visit_bool<E>(self, value: bool) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Value::Bool(value)))
    }
    fn visit_i64<E>(self, value: i64) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Value::Integer(value.into())))
    }
    fn visit_u64<E>(self, value: u64) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Value::Integer(value.into())))
    }
    fn visit_i128<E>(self, value: i128) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Value::Integer(value)))
    }
    fn visit_f64<E>(self, value: f64) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Value::Float(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Value::Text(value.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<RawNode, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(RawNode::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<RawNode, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(RawNode::Map(entries))
    }
}

impl Node {
    /// The entries, if this is a map.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a map with this key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The text of a field, if it is there and is text.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        match self.entry(key).map(|entry| &entry.value.value) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Sets a field, in place of one with the same key.
    pub fn set(&mut self, key: &str, value: Node) {
        if !matches!(self.value, Value::Map(_)) {
            self.value = Value::Map(Vec::new());
        }
        if let Value::Map(entries) = &mut self.value {
            match entries.iter_mut().find(|entry| entry.key == key) {
                Some(entry) => entry.value = value,
                None => entries.push(Entry {
                    key: key.to_owned(),
                    key_place: value.place.clone(),
                    value,
                }),
            }
        }
    }

    /// Takes a field out of a map.
    pub fn remove(&mut self, key: &str) {
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|entry| entry.key != key);
        }
    }

    /// Where the field of a path such as `spec.endpoints[0].url` stands, or the nearest of its
    /// parents that exists.
    pub fn place_of(&self, path: &str) -> &Place {
        let mut node = self;
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match (&node.value, step.strip_suffix(']')) {
                (Value::List(items), Some(index)) => {
                    index.parse::<usize>().ok().and_then(|index| items.get(index))
                }
                _ => node.entry(step).map(|entry| &entry.value),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        &node.place
    }

    /// As JSON; fields that are null are left out.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => (*value as f64).into(),
            },
            Value::Float(value) => (*value).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .filter(|entry| entry.value.value != Value::Null)
                .map(|entry| (entry.key.clone(), entry.value.to_json()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Node>, String> {
        parse_documents(&"a.yaml".into(), text).map_err(|problem| problem.to_string())
    }

    #[test]
    fn every_node_knows_its_place() {
        let documents =
            parse("a: 1\nb:\n  - x: yes\n  - 0755\n---\n# nothing\n---\nc: ~\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].place_of("b[0].x").to_string(), "a.yaml:3:8");
        assert_eq!(documents[0].place_of("b[1]").to_string(), "a.yaml:4:5");
        assert_eq!(documents[0].place_of("b[7].y").to_string(), "a.yaml:3:3");
        assert_eq!(documents[0].to_json().to_string(), r#"{"a":1,"b":[{"x":"yes"},"0755"]}"#);
        assert_eq!(documents[1].place.to_string(), "a.yaml:8:1");
        assert_eq!(documents[1].to_json().to_string(), "{}");
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_place() {
        for (text, start) in [
            ("a: [1", "a.yaml:1:4: not valid YAML: unclosed bracket"),
            ("a: *nobody", "a.yaml:1:4: not valid YAML: alias"),
            ("a: 1\n b: 2", "a.yaml:2:3: not valid YAML: mapping values"),
            ("a:\n\tb: 2", "a.yaml:2:"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(start), "{text:?}: {error}");
            assert!(!error.contains("at line") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn bombs_do_not_go_off() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = level - 1;
            let items = vec![format!("*a{before}"); 9].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"{a: ".repeat(1000)).is_err());
        assert!(parse(&"---\na\n".repeat(crate::MAX_DOCUMENTS + 2)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[ a-c:{}\\[\\]\"'&*!|>#\n\t0-9.~-]{0,80}|\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
