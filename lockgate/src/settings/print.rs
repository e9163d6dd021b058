//! The settings in force, with where each value came from.

use resources::{Node, Value};
use serde_json::Value as Json;

/// Writes effective settings as YAML that can be read again; a comment behind each value says who
/// set it.
pub(crate) fn print(settings: &super::Settings, written: &Node) -> String {
    let json = serde_json::to_value(settings).expect("settings have text keys only");
    let mut lines = Vec::new();
    write_map(&json, Some(written), "", &mut lines);
    let width = lines.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0).min(60);
    let mut text = String::new();
    for (line, origin) in lines {
        match origin {
            Some(origin) => text.push_str(&format!("{line:width$}  # {origin}\n")),
            None => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

type Line = (String, Option<String>);

fn write_map(json: &Json, written: Option<&Node>, indent: &str, lines: &mut Vec<Line>) {
    for (key, value) in json.as_object().into_iter().flatten() {
        let written = written.and_then(|node| node.entry(key)).map(|entry| &entry.value);
        let head = format!("{indent}{key}:");
        match value {
            Json::Object(_) => {
                lines.push((head, None));
                write_map(value, written, &format!("{indent}  "), lines);
            }
            Json::Array(items) if items.iter().any(Json::is_object) => {
                lines.push((head, None));
                write_list(items, written, indent, lines);
            }
            _ => lines.push((format!("{head} {}", scalar(value)), Some(origin(written)))),
        }
    }
}

fn write_list(items: &[Json], written: Option<&Node>, indent: &str, lines: &mut Vec<Line>) {
    let nodes = match written.map(|node| &node.value) {
        Some(Value::List(nodes)) => nodes.as_slice(),
        _ => &[],
    };
    for (index, item) in items.iter().enumerate() {
        let first = lines.len();
        write_map(item, nodes.get(index), &format!("{indent}    "), lines);
        if let Some((line, _)) = lines.get_mut(first) {
            // The first field of an entry carries its dash.
            line.replace_range(indent.len()..indent.len() + 4, "  - ");
        }
    }
}

fn origin(written: Option<&Node>) -> String {
    match written {
        Some(node) if node.value != Value::Null => node.place.to_string(),
        _ => "default".to_owned(),
    }
}

fn scalar(value: &Json) -> String {
    match value {
        // JSON is YAML; only text that needs no quotes is written without.
        Json::String(text) => {
            let yaml = serde_saphyr::to_string(text).unwrap_or_default();
            let yaml = yaml.trim_end();
            if yaml.contains('\n') { value.to_string() } else { yaml.to_owned() }
        }
        other => other.to_string(),
    }
}
