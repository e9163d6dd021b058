//! Writing the document of one name from what the catalog says. All of it blocks.

use super::document::{Listed, MAX_BYTES, NameDocument};
use crate::shelf::Shelf;
use catalog::Catalog;
use oci::{Digest, MediaType, Name, Tag};
use std::collections::HashMap;

/// Rows read at a time.
const PAGE: u32 = 1000;
/// Times a name is read again because it changed meanwhile. What is written after that is seen to be
/// older than the catalog, and written again.
const TRIES: usize = 3;

/// Why a document is not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("{0}")]
    Catalog(#[from] catalog::Error),
    #[error("{0}")]
    Store(#[from] blobs::Error),
    #[error("{name} has more manifests and tags than a document can list")]
    TooLong { name: Name },
    /// What was read is no ground to write or remove anything on.
    #[error("the catalog does not know all names now")]
    Incomplete,
}

/// Brings the document of a name in step with the catalog; the number of the change that it tells.
/// `None`: the name holds no hosted manifest, and has no document.
pub(super) fn write(shelf: &Shelf, name: &Name) -> Result<Option<u64>, WriteError> {
    let _writing = shelf.names.writing.lock();
    let document = read(&shelf.catalog, name)?;
    // Asked after the read: a fresh catalog knows nothing of the name, which is no reason to remove
    // what the store knows.
    if shelf.is_incomplete() {
        return Err(WriteError::Incomplete);
    }
    let Some(document) = document.filter(|document| !document.manifests.is_empty()) else {
        shelf.store.remove_document(name)?;
        return Ok(None);
    };
    let bytes = document.to_bytes();
    if bytes.len() > MAX_BYTES {
        return Err(WriteError::TooLong { name: name.clone() });
    }
    shelf.store.put_document(name, &bytes)?;
    Ok(Some(document.change))
}

/// Whether the document in the first place tells of the name as the catalog knows it.
pub(super) fn is_written(shelf: &Shelf, name: &Name, change: u64) -> Result<bool, WriteError> {
    let written = match shelf.store.first_document(name, MAX_BYTES) {
        Ok(written) => written,
        // A file that is too long is none of ours.
        Err(blobs::Error::TooLarge { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let written = written.and_then(|bytes| NameDocument::parse(name, &bytes).ok());
    Ok(written.is_some_and(|written| written.change == change))
}

/// Removes a document of a name that the catalog does not know, if nothing that it lists is in the
/// store: what nothing can be made of is what a kill left over between a delete and its document.
pub(super) fn drop_orphan(shelf: &Shelf, name: &Name) -> Result<(), WriteError> {
    let Some(bytes) = shelf.store.document(name, MAX_BYTES)? else { return Ok(()) };
    let Ok(document) = NameDocument::parse(name, &bytes) else { return Ok(()) };
    for listed in &document.manifests {
        if shelf.store.blob(&listed.digest)?.is_some() {
            return Ok(());
        }
    }
    // A push may bring the name back just now; its document comes after this, or is seen here.
    let _writing = shelf.names.writing.lock();
    let is_known = shelf.catalog.name_change(name)?.is_some();
    if is_known || shelf.is_incomplete() {
        return Ok(());
    }
    Ok(shelf.store.remove_document(name)?)
}

fn read(catalog: &Catalog, name: &Name) -> Result<Option<NameDocument>, catalog::Error> {
    let mut tries = 0;
    loop {
        let Some(change) = catalog.name_change(name)? else { return Ok(None) };
        let mut manifests = manifests(catalog, name)?;
        add_tags(catalog, name, &mut manifests)?;
        tries += 1;
        if tries >= TRIES || catalog.name_change(name)? == Some(change) {
            let mut manifests: Vec<Listed> = manifests.into_values().collect();
            manifests.sort_by_key(|listed| listed.digest);
            return Ok(Some(NameDocument { name: name.clone(), change, manifests }));
        }
    }
}

fn manifests(catalog: &Catalog, name: &Name) -> Result<HashMap<Digest, Listed>, catalog::Error> {
    let mut found = HashMap::new();
    let mut after: Option<Digest> = None;
    loop {
        let page = catalog.contents(name, after.as_ref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(*last);
        for (digest, row) in page.into_iter().filter(|(_, row)| row.is_hosted && row.is_manifest) {
            let media_type = match row.media_type {
                Some(media_type) => media_type,
                None => catalog
                    .manifest(&digest)?
                    .map_or(MediaType::OCI_MANIFEST, |manifest| manifest.media_type),
            };
            let listed = Listed {
                digest,
                media_type,
                size_bytes: row.size_bytes.unwrap_or(0),
                pushed_at: row.since,
                private_to: row.private_to,
                tags: Vec::new(),
            };
            found.insert(digest, listed);
        }
    }
}

fn add_tags(
    catalog: &Catalog,
    name: &Name,
    manifests: &mut HashMap<Digest, Listed>,
) -> Result<(), catalog::Error> {
    let mut after: Option<Tag> = None;
    loop {
        let page = catalog.tag_entries(name, after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.tag.clone());
        for entry in page {
            // What a tag of a remote name leads to need not be hosted.
            if let Some(listed) = manifests.get_mut(&entry.digest) {
                listed.tags.push((entry.tag, entry.moved_at));
            }
        }
    }
}
