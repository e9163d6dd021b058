//! Damaged bytes that nobody can fetch again: put aside instead of removed, for whoever wants to
//! rescue what is left of them.
//!
//! Which blobs these are, the store does not know; whoever does tells it once.

use crate::error::Error;
use crate::layout;
use crate::places::{Home, OpenPlace};
use crate::store::Store;
use oci::Digest;
use parking_lot::RwLock;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What a damaged blob's name ends with from then on. Nothing reads such a file.
const SUFFIX: &str = ".damaged";

type Judge = dyn Fn(&Digest) -> bool + Send + Sync;

/// Who tells which damaged blobs are put aside.
#[derive(Default)]
pub(crate) struct Rescue(RwLock<Option<Arc<Judge>>>);

impl fmt::Debug for Rescue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rescue").field(&self.0.read().is_some()).finish()
    }
}

impl Store {
    /// From now on a damaged blob of which `is_only_copy` says so is renamed to `<hex>.damaged` where
    /// it lies, instead of being removed. It is asked while something damaged is dealt with, and may
    /// block.
    pub fn rescue_damaged(&self, is_only_copy: impl Fn(&Digest) -> bool + Send + Sync + 'static) {
        *self.rescue().0.write() = Some(Arc::new(is_only_copy));
    }

    pub(crate) fn is_only_copy(&self, digest: &Digest) -> bool {
        let judge = self.rescue().0.read().clone();
        judge.is_some_and(|is_only_copy| is_only_copy(digest))
    }

    /// Takes a damaged file away; `aside`: without losing it. Whether it was there. The caller holds
    /// the digest's turn.
    pub(crate) fn take_away(path: &Path, aside: bool) -> Result<bool, Error> {
        if !aside {
            return layout::unlink(path);
        }
        let mut to = path.as_os_str().to_owned();
        to.push(SUFFIX);
        match std::fs::rename(path, &to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("put aside", path, error)),
        }
    }

    /// As [`Store::remove_from`], for an object that is damaged.
    pub(crate) fn take_damaged_from(
        &self,
        place: &OpenPlace,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        if let Home::Object(object) = place.home()
            && self.is_only_copy(digest)
        {
            object.copy_aside(digest, SUFFIX)?;
        }
        self.remove_from(place, digest)
    }
}
