//! Copying blobs from place to place with verification, and URLs by which clients may fetch them
//! from where they lie.

use crate::blob::Blob;
use crate::dir::BlobDir;
use crate::error::Error;
use crate::layout::{self, Temp};
use crate::object::{ObjectPlace, PartSource, Sent};
use crate::places::{Home, OpenPlace};
use crate::reading::Reading;
use crate::store::Store;
use bytes::{Bytes, BytesMut};
use oci::{Digest, Hasher};
use secrecy::SecretString;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// How a copy ended when nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// It is there now: written whole, hashed on the way, its size confirmed.
    Done,
    /// It was there: with the right size, and a file with the right bytes.
    AlreadyThere,
    /// The caller wanted no more. What was sent is gone on with the next time.
    Stopped,
}

impl Store {
    /// Blocks: copies a blob from the first place that has it into another. It is hashed as it is
    /// read, and gets its name there only when it is right; [`Error::WrongDigest`] when it is not.
    /// [`Error::Absent`] when no place has it. To be called again after any error or stop.
    ///
    /// `go_on` is told after each 256 KiB at most how many bytes there were, also of those that
    /// only were compared, and ends it by `false`; it may wait, to hold the rate down.
    pub fn copy_to(
        &self,
        digest: &Digest,
        to: &OpenPlace,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Result<Copied, Error> {
        let _turn = self.copies().wait_for(digest);
        let Some(source) = self.source(digest, to)? else {
            return match Reading::open(to, digest)? {
                Some(there) => Self::already(there, None, &mut go_on)?
                    .ok_or(Error::Absent { path: to.name(digest) }),
                None => Err(Error::Absent { path: to.name(digest) }),
            };
        };
        if let Some(there) = Reading::open(to, digest)?
            && let Some(copied) = Self::already(there, Some(source.size_bytes()), &mut go_on)?
        {
            return Ok(copied);
        }
        let mut source = Source::new(source, digest, &mut go_on);
        let copied = match to.home() {
            Home::Dir(dir) => self.copy_into_dir(dir, digest, &mut source),
            Home::Object(object) => self.copy_into_objects(object, digest, &mut source),
        };
        if copied.is_ok() && self.cached(digest).is_some_and(|blob| blob.place().is(to)) {
            // What is open there has been replaced.
            self.forget(digest);
        }
        copied
    }

    /// The blob in the first place that has it and is not the one it goes to.
    fn source(&self, digest: &Digest, to: &OpenPlace) -> Result<Option<Reading>, Error> {
        for place in self.open_places().iter().filter(|place| !place.is(to)) {
            if let Some(reading) = Reading::open(place, digest)? {
                return Ok(Some(reading));
            }
        }
        Ok(None)
    }

    /// What is there needs no copy; `None`: it is not fine.
    fn already(
        mut there: Reading,
        size_bytes: Option<u64>,
        go_on: &mut impl FnMut(u64) -> bool,
    ) -> Result<Option<Copied>, Error> {
        if size_bytes.is_some_and(|size_bytes| there.size_bytes() != size_bytes) {
            return Ok(None);
        }
        if there.metadata().is_none() {
            return Ok(Some(Copied::AlreadyThere));
        }
        Ok(match there.is_sound(go_on) {
            Ok(Some(true)) => Some(Copied::AlreadyThere),
            Ok(None) => Some(Copied::Stopped),
            Ok(Some(false)) => None,
            Err(error) if error.is_damage() => None,
            Err(error) => return Err(error),
        })
    }

    fn copy_into_dir<G: FnMut(u64) -> bool>(
        &self,
        dir: &BlobDir,
        digest: &Digest,
        source: &mut Source<'_, G>,
    ) -> Result<Copied, Error> {
        let shard = dir.shard(self.layout(), digest)?;
        let (temp, mut file) = Temp::create(self.layout(), &shard)?;
        loop {
            let Some(bytes) = source.next()? else { return Ok(Copied::Stopped) };
            if bytes.is_empty() {
                break;
            }
            self.write_all(&mut file, &bytes)
                .map_err(|error| Error::io("write", temp.path(), error))?;
        }
        source.finish()?;
        file.sync_all().map_err(|error| Error::io("sync", temp.path(), error))?;
        drop(file);
        let turn = self.turn(digest);
        temp.rename(&dir.file(digest))?;
        drop(turn);
        layout::sync_dir(&shard)?;
        Ok(Copied::Done)
    }

    fn copy_into_objects<G: FnMut(u64) -> bool>(
        &self,
        object: &Arc<ObjectPlace>,
        digest: &Digest,
        source: &mut Source<'_, G>,
    ) -> Result<Copied, Error> {
        let size_bytes = source.reading.size_bytes();
        match object.send(digest, size_bytes, &self.layout().copying(digest), source)? {
            Sent::Stopped => Ok(Copied::Stopped),
            Sent::Done => object.confirm(digest, size_bytes).map(|()| Copied::Done),
        }
    }

    /// Blocks briefly, and not on the network where keys are told: a URL by which whoever holds it
    /// may fetch this blob from the object store for `valid_for`. `None` when it is not known to be
    /// in an object store that still is one of the places.
    pub fn presign(&self, blob: &Blob, valid_for: Duration) -> Result<Option<SecretString>, Error> {
        let place = blob.place();
        let Home::Object(object) = place.home() else { return Ok(None) };
        if !self.open_places().iter().any(|open| open.is(place)) {
            return Ok(None);
        }
        object.presign(blob.digest(), valid_for).map(Some)
    }
}

/// A blob that is read and hashed as it is copied.
struct Source<'a, G> {
    reading: Reading,
    digest: Digest,
    hasher: Hasher,
    go_on: &'a mut G,
    /// Read but not asked for yet.
    left: Bytes,
}

impl<'a, G: FnMut(u64) -> bool> Source<'a, G> {
    fn new(reading: Reading, digest: &Digest, go_on: &'a mut G) -> Self {
        let hasher = Hasher::new(digest.algorithm());
        Self { reading, digest: *digest, hasher, go_on, left: Bytes::new() }
    }

    /// The next bytes, empty at the end; `None`: no more is wanted.
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let bytes = self.reading.next()?;
        self.hasher.update(&bytes);
        let is_wanted = bytes.is_empty() || (self.go_on)(bytes.len() as u64);
        Ok(is_wanted.then_some(bytes))
    }
}

impl<G: FnMut(u64) -> bool> PartSource for Source<'_, G> {
    fn part(&mut self, range: Range<u64>, wanted: bool) -> Result<Option<Bytes>, Error> {
        let mut missing = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut part = BytesMut::with_capacity(if wanted { missing } else { 0 });
        let mut offset = range.start;
        while missing > 0 {
            if self.left.is_empty() {
                let Some(bytes) = self.next()? else { return Ok(None) };
                if bytes.is_empty() {
                    let path = self.reading.path().to_owned();
                    return Err(Error::TooShort { path, offset });
                }
                self.left = bytes;
            }
            let some = self.left.split_to(self.left.len().min(missing));
            missing -= some.len();
            offset += some.len() as u64;
            if wanted {
                part.extend_from_slice(&some);
            }
        }
        Ok(Some(part.freeze()))
    }

    fn finish(&mut self) -> Result<(), Error> {
        let found = self.hasher.clone().finish();
        if found != self.digest {
            let (wanted, path) = (Box::new(self.digest), self.reading.path().to_owned());
            return Err(Error::WrongDigest { path, wanted, found: Box::new(found) });
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.reading.rewind();
        self.hasher = Hasher::new(self.digest.algorithm());
        self.left = Bytes::new();
        Ok(())
    }
}
