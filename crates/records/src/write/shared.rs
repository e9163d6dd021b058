//! What those who note and the thread that writes know of each other.

use crate::limit::WriteLimit;
use crate::line::{GapBody, GapWhy};
use crate::{Anchor, Entry, Error};
use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is sent to the thread that writes.
pub(crate) enum Message {
    /// Something to be written.
    Entry(Entry),
    /// Something changed: look at the flags.
    Wake,
}

/// How far the thread that writes is.
pub(crate) struct Progress {
    /// Entries that are on the disk.
    pub(crate) done: u64,
    /// Commits since the start.
    pub(crate) commits: u64,
    /// Of these, those that failed.
    pub(crate) failures: u64,
    /// Why the last one failed; none when it did not.
    pub(crate) error: Option<String>,
    /// Since when something waits to be on the disk.
    pub(crate) waiting_since: Option<Instant>,
    /// The last line on the disk.
    pub(crate) anchor: Anchor,
    /// The thread has ended.
    pub(crate) is_over: bool,
}

/// What was lost and is not yet told.
#[derive(Default)]
struct Losses {
    count: u64,
    span: Option<(Timestamp, Timestamp)>,
    /// Why the disk took nothing, if that was why at any time.
    why: Option<GapWhy>,
}

/// What both sides see.
pub(crate) struct Shared {
    /// Entries taken into the queue.
    pub(crate) noted: AtomicU64,
    /// Entries lost since the start.
    pub(crate) lost: AtomicU64,
    pub(crate) is_flush_wanted: AtomicBool,
    pub(crate) is_stopping: AtomicBool,
    pub(crate) retain: Mutex<Option<Duration>>,
    pub(crate) progress: Mutex<Progress>,
    pub(crate) moved: Condvar,
    pub(crate) limit: Arc<WriteLimit>,
    losses: Mutex<Losses>,
    has_losses: AtomicBool,
    is_over: AtomicBool,
    /// 0: the disk takes what is written; 1: it is full; 2: it fails otherwise.
    failing: AtomicU8,
}

impl Shared {
    pub(crate) fn new(anchor: Anchor, retain: Option<Duration>, limit: Arc<WriteLimit>) -> Self {
        let progress = Progress {
            done: 0,
            commits: 0,
            failures: 0,
            error: None,
            waiting_since: None,
            anchor,
            is_over: false,
        };
        Self {
            noted: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            is_flush_wanted: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            retain: Mutex::new(retain),
            progress: Mutex::new(progress),
            moved: Condvar::new(),
            limit,
            losses: Mutex::new(Losses::default()),
            has_losses: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            failing: AtomicU8::new(0),
        }
    }

    /// Counts an entry that nobody will write.
    pub(crate) fn lose(&self, at: Timestamp) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        let failing = self.failing();
        let mut losses = self.losses.lock();
        self.has_losses.store(true, Ordering::Relaxed);
        losses.count += 1;
        losses.why = losses.why.or(failing);
        let (first, last) = losses.span.unwrap_or((at, at));
        losses.span = Some((first.min(at), last.max(at)));
    }

    /// Whether something was lost that no line tells of yet.
    pub(crate) fn has_losses(&self) -> bool {
        self.has_losses.load(Ordering::Relaxed)
    }

    /// The line that tells of what was lost.
    pub(crate) fn take_gap(&self) -> Option<GapBody> {
        if !self.has_losses() {
            return None;
        }
        let mut losses = self.losses.lock();
        self.has_losses.store(false, Ordering::Relaxed);
        let losses = std::mem::take(&mut *losses);
        let (from, to) = losses.span?;
        let why = losses.why.unwrap_or(GapWhy::QueueFull);
        Some(GapBody { why, lost: Some(losses.count), from, to, bytes_cut: None })
    }

    /// Why the disk takes nothing now.
    pub(crate) fn failing(&self) -> Option<GapWhy> {
        match self.failing.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(GapWhy::DiskFull),
            _ => Some(GapWhy::WriteError),
        }
    }

    /// Tells those who wait what came of a commit of all entries up to `done`.
    pub(crate) fn committed(&self, done: u64, result: Result<Anchor, &Error>) {
        let mut progress = self.progress.lock();
        progress.commits += 1;
        match result {
            Ok(anchor) => {
                progress.done = done;
                progress.anchor = anchor;
                progress.error = None;
                self.failing.store(0, Ordering::Relaxed);
                progress.waiting_since = None;
            }
            Err(error) => {
                progress.failures += 1;
                let failing = if error.is_disk_full() { 1 } else { 2 };
                self.failing.store(failing, Ordering::Relaxed);
                progress.error = Some(error.whole());
            }
        }
        drop(progress);
        self.moved.notify_all();
    }

    /// Something was taken that waits from now on.
    pub(crate) fn waits(&self) {
        self.progress.lock().waiting_since.get_or_insert_with(Instant::now);
    }

    /// Whether entries are being lost now, or would be by a kill.
    pub(crate) fn is_losing(&self) -> bool {
        self.has_losses() || self.failing().is_some() || self.is_over.load(Ordering::Relaxed)
    }

    /// The thread ends; nobody need wait any more.
    pub(crate) fn over(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.progress.lock().is_over = true;
        self.moved.notify_all();
    }
}
