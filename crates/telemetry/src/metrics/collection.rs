//! What collection took away from hosted repositories, and how it stands.

use super::{Bytes, Metrics, counter};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What one run of collection took away, for [`Metrics::collected`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Collected {
    /// Tags, by retention or because what they speak of went.
    pub tags: u64,
    /// Manifests, each once for each name.
    pub manifests: u64,
    /// Blobs, each once for each name.
    pub blobs: u64,
    /// Bytes that no name holds any more.
    pub bytes: u64,
    /// Names left alone because they changed again and again meanwhile.
    pub skipped_names: u64,
    /// Names that could not be looked through.
    pub failed_names: u64,
}

#[derive(Debug)]
pub(super) struct Collection {
    tags: Counter,
    manifests: Counter,
    blobs: Counter,
    bytes: Counter,
    skipped_names: Counter,
    failed_names: Counter,
    last_round: Gauge,
    lost: Bytes,
}

impl Collection {
    pub(super) fn register(r: &mut Registry) -> Self {
        let (last_round, lost) = (Gauge::default(), Bytes::default());
        let help = "When collection last went through all hosted names, in Unix seconds";
        r.register("lockgate_collection_round_timestamp_seconds", help, last_round.clone());
        let help = "Hosted contents whose bytes are not in the store";
        r.register("lockgate_lost_contents", help, lost.clone());
        Self {
            tags: counter(r, "lockgate_collected_tags", "Tags removed by collection"),
            manifests: counter(r, "lockgate_collected_manifests", "Manifests taken from names"),
            blobs: counter(r, "lockgate_collected_blobs", "Blobs taken from names"),
            bytes: counter(r, "lockgate_collected_bytes", "Bytes that no name holds any more"),
            skipped_names: counter(
                r,
                "lockgate_collection_skipped_names",
                "Names left alone because they changed meanwhile",
            ),
            failed_names: counter(
                r,
                "lockgate_collection_failed_names",
                "Names that could not be looked through",
            ),
            last_round,
            lost,
        }
    }
}

impl Metrics {
    /// Counts what a run of collection took away.
    pub fn collected(&self, gone: Collected) {
        let collection = &self.collection;
        collection.tags.inc_by(gone.tags);
        collection.manifests.inc_by(gone.manifests);
        collection.blobs.inc_by(gone.blobs);
        collection.bytes.inc_by(gone.bytes);
        collection.skipped_names.inc_by(gone.skipped_names);
        collection.failed_names.inc_by(gone.failed_names);
    }

    /// A round of collection went through all hosted names.
    pub fn set_collection_round(&self, ended_unix_seconds: i64) {
        self.collection.last_round.set(ended_unix_seconds);
    }

    /// Sets how many hosted contents have no bytes in the store.
    pub fn set_lost(&self, contents: u64) {
        self.collection.lost.set(contents);
    }
}
