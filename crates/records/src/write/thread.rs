//! The thread that writes: takes entries, adds lines, and puts them on the disk a few times a second.

use super::live::{self, Live};
use super::repeats::Repeats;
use super::shared::{Message, Shared};
use super::{pack, recover};
use crate::detail::Text;
use crate::line::{Kind, StartBody};
use crate::{Anchor, Entry, Error, Happened, Instance, Options, layout, summary};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

/// Bytes of lines that may wait while the disk cannot be written. Then the queue fills.
const PENDING_BYTES_MAX: usize = 4 << 20;

/// Entries that are taken before it is looked whether something else is due.
const TAKEN_AT_ONCE_MAX: usize = 16_384;

/// How often it is looked whether the file that is being written is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked for segments that are too old, besides at each new segment.
const RETAIN_EVERY: Duration = Duration::from_secs(3600);

/// All that the thread has.
pub(crate) struct Writer {
    dir: PathBuf,
    instance: Instance,
    options: Options,
    live: Live,
    repeats: Repeats,
    shared: Arc<Shared>,
    /// Wakes the thread that compresses.
    packer: SyncSender<()>,
    /// Entries taken from the queue.
    taken: u64,
    /// Whether the last commit failed.
    is_failing: bool,
    committed_at: Instant,
    retained_at: Option<Instant>,
    looked_at: Instant,
    /// Whether somebody removed what is being written.
    is_gone: bool,
}

impl Writer {
    /// Goes on with what is there, and has the first lines on the disk when it comes back; or, if the disk
    /// takes nothing now, later: that must not keep a plane from its start. Blocks.
    pub(crate) fn open(
        dir: &Path,
        instance: &Instance,
        options: &Options,
        limit: &Arc<crate::limit::WriteLimit>,
        packer: SyncSender<()>,
    ) -> Result<Self, Error> {
        let now = (options.clock)();
        let mut live = recover::go_on(dir, instance, now, limit)?;
        let start = StartBody { version: &options.version, pid: std::process::id() };
        live.line(now, Kind::Start, |line| line.members(&start));
        let (window, table_max) = (options.repeat_window, options.repeat_entries);
        let mut repeats = Repeats::open(dir, window, table_max, limit)?;
        // The journal is emptied only when what it held is among the lines on the disk.
        let first = live.commit().and_then(|()| repeats.commit());
        let anchor = anchor(instance, &live);
        let shared = Arc::new(Shared::new(anchor, options.retain, limit.clone()));
        if let Err(error) = &first {
            tracing::error!(error = %error.whole(), %instance, "the record cannot be written");
            shared.committed(0, Err(error));
        }
        Ok(Self {
            dir: dir.to_owned(),
            instance: instance.clone(),
            options: options.clone(),
            live,
            repeats,
            shared,
            packer,
            taken: 0,
            is_failing: first.is_err(),
            committed_at: Instant::now(),
            retained_at: None,
            looked_at: Instant::now(),
            is_gone: false,
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Writes until it is told to stop. Blocks.
    pub(crate) fn run(mut self, entries: &Receiver<Message>) {
        // Also if it panics: nobody waits for a thread that is gone.
        let _over = Over(self.shared.clone());
        let _ = self.packer.try_send(());
        loop {
            let is_stopping = self.shared.is_stopping.load(Ordering::Acquire);
            let is_disconnected = self.take(entries);
            self.keep_up();
            if is_stopping || is_disconnected {
                break;
            }
        }
        self.stop(entries);
    }

    /// Takes entries until it is time to put them on the disk. Tells whether nobody can send more.
    fn take(&mut self, entries: &Receiver<Message>) -> bool {
        if self.live.pending_bytes() > PENDING_BYTES_MAX {
            // The disk has to take what there is first.
            std::thread::sleep(self.options.commit_every);
            return false;
        }
        let until = self.committed_at + self.options.commit_every;
        for _ in 0..TAKEN_AT_ONCE_MAX {
            let is_wanted = self.shared.is_flush_wanted.load(Ordering::Relaxed);
            let wait = match is_wanted {
                true => Duration::ZERO,
                false => until.saturating_duration_since(Instant::now()),
            };
            let message = match entries.try_recv() {
                Err(TryRecvError::Empty) if !wait.is_zero() => entries.recv_timeout(wait),
                Err(TryRecvError::Empty) => Err(RecvTimeoutError::Timeout),
                Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
                Ok(message) => Ok(message),
            };
            match message {
                Ok(Message::Entry(entry)) => self.entry(entry),
                Ok(Message::Wake) | Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
            let is_much = self.live.pending_bytes() >= self.options.commit_bytes;
            // For who waits, all that is in the queue comes first.
            if is_much || (wait.is_zero() && !is_wanted) {
                return false;
            }
        }
        false
    }

    fn entry(&mut self, entry: Entry) {
        self.shared.waits();
        self.taken += 1;
        match entry {
            Entry::Decision(mut decision) => {
                if !decision.message.is_empty() {
                    let id = decision.id.to_string();
                    decision.message = decision.message.replace(&id, "{id}");
                }
                if let Some(decision) = self.repeats.count(decision) {
                    let seq = self.live.decision(&decision);
                    self.repeats.remember(decision, seq, (self.options.clock)());
                }
            }
            Entry::Event(event) => match event.what {
                Happened::Revision { revision, by } => {
                    let members = serde_json::json!({ "revision": revision, "by": live::cut(&by) });
                    self.live.line(event.at, Kind::Revision, |line| line.members(&members));
                }
                Happened::Mark { what, detail } => {
                    let members = serde_json::json!({ "what": live::cut(&what) });
                    let detail = Text::new(detail.to_string()).json;
                    self.live.line(event.at, Kind::Mark, |line| {
                        line.members(&members).json("detail", &detail)
                    });
                }
            },
        }
    }

    /// Does all that is due: ends windows and segments, puts lines on the disk.
    fn keep_up(&mut self) {
        let now = (self.options.clock)();
        if self.repeats.is_over(now) {
            self.repeats.close(&mut self.live);
        }
        let is_due = self.committed_at.elapsed() >= self.options.commit_every
            || self.live.pending_bytes() >= self.options.commit_bytes
            || self.shared.is_flush_wanted.load(Ordering::Acquire)
            || self.shared.is_stopping.load(Ordering::Acquire);
        if !is_due || (self.is_gone() && !self.begin_anew()) || self.commit().is_err() {
            return;
        }
        if self.is_full(now) {
            self.repeats.close(&mut self.live);
            if self.commit().is_ok() {
                self.rotate();
            }
        }
        if self.retained_at.is_none_or(|at| at.elapsed() >= RETAIN_EVERY) {
            self.retain();
        }
    }

    fn is_full(&self, now: jiff::Timestamp) -> bool {
        let begun = self.live.segment().begun_unix_ms;
        let age_ms = now.as_millisecond().saturating_sub(begun);
        let is_old =
            u128::try_from(age_ms).is_ok_and(|age| age >= self.options.segment_age.as_millis());
        self.live.has_lines() && (is_old || self.live.bytes() >= self.options.segment_bytes)
    }

    /// Puts all lines on the disk, tells of what was lost, and lets those know who wait.
    fn commit(&mut self) -> Result<(), Error> {
        self.shared.is_flush_wanted.store(false, Ordering::Release);
        self.committed_at = Instant::now();
        let result = self.try_commit();
        match &result {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the record is written again");
                }
                self.shared.committed(self.taken, Ok(anchor(&self.instance, &self.live)));
            }
            Err(error) => self.failed(error),
        }
        result
    }

    fn failed(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let (error, instance) = (error.whole(), self.instance.as_str());
            tracing::error!(%error, instance, "the record cannot be written");
        }
        self.shared.committed(0, Err(error));
    }

    fn try_commit(&mut self) -> Result<(), Error> {
        self.live.commit()?;
        self.repeats.commit()?;
        // Only now is it known that a line about it can be written.
        if let Some(gap) = self.shared.take_gap() {
            tracing::warn!(why = ?gap.why, lost = gap.lost, "decisions were not recorded");
            let now = (self.options.clock)();
            self.live.line(now, Kind::Gap, |line| line.members(&gap));
            self.live.commit()?;
        }
        Ok(())
    }

    /// Looks now and then whether somebody removed what is being written.
    fn is_gone(&mut self) -> bool {
        if !self.is_gone && self.looked_at.elapsed() >= LOOK_EVERY {
            self.looked_at = Instant::now();
            self.is_gone = self.live.is_gone();
            if self.is_gone {
                let segment = self.live.segment().plain();
                tracing::error!(segment = %segment.display(), "somebody removed the record");
            }
        }
        self.is_gone
    }

    /// Begins a new segment where the one that was written is gone, with its lines. It does not hide
    /// that: its chain goes on from lines that are missing.
    fn begin_anew(&mut self) -> bool {
        self.shared.is_flush_wanted.store(false, Ordering::Release);
        self.committed_at = Instant::now();
        self.repeats.close(&mut self.live);
        match self.try_anew() {
            Ok(()) => self.is_gone = false,
            Err(error) => self.failed(&error),
        }
        !self.is_gone
    }

    fn try_anew(&mut self) -> Result<(), Error> {
        self.live.commit()?;
        layout::make_dir(&self.dir)?;
        let (window, table_max) = (self.options.repeat_window, self.options.repeat_entries);
        self.repeats = Repeats::open(&self.dir, window, table_max, &self.shared.limit)?;
        self.live.rotate((self.options.clock)())
    }

    fn rotate(&mut self) {
        if let Err(error) = self.live.rotate((self.options.clock)()) {
            // The old segment goes on; the next commit tries again.
            tracing::warn!(error = %error.whole(), "cannot begin a new segment of the record");
            return;
        }
        self.retained_at = None;
        self.shared.committed(self.taken, Ok(anchor(&self.instance, &self.live)));
        let _ = self.packer.try_send(());
    }

    fn retain(&mut self) {
        self.retained_at = Some(Instant::now());
        let Some(retain) = *self.shared.retain.lock() else { return };
        if let Err(error) = self.remove_older(retain) {
            tracing::warn!(error = %error.whole(), "cannot remove old segments of the record");
        }
    }

    /// Removes old segments. First the chain says so, then the anchor; then they go.
    fn remove_older(&mut self, retain: Duration) -> Result<(), Error> {
        let now = (self.options.clock)();
        let Some((removed, segments)) = pack::too_old(&self.dir, now, retain)? else {
            return Ok(());
        };
        self.live.line(now, Kind::Retained, |line| line.members(&removed));
        self.commit()?;
        summary::write_anchor(&self.dir, &removed)?;
        segments.iter().try_for_each(layout::Segment::remove)?;
        layout::sync_dir(&self.dir)
    }

    /// Writes what is left, and says that it ended in order.
    fn stop(&mut self, entries: &Receiver<Message>) {
        while let Ok(message) = entries.try_recv() {
            match message {
                Message::Entry(entry) if self.live.pending_bytes() > PENDING_BYTES_MAX => {
                    if self.is_failing || self.commit().is_err() {
                        self.shared.lose(entry.at());
                    } else {
                        self.entry(entry);
                    }
                }
                Message::Entry(entry) => self.entry(entry),
                Message::Wake => {}
            }
        }
        self.repeats.close(&mut self.live);
        let now = (self.options.clock)();
        if self.commit().is_err() {
            return;
        }
        self.live.line(now, Kind::Stop, |line| line);
        let _ = self.commit();
    }
}

/// Tells that the thread ends, when it is dropped.
struct Over(Arc<Shared>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over();
    }
}

fn anchor(instance: &Instance, live: &Live) -> Anchor {
    let walk = live.durable();
    Anchor { instance: instance.clone(), seq: walk.next_seq - 1, hash: walk.last }
}
