//! A part: the bytes of a download so far, with their hash. The one writer of its file.

use crate::append;
use crate::blob::Blob;
use crate::error::Error;
use crate::layout::{self, Temp};
use crate::pread;
use crate::reader::{PartFile, PartReader};
use crate::store::{Claim, Store};
use crate::validators::Validators;
use bytes::Bytes;
use oci::{Digest, Hasher};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The bytes of a blob that have come in so far. Dropped, it is kept for resumption, unless it is
/// empty.
pub struct Part {
    store: Store,
    digest: Digest,
    file: Arc<PartFile>,
    hasher: Hasher,
    /// Of the bytes on disk, how many the hash has seen.
    hashed_bytes: u64,
    /// The hash has seen bytes that are not on disk.
    unkept: bool,
    validators: Option<Validators>,
    /// It has become a blob or was discarded.
    gone: bool,
    _claim: Claim,
}

impl Part {
    pub(crate) fn open(store: &Store, digest: &Digest) -> Result<Self, Error> {
        let claim = store.claim(digest)?;
        let path = store.layout().part(digest);
        let (file, length) = store
            .with_descriptors(|| layout::open_staged(&path, true))
            .map_err(|error| Error::io("open", &path, error))?;
        let validators_path = store.layout().validators(digest);
        let validators = if length > 0 {
            Validators::read(&validators_path)
        } else {
            // Left by a part that a kill kept from removing them; they are not about this one.
            layout::unlink(&validators_path)?;
            None
        };
        Ok(Self {
            store: store.clone(),
            digest: *digest,
            file: Arc::new(PartFile::new(file, path, length, store.opens().clone())),
            hasher: Hasher::new(digest.algorithm()),
            hashed_bytes: 0,
            unkept: false,
            validators,
            gone: false,
            _claim: claim,
        })
    }

    /// What its bytes should hash to in the end.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Bytes on disk: hashed, but for a prefix that was found and waits for [`Part::rehash`].
    pub fn len_bytes(&self) -> u64 {
        self.file.written_bytes()
    }

    /// What the upstream said about the download that these bytes are from.
    pub fn validators(&self) -> Option<&Validators> {
        self.validators.as_ref()
    }

    /// Blocks: keeps what the upstream says, here and beside the part. After an error it holds for
    /// this process only, and no older word is left on disk.
    pub fn set_validators(&mut self, validators: Validators) -> Result<(), Error> {
        let written = self.write_validators(&validators);
        self.validators = Some(validators);
        if written.is_err() {
            layout::unlink(&self.validators_path())?;
        }
        written
    }

    fn write_validators(&self, validators: &Validators) -> Result<(), Error> {
        let path = self.validators_path();
        let invalid = || Error::io("write", &path, io::Error::from(io::ErrorKind::InvalidInput));
        let text = validators.text().ok_or_else(invalid)?;
        let (temp, mut file) = Temp::create(self.store.layout(), self.store.layout().fills())?;
        file.write_all(&text).map_err(|error| Error::io("write", temp.path(), error))?;
        drop(file);
        temp.rename(&path)
    }

    /// Blocks: hashes from disk what was there when the part was opened. Needed before anything
    /// else is appended; costs what reading and hashing cost.
    pub fn rehash(&mut self) -> Result<(), Error> {
        let length = self.len_bytes();
        let mut hasher = Hasher::new(self.digest.algorithm());
        let read = pread::read_through(self.file.file(), 0..length, |bytes| hasher.update(bytes))
            .map_err(|error| Error::io("read", self.path(), error))?;
        if read < length {
            return Err(Error::TooShort { path: self.path().to_owned(), offset: read });
        }
        (self.hasher, self.hashed_bytes, self.unkept) = (hasher, length, false);
        Ok(())
    }

    /// Blocks: writes and hashes chunks at the end. After an error, and so after
    /// [`Error::NoSpace`], none of them counts and the hash is as before: the caller may try them
    /// again, or go on with [`Part::hash_only`].
    pub fn append(&mut self, chunks: &[Bytes]) -> Result<(), Error> {
        self.check_hashed()?;
        if self.unkept {
            return Err(Error::Incomplete { path: self.path().to_owned() });
        }
        // No reader was told of what an error leaves behind the end and no mapping reaches that far;
        // a commit cuts it, and a resumption hashes it.
        let offset = append::append(self.file.file(), self.store.limit(), chunks, self.len_bytes())
            .map_err(|error| Error::io("write", self.path(), error))?;
        for chunk in chunks {
            self.hasher.update(chunk);
        }
        self.hashed_bytes = offset;
        self.file.set_written_bytes(offset);
        Ok(())
    }

    /// Goes on hashing without keeping, because the disk is full. From then on the part can say
    /// whether the whole is right, but can neither be appended to nor committed.
    pub fn hash_only(&mut self, chunks: &[Bytes]) {
        self.unkept = true;
        for chunk in chunks {
            self.hasher.update(chunk);
        }
    }

    /// Reads what was appended, now and later.
    pub fn reader(&self) -> PartReader {
        PartReader::new(self.file.clone())
    }

    /// The digest of everything hashed so far. Cheap: it finishes a copy of the state.
    pub fn digest_so_far(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Whether what was hashed so far is the whole, right blob.
    pub fn is_right(&self) -> bool {
        self.check_hashed().is_ok() && self.digest_so_far() == self.digest
    }

    /// Blocks: makes it a blob, and returns when that will survive a crash. [`Error::WrongDigest`]
    /// when its bytes are not those of the digest; the part is then kept, and
    /// [`Store::remove_part`] rids of it.
    pub fn commit(mut self) -> Result<Blob, Error> {
        self.check_hashed()?;
        if self.unkept {
            return Err(Error::Incomplete { path: self.path().to_owned() });
        }
        let found = self.digest_so_far();
        if found != self.digest {
            let (path, wanted) = (self.path().to_owned(), Box::new(self.digest));
            return Err(Error::WrongDigest { path, wanted, found: Box::new(found) });
        }
        let (path, file) = (self.file.path(), self.file.file());
        match self.store.take_in_file(path, file, &self.digest, self.hashed_bytes) {
            Ok(blob) => {
                self.gone = true;
                layout::unlink(&self.validators_path())?;
                Ok(blob)
            }
            Err(error) => {
                if !layout::is_there(path) {
                    let _ = self.unlink();
                }
                Err(error)
            }
        }
    }

    /// Keeps it for resumption; an empty one goes. Nothing is synced: what a crash leaves is hashed
    /// again, and the digest decides.
    pub fn park(self) -> Result<(), Error> {
        drop(self);
        Ok(())
    }

    /// Blocks: removes it. Its readers go on reading.
    pub fn discard(mut self) -> Result<(), Error> {
        self.unlink()
    }

    fn unlink(&mut self) -> Result<(), Error> {
        self.gone = true;
        layout::unlink(self.path())?;
        layout::unlink(&self.validators_path())?;
        Ok(())
    }

    fn check_hashed(&self) -> Result<(), Error> {
        if self.hashed_bytes == self.len_bytes() {
            return Ok(());
        }
        Err(Error::NotRehashed { path: self.path().to_owned() })
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    fn validators_path(&self) -> PathBuf {
        self.store.layout().validators(&self.digest)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.gone && self.len_bytes() == 0 {
            let _ = self.unlink();
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("digest", &self.digest)
            .field("len_bytes", &self.len_bytes())
            .field("hashed_bytes", &self.hashed_bytes)
            .field("unkept", &self.unkept)
            .finish_non_exhaustive()
    }
}
