//! A lenient view over the exact bytes of a manifest: what it is and what it names.
//!
//! The bytes are never rewritten (design, invariant 5); this only reads them. Unknown fields are
//! ignored, unknown media types are kept; what we need must be well formed.

use crate::{Digest, MediaType, Platform};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A pointer to content: media type, digest, size (image-spec `descriptor.md`).
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    /// Media type of the content; octet-stream if none was given.
    pub media_type: MediaType,
    /// What the content hashes to.
    pub digest: Digest,
    /// Length of the content in bytes.
    pub size_bytes: u64,
    /// What the content runs on, for children of an index.
    pub platform: Option<Platform>,
    /// Artifact type, for entries of a referrers list.
    pub artifact_type: Option<String>,
    /// Annotations, as they stand.
    pub annotations: BTreeMap<String, String>,
    /// Layers that clients fetch from elsewhere (non-distributable); upstreams need not have them.
    pub is_foreign: bool,
}

impl Descriptor {
    /// Whether a registry may lack what it names: clients fetch it from elsewhere, or were never
    /// meant to push it (image-spec, "Non-Distributable Layers").
    pub fn may_be_elsewhere(&self) -> bool {
        self.is_foreign || self.media_type.is_nondistributable()
    }
}

/// What a manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    /// Names a config and layers.
    Image,
    /// Names other manifests.
    Index,
    /// Docker schema 1: no config, no digests we could rely on for layers' order; passed through.
    Schema1,
    /// Something else under a media type we do not read; passed through.
    Other,
}

/// What is read from a manifest's bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// What it is.
    pub kind: ManifestKind,
    /// Its own media type, if it says so.
    pub media_type: Option<MediaType>,
    /// Artifact type, if it says so.
    pub artifact_type: Option<String>,
    /// The config of an image.
    pub config: Option<Descriptor>,
    /// Layers of an image, `blobs` of an artifact manifest.
    pub layers: Vec<Descriptor>,
    /// Children of an index.
    pub manifests: Vec<Descriptor>,
    /// What this manifest refers to.
    pub subject: Option<Descriptor>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or not of the right shape.
    #[error("the manifest is not valid JSON of a known shape: {0}")]
    Json(#[from] serde_json::Error),
    /// More entries than anyone has use for.
    #[error("the manifest names {0} descriptors; at most {max} are read", max = Manifest::MAX_DESCRIPTORS)]
    TooMany(usize),
    /// A field of a pushed manifest cannot be taken. An empty path: the document as a whole.
    #[error("the manifest cannot be taken: {}{}{reason}", path, if path.is_empty() { "" } else { ": " })]
    Field {
        /// Such as `layers[2].digest`.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    size: u64,
    platform: Option<WirePlatform>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    urls: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
struct WirePlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireManifest {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<WireDescriptor>,
    layers: Option<Vec<WireDescriptor>>,
    blobs: Option<Vec<WireDescriptor>>,
    manifests: Option<Vec<WireDescriptor>>,
    subject: Option<WireDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Manifest {
    /// More descriptors than this in one manifest are refused.
    pub const MAX_DESCRIPTORS: usize = 50_000;

    /// Reads the bytes of a manifest. `content_type` (from the upstream or the pusher) speaks
    /// where the bytes do not name their own media type.
    pub fn parse(bytes: &[u8], content_type: Option<&MediaType>) -> Result<Self, ManifestError> {
        let wire: WireManifest = serde_json::from_slice(bytes)?;
        let own_type = wire.media_type.as_deref().and_then(|text| MediaType::parse(text).ok());
        let media_type = own_type.or_else(|| content_type.cloned());
        let layers = wire.layers.or(wire.blobs).unwrap_or_default();
        let manifests = wire.manifests.unwrap_or_default();
        let count = layers.len() + manifests.len();
        if count > Self::MAX_DESCRIPTORS {
            return Err(ManifestError::TooMany(count));
        }
        let is_index = media_type.as_ref().is_some_and(MediaType::is_index);
        let kind = if wire.schema_version == Some(1) || wire.fs_layers.is_some() {
            ManifestKind::Schema1
        } else if is_index || (wire.config.is_none() && !manifests.is_empty()) {
            ManifestKind::Index
        } else if wire.config.is_some() || !layers.is_empty() {
            ManifestKind::Image
        } else {
            ManifestKind::Other
        };
        Ok(Self {
            kind,
            media_type,
            artifact_type: wire.artifact_type,
            config: wire.config.map(descriptor),
            layers: layers.into_iter().map(descriptor).collect(),
            manifests: manifests.into_iter().map(descriptor).collect(),
            subject: wire.subject.map(descriptor),
            annotations: wire.annotations.unwrap_or_default(),
        })
    }

    /// The blobs this manifest itself names: config, then layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers)
    }
}

fn descriptor(wire: WireDescriptor) -> Descriptor {
    Descriptor {
        media_type: MediaType::parse(&wire.media_type).unwrap_or(MediaType::OCTET_STREAM),
        digest: wire.digest,
        size_bytes: wire.size,
        platform: wire.platform.map(|platform| Platform {
            os: platform.os,
            architecture: platform.architecture,
            variant: platform.variant.filter(|variant| !variant.is_empty()),
        }),
        artifact_type: wire.artifact_type,
        annotations: wire.annotations.unwrap_or_default(),
        is_foreign: wire.urls.is_some_and(|urls| !urls.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn reads_images_and_indexes() {
        let image = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{HEX}","size":2}},
            "layers":[{{"mediaType":"c/d","digest":"{HEX}","size":7,"urls":["x"]}}],"extra":[1]}}"#
        );
        let read = Manifest::parse(image.as_bytes(), Some(&MediaType::OCI_MANIFEST)).unwrap();
        assert_eq!(read.kind, ManifestKind::Image);
        assert_eq!(read.media_type, Some(MediaType::OCI_MANIFEST));
        assert_eq!(read.blobs().map(|blob| blob.size_bytes).sum::<u64>(), 9);
        assert!(read.layers[0].is_foreign);

        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
            {{"mediaType":"a/b","digest":"{HEX}","size":2,"platform":{{"os":"linux","architecture":"arm64","variant":""}}}}]}}"#
        );
        let read = Manifest::parse(index.as_bytes(), None).unwrap();
        assert_eq!(read.kind, ManifestKind::Index);
        assert_eq!(read.manifests[0].platform.as_ref().unwrap().to_string(), "linux/arm64");
    }

    #[test]
    fn knows_schema1_and_refuses_nonsense() {
        let old = br#"{"schemaVersion":1,"fsLayers":[{"blobSum":"x"}]}"#;
        assert_eq!(Manifest::parse(old, None).unwrap().kind, ManifestKind::Schema1);
        for bad in [&b"[]"[..], b"{", b"<html>", br#"{"layers":[{"digest":"sha256:1"}]}"#] {
            assert!(Manifest::parse(bad, None).is_err());
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Manifest::parse(&bytes, None);
        }
    }
}
