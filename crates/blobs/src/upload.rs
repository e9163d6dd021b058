//! An upload session: bytes that a client pushes, in one request or many, with their hash. The one
//! writer of its file.
//!
//! Its length is the length of its file, so that a kill at any moment leaves a session that says
//! how far it came. What it hashes to is asked once, at the end.

use crate::append;
use crate::blob::Blob;
use crate::error::Error;
use crate::layout;
use crate::pread;
use crate::store::Store;
use crate::upload_id::UploadId;
use crate::uploads::SessionClaim;
use bytes::Bytes;
use oci::{Algorithm, Digest, Hasher};
use rustix::fs::Advice;
use std::fmt;
use std::fs::File;
use std::num::NonZeroU64;
use std::path::PathBuf;

/// Bytes after which the disk is set to work, so that a commit need not wait for all of them. Larger
/// than what a disk needs to be busy, smaller than what a commit would be felt by.
const WRITEBACK_BYTES: u64 = 8 << 20;

/// The bytes of an upload that have come in so far. Dropped, it is parked.
pub struct Upload {
    store: Store,
    about: String,
    file: File,
    path: PathBuf,
    len_bytes: u64,
    hash: Progress,
    /// It has become a blob or was discarded.
    gone: bool,
    claim: SessionClaim,
}

/// A hash, and how many bytes from the start on it has seen.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) algorithm: Algorithm,
    pub(crate) hasher: Hasher,
    pub(crate) hashed_bytes: u64,
}

impl Progress {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, hasher: Hasher::new(algorithm), hashed_bytes: 0 }
    }
}

impl Upload {
    /// A session whose file is open. A hash that was kept goes on where it was; without one the
    /// bytes are read again when they are needed.
    pub(crate) fn new(
        store: &Store,
        claim: SessionClaim,
        about: String,
        (file, len_bytes): (File, u64),
    ) -> Self {
        let id = claim.id();
        let kept = store.sessions().take_hash(&id);
        // One that saw more than there is has seen other bytes.
        let hash = kept
            .filter(|hash| hash.hashed_bytes <= len_bytes)
            .unwrap_or_else(|| Progress::new(Algorithm::Sha256));
        let path = store.layout().upload_data(&id);
        Self { store: store.clone(), about, file, path, len_bytes, hash, gone: false, claim }
    }

    /// Its name.
    pub fn id(&self) -> UploadId {
        self.claim.id()
    }

    /// The text it was begun with.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Bytes that have come in.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Which hash is kept while bytes come in; SHA-256 unless told. A change after bytes came in
    /// makes them be read again, at the latest by [`Upload::commit`].
    pub fn hash_with(&mut self, algorithm: Algorithm) {
        if self.hash.algorithm != algorithm {
            self.hash = Progress::new(algorithm);
        }
    }

    /// Blocks: writes chunks at the end, and hashes them while they are in memory, unless bytes
    /// before them still wait for that. Nothing is synced. After an error, and so after
    /// [`Error::NoSpace`], none of them counts and they may be tried again.
    pub fn append(&mut self, chunks: &[Bytes]) -> Result<(), Error> {
        let start = self.len_bytes;
        let end = append::append(&self.file, self.store.limit(), chunks, start)
            .map_err(|error| Error::io("write", &self.path, error))?;
        self.len_bytes = end;
        if self.hash.hashed_bytes == start {
            for chunk in chunks {
                self.hash.hasher.update(chunk);
            }
            self.hash.hashed_bytes = end;
        }
        self.start_writeback(start);
        Ok(())
    }

    /// Has the system begin to write what came in since `start`, in whole steps from the start of the
    /// file on. `DONTNEED` does that first of all (posix_fadvise(2)); it lets go of no page that is
    /// being written, so the bytes stay in memory for whoever pulls them next.
    fn start_writeback(&self, start: u64) {
        let done = start - start % WRITEBACK_BYTES;
        let whole = (self.len_bytes - done) / WRITEBACK_BYTES * WRITEBACK_BYTES;
        if let Some(length) = NonZeroU64::new(whole) {
            // A hint; without it the commit waits longer.
            let _ = rustix::fs::fadvise(&self.file, done, Some(length), Advice::DontNeed);
        }
    }

    /// Blocks: hashes from disk what the hash has not seen; costs what reading and hashing cost.
    /// Nobody has to call it: [`Upload::commit`] does.
    pub fn rehash(&mut self) -> Result<(), Error> {
        if self.hash.hashed_bytes == self.len_bytes {
            return Ok(());
        }
        let mut hash = self.hash.clone();
        let missing = hash.hashed_bytes..self.len_bytes;
        let end = pread::read_through(&self.file, missing, |bytes| hash.hasher.update(bytes))
            .map_err(|error| Error::io("read", &self.path, error))?;
        if end < self.len_bytes {
            return Err(Error::TooShort { path: self.path.clone(), offset: end });
        }
        hash.hashed_bytes = end;
        self.hash = hash;
        Ok(())
    }

    /// Blocks: makes it a blob, and returns when that will survive a crash. The session is gone
    /// then.
    ///
    /// With an error the session comes back if there still is one, whole and good for another try,
    /// as after [`Error::WrongDigest`]; dropped, it is parked.
    pub fn commit(mut self, digest: &Digest) -> Result<Blob, (Option<Box<Self>>, Error)> {
        if let Err(error) = self.check(digest) {
            return Err((Some(Box::new(self)), error));
        }
        match self.store.take_in_file(&self.path, &self.file, digest, self.len_bytes) {
            Ok(blob) => {
                self.gone = true;
                // The blob is what was asked for; what else lies here goes when sessions are
                // listed.
                if let Err(error) = self.store.unlink_session(&self.claim) {
                    tracing::warn!(%error, "an upload that was committed left something behind");
                }
                Ok(blob)
            }
            Err(error) if layout::is_there(&self.path) => Err((Some(Box::new(self)), error)),
            Err(error) => {
                self.gone = true;
                let _ = self.store.unlink_session(&self.claim);
                Err((None, error))
            }
        }
    }

    fn check(&mut self, digest: &Digest) -> Result<(), Error> {
        self.hash_with(digest.algorithm());
        self.rehash()?;
        let found = self.hash.hasher.clone().finish();
        if found != *digest {
            let (path, wanted, found) = (self.path.clone(), Box::new(*digest), Box::new(found));
            return Err(Error::WrongDigest { path, wanted, found });
        }
        Ok(())
    }

    /// Leaves it for [`Store::upload`]. Of the sessions parked last, the hash stays in memory; a
    /// loss of power may take what the system has not written yet.
    pub fn park(self) {
        drop(self);
    }

    /// Blocks: ends it without a blob.
    pub fn discard(mut self) -> Result<(), Error> {
        self.gone = true;
        self.store.unlink_session(&self.claim).map(|_| ())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Before the claim goes, so that whoever takes the session up next finds it.
        if !self.gone {
            self.store.sessions().keep_hash(self.claim.id(), self.hash.clone());
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("id", &self.id())
            .field("len_bytes", &self.len_bytes)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}
