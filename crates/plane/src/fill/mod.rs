//! The shared fill: one download per digest, streamed to all who wait while it is stored
//! (contracts §8, design invariants 2 and 3).
//!
//! A fill is a task of the process, not of a request. It writes and hashes what the upstream sends
//! ([`writer`]); those who wait follow it ([`reader`]), each at its own pace and offset, through
//! what they share ([`state`]): the last chunks in memory and the part file behind them. The end of
//! the blob is held back until the digest is right. Whoever leaves or crawls stops nobody; a fill
//! that nobody wants is parked and resumed by the next who does.

mod gathered;
mod reader;
mod sink;
mod state;
mod window;
mod writer;

pub(crate) use reader::FillReader;
pub(crate) use state::{Fill, FillFailure, refusal_of};

use crate::shelf::Shelf;
use oci::{Digest, Name};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use upstream::{Class, Upstream};

/// How downloads are bounded.
#[derive(Clone, Copy, Debug)]
pub struct FillSettings {
    /// Downloads at a time; further ones wait. Bounds memory, sockets and open files.
    pub max_concurrent: usize,
    /// How long a download goes on that nobody wants any more.
    pub linger: Duration,
    /// Most bytes of parked downloads.
    pub parts_max_bytes: u64,
}

impl Default for FillSettings {
    fn default() -> Self {
        Self { max_concurrent: 256, linger: Duration::from_secs(60), parts_max_bytes: 20 << 30 }
    }
}

/// Where a blob comes from, and for whom.
#[derive(Clone)]
pub(crate) struct FillSource {
    pub(crate) upstream: Upstream,
    pub(crate) upstream_label: Arc<str>,
    /// What the upstream calls the repository.
    pub(crate) upstream_name: Name,
    /// The canonical name.
    pub(crate) name: Name,
    /// The credential scope the upstream is asked with.
    pub(crate) private_to: Option<String>,
    pub(crate) media_type: Option<oci::MediaType>,
    pub(crate) class: Class,
}

/// The fills that run.
#[derive(Clone)]
pub(crate) struct Fills(Arc<Inner>);

/// Fills that wait or run, for each that may run; who would begin one more is sent away.
const WAITING_FACTOR: usize = 16;

/// What came of asking for a fill.
pub(crate) enum Boarding {
    /// It was begun now.
    Begun(FillReader),
    /// It ran already.
    Joined(FillReader),
    /// It runs for other names; one's own upstream has to say that it has the digest.
    Unvouched(Arc<Fill>),
    /// It is being parked: another can begin once it has ended.
    Parking(Arc<Fill>),
    /// Too many wait or run.
    Full,
}

struct Inner {
    shelf: Arc<Shelf>,
    settings: FillSettings,
    running: Mutex<HashMap<Digest, Arc<Fill>>>,
    slots: Semaphore,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Fills {
    pub(crate) fn new(shelf: Arc<Shelf>, settings: FillSettings) -> Self {
        let slots = Semaphore::new(settings.max_concurrent.clamp(1, Semaphore::MAX_PERMITS));
        Self(Arc::new(Inner {
            shelf,
            settings,
            running: Mutex::default(),
            slots,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Reads along with the fill of a digest, which is begun from `source` if none runs. Whether
    /// the name may join is judged under the same lock, so that no fill slips in between.
    pub(crate) fn join_or_start(&self, digest: &Digest, source: FillSource) -> Boarding {
        let mut running = self.0.running.lock();
        match running.get(digest) {
            Some(fill) if fill.is_parking() => return Boarding::Parking(fill.clone()),
            // On a full disk, who comes too late for what is gone begins a fill of its own.
            Some(fill) if fill.can_serve_from(0) => {
                return match fill.is_vouched_by(&source.name) {
                    true => Boarding::Joined(FillReader::new(fill.clone())),
                    false => Boarding::Unvouched(fill.clone()),
                };
            }
            Some(_) => {}
            None if running.len() >= self.0.settings.max_concurrent * WAITING_FACTOR => {
                return Boarding::Full;
            }
            None => {}
        }
        let fill = Arc::new(Fill::new(*digest, source.name.clone()));
        let reader = FillReader::new(fill.clone());
        running.insert(*digest, fill.clone());
        drop(running);
        self.0.tasks.spawn(writer::run(self.clone(), fill, source));
        Boarding::Begun(reader)
    }

    /// Lets a fill be parked if nobody reads it; from then on nobody joins it.
    fn park_if_unwanted(&self, fill: &Fill) -> bool {
        // Readers come only under this lock.
        let _running = self.0.running.lock();
        let is_unwanted = fill.reader_count() == 0;
        if is_unwanted {
            fill.set_parking();
        }
        is_unwanted
    }

    /// What runs: each digest, with the name it was begun for.
    pub(crate) fn running(&self) -> Vec<(Digest, Name)> {
        let running = self.0.running.lock();
        running.values().map(|fill| (fill.digest, fill.initiator().clone())).collect()
    }

    /// Ends the fill of a digest, because nobody may have it any more.
    pub(crate) fn end_by_block(&self, digest: &Digest, why: &str) {
        let fill = self.0.running.lock().get(digest).cloned();
        if let Some(fill) = fill {
            fill.end_by_block(why);
        }
    }

    /// How many run.
    pub(crate) fn count(&self) -> usize {
        self.0.running.lock().len()
    }

    /// Whether a digest is being filled.
    pub(crate) fn is_running(&self, digest: &Digest) -> bool {
        self.0.running.lock().contains_key(digest)
    }

    /// Parks every fill and waits for their tasks.
    pub(crate) async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Takes an ended fill off the list, unless another took its place.
    fn remove(&self, fill: &Arc<Fill>) {
        let mut running = self.0.running.lock();
        if running.get(&fill.digest).is_some_and(|held| Arc::ptr_eq(held, fill)) {
            running.remove(&fill.digest);
        }
    }
}
