//! The schemas name what the values have.

use super::*;
use jiff::Timestamp;
use oci::{Digest, Name};
use plane::*;
use serde::Serialize;
use serde_json::Value;

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
        principal_key: String::new(),
        environment: String::new(),
        purpose: String::new(),
        request: String::new(),
        verdict: "Deny".to_owned(),
        policy: String::new(),
        rule: String::new(),
        message: String::new(),
        revision: Digest::sha256(b""),
        outcomes: Vec::new(),
        facts: Value::Null,
        waivers: Vec::new(),
    };
    agrees("Decision", &decision);
    let waiver = WaiverView {
        name: String::new(),
        rules: Vec::new(),
        vulnerabilities: Vec::new(),
        digests: Vec::new(),
        repositories: Vec::new(),
        environments: Vec::new(),
        reason: String::new(),
        requested_by: String::new(),
        approved_by: String::new(),
        expires: AT,
        has_expired: false,
        uses: 0,
        last_used: None,
    };
    agrees("Waiver", &waiver);
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
    let item =
        Reported { reference: String::new(), digest: None, state: JobState::Queued, problem: None };
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
