//! The store itself: what is open, what is being written, what is where.

use crate::blob::{Blob, OpenBlob};
use crate::cache::OpenBlobs;
use crate::disk::Disk;
use crate::error::Error;
use crate::layout::{self, Layout, Temp};
use crate::limit::WriteLimit;
use crate::part::Part;
use crate::uploads::Sessions;
use oci::{Algorithm, Digest};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Open files of committed blobs kept; protects the process's file descriptors.
const OPEN_BLOBS_MAX: usize = 1024;
/// Address space for mappings; protects page tables (2 MiB of them per GiB that is touched).
const MAPPED_MAX_BYTES: u64 = 64 << 30;
/// Locks that order opening and unlinking of one digest; more means fewer chance meetings.
const TURNS: usize = 64;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory that holds `blobs`, `fills` and `uploads`; made if it is not there.
    pub data_dir: PathBuf,
    /// Committed blobs kept open, at most; each takes a file descriptor.
    pub open_blobs_max: usize,
    /// Address space for mapped blobs and parts, at most. Beyond it bytes are copied.
    pub mapped_max_bytes: u64,
    /// For tests: the disk is full after so many bytes of artifacts.
    #[doc(hidden)]
    pub fail_writes_after_bytes: Option<u64>,
}

impl Options {
    /// The default bounds.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            open_blobs_max: OPEN_BLOBS_MAX,
            mapped_max_bytes: MAPPED_MAX_BYTES,
            fail_writes_after_bytes: None,
        }
    }
}

/// Artifact bytes below one data directory, which belongs to this process. Clones are the same
/// store.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    opens: Arc<OpenBlobs>,
    /// Held while a name under `blobs` and the cache change together, so that the cache never
    /// keeps what was unlinked.
    turns: [Mutex<()>; TURNS],
    /// Parts that are open, or being removed.
    claims: Mutex<HashSet<Digest>>,
    sessions: Sessions,
    /// Shards made sure of, and rid of what an earlier process left, since start.
    shards: Mutex<HashSet<(Algorithm, u8)>>,
    limit: WriteLimit,
}

impl Store {
    /// Blocks: makes the directories and nothing else; what lies in them is not looked at.
    pub fn open(options: Options) -> Result<Self, Error> {
        let layout = Layout::create(&options.data_dir)?;
        let inner = Inner {
            layout,
            opens: OpenBlobs::new(options.open_blobs_max, options.mapped_max_bytes),
            turns: std::array::from_fn(|_| Mutex::new(())),
            claims: Mutex::default(),
            sessions: Sessions::default(),
            shards: Mutex::default(),
            limit: WriteLimit::new(options.fail_writes_after_bytes),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A blob that is open already. Never blocks; `None` says nothing about the disk.
    pub fn cached(&self, digest: &Digest) -> Option<Blob> {
        self.inner.opens.get(digest).map(Blob::new)
    }

    /// Blocks: a blob, opened if it is there.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Blob>, Error> {
        if let Some(blob) = self.cached(digest) {
            return Ok(Some(blob));
        }
        let turn = self.turn(digest);
        match self.cached(digest) {
            Some(blob) => Ok(Some(blob)),
            None => self.open_in_turn(digest, &turn),
        }
    }

    /// Blocks: keeps bytes under their digest and returns when they will survive a crash.
    /// [`Error::WrongDigest`] when they are not its bytes; then nothing was written.
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<Blob, Error> {
        let path = self.layout().blob(digest);
        let found = Digest::of(digest.algorithm(), bytes);
        if found != *digest {
            let (wanted, found) = (Box::new(*digest), Box::new(found));
            return Err(Error::WrongDigest { path, wanted, found });
        }
        let shard = self.shard(digest)?;
        if let Some(blob) = self.blob(digest)?
            && blob.size_bytes() == bytes.len() as u64
        {
            // Whoever renamed it may not have come to this yet.
            layout::sync_dir(&shard)?;
            return Ok(blob);
        }
        let (temp, mut file) = Temp::create(self.layout(), &shard)?;
        self.write_all(&mut file, bytes).map_err(|error| Error::io("write", temp.path(), error))?;
        file.sync_all().map_err(|error| Error::io("sync", temp.path(), error))?;
        drop(file);
        let turn = self.turn(digest);
        temp.rename(&path)?;
        let blob = self.open_in_turn(digest, &turn)?.ok_or(Error::Absent { path })?;
        drop(turn);
        layout::sync_dir(&shard)?;
        Ok(blob)
    }

    /// Blocks: the part of a digest, begun if there is none. [`Error::Busy`] while another
    /// [`Part`] of it is open.
    pub fn part(&self, digest: &Digest) -> Result<Part, Error> {
        Part::open(self, digest)
    }

    /// Blocks: removes a part that is not open, and what was kept beside it.
    pub fn remove_part(&self, digest: &Digest) -> Result<(), Error> {
        let _claim = self.claim(digest)?;
        layout::unlink(&self.layout().part(digest))?;
        layout::unlink(&self.layout().validators(digest))?;
        Ok(())
    }

    /// Blocks: unlinks a blob and says how long it was; `None` if it was not there. Who has it
    /// open goes on reading; from now on it is not found and not counted by [`Store::is_read`].
    ///
    /// Not synced: after a loss of power the blob may be there again, whole.
    pub fn remove(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let path = self.layout().blob(digest);
        let _turn = self.turn(digest);
        let size_bytes = match std::fs::symlink_metadata(&path) {
            Ok(metadata) => Some(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("look at", &path, error)),
        };
        self.inner.opens.forget(digest);
        Ok(if layout::unlink(&path)? { size_bytes } else { None })
    }

    /// Blocks briefly: what is mapped but was not read since the last call no longer counts as
    /// memory of this process; it stays open and in the page cache. For housekeeping to call now
    /// and then.
    pub fn trim(&self) {
        for mapping in self.inner.opens.idle_mappings() {
            mapping.release_pages();
        }
    }

    /// Whether somebody holds the blob or a stream of it. Never blocks.
    pub fn is_read(&self, digest: &Digest) -> bool {
        self.inner.opens.is_read(digest)
    }

    /// Blocks briefly: space and inodes of the file system.
    pub fn disk(&self) -> Result<Disk, Error> {
        Disk::of(self.layout().fills())
    }

    /// For tests: the disk takes so many more bytes of artifacts; `None`: as many as it really
    /// does.
    #[doc(hidden)]
    pub fn fail_writes_after_bytes(&self, bytes: Option<u64>) {
        self.inner.limit.set(bytes);
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    pub(crate) fn opens(&self) -> &Arc<OpenBlobs> {
        &self.inner.opens
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    pub(crate) fn limit(&self) -> &WriteLimit {
        &self.inner.limit
    }

    /// Waits until no one else opens, names or unlinks this blob.
    pub(crate) fn turn(&self, digest: &Digest) -> MutexGuard<'_, ()> {
        let first = digest.as_bytes().first().copied().unwrap_or_default();
        self.inner.turns[usize::from(first) % TURNS].lock()
    }

    /// Opens what is on disk under a digest and takes it into the cache.
    pub(crate) fn open_in_turn(
        &self,
        digest: &Digest,
        _turn: &MutexGuard<'_, ()>,
    ) -> Result<Option<Blob>, Error> {
        let path = self.layout().blob(digest);
        let file = match self.with_descriptors(|| layout::open_blob(&path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        let metadata = file.metadata().map_err(|error| Error::io("look at", &path, error))?;
        if !metadata.is_file() {
            return Err(Error::io("open", &path, io::Error::from(io::ErrorKind::InvalidInput)));
        }
        let opens = &self.inner.opens;
        let open = Arc::new(OpenBlob::new(*digest, path, metadata.len(), file, opens));
        opens.insert(&open);
        Ok(Some(Blob::new(open)))
    }

    /// Opens a file; when the process is out of file descriptors, closes some and tries once more.
    pub(crate) fn with_descriptors<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let opened = open();
        match opened.as_ref().err().and_then(io::Error::raw_os_error) {
            Some(libc::EMFILE | libc::ENFILE) => {
                tracing::warn!("no file descriptors left; closing half of the blobs that are open");
                self.inner.opens.close_half();
                open()
            }
            _ => opened,
        }
    }

    fn write_all(&self, file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let allowed = self.inner.limit.take(bytes.len())?;
            file.write_all(&bytes[..allowed])?;
            bytes = &bytes[allowed..];
        }
        Ok(())
    }

    /// The directory of a digest. The first time since start it is made, and what a killed process
    /// left half written in it is removed, so that start-up need not look for it.
    pub(crate) fn shard(&self, digest: &Digest) -> Result<PathBuf, Error> {
        let path = self.layout().shard_dir(digest);
        let first = digest.as_bytes().first().copied().unwrap_or_default();
        let key = (digest.algorithm(), first);
        if self.inner.shards.lock().contains(&key) {
            return Ok(path);
        }
        layout::make_dir_durably(&path)?;
        for entry in std::fs::read_dir(&path).map_err(|error| Error::io("list", &path, error))? {
            let entry = entry.map_err(|error| Error::io("list", &path, error))?;
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| self.layout().is_stale_temp(name)) {
                layout::unlink(&entry.path())?;
            }
        }
        self.inner.shards.lock().insert(key);
        Ok(path)
    }

    /// Makes this the only user of a part.
    pub(crate) fn claim(&self, digest: &Digest) -> Result<Claim, Error> {
        if !self.inner.claims.lock().insert(*digest) {
            return Err(Error::Busy { path: self.layout().part(digest) });
        }
        Ok(Claim { store: self.clone(), digest: *digest })
    }
}

/// The right to touch a part; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    store: Store,
    digest: Digest,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.store.inner.claims.lock().remove(&self.digest);
    }
}
