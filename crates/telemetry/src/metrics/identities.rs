//! Who was identified, by which provider, and how old its keys are: a key that rotated must not be found
//! out from a failed rollout.

use super::{LabelledGauge, Metrics, labelled};
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Credentials that were checked, and keys.
#[derive(Debug)]
pub(super) struct Identities {
    checked: Family<Vec<(String, String)>, Counter>,
    reads: Family<Vec<(String, String)>, Counter>,
    read_at: LabelledGauge,
}

impl Identities {
    pub(super) fn register(r: &mut Registry) -> Self {
        let checked = Family::<Vec<(String, String)>, Counter>::default();
        r.register(
            "lockgate_identity_credentials_checked",
            "Credentials that were checked, by provider (empty: none took it) and result",
            checked.clone(),
        );
        let reads = Family::<Vec<(String, String)>, Counter>::default();
        r.register(
            "lockgate_identity_source_reads",
            "Keys, authorities, users and secrets that were read anew, by provider and result",
            reads.clone(),
        );
        let read_at = labelled(
            r,
            "lockgate_identity_source_read_timestamp_seconds",
            "When the keys, authorities, users or secrets of a provider were last read anew",
        );
        Self { checked, reads, read_at }
    }
}

impl Metrics {
    /// A credential was checked. `result`: `accepted`, `refused` or `unavailable`.
    pub fn identified(&self, provider: &str, result: &str) {
        self.identities.checked.get_or_create(&labels(provider, result)).inc();
    }

    /// The keys, authorities, users or secrets of a provider were read anew.
    pub fn identity_source_read(&self, provider: &str, now: Timestamp) {
        self.identities.reads.get_or_create(&labels(provider, "ok")).inc();
        let gauge_labels = vec![("provider".to_owned(), provider.to_owned())];
        self.identities.read_at.get_or_create(&gauge_labels).set(now.as_second());
    }

    /// They could not be read.
    pub fn identity_source_failed(&self, provider: &str) {
        self.identities.reads.get_or_create(&labels(provider, "failed")).inc();
    }
}

fn labels(provider: &str, result: &str) -> Vec<(String, String)> {
    vec![("provider".to_owned(), provider.to_owned()), ("result".to_owned(), result.to_owned())]
}
