//! The handle others hold: reads answered on the spot, writes handed to the writer.

mod hosted;

use crate::read::{content, history, keep, manifests, names, pins, tags};
use crate::readers::Readers;
use crate::rows::*;
use crate::write::{self, Place, Queue};
use crate::{Batch, Error, Ticket, file};
use jiff::Timestamp;
use oci::{Digest, Name, Tag};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The metadata database. Cheap to clone; the last clone that goes takes the writer with it, after
/// what waits is written. [`Catalog::close`] waits for that.
#[derive(Clone)]
pub struct Catalog(Arc<Shared>);

struct Shared {
    queue: Arc<Queue>,
    readers: Arc<Readers>,
}

/// How long a writer that nobody holds any more tries to write what waits.
const ORPHAN_TIME: Duration = Duration::from_secs(5);

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.begin_close(Instant::now() + ORPHAN_TIME);
    }
}

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
    /// Opens the database at `path`, or makes it; its directory must be there. An older schema is
    /// migrated after a copy was put beside the file; a broken file is moved aside, loudly. One that
    /// can be read and not written is read: [`Status::problem`] says so, and what is submitted waits
    /// until it can be written. Other processes cannot open the file until it is closed.
    ///
    /// # Errors
    /// [`Error::Newer`] and [`Error::NotOurs`] leave the file as it is; [`Error::Unavailable`] when
    /// it is locked or cannot be read, and [`Error::File`] when it cannot be moved or copied.
    pub fn open(path: &Path) -> Result<(Self, Opened), Error> {
        let readers = Arc::new(Readers::of_file(path.to_owned()));
        let queue = Arc::new(Queue::default());
        let (open, opened) = match file::open(path) {
            Ok((open, opened)) => {
                readers.found(&opened);
                readers.renew(open.identity());
                (Some(open), opened)
            }
            Err(error) if readers.freeze_after(&error, path) => {
                queue.trouble(error.describe());
                (None, Opened::Existing)
            }
            Err(error) => return Err(error),
        };
        let place = Place::File { path: path.to_owned(), open };
        Ok((Self::start(path, queue, readers, place)?, opened))
    }

    /// A database that lives as long as the process: for tests, and to serve at all when the one on
    /// disk cannot be opened.
    pub fn in_memory() -> Result<Self, Error> {
        let connection = Arc::new(Mutex::new(file::open_in_memory()?));
        let readers = Arc::new(Readers::in_memory(connection.clone()));
        Self::start(Path::new(":memory:"), Arc::default(), readers, Place::Memory(connection))
    }

    fn start(
        path: &Path,
        queue: Arc<Queue>,
        readers: Arc<Readers>,
        place: Place,
    ) -> Result<Self, Error> {
        write::start(queue.clone(), readers.clone(), place)
            .map_err(|source| Error::File { path: path.to_owned(), source })?;
        Ok(Self(Arc::new(Shared { queue, readers })))
    }

    /// Hands a batch to the writer. Never blocks. Batches are written in the order in which they
    /// were submitted, whether or not anybody waits for the ticket.
    pub fn submit(&self, batch: Batch) -> Ticket {
        self.0.queue.submit(batch)
    }

    /// How the catalog stands, from memory.
    pub fn status(&self) -> Status {
        self.0.queue.status()
    }

    /// How often this process began a fresh database, at the start or because the one it had was
    /// deleted or broken. From memory. Grows before anything is read from a fresh one: what is asked
    /// after a read tells whether it was of the database that one knows.
    pub fn fresh_starts(&self) -> u64 {
        self.0.readers.fresh()
    }

    /// Whether what is written outlives the process.
    pub fn is_durable(&self) -> bool {
        self.0.readers.is_of_file()
    }

    /// Takes no more writes, writes what waits, and closes the file with nothing left in its log.
    /// Blocks up to about `timeout`; what is not written then is lost, and counted. `false`: not all
    /// of that was done. Reads fail afterwards.
    pub fn close(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.0.queue.begin_close(deadline);
        self.0.queue.wait_closed(deadline)
    }
}

impl Catalog {
    /// One read.
    pub(crate) fn read<T>(
        &self,
        question: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.0.readers.with(question)
    }
}

/// Reads. They block for as long as a short query takes; when the database is locked, unreadable or
/// gone they fail within a quarter of a second, as [`Error::Unavailable`].
impl Catalog {
    /// What a tag names.
    pub fn tag(&self, name: &Name, tag: &Tag) -> Result<Option<TagRow>, Error> {
        self.0.readers.with(|c| tags::tag(c, name, tag))
    }

    /// What a name holds under a digest.
    pub fn content(&self, name: &Name, digest: &Digest) -> Result<Option<ContentRow>, Error> {
        self.0.readers.with(|c| content::content(c, name, digest))
    }

    /// What is known of a manifest.
    pub fn manifest(&self, digest: &Digest) -> Result<Option<ManifestRow>, Error> {
        self.0.readers.with(|c| manifests::manifest(c, digest))
    }

    /// Manifests that are content of `name`, as manifests, and list `child`, last used first. One that
    /// lists it in two roles is there twice, side by side.
    pub fn listed_by(&self, name: &Name, child: &Digest, limit: u32) -> Result<Vec<Listed>, Error> {
        self.0.readers.with(|c| manifests::listed_by(c, name, child, limit))
    }

    /// Indexes that are content of `name`, as manifests, and list `child` as one of their manifests, last
    /// used first.
    pub fn parents(&self, name: &Name, child: &Digest, limit: u32) -> Result<Vec<Digest>, Error> {
        self.0.readers.with(|c| manifests::parents(c, name, child, limit))
    }

    /// Manifests that list a digest, under whatever name, in order of digest.
    pub fn parents_of(&self, digest: &Digest, limit: u32) -> Result<Vec<Digest>, Error> {
        self.0.readers.with(|c| manifests::parents_of(c, digest, limit))
    }

    /// Manifests that are content of `name` and refer to `subject`, in order of digest.
    pub fn referrers(
        &self,
        name: &Name,
        subject: &Digest,
        limit: u32,
    ) -> Result<Vec<ReferrerRow>, Error> {
        self.0.readers.with(|c| manifests::referrers(c, name, subject, limit))
    }

    /// Whether some name holds it that needed no credential. What is hosted does not count.
    pub fn is_public_somewhere(&self, digest: &Digest) -> Result<bool, Error> {
        self.0.readers.with(|c| content::is_public_somewhere(c, digest))
    }

    /// Names that hold a digest, in order.
    pub fn holders(&self, digest: &Digest, limit: u32) -> Result<Vec<Name>, Error> {
        self.0.readers.with(|c| content::holders(c, digest, limit))
    }

    /// A kept answer of an upstream.
    pub fn listing(&self, name: &Name, what: &ListingKey) -> Result<Option<Listing>, Error> {
        self.0.readers.with(|c| content::listing(c, name, what))
    }

    /// Tags of a name that are not gone, in byte order, after one of them.
    pub fn tags(&self, name: &Name, after: Option<&str>, limit: u32) -> Result<Vec<Tag>, Error> {
        self.0.readers.with(|c| tags::tags(c, name, after, limit))
    }

    /// Names that have content or tags, in byte order, after one of them.
    pub fn names(&self, after: Option<&Name>, limit: u32) -> Result<Vec<Name>, Error> {
        self.0.readers.with(|c| names::names(c, after, limit))
    }

    /// What the cache holds, in order of name and digest, after a row of the page before.
    pub fn cached(
        &self,
        filter: &CacheFilter,
        after: Option<&CacheCursor>,
        limit: u32,
    ) -> Result<Vec<CachedRow>, Error> {
        self.0.readers.with(|c| names::cached(c, filter, after, limit))
    }

    /// How long a blob is that the store has, as was written when its bytes had been hashed.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.0.readers.with(|c| keep::blob_size(c, digest))
    }

    /// Whether not one blob is known: a new catalog, or one that took the place of a lost one.
    pub fn is_without_blobs(&self) -> Result<bool, Error> {
        self.0.readers.with(keep::is_without_blobs)
    }

    /// How much is kept. Counts every row: for people and for housekeeping, not for requests.
    pub fn usage(&self) -> Result<Usage, Error> {
        self.0.readers.with(keep::usage)
    }

    /// Blobs that are present, not condemned and not held by hosted content, least recently used
    /// first; of equal age, manifests last.
    pub fn victims(&self, after: Option<&VictimCursor>, limit: u32) -> Result<Vec<Victim>, Error> {
        self.0.readers.with(|c| keep::victims(c, after, limit))
    }

    /// Content of one repository that is not hosted and whose blob is present and not condemned,
    /// least recently used first; of equal age, manifests last. Where others hold it, the blob may be
    /// theirs to keep.
    pub fn victims_of(
        &self,
        repository: &str,
        after: Option<&VictimCursor>,
        limit: u32,
    ) -> Result<Vec<VictimContent>, Error> {
        self.0.readers.with(|c| keep::victims_of(c, repository, after, limit))
    }

    /// Blobs condemned at or before a time, longest first; those whose removal began are among
    /// them.
    pub fn condemned(&self, before: Timestamp, limit: u32) -> Result<Vec<Digest>, Error> {
        self.0.readers.with(|c| keep::condemned(c, before, limit))
    }

    /// All pins, in order of name and reference.
    pub fn pins(&self) -> Result<Vec<PinRow>, Error> {
        self.0.readers.with(pins::pins)
    }

    /// Every digest reached from a pin or from one of the given tags, followed through what
    /// manifests list, at most `limit` of them.
    pub fn pinned_digests(&self, also: &[(Name, Tag)], limit: u32) -> Result<Pinned, Error> {
        self.0.readers.with(|c| pins::pinned_digests(c, also, limit))
    }

    /// Sets of resources that were in force, the last one first.
    pub fn revisions(&self, limit: u32) -> Result<Vec<RevisionRow>, Error> {
        self.0.readers.with(|c| history::revisions(c, limit))
    }

    /// The documents of a set that was in force.
    pub fn revision_text(&self, digest: &Digest) -> Result<Option<String>, Error> {
        self.0.readers.with(|c| history::revision_text(c, digest))
    }

    /// Jobs, newest first.
    pub fn jobs(&self, limit: u32) -> Result<Vec<JobRow>, Error> {
        self.0.readers.with(|c| history::jobs(c, limit))
    }

    /// One job.
    pub fn job(&self, id: &str) -> Result<Option<JobRow>, Error> {
        self.0.readers.with(|c| history::job(c, id))
    }
}
