//! The handle others hold: reads answered on the spot, writes handed to the writer.

use crate::rows::*;
use crate::{Batch, Error, Ticket};
use jiff::Timestamp;
use oci::{Digest, Name, Tag};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The metadata database. Cheap to clone; the last clone that goes takes the writer with it, after
/// what waits is written. [`Catalog::close`] waits for that.
#[derive(Clone)]
pub struct Catalog;

/// How the database was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// There was none.
    Fresh,
    /// It was there.
    Existing,
    /// It was broken and has been put aside; a fresh one was made.
    Recovered {
        /// Where the broken one is now.
        moved_to: PathBuf,
    },
}

impl Catalog {
    /// Opens or makes the database at `path`.
    pub fn open(path: &Path) -> Result<(Self, Opened), Error> {
        Err(Error::unavailable(format!("{path:?}")))
    }

    /// A database that lives as long as the process.
    pub fn in_memory() -> Result<Self, Error> {
        Ok(Self)
    }

    /// Hands a batch to the writer. Never blocks.
    pub fn submit(&self, batch: Batch) -> Ticket {
        let _ = batch;
        Ticket::new().1
    }

    /// How the catalog stands, from memory.
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// Writes what waits, then closes.
    pub fn close(&self, timeout: Duration) -> bool {
        let _ = timeout;
        true
    }

    /// What a tag names.
    pub fn tag(&self, name: &Name, tag: &Tag) -> Result<Option<TagRow>, Error> {
        let _ = (name, tag);
        Err(Error::unavailable("not built yet"))
    }

    /// What a name holds under a digest.
    pub fn content(&self, name: &Name, digest: &Digest) -> Result<Option<ContentRow>, Error> {
        let _ = (name, digest);
        Err(Error::unavailable("not built yet"))
    }

    /// What is known of a manifest.
    pub fn manifest(&self, digest: &Digest) -> Result<Option<ManifestRow>, Error> {
        let _ = digest;
        Err(Error::unavailable("not built yet"))
    }

    /// Manifests that are content of `name` and list `child`, last used first.
    pub fn listed_by(&self, name: &Name, child: &Digest, limit: u32) -> Result<Vec<Listed>, Error> {
        let _ = (name, child, limit);
        Err(Error::unavailable("not built yet"))
    }

    /// Manifests that list a digest, under whatever name, in order of digest.
    pub fn parents_of(&self, digest: &Digest, limit: u32) -> Result<Vec<Digest>, Error> {
        let _ = (digest, limit);
        Err(Error::unavailable("not built yet"))
    }

    /// Manifests that are content of `name` and refer to `subject`, in order of digest.
    pub fn referrers(
        &self,
        name: &Name,
        subject: &Digest,
        limit: u32,
    ) -> Result<Vec<ReferrerRow>, Error> {
        let _ = (name, subject, limit);
        Err(Error::unavailable("not built yet"))
    }

    /// Whether some name holds it that needed no credential.
    pub fn is_public_somewhere(&self, digest: &Digest) -> Result<bool, Error> {
        let _ = digest;
        Err(Error::unavailable("not built yet"))
    }

    /// Names that hold a digest, in order.
    pub fn holders(&self, digest: &Digest, limit: u32) -> Result<Vec<Name>, Error> {
        let _ = (digest, limit);
        Err(Error::unavailable("not built yet"))
    }

    /// A kept answer of an upstream.
    pub fn listing(&self, name: &Name, what: &ListingKey) -> Result<Option<Listing>, Error> {
        let _ = (name, what);
        Err(Error::unavailable("not built yet"))
    }

    /// Tags of a name that are not gone, in byte order, after one of them.
    pub fn tags(&self, name: &Name, after: Option<&Tag>, limit: u32) -> Result<Vec<Tag>, Error> {
        let _ = (name, after, limit);
        Err(Error::unavailable("not built yet"))
    }

    /// Names that have content or tags, in byte order, after one of them.
    pub fn names(&self, after: Option<&Name>, limit: u32) -> Result<Vec<Name>, Error> {
        let _ = (after, limit);
        Err(Error::unavailable("not built yet"))
    }

    /// What the cache holds, in order of name and digest, after a row of the page before.
    pub fn cached(
        &self,
        filter: &CacheFilter,
        after: Option<&CacheCursor>,
        limit: u32,
    ) -> Result<Vec<CachedRow>, Error> {
        let _ = (filter, after, limit);
        Err(Error::unavailable("not built yet"))
    }

    /// How much is kept. Counts every row: for people and for housekeeping, not for requests.
    pub fn usage(&self) -> Result<Usage, Error> {
        Err(Error::unavailable("not built yet"))
    }

    /// Blobs that are present and not condemned, least recently used first; of equal age, manifests
    /// last.
    pub fn victims(&self, after: Option<&VictimCursor>, limit: u32) -> Result<Vec<Victim>, Error> {
        let _ = (after, limit);
        Err(Error::unavailable("not built yet"))
    }

    /// Content of one repository whose blob is present and not condemned, least recently used
    /// first; of equal age, manifests last.
    pub fn victims_of(
        &self,
        repository: &str,
        after: Option<&VictimCursor>,
        limit: u32,
    ) -> Result<Vec<VictimContent>, Error> {
        let _ = (repository, after, limit);
        Err(Error::unavailable("not built yet"))
    }

    /// Blobs condemned at or before a time, longest first; those whose removal began are among
    /// them.
    pub fn condemned(&self, before: Timestamp, limit: u32) -> Result<Vec<Digest>, Error> {
        let _ = (before, limit);
        Err(Error::unavailable("not built yet"))
    }

    /// All pins, in order of name and reference.
    pub fn pins(&self) -> Result<Vec<PinRow>, Error> {
        Err(Error::unavailable("not built yet"))
    }

    /// Every digest reached from a pin or from one of the given tags, followed through what
    /// manifests list, at most `limit` of them.
    pub fn pinned_digests(&self, also: &[(Name, Tag)], limit: u32) -> Result<Pinned, Error> {
        let _ = (also, limit);
        Err(Error::unavailable("not built yet"))
    }

    /// Sets of resources that were in force, the last one first.
    pub fn revisions(&self, limit: u32) -> Result<Vec<RevisionRow>, Error> {
        let _ = limit;
        Err(Error::unavailable("not built yet"))
    }

    /// The documents of a set that was in force.
    pub fn revision_text(&self, digest: &Digest) -> Result<Option<String>, Error> {
        let _ = digest;
        Err(Error::unavailable("not built yet"))
    }

    /// Jobs, newest first.
    pub fn jobs(&self, limit: u32) -> Result<Vec<JobRow>, Error> {
        let _ = limit;
        Err(Error::unavailable("not built yet"))
    }

    /// One job.
    pub fn job(&self, id: &str) -> Result<Option<JobRow>, Error> {
        let _ = id;
        Err(Error::unavailable("not built yet"))
    }
}
