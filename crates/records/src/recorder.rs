//! What the plane holds: takes entries without ever waiting, and tells how it goes.

use crate::layout::{self, LOCK};
use crate::limit::WriteLimit;
use crate::write::{Message, Shared, Writer, pack_thread};
use crate::{Anchor, Entry, Error, Instance, Options};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How the record stands.
#[derive(Clone, Debug)]
pub struct State {
    /// Whether entries are being lost, or would be by a kill: the last write failed, or something was
    /// lost and no line tells of it yet.
    pub is_losing: bool,
    /// Entries lost since the start, all told or to be told as gaps.
    pub lost: u64,
    /// Entries noted since the start.
    pub noted: u64,
    /// Of these, entries that are not on the disk yet.
    pub waiting: u64,
    /// How long the oldest of them has been waiting.
    pub lag: Duration,
    /// Why the last write failed, if it did.
    pub error: Option<String>,
    /// The last line on the disk. Kept elsewhere, it shows later that nothing was cut off.
    pub anchor: Anchor,
}

/// Writes the record of one instance. One per process; shared by all who note.
#[derive(Debug)]
pub struct Recorder {
    entries: SyncSender<Message>,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held until it is closed.
    lock: Mutex<Option<File>>,
}

impl Recorder {
    /// Goes on with the record of `instance` below the data directory, or begins it; what a crash left
    /// is put right and told. Blocks: it reads at most one segment.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process writes it; [`Error::Io`] if it cannot be read, or has to be
    /// begun and cannot be. A disk that is full now is no error where a segment is there already, but a
    /// [`State`]. [`Error::Damaged`] if it is not clear where the chain ended, or it is not ours.
    pub fn open(data: &Path, instance: Instance, options: Options) -> Result<Self, Error> {
        let dir = layout::instance_dir(data, &instance);
        layout::make_dir(&dir)?;
        let lock = layout::open_write(&dir.join(LOCK))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Error::InUse(dir));
        }
        let limit = Arc::new(WriteLimit::new(options.fail_writes_after_bytes));
        let (packer, wake) = sync_channel(1);
        let writer = Writer::open(&dir, &instance, &options, &limit, packer)?;
        let shared = writer.shared().clone();
        let (entries, taken) = sync_channel(options.queue_entries);
        let packing = Builder::new().name("record-pack".to_owned());
        let packing = packing.spawn(move || pack_thread(&dir, &wake)).map_err(Error::Thread)?;
        let writing = Builder::new().name("record".to_owned());
        let writing = writing.spawn(move || writer.run(&taken)).map_err(Error::Thread)?;
        let threads = Mutex::new(vec![writing, packing]);
        Ok(Self { entries, shared, threads, lock: Mutex::new(Some(lock)) })
    }

    /// Notes an entry. Never waits: an entry that finds no room is lost, and that is recorded.
    pub fn note(&self, entry: impl Into<Entry>) {
        let entry = entry.into();
        if self.shared.is_stopping.load(Ordering::Acquire) {
            return self.shared.lose(entry.at());
        }
        match self.entries.try_send(Message::Entry(entry)) {
            Ok(()) => {
                self.shared.noted.fetch_add(1, Ordering::Release);
            }
            Err(
                TrySendError::Full(Message::Entry(entry))
                | TrySendError::Disconnected(Message::Entry(entry)),
            ) => self.shared.lose(entry.at()),
            Err(_) => {}
        }
    }

    /// Waits until all that this thread noted is on the disk. Blocks.
    ///
    /// # Errors
    /// [`Error::NotWritten`] when a write failed meanwhile; it will be tried again. [`Error::Closed`].
    pub fn flush(&self) -> Result<(), Error> {
        let target = self.shared.noted.load(Ordering::Acquire);
        let mut progress = self.shared.progress.lock();
        let failures = progress.failures;
        // What was lost before is told by a commit that began after this, so not by one under way.
        let commits = match self.shared.has_losses() {
            true => progress.commits + 2,
            false => 0,
        };
        loop {
            if progress.done >= target && progress.commits >= commits {
                return Ok(());
            }
            if let Some(error) = progress.error.as_ref().filter(|_| progress.failures > failures) {
                return Err(Error::NotWritten(error.clone()));
            }
            if progress.is_over {
                return Err(Error::Closed);
            }
            self.shared.is_flush_wanted.store(true, Ordering::Release);
            // If the queue is full, nobody sleeps.
            let _ = self.entries.try_send(Message::Wake);
            self.shared.moved.wait(&mut progress);
        }
    }

    /// Whether entries are being lost now, or would be by a kill; [`State::is_losing`] for who asks for
    /// every request.
    pub fn is_losing(&self) -> bool {
        self.shared.is_losing()
    }

    /// How it stands: for readiness, for metrics, and for who refuses what cannot be recorded.
    pub fn state(&self) -> State {
        let noted = self.shared.noted.load(Ordering::Acquire);
        let progress = self.shared.progress.lock();
        State {
            is_losing: self.shared.is_losing(),
            lost: self.shared.lost.load(Ordering::Relaxed),
            noted,
            waiting: noted.saturating_sub(progress.done),
            lag: progress.waiting_since.map_or(Duration::ZERO, |since| since.elapsed()),
            error: progress.error.clone(),
            anchor: progress.anchor.clone(),
        }
    }

    /// How long segments are kept from now on; none: for good. Takes effect with the next segment, or
    /// within the hour.
    pub fn set_retain(&self, retain: Option<Duration>) {
        *self.shared.retain.lock() = retain;
    }

    /// For tests: from now on the disk is full after so many bytes; none: it is not.
    pub fn fail_writes_after_bytes(&self, bytes: Option<u64>) {
        self.shared.limit.set(bytes);
    }

    /// For tests: whether from now on the disk fails to keep what it takes.
    pub fn fail_syncs(&self, fails: bool) {
        self.shared.limit.fail_syncs(fails);
    }

    /// Writes what was noted and ends the record in order. What is noted later is lost. Blocks.
    ///
    /// # Errors
    /// [`Error::NotWritten`] if the last lines could not be written; the next start tells of it.
    pub fn close(&self) -> Result<(), Error> {
        self.shared.is_stopping.store(true, Ordering::Release);
        let _ = self.entries.try_send(Message::Wake);
        for thread in self.threads.lock().drain(..) {
            // A thread that panicked has said so; the rest is ended all the same.
            let _ = thread.join();
        }
        self.lock.lock().take();
        match &self.shared.progress.lock().error {
            Some(error) => Err(Error::NotWritten(error.clone())),
            None => Ok(()),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Whoever wants to know calls it before.
        let _ = self.close();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
