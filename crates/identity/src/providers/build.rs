//! Providers from their settings. What lives (keys that were had, passwords that were right) is carried
//! over where the settings did not change.

use super::Providers;
use super::provider::Provider;
use crate::settings::ProviderSettings;
use std::sync::Arc;
use telemetry::Metrics;

impl Providers {
    /// The providers of a view. Asks nobody. `before`: those of the view before.
    pub fn build(
        settings: Vec<ProviderSettings>,
        before: Option<&Providers>,
        metrics: Option<Arc<Metrics>>,
    ) -> Self {
        let known = |settings: &ProviderSettings| {
            let list = before.into_iter().flat_map(|before| &before.list);
            list.into_iter().find(|it| it.settings == *settings).cloned()
        };
        let list = settings
            .into_iter()
            .map(|settings| {
                known(&settings).unwrap_or_else(|| Arc::new(Provider::new(settings, &metrics)))
            })
            .collect();
        Self { list, metrics }
    }
}
