//! Bytes that rot: whether a committed blob is still what its name says, and taking it away when it
//! is not.
//!
//! Removing is tied to the file that was found damaged (device and inode), so that a good one that
//! took its name meanwhile stays.

use crate::blob::Blob;
use crate::error::Error;
use crate::places::{Home, OpenPlace};
use crate::reading::Reading;
use crate::store::Store;
use bytes::Bytes;
use oci::Digest;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// What looking at all bytes of a blob showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They hash to its digest.
    Sound,
    /// They do not, or cannot be read; it is removed.
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
    /// when there is something to open. One of another length is damaged: it is removed, and
    /// [`Error::WrongSize`] says so if no other place has a good one.
    pub fn blob_of_size(
        &self,
        digest: &Digest,
        size_bytes: impl FnOnce() -> Option<u64>,
    ) -> Result<Option<Blob>, Error> {
        if let Some(blob) = self.cached(digest) {
            return Ok(Some(blob));
        }
        let (mut ask, mut known, mut damaged) = (Some(size_bytes), None, None);
        for place in self.open_places().iter() {
            // Looked at before it is opened: one of another length must not be served or mapped.
            let removals = self.removals(digest);
            let seen = match place.home() {
                Home::Dir(dir) => length_of(&dir.file(digest)),
                Home::Object(object) => object.find(digest)?.map(|found| Some(found.size_bytes)),
            };
            let Some(found_bytes) = seen else { continue };
            if let Some(ask) = ask.take() {
                known = ask();
            }
            if let (Some(found_bytes), Some(wanted_bytes)) = (found_bytes, known)
                && found_bytes != wanted_bytes
            {
                self.remove_wrong(place, digest, wanted_bytes)?;
                let path = place.name(digest);
                damaged = Some(Error::WrongSize { path, found_bytes, wanted_bytes });
                continue;
            }
            let blob = match (place.home(), found_bytes) {
                (Home::Object(_), Some(size_bytes)) => {
                    Some(self.open_object(place, digest, size_bytes, removals).0)
                }
                // Opening says what else there is to say.
                _ => self.find_in(place, digest)?,
            };
            if blob.is_some() {
                return Ok(blob);
            }
        }
        damaged.map_or(Ok(None), Err)
    }

    /// Removes what still has another length than it should.
    fn remove_wrong(
        &self,
        place: &OpenPlace,
        digest: &Digest,
        wanted_bytes: u64,
    ) -> Result<(), Error> {
        let Home::Dir(dir) = place.home() else {
            return self.take_damaged_from(place, digest).map(drop);
        };
        let (path, aside) = (dir.file(digest), self.is_only_copy(digest));
        let mut turn = self.turn(digest);
        if let Some(Some(found_bytes)) = length_of(&path)
            && found_bytes != wanted_bytes
        {
            *turn += 1;
            Self::take_away(&path, aside)?;
        }
        Ok(())
    }

    /// Blocks: removes (or puts aside: [`Store::rescue_damaged`]) an open blob whose bytes turned out
    /// damaged from where it lies, and says
    /// whether the digest is lost by that: whether it still had its name there and no other place has
    /// it. Who has it open goes on as far as it can.
    pub fn remove_damaged(&self, blob: &Blob) -> Result<bool, Error> {
        let (digest, place) = (blob.digest(), blob.place());
        let removed = match blob.file() {
            Some(file) => {
                let path = place.name(digest);
                let metadata =
                    file.metadata().map_err(|error| Error::io("look at", &path, error))?;
                self.unlink_if_same(digest, &path, &metadata)?
            }
            // Nothing tells an object from another that took its name, so its bytes are the judge.
            None => match self.find_size(place, digest)? {
                Some(size_bytes) if size_bytes == blob.size_bytes() => {
                    self.check_in(place, digest, &mut |_| true)? == Some(Verdict::Damaged)
                }
                Some(_) => self.take_damaged_from(place, digest)?.is_some(),
                None => {
                    self.forget(digest);
                    true
                }
            },
        };
        Ok(removed && self.places_with(digest)?.is_empty())
    }

    fn find_size(&self, place: &OpenPlace, digest: &Digest) -> Result<Option<u64>, Error> {
        match place.home() {
            Home::Dir(dir) => Ok(length_of(&dir.file(digest)).map(Option::unwrap_or_default)),
            Home::Object(object) => Ok(object.find(digest)?.map(|found| found.size_bytes)),
        }
    }

    /// The places that have a blob.
    fn places_with(&self, digest: &Digest) -> Result<Vec<OpenPlace>, Error> {
        let mut having = Vec::new();
        for place in self.open_places().iter() {
            if self.find_size(place, digest)?.is_some() {
                having.push(place.clone());
            }
        }
        Ok(having)
    }

    /// Blocks: whether a committed blob's bytes still hash to its digest, in the first place that has
    /// it right; what is not right is removed on the way. [`Verdict::Damaged`]: no place has it right.
    /// [`Error::Absent`] when none had it. Reads past everything that is open. `go_on` is told after
    /// each 256 KiB at most how many bytes there were, and ends it by `false`; it may wait, to hold
    /// the rate down.
    pub fn check(
        &self,
        digest: &Digest,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Result<Verdict, Error> {
        let mut is_damaged = false;
        for place in self.open_places().iter() {
            match self.check_in(place, digest, &mut go_on)? {
                Some(Verdict::Damaged) => is_damaged = true,
                Some(verdict) => return Ok(verdict),
                None => {}
            }
        }
        if is_damaged {
            return Ok(Verdict::Damaged);
        }
        Err(Error::Absent { path: self.first_place().name(digest) })
    }

    /// `None`: it is not there, or what was read is nobody's any more.
    fn check_in(
        &self,
        place: &OpenPlace,
        digest: &Digest,
        go_on: &mut impl FnMut(u64) -> bool,
    ) -> Result<Option<Verdict>, Error> {
        let Some(mut reading) = Reading::open(place, digest)? else { return Ok(None) };
        let mut verdict = verdict(&mut reading, go_on)?;
        if verdict == Verdict::Damaged && reading.metadata().is_none() {
            // A network stood between: only what reads wrong twice is wrong.
            reading.rewind();
            verdict = self::verdict(&mut reading, go_on)?;
        }
        if verdict != Verdict::Damaged {
            return Ok(Some(verdict));
        }
        let removed = match reading.metadata() {
            Some(metadata) => self.unlink_if_same(digest, reading.path(), metadata)?,
            None => match Reading::open(place, digest)? {
                Some(now) if now.is_same_object(&reading) => {
                    self.take_damaged_from(place, digest)?.is_some()
                }
                _ => false,
            },
        };
        Ok(removed.then_some(Verdict::Damaged))
    }

    /// Blocks: a committed blob as it lies in the first place that has it, past everything that is
    /// open, with its bytes if there are at most `max_bytes`. `None`: it is not there.
    pub fn look(&self, digest: &Digest, max_bytes: usize) -> Result<Option<Looked>, Error> {
        for place in self.open_places().iter() {
            let Some(mut reading) = Reading::open(place, digest)? else { continue };
            let length = usize::try_from(reading.size_bytes()).ok();
            let bytes = match length.filter(|length| *length <= max_bytes) {
                Some(length) => Some(reading.all(length)?),
                None => None,
            };
            return Ok(Some(Looked { modified: reading.modified()?, bytes }));
        }
        Ok(None)
    }

    /// Removes what is damaged, or puts it aside.
    fn unlink_if_same(
        &self,
        digest: &Digest,
        path: &Path,
        found: &Metadata,
    ) -> Result<bool, Error> {
        let aside = self.is_only_copy(digest);
        let mut turn = self.turn(digest);
        match std::fs::symlink_metadata(path) {
            Ok(now) if (now.dev(), now.ino()) == (found.dev(), found.ino()) => {
                *turn += 1;
                self.opens().forget(digest);
                Self::take_away(path, aside)
            }
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("look at", path, error)),
        }
    }
}

/// The length of the file that has a name; `None`: nothing has it. `Some(None)`: something has it that
/// is no file, or cannot be looked at; opening it says why.
fn length_of(path: &Path) -> Option<Option<u64>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Some(metadata.is_file().then_some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some(None),
    }
}

fn verdict(reading: &mut Reading, go_on: &mut impl FnMut(u64) -> bool) -> Result<Verdict, Error> {
    match reading.is_sound(go_on) {
        Ok(Some(true)) => Ok(Verdict::Sound),
        Ok(Some(false)) => Ok(Verdict::Damaged),
        Ok(None) => Ok(Verdict::Stopped),
        Err(error) if error.is_damage() => Ok(Verdict::Damaged),
        Err(error) => Err(error),
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
        let path = store.data_dir().name(digest);
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
    fn the_only_copy_is_put_aside_and_not_served() {
        let (_dir, store, digest) = store();
        store.rescue_damaged(move |damaged| *damaged == digest);
        flip(&store, &digest);
        assert_eq!(store.check(&digest, |_| true).unwrap(), Verdict::Damaged);
        assert!(store.blob(&digest).unwrap().is_none());
        let mut aside = store.layout().blobs().join("sha256").join(&digest.hex()[..2]);
        aside.push(format!("{}.damaged", digest.hex()));
        assert_eq!(std::fs::read(&aside).unwrap().len(), 600_000);
        assert_eq!(store.walk().count(), 0, "nobody takes it for a blob");
        store.put(&digest, &vec![7; 600_000]).unwrap();
        assert_eq!(store.check(&digest, |_| true).unwrap(), Verdict::Sound);
        let blob = store.blob(&digest).unwrap().unwrap();
        assert!(store.remove_damaged(&blob).unwrap());
        assert!(aside.exists() && store.blob(&digest).unwrap().is_none());
    }

    #[test]
    fn a_file_of_another_length_is_never_opened() {
        let (dir, store, digest) = store();
        drop(store);
        let store = Store::open(Options::new(dir.path())).unwrap();
        let path = store.data_dir().name(&digest);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
        std::fs::rename(&path, path.with_extension("moved")).unwrap();
        std::os::unix::fs::symlink(path.with_extension("moved"), &path).unwrap();
        assert!(store.blob_of_size(&digest, || Some(600_000)).is_err());
        assert!(path.is_symlink(), "what is no file is not ours to remove");
        std::fs::rename(path.with_extension("moved"), &path).unwrap();
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
