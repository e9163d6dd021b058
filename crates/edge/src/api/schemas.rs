//! Schemas of the management API (JSON Schema 2020-12, as OpenAPI 3.1 has it). A test holds them
//! against what the pipeline's values look like in JSON.

mod governance;

use serde_json::{Map, Value, json};

/// All schemas, by name.
pub(super) fn schemas() -> Value {
    let mut all = Map::new();
    for (name, schema) in state()
        .into_iter()
        .chain(cache())
        .chain(jobs())
        .chain(collection())
        .chain(moving())
        .chain(requests())
        .chain(governance::schemas())
    {
        all.insert(name.to_owned(), schema);
    }
    Value::Object(all)
}

type Named = (&'static str, Value);

/// An object with these properties, all required, and no others.
fn object(properties: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = properties.iter().map(|(name, _)| *name).collect();
    partly(properties, &names)
}

/// An object with these properties, some of them required, and no others.
fn partly(properties: &[(&str, Value)], required: &[&str]) -> Value {
    let properties: Map<String, Value> =
        properties.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": false,
    })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn digest() -> Value {
    json!({ "type": "string", "pattern": "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$" })
}

fn named(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn list_of(schema: Value) -> Value {
    json!({ "type": "array", "items": schema })
}

/// The same, or `null`.
fn or_null(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn state() -> Vec<Named> {
    vec![
        (
            "Status",
            object(&[
                ("ready", flag()),
                ("warnings", list_of(text())),
                ("revision", named("RevisionStatus")),
                ("store", named("StoreStatus")),
                ("catalog", named("CatalogStatus")),
                ("upstreams", list_of(named("Upstream"))),
            ]),
        ),
        (
            "RevisionStatus",
            object(&[
                ("digest", digest()),
                ("source", text()),
                ("activated", time()),
                ("problem", or_null(text())),
            ]),
        ),
        (
            "Revision",
            object(&[
                ("digest", digest()),
                ("source", text()),
                ("documents", count()),
                ("firstActivated", time()),
                ("lastActivated", time()),
                ("active", flag()),
            ]),
        ),
        (
            "StoreStatus",
            object(&[
                ("blobs", count()),
                ("bytes", count()),
                ("maxBytes", or_null(count())),
                ("disk", or_null(named("Disk"))),
                ("full", flag()),
            ]),
        ),
        (
            "Disk",
            object(&[
                ("totalBytes", count()),
                ("freeBytes", count()),
                ("totalInodes", count()),
                ("freeInodes", count()),
            ]),
        ),
        (
            "CatalogStatus",
            object(&[
                ("writable", flag()),
                ("waitingBatches", count()),
                ("gaps", count()),
                ("problem", or_null(text())),
            ]),
        ),
        ("Upstream", object(&[("name", text()), ("endpoints", list_of(named("Endpoint")))])),
        (
            "Endpoint",
            object(&[
                ("url", text()),
                ("available", flag()),
                ("problem", or_null(text())),
                ("rateLimitRemaining", or_null(count())),
                ("rateLimit", or_null(count())),
                ("certificateNotAfter", or_null(time())),
                ("clock", or_null(time())),
            ]),
        ),
    ]
}

fn cache() -> Vec<Named> {
    vec![
        (
            "CacheEntry",
            object(&[
                ("name", text()),
                ("tags", list_of(text())),
                ("digest", digest()),
                ("kind", json!({ "enum": ["manifest", "blob"] })),
                ("sizeBytes", or_null(count())),
                ("present", flag()),
                ("lastUsed", or_null(time())),
                ("pinned", flag()),
                ("privateTo", or_null(text())),
            ]),
        ),
        (
            "CacheStats",
            object(&[
                ("blobs", count()),
                ("bytes", count()),
                ("parts", count()),
                ("partsBytes", count()),
                ("maxBytes", or_null(count())),
                ("disk", or_null(named("Disk"))),
                ("repositories", list_of(named("RepositoryUsage"))),
            ]),
        ),
        (
            "RepositoryUsage",
            object(&[
                ("repository", text()),
                ("blobs", count()),
                ("bytes", count()),
                ("shareBytes", or_null(count())),
                ("hostedBlobs", count()),
                ("hostedBytes", count()),
                ("quotaBytes", or_null(count())),
            ]),
        ),
        (
            "Purged",
            object(&[
                ("tags", count()),
                ("contents", count()),
                ("blobs", count()),
                ("bytes", count()),
                ("pinned", count()),
                ("inUse", count()),
                ("shared", count()),
                ("hosted", count()),
            ]),
        ),
        (
            "Pin",
            object(&[
                ("name", text()),
                ("reference", or_null(text())),
                ("since", or_null(time())),
                ("repository", or_null(text())),
            ]),
        ),
    ]
}

fn jobs() -> Vec<Named> {
    vec![
        (
            "Job",
            object(&[
                ("id", text()),
                ("kind", text()),
                ("state", named("JobState")),
                ("totalBytes", count()),
                ("doneBytes", count()),
                ("heldBytes", count()),
                ("items", list_of(named("JobItem"))),
                ("gc", or_null(named("GcReport"))),
                ("moved", or_null(named("MoveReport"))),
                ("created", time()),
                ("updated", time()),
            ]),
        ),
        (
            "JobItem",
            object(&[
                ("reference", text()),
                ("digest", or_null(digest())),
                ("state", named("JobState")),
                ("problem", or_null(text())),
            ]),
        ),
        ("JobState", json!({ "enum": ["Queued", "Running", "Done", "Failed", "Cancelled"] })),
    ]
}

fn collection() -> Vec<Named> {
    vec![
        (
            "GcReport",
            object(&[
                ("dryRun", flag()),
                ("namesTotal", count()),
                ("namesDone", count()),
                ("gone", named("GcCounts")),
                ("freedBytes", count()),
                ("kept", named("GcKept")),
                ("skippedNames", count()),
                ("names", list_of(named("GcName"))),
                ("lines", list_of(named("GcLine"))),
                ("cut", flag()),
                ("problems", list_of(text())),
            ]),
        ),
        ("GcCounts", object(&[("tags", count()), ("manifests", count()), ("blobs", count())])),
        (
            "GcKept",
            object(&[
                ("tags", count()),
                ("pinnedTags", count()),
                ("newestTags", count()),
                ("youngTags", count()),
                ("usedTags", count()),
                ("manifests", count()),
                ("untaggedManifests", count()),
                ("blobs", count()),
                ("unlistedBlobs", count()),
            ]),
        ),
        (
            "GcName",
            object(&[
                ("name", text()),
                ("gone", named("GcCounts")),
                ("goneBytes", count()),
                ("kept", named("GcKept")),
            ]),
        ),
        (
            "GcLine",
            object(&[
                ("name", text()),
                ("kind", json!({ "enum": ["tag", "manifest", "blob"] })),
                ("tag", or_null(text())),
                ("digest", digest()),
                ("sizeBytes", count()),
                ("why", text()),
            ]),
        ),
    ]
}

fn moving() -> Vec<Named> {
    let kinds = json!({ "enum": ["differs", "incomplete", "failed"] });
    vec![
        (
            "MoveReport",
            object(&[
                ("dryRun", flag()),
                ("namesTotal", count()),
                ("namesDone", count()),
                ("name", or_null(text())),
                ("same", count()),
                ("moved", count()),
                ("differs", count()),
                ("onlyHere", count()),
                ("incomplete", count()),
                ("failed", count()),
                ("lines", list_of(named("MoveLine"))),
                ("cut", flag()),
                ("notes", list_of(text())),
                ("documents", or_null(text())),
            ]),
        ),
        (
            "MoveLine",
            object(&[
                ("kind", kinds),
                ("name", text()),
                ("what", or_null(text())),
                ("here", or_null(digest())),
                ("there", or_null(digest())),
                ("why", or_null(text())),
            ]),
        ),
    ]
}

fn requests() -> Vec<Named> {
    let tag = object(&[("name", text()), ("tag", text())]);
    vec![
        (
            "PurgeRequest",
            json!({
                "description": "One of the three",
                "oneOf": [
                    object(&[("digest", digest())]),
                    object(&[("tag", tag)]),
                    object(&[("pattern", text())]),
                ],
            }),
        ),
        ("PinRequest", object(&[("reference", text())])),
        (
            "PrefetchRequest",
            partly(
                &[("references", list_of(text())), ("platforms", list_of(text()))],
                &["references"],
            ),
        ),
        (
            "GcRequest",
            partly(
                &[
                    ("repository", text()),
                    ("names", text()),
                    ("dryRun", flag()),
                    ("untaggedFor", text()),
                    ("blobsUnusedFor", text()),
                ],
                &[],
            ),
        ),
        ("BackupRequest", object(&[("to", text())])),
        (
            "AdoptRequest",
            partly(
                &[("names", text()), ("into", text()), ("offline", flag()), ("dryRun", flag())],
                &["names"],
            ),
        ),
        (
            "CopyRequest",
            partly(
                &[
                    ("from", text()),
                    ("names", list_of(text())),
                    ("to", text()),
                    ("update", flag()),
                    ("dryRun", flag()),
                    ("dockerConfig", text()),
                    ("username", text()),
                    ("passwordFile", text()),
                ],
                &["from", "names", "to"],
            ),
        ),
        (
            "StorePlace",
            object(&[("url", text()), ("isWritten", flag()), ("problem", or_null(text()))]),
        ),
        (
            "MigrateRequest",
            partly(
                &[
                    (
                        "to",
                        json!({
                            "description": "`configured` (what Plane.spec.store says), `dataDir`, or \
                                {\"place\": …} with what may stand in Plane.spec.store",
                            "oneOf": [
                                { "type": "string", "enum": ["configured", "dataDir"] },
                                {
                                    "type": "object",
                                    "properties": { "place": { "type": "object" } },
                                    "required": ["place"],
                                },
                            ],
                        }),
                    ),
                    ("removeSource", flag()),
                ],
                &["to"],
            ),
        ),
        (
            "VerifyRequest",
            json!({
                "description": "One of the three, or none: everything in the store",
                "oneOf": [
                    object(&[]),
                    object(&[("digest", digest())]),
                    object(&[("reference", text())]),
                    object(&[("repository", text())]),
                ],
            }),
        ),
        (
            "Problem",
            partly(
                &[
                    ("type", text()),
                    ("title", text()),
                    ("status", count()),
                    ("detail", text()),
                    ("requestId", text()),
                    ("decision", text()),
                ],
                &["type", "title", "status", "detail", "requestId"],
            ),
        ),
    ]
}

#[cfg(test)]
mod tests;
