//! Removing at an operator's word: at once, and with a reason for what stays.

use super::Keep;
use super::pinned::Protected;
use catalog::Batch;
use oci::Digest;

/// What became of the blobs that were to be purged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PurgedBlobs {
    /// Removed, and their bytes.
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
    /// Kept: a pin reaches them.
    pub(crate) pinned: u64,
    /// Kept: somebody reads them, or a download brings them just now.
    pub(crate) in_use: u64,
    /// Kept: other names hold them.
    pub(crate) shared: u64,
    /// Kept: the catalog or the disk did not answer.
    pub(crate) failed: u64,
}

enum Fate {
    Removed(u64),
    Pinned,
    InUse,
    Shared,
    Failed,
    /// It was not there.
    Absent,
}

impl Keep {
    /// Removes blobs unless a name still holds them, a pin reaches them or somebody reads them.
    /// Blocks.
    pub(crate) fn purge(&self, digests: &[Digest]) -> PurgedBlobs {
        let mut purged = PurgedBlobs::default();
        // What was served until now is no reason to keep it.
        self.note_uses(false);
        let Some(protected) = self.protected() else {
            purged.failed = digests.len() as u64;
            return purged;
        };
        for digest in digests {
            match self.purge_one(digest, &protected) {
                Fate::Removed(size_bytes) => {
                    purged.blobs += 1;
                    purged.bytes += size_bytes;
                }
                Fate::Pinned => purged.pinned += 1,
                Fate::InUse => purged.in_use += 1,
                Fate::Shared => purged.shared += 1,
                Fate::Failed => purged.failed += 1,
                Fate::Absent => {}
            }
        }
        let PurgedBlobs { blobs, bytes, pinned, in_use, shared, failed } = purged;
        tracing::info!(blobs, bytes, pinned, in_use, shared, failed, "purged");
        purged
    }

    fn purge_one(&self, digest: &Digest, protected: &Protected) -> Fate {
        let shelf = &self.core.shelf;
        match shelf.catalog.holders(digest, 1) {
            Ok(holders) if holders.is_empty() => {}
            Ok(_) => return Fate::Shared,
            Err(_) => return Fate::Failed,
        }
        if protected.is_pinned(digest) {
            return Fate::Pinned;
        }
        if shelf.store.is_read(digest) || self.core.fills.is_running(digest) {
            return Fate::InUse;
        }
        self.state.lock().recent.remove(digest);
        let mut batch = Batch::new();
        batch.condemn(digest, shelf.clock.now());
        // Refused where it is condemned already, where a pin came just now, and where the catalog
        // does not know it; what follows tells these apart.
        let _ = self.written(batch);
        if let Some(size_bytes) = self.unlink(digest) {
            return Fate::Removed(size_bytes);
        }
        match shelf.catalog.blob_size(digest) {
            Ok(None) => self.unlink_unknown(digest),
            Ok(Some(_)) if self.protected().is_some_and(|now| now.is_pinned(digest)) => {
                Fate::Pinned
            }
            _ => Fate::Failed,
        }
    }

    /// A file that no row speaks of: of a catalog that was lost, or of a write that was.
    fn unlink_unknown(&self, digest: &Digest) -> Fate {
        let shelf = &self.core.shelf;
        let Some(_removal) = shelf.holds.removal(digest) else { return Fate::InUse };
        shelf.memory.forget_manifest(digest);
        let removed = shelf.store.remove(digest);
        let mut batch = Batch::new();
        batch.blob_lost(digest);
        shelf.submit(batch);
        match removed {
            Ok(Some(size_bytes)) => Fate::Removed(size_bytes),
            Ok(None) => Fate::Absent,
            Err(error) => {
                tracing::error!(%digest, error = &error as &dyn std::error::Error, "a blob cannot be removed");
                Fate::Failed
            }
        }
    }
}
