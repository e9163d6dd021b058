//! The one way by which a staged file, whole and hashed, becomes a blob.

use crate::blob::Blob;
use crate::error::Error;
use crate::layout;
use crate::store::Store;
use oci::Digest;
use std::fs::File;
use std::io;
use std::path::Path;

impl Store {
    /// Blocks: makes the file at `path` the blob of a digest, and returns when that will survive a
    /// crash; `path` is gone then. The caller has hashed its first `size_bytes` to that digest, and
    /// nobody else writes it. What lies behind them is cut off. After an error the file lies where
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
        let shard = self.shard(digest)?;
        let there = self.blob(digest)?;
        if let Some(blob) = there.filter(|blob| blob.size_bytes() == size_bytes) {
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
        let to = self.layout().blob(digest);
        let turn = self.turn(digest);
        std::fs::rename(path, &to).map_err(|error| Error::io("create", &to, error))?;
        let opened = self.open_in_turn(digest, &turn);
        drop(turn);
        // The directory it came from needs no sync: should a loss of power leave the file under
        // both names, whoever opens the staged one sees that (`layout::open_staged`).
        layout::sync_dir(&shard)?;
        opened?.ok_or(Error::Absent { path: to })
    }
}

/// Leaves exactly what was hashed in the file, and all of it on disk.
fn settle(file: &File, size_bytes: u64) -> io::Result<()> {
    if file.metadata()?.len() != size_bytes {
        file.set_len(size_bytes)?;
    }
    // The length counts as data here; only times are left out (fdatasync(2)).
    file.sync_data()
}
