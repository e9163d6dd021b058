//! The description of the management API (OpenAPI 3.1), made from the table of endpoints.
//!
//! Checked in as `docs/reference/openapi.json`; a test holds the two together.

use super::endpoints::{Content, ENDPOINTS, Endpoint, Kind, LIMIT_DEFAULT, LIMIT_MAX};
use super::schemas::schemas;
use serde_json::{Map, Value, json};

/// The description, as it is served at `/api/v1/openapi.json`.
pub fn document() -> Value {
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.to_ascii_lowercase()] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lockgate management API",
            "version": "v1",
            "description": "Over the Unix socket of the data directory, whoever may open it may \
                use all of this. Over TCP, an AccessPolicy must allow Administer. Requests that \
                change something are refused when a browser sends them for the page of another \
                site.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": {
                "Problem": {
                    "description": "What went wrong (RFC 9457)",
                    "content": {
                        "application/problem+json": { "schema": reference("Problem") }
                    },
                }
            },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut operation = json!({
        "operationId": endpoint.id,
        "summary": endpoint.summary,
        "responses": {
            endpoint.answer.status.to_string(): answer(endpoint),
            "default": { "$ref": "#/components/responses/Problem" },
        },
    });
    let parameters = parameters(endpoint);
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if let Some(schema) = endpoint.body {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": reference(schema) } },
        });
    }
    operation
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let segments = endpoint.path.split('/');
    let names = segments.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = names.map(|name| {
        let schema = json!({ "type": "string" });
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    });
    let in_query = endpoint.query.iter().map(|parameter| {
        let schema = match parameter.kind {
            Kind::Text => json!({ "type": "string" }),
            Kind::Limit => json!({
                "type": "integer",
                "minimum": 1,
                "maximum": LIMIT_MAX,
                "default": LIMIT_DEFAULT,
            }),
        };
        json!({
            "name": parameter.name,
            "in": "query",
            "required": parameter.required,
            "description": parameter.summary,
            "schema": schema,
        })
    });
    in_path.chain(in_query).collect()
}

fn answer(endpoint: &Endpoint) -> Value {
    let description = endpoint.answer.summary;
    let content = match endpoint.answer.content {
        Content::Nothing => return json!({ "description": description }),
        Content::Json(schema) => json!({ "application/json": { "schema": reference(schema) } }),
        Content::List(schema) => json!({ "application/json": { "schema": list(schema) } }),
        Content::Yaml => json!({ "application/yaml": { "schema": { "type": "string" } } }),
        Content::Events(schema) => json!({
            "text/event-stream": {
                "schema": {
                    "type": "string",
                    "description": format!("Events whose data is JSON of {schema}"),
                }
            }
        }),
        Content::OpenApi => json!({ "application/json": { "schema": { "type": "object" } } }),
    };
    json!({ "description": description, "content": content })
}

fn list(schema: &str) -> Value {
    json!({
        "type": "object",
        "required": ["items", "continue"],
        "properties": {
            "items": { "type": "array", "items": reference(schema) },
            "continue": { "type": ["string", "null"] },
        },
    })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref") {
                    found.push(target.clone());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_schema_that_is_named_exists_and_is_used() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        for target in &found {
            assert!(document.pointer(&target[1..]).is_some(), "{target}");
        }
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            // Events are text to OpenAPI, and name their schema in words.
            let target = format!("#/components/schemas/{name}");
            assert!(found.contains(&target), "{name} is not used");
        }
    }

    /// To write it anew: `LOCKGATE_WRITE_DOCS=1 cargo test -p lockgate-edge openapi`.
    #[test]
    fn the_checked_in_description_is_this_one() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let path = root.join("docs/reference/openapi.json");
        let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        if std::env::var_os("LOCKGATE_WRITE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "see this test's comment");
    }
}
