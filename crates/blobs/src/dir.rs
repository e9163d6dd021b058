//! A directory of committed blobs: `<algorithm>/<first 2 hex>/<hex>`.

use crate::error::Error;
use crate::layout::{self, ALGORITHMS, Layout};
use oci::{Algorithm, Digest};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct BlobDir {
    root: PathBuf,
    /// Shards made sure of, and rid of what an earlier process left, since start.
    shards: Mutex<HashSet<(Algorithm, u8)>>,
}

impl BlobDir {
    /// Makes what is not there; the parent has to be.
    pub(crate) fn create(root: PathBuf) -> Result<Self, Error> {
        let dir = Self { root, shards: Mutex::default() };
        layout::make_dir_durably(&dir.root)?;
        for algorithm in ALGORITHMS {
            layout::make_dir_durably(&dir.algorithm_dir(algorithm))?;
        }
        Ok(dir)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn algorithm_dir(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join(algorithm.as_str())
    }

    /// The file of a blob.
    pub(crate) fn file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let mut path = self.algorithm_dir(digest.algorithm());
        path.push(&hex[..2]);
        path.push(hex);
        path
    }

    /// The directory that holds the file of a blob.
    pub(crate) fn shard_dir(&self, digest: &Digest) -> PathBuf {
        self.algorithm_dir(digest.algorithm()).join(&digest.hex()[..2])
    }

    /// The directory of a digest. The first time since start it is made, and what a killed process
    /// left half written in it is removed, so that start-up need not look for it.
    pub(crate) fn shard(&self, layout: &Layout, digest: &Digest) -> Result<PathBuf, Error> {
        let path = self.shard_dir(digest);
        let first = digest.as_bytes().first().copied().unwrap_or_default();
        let key = (digest.algorithm(), first);
        if self.shards.lock().contains(&key) {
            return Ok(path);
        }
        layout::make_dir_durably(&path)?;
        for entry in std::fs::read_dir(&path).map_err(|error| Error::io("list", &path, error))? {
            let entry = entry.map_err(|error| Error::io("list", &path, error))?;
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| layout.is_stale_temp(name)) {
                layout::unlink(&entry.path())?;
            }
        }
        self.shards.lock().insert(key);
        Ok(path)
    }
}
