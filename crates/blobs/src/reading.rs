//! All bytes of a blob in one place, from the first to the last, in small pieces: for hashing and
//! for copying. Past everything that is open.

use crate::error::Error;
use crate::layout;
use crate::object::{Found, ObjectPlace, ReadAhead};
use crate::places::{Home, OpenPlace};
use crate::pread::{self, READ_BYTES};
use bytes::{Bytes, BytesMut};
use oci::{Digest, Hasher};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// A blob that is being read.
pub(crate) struct Reading {
    digest: Digest,
    path: PathBuf,
    of: Of,
}

enum Of {
    File { file: File, metadata: Metadata, offset: u64 },
    Object { object: Arc<ObjectPlace>, found: Found, ahead: ReadAhead, piece: Bytes },
}

impl Reading {
    /// Blocks: `None` when it is not in that place.
    pub(crate) fn open(place: &OpenPlace, digest: &Digest) -> Result<Option<Self>, Error> {
        let path = place.name(digest);
        let of = match place.home() {
            Home::Dir(_) => {
                let file = match layout::open_blob(&path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(Error::io("open", &path, error)),
                };
                let metadata =
                    file.metadata().map_err(|error| Error::io("look at", &path, error))?;
                Of::File { file, metadata, offset: 0 }
            }
            Home::Object(object) => {
                let Some(found) = object.find(digest)? else { return Ok(None) };
                let ahead = begin(object, digest, found);
                Of::Object { object: object.clone(), found, ahead, piece: Bytes::new() }
            }
        };
        Ok(Some(Self { digest: *digest, path, of }))
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its length.
    pub(crate) fn size_bytes(&self) -> u64 {
        match &self.of {
            Of::File { metadata, .. } => metadata.len(),
            Of::Object { found, .. } => found.size_bytes,
        }
    }

    /// When it was written.
    pub(crate) fn modified(&self) -> Result<SystemTime, Error> {
        match &self.of {
            Of::File { metadata, .. } => {
                metadata.modified().map_err(|error| Error::io("look at", &self.path, error))
            }
            Of::Object { found, .. } => Ok(found.modified),
        }
    }

    /// Whether another look found the same object, as far as a store tells.
    pub(crate) fn is_same_object(&self, other: &Self) -> bool {
        match (&self.of, &other.of) {
            (Of::Object { found: one, .. }, Of::Object { found: two, .. }) => {
                (one.size_bytes, one.modified) == (two.size_bytes, two.modified)
            }
            _ => false,
        }
    }

    /// Blocks: the `length` bytes from here on, fewer if there are no more.
    pub(crate) fn all(&mut self, length: usize) -> Result<Bytes, Error> {
        let mut all = BytesMut::with_capacity(length);
        while all.len() < length {
            let bytes = self.next()?;
            if bytes.is_empty() {
                break;
            }
            all.extend_from_slice(&bytes[..bytes.len().min(length - all.len())]);
        }
        Ok(all.freeze())
    }

    /// What tells its file from another that took its name.
    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        match &self.of {
            Of::File { metadata, .. } => Some(metadata),
            Of::Object { .. } => None,
        }
    }

    /// Blocks: the next 256 KiB at most; empty at the end.
    pub(crate) fn next(&mut self) -> Result<Bytes, Error> {
        match &mut self.of {
            Of::File { file, offset, .. } => {
                let bytes = pread::read_waiting(file, *offset, READ_BYTES)
                    .map_err(|error| Error::io("read", &self.path, error))?;
                *offset += bytes.len() as u64;
                Ok(bytes)
            }
            Of::Object { ahead, piece, .. } => {
                if piece.is_empty() {
                    *piece = ahead.next_waiting().transpose()?.unwrap_or_default();
                }
                Ok(piece.split_to(piece.len().min(READ_BYTES)))
            }
        }
    }

    /// Begins again at the first byte.
    pub(crate) fn rewind(&mut self) {
        match &mut self.of {
            Of::File { offset, .. } => *offset = 0,
            Of::Object { object, found, ahead, piece } => {
                *ahead = begin(object, &self.digest, *found);
                *piece = Bytes::new();
            }
        }
    }

    /// Blocks: whether the bytes from here on hash to the digest; `None`: `go_on` ended it. It is
    /// told after each piece how long that was.
    pub(crate) fn is_sound(
        &mut self,
        go_on: &mut impl FnMut(u64) -> bool,
    ) -> Result<Option<bool>, Error> {
        let mut hasher = Hasher::new(self.digest.algorithm());
        loop {
            let bytes = self.next()?;
            if bytes.is_empty() {
                return Ok(Some(hasher.finish() == self.digest));
            }
            hasher.update(&bytes);
            if !go_on(bytes.len() as u64) {
                return Ok(None);
            }
        }
    }
}

fn begin(object: &Arc<ObjectPlace>, digest: &Digest, found: Found) -> ReadAhead {
    ReadAhead::new(object.clone(), *digest, found.size_bytes, 0..found.size_bytes)
}
