//! Schemas of the management API (JSON Schema 2020-12, as OpenAPI 3.1 has it). A test holds them
//! against what the pipeline's values look like in JSON.

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
            "Decision",
            object(&[
                ("id", text()),
                ("at", time()),
                ("principal", text()),
                ("request", text()),
                ("policy", text()),
                ("rule", text()),
                ("message", text()),
                ("revision", digest()),
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
mod tests {
    use super::*;
    use jiff::Timestamp;
    use oci::{Digest, Name};
    use plane::*;
    use serde::Serialize;

    /// The properties that a schema names are those that the value has.
    fn agrees(schema: &str, value: &impl Serialize) {
        let schemas = schemas();
        let value = serde_json::to_value(value).unwrap();
        let held: Vec<&String> = value.as_object().unwrap().keys().collect();
        let named = schemas[schema]["properties"].as_object().unwrap();
        assert_eq!(held, named.keys().collect::<Vec<_>>(), "{schema}");
    }

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn status() -> Status {
        let (problem, max_bytes, disk) = (None, None, None);
        let digest = Digest::sha256(b"");
        Status {
            ready: true,
            warnings: Vec::new(),
            revision: RevisionStatus { digest, source: String::new(), activated: AT, problem },
            store: StoreStatus { blobs: 0, bytes: 0, max_bytes, disk, full: false },
            catalog: CatalogStatus { writable: true, waiting_batches: 0, gaps: 0, problem: None },
            upstreams: Vec::new(),
        }
    }

    #[test]
    fn the_state_looks_as_described() {
        let status = status();
        agrees("Status", &status);
        agrees("RevisionStatus", &status.revision);
        agrees("StoreStatus", &status.store);
        agrees("CatalogStatus", &status.catalog);
        let disk = DiskStatus { total_bytes: 0, free_bytes: 0, total_inodes: 0, free_inodes: 0 };
        agrees("Disk", &disk);
        agrees("Upstream", &UpstreamView { name: String::new(), endpoints: Vec::new() });
        let endpoint = EndpointView {
            url: String::new(),
            available: true,
            problem: None,
            rate_limit_remaining: None,
            rate_limit: None,
            certificate_not_after: None,
            clock: None,
        };
        agrees("Endpoint", &endpoint);
        let revision = RevisionView {
            digest: Digest::sha256(b""),
            source: String::new(),
            documents: 0,
            first_activated: AT,
            last_activated: AT,
            active: false,
        };
        agrees("Revision", &revision);
        let decision = DecisionView {
            id: String::new(),
            at: AT,
            principal: String::new(),
            request: String::new(),
            policy: String::new(),
            rule: String::new(),
            message: String::new(),
            revision: Digest::sha256(b""),
        };
        agrees("Decision", &decision);
    }

    #[test]
    fn the_cache_looks_as_described() {
        let entry = CacheEntry {
            name: Name::parse("a/b").unwrap(),
            tags: Vec::new(),
            digest: Digest::sha256(b""),
            kind: "blob".to_owned(),
            size_bytes: None,
            present: true,
            last_used: None,
            pinned: false,
            private_to: None,
        };
        agrees("CacheEntry", &entry);
        let stats = CacheStats {
            blobs: 0,
            bytes: 0,
            parts: 0,
            parts_bytes: 0,
            max_bytes: None,
            disk: None,
            repositories: Vec::new(),
        };
        agrees("CacheStats", &stats);
        let usage = RepositoryUsage {
            repository: String::new(),
            blobs: 0,
            bytes: 0,
            share_bytes: None,
            hosted_blobs: 0,
            hosted_bytes: 0,
            quota_bytes: None,
        };
        agrees("RepositoryUsage", &usage);
        agrees("Purged", &Purged::default());
        let pin = PinView { name: String::new(), reference: None, since: None, repository: None };
        agrees("Pin", &pin);
    }

    #[test]
    fn jobs_look_as_described() {
        let item = Reported {
            reference: String::new(),
            digest: None,
            state: JobState::Queued,
            problem: None,
        };
        agrees("JobItem", &item);
        let job = JobView {
            id: String::new(),
            kind: String::new(),
            state: JobState::Queued,
            total_bytes: 0,
            done_bytes: 0,
            held_bytes: 0,
            items: Vec::new(),
            gc: None,
            moved: None,
            created: AT,
            updated: AT,
        };
        agrees("Job", &job);
        agrees("GcReport", &GcReport::default());
        agrees("MoveReport", &MoveReport::default());
        let line = MoveLine {
            kind: MoveKind::Differs,
            name: String::new(),
            what: None,
            here: None,
            there: None,
            why: None,
        };
        agrees("MoveLine", &line);
        agrees("GcCounts", &GcCounts::default());
        agrees("GcKept", &GcKept::default());
        let place = PlaceView { url: String::new(), is_written: true, problem: None };
        agrees("StorePlace", &place);
        let to = MigrateTo::Configured;
        agrees("MigrateRequest", &MigrateRequest { to, remove_source: false });
        agrees("BackupRequest", &BackupRequest { to: "/b".into() });
        agrees("GcRequest", &GcRequest::default());
        let (gone, kept) = (GcCounts::default(), GcKept::default());
        let name = Name::parse("a/b").unwrap();
        agrees("GcName", &GcName { name: name.clone(), gone, gone_bytes: 0, kept });
        let line = GcLine {
            name,
            kind: "tag".to_owned(),
            tag: None,
            digest: Digest::sha256(b""),
            size_bytes: 0,
            why: String::new(),
        };
        agrees("GcLine", &line);
        let states: Vec<Value> = [
            JobState::Queued,
            JobState::Running,
            JobState::Done,
            JobState::Failed,
            JobState::Cancelled,
        ]
        .iter()
        .map(|state| serde_json::to_value(state).unwrap())
        .collect();
        assert_eq!(schemas()["JobState"]["enum"], Value::Array(states));
    }
}
