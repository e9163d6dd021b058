//! What the pipeline gives back: the thing asked for, and what the cache had to do with it.

use crate::stream::ByteStream;
use blobs::UploadId;
use bytes::Bytes;
use http::HeaderValue;
use oci::range::ByteRange;
use oci::{Descriptor, Digest, MediaType, Name, Reference, Tag};
use policy::DecisionId;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use telemetry::CacheStatus;

/// A positive answer.
#[derive(Debug)]
pub struct Served {
    /// The thing.
    pub what: What,
    /// How the cache came by it.
    pub cache: CacheState,
    /// The registry the name was scoped by, when the client sent `?ns=`: goes back as
    /// `OCI-Namespace` (distribution-spec, "Registry Proxying").
    pub namespace: Option<String>,
    /// The decision that permitted it.
    pub decision: Option<DecisionId>,
    /// What the client is to be warned of, one line each.
    pub warnings: Vec<String>,
}

/// The thing asked for.
#[derive(Debug)]
pub enum What {
    /// `/v2/`: yes, a registry.
    Base,
    /// A manifest.
    Manifest(Arc<ManifestContent>),
    /// A blob.
    Blob(BlobAnswer),
    /// Tags, in lexical order.
    Tags {
        /// The name as the client wrote it.
        name: String,
        /// This page.
        tags: Vec<Tag>,
        /// There is more: ask again with this as `last`.
        more_after: Option<Tag>,
    },
    /// What refers to a digest.
    Referrers {
        /// Entries of the index.
        descriptors: Vec<Descriptor>,
        /// The artifact type they were filtered by (`OCI-Filters-Applied: artifactType`).
        filter: Option<String>,
        /// There is more: ask again with this as `last`.
        more_after: Option<Digest>,
    },
    /// An upload session, as it stands.
    Upload(UploadState),
    /// A blob is here now: it was pushed, or mounted.
    BlobCreated {
        /// The name as the client wrote it.
        name: String,
        /// What it hashes to.
        digest: Digest,
    },
    /// A manifest is here now.
    ManifestCreated {
        /// The name as the client wrote it.
        name: String,
        /// What it was pushed as, for `Location`.
        reference: Reference,
        /// What it hashes to.
        digest: Digest,
        /// What it refers to: goes back as `OCI-Subject`.
        subject: Option<Digest>,
        /// Tags of `?tag=` that name it now: go back as `OCI-Tag`.
        tags: Vec<Tag>,
        /// What the client is to be warned of.
        warnings: Vec<String>,
    },
    /// It is gone.
    Deleted,
    /// The upload session is gone.
    Cancelled,
    /// Its bytes are to be had elsewhere, by a URL that is good for a while only.
    Redirect {
        /// What they hash to.
        digest: Digest,
        /// Whoever has it may read the blob: it is never logged.
        url: SecretString,
    },
    /// The names this plane knows.
    Catalog {
        /// This page.
        names: Vec<Name>,
        /// There is more: ask again with this as `last`.
        more_after: Option<Name>,
    },
}

/// An upload session, as it stands.
#[derive(Clone, Debug)]
pub struct UploadState {
    /// The name as the client wrote it.
    pub name: String,
    /// The session.
    pub id: UploadId,
    /// Bytes that are here.
    pub received_bytes: u64,
    /// It was only asked for: nothing was begun or extended.
    pub is_status: bool,
}

/// Where the answer came from (RFC 9211), for `Cache-Status`, logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheState {
    /// Hit, miss, stale, ….
    pub status: CacheStatus,
    /// How long ago the upstream last confirmed it; `None` for what cannot change.
    pub age: Option<Duration>,
}

impl CacheState {
    /// An answer in which no cache had a part.
    pub const NONE: Self = Self { status: CacheStatus::None, age: None };
    /// From the store, and it cannot change.
    pub const HIT: Self = Self { status: CacheStatus::Hit, age: None };
    /// Fetched for this request.
    pub const MISS: Self = Self { status: CacheStatus::Miss, age: None };
}

/// The bytes of a manifest with the headers that go with them, made once.
#[derive(Debug)]
pub struct ManifestContent {
    /// What they hash to.
    pub digest: Digest,
    /// As stored; what `Content-Type` says.
    pub media_type: MediaType,
    /// The exact bytes of the upstream.
    pub bytes: Bytes,
    /// `Docker-Content-Digest`.
    pub digest_header: HeaderValue,
    /// `ETag`: the digest in quotes.
    pub etag_header: HeaderValue,
    /// `Content-Type`.
    pub media_type_header: HeaderValue,
}

impl ManifestContent {
    /// Puts bytes, whose digest the caller has checked, and their headers together.
    pub(crate) fn new(digest: Digest, media_type: MediaType, bytes: Bytes) -> Self {
        let header = |text: String| {
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
        };
        Self {
            digest_header: header(digest.to_string()),
            etag_header: header(format!("\"{digest}\"")),
            media_type_header: header(media_type.to_string()),
            digest,
            media_type,
            bytes,
        }
    }
}

/// A blob that may be served.
pub struct BlobAnswer {
    pub(crate) digest: Digest,
    pub(crate) media_type: MediaType,
    pub(crate) source: crate::pipeline::BlobSource,
}

impl BlobAnswer {
    /// What it hashes to.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What some manifest calls it, else octet-stream.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Its length. `None` only while it is filled from an upstream that does not say.
    pub fn size_bytes(&self) -> Option<u64> {
        self.source.size_bytes()
    }

    /// The bytes of a range, or all of them. Of a blob whose length is not known yet there is only
    /// all of it. For HEAD there is nothing to read: do not call this.
    pub fn stream(&self, range: Option<ByteRange>) -> ByteStream {
        self.source.stream(range)
    }
}

impl std::fmt::Debug for BlobAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobAnswer").field("digest", &self.digest).finish_non_exhaustive()
    }
}
