//! Blobs opened where they are found, and removed from where they lie, so that the cache of what is
//! open never keeps what is gone.

use crate::blob::{Blob, OpenBlob};
use crate::error::Error;
use crate::layout;
use crate::object::ObjectPlace;
use crate::places::{Home, OpenPlace};
use crate::store::Store;
use oci::Digest;
use parking_lot::MutexGuard;
use std::io;
use std::sync::Arc;

/// Times an object is asked for while others are being removed beside it.
const FIND_TRIES: usize = 4;

impl Store {
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
        let open = OpenBlob::new(*digest, place, size_bytes, None, self.opens());
        let open = Arc::new(open);
        let turn = self.turn(digest);
        let is_kept = *turn == removals;
        if is_kept {
            self.keep_open(&open, &turn);
        }
        (Blob::new(open), is_kept)
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
        let open = OpenBlob::new(*digest, place, metadata.len(), Some(file), self.opens());
        let open = Arc::new(open);
        self.keep_open(&open, turn);
        Ok(Some(Blob::new(open)))
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
                self.opens().forget(digest);
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
        self.opens().forget(digest);
    }
}
