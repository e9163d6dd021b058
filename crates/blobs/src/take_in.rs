//! The one way by which a staged file, whole and hashed, becomes a blob of the first place.

use crate::blob::Blob;
use crate::dir::BlobDir;
use crate::error::Error;
use crate::layout::{self, Temp};
use crate::object::{ObjectPlace, PartSource};
use crate::places::{Home, OpenPlace};
use crate::pread;
use crate::store::Store;
use bytes::Bytes;
use oci::{Digest, Hasher};
use parking_lot::{Condvar, Mutex};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A file that is to become a blob.
#[derive(Clone, Copy)]
struct Staged<'a> {
    path: &'a Path,
    file: &'a File,
    digest: &'a Digest,
    size_bytes: u64,
}

impl Store {
    /// Blocks: makes the file at `path` the blob of a digest, and returns when that will survive a
    /// crash; `path` is gone then. The caller has hashed its first `size_bytes` to that digest, and
    /// nobody else writes it. What lies behind them is not taken. After an error the file lies where
    /// it was, unless what it holds cannot be trusted any more.
    ///
    /// A blob that is there already with that length is taken instead.
    pub(crate) fn take_in_file(
        &self,
        path: &Path,
        file: &File,
        digest: &Digest,
        size_bytes: u64,
    ) -> Result<Blob, Error> {
        let place = self.first_place();
        let staged = Staged { path, file, digest, size_bytes };
        match place.home() {
            Home::Dir(dir) => self.take_into_dir(&place, dir, staged),
            Home::Object(object) => self.take_into_objects(&place, object, staged),
        }
    }

    fn take_into_dir(
        &self,
        place: &OpenPlace,
        dir: &BlobDir,
        staged: Staged<'_>,
    ) -> Result<Blob, Error> {
        let Staged { path, file, digest, size_bytes } = staged;
        let shard = dir.shard(self.layout(), digest)?;
        let there = self.find_in(place, digest)?.filter(|blob| blob.size_bytes() == size_bytes);
        if let Some(blob) = there {
            // Whoever renamed it may not have come to this yet.
            layout::sync_dir(&shard)?;
            layout::unlink(path)?;
            return Ok(blob);
        }
        if let Err(error) = settle(file, size_bytes) {
            // What fsync could not write may be gone from memory too, though it still reads as
            // right; nothing of it can be trusted (fsync(2), "Errors").
            let _ = layout::unlink(path);
            return Err(Error::io("sync", path, error));
        }
        let to = dir.file(digest);
        let mut turn = self.turn(digest);
        match std::fs::rename(path, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                drop(turn);
                let temp = self.copy_beside(&shard, staged)?;
                turn = self.turn(digest);
                temp.rename(&to)?;
                layout::unlink(path)?;
            }
            Err(error) => return Err(Error::io("create", &to, error)),
        }
        let opened = self.open_in_turn(place, digest, &turn);
        drop(turn);
        // The directory it came from needs no sync: should a loss of power leave the file under
        // both names, whoever opens the staged one sees that (`layout::open_staged`).
        layout::sync_dir(&shard)?;
        opened?.ok_or(Error::Absent { path: to })
    }

    /// A synced copy on the file system of a shard. What was hashed as it came in is hashed again as
    /// it is read back.
    fn copy_beside(&self, shard: &Path, staged: Staged<'_>) -> Result<Temp, Error> {
        let Staged { path, file, digest, size_bytes } = staged;
        let (temp, mut copy) = Temp::create(self.layout(), shard)?;
        let mut hasher = Hasher::new(digest.algorithm());
        let mut written = Ok(());
        pread::read_through(file, 0..size_bytes, |bytes| {
            if written.is_ok() {
                hasher.update(bytes);
                written = self.write_all(&mut copy, bytes);
            }
        })
        .map_err(|error| Error::io("read", path, error))?;
        written.map_err(|error| Error::io("write", temp.path(), error))?;
        let found = hasher.finish();
        if found != *digest {
            let (path, wanted) = (path.to_owned(), Box::new(*digest));
            return Err(Error::WrongDigest { path, wanted, found: Box::new(found) });
        }
        copy.sync_all().map_err(|error| Error::io("sync", temp.path(), error))?;
        Ok(temp)
    }

    fn take_into_objects(
        &self,
        place: &OpenPlace,
        object: &Arc<ObjectPlace>,
        staged: Staged<'_>,
    ) -> Result<Blob, Error> {
        let Staged { path, file, digest, size_bytes } = staged;
        let _turn = self.sends().wait_for(digest);
        let there = self.find_in(place, digest)?.filter(|blob| blob.size_bytes() == size_bytes);
        let blob = match there {
            Some(blob) => blob,
            None => {
                let removals = self.removals(digest);
                let mut source = FileParts { path, file };
                object.send(digest, size_bytes, &self.layout().sending(digest), &mut source)?;
                self.open_object(place, digest, size_bytes, removals).0
            }
        };
        layout::unlink(path)?;
        Ok(blob)
    }
}

/// Blobs that are on their way: each by one at a time, so that two pushes of one blob are one
/// transfer.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    digests: Mutex<HashSet<Digest>>,
    ended: Condvar,
}

/// The turn to send one blob; the next one's when dropped.
#[derive(Debug)]
pub(crate) struct SendTurn<'a> {
    sending: &'a Sending,
    digest: Digest,
}

impl Sending {
    /// Blocks until nobody else sends it.
    pub(crate) fn wait_for(&self, digest: &Digest) -> SendTurn<'_> {
        let mut digests = self.digests.lock();
        while !digests.insert(*digest) {
            self.ended.wait(&mut digests);
        }
        SendTurn { sending: self, digest: *digest }
    }

    /// The turn, if nobody sends it just now.
    pub(crate) fn try_for(&self, digest: &Digest) -> Option<SendTurn<'_>> {
        let is_free = self.digests.lock().insert(*digest);
        is_free.then(|| SendTurn { sending: self, digest: *digest })
    }
}

impl Drop for SendTurn<'_> {
    fn drop(&mut self) {
        self.sending.digests.lock().remove(&self.digest);
        self.sending.ended.notify_all();
    }
}

/// Leaves exactly the bytes that count in a file, and all of them on disk.
fn settle(file: &File, size_bytes: u64) -> io::Result<()> {
    if file.metadata()?.len() != size_bytes {
        file.set_len(size_bytes)?;
    }
    // The length counts as data here; only times are left out (fdatasync(2)).
    file.sync_data()
}

/// Parts of a file that was hashed already.
struct FileParts<'a> {
    path: &'a Path,
    file: &'a File,
}

impl PartSource for FileParts<'_> {
    fn part(&mut self, range: Range<u64>, wanted: bool) -> Result<Option<Bytes>, Error> {
        if !wanted {
            return Ok(Some(Bytes::new()));
        }
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let bytes = pread::read_waiting(self.file, range.start, length)
            .map_err(|error| Error::io("read", self.path, error))?;
        if bytes.len() < length {
            let offset = range.start + bytes.len() as u64;
            return Err(Error::TooShort { path: self.path.to_owned(), offset });
        }
        Ok(Some(bytes))
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
