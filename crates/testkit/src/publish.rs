//! Putting things into the registry, and taking them out.

use crate::content::Content;
use crate::digest::sha256;
use crate::image::{Blob, Image, ImageSpec, Index, OCI_INDEX, OCI_MANIFEST};
use crate::registry::FakeRegistry;
use crate::synthetic::Synthetic;
use bytes::Bytes;
use serde_json::json;

/// OCI image-spec, "Guidance for an Empty Descriptor".
const EMPTY_CONFIG: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

impl FakeRegistry {
    /// Publishes an image; with a tag, also under that.
    pub fn image<'a>(&self, name: &str, tag: impl Into<Option<&'a str>>, spec: ImageSpec) -> Image {
        let tag = tag.into();
        let (image, contents) = spec.build(name, tag);
        let mut store = self.shared.store.lock();
        for (digest, content) in contents {
            store.put_blob(name, &digest, content);
        }
        store.put_manifest(name, tag, &image.media_type, image.manifest.clone());
        image
    }

    /// Publishes an index with one image for each `(os, architecture)`. The images have two layers,
    /// of 1000 and 50 000 bytes, and no tags.
    pub fn index<'a>(
        &self,
        name: &str,
        tag: impl Into<Option<&'a str>>,
        platforms: &[(&str, &str)],
    ) -> Index {
        let tag = tag.into();
        let (mut images, mut entries) = (Vec::new(), Vec::new());
        for (os, architecture) in platforms {
            let spec = ImageSpec::layers([1000, 50_000]).platform(os, architecture);
            let image = self.image(name, None, spec);
            entries.push(image.platform_descriptor(os, architecture));
            images.push(image);
        }
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        let manifest = Bytes::from(index.to_string());
        let digest = self.manifest(name, tag, OCI_INDEX, manifest.clone());
        let media_type = OCI_INDEX.to_owned();
        Index { name: name.into(), tag: tag.map(Into::into), digest, media_type, manifest, images }
    }

    /// Publishes an artifact that refers to `subject` (a digest in the same repository), with
    /// `payload` as its only layer.
    pub fn referrer(
        &self,
        name: &str,
        subject: &str,
        artifact_type: &str,
        payload: impl Into<Bytes>,
    ) -> Image {
        let payload = payload.into();
        let size = payload.len() as u64;
        let layer = Blob::new(self.blob(name, payload), size, artifact_type);
        let config_digest = self.blob(name, EMPTY_CONFIG);
        let config = Blob::new(config_digest, EMPTY_CONFIG.len() as u64, EMPTY_TYPE);
        let held = self.shared.store.lock().manifest(name, subject);
        let (subject_type, subject_size) = match held {
            Some(manifest) => (manifest.media_type, manifest.bytes.len()),
            None => (OCI_MANIFEST.to_owned(), 0),
        };
        let text = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
            "subject": {"mediaType": subject_type, "digest": subject, "size": subject_size},
        })
        .to_string();
        let manifest = Bytes::from(text);
        let digest = self.manifest(name, None, OCI_MANIFEST, manifest.clone());
        let media_type = OCI_MANIFEST.to_owned();
        Image {
            name: name.into(),
            tag: None,
            digest,
            media_type,
            manifest,
            config,
            layers: vec![layer],
            layer_seeds: Vec::new(),
        }
    }

    /// Publishes a manifest of any kind; its digest.
    pub fn manifest<'a>(
        &self,
        name: &str,
        tag: impl Into<Option<&'a str>>,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> String {
        self.shared.store.lock().put_manifest(name, tag.into(), media_type, bytes.into())
    }

    /// Publishes a manifest under a digest that is not its own.
    pub fn manifest_under(
        &self,
        name: &str,
        digest: &str,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) {
        self.shared.store.lock().put_manifest_under(name, digest, media_type, bytes.into());
    }

    /// Publishes a blob; its digest.
    pub fn blob(&self, name: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = sha256(&bytes);
        self.blob_under(name, &digest, bytes);
        digest
    }

    /// Publishes a blob under a digest that need not be its own.
    pub fn blob_under(&self, name: &str, digest: &str, content: impl Into<Content>) {
        self.shared.store.lock().put_blob(name, digest, content.into());
    }

    /// Publishes a blob that is made while it is sent, of any size; its digest. Finding the digest
    /// takes about a second per GiB or two, once.
    pub fn synthetic_blob(&self, name: &str, size_bytes: u64, seed: u64) -> String {
        let blob = Synthetic::new(size_bytes, seed);
        let digest = blob.digest();
        self.shared.store.lock().put_blob(name, &digest, Content::Synthetic(blob));
        digest
    }

    /// Points a tag, new or old, at a digest.
    pub fn move_tag(&self, name: &str, tag: &str, digest: &str) {
        self.shared.store.lock().put_tag(name, tag, digest);
    }

    /// Deletes a tag; the manifest stays.
    pub fn delete_tag(&self, name: &str, tag: &str) {
        self.shared.store.lock().delete(name, tag);
    }

    /// Deletes a manifest from a repository; tags that point at it dangle.
    pub fn delete_manifest(&self, name: &str, digest: &str) {
        self.shared.store.lock().delete(name, digest);
    }

    /// Deletes a blob from a repository; others keep it.
    pub fn delete_blob(&self, name: &str, digest: &str) {
        self.shared.store.lock().delete(name, digest);
    }

    /// Deletes a repository with all its tags.
    pub fn delete_repository(&self, name: &str) {
        self.shared.store.lock().delete_repository(name);
    }

    /// The URL of a blob as object storage would serve it: outside `/v2/` and without
    /// authentication. For redirects.
    pub fn storage_url(&self, digest: &str) -> String {
        format!("{}/storage/{digest}", self.shared.url)
    }
}
