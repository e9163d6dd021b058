//! The store itself: what is open, what is being written, what is where.

use crate::blob::{Blob, OpenBlob};
use crate::cache::OpenBlobs;
use crate::dir::BlobDir;
use crate::disk::Disk;
use crate::error::Error;
use crate::layout::{self, Layout, Temp};
use crate::limit::WriteLimit;
use crate::object::{ObjectPlace, ObjectWaits};
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
/// Times an object is asked for while others are being removed beside it.
const FIND_TRIES: usize = 4;

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

    /// Blocks: a blob, opened if a place has it. An object store that cannot be asked is an error
    /// and never `None`; the places behind it are then not asked either.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Blob>, Error> {
        if let Some(blob) = self.cached(digest) {
            return Ok(Some(blob));
        }
        for place in self.open_places().iter() {
            if let Some(blob) = self.find_in(place, digest)? {
                return Ok(Some(blob));
            }
        }
        Ok(None)
    }

    /// A blob of one place.
    pub(crate) fn find_in(
        &self,
        place: &OpenPlace,
        digest: &Digest,
    ) -> Result<Option<Blob>, Error> {
        match place.home() {
            Home::Dir(_) => {
                let turn = self.turn(digest);
                match self.cached(digest).filter(|blob| blob.place().is(place)) {
                    Some(blob) => Ok(Some(blob)),
                    None => self.open_in_turn(place, digest, &turn),
                }
            }
            Home::Object(object) => self.find_object(place, object, digest),
        }
    }

    fn find_object(
        &self,
        place: &OpenPlace,
        object: &ObjectPlace,
        digest: &Digest,
    ) -> Result<Option<Blob>, Error> {
        if let Some(blob) = self.cached(digest).filter(|blob| blob.place().is(place)) {
            return Ok(Some(blob));
        }
        let mut blob = None;
        for _ in 0..FIND_TRIES {
            let removals = self.removals(digest);
            let Some(found) = object.find(digest)? else { return Ok(None) };
            let (open, is_kept) = self.open_object(place, digest, found.size_bytes, removals);
            blob = Some(open);
            if is_kept {
                break;
            }
        }
        // When much is being removed, and maybe not this one, it is not kept open in the end, and so
        // nothing is kept wrong.
        Ok(blob)
    }

    /// Opens an object that was seen, or written, after so many removals. Whether it is in the cache
    /// now: not when something was removed meanwhile.
    pub(crate) fn open_object(
        &self,
        place: &OpenPlace,
        digest: &Digest,
        size_bytes: u64,
        removals: u64,
    ) -> (Blob, bool) {
        let open = OpenBlob::new(*digest, place, size_bytes, None, &self.inner.opens);
        let open = Arc::new(open);
        let turn = self.turn(digest);
        let is_kept = *turn == removals;
        if is_kept {
            self.keep_open(&open, &turn);
        }
        (Blob::new(open), is_kept)
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
        let is_whole = |blob: &Blob| blob.size_bytes() == bytes.len() as u64;
        match place.home() {
            Home::Dir(dir) => {
                let shard = dir.shard(self.layout(), digest)?;
                if let Some(blob) = self.find_in(&place, digest)?.filter(is_whole) {
                    // Whoever renamed it may not have come to this yet.
                    layout::sync_dir(&shard)?;
                    return Ok(blob);
                }
                let (temp, mut file) = Temp::create(self.layout(), &shard)?;
                self.write_all(&mut file, bytes)
                    .map_err(|error| Error::io("write", temp.path(), error))?;
                file.sync_all().map_err(|error| Error::io("sync", temp.path(), error))?;
                drop(file);
                let turn = self.turn(digest);
                temp.rename(&path)?;
                let blob =
                    self.open_in_turn(&place, digest, &turn)?.ok_or(Error::Absent { path })?;
                drop(turn);
                layout::sync_dir(&shard)?;
                Ok(blob)
            }
            Home::Object(object) => {
                if let Some(blob) = self.find_object(&place, object, digest)?.filter(is_whole) {
                    return Ok(blob);
                }
                let removals = self.removals(digest);
                object.put(digest, &Bytes::copy_from_slice(bytes))?;
                Ok(self.open_object(&place, digest, bytes.len() as u64, removals).0)
            }
        }
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

    /// Blocks: removes a blob from all places and says how long it was; `None` if none had it. Who
    /// has it open goes on reading, from an object store only as far as was read ahead; from now on
    /// it is not found and not counted by [`Store::is_read`]. After an error it may be there still.
    ///
    /// Not synced: after a loss of power the blob may be there again, whole.
    pub fn remove(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let (mut removed, mut failed) = (None, None);
        for place in self.open_places().iter() {
            match self.remove_from(place, digest) {
                Ok(size_bytes) => removed = removed.or(size_bytes),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(removed), Err)
    }

    /// Removes a blob from one place; how long it was, if it was there.
    pub(crate) fn remove_from(
        &self,
        place: &OpenPlace,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        match place.home() {
            Home::Dir(dir) => {
                let path = dir.file(digest);
                let mut turn = self.turn(digest);
                let size_bytes = match std::fs::symlink_metadata(&path) {
                    Ok(metadata) => Some(metadata.len()),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(error) => return Err(Error::io("look at", &path, error)),
                };
                *turn += 1;
                self.inner.opens.forget(digest);
                Ok(if layout::unlink(&path)? { size_bytes } else { None })
            }
            Home::Object(object) => {
                let Some(found) = object.find(digest)? else {
                    self.forget(digest);
                    return Ok(None);
                };
                self.forget(digest);
                let removed = object.remove(digest);
                // Who asked before it was removed must not keep it open.
                self.forget(digest);
                removed.map(|()| Some(found.size_bytes))
            }
        }
    }

    /// How many removals there were among the digests that share a turn with this one.
    pub(crate) fn removals(&self, digest: &Digest) -> u64 {
        *self.turn(digest)
    }

    /// Counts a removal of the digest and closes it.
    pub(crate) fn forget(&self, digest: &Digest) {
        *self.turn(digest) += 1;
        self.inner.opens.forget(digest);
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
    fn keep_open(&self, open: &Arc<OpenBlob>, _turn: &MutexGuard<'_, u64>) {
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

    /// Opens the file that lies under a digest in a directory and takes it into the cache.
    pub(crate) fn open_in_turn(
        &self,
        place: &OpenPlace,
        digest: &Digest,
        turn: &MutexGuard<'_, u64>,
    ) -> Result<Option<Blob>, Error> {
        let path = place.name(digest);
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
        let open = OpenBlob::new(*digest, place, metadata.len(), Some(file), opens);
        let open = Arc::new(open);
        self.keep_open(&open, turn);
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
