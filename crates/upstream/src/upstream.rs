//! One upstream as others hold it.

use crate::expiry::Expiry;
use crate::failure::Failure;
use crate::health::EndpointHealth;
use crate::manifests::{BlobHead, ManifestAnswer, ManifestHead};
use crate::probe::EndpointProbe;
use crate::settings::{Class, Error, Settings};
use crate::transfer::{Resume, Transfer};
use oci::{Descriptor, Digest, Name, Reference, Tag};
use std::sync::Arc;
use telemetry::UpstreamMetrics;

/// A remote registry: one or more endpoints that hold the same content. Clones share everything.
#[derive(Clone)]
pub struct Upstream(Arc<Shared>);

pub(crate) struct Shared {
    settings: Settings,
    metrics: Arc<UpstreamMetrics>,
}

impl Upstream {
    /// An upstream with these settings. Does no I/O.
    pub fn new(settings: Settings, metrics: Arc<UpstreamMetrics>) -> Result<Self, Error> {
        settings.check()?;
        Ok(Self(Arc::new(Shared { settings, metrics })))
    }

    /// The name of its document.
    pub fn name(&self) -> &str {
        &self.0.settings.name
    }

    /// What it was made from.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The prefix (`*` for the empty one) of the credential that covers `repository`, if one does.
    pub fn credential_scope(&self, _repository: &Name) -> Option<String> {
        None
    }

    /// A manifest, whole, its digest computed and checked.
    pub async fn manifest(
        &self,
        _repository: &Name,
        _reference: &Reference,
        _class: Class,
    ) -> Result<ManifestAnswer, Failure> {
        Err(Failure::indeterminate("not yet written"))
    }

    /// What the upstream says of a manifest, without fetching it.
    pub async fn head_manifest(
        &self,
        _repository: &Name,
        _reference: &Reference,
        _class: Class,
    ) -> Result<ManifestHead, Failure> {
        Err(Failure::indeterminate("not yet written"))
    }

    /// Whether the upstream has a blob.
    pub async fn head_blob(
        &self,
        _repository: &Name,
        _digest: &Digest,
        _class: Class,
    ) -> Result<BlobHead, Failure> {
        Err(Failure::indeterminate("not yet written"))
    }

    /// A blob from `from` on.
    pub async fn blob(
        &self,
        _repository: &Name,
        _digest: &Digest,
        _from: Resume,
        _class: Class,
    ) -> Result<Transfer, Failure> {
        Err(Failure::indeterminate("not yet written"))
    }

    /// All tags of a repository.
    pub async fn tags(&self, _repository: &Name, _class: Class) -> Result<Vec<Tag>, Failure> {
        Err(Failure::indeterminate("not yet written"))
    }

    /// What refers to `subject`.
    pub async fn referrers(
        &self,
        _repository: &Name,
        _subject: &Digest,
        _class: Class,
    ) -> Result<Vec<Descriptor>, Failure> {
        Err(Failure::indeterminate("not yet written"))
    }

    /// Looks at every endpoint, for `lockgate doctor`.
    pub async fn probe(&self) -> Vec<EndpointProbe> {
        Vec::new()
    }

    /// How each endpoint is doing.
    pub fn health(&self) -> Vec<EndpointHealth> {
        Vec::new()
    }

    /// What runs out, and when.
    pub fn expiries(&self) -> Vec<Expiry> {
        Vec::new()
    }
}
