//! JSON Schemas of documents and settings, made from the types.

use crate::kind::{API_VERSION, Kind};
use crate::v1alpha1::{
    AccessPolicySpec, ArtifactPolicySpec, BlockSpec, EnvironmentSpec, IdentityProviderSpec,
    Metadata, PlaneSpec, RepositorySpec, SignerSpec, UpstreamSpec, WaiverSpec,
};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The schema of a type (JSON Schema 2020-12), for editors and for our own reader.
pub fn schema_of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema of a whole document of one kind.
pub fn json_schema(kind: Kind) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let metadata = generator.subschema_for::<Metadata>().to_value();
    let spec = spec_schema(kind, &mut generator);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.as_str(),
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": { "type": "string", "const": API_VERSION },
            "kind": { "type": "string", "const": kind.as_str() },
            "metadata": metadata,
            "spec": spec,
            "status": { "description": "Written by Lockgate only.", "type": "object" },
        },
        "$defs": generator.take_definitions(true),
    })
}

/// The schemas of all kinds, by name.
pub fn json_schemas() -> BTreeMap<&'static str, Value> {
    Kind::ALL.into_iter().map(|kind| (kind.as_str(), json_schema(kind))).collect()
}

fn spec_schema(kind: Kind, generator: &mut SchemaGenerator) -> Value {
    match kind {
        Kind::AccessPolicy => generator.subschema_for::<AccessPolicySpec>(),
        Kind::ArtifactPolicy => generator.subschema_for::<ArtifactPolicySpec>(),
        Kind::Block => generator.subschema_for::<BlockSpec>(),
        Kind::Environment => generator.subschema_for::<EnvironmentSpec>(),
        Kind::IdentityProvider => generator.subschema_for::<IdentityProviderSpec>(),
        Kind::Signer => generator.subschema_for::<SignerSpec>(),
        Kind::Plane => generator.subschema_for::<PlaneSpec>(),
        Kind::Repository => generator.subschema_for::<RepositorySpec>(),
        Kind::Upstream => generator.subschema_for::<UpstreamSpec>(),
        Kind::Waiver => generator.subschema_for::<WaiverSpec>(),
    }
    .to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words our reader checks, and those that only describe.
    const KNOWN: [&str; 22] = [
        "$schema",
        "$defs",
        "$ref",
        "title",
        "description",
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "oneOf",
        "anyOf",
        "format",
        "pattern",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
    ];

    fn walk(schema: &Value, kind: Kind) {
        let Some(map) = schema.as_object() else { return };
        for (word, value) in map {
            let known = KNOWN.contains(&word.as_str()) || word == "maxProperties";
            assert!(known, "{kind}: our reader does not check {word}");
            match word.as_str() {
                // The API server has its own schema of metadata.
                "properties" | "$defs" => value
                    .as_object()
                    .unwrap()
                    .iter()
                    .filter(|(name, _)| *name != "Metadata")
                    .for_each(|(_, inner)| walk(inner, kind)),
                "items" | "additionalProperties" => walk(value, kind),
                "oneOf" | "anyOf" => {
                    value.as_array().unwrap().iter().for_each(|inner| walk(inner, kind));
                }
                "format" => {
                    let format = value.as_str().unwrap();
                    let known = crate::formats::find(format).is_some() || format == "uint32";
                    assert!(known, "{kind}: format {format} has no check");
                }
                _ => {}
            }
        }
        let is = |wanted: &str| map.get("type").is_some_and(|t| t.to_string().contains(wanted));
        let has = |word: &str| map.contains_key(word);
        assert!(!is("array") || has("maxItems"), "{kind}: unbounded list {map:?}");
        let is_open = map.get("additionalProperties").is_some_and(Value::is_object);
        assert!(!is_open || has("maxProperties"), "{kind}: unbounded map {map:?}");
        let is_bounded = ["maxLength", "enum", "const"].into_iter().any(has);
        assert!(!is("string") || is_bounded, "{kind}: unbounded text {map:?}");
    }

    #[test]
    fn everything_in_a_schema_is_checked_by_the_reader_and_bounded() {
        for kind in Kind::ALL {
            walk(&json_schema(kind), kind);
        }
    }

    #[test]
    fn schemas_hold_no_defaults() {
        // A default would be stored by an API server and so change the revision.
        for (kind, schema) in json_schemas() {
            assert!(!schema.to_string().contains("\"default\":"), "{kind}");
        }
    }
}
