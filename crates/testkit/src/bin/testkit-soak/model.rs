//! What must be in the registry, may be, and must not: the driver's own account of what it did.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use testkit::{OCI_INDEX, OCI_MANIFEST, Synthetic, sha256};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const NOTE: &str = "application/vnd.example.note";
/// Layers come from a pool, so that images under all names share them and collections meet blobs
/// that are needed elsewhere.
pub(crate) const LAYER_POOL: usize = 60;
const LAYER_BYTES_MAX: u64 = 300_000;

/// A blob that can be made again: a layer of the pool, or a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Content {
    Layer(u64),
    Text(String),
}

impl Content {
    pub(crate) fn bytes(&self) -> Bytes {
        match self {
            Self::Layer(seed) => {
                Synthetic::new(1 + (seed * 7919 * 7919) % LAYER_BYTES_MAX, *seed).to_bytes()
            }
            Self::Text(text) => Bytes::from(text.clone()),
        }
    }
}

/// One blob of an image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) size: usize,
    pub(crate) content: Content,
}

impl Blob {
    pub(crate) fn new(content: Content) -> Self {
        let bytes = content.bytes();
        Self { digest: sha256(&bytes), size: bytes.len(), content }
    }

    fn descriptor(&self, media_type: &str) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.size})
    }
}

/// A manifest with all it names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Image {
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) body: String,
    pub(crate) blobs: Vec<Blob>,
    pub(crate) children: Vec<Image>,
}

impl Image {
    fn of(
        media_type: &str,
        document: &serde_json::Value,
        blobs: Vec<Blob>,
        children: Vec<Self>,
    ) -> Self {
        let body = document.to_string();
        let digest = sha256(body.as_bytes());
        Self { digest, media_type: media_type.into(), body, blobs, children }
    }

    /// An image of these layers of the pool; `unique` makes its configuration, so its digest, one
    /// that no other image has.
    pub(crate) fn of_layers(unique: &str, layers: &[u64]) -> Self {
        let config = json!({"os": "linux", "architecture": "amd64", "author": unique}).to_string();
        let mut blobs = vec![Blob::new(Content::Text(config))];
        blobs.extend(layers.iter().map(|seed| Blob::new(Content::Layer(*seed))));
        let listed: Vec<_> = blobs.iter().skip(1).map(|blob| blob.descriptor(LAYER)).collect();
        let document = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": blobs[0].descriptor(CONFIG), "layers": listed,
        });
        Self::of(OCI_MANIFEST, &document, blobs, Vec::new())
    }

    /// An index over images.
    pub(crate) fn index(children: Vec<Self>) -> Self {
        let listed: Vec<_> = children.iter().map(Self::descriptor).collect();
        let document = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed});
        Self::of(OCI_INDEX, &document, Vec::new(), children)
    }

    /// An artifact that says something about `subject`, if there is one.
    pub(crate) fn note(unique: &str, subject: Option<&Self>) -> Self {
        let blob = Blob::new(Content::Text(format!("{{\"note\":\"{unique}\"}}")));
        let mut document = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": NOTE,
            "config": blob.descriptor(NOTE), "layers": [blob.descriptor(NOTE)],
        });
        if let Some(subject) = subject {
            document["subject"] = subject.descriptor();
        }
        Self::of(OCI_MANIFEST, &document, vec![blob], Vec::new())
    }

    fn descriptor(&self) -> serde_json::Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.body.len()})
    }
}

/// A tag that one worker alone moves: what it must name, and what else it may name as long as an
/// answer is missing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) tag: String,
    pub(crate) image: Option<Image>,
    #[serde(skip)]
    pub(crate) or: Option<Option<Image>>,
}

/// Something that says something about an image: by a `subject` or by a tag named after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) image: Image,
    /// `sha256-….sig`, if it is kept by a tag.
    pub(crate) tag: Option<String>,
    /// Whether its push was answered and its subject was never without a name since.
    pub(crate) certain: bool,
}

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Model {
    pub(crate) slots: Vec<Slot>,
    pub(crate) evidence: Vec<Evidence>,
    /// Name and digest of every manifest and of every blob that was ever sent.
    pub(crate) manifests: BTreeSet<(String, String)>,
    pub(crate) blobs: BTreeSet<(String, String)>,
}

impl Model {
    /// Notes that `image` is on its way to `name`.
    pub(crate) fn sends(&mut self, name: &str, image: &Image) {
        self.manifests.insert((name.into(), image.digest.clone()));
        for blob in &image.blobs {
            self.blobs.insert((name.into(), blob.digest.clone()));
        }
        for child in &image.children {
            self.sends(name, child);
        }
    }

    /// Adds what another worker knows.
    pub(crate) fn join(&mut self, other: Self) {
        self.slots.extend(other.slots);
        self.evidence.extend(other.evidence);
        self.manifests.extend(other.manifests);
        self.blobs.extend(other.blobs);
    }

    /// Whether a tag names `digest`, by itself or by an index, for certain.
    pub(crate) fn is_named(&self, name: &str, digest: &str) -> bool {
        self.slots.iter().filter(|slot| slot.name == name && slot.or.is_none()).any(|slot| {
            slot.image.as_ref().is_some_and(|image| {
                image.digest == digest || image.children.iter().any(|child| child.digest == digest)
            })
        })
    }

    /// Notes which evidence has lost its subject: from here on a collection may take it, and if its
    /// subject comes back it may or may not be there.
    pub(crate) fn settle(&mut self) {
        let lost: Vec<usize> = (0..self.evidence.len())
            .filter(|at| {
                let held = &self.evidence[*at];
                held.certain && !self.is_named(&held.name, &held.subject)
            })
            .collect();
        for at in lost {
            self.evidence[at].certain = false;
        }
    }

    /// What is reachable under every name: manifests, and blobs.
    pub(crate) fn reachable<'a>(&'a self, also: impl Iterator<Item = &'a Evidence>) -> Reachable {
        let mut found = Reachable::default();
        for slot in &self.slots {
            slot.image.iter().for_each(|image| found.add(&slot.name, image));
        }
        also.for_each(|evidence| found.add(&evidence.name, &evidence.image));
        found
    }
}

/// Digests by name.
#[derive(Debug, Default)]
pub(crate) struct Reachable {
    pub(crate) manifests: BTreeMap<String, BTreeSet<String>>,
    pub(crate) blobs: BTreeMap<String, BTreeSet<String>>,
}

impl Reachable {
    fn add(&mut self, name: &str, image: &Image) {
        self.manifests.entry(name.into()).or_default().insert(image.digest.clone());
        let blobs = self.blobs.entry(name.into()).or_default();
        blobs.extend(image.blobs.iter().map(|blob| blob.digest.clone()));
        image.children.iter().for_each(|child| self.add(name, child));
    }

    pub(crate) fn has_manifest(&self, name: &str, digest: &str) -> bool {
        self.manifests.get(name).is_some_and(|held| held.contains(digest))
    }

    pub(crate) fn has_blob(&self, name: &str, digest: &str) -> bool {
        self.blobs.get(name).is_some_and(|held| held.contains(digest))
    }
}
