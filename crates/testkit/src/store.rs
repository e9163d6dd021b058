//! What the registry holds: repositories with their blobs, manifests and tags.

use crate::content::Content;
use crate::digest::sha256;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A manifest as it was pushed.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
    /// The digest it is served under.
    pub(crate) digest: String,
}

#[derive(Default)]
struct Repository {
    blobs: BTreeSet<String>,
    manifests: BTreeMap<String, Manifest>,
    tags: BTreeMap<String, String>,
}

/// Everything published so far. Blobs are stored once and linked from repositories.
#[derive(Default)]
pub(crate) struct Store {
    contents: HashMap<String, Content>,
    repositories: BTreeMap<String, Repository>,
}

impl Store {
    pub(crate) fn put_blob(&mut self, name: &str, digest: &str, content: Content) {
        self.contents.insert(digest.to_owned(), content);
        self.repository(name).blobs.insert(digest.to_owned());
    }

    pub(crate) fn put_manifest(
        &mut self,
        name: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: Bytes,
    ) -> String {
        let digest = sha256(&bytes);
        self.put_manifest_under(name, &digest, media_type, bytes);
        if let Some(tag) = tag {
            self.put_tag(name, tag, &digest);
        }
        digest
    }

    /// Stores a manifest under a digest that need not be its own.
    pub(crate) fn put_manifest_under(
        &mut self,
        name: &str,
        digest: &str,
        media_type: &str,
        bytes: Bytes,
    ) {
        let (media_type, held) = (media_type.to_owned(), digest.to_owned());
        let manifest = Manifest { media_type, bytes, digest: held };
        self.repository(name).manifests.insert(digest.to_owned(), manifest);
    }

    pub(crate) fn put_tag(&mut self, name: &str, tag: &str, digest: &str) {
        self.repository(name).tags.insert(tag.to_owned(), digest.to_owned());
    }

    /// Forgets a tag, or with a digest the manifest or blob it names, in one repository.
    pub(crate) fn delete(&mut self, name: &str, reference: &str) {
        if let Some(repository) = self.repositories.get_mut(name) {
            repository.tags.remove(reference);
            repository.manifests.remove(reference);
            repository.blobs.remove(reference);
        }
    }

    pub(crate) fn delete_repository(&mut self, name: &str) {
        self.repositories.remove(name);
    }

    pub(crate) fn manifest(&self, name: &str, reference: &str) -> Option<Manifest> {
        let repository = self.repositories.get(name)?;
        let digest = repository.tags.get(reference).map_or(reference, String::as_str);
        repository.manifests.get(digest).cloned()
    }

    pub(crate) fn blob(&self, name: &str, digest: &str) -> Option<Content> {
        self.repositories.get(name)?.blobs.get(digest)?;
        self.contents.get(digest).cloned()
    }

    /// A blob whatever repository it is in: what a redirect to object storage points at.
    pub(crate) fn stored(&self, digest: &str) -> Option<Content> {
        self.contents.get(digest).cloned()
    }

    pub(crate) fn has_repository(&self, name: &str) -> bool {
        self.repositories.contains_key(name)
    }

    /// The tags of a repository in order, or `None` when there is no such repository.
    pub(crate) fn tags(&self, name: &str) -> Option<Vec<String>> {
        Some(self.repositories.get(name)?.tags.keys().cloned().collect())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.repositories.keys().cloned().collect()
    }

    /// Descriptors of the manifests whose `subject` is `digest` (distribution-spec, "Listing
    /// Referrers"), in order of digest.
    pub(crate) fn referrers(&self, name: &str, digest: &str) -> Vec<serde_json::Value> {
        let manifests = self.repositories.get(name).map(|found| found.manifests.values());
        manifests.into_iter().flatten().filter_map(|held| descriptor(held, digest)).collect()
    }

    fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }
}

fn descriptor(manifest: &Manifest, subject: &str) -> Option<serde_json::Value> {
    let value: serde_json::Value = serde_json::from_slice(&manifest.bytes).ok()?;
    if value["subject"]["digest"] != *subject {
        return None;
    }
    let artifact_type = match &value["artifactType"] {
        serde_json::Value::Null => value["config"]["mediaType"].clone(),
        given => given.clone(),
    };
    Some(serde_json::json!({
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.bytes.len(),
        "artifactType": artifact_type,
        "annotations": value["annotations"],
    }))
}
