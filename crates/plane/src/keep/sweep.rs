//! Removing what stayed condemned for the grace: row told, file unlinked, row gone.
//!
//! Unlinking is safe while others read: whoever has the file open keeps its bytes. The grace is for
//! clients that were just told of it by a manifest.

use super::{Keep, WRITE_TIME};
use catalog::Batch;
use oci::Digest;
use std::time::Duration;

/// Blobs removed at a time.
const PAGE: u32 = 1000;

impl Keep {
    /// Removes condemned blobs whose grace is over; with `pressing`, those that nobody reads now.
    pub(super) fn sweep(&self, pressing: bool) {
        let grace = if pressing { Duration::ZERO } else { self.settings.grace };
        self.sweep_older_than(grace);
    }

    fn sweep_older_than(&self, grace: Duration) -> (u64, u64) {
        let shelf = &self.core.shelf;
        let Ok(before) = shelf.clock.now().checked_sub(grace) else { return (0, 0) };
        // After the time was taken: what was served before it is known now.
        self.note_uses(false);
        let Ok(condemned) = shelf.catalog.condemned(before, PAGE) else { return (0, 0) };
        let (mut blobs, mut bytes) = (0, 0);
        for digest in condemned {
            // Under pressure a client that was just told of it has to wait for a download.
            if !grace.is_zero() && self.is_listed_lately(&digest) {
                self.spare(&digest);
                continue;
            }
            if let Some(size_bytes) = self.remove(&digest) {
                blobs += 1;
                bytes += size_bytes;
            }
        }
        if blobs > 0 {
            shelf.metrics.evicted(blobs, bytes);
            let mut state = self.state.lock();
            state.usage.blobs = state.usage.blobs.saturating_sub(blobs);
            state.usage.bytes = state.usage.bytes.saturating_sub(bytes);
            state.usage.condemned_bytes = state.usage.condemned_bytes.saturating_sub(bytes);
            tracing::info!(blobs, bytes, "removed from the store");
        }
        (blobs, bytes)
    }

    /// Keeps a condemned blob after all, if a name still holds it. One that nobody holds stays
    /// condemned, and only waits until those who were told of it are done.
    fn spare(&self, digest: &Digest) {
        let catalog = &self.core.shelf.catalog;
        if matches!(catalog.holders(digest, 1), Ok(holders) if !holders.is_empty()) {
            let mut batch = Batch::new();
            batch.uncondemn(digest);
            self.core.shelf.submit(batch);
        }
    }

    /// Removes one condemned blob. `None`: it stays, for now or for good.
    fn remove(&self, digest: &Digest) -> Option<u64> {
        let shelf = &self.core.shelf;
        if shelf.store.is_read(digest) || self.core.fills.is_running(digest) {
            return None;
        }
        if self.state.lock().recent.contains_key(digest) {
            // Somebody came back for it.
            self.spare(digest);
            return None;
        }
        self.unlink(digest)
    }

    /// The end of a condemned blob: row told, file unlinked, row gone.
    pub(super) fn unlink(&self, digest: &Digest) -> Option<u64> {
        let shelf = &self.core.shelf;
        // Not while a push brings it in: the row that it will have is not there to be seen yet.
        let _removal = shelf.holds.removal(digest)?;
        let mut batch = Batch::new();
        batch.begin_removal(digest);
        // Without this in the catalog, a crash would leave a row that claims the blob.
        if !self.written(batch) {
            return None;
        }
        shelf.memory.forget_manifest(digest);
        let removed = match shelf.store.remove(digest) {
            Ok(removed) => removed,
            Err(error) => {
                tracing::error!(%digest, error = &error as &dyn std::error::Error, "a blob cannot be removed");
                return None;
            }
        };
        let mut batch = Batch::new();
        batch.blob_gone(digest);
        let told = shelf.catalog.submit(batch).wait_for(WRITE_TIME);
        // Somebody brought it back meanwhile, perhaps to the file that is gone now.
        if matches!(told, Some(Err(_))) && matches!(shelf.store.blob(digest), Ok(None)) {
            let mut batch = Batch::new();
            batch.blob_lost(digest);
            shelf.submit(batch);
        }
        removed.or(Some(0))
    }
}
