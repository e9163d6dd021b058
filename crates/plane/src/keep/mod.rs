//! Housekeeping: the store stays within its bounds, and what is in use stays in the store
//! (contracts §9).
//!
//! One task looks every few seconds: it notes what was used, samples the disk, evicts when a bound
//! is overrun ([`evict`]), and removes what stayed condemned for the grace ([`sweep`]). A second one
//! goes round the store itself, slowly ([`rounds`]).

mod bounds;
mod evict;
mod pinned;
mod purge;
mod rounds;
mod sweep;

use crate::admin::DiskStatus;
use crate::govern::LEASE_TTL;
use crate::plane::Core;
pub(crate) use bounds::FULL;
use bounds::{Bounds, reserve_on};
use catalog::{Batch, Usage};
use jiff::Timestamp;
use oci::{Digest, Name};
use parking_lot::Mutex;
pub(crate) use purge::PurgedBlobs;
pub(crate) use rounds::{Pace, take_in_file};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use telemetry::{CatalogGauges, StoreGauges};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often it looks.
const TICK: Duration = Duration::from_secs(2);
/// How often all rows are counted when nothing comes in; sooner, but for at most a fiftieth of the
/// time, when something does.
const COUNT_INTERVAL: Duration = Duration::from_secs(60);
const COUNT_SHARE: u32 = 50;
/// How often uses are written to the catalog.
const USES_INTERVAL: Duration = Duration::from_secs(60);
/// Digests remembered as served lately.
const RECENT_MAX: usize = 200_000;
/// Rows that name nothing the store has are forgotten after so long without use.
const FORGET_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often that is looked for, and how many rows at a time.
const FORGET_INTERVAL: Duration = Duration::from_secs(3600);
const FORGET_MAX: u32 = 10_000;
/// What an environment was served is known for so long after the last time.
const ADMISSIONS_KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(400 * 24);

/// How long housekeeping waits for one write.
const WRITE_TIME: Duration = Duration::from_secs(5);
/// How often idle mappings are trimmed.
const TRIM_INTERVAL: Duration = Duration::from_secs(10);

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct KeepSettings {
    /// Most bytes of blobs; without it the watermarks alone bound them.
    pub max_bytes: Option<u64>,
    /// Percent of `max_bytes`, of the disk's bytes or of its inodes at which eviction begins.
    pub high_watermark_percent: u8,
    /// Percent at which it ends.
    pub low_watermark_percent: u8,
    /// Bytes of the disk that only the catalog may use.
    pub reserve_bytes: u64,
    /// How long something evicted waits before its file goes.
    pub grace: Duration,
}

impl Default for KeepSettings {
    fn default() -> Self {
        Self {
            max_bytes: None,
            high_watermark_percent: 90,
            low_watermark_percent: 85,
            reserve_bytes: 256 << 20,
            grace: Duration::from_secs(300),
        }
    }
}

/// The housekeeper.
pub(crate) struct Keep {
    core: Arc<Core>,
    settings: KeepSettings,
    parts_max_bytes: u64,
    state: Mutex<State>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct State {
    usage: Usage,
    counted: Option<Instant>,
    count_cost: Duration,
    /// Something was committed since the last count, or just before it.
    is_changed: bool,
    disk: Option<DiskStatus>,
    /// What was served lately, and when: never evicted, and what a manifest among it lists neither.
    recent: HashMap<Digest, Timestamp>,
    uses: Vec<(Name, Digest)>,
    uses_written: Instant,
    forgot: Instant,
    trimmed: Instant,
    /// What is wrong or near a bound, for status.
    warnings: Vec<String>,
    /// That eviction finds too little is in the log, and the want of space has lasted since.
    is_shortage_said: bool,
}

impl Keep {
    pub(crate) async fn start(
        core: Arc<Core>,
        settings: KeepSettings,
        parts_max_bytes: u64,
    ) -> Arc<Self> {
        let state = State {
            usage: Usage::default(),
            counted: None,
            count_cost: Duration::ZERO,
            is_changed: false,
            disk: None,
            recent: HashMap::new(),
            uses: Vec::new(),
            uses_written: Instant::now(),
            forgot: Instant::now(),
            trimmed: Instant::now(),
            warnings: Vec::new(),
            is_shortage_said: false,
        };
        let keep = Arc::new(Self {
            core,
            settings,
            parts_max_bytes,
            state: Mutex::new(state),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        keep.clone().on_pool(|keep| keep.look_at_disk()).await;
        let task = keep.clone();
        keep.tasks.spawn(async move { task.run().await });
        // Before the first request makes a row: looking is one query, walking comes later.
        let is_lost = keep.clone().on_pool(|keep| keep.core.shelf.catalog.is_without_blobs()).await;
        let is_lost = matches!(is_lost, Some(Ok(true)));
        let task = keep.clone();
        keep.tasks.spawn(async move { task.go_round(is_lost).await });
        keep
    }

    pub(crate) async fn stop(self: &Arc<Self>) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.clone().on_pool(|keep| keep.note_uses(true)).await;
    }

    /// What is known without asking: usage, disk, warnings.
    pub(crate) fn known(&self) -> (Usage, Option<DiskStatus>, Vec<String>) {
        let state = self.state.lock();
        (state.usage.clone(), state.disk, state.warnings.clone())
    }

    pub(crate) fn settings(&self) -> &KeepSettings {
        &self.settings
    }

    /// Counts again at the next look: something was purged.
    pub(crate) fn recount(&self) {
        self.state.lock().counted = None;
        self.core.shelf.committed.notify_one();
    }

    async fn on_pool<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        tokio::task::spawn_blocking(move || work(&self)).await.ok()
    }

    async fn run(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
                () = self.much_came_in() => {}
            }
            // A panic in there is logged by the runtime and must not end housekeeping.
            self.clone().on_pool(Self::look).await;
        }
    }

    /// Resolves when enough was committed that waiting for the tick would be careless.
    async fn much_came_in(&self) {
        let free = self.state.lock().disk.map_or(u64::MAX, |disk| disk.free_bytes);
        let careless = i64::try_from((free / 16).clamp(1 << 20, 256 << 20)).unwrap_or(i64::MAX);
        loop {
            self.core.shelf.committed.notified().await;
            let came = self.core.shelf.committed_bytes.load(Ordering::Relaxed);
            if came >= careless || self.state.lock().counted.is_none() {
                return;
            }
        }
    }

    /// Whether a batch is written. A catalog that cannot be written now holds up no housekeeping:
    /// the disk has to be watched all the same. Blocks, for a bounded time.
    fn written(&self, batch: Batch) -> bool {
        let catalog = &self.core.shelf.catalog;
        catalog.status().writable
            && matches!(catalog.submit(batch).wait_for(WRITE_TIME), Some(Ok(())))
    }

    /// One look. Blocks.
    fn look(&self) {
        self.note_uses(false);
        self.look_at_disk();
        self.count();
        let bounds = self.bounds();
        self.sweep(bounds.is_pressing());
        // What a fresh catalog does not know to be hosted yet would be taken for cached.
        let may_remove = self.core.shelf.may_remove();
        match bounds.goal().filter(|_| may_remove) {
            Some(goal) => {
                self.evict(goal);
                self.sweep(bounds.is_pressing());
            }
            None => self.state.lock().is_shortage_said = false,
        }
        if may_remove {
            self.keep_shares();
        }
        self.limit_parts();
        self.trim();
        self.forget_stale();
        self.warn(&self.bounds());
        self.show();
    }

    /// Takes the uses since the last look; writes them once a minute.
    fn note_uses(&self, at_once: bool) {
        let now = self.core.shelf.clock.now();
        let fresh = self.core.shelf.take_uses();
        let mut state = self.state.lock();
        if state.recent.len() > RECENT_MAX {
            state.recent.clear();
        }
        for (_, digest) in &fresh {
            state.recent.insert(*digest, now);
        }
        state.uses.extend(fresh);
        let grace = self.settings.grace.max(Duration::from_secs(60));
        let clock = &self.core.shelf.clock;
        state.recent.retain(|_, at| clock.since(*at) < grace);
        let due = at_once || state.uses_written.elapsed() >= USES_INTERVAL;
        if due && !state.uses.is_empty() {
            let uses = std::mem::take(&mut state.uses);
            state.uses_written = Instant::now();
            drop(state);
            let mut batch = Batch::new();
            batch.used(&uses, now);
            self.core.shelf.submit(batch);
        }
    }

    /// Writes all uses that are known, and waits for it: the catalog knows them then. Blocks, for a
    /// bounded time. `false`: it cannot be written now.
    pub(crate) fn write_uses(&self) -> bool {
        self.note_uses(true);
        self.written(Batch::new())
    }

    /// Which of these were used and are not written yet, under whatever name. Blocks.
    pub(crate) fn uses_unwritten(&self, of: &HashSet<Digest>) -> HashSet<Digest> {
        self.note_uses(false);
        let state = self.state.lock();
        let digests = state.uses.iter().map(|(_, digest)| *digest);
        digests.filter(|digest| of.contains(digest)).collect()
    }

    fn look_at_disk(&self) {
        let shelf = &self.core.shelf;
        match shelf.store.disk() {
            Ok(disk) => {
                let disk = DiskStatus {
                    total_bytes: disk.total_bytes,
                    free_bytes: disk.free_bytes,
                    total_inodes: disk.total_inodes,
                    free_inodes: disk.free_inodes,
                };
                let reserve_bytes = reserve_on(Some(disk), self.settings.reserve_bytes);
                if disk.free_bytes <= reserve_bytes {
                    shelf.set_full("what is left is the catalog's reserve");
                } else if disk.free_bytes > reserve_bytes.saturating_add(8 << 20) {
                    shelf.set_roomy();
                }
                self.state.lock().disk = Some(disk);
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the disk of the store cannot be asked"
                );
            }
        }
    }

    /// Brings usage up to date: by counting rows now and then, by what was committed otherwise.
    fn count(&self) {
        let came = self.core.shelf.committed_bytes.swap(0, Ordering::Relaxed);
        let due = {
            let state = self.state.lock();
            let soon = TICK.max(state.count_cost * COUNT_SHARE).min(COUNT_INTERVAL);
            let interval = if state.is_changed || came > 0 { soon } else { COUNT_INTERVAL };
            state.counted.is_none_or(|at| at.elapsed() >= interval)
        };
        if due {
            let began = Instant::now();
            if let Ok(usage) = self.core.shelf.catalog.usage() {
                let mut state = self.state.lock();
                state.usage = usage;
                state.counted = Some(Instant::now());
                state.count_cost = began.elapsed();
                // What was committed just now may not be in the catalog yet: counted once more.
                state.is_changed = came > 0;
                return;
            }
        }
        let mut state = self.state.lock();
        state.is_changed |= came > 0;
        state.usage.bytes = state.usage.bytes.saturating_add_signed(came);
    }

    fn bounds(&self) -> Bounds {
        let state = self.state.lock();
        let condemned_bytes = state.usage.condemned_bytes;
        Bounds {
            settings: self.settings,
            bytes: state.usage.bytes.saturating_sub(condemned_bytes),
            condemned_bytes,
            held_bytes: state.usage.held_bytes,
            disk: state.disk,
            is_full: self.core.shelf.is_full(),
        }
    }

    fn forget_stale(&self) {
        let mut state = self.state.lock();
        if state.forgot.elapsed() < FORGET_INTERVAL {
            return;
        }
        state.forgot = Instant::now();
        drop(state);
        let now = self.core.shelf.clock.now();
        if let Ok(before) = now.checked_sub(FORGET_AFTER) {
            let mut batch = Batch::new();
            batch.prune(before, FORGET_MAX);
            let leases = now.checked_sub(LEASE_TTL).unwrap_or(before);
            let admissions = now.checked_sub(ADMISSIONS_KEPT).unwrap_or(before);
            batch.forget_unused(leases, admissions, FORGET_MAX);
            self.core.shelf.submit(batch);
        }
    }

    /// Parts that nobody resumed make room, the oldest first.
    fn limit_parts(&self) {
        let store = &self.core.shelf.store;
        let Ok(mut parts) = store.parts() else { return };
        parts.sort_by_key(|part| part.modified);
        let mut held: u64 = parts.iter().map(|part| part.len_bytes).sum();
        let max_bytes = if self.core.shelf.is_full() { 0 } else { self.parts_max_bytes };
        for part in parts {
            if held <= max_bytes {
                return;
            }
            if self.core.fills.is_running(&part.digest) {
                continue;
            }
            match store.remove_part(&part.digest) {
                Ok(()) => held = held.saturating_sub(part.len_bytes),
                Err(error) => {
                    tracing::warn!(digest = %part.digest, %error, "a part cannot be removed")
                }
            }
        }
    }

    /// Gives back memory of mappings that nobody reads: a warm blob's pages count as ours.
    fn trim(&self) {
        let mut state = self.state.lock();
        if state.trimmed.elapsed() >= TRIM_INTERVAL {
            state.trimmed = Instant::now();
            drop(state);
            self.core.shelf.store.trim();
        }
    }

    fn warn(&self, bounds: &Bounds) {
        let warnings = bounds.warnings();
        let mut state = self.state.lock();
        for warning in warnings.iter().filter(|warning| !is_said(&state.warnings, warning)) {
            tracing::warn!("{warning}");
        }
        state.warnings = warnings;
    }

    fn show(&self) {
        let (usage, disk, _) = self.known();
        let disk = disk.unwrap_or(DiskStatus {
            total_bytes: 0,
            free_bytes: 0,
            total_inodes: 0,
            free_inodes: 0,
        });
        let metrics = &self.core.shelf.metrics;
        metrics.set_store(StoreGauges {
            blobs: usage.blobs,
            bytes: usage.bytes,
            capacity_bytes: self.settings.max_bytes.unwrap_or(disk.total_bytes),
            free_bytes: disk.free_bytes,
            free_inodes: disk.free_inodes,
        });
        let catalog = self.core.shelf.catalog.status();
        metrics.set_catalog(CatalogGauges {
            writable: catalog.writable,
            waiting_batches: catalog.waiting_batches,
            gaps: catalog.gaps,
        });
    }
}

/// Whether a warning of the same beginning was said already: figures in it change all the time.
fn is_said(said: &[String], warning: &str) -> bool {
    let head = |text: &str| text.split(':').next().unwrap_or(text).to_owned();
    said.iter().any(|old| head(old) == head(warning))
}
