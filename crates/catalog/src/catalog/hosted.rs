//! Reads about hosted content, and what moves a whole catalog: backup and its check.

use super::Catalog;
use crate::hosted::*;
use crate::read::{hosted, mark, names};
use crate::rows::ContentRow;
use crate::{Error, backup};
use oci::{Digest, Name, Tag};
use std::ops::ControlFlow;
use std::path::Path;

impl Catalog {
    /// What hosted content a repository holds. Costs one row, whatever there is.
    pub fn hosted_use(&self, repository: &str) -> Result<HostedUse, Error> {
        self.0.readers.with(|c| hosted::hosted_use(c, repository))
    }

    /// About how many bytes of a repository no tag, index or subject keeps: looks at the `look_at`
    /// least recently used hosted manifests. A layer that tagged manifests share counts as well. For
    /// the text of a refusal; what really goes is said by [`Self::mark`].
    pub fn untagged_bytes(&self, repository: &str, look_at: u32) -> Result<u64, Error> {
        self.0.readers.with(|c| hosted::untagged_bytes(c, repository, look_at))
    }

    /// Those of the digests that are not content of the name with their bytes in the store.
    pub fn missing(&self, name: &Name, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
        self.0.readers.with(|c| hosted::missing(c, name, digests))
    }

    /// Tags of a name, in byte order, after one of them; those marked gone are among them.
    pub fn tag_entries(
        &self,
        name: &Name,
        after: Option<&Tag>,
        limit: u32,
    ) -> Result<Vec<TagEntry>, Error> {
        self.0.readers.with(|c| hosted::tag_entries(c, name, after, limit))
    }

    /// Tags of a name that name a digest, in byte order.
    pub fn tags_naming(&self, name: &Name, digest: &Digest, limit: u32) -> Result<Vec<Tag>, Error> {
        self.0.readers.with(|c| hosted::tags_naming(c, name, digest, limit))
    }

    /// Names of one repository that have content or tags, in byte order, after one of them.
    pub fn names_of(
        &self,
        repository: &str,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<Name>, Error> {
        self.0.readers.with(|c| names::names_of(c, repository, after, limit))
    }

    /// The number of the last change of a name's hosted manifests, tags or pins; none is used twice.
    /// `None`: it has neither content nor tags.
    pub fn name_change(&self, name: &Name) -> Result<Option<u64>, Error> {
        self.0.readers.with(|c| names::change(c, name))
    }

    /// What a name holds, in order of digest, after one of them.
    pub fn contents(
        &self,
        name: &Name,
        after: Option<&Digest>,
        limit: u32,
    ) -> Result<Vec<(Digest, ContentRow)>, Error> {
        self.0.readers.with(|c| hosted::contents(c, name, after, limit))
    }

    /// Names that hold a digest as hosted content, in order.
    pub fn hosted_holders(&self, digest: &Digest, limit: u32) -> Result<Vec<Name>, Error> {
        self.0.readers.with(|c| hosted::hosted_holders(c, digest, limit))
    }

    /// Hosted content whose bytes are not in the store, in order of name and digest, after one of
    /// them.
    pub fn lost(
        &self,
        after: Option<&(Name, Digest)>,
        limit: u32,
    ) -> Result<Vec<(Name, Digest)>, Error> {
        self.0.readers.with(|c| hosted::lost(c, after, limit))
    }

    /// All bytes that are in the store, in order of digest, after one of them.
    pub fn blob_rows(&self, after: Option<&Digest>, limit: u32) -> Result<Vec<BlobRow>, Error> {
        self.0.readers.with(|c| hosted::blob_rows(c, after, limit))
    }

    /// Whether all hosted names of the store are known here: [`Batch::set_complete`] was written.
    /// A fresh database is not complete, whatever is written to it.
    ///
    /// [`Batch::set_complete`]: crate::Batch::set_complete
    pub fn is_complete(&self) -> Result<bool, Error> {
        self.0.readers.with(hosted::is_complete)
    }

    /// Finds the hosted content of a name that nothing needs. Alive are: what a tag or a pin names,
    /// manifests used lately; from there what indexes list, at any depth, manifests whose subject is
    /// alive, and what evidence tags (`sha256-<hex>`, also with `.sig`, `.att` or `.sbom`) of a live
    /// subject name; and the blobs that live manifests list, or that were used lately. An evidence
    /// tag whose subject is no hosted content of the name is a tag as any other. Manifests that are not
    /// hosted live too, as long as they are there.
    ///
    /// Reads every row of the name, as of one moment; takes memory for its manifests. For background
    /// work.
    pub fn mark(&self, name: &Name, query: &MarkQuery<'_>) -> Result<Marked, Error> {
        self.0.readers.with(|c| mark::mark(c, name, query))
    }

    /// Copies the database, as of one moment, to a new file at `path`, while reads and writes go on.
    /// The file appears there when it is complete and durable; it is nobody else's to read. To go back
    /// to it, put it in the catalog's place before that is opened. `progress` is told, after every
    /// megabyte, how many pages are left, and of how many; it may end the work, and may take its time.
    ///
    /// # Errors
    /// [`Error::Stopped`] when `progress` ended it; [`Error::File`] when the file is there already or
    /// cannot be made; [`Error::Unavailable`] when the catalog does not answer.
    pub fn backup(
        &self,
        path: &Path,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        backup::run(&self.0.readers, path, progress)
    }

    /// Whether a file is a catalog that this program can open, sound from end to end, and of which
    /// schema. Looks at the file alone, not at a log beside it. Not for a file that anybody has open:
    /// closing it would end the locks of this process on it (fcntl(2)).
    ///
    /// # Errors
    /// [`Error::NotOurs`], [`Error::Newer`], or [`Error::Unavailable`] when it is broken or cannot be
    /// read.
    pub fn check_file(path: &Path) -> Result<SchemaVersion, Error> {
        backup::check(path)
    }
}
