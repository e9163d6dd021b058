//! Going round the store itself, slowly, behind everything else: what a lost catalog knew is taken
//! in again, and bytes that rotted are found before somebody asks for them.

use super::{Keep, WRITE_TIME};
use blobs::{Error, Store, Verdict};
use catalog::Batch;
use jiff::Timestamp;
use oci::{Digest, Manifest, ManifestKind};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Files taken in with one write, and the pause after it.
const TAKEN_IN_AT_A_TIME: usize = 256;
const TAKE_IN_PAUSE: Duration = Duration::from_millis(100);
/// No manifest is larger that we would call one.
const MANIFEST_MAX_BYTES: usize = 4 << 20;

/// The scrub begins when the process has settled, and rests between rounds.
const SCRUB_AFTER: Duration = Duration::from_secs(60);
const SCRUB_INTERVAL: Duration = Duration::from_secs(3600);
/// It reads for at most one part in so many of the time.
const SCRUB_SHARE: u32 = 100;
/// It reads so much at a time, so that one huge blob is no burst of many seconds.
const SCRUB_BURST_BYTES: u64 = 4 << 20;
/// Shortest and longest pause.
const SCRUB_PAUSE_MIN: Duration = Duration::from_millis(20);
const SCRUB_PAUSE_MAX: Duration = Duration::from_secs(60);
/// A plane that stops waits no longer than this for it.
const STEP: Duration = Duration::from_millis(100);

/// What is next on a way round the store.
type Walk = Box<dyn Iterator<Item = Result<(Digest, u64), Error>> + Send>;

impl Keep {
    /// Takes in what a lost catalog knew, then scrubs until the plane stops.
    pub(super) async fn go_round(&self, is_catalog_lost: bool) {
        let work = async {
            if is_catalog_lost {
                self.take_in_all().await;
            }
            loop {
                tokio::time::sleep(SCRUB_AFTER).await;
                self.scrub(SCRUB_SHARE).await;
                tokio::time::sleep(SCRUB_INTERVAL).await;
            }
        };
        self.stop.run_until_cancelled(work).await;
    }

    /// Makes rows for all files of the store. What was not finished when the process ends, the scrub
    /// of a later one does.
    async fn take_in_all(&self) {
        let mut walk: Walk = Box::new(self.core.shelf.store.walk());
        let (mut files, mut bytes) = (0u64, 0u64);
        loop {
            let work = move |shelf: &crate::shelf::Shelf| {
                let found: Vec<_> = walk.by_ref().take(TAKEN_IN_AT_A_TIME).collect();
                let is_last = found.len() < TAKEN_IN_AT_A_TIME;
                let mut batch = Batch::new();
                let (mut files, mut bytes) = (0, 0);
                for found in found {
                    let Some((digest, size_bytes)) = told(found) else { continue };
                    if shelf.take_in_file(&mut batch, &digest, size_bytes) {
                        files += 1;
                        bytes += size_bytes;
                    }
                }
                // Waited for: what comes in slowly must not fill the queue.
                let is_written = batch.is_empty()
                    || matches!(shelf.catalog.submit(batch).wait_for(WRITE_TIME), Some(Ok(())));
                (walk, is_last || !is_written, files, bytes)
            };
            let Some((rest, is_last, more_files, more_bytes)) =
                self.core.shelf.blocking(work).await
            else {
                return;
            };
            walk = rest;
            files += more_files;
            bytes += more_bytes;
            if is_last {
                break;
            }
            tokio::time::sleep(TAKE_IN_PAUSE).await;
        }
        if files > 0 {
            tracing::warn!(
                files,
                bytes,
                "the catalog knew no blob but the store has files; they are counted again"
            );
            self.recount();
        }
    }

    /// One way round the store: each blob is read and held against its digest, for at most one part
    /// in `share` of the time. Nothing is read while the disk is short of space.
    pub(crate) async fn scrub(&self, share: u32) {
        let mut walk: Walk = Box::new(self.core.shelf.store.walk());
        loop {
            let step = move |_: &crate::shelf::Shelf| {
                let next = walk.next();
                (walk, next)
            };
            let Some((rest, next)) = self.core.shelf.blocking(step).await else { return };
            walk = rest;
            let Some(next) = next else { return };
            while self.bounds().is_pressing() {
                tokio::time::sleep(SCRUB_PAUSE_MAX).await;
            }
            let Some((digest, size_bytes)) = told(next) else { continue };
            self.scrub_one(digest, size_bytes, share).await;
        }
    }

    async fn scrub_one(&self, digest: Digest, size_bytes: u64, share: u32) {
        let mut pace = Pace::new(self.stop.clone(), share);
        let began = Instant::now();
        let work = move |shelf: &crate::shelf::Shelf| {
            let checked = shelf.check_blob(&digest, |bytes| pace.go_on(bytes));
            match checked {
                Ok(Verdict::Sound) => {
                    // A file that no row speaks of would never be evicted.
                    if matches!(shelf.catalog.blob_size(&digest), Ok(None)) {
                        let mut batch = Batch::new();
                        shelf.take_in_file(&mut batch, &digest, size_bytes);
                        shelf.submit(batch);
                    }
                }
                Ok(Verdict::Damaged | Verdict::Stopped) | Err(Error::Absent { .. }) => {}
                Err(error) => {
                    tracing::error!(%digest, error = &error as &dyn std::error::Error, "a blob cannot be checked");
                }
            }
            pace.slept
        };
        let Some(slept) = self.core.shelf.blocking(work).await else { return };
        let busy = began.elapsed().saturating_sub(slept);
        tokio::time::sleep(pause(busy, share)).await;
    }
}

impl crate::shelf::Shelf {
    /// Makes a row for a file of the store; the file's age stands for its last use. `false`: it is
    /// gone or cannot be read. Blocks.
    fn take_in_file(&self, batch: &mut Batch, digest: &Digest, size_bytes: u64) -> bool {
        take_in_file(&self.store, self.clock.now(), batch, digest, size_bytes)
    }
}

/// As the method of this name, without a plane.
pub(crate) fn take_in_file(
    store: &Store,
    now: Timestamp,
    batch: &mut Batch,
    digest: &Digest,
    size_bytes: u64,
) -> bool {
    let Ok(Some(looked)) = store.look(digest, MANIFEST_MAX_BYTES) else { return false };
    let is_manifest = looked.bytes.is_some_and(|bytes| {
        bytes.first() == Some(&b'{')
            && Manifest::parse(&bytes, None).is_ok_and(|m| m.kind != ManifestKind::Other)
    });
    let at = Timestamp::try_from(looked.modified).map_or(now, |modified| modified.min(now));
    batch.put_blob(digest, size_bytes, is_manifest, at);
    true
}

/// What was found on the way; what cannot be read is told to the log.
fn told(found: Result<(Digest, u64), Error>) -> Option<(Digest, u64)> {
    found
        .inspect_err(|error| {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "part of the store cannot be listed"
            );
        })
        .ok()
}

/// The pause that makes work of this length one part in `share` of the time.
fn pause(busy: Duration, share: u32) -> Duration {
    if share <= 1 {
        return Duration::ZERO;
    }
    busy.saturating_mul(share - 1).clamp(SCRUB_PAUSE_MIN, SCRUB_PAUSE_MAX)
}

/// Holds reading to a part of the time, and ends it when it is told to. For the blocking pool.
pub(crate) struct Pace {
    cancel: CancellationToken,
    share: u32,
    burst_bytes: u64,
    since: Instant,
    slept: Duration,
}

impl Pace {
    /// Reads for one part in `share` of the time.
    pub(crate) fn new(cancel: CancellationToken, share: u32) -> Self {
        let (since, slept) = (Instant::now(), Duration::ZERO);
        Self { cancel, share, burst_bytes: 0, since, slept }
    }

    /// So many bytes were read; waits if it is time for that. `false`: enough.
    pub(crate) fn go_on(&mut self, bytes: u64) -> bool {
        self.burst_bytes += bytes;
        if self.burst_bytes >= SCRUB_BURST_BYTES {
            let pause = pause(self.since.elapsed(), self.share);
            self.slept += pause;
            let until = Instant::now() + pause;
            while Instant::now() < until && !self.cancel.is_cancelled() {
                std::thread::sleep(pause.min(STEP));
            }
            (self.burst_bytes, self.since) = (0, Instant::now());
        }
        !self.cancel.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_follows_the_work() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(second / 10, 100), second * 99 / 10);
        assert_eq!(pause(second, 2), second);
        assert_eq!(pause(second, 1), Duration::ZERO);
        assert_eq!(pause(Duration::ZERO, 100), SCRUB_PAUSE_MIN);
        assert_eq!(pause(second * 60, 100), SCRUB_PAUSE_MAX);
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let cancel = CancellationToken::new();
        let mut pace = Pace::new(cancel.clone(), 1);
        assert!(pace.go_on(SCRUB_BURST_BYTES));
        cancel.cancel();
        assert!(!pace.go_on(1));
    }
}
