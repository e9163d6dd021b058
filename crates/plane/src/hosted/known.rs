//! Look-ups whose "no" must be true: for names whose truth is our own catalog.
//!
//! They differ from those of [`Shelf`] in two ways. A catalog that does not answer is an error, not
//! "not known". And what is read is remembered only when nothing was taken away meanwhile, so that
//! a reader who was slow does not bring back what a delete just removed.

use super::read::{cannot_tell, known};
use crate::answer::ManifestContent;
use crate::memory::{ContentState, TagState};
use crate::refusal::Refusal;
use crate::shelf::Shelf;
use blobs::Blob;
use oci::{Digest, Name, Tag};
use std::sync::Arc;

impl Shelf {
    /// Where a tag leads.
    pub(crate) async fn known_tag(
        self: &Arc<Self>,
        name: &Name,
        tag: &Tag,
    ) -> Result<Option<TagState>, Refusal> {
        let key = (name.clone(), tag.clone());
        if let Some(state) = self.memory.tag(&key) {
            return Ok(Some(state));
        }
        let seen = self.memory.changes();
        let asked = key.clone();
        let read = self.blocking(move |shelf| shelf.catalog.tag(&asked.0, &asked.1)).await;
        let Some(row) = known(read)?.filter(|row| row.gone_since.is_none()) else {
            return Ok(None);
        };
        let state = TagState { digest: row.digest, checked_at: row.checked_at, gone_since: None };
        self.memory.recall_tag_since(seen, name, tag, state);
        Ok(Some(state))
    }

    /// What a name holds under a digest.
    pub(crate) async fn known_content(
        self: &Arc<Self>,
        name: &Name,
        digest: &Digest,
    ) -> Result<Option<Arc<ContentState>>, Refusal> {
        let key = (name.clone(), *digest);
        if let Some(state) = self.memory.content(&key) {
            return Ok(Some(state));
        }
        let seen = self.memory.changes();
        let read = self.blocking(move |shelf| shelf.catalog.content(&key.0, &key.1)).await;
        let Some(row) = known(read)? else { return Ok(None) };
        let state = ContentState::new(
            row.is_manifest,
            row.size_bytes,
            row.media_type,
            row.private_to.as_deref(),
        );
        Ok(Some(self.memory.recall_content_since(seen, name, digest, state)))
    }

    /// An open blob; `None`: the store does not have it, for certain.
    pub(crate) async fn known_blob(
        self: &Arc<Self>,
        digest: &Digest,
    ) -> Result<Option<Blob>, Refusal> {
        if let Some(blob) = self.store.cached(digest) {
            return Ok(Some(blob));
        }
        let digest = *digest;
        match self.blocking(move |shelf| shelf.store.blob(&digest)).await {
            Some(Ok(blob)) => Ok(blob),
            Some(Err(error)) => Err(Refusal::Indeterminate {
                reason: format!("the store does not answer now: {error}"),
                retry_after: None,
                is_rate_limit: false,
            }),
            None => Err(cannot_tell(&std::io::Error::other("the store panicked; see the log"))),
        }
    }

    /// A manifest that a name has, if its bytes are here, as the name calls it.
    pub(crate) async fn manifest_of(
        self: &Arc<Self>,
        name: &Name,
        digest: &Digest,
    ) -> Option<Arc<ManifestContent>> {
        let held = self.content(name, digest).await.filter(|it| it.is_manifest)?;
        Some(self.as_called(self.manifest(digest).await?, &held))
    }

    /// A manifest under the media type that a name has it by: the same bytes may be called
    /// something else elsewhere.
    pub(crate) fn as_called(
        &self,
        content: Arc<ManifestContent>,
        row: &ContentState,
    ) -> Arc<ManifestContent> {
        match row.media_type.as_ref().filter(|own| **own != content.media_type) {
            Some(own) => {
                let bytes = content.bytes.clone();
                Arc::new(ManifestContent::new(content.digest, own.clone(), bytes))
            }
            None => content,
        }
    }

    /// Takes back what memory says of a name, after the catalog took it back: readers that began
    /// before do not bring it back. What the store says of the name follows, some seconds later.
    pub(crate) fn withdraw(&self, name: &Name, tags: &[Tag], digests: &[Digest]) {
        self.memory.withdraw(|memory| {
            tags.iter().for_each(|tag| memory.forget_tag(name, tag));
            digests.iter().for_each(|digest| memory.forget_content(name, digest));
        });
        self.facts.changed(name);
        self.names.changed(name);
    }
}
