//! The store itself: what is open, what is being written, what is where.

use crate::blob::{Blob, OpenBlob};
use crate::cache::OpenBlobs;
use crate::dir::BlobDir;
use crate::disk::Disk;
use crate::error::Error;
use crate::layout::{self, Layout, Temp};
use crate::limit::WriteLimit;
use crate::object::ObjectWaits;
use crate::part::Part;
use crate::place::Place;
use crate::places::{Home, OpenPlace};
use crate::rescue::Rescue;
use crate::take_in::Sending;
use crate::uploads::Sessions;
use bytes::Bytes;
use oci::Digest;
use parking_lot::{Mutex, MutexGuard, RwLock};
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
    /// For tests: how long object stores may take.
    #[doc(hidden)]
    pub object_waits: ObjectWaits,
}

impl Options {
    /// The default bounds.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            open_blobs_max: OPEN_BLOBS_MAX,
            mapped_max_bytes: MAPPED_MAX_BYTES,
            fail_writes_after_bytes: None,
            object_waits: ObjectWaits::default(),
        }
    }
}

/// Artifact bytes: staged below one data directory, which belongs to this process, and kept in the
/// places that are set. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    opens: Arc<OpenBlobs>,
    data_dir: OpenPlace,
    /// Written to: the first; read: all, in order. Never empty.
    places: RwLock<Arc<[OpenPlace]>>,
    object_waits: ObjectWaits,
    /// Held while a name in a place and the cache change together, so that the cache never keeps
    /// what was removed. The number counts removals: an object is asked for without the lock, and
    /// what was removed meanwhile is asked for again.
    turns: [Mutex<u64>; TURNS],
    /// Parts that are open, or being removed.
    claims: Mutex<HashSet<Digest>>,
    /// Staged files on their way to an object store.
    sends: Sending,
    /// Blobs on their way from place to place.
    copies: Sending,
    sessions: Sessions,
    rescue: Rescue,
    limit: WriteLimit,
}

impl Store {
    /// Blocks: makes the directories and nothing else; what lies in them is not looked at. Blobs lie
    /// in the data directory until [`Store::set_places`] says otherwise.
    pub fn open(options: Options) -> Result<Self, Error> {
        let layout = Layout::create(&options.data_dir)?;
        let blobs = BlobDir::create(layout.blobs().to_owned())?;
        let data_dir = OpenPlace::new(Place::DataDir, Home::Dir(blobs));
        let inner = Inner {
            layout,
            opens: OpenBlobs::new(options.open_blobs_max, options.mapped_max_bytes),
            places: RwLock::new(Arc::new([data_dir.clone()])),
            data_dir,
            object_waits: options.object_waits,
            turns: std::array::from_fn(|_| Mutex::new(0)),
            claims: Mutex::default(),
            sends: Sending::default(),
            copies: Sending::default(),
            sessions: Sessions::default(),
            rescue: Rescue::default(),
            limit: WriteLimit::new(options.fail_writes_after_bytes),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A blob that is open already. Never blocks; `None` says nothing about the places.
    pub fn cached(&self, digest: &Digest) -> Option<Blob> {
        self.inner.opens.get(digest).map(Blob::new)
    }

    /// Blocks: keeps bytes under their digest and returns when they will survive a crash.
    /// [`Error::WrongDigest`] when they are not its bytes; then nothing was written.
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<Blob, Error> {
        let place = self.first_place();
        let path = place.name(digest);
        let found = Digest::of(digest.algorithm(), bytes);
        if found != *digest {
            let (wanted, found) = (Box::new(*digest), Box::new(found));
            return Err(Error::WrongDigest { path, wanted, found });
        }
        match place.home() {
            Home::Dir(dir) => self.put_in_dir(&place, dir, digest, bytes),
            Home::Object(object) => {
                let there = self.find_in(&place, digest)?;
                if let Some(blob) = there.filter(|blob| blob.size_bytes() == bytes.len() as u64) {
                    return Ok(blob);
                }
                let removals = self.removals(digest);
                object.put(digest, &Bytes::copy_from_slice(bytes))?;
                Ok(self.open_object(&place, digest, bytes.len() as u64, removals).0)
            }
        }
    }

    fn put_in_dir(
        &self,
        place: &OpenPlace,
        dir: &BlobDir,
        digest: &Digest,
        bytes: &[u8],
    ) -> Result<Blob, Error> {
        let shard = dir.shard(self.layout(), digest)?;
        let there = self.find_in(place, digest)?;
        if let Some(blob) = there.filter(|blob| blob.size_bytes() == bytes.len() as u64) {
            // Whoever renamed it may not have come to this yet.
            layout::sync_dir(&shard)?;
            return Ok(blob);
        }
        let (temp, mut file) = Temp::create(self.layout(), &shard)?;
        self.write_all(&mut file, bytes).map_err(|error| Error::io("write", temp.path(), error))?;
        file.sync_all().map_err(|error| Error::io("sync", temp.path(), error))?;
        drop(file);
        let path = dir.file(digest);
        let turn = self.turn(digest);
        temp.rename(&path)?;
        let blob = self.open_in_turn(place, digest, &turn)?.ok_or(Error::Absent { path })?;
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

    pub(crate) fn rescue(&self) -> &Rescue {
        &self.inner.rescue
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    pub(crate) fn limit(&self) -> &WriteLimit {
        &self.inner.limit
    }

    pub(crate) fn sends(&self) -> &Sending {
        &self.inner.sends
    }

    pub(crate) fn copies(&self) -> &Sending {
        &self.inner.copies
    }

    pub(crate) fn data_dir(&self) -> &OpenPlace {
        &self.inner.data_dir
    }

    pub(crate) fn object_waits(&self) -> ObjectWaits {
        self.inner.object_waits
    }

    pub(crate) fn open_places(&self) -> Arc<[OpenPlace]> {
        self.inner.places.read().clone()
    }

    /// The place that is written to.
    pub(crate) fn first_place(&self) -> OpenPlace {
        let places = self.open_places();
        places.first().unwrap_or(&self.inner.data_dir).clone()
    }

    /// What is open in a place that is not among them is not found there any more.
    pub(crate) fn replace_places(&self, places: Arc<[OpenPlace]>) {
        let mut now = self.inner.places.write();
        *now = places.clone();
        self.inner.opens.retain(|blob| places.iter().any(|place| place.is(blob.place())));
    }

    /// Takes a blob into the cache, unless its place was given up meanwhile.
    pub(crate) fn keep_open(&self, open: &Arc<OpenBlob>, _turn: &MutexGuard<'_, u64>) {
        let places = self.inner.places.read();
        if places.iter().any(|place| place.is(open.place())) {
            self.inner.opens.insert(open);
        }
    }

    /// Waits until no one else opens, names or removes this blob.
    pub(crate) fn turn(&self, digest: &Digest) -> MutexGuard<'_, u64> {
        let first = digest.as_bytes().first().copied().unwrap_or_default();
        self.inner.turns[usize::from(first) % TURNS].lock()
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

    pub(crate) fn write_all(&self, file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let allowed = self.inner.limit.take(bytes.len())?;
            file.write_all(&bytes[..allowed])?;
            bytes = &bytes[allowed..];
        }
        Ok(())
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
