//! Who is told that what a provider goes by was read anew, or could not be.

use jiff::Timestamp;
use std::sync::Arc;
use telemetry::Metrics;

/// For one provider.
#[derive(Clone, Default)]
pub(crate) struct Report {
    provider: String,
    metrics: Option<Arc<Metrics>>,
}

impl Report {
    pub(crate) fn new(provider: &str, metrics: Option<Arc<Metrics>>) -> Self {
        Self { provider: provider.to_owned(), metrics }
    }

    /// Keys, authorities, users or secrets were read anew.
    pub(crate) fn read(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.identity_source_read(&self.provider, Timestamp::now());
        }
    }

    /// They could not be read. `kept`: what was read before is still used.
    pub(crate) fn failed(&self, problem: &str, kept: bool) {
        tracing::error!(provider = %self.provider, %problem, kept, "keys or users cannot be read");
        if let Some(metrics) = &self.metrics {
            metrics.identity_source_failed(&self.provider);
        }
    }
}
