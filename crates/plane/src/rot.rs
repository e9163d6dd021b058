//! Bytes that rot: a blob in the store that is not what it was is taken away and said loudly; the
//! next request for it is a miss that fetches it again. What was pushed here nobody can fetch again:
//! its bytes are put aside, and reading it is "cannot tell" until it is pushed again or restored.
//!
//! Its length is held against what is known whenever its file is opened; a read that fails says the
//! rest. A flipped bit is found only by reading all of it ([`crate::keep`], [`crate::jobs`]): doing
//! that at every hit would cost more than the hit.

use crate::shelf::Shelf;
use blobs::{Blob, Error, Verdict};
use catalog::Batch;
use oci::{Digest, Name};
use std::sync::Arc;

/// Names that are told of what was lost.
const HOLDERS_TOLD: u32 = 3;

impl Shelf {
    /// Opens a blob if the store has it, whole. `size_bytes`: its length as a name knows it, for
    /// where the catalog has no row of the blob itself. Blocks.
    pub(crate) fn open_blob(&self, digest: &Digest, size_bytes: Option<u64>) -> Option<Blob> {
        if let Some(blob) = self.store.cached(digest) {
            return Some(blob);
        }
        let known = || self.catalog.blob_size(digest).ok().flatten().or(size_bytes);
        match self.store.blob_of_size(digest, known) {
            Ok(blob) => blob,
            Err(error) if error.is_damage() => {
                self.lost(digest, &error);
                None
            }
            Err(error) => {
                tracing::error!(%digest, error = &error as &dyn std::error::Error, "a blob cannot be opened");
                None
            }
        }
    }

    /// A stream of a stored blob failed: where that shows damage, the blob is taken away behind it.
    /// To be called inside a tokio runtime.
    pub(crate) fn broke(self: &Arc<Self>, blob: &Blob, error: &Error) {
        if !error.is_damage() {
            return;
        }
        let (shelf, blob, error) = (self.clone(), blob.clone(), error.to_string());
        tokio::task::spawn_blocking(move || shelf.damaged(&blob, &error));
    }

    /// Takes away a blob whose bytes are not what they were. Blocks.
    pub(crate) fn damaged(&self, blob: &Blob, why: &str) {
        match self.store.remove_damaged(blob) {
            Ok(true) => self.lost(blob.digest(), &why),
            // Somebody else did, or a good one has its name by now.
            Ok(false) => {}
            Err(error) => {
                let digest = blob.digest();
                tracing::error!(%digest, error = &error as &dyn std::error::Error, "a damaged blob cannot be removed");
            }
        }
    }

    /// Reads all of a blob and takes it away when it is not what its name says. `go_on`: see
    /// [`blobs::Store::check`]. Blocks.
    pub(crate) fn check_blob(
        &self,
        digest: &Digest,
        go_on: impl FnMut(u64) -> bool,
    ) -> Result<Verdict, Error> {
        let verdict = self.store.check(digest, go_on)?;
        if verdict == Verdict::Damaged {
            self.lost(digest, &"its bytes do not hash to its digest");
        }
        Ok(verdict)
    }

    /// An upstream vouches for a blob in the store. One that the catalog does not know (it was lost,
    /// say) becomes known; where the upstream says another length, its bytes are the judge first.
    pub(crate) async fn take_in(
        self: &Arc<Self>,
        digest: &Digest,
        is_manifest: bool,
        held_bytes: u64,
        said_bytes: Option<u64>,
    ) {
        let digest = *digest;
        let work = move |shelf: &Self| {
            // Even where there is a row: that of a file taken in unread is no better than the file.
            let is_doubtful = said_bytes.is_some_and(|said| said != held_bytes);
            if is_doubtful && !matches!(shelf.check_blob(&digest, |_| true), Ok(Verdict::Sound)) {
                return;
            }
            if !matches!(shelf.catalog.blob_size(&digest), Ok(None)) {
                return;
            }
            let mut batch = Batch::new();
            shelf.note_blob(&mut batch, &digest, held_bytes, is_manifest);
            shelf.submit(batch);
        };
        self.blocking(work).await;
    }

    /// Names that hold a digest as hosted content, a few of them. A catalog that does not answer says
    /// so by an error.
    pub(crate) fn hosted_holders(&self, digest: &Digest) -> Result<Vec<Name>, catalog::Error> {
        self.catalog.hosted_holders(digest, HOLDERS_TOLD)
    }

    /// The file is gone: says so to the log, the metrics and the catalog. What names hold of it
    /// stays: the next request fetches it again, where there is somebody to fetch it from.
    fn lost(&self, digest: &Digest, why: &dyn std::fmt::Display) {
        match self.hosted_holders(digest) {
            Ok(holders) if holders.is_empty() => tracing::error!(
                %digest, %why,
                "a blob in the store was damaged; it is removed and will be fetched again: check the disk"
            ),
            Ok(holders) => tracing::error!(
                %digest, %why, ?holders,
                "hosted content was damaged; its bytes are put aside with .damaged behind their name: \
                 push it again, or restore the store from a backup, and check the disk"
            ),
            Err(_) => tracing::error!(
                %digest, %why,
                "a blob in the store was damaged; its bytes are put aside with .damaged behind their \
                 name: check the disk"
            ),
        }
        self.metrics.damaged_blob();
        self.memory.forget_manifest(digest);
        let mut batch = Batch::new();
        batch.blob_lost(digest);
        self.submit(batch);
        self.lost_one.notify_one();
    }

    /// Has the store put damaged bytes aside that nobody can fetch again. Where the catalog cannot
    /// tell, it may be such bytes.
    pub(crate) fn rescue_hosted(&self) {
        let catalog = self.catalog.clone();
        self.store.rescue_damaged(move |digest| {
            // A fresh catalog does not know yet what is hosted.
            let is_complete = matches!(catalog.is_complete(), Ok(true));
            !is_complete
                || !matches!(catalog.hosted_holders(digest, 1), Ok(holders) if holders.is_empty())
        });
    }
}
