//! Manifests, whole and checked, and what HEAD says of manifests and blobs.

use bytes::Bytes;
use oci::{Digest, MediaType};

/// A manifest of more bytes than this is refused; the distribution-spec asks registries for 4 MiB.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// A manifest whose digest was computed from its bytes and found right.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestAnswer {
    /// Exactly what the upstream sent.
    pub bytes: Bytes,
    /// What the upstream or, failing that, the manifest says it is.
    pub media_type: MediaType,
    /// What the bytes hash to.
    pub digest: Digest,
    /// Which endpoint gave it: `scheme://host[:port]`.
    pub endpoint: String,
}

/// What a HEAD says of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestHead {
    /// The digest the upstream claims, if it does.
    pub digest: Option<Digest>,
    /// Its media type, if told.
    pub media_type: Option<MediaType>,
    /// Its length, if told.
    pub size_bytes: Option<u64>,
}

/// What a HEAD says of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobHead {
    /// Its length, if told.
    pub size_bytes: Option<u64>,
}
