//! Bytes that rot: whether a committed blob is still what its name says, and taking it away when it
//! is not.
//!
//! Removing is tied to the file that was found damaged (device and inode), so that a good one that
//! took its name meanwhile stays.

use crate::blob::Blob;
use crate::error::Error;
use crate::layout;
use crate::pread::{self, READ_BYTES};
use crate::store::Store;
use bytes::Bytes;
use oci::{Digest, Hasher};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// What looking at all bytes of a blob showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They hash to its digest.
    Sound,
    /// They do not, or cannot be read; the file is unlinked.
    Damaged,
    /// The caller wanted no more.
    Stopped,
}

/// A committed blob as it lies there, for taking stock.
#[derive(Clone, Debug)]
pub struct Looked {
    /// When the file was written.
    pub modified: SystemTime,
    /// Its bytes, if it is not larger than was asked for.
    pub bytes: Option<Bytes>,
}

impl Store {
    /// Blocks: as [`Store::blob`], where its length may be known; `size_bytes` is asked for it only
    /// when there is a file to open. One of another length is damaged: it is unlinked, and
    /// [`Error::WrongSize`] says so.
    pub fn blob_of_size(
        &self,
        digest: &Digest,
        size_bytes: impl FnOnce() -> Option<u64>,
    ) -> Result<Option<Blob>, Error> {
        if let Some(blob) = self.cached(digest) {
            return Ok(Some(blob));
        }
        let path = self.layout().blob(digest);
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let Some(size_bytes) = size_bytes() else { return self.blob(digest) };
        let turn = self.turn(digest);
        if let Some(blob) = self.cached(digest) {
            return Ok(Some(blob));
        }
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.len() != size_bytes => {
                layout::unlink(&path)?;
                let (found_bytes, wanted_bytes) = (metadata.len(), size_bytes);
                Err(Error::WrongSize { path, found_bytes, wanted_bytes })
            }
            // Opening says what else there is to say.
            _ => self.open_in_turn(digest, &turn),
        }
    }

    /// Blocks: unlinks the file of an open blob whose bytes turned out damaged, and says whether it
    /// still had its name. Who has it open goes on as far as it can.
    pub fn remove_damaged(&self, blob: &Blob) -> Result<bool, Error> {
        let path = self.layout().blob(blob.digest());
        let file = blob.file();
        let metadata = file.metadata().map_err(|error| Error::io("look at", &path, error))?;
        self.unlink_if_same(blob.digest(), &path, &metadata)
    }

    /// Blocks: whether a committed blob's bytes still hash to its digest; unlinks it when they do
    /// not. [`Error::Absent`] when it is not there. Reads from the file system, past everything that
    /// is open. `go_on` is told after each 256 KiB at most how many bytes there were, and ends it by
    /// `false`; it may wait, to hold the rate down.
    pub fn check(
        &self,
        digest: &Digest,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Result<Verdict, Error> {
        let path = self.layout().blob(digest);
        let file = match layout::open_blob(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Absent { path });
            }
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        let metadata = file.metadata().map_err(|error| Error::io("look at", &path, error))?;
        let verdict = match hash(&file, digest, &mut go_on) {
            Ok(Some(true)) => Verdict::Sound,
            Ok(Some(false)) => Verdict::Damaged,
            Ok(None) => Verdict::Stopped,
            Err(error) => match Error::io("read", &path, error) {
                error if error.is_damage() => Verdict::Damaged,
                error => return Err(error),
            },
        };
        // Gone or replaced meanwhile: then what was read is nobody's any more.
        if verdict == Verdict::Damaged && !self.unlink_if_same(digest, &path, &metadata)? {
            return Err(Error::Absent { path });
        }
        Ok(verdict)
    }

    /// Blocks: a committed blob as it lies there, past everything that is open, with its bytes if
    /// there are at most `max_bytes`. `None`: it is not there.
    pub fn look(&self, digest: &Digest, max_bytes: usize) -> Result<Option<Looked>, Error> {
        let path = self.layout().blob(digest);
        let file = match layout::open_blob(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        let looked = file.metadata().and_then(|metadata| {
            let length = usize::try_from(metadata.len()).ok().filter(|length| *length <= max_bytes);
            let bytes = length.map(|length| pread::read_waiting(&file, 0, length)).transpose()?;
            Ok(Looked { modified: metadata.modified()?, bytes })
        });
        looked.map(Some).map_err(|error| Error::io("read", &path, error))
    }

    fn unlink_if_same(
        &self,
        digest: &Digest,
        path: &Path,
        found: &Metadata,
    ) -> Result<bool, Error> {
        let _turn = self.turn(digest);
        match std::fs::symlink_metadata(path) {
            Ok(now) if (now.dev(), now.ino()) == (found.dev(), found.ino()) => {
                self.opens().forget(digest);
                layout::unlink(path)
            }
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("look at", path, error)),
        }
    }
}

/// Whether all bytes of a file hash to a digest; `None`: `go_on` ended it.
fn hash(
    file: &File,
    digest: &Digest,
    go_on: &mut impl FnMut(u64) -> bool,
) -> io::Result<Option<bool>> {
    let mut hasher = Hasher::new(digest.algorithm());
    let mut offset = 0;
    loop {
        let bytes = pread::read_waiting(file, offset, READ_BYTES)?;
        if bytes.is_empty() {
            return Ok(Some(hasher.finish() == *digest));
        }
        hasher.update(&bytes);
        offset += bytes.len() as u64;
        if !go_on(bytes.len() as u64) {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    fn store() -> (tempfile::TempDir, Store, Digest) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(dir.path())).unwrap();
        let bytes = vec![7; 600_000];
        let digest = Digest::sha256(&bytes);
        store.put(&digest, &bytes).unwrap();
        (dir, store, digest)
    }

    fn flip(store: &Store, digest: &Digest) {
        let path = store.layout().blob(digest);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[300_000] ^= 1;
        // In place, as a disk does it.
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    }

    #[test]
    fn a_flipped_bit_is_found_and_the_file_goes() {
        let (_dir, store, digest) = store();
        let mut seen = 0;
        let count = |bytes| {
            seen += bytes;
            true
        };
        assert_eq!(store.check(&digest, count).unwrap(), Verdict::Sound);
        assert_eq!(seen, 600_000);
        assert_eq!(store.check(&digest, |_| false).unwrap(), Verdict::Stopped);
        flip(&store, &digest);
        assert_eq!(store.check(&digest, |_| true).unwrap(), Verdict::Damaged);
        assert!(store.blob(&digest).unwrap().is_none());
        assert!(matches!(store.check(&digest, |_| true), Err(Error::Absent { .. })));
    }

    #[test]
    fn a_file_of_another_length_is_never_opened() {
        let (dir, store, digest) = store();
        drop(store);
        let store = Store::open(Options::new(dir.path())).unwrap();
        let path = store.layout().blob(&digest);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
        let error = store.blob_of_size(&digest, || Some(600_000)).unwrap_err();
        assert!(matches!(error, Error::WrongSize { found_bytes: 1000, .. }), "{error}");
        assert!(!path.exists());
        let unasked = || panic!("there is nothing to open");
        assert!(store.blob_of_size(&digest, unasked).unwrap().is_none());
    }

    #[test]
    fn a_good_file_that_took_the_name_of_a_damaged_one_stays() {
        let (_dir, store, digest) = store();
        let damaged = store.blob(&digest).unwrap().unwrap();
        store.remove(&digest).unwrap();
        store.put(&digest, &vec![7; 600_000]).unwrap();
        assert!(!store.remove_damaged(&damaged).unwrap());
        let good = store.blob(&digest).unwrap().unwrap();
        assert!(store.remove_damaged(&good).unwrap());
        assert!(store.cached(&digest).is_none());
        assert!(store.look(&digest, 10).unwrap().is_none());
    }
}
