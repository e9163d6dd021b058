//! One address of an upstream, and everything that is known of it alone.

use crate::budget::RateBudget;
use crate::challenge::Challenge;
use crate::health::{Health, OpenCircuits};
use crate::origin;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;
use url::Url;

/// One address of an upstream.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Its place in the order.
    pub(crate) index: usize,
    /// Its address; what stands in the path goes before `/v2/`.
    pub(crate) url: Url,
    /// `host[:port]`, for people.
    pub(crate) authority: String,
    pub(crate) health: Arc<Health>,
    pub(crate) budget: RateBudget,
    /// How it asked for credentials last: spares the request that would only be challenged again.
    challenge: Mutex<Option<Challenge>>,
    /// When it was last asked how to log in although it had not asked for a login. The lock is held
    /// while it is asked, so that nobody takes an answer for strangers as their own meanwhile.
    pub(crate) pinged: tokio::sync::Mutex<Option<Instant>>,
    upstream: String,
}

impl Endpoint {
    pub(crate) fn new(
        index: usize,
        url: &Url,
        upstream: &str,
        open_circuits: &Arc<OpenCircuits>,
    ) -> Arc<Self> {
        Arc::new(Self {
            index,
            url: url.clone(),
            authority: origin::authority(url),
            health: Health::new(origin::shown(url), open_circuits.clone()),
            budget: RateBudget::default(),
            challenge: Mutex::default(),
            pinged: Default::default(),
            upstream: upstream.to_owned(),
        })
    }

    /// `<address>/v2/<path>`. Names, tags and digests have no character that a URL would escape.
    pub(crate) fn at(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/v2/{path}"));
        url.set_query(query);
        url
    }

    /// The beginning of every sentence about it.
    pub(crate) fn label(&self) -> String {
        format!("upstream {}: {}", self.upstream, self.authority)
    }

    pub(crate) fn challenge(&self) -> Option<Challenge> {
        self.challenge.lock().clone()
    }

    pub(crate) fn remember(&self, challenge: &Challenge) {
        *self.challenge.lock() = Some(challenge.clone());
    }
}
