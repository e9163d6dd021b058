//! What operators see and do: the values behind `/api/v1`, `/readyz` and the commands.
//!
//! All of them are plain data in lowerCamelCase JSON; `edge` adds nothing but the wire.

mod cache;
mod state;

pub(crate) use state::status;

use jiff::Timestamp;
use oci::{Digest, Name, Tag};
use serde::{Deserialize, Serialize};

/// The state of the process, for `/readyz` detail and `lockgate doctor`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Whether requests can be answered at all. False only while starting and stopping: nothing
    /// shared ever makes it false.
    pub ready: bool,
    /// What is wrong or about to be, one line each, worst first; empty when all is well.
    pub warnings: Vec<String>,
    /// The resources in force.
    pub revision: RevisionStatus,
    /// The blobs.
    pub store: StoreStatus,
    /// The metadata.
    pub catalog: CatalogStatus,
    /// Upstreams that were asked lately or are in trouble.
    pub upstreams: Vec<UpstreamView>,
}

/// The resources in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// Digest of their content.
    pub digest: Digest,
    /// Where they came from, in words.
    pub source: String,
    /// Since when.
    pub activated: Timestamp,
    /// Why what the files say now is not in force, if it is not.
    pub problem: Option<String>,
}

/// The blobs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreStatus {
    /// Blobs kept.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Most bytes kept before eviction begins, if limited by setting.
    pub max_bytes: Option<u64>,
    /// The disk below.
    pub disk: Option<DiskStatus>,
    /// Whether the last write failed for want of space.
    pub full: bool,
}

/// The disk below the store.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskStatus {
    /// Size in bytes.
    pub total_bytes: u64,
    /// Bytes free for us.
    pub free_bytes: u64,
    /// Inodes in all; zero where the file system does not count them.
    pub total_inodes: u64,
    /// Inodes free.
    pub free_inodes: u64,
}

/// The metadata.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogStatus {
    /// Whether it takes writes.
    pub writable: bool,
    /// Batches waiting.
    pub waiting_batches: u64,
    /// Batches lost.
    pub gaps: u64,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// One upstream.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamView {
    /// `metadata.name`.
    pub name: String,
    /// Each endpoint: its address, and why it is not asked, if it is not.
    pub endpoints: Vec<EndpointView>,
}

/// One endpoint of an upstream.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// Scheme and host.
    pub url: String,
    /// Whether it is asked.
    pub available: bool,
    /// The last problem.
    pub problem: Option<String>,
    /// From a probe: requests left of the rate limit, and the limit.
    pub rate_limit_remaining: Option<u64>,
    /// From a probe: the rate limit.
    pub rate_limit: Option<u64>,
    /// From a probe: when its certificate expires.
    pub certificate_not_after: Option<Timestamp>,
    /// From a probe: what its clock says, by which ours is judged.
    pub clock: Option<Timestamp>,
}

/// What the cache holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheStats {
    /// Blobs and manifests kept, each counted once.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Parts of downloads that wait to be resumed.
    pub parts: u64,
    /// Their bytes.
    pub parts_bytes: u64,
    /// Most bytes kept, if limited by setting.
    pub max_bytes: Option<u64>,
    /// The disk below.
    pub disk: Option<DiskStatus>,
    /// By repository, each blob counted in full wherever it is held.
    pub repositories: Vec<RepositoryUsage>,
}

/// What one repository holds of the cache.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryUsage {
    /// `metadata.name`.
    pub repository: String,
    /// Blobs and manifests.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Most bytes it may hold (`cacheShare`).
    pub share_bytes: Option<u64>,
    /// Of these, blobs and manifests that were pushed here.
    #[serde(default)]
    pub hosted_blobs: u64,
    /// Their bytes, which is what a quota bounds; with those whose bytes are lost.
    #[serde(default)]
    pub hosted_bytes: u64,
    /// Most bytes that may be pushed to it (`quota`).
    #[serde(default)]
    pub quota_bytes: Option<u64>,
}

/// One thing the cache holds under one name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheEntry {
    /// The canonical name.
    pub name: Name,
    /// Tags that name it.
    pub tags: Vec<String>,
    /// What it hashes to.
    pub digest: Digest,
    /// `manifest` or `blob`.
    pub kind: String,
    /// Its length.
    pub size_bytes: Option<u64>,
    /// Whether its bytes are in the store.
    pub present: bool,
    /// When it was last served, to the minute.
    pub last_used: Option<Timestamp>,
    /// Whether eviction leaves it alone.
    pub pinned: bool,
    /// The credential it was fetched with, as the prefix it stands for.
    pub private_to: Option<String>,
}

/// A page of the cache.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachePage {
    /// In order of name and digest.
    pub items: Vec<CacheEntry>,
    /// There is more: ask again with this as `continue`.
    #[serde(rename = "continue")]
    pub continue_after: Option<String>,
}

/// What is to be purged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PurgeTarget {
    /// A digest, under every name.
    Digest(Digest),
    /// One tag of a name: the next request asks the upstream again.
    Tag(Name, Tag),
    /// All names that match a pattern (`docker.io/library/**`).
    Pattern(String),
}

/// What was purged.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Purged {
    /// Tags forgotten.
    pub tags: u64,
    /// Content rows dropped: names that no longer hold a digest.
    pub contents: u64,
    /// Blobs removed from the store.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that stay in the store because a pin reaches them.
    pub pinned: u64,
    /// Blobs that stay because somebody reads them, or a download brings them just now.
    pub in_use: u64,
    /// Blobs that stay because other names hold them.
    pub shared: u64,
    /// Contents that stay because they are hosted: nobody could fetch them again.
    #[serde(default)]
    pub hosted: u64,
}

/// A pin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinView {
    /// The canonical name, or for a pin by resource the pattern.
    pub name: String,
    /// Tag or digest.
    pub reference: Option<String>,
    /// Since when; `None` for pins written in a `Repository`.
    pub since: Option<Timestamp>,
    /// The `Repository` it is written in.
    pub repository: Option<String>,
}

/// A set of resources that was in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    /// Digest of its content.
    pub digest: Digest,
    /// Where it came from.
    pub source: String,
    /// Documents in it.
    pub documents: u64,
    /// When it was first in force.
    pub first_activated: Timestamp,
    /// When it last came into force.
    pub last_activated: Timestamp,
    /// Whether it is in force now.
    pub active: bool,
}

/// Why an operator does not get what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Access says no.
    #[error("{0}")]
    Denied(Box<policy::Denial>),
    /// Nobody says who asks, or what they show is wrong.
    #[error("{0}")]
    Unauthorized(String),
    /// It makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
}

impl AdminError {
    /// What the pipeline said, in the words of the management API.
    pub(crate) fn from_refusal(refusal: crate::Refusal) -> Self {
        match refusal {
            crate::Refusal::Denied(denial) | crate::Refusal::LoginNeeded(denial) => {
                Self::Denied(denial)
            }
            crate::Refusal::Unauthorized { reason } => Self::Unauthorized(reason),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// What a read on the blocking pool gave; a catalog that does not answer is "not now".
pub(crate) fn read<T>(answer: Option<Result<T, catalog::Error>>) -> Result<T, AdminError> {
    match answer {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(AdminError::Unavailable(error.to_string())),
        None => Err(AdminError::Unavailable("a read of the catalog panicked; see the log".into())),
    }
}
