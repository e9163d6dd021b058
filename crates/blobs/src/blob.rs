//! A committed blob that is open for reading.

use crate::cache::OpenBlobs;
use crate::error::Error;
use crate::map::Mapping;
use crate::object::{ObjectPlace, ReadAhead};
use crate::places::{Home, OpenPlace};
use crate::pread;
use crate::stream::BlobStream;
use bytes::{Bytes, BytesMut};
use oci::Digest;
use oci::range::ByteRange;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

/// How bytes are taken from a file; which one is right depends on who touches them next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadHow {
    /// Slices of a shared mapping: for plaintext sockets, where only the kernel touches them.
    Mapped,
    /// Copies in our memory: for TLS, where our own code touches them and a failing disk would
    /// otherwise end the process by SIGBUS.
    Copied,
}

/// An open, committed blob. Clones share one file and one mapping, and keep the bytes readable
/// after the blob was removed.
#[derive(Clone)]
pub struct Blob {
    open: Arc<OpenBlob>,
}

/// What the clones of a [`Blob`], its streams and the cache share.
#[derive(Debug)]
pub(crate) struct OpenBlob {
    digest: Digest,
    path: PathBuf,
    size_bytes: u64,
    /// Where it lies.
    place: OpenPlace,
    /// `None`: it lies in an object store.
    file: Option<File>,
    /// All of it, made when first wanted.
    mapping: OnceLock<Mapping>,
    /// Who gives out address space; weak, because it holds us.
    opens: Weak<OpenBlobs>,
}

impl Blob {
    pub(crate) fn new(open: Arc<OpenBlob>) -> Self {
        Self { open }
    }

    /// What its bytes hash to.
    pub fn digest(&self) -> &Digest {
        &self.open.digest
    }

    /// Its length in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.open.size_bytes
    }

    pub(crate) fn file(&self) -> Option<&File> {
        self.open.file()
    }

    /// The place it was opened in.
    pub(crate) fn place(&self) -> &OpenPlace {
        &self.open.place
    }

    /// Blocks: all its bytes, in memory. [`Error::TooLarge`] when there are more than `max_bytes`.
    pub fn read_all(&self, max_bytes: usize) -> Result<Bytes, Error> {
        let (path, size_bytes) = (&self.open.path, self.open.size_bytes);
        let length = usize::try_from(size_bytes).ok().filter(|length| *length <= max_bytes);
        let Some(length) = length else {
            return Err(Error::TooLarge { path: path.clone(), size_bytes, max_bytes });
        };
        let bytes = self.open.read_waiting(0, length)?;
        if bytes.len() < length {
            return Err(Error::TooShort { path: path.clone(), offset: bytes.len() as u64 });
        }
        Ok(bytes)
    }

    /// Its bytes `range.start..range.end`, as far as they exist, in order. From an object store they
    /// come in ranges read ahead, whatever `how` says.
    pub fn stream(&self, range: ByteRange, how: ReadHow) -> BlobStream {
        BlobStream::new(self.open.clone(), range, how)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("digest", self.digest())
            .field("size_bytes", &self.size_bytes())
            .finish_non_exhaustive()
    }
}

impl OpenBlob {
    /// `file`: `None` for one in an object store.
    pub(crate) fn new(
        digest: Digest,
        place: &OpenPlace,
        size_bytes: u64,
        file: Option<File>,
        opens: &Arc<OpenBlobs>,
    ) -> Self {
        let (mapping, opens) = (OnceLock::new(), Arc::downgrade(opens));
        let (path, place) = (place.name(&digest), place.clone());
        Self { digest, path, size_bytes, place, file, mapping, opens }
    }

    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    pub(crate) fn place(&self) -> &OpenPlace {
        &self.place
    }

    /// The object store it lies in, if it does in one.
    pub(crate) fn object(&self) -> Option<&Arc<ObjectPlace>> {
        match self.place.home() {
            Home::Object(object) => Some(object),
            Home::Dir(_) => None,
        }
    }

    /// Reads it from an object store in order; `None` when it is a file.
    pub(crate) fn ahead(&self, start: u64, end: u64) -> Option<ReadAhead> {
        let object = self.object()?.clone();
        Some(ReadAhead::new(object, self.digest, self.size_bytes, start..end))
    }

    /// Blocks: `length` bytes from `offset` on, fewer only where it ends too early.
    pub(crate) fn read_waiting(&self, offset: u64, length: usize) -> Result<Bytes, Error> {
        if let Some(file) = &self.file {
            return pread::read_waiting(file, offset, length)
                .map_err(|error| Error::io("read", &self.path, error));
        }
        let mut read = BytesMut::with_capacity(length);
        if let Some(mut ahead) = self.ahead(offset, offset + length as u64) {
            while let Some(bytes) = ahead.next_waiting() {
                read.extend_from_slice(&bytes?);
            }
        }
        Ok(read.freeze())
    }

    /// Its mapping, if it was wanted before.
    pub(crate) fn mapped(&self) -> Option<&Mapping> {
        self.mapping.get()
    }

    /// The shared mapping of all its bytes; `None` when it is no file or empty, when there is no address space
    /// for it, or the system refuses: then it is read by copies.
    pub(crate) fn mapping(&self) -> Option<&Mapping> {
        if let Some(mapping) = self.mapping.get() {
            return Some(mapping);
        }
        let file = self.file.as_ref()?;
        let length = usize::try_from(self.size_bytes).ok().filter(|length| *length > 0)?;
        let charge = self.opens.upgrade()?.reserve(self.size_bytes)?;
        let mapping = Mapping::new(file, 0, length, charge).ok()?;
        Some(self.mapping.get_or_init(|| mapping))
    }
}
