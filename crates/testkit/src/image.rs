//! Images to publish: what is asked for ([`ImageSpec`]) and what came of it ([`Image`], [`Index`]).

use crate::content::Content;
use crate::digest::sha256;
use crate::synthetic::Synthetic;
use bytes::Bytes;
use serde_json::{Value, json};

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of Docker's image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// An image to be made up. The bytes of its layers are random, but the same for the same seed.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    layer_sizes: Vec<u64>,
    seed: Option<u64>,
    os: String,
    architecture: String,
    docker: bool,
}

impl ImageSpec {
    /// An OCI image for linux/amd64 whose layers have these sizes in bytes.
    pub fn layers(sizes: impl IntoIterator<Item = u64>) -> Self {
        Self {
            layer_sizes: sizes.into_iter().collect(),
            seed: None,
            os: "linux".into(),
            architecture: "amd64".into(),
            docker: false,
        }
    }

    /// Chooses the content. Without it, the content follows from name, tag and platform.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Chooses the platform.
    pub fn platform(mut self, os: &str, architecture: &str) -> Self {
        (self.os, self.architecture) = (os.into(), architecture.into());
        self
    }

    /// Uses Docker's media types (schema 2) in place of OCI's.
    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    /// Makes the image up: the parts to store and their description.
    pub(crate) fn build(&self, name: &str, tag: Option<&str>) -> (Image, Vec<(String, Content)>) {
        let seed = self.seed.unwrap_or_else(|| self.default_seed(name, tag.unwrap_or_default()));
        let (manifest_type, config_type, layer_type) = match self.docker {
            true => (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER),
            false => (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER),
        };
        let (mut layers, mut contents, mut layer_seeds) = (Vec::new(), Vec::new(), Vec::new());
        for (index, &size) in self.layer_sizes.iter().enumerate() {
            let layer_seed = seed.wrapping_mul(1000).wrapping_add(index as u64);
            let layer = Synthetic::new(size, layer_seed);
            layer_seeds.push(layer_seed);
            let blob = Blob::new(layer.digest(), size, layer_type);
            contents.push((blob.digest.clone(), Content::Synthetic(layer)));
            layers.push(blob);
        }
        let config_bytes = self.config(&layers);
        let config = Blob::new(sha256(&config_bytes), config_bytes.len() as u64, config_type);
        contents.push((config.digest.clone(), Content::Held(config_bytes)));
        let manifest = Bytes::from(
            json!({
                "schemaVersion": 2,
                "mediaType": manifest_type,
                "config": config.descriptor(),
                "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
            })
            .to_string(),
        );
        let image = Image {
            name: name.into(),
            tag: tag.map(Into::into),
            digest: sha256(&manifest),
            media_type: manifest_type.into(),
            manifest,
            config,
            layers,
            layer_seeds,
        };
        (image, contents)
    }

    fn config(&self, layers: &[Blob]) -> Bytes {
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        json!({
            "architecture": self.architecture,
            "os": self.os,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        })
        .to_string()
        .into()
    }

    fn default_seed(&self, name: &str, tag: &str) -> u64 {
        let text = format!("{name}:{tag}@{}/{}", self.os, self.architecture);
        // FNV-1a, 64 bits: stable across Rust versions, unlike the standard hasher.
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// A blob as a manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// `sha256:…`.
    pub digest: String,
    /// Its length.
    pub size_bytes: u64,
    /// The media type in the descriptor.
    pub media_type: String,
}

impl Blob {
    pub(crate) fn new(digest: String, size_bytes: u64, media_type: &str) -> Self {
        Self { digest, size_bytes, media_type: media_type.into() }
    }

    pub(crate) fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes})
    }
}

/// An image that was published.
#[derive(Clone, Debug)]
pub struct Image {
    /// The repository.
    pub name: String,
    /// The tag, when one was given.
    pub tag: Option<String>,
    /// The digest of the manifest.
    pub digest: String,
    /// The media type of the manifest.
    pub media_type: String,
    /// The manifest itself.
    pub manifest: Bytes,
    /// The configuration blob.
    pub config: Blob,
    /// The layers, lowest first.
    pub layers: Vec<Blob>,
    /// The seed of each layer's content ([`Synthetic`]); empty for what is not made up.
    pub layer_seeds: Vec<u64>,
}

impl Image {
    /// The path of the manifest by tag; by digest when there is no tag.
    pub fn tag_path(&self) -> String {
        manifest_path(&self.name, self.tag.as_deref().unwrap_or(&self.digest))
    }

    /// The path of the manifest by digest.
    pub fn digest_path(&self) -> String {
        manifest_path(&self.name, &self.digest)
    }

    /// The path of the configuration blob.
    pub fn config_path(&self) -> String {
        blob_path(&self.name, &self.config.digest)
    }

    /// The path of layer `index`, counted from 0. Panics when there is none.
    pub fn layer_path(&self, index: usize) -> String {
        blob_path(&self.name, &self.layers[index].digest)
    }

    /// The image as an entry of an index.
    pub(crate) fn platform_descriptor(&self, os: &str, architecture: &str) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.manifest.len(),
            "platform": {"os": os, "architecture": architecture},
        })
    }
}

/// An index that was published, with its images.
#[derive(Clone, Debug)]
pub struct Index {
    /// The repository.
    pub name: String,
    /// The tag, when one was given.
    pub tag: Option<String>,
    /// The digest of the index.
    pub digest: String,
    /// The media type of the index.
    pub media_type: String,
    /// The index itself.
    pub manifest: Bytes,
    /// One image for each platform, in the order asked for; not tagged.
    pub images: Vec<Image>,
}

impl Index {
    /// The path of the index by tag; by digest when there is no tag.
    pub fn tag_path(&self) -> String {
        manifest_path(&self.name, self.tag.as_deref().unwrap_or(&self.digest))
    }

    /// The path of the index by digest.
    pub fn digest_path(&self) -> String {
        manifest_path(&self.name, &self.digest)
    }
}

/// `/v2/<name>/manifests/<reference>`.
pub fn manifest_path(name: &str, reference: &str) -> String {
    format!("/v2/{name}/manifests/{reference}")
}

/// `/v2/<name>/blobs/<digest>`.
pub fn blob_path(name: &str, digest: &str) -> String {
    format!("/v2/{name}/blobs/{digest}")
}
