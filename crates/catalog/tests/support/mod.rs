//! What the tests of the catalog share.
#![allow(dead_code, reason = "each test program uses a part of it")]

use catalog::{Batch, Catalog, Content, Edge, ManifestRow, Role, WriteError};
use jiff::Timestamp;
use oci::{Digest, ManifestKind, MediaType, Name, Tag};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

/// The digest of a word.
pub(crate) fn digest(word: &str) -> Digest {
    Digest::sha256(word.as_bytes())
}

/// A moment, in seconds.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub(crate) fn blob(second: i64) -> Content {
    Content {
        is_manifest: false,
        size_bytes: Some(10),
        media_type: None,
        private_to: None,
        is_hosted: false,
        at: at(second),
    }
}

pub(crate) fn edge(word: &str, role: Role) -> Edge {
    Edge { digest: digest(word), size_bytes: 7, media_type: MediaType::OCTET_STREAM, role }
}

pub(crate) fn manifest(word: &str, edges: Vec<Edge>) -> ManifestRow {
    ManifestRow {
        digest: digest(word),
        media_type: MediaType::OCI_MANIFEST,
        size_bytes: 500,
        kind: ManifestKind::Image,
        subject: None,
        artifact_type: None,
        annotations: BTreeMap::new(),
        edges,
    }
}

/// Writes and waits.
pub(crate) fn write(catalog: &Catalog, fill: impl FnOnce(&mut Batch)) -> Result<(), WriteError> {
    let mut batch = Batch::new();
    fill(&mut batch);
    catalog.submit(batch).wait()
}

/// Waits until something holds; the test fails if it never does. The bound is only there so that a
/// broken program ends: nothing depends on how long it takes.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How long `close` may take where it is to succeed.
pub(crate) const CLOSE: Duration = Duration::from_secs(30);
