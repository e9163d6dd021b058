//! One upstream as others hold it: the settings, and the live state that belongs to them.

use crate::budget::RetryBudget;
use crate::client::Clients;
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::expiry::{self, Expiry};
use crate::failure::{Failure, Trouble};
use crate::health::{EndpointHealth, OpenCircuits};
use crate::limits::{Slot, Slots};
use crate::lists;
use crate::manifests::{self, BlobHead, ManifestAnswer, ManifestHead};
use crate::probe::{self, EndpointProbe};
use crate::resume::Target;
use crate::settings::{Class, Error, Profile, Settings};
use crate::token::Tokens;
use crate::transfer::{self, Resume, Transfer};
use oci::{Descriptor, Digest, Name, Reference, Tag};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use telemetry::UpstreamMetrics;

/// A remote registry: one or more endpoints that hold the same content. Clones share everything:
/// connections, tokens, limits, health.
#[derive(Clone)]
pub struct Upstream(Arc<Shared>);

/// A download waits this many times `firstByte` for others to end.
const TRANSFER_PATIENCE_FACTOR: u32 = 8;

/// The state behind all clones of an upstream.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) metrics: Arc<UpstreamMetrics>,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) credentials: Credentials,
    pub(crate) tokens: Tokens,
    pub(crate) slots: Slots,
    pub(crate) retries: RetryBudget,
    clients: Arc<Clients>,
    is_cut_off: AtomicBool,
}

/// The scope of what is fetched by showing a client certificate and nothing else.
const CERTIFICATE_SCOPE: &str = "client certificate";

impl Shared {
    /// The HTTP client, as the upstream's files say now.
    pub(crate) async fn client(&self, endpoint: &Endpoint) -> Result<reqwest::Client, Failure> {
        if self.is_cut_off.load(Ordering::Relaxed) {
            let text = format!("{}: nobody is asked here", endpoint.label());
            return Err(Failure::indeterminate(text).blameless());
        }
        let client = self.clients.get().await;
        client.map_err(|trouble| {
            let label = endpoint.label();
            let told = match &trouble {
                Trouble::Told(text) => text.as_str(),
                Trouble::Inner(_) => "a TLS file of it cannot be read; see the log of the plane",
            };
            Failure::indeterminate(format!("{label}: {told}"))
                .with_detail(format!("{label}: {}", trouble.detail()))
                .blameless()
        })
    }

    /// The right to have one download under way. Those take minutes, so there may be a wait.
    pub(crate) async fn transfer_slot(&self, class: Class) -> Result<Slot, Failure> {
        let patience = self.settings.timeouts.first_byte * TRANSFER_PATIENCE_FACTOR;
        self.slots.take_for_transfer(&self.settings.name, class, patience).await
    }

    /// The right to have one request under way.
    pub(crate) async fn slot(&self, class: Class) -> Result<Slot, Failure> {
        let patience = self.settings.timeouts.first_byte;
        self.slots.take(&self.settings.name, class, patience).await
    }

    /// A repository's name as this upstream knows it.
    fn remote_name(&self, repository: &Name) -> String {
        let name = repository.as_str();
        match self.settings.profile == Profile::DockerHub && !name.contains('/') {
            true => format!("library/{name}"),
            false => name.to_owned(),
        }
    }
}

impl Upstream {
    /// An upstream with these settings. Does no I/O: files that cannot be read are told when they
    /// are needed, and by [`expiries`](Self::expiries).
    ///
    /// # Errors
    /// Settings that make no sense whatever the world is like.
    pub fn new(settings: Settings, metrics: Arc<UpstreamMetrics>) -> Result<Self, Error> {
        settings.check()?;
        let open_circuits = Arc::new(OpenCircuits::new(metrics.clone()));
        let endpoints = settings.endpoints.iter().enumerate();
        let endpoint = |(index, url)| Endpoint::new(index, url, &settings.name, &open_circuits);
        Ok(Self(Arc::new(Shared {
            endpoints: endpoints.map(endpoint).collect(),
            credentials: Credentials::new(&settings.credentials),
            tokens: Tokens::default(),
            slots: Slots::new(&settings.limits),
            retries: RetryBudget::new(),
            clients: Arc::new(Clients::new(&settings)),
            metrics,
            settings,
            is_cut_off: AtomicBool::new(false),
        })))
    }

    /// From now on it asks nobody, and every answer that would need the registry is that nothing is
    /// known. For planes that tell what would be answered without a network.
    pub fn cut_off(&self) {
        self.0.is_cut_off.store(true, Ordering::Relaxed);
    }

    /// The name of its document.
    pub fn name(&self) -> &str {
        &self.0.settings.name
    }

    /// What it was made from.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The prefix (`*` for the empty one) of the credential that covers `repository`, if one does,
    /// or that there is a client certificate: what is fetched under that name is private to it.
    pub fn credential_scope(&self, repository: &Name) -> Option<String> {
        match self.0.credentials.covering(&self.0.remote_name(repository)) {
            Some(index) => Some(self.0.credentials.scope(index)),
            None => {
                let is_known_to_us = self.0.settings.client_cert.is_some();
                is_known_to_us.then(|| CERTIFICATE_SCOPE.to_owned())
            }
        }
    }

    /// A manifest, whole, its digest computed and checked.
    ///
    /// # Errors
    /// Absent, denied or indeterminate; bytes that are not those of their digest are indeterminate.
    pub async fn manifest(
        &self,
        repository: &Name,
        reference: &Reference,
        class: Class,
    ) -> Result<ManifestAnswer, Failure> {
        manifests::manifest(&self.0, &self.0.remote_name(repository), reference, class).await
    }

    /// What the upstream says of a manifest, without fetching it.
    ///
    /// # Errors
    /// Absent, denied or indeterminate.
    pub async fn head_manifest(
        &self,
        repository: &Name,
        reference: &Reference,
        class: Class,
    ) -> Result<ManifestHead, Failure> {
        manifests::head(&self.0, &self.0.remote_name(repository), reference, class).await
    }

    /// Whether the upstream has a blob. Storage that refuses HEAD after the registry redirected to it
    /// counts as found.
    ///
    /// # Errors
    /// Absent, denied or indeterminate.
    pub async fn head_blob(
        &self,
        repository: &Name,
        digest: &Digest,
        class: Class,
    ) -> Result<BlobHead, Failure> {
        manifests::head_blob(&self.0, &self.0.remote_name(repository), digest, class).await
    }

    /// A blob from `from` on.
    ///
    /// # Errors
    /// Absent, denied, indeterminate; changed, when `from` is not the beginning and the upstream has
    /// other bytes now.
    pub async fn blob(
        &self,
        repository: &Name,
        digest: &Digest,
        from: Resume,
        class: Class,
    ) -> Result<Transfer, Failure> {
        let repository = self.0.remote_name(repository);
        transfer::start(self.0.clone(), Target { repository, digest: *digest, class }, from).await
    }

    /// All tags of a repository, in the upstream's order; what is no valid tag is left out.
    ///
    /// # Errors
    /// Absent, denied or indeterminate; a list beyond the bounds is indeterminate, never cut short.
    pub async fn tags(&self, repository: &Name, class: Class) -> Result<Vec<Tag>, Failure> {
        lists::tags(&self.0, &self.0.remote_name(repository), class).await
    }

    /// The names of all repositories (`_catalog`), in the upstream's order; what is no valid name is
    /// left out. Many registries have no such list, or not for everybody.
    ///
    /// # Errors
    /// Absent, denied or indeterminate; a list beyond the bounds is indeterminate, never cut short.
    pub async fn names(&self, class: Class) -> Result<Vec<Name>, Failure> {
        lists::names(&self.0, class).await
    }

    /// What refers to `subject`, by the referrers API; a registry without it lists nothing. What stands
    /// under the fallback tag is asked for as any tag is, so that it is kept like one.
    ///
    /// # Errors
    /// Denied or indeterminate.
    pub async fn referrers(
        &self,
        repository: &Name,
        subject: &Digest,
        class: Class,
    ) -> Result<Vec<Descriptor>, Failure> {
        lists::referrers(&self.0, &self.0.remote_name(repository), subject, class).await
    }

    /// Makes the HTTP client ready, so that the first request need not wait until the system's
    /// authorities are read. Asks nobody.
    pub async fn prepare(&self) {
        for endpoint in &self.0.endpoints {
            // What is wrong is told to the first who asks.
            let _ = self.0.client(endpoint).await;
        }
    }

    /// Looks at every endpoint, for `lockgate doctor`.
    pub async fn probe(&self) -> Vec<EndpointProbe> {
        probe::all(&self.0).await
    }

    /// How each endpoint is doing.
    pub fn health(&self) -> Vec<EndpointHealth> {
        self.0.endpoints.iter().map(|endpoint| endpoint.health.snapshot()).collect()
    }

    /// What runs out, and when. Reads the files.
    pub fn expiries(&self) -> Vec<Expiry> {
        expiry::of(&self.0.settings)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}
