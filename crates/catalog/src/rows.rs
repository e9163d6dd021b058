//! What is kept, as values: one type for each thing the catalog knows.
//!
//! Plain data, so the fields are open; whatever could be wrong is a type of `oci` that cannot be.
//! Times are kept to the microsecond; finer parts are cut off.

use bytes::Bytes;
use jiff::Timestamp;
use oci::{Descriptor, Digest, Manifest, ManifestKind, MediaType, Name, Reference, Tag};
use std::collections::{BTreeMap, HashSet};

/// What a tag named when it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRow {
    /// The manifest.
    pub digest: Digest,
    /// When the upstream last confirmed it.
    pub checked_at: Timestamp,
    /// Since when the upstream says, with authority, that there is no such tag.
    pub gone_since: Option<Timestamp>,
    /// When it came to name this digest.
    pub moved_at: Timestamp,
}

/// What is said when bytes come through a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// A manifest, or a blob.
    pub is_manifest: bool,
    /// Length, if known. What was known before stays known.
    pub size_bytes: Option<u64>,
    /// Media type, if known. What was known before stays known.
    pub media_type: Option<MediaType>,
    /// The scope of the credential it was fetched with; `None`: none was needed.
    pub private_to: Option<String>,
    /// Pushed here or adopted: it must not be lost. A row that is hosted stays so.
    pub is_hosted: bool,
    /// When.
    pub at: Timestamp,
}

/// A digest under a name: the permission to speak of it there (contracts §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRow {
    /// A manifest, or a blob.
    pub is_manifest: bool,
    /// Length in bytes, if known.
    pub size_bytes: Option<u64>,
    /// Media type, if known.
    pub media_type: Option<MediaType>,
    /// The scope of the credential it was fetched with; `None`: public.
    pub private_to: Option<String>,
    /// Pushed here or adopted: it must not be lost.
    pub is_hosted: bool,
    /// When it was first seen under this name.
    pub since: Timestamp,
    /// Last use under this name, coarse.
    pub last_used: Timestamp,
    /// Whether its bytes are in the store and not being removed.
    pub present: bool,
    /// Since when it is on its way out.
    pub condemned_at: Option<Timestamp>,
}

/// What a manifest lists a digest as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The config of an image.
    Config,
    /// A layer.
    Layer,
    /// A manifest of an index.
    Child,
}

/// One entry of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// What is listed.
    pub digest: Digest,
    /// Its length in bytes, as listed.
    pub size_bytes: u64,
    /// Its media type, as listed.
    pub media_type: MediaType,
    /// What it is listed as.
    pub role: Role,
}

/// What is known of a manifest from its bytes alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRow {
    /// What its bytes hash to.
    pub digest: Digest,
    /// Its media type.
    pub media_type: MediaType,
    /// Length in bytes.
    pub size_bytes: u64,
    /// What it is.
    pub kind: ManifestKind,
    /// What it refers to.
    pub subject: Option<Digest>,
    /// Its artifact type, as a list of referrers shows it.
    pub artifact_type: Option<String>,
    /// Its annotations, as a list of referrers shows them.
    pub annotations: BTreeMap<String, String>,
    /// What it lists, in its order; a digest listed twice in one role counts once.
    pub edges: Vec<Edge>,
}

impl ManifestRow {
    /// The row of a manifest that was read. `media_type` is what it is served as. The artifact type
    /// falls back to the config's media type (distribution-spec, "Listing Referrers").
    pub fn of(digest: Digest, size_bytes: u64, media_type: MediaType, manifest: &Manifest) -> Self {
        let edge = |role: Role| {
            move |listed: &Descriptor| Edge {
                digest: listed.digest,
                size_bytes: listed.size_bytes,
                media_type: listed.media_type.clone(),
                role,
            }
        };
        let edges = (manifest.config.iter().map(edge(Role::Config)))
            .chain(manifest.layers.iter().map(edge(Role::Layer)))
            .chain(manifest.manifests.iter().map(edge(Role::Child)))
            .collect();
        let config_type = manifest.config.as_ref().map(|config| config.media_type.to_string());
        Self {
            digest,
            media_type,
            size_bytes,
            kind: manifest.kind,
            subject: manifest.subject.as_ref().map(|subject| subject.digest),
            artifact_type: manifest.artifact_type.clone().or(config_type),
            annotations: manifest.annotations.clone(),
            edges,
        }
    }
}

/// A manifest of a name that lists a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The manifest.
    pub manifest: Digest,
    /// Length of the listed digest in bytes, as listed.
    pub size_bytes: u64,
    /// Media type of the listed digest, as listed.
    pub media_type: MediaType,
    /// What it is listed as.
    pub role: Role,
    /// Whether the manifest came through this name without a credential.
    pub is_public: bool,
}

/// Which answer of an upstream is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListingKey {
    /// The list of tags.
    Tags,
    /// The referrers of a subject.
    Referrers(Digest),
}

/// A kept answer of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// As the one who kept it wrote it.
    pub body: Bytes,
    /// When it was asked.
    pub at: Timestamp,
}

/// A manifest that refers to a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferrerRow {
    /// The manifest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: MediaType,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Its artifact type.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Which part of the cache is looked at. The default is all of it.
#[derive(Clone, Debug, Default)]
pub struct CacheFilter {
    /// Only names whose first segment is this.
    pub repository: Option<String>,
    /// Only names that match.
    pub names: Option<policy::NamePattern>,
    /// Only this digest.
    pub digest: Option<Digest>,
}

/// Where a page of the cache ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheCursor {
    /// The last name of the page.
    pub name: Name,
    /// The last digest of the page.
    pub digest: Digest,
}

/// One digest under one name, as `cache ls` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedRow {
    /// The canonical name.
    pub name: Name,
    /// What it hashes to.
    pub digest: Digest,
    /// Tags of the name that name it, at most 64.
    pub tags: Vec<Tag>,
    /// A manifest, or a blob.
    pub is_manifest: bool,
    /// Length in bytes, if known.
    pub size_bytes: Option<u64>,
    /// Whether its bytes are in the store and not being removed.
    pub present: bool,
    /// Last use under this name, coarse.
    pub last_used: Timestamp,
    /// Whether a pin in the catalog reaches it.
    pub pinned: bool,
    /// The scope of the credential it was fetched with; `None`: public.
    pub private_to: Option<String>,
}

impl CachedRow {
    /// The cursor for the page after this row.
    pub fn cursor(&self) -> CacheCursor {
        CacheCursor { name: self.name.clone(), digest: self.digest }
    }
}

/// How much is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blobs and manifests in the store, each counted once.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of those that are condemned: still there, on their way out.
    pub condemned_bytes: u64,
    /// Bytes of those that hosted content needs: never evicted.
    pub held_bytes: u64,
    /// By repository, in order of name.
    pub repositories: Vec<RepositoryUse>,
}

/// What one repository keeps, each content row counted in full (contracts §9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryUse {
    /// The first segment of the canonical names.
    pub repository: String,
    /// Blobs and manifests whose bytes are in the store and not condemned.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Where a page of victims ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VictimCursor {
    pub(crate) last_used: Timestamp,
    pub(crate) is_manifest: bool,
    /// Empty for victims of the whole store.
    pub(crate) name: String,
    pub(crate) digest: Digest,
}

/// A blob that could go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// The blob or manifest.
    pub digest: Digest,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Last use under any name, coarse.
    pub last_used: Timestamp,
    /// A manifest, or a blob.
    pub is_manifest: bool,
}

impl Victim {
    /// The cursor for the page after this victim.
    pub fn cursor(&self) -> VictimCursor {
        VictimCursor {
            last_used: self.last_used,
            is_manifest: self.is_manifest,
            name: String::new(),
            digest: self.digest,
        }
    }
}

/// Content of one repository that could go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VictimContent {
    /// The canonical name.
    pub name: Name,
    /// The blob or manifest.
    pub digest: Digest,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Last use under this name, coarse.
    pub last_used: Timestamp,
    /// A manifest, or a blob.
    pub is_manifest: bool,
    /// How many other names hold it.
    pub others: u64,
}

impl VictimContent {
    /// The cursor for the page after this victim.
    pub fn cursor(&self) -> VictimCursor {
        VictimCursor {
            last_used: self.last_used,
            is_manifest: self.is_manifest,
            name: self.name.to_string(),
            digest: self.digest,
        }
    }
}

/// A wish of an operator that something be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRow {
    /// The canonical name.
    pub name: Name,
    /// A tag, wherever it moves, or a digest.
    pub reference: Reference,
    /// Since when.
    pub at: Timestamp,
}

/// What pins reach.
#[derive(Clone, Debug, Default)]
pub struct Pinned {
    /// Every digest reached: manifests, children, configs, layers.
    pub digests: HashSet<Digest>,
    /// There was more than the limit: what is missing here may be pinned too.
    pub cut: bool,
}

/// A set of resources that was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionRow {
    /// Digest of its content.
    pub digest: Digest,
    /// When it was first in force.
    pub first_activated: Timestamp,
    /// When it last came into force.
    pub last_activated: Timestamp,
    /// Where it last came from, in words.
    pub source: String,
    /// Documents in it.
    pub documents: u64,
    /// Length of its text in bytes.
    pub size_bytes: u64,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Not begun.
    Queued,
    /// At work.
    Running,
    /// All of it is done.
    Done,
    /// Some of it failed.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// Work longer than a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// Its id.
    pub id: String,
    /// What kind, such as `prefetch`.
    pub kind: String,
    /// What was asked for, as JSON.
    pub spec_json: String,
    /// How it stands.
    pub state: JobState,
    /// How far it is, as JSON.
    pub progress_json: String,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

/// How the catalog stands, from memory: asks the database nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether the last attempt to write succeeded.
    pub writable: bool,
    /// Batches that wait to be written.
    pub waiting_batches: u64,
    /// Batches that were dropped since the start.
    pub gaps: u64,
    /// What is wrong, if something is.
    pub problem: Option<String>,
}
