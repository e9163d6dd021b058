//! What the writer of a fill and its readers share.

use super::window::Window;
use crate::refusal::Refusal;
use blobs::PartReader;
use bytes::Bytes;
use oci::{Digest, ErrorCode, Name};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use upstream::{Failure, FailureKind};

/// One download, shared by all who wait for it (contracts §8).
#[derive(Debug)]
pub(crate) struct Fill {
    pub(super) digest: Digest,
    /// The name for which it was begun; others join once their own upstream has the digest.
    initiator: Name,
    vouched: Mutex<HashSet<Name>>,
    progress: watch::Sender<Progress>,
    /// Readers may have the bytes before this offset.
    released: AtomicU64,
    /// The part file has the bytes before this offset.
    kept: AtomicU64,
    window: Mutex<Window>,
    part: OnceLock<PartReader>,
    /// The disk is full: what leaves the window is gone.
    is_unkept: AtomicBool,
    /// It is about to end for want of readers, and takes no more.
    is_parking: AtomicBool,
    readers: Mutex<HashMap<u64, Arc<AtomicU64>>>,
    reader_ids: AtomicU64,
    reader_count: watch::Sender<usize>,
    /// Nobody may have it any more, and why.
    block: watch::Sender<Option<Arc<str>>>,
    /// A reader moved on or left; only the writer of an unkept fill waits for it.
    pub(super) advanced: Notify,
}

/// How far it is.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) phase: Phase,
    /// Length of the blob, as the upstream says.
    pub(super) total_bytes: Option<u64>,
}

/// How it stands.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// The upstream has not answered.
    Starting,
    /// Bytes come.
    Flowing,
    /// All of it is there and right.
    Complete,
    /// It ended otherwise.
    Failed(FillFailure),
}

/// Why a fill ended without all of the bytes.
#[derive(Clone, Debug)]
pub(crate) enum FillFailure {
    /// The upstream's answer.
    Upstream(Failure),
    /// The bytes are not those of the digest.
    Mismatch(Arc<str>),
    /// Nobody wanted it any more, or the process stops.
    Parked,
    /// No failure at all: the store had the blob already.
    Stored,
    /// Nobody may have it any more: a block, with its reason.
    Blocked(Arc<str>),
    /// Our own trouble.
    Internal(Arc<str>),
}

impl FillFailure {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Upstream(failure) => failure.reason().to_owned(),
            Self::Mismatch(text) | Self::Blocked(text) | Self::Internal(text) => text.to_string(),
            Self::Parked => "the download was parked".to_owned(),
            Self::Stored => "the store has it already".to_owned(),
        }
    }
}

/// The refusal that an upstream's answer amounts to; `absent` is the code for what is not there.
pub(crate) fn refusal_of(failure: &Failure, absent: ErrorCode) -> Refusal {
    match failure.kind() {
        FailureKind::Absent => {
            Refusal::Absent { code: absent, reason: failure.reason().to_owned() }
        }
        FailureKind::Denied => Refusal::UpstreamDenied(failure.reason().to_owned()),
        _ => Refusal::Indeterminate {
            reason: failure.reason().to_owned(),
            retry_after: failure.retry_after(),
            is_rate_limit: failure.is_rate_limit(),
        },
    }
}

impl From<&FillFailure> for Refusal {
    fn from(failure: &FillFailure) -> Self {
        let later = |reason: String| Refusal::Indeterminate {
            reason,
            retry_after: Some(Duration::from_secs(1)),
            is_rate_limit: false,
        };
        match failure {
            FillFailure::Upstream(failure) => refusal_of(failure, ErrorCode::BlobUnknown),
            FillFailure::Internal(text) => Refusal::Internal(text.to_string()),
            other => later(other.text()),
        }
    }
}

/// A reader's place among the readers of a fill; leaving is dropping it.
#[derive(Debug)]
pub(super) struct Place {
    fill: Arc<Fill>,
    id: u64,
    position: Arc<AtomicU64>,
}

impl Place {
    /// Tells how far this reader is.
    pub(super) fn at(&self, position: u64) {
        self.position.store(position, Ordering::Release);
        if self.fill.is_unkept.load(Ordering::Acquire) {
            self.fill.advanced.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.fill.readers.lock().remove(&self.id);
        self.fill.reader_count.send_modify(|count| *count -= 1);
        self.fill.advanced.notify_one();
    }
}

impl Fill {
    pub(super) fn new(digest: Digest, initiator: Name) -> Self {
        Self {
            digest,
            initiator,
            vouched: Mutex::default(),
            progress: watch::Sender::new(Progress { phase: Phase::Starting, total_bytes: None }),
            released: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            window: Mutex::default(),
            part: OnceLock::new(),
            is_unkept: AtomicBool::new(false),
            is_parking: AtomicBool::new(false),
            readers: Mutex::default(),
            reader_ids: AtomicU64::new(0),
            reader_count: watch::Sender::new(0),
            block: watch::Sender::new(None),
            advanced: Notify::new(),
        }
    }

    /// Whether a request for this name may join without asking its own upstream first.
    pub(crate) fn is_vouched_by(&self, name: &Name) -> bool {
        self.initiator == *name || self.vouched.lock().contains(name)
    }

    /// The upstream behind `name` has the digest.
    pub(crate) fn vouch(&self, name: &Name) {
        self.vouched.lock().insert(name.clone());
    }

    /// Ends it: nothing of it is kept or sent any more.
    pub(super) fn end_by_block(&self, why: &str) {
        self.set_parking();
        self.block.send_replace(Some(why.into()));
    }

    /// Why nobody may have it any more.
    pub(super) fn block(&self) -> Option<FillFailure> {
        self.block.borrow().clone().map(FillFailure::Blocked)
    }

    /// Waits until nobody may have it any more.
    pub(super) async fn blocked(&self) -> FillFailure {
        // The sender is ours: it does not go while somebody waits.
        let _ = self.block.subscribe().wait_for(Option::is_some).await;
        self.block().unwrap_or(FillFailure::Parked)
    }

    pub(super) fn initiator(&self) -> &Name {
        &self.initiator
    }

    pub(super) fn is_parking(&self) -> bool {
        self.is_parking.load(Ordering::Acquire)
    }

    pub(super) fn set_parking(&self) {
        self.is_parking.store(true, Ordering::Release);
    }

    /// Waits until it has ended, however that is.
    pub(crate) async fn ended(&self) {
        let ended = |p: &Progress| matches!(p.phase, Phase::Complete | Phase::Failed(_));
        let _ = self.subscribe().wait_for(ended).await;
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let id = self.reader_ids.fetch_add(1, Ordering::Relaxed);
        let position = Arc::new(AtomicU64::new(0));
        self.readers.lock().insert(id, position.clone());
        self.reader_count.send_modify(|count| *count += 1);
        Place { fill: self.clone(), id, position }
    }

    pub(super) fn reader_count(&self) -> usize {
        *self.reader_count.borrow()
    }

    /// Resolves when nobody has wanted it for as long as `linger`.
    pub(super) async fn abandoned(&self, linger: Duration) {
        let mut count = self.reader_count.subscribe();
        loop {
            if count.wait_for(|count| *count == 0).await.is_err() {
                return;
            }
            if tokio::time::timeout(linger, count.wait_for(|count| *count > 0)).await.is_err() {
                return;
            }
        }
    }

    // ---- the writer's side -----------------------------------------------------------------

    pub(super) fn set_part(&self, reader: PartReader) {
        let _ = self.part.set(reader);
    }

    /// The upstream has it; `prefix_bytes` of it are in the part file from an earlier fill.
    pub(super) fn begin(&self, total_bytes: Option<u64>, prefix_bytes: u64) {
        self.vouch(&self.initiator);
        self.kept.store(prefix_bytes, Ordering::Release);
        // The end of the prefix is the end of the blob only if nothing is missing; then the digest
        // decides before the last byte goes out.
        let held = u64::from(total_bytes.is_none_or(|total| prefix_bytes >= total));
        self.released.store(prefix_bytes.saturating_sub(held), Ordering::Release);
        self.progress.send_replace(Progress { phase: Phase::Flowing, total_bytes });
    }

    /// Makes a chunk readable up to `released`; `kept`: the part file has it too.
    pub(super) fn publish(&self, offset: u64, chunk: Bytes, released: u64, kept: bool) {
        let end = offset + chunk.len() as u64;
        self.window.lock().push(offset, chunk);
        if kept {
            self.kept.store(end, Ordering::Release);
        }
        self.released.fetch_max(released, Ordering::AcqRel);
        self.progress.send_modify(|_| {});
    }

    pub(super) fn shrink_window(&self, max_bytes: usize) {
        self.window.lock().shrink_to(max_bytes);
    }

    pub(super) fn window_bytes(&self) -> usize {
        self.window.lock().bytes()
    }

    pub(super) fn is_unkept(&self) -> bool {
        self.is_unkept.load(Ordering::Acquire)
    }

    pub(super) fn set_unkept(&self) {
        self.is_unkept.store(true, Ordering::Release);
    }

    /// Drops from the window what every reader has taken. Readers whose bytes the part file has
    /// are not waited for.
    pub(super) fn drop_taken(&self) {
        let kept = self.kept.load(Ordering::Acquire);
        let slowest = self.readers.lock().values().map(|p| p.load(Ordering::Acquire)).min();
        let taken = slowest.unwrap_or(u64::MAX).min(self.released.load(Ordering::Acquire));
        self.window.lock().drop_before(taken.max(kept));
    }

    /// Gives up readers whose next bytes are gone, so that nobody waits for them again. They find
    /// out when they go on.
    pub(super) fn give_up_laggards(&self) {
        let kept = self.kept.load(Ordering::Acquire);
        let Some(start) = self.window.lock().start().filter(|start| *start > kept) else { return };
        for position in self.readers.lock().values() {
            if position.load(Ordering::Acquire) < start {
                position.store(u64::MAX, Ordering::Release);
            }
        }
    }

    /// All bytes are there and right.
    pub(super) fn complete(&self, total_bytes: u64) {
        self.released.store(total_bytes, Ordering::Release);
        let total_bytes = Some(total_bytes);
        self.progress.send_replace(Progress { phase: Phase::Complete, total_bytes });
    }

    /// From now on the part file, which is the blob's, has all of it.
    pub(super) fn forget_window(&self) {
        self.window.lock().clear();
    }

    pub(super) fn fail(&self, failure: FillFailure) {
        self.progress.send_modify(|progress| progress.phase = Phase::Failed(failure));
    }

    // ---- the readers' side -----------------------------------------------------------------

    pub(super) fn released(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }

    /// Bytes at `position`, at most `max`, if they are in memory.
    pub(super) fn in_window(&self, position: u64, max: u64) -> Option<Bytes> {
        self.window.lock().get(position, max)
    }

    /// The part file, and up to where it can be read.
    pub(super) fn in_part(&self) -> Option<(&PartReader, u64)> {
        Some((self.part.get()?, self.kept.load(Ordering::Acquire)))
    }

    /// Whether a reader that begins at `position` would find its bytes.
    pub(crate) fn can_serve_from(&self, position: u64) -> bool {
        if !self.is_unkept.load(Ordering::Acquire) {
            return true;
        }
        let start = self.window.lock().start();
        let kept = self.kept.load(Ordering::Acquire);
        start.is_none_or(|start| start <= kept || position >= start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lost_its_place_is_waited_for_no_more() {
        let fill = Arc::new(Fill::new(Digest::sha256(b"x"), Name::parse("a/b").unwrap()));
        fill.set_unkept();
        let (slow, quick) = (fill.enter(), fill.enter());
        for offset in 0..4 {
            fill.publish(offset * 10, Bytes::from_static(&[0; 10]), offset * 10 + 10, false);
        }
        quick.at(40);
        fill.drop_taken();
        assert_eq!(fill.window_bytes(), 40, "the slow one is waited for");
        fill.shrink_window(20);
        fill.give_up_laggards();
        fill.drop_taken();
        assert_eq!(fill.window_bytes(), 0, "but not for ever");
        drop((slow, quick));
    }
}
