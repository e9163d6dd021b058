//! Who was identified, by which provider, and how old its keys are: a key that rotated must not be found
//! out from a failed rollout.

use super::{LabelledGauge, Metrics, labelled};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Credentials that were checked, and keys.
#[derive(Debug)]
pub(super) struct Identities {
    checked: Family<Vec<(String, String)>, Counter>,
    key_ages: LabelledGauge,
}

impl Identities {
    pub(super) fn register(r: &mut Registry) -> Self {
        let checked = Family::<Vec<(String, String)>, Counter>::default();
        r.register(
            "lockgate_identity_credentials_checked",
            "Credentials that were checked, by provider (empty: none took it) and result",
            checked.clone(),
        );
        let key_ages = labelled(
            r,
            "lockgate_identity_keys_age_seconds",
            "Since when the keys of a provider were not had anew; -1: never had",
        );
        Self { checked, key_ages }
    }
}

impl Metrics {
    /// A credential was checked. `result`: `accepted`, `refused` or `unavailable`.
    pub fn identified(&self, provider: &str, result: &str) {
        let labels = vec![
            ("provider".to_owned(), provider.to_owned()),
            ("result".to_owned(), result.to_owned()),
        ];
        self.identities.checked.get_or_create(&labels).inc();
    }

    /// Sets how old the keys of a provider are, in seconds; below zero: it has none yet.
    pub fn set_key_age(&self, provider: &str, seconds: f64) {
        let labels = vec![("provider".to_owned(), provider.to_owned())];
        self.identities.key_ages.get_or_create(&labels).set(seconds as i64);
    }
}
