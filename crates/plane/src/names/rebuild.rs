//! Making the catalog again from the store alone: names from their documents, what manifests list
//! from their bytes, sizes from the blobs.
//!
//! Doing it again changes nothing, so that one that was cut short is simply begun again. What is
//! listed and not in the store becomes known as lost: "not there any more" is another thing than
//! "was never there".

use super::document::{Listed, MAX_BYTES, NameDocument};
use crate::keep::take_in_file;
use blobs::Store;
use catalog::{Batch, Catalog, Content, ManifestRow};
use jiff::Timestamp;
use oci::{Descriptor, Digest, Manifest, MediaType, Name};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

/// Missing contents and unreadable documents that are listed; all are counted.
const LISTED_MAX: usize = 10_000;
/// The longest manifest that is read back.
const MANIFEST_MAX_BYTES: usize = 64 << 20;
/// Manifests written at a time, so that a name with very many fits the catalog's queue.
const AT_A_TIME: usize = 64;
/// Tags written at a time.
const TAGS_AT_A_TIME: usize = 1000;
/// Blobs that no name claims, taken in at a time.
const TAKEN_AT_A_TIME: usize = 500;
/// Blobs whose sizes are remembered, so that a layer that many images share is looked at once.
const SIZES_MAX: usize = 500_000;
/// How long one write may take.
const WRITE_TIME: Duration = Duration::from_secs(60);

/// How far a rebuild is, and in the end what came of it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RebuildReport {
    /// Names that have a document in the store.
    pub names_total: u64,
    /// Names that are done.
    pub names: u64,
    /// Manifests that are known again.
    pub manifests: u64,
    /// Tags that are known again.
    pub tags: u64,
    /// Blobs that are content of a name again; what several names hold counts for each.
    pub blobs: u64,
    /// Manifests and blobs that names should have and whose bytes are not in the store.
    pub missing_total: u64,
    /// Of these, the first ten thousand.
    pub missing: Vec<MissingContent>,
    /// Documents that cannot be read; what these names held is not known again.
    pub unreadable: Vec<UnreadableName>,
}

/// Hosted content without bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MissingContent {
    /// The canonical name.
    pub name: Name,
    /// What its bytes hash to.
    pub digest: Digest,
}

/// A name whose document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreadableName {
    /// The canonical name.
    pub name: Name,
    /// What is wrong with it.
    pub problem: String,
}

/// Why the catalog could not be made again to the end.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The store could not be asked.
    #[error("the store cannot be read")]
    Store(#[from] blobs::Error),
    /// The catalog could not be written.
    #[error("the catalog cannot be written")]
    Write(#[from] catalog::WriteError),
    /// The catalog could not be read.
    #[error("the catalog cannot be read")]
    Read(#[from] catalog::Error),
    /// The catalog took too long.
    #[error("the catalog takes no writes")]
    TooSlow,
    /// Whoever asked for it ended it.
    #[error("stopped before it was done")]
    Stopped,
}

/// Makes everything known again that documents of names tell, and tells the catalog then that it is
/// complete. Blocks, for as long as it takes to read every manifest; `tell` hears how far it is after
/// each name, and may end it.
///
/// # Errors
/// When the store or the catalog fails. One that cannot be asked is no reason to take anything for
/// missing.
pub fn rebuild(
    store: &Store,
    catalog: &Catalog,
    now: Timestamp,
    mut tell: impl FnMut(&RebuildReport) -> ControlFlow<()>,
) -> Result<RebuildReport, RebuildError> {
    let names: HashSet<Name> = store.documents().collect::<Result<_, _>>()?;
    let names_total = names.len() as u64;
    let report = RebuildReport { names_total, ..RebuildReport::default() };
    let mut work = Rebuild { store, catalog, now, sizes: HashMap::new(), report };
    for name in names {
        if tell(&work.report).is_break() {
            return Err(RebuildError::Stopped);
        }
        work.name(&name)?;
        work.report.names += 1;
    }
    let mut batch = Batch::new();
    batch.set_complete();
    work.write(batch)?;
    Ok(work.report)
}

/// Names whose documents tell of a later change than a catalog, which was put back from a backup,
/// knows: what was pushed there since is not in it. Blocks.
pub fn newer_documents(store: &Store, catalog: &Catalog) -> Result<Vec<Name>, RebuildError> {
    let mut newer = Vec::new();
    for name in store.documents() {
        let name = name?;
        let Some(bytes) = store.document(&name, MAX_BYTES)? else { continue };
        let Ok(document) = NameDocument::parse(&name, &bytes) else { continue };
        if catalog.name_change(&name)?.is_none_or(|known| known < document.change) {
            newer.push(name);
        }
    }
    newer.sort_unstable();
    newer.dedup();
    Ok(newer)
}

/// Makes the other blobs of the store known too, which no name claims until it asks for them: so they
/// are counted, and can be evicted. Blocks; `tell` hears how many were looked at. How many were new.
///
/// # Errors
/// When the store or the catalog fails.
pub fn take_in_cached(
    store: &Store,
    catalog: &Catalog,
    now: Timestamp,
    mut tell: impl FnMut(u64),
) -> Result<u64, RebuildError> {
    let (mut looked, mut taken, mut batch, mut waiting) = (0, 0, Batch::new(), 0);
    for found in store.walk() {
        let (digest, size_bytes) = found?;
        looked += 1;
        if catalog.blob_size(&digest)?.is_none()
            && take_in_file(store, now, &mut batch, &digest, size_bytes)
        {
            (taken, waiting) = (taken + 1, waiting + 1);
        }
        if waiting >= TAKEN_AT_A_TIME {
            write(catalog, std::mem::take(&mut batch))?;
            waiting = 0;
            tell(looked);
        }
    }
    write(catalog, batch)?;
    Ok(taken)
}

fn write(catalog: &Catalog, batch: Batch) -> Result<(), RebuildError> {
    match catalog.submit(batch).wait_for(WRITE_TIME) {
        Some(written) => Ok(written?),
        None => Err(RebuildError::TooSlow),
    }
}

struct Rebuild<'r> {
    store: &'r Store,
    catalog: &'r Catalog,
    now: Timestamp,
    /// What is known of blobs: their sizes, or that they are missing.
    sizes: HashMap<Digest, Option<u64>>,
    report: RebuildReport,
}

impl Rebuild<'_> {
    fn name(&mut self, name: &Name) -> Result<(), RebuildError> {
        let bytes = match self.store.document(name, MAX_BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(()),
            Err(error) if error.may_pass() => return Err(error.into()),
            Err(error) => {
                self.unreadable(name, error.to_string());
                return Ok(());
            }
        };
        let document = match NameDocument::parse(name, &bytes) {
            Ok(document) => document,
            Err(problem) => {
                self.unreadable(name, problem);
                return Ok(());
            }
        };
        for some in document.manifests.chunks(AT_A_TIME) {
            let mut batch = Batch::new();
            let mut used = Vec::new();
            for listed in some {
                self.manifest(name, listed, &mut batch, &mut used)?;
            }
            // Everything counts as used now: a clock begins to run that nobody could have heeded.
            batch.used(&used, self.now);
            self.write(batch)?;
        }
        // After the manifests, so that no tag ever leads to what is not known yet.
        let tags = document.manifests.iter().flat_map(|listed| {
            listed.tags.iter().map(move |(tag, tagged_at)| (tag, &listed.digest, *tagged_at))
        });
        let tags: Vec<_> = tags.collect();
        for some in tags.chunks(TAGS_AT_A_TIME) {
            let mut batch = Batch::new();
            for (tag, digest, tagged_at) in some {
                batch.move_tag(name, tag, digest, *tagged_at);
            }
            self.write(batch)?;
        }
        self.report.tags += tags.len() as u64;
        Ok(())
    }

    fn unreadable(&mut self, name: &Name, problem: String) {
        if self.report.unreadable.len() < LISTED_MAX {
            self.report.unreadable.push(UnreadableName { name: name.clone(), problem });
        }
    }

    fn missing(&mut self, name: &Name, digest: &Digest) {
        self.report.missing_total += 1;
        if self.report.missing.len() < LISTED_MAX {
            self.report.missing.push(MissingContent { name: name.clone(), digest: *digest });
        }
    }

    fn manifest(
        &mut self,
        name: &Name,
        listed: &Listed,
        batch: &mut Batch,
        used: &mut Vec<(Name, Digest)>,
    ) -> Result<(), RebuildError> {
        let digest = &listed.digest;
        used.push((name.clone(), *digest));
        let content = |is_manifest: bool, size_bytes: u64, media_type: MediaType| Content {
            is_manifest,
            size_bytes: Some(size_bytes),
            media_type: Some(media_type),
            private_to: listed.private_to.clone(),
            is_hosted: true,
            at: listed.pushed_at,
        };
        let media_type = &listed.media_type;
        let Some((size_bytes, manifest)) = self.read(digest, media_type)? else {
            self.missing(name, digest);
            batch.put_content(name, digest, content(true, listed.size_bytes, media_type.clone()));
            return Ok(());
        };
        self.report.manifests += 1;
        batch.put_blob(digest, size_bytes, true, listed.pushed_at);
        batch.put_content(name, digest, content(true, size_bytes, media_type.clone()));
        batch.put_manifest(&ManifestRow::of(*digest, size_bytes, media_type.clone(), &manifest));
        for blob in manifest.blobs() {
            let size_bytes = self.size(&blob.digest)?;
            match size_bytes {
                Some(size_bytes) => {
                    self.report.blobs += 1;
                    batch.put_blob(&blob.digest, size_bytes, false, listed.pushed_at);
                }
                // Nobody had to push it.
                None if blob.may_be_elsewhere() => continue,
                None => self.missing(name, &blob.digest),
            }
            let Descriptor { media_type, size_bytes: listed_bytes, .. } = blob;
            let size_bytes = size_bytes.unwrap_or(*listed_bytes);
            batch.put_content(name, &blob.digest, content(false, size_bytes, media_type.clone()));
            used.push((name.clone(), blob.digest));
        }
        Ok(())
    }

    /// A manifest's length and what it says; `None`: it is not there, or not what it was.
    fn read(
        &self,
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<Option<(u64, Manifest)>, RebuildError> {
        let Some(blob) = self.store.blob(digest)? else { return Ok(None) };
        let bytes = match blob.read_all(MANIFEST_MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.may_pass() => return Err(error.into()),
            Err(error) => return Ok(damaged(digest, &error)),
        };
        if Digest::of(digest.algorithm(), &bytes) != *digest {
            return Ok(damaged(digest, &"its bytes do not hash to its digest"));
        }
        match Manifest::parse(&bytes, Some(media_type)) {
            Ok(manifest) => Ok(Some((bytes.len() as u64, manifest))),
            Err(error) => Ok(damaged(digest, &error)),
        }
    }

    fn size(&mut self, digest: &Digest) -> Result<Option<u64>, RebuildError> {
        if let Some(known) = self.sizes.get(digest) {
            return Ok(*known);
        }
        let size_bytes = self.store.blob(digest)?.map(|blob| blob.size_bytes());
        if self.sizes.len() >= SIZES_MAX {
            self.sizes.clear();
        }
        self.sizes.insert(*digest, size_bytes);
        Ok(size_bytes)
    }

    fn write(&self, batch: Batch) -> Result<(), RebuildError> {
        write(self.catalog, batch)
    }
}

fn damaged<T>(digest: &Digest, why: &dyn std::fmt::Display) -> Option<T> {
    tracing::error!(%digest, %why, "a manifest in the store is damaged; it counts as missing");
    None
}
