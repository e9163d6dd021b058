//! Collection: what hosted names hold and nothing needs any more goes, while pushes and pulls run
//! (contracts §9).
//!
//! One task goes round all hosted names, one name at a time ([`name`]): retention says which tags go
//! ([`retention`]), the catalog marks what the rest reaches, and what is left over loses its row.
//! Bytes that no name holds then are condemned in the same transaction, and housekeeping removes
//! their files after the grace ([`crate::keep`]). A name is a unit of its own: a round that was cut
//! short is simply begun again.

mod name;
mod report;
mod retention;
mod run;

pub use report::{GcCounts, GcKept, GcLine, GcName, GcReport};
pub(crate) use run::Scope;

use crate::keep::Keep;
use crate::plane::Core;
use crate::shelf::Shelf;
use catalog::Batch;
use jiff::Timestamp;
use parking_lot::Mutex;
use run::Run;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Collected;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A round works for one part in so many of the time.
const SHARE: u32 = 5;
/// The first round waits at most so long: uses are written once a minute, and those that a killed
/// process did not write are noted again by whoever still works with them.
const SETTLE_MAX: Duration = Duration::from_secs(120);
/// Rounds that fail one after the other until it is a warning.
const FAILURES_UNTIL_SAID: u32 = 2;
/// How long a look waits for what is being written.
const WRITE_TIME: Duration = Duration::from_secs(5);
/// How often hosted contents without bytes are looked for, and how many are counted.
const LOST_INTERVAL: Duration = Duration::from_secs(60);
const LOST_MAX: u32 = 1000;

/// When what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcSettings {
    /// From the end of one round to the next.
    pub interval: Duration,
    /// How long a pushed blob is kept that no manifest lists: a push sends blobs first.
    pub blob_grace: Duration,
    /// How long an upload is kept that no byte comes for.
    pub upload_ttl: Duration,
}

impl Default for GcSettings {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self { interval: Duration::from_secs(3600), blob_grace: day, upload_ttl: day }
    }
}

/// The collector.
pub(crate) struct Collector {
    core: Arc<Core>,
    keep: Arc<Keep>,
    settings: GcSettings,
    /// One run at a time.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    /// Rounds that failed since the last that did not.
    failures: u32,
    /// Why the last one failed, and when.
    problem: Option<(Timestamp, String)>,
    /// Hosted contents without bytes, and one of them in words.
    lost: u64,
    lost_one: Option<String>,
}

impl Collector {
    pub(crate) fn start(core: Arc<Core>, keep: Arc<Keep>, settings: GcSettings) -> Arc<Self> {
        let collector = Arc::new(Self {
            core,
            keep,
            settings,
            turn: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let task = collector.clone();
        collector.spawn(async move {
            tokio::time::sleep(settings.blob_grace.min(SETTLE_MAX)).await;
            loop {
                task.round().await;
                tokio::time::sleep(settings.interval).await;
            }
        });
        let task = collector.clone();
        collector.spawn(async move {
            loop {
                task.look_for_lost().await;
                let told = task.core.shelf.lost_one.notified();
                let _ = tokio::time::timeout(LOST_INTERVAL, told).await;
            }
        });
        collector
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(work).await });
    }

    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) fn settings(&self) -> &GcSettings {
        &self.settings
    }

    /// One round, as it comes every interval: uploads that nobody goes on with, then all names.
    pub(crate) async fn round(&self) -> GcReport {
        self.end_stale_uploads().await;
        let scope = Scope {
            repository: None,
            names: None,
            is_dry: false,
            untagged_for: None,
            blobs_unused_for: self.settings.blob_grace,
            share: SHARE,
        };
        let report = self.run(&scope, |_| {}).await;
        self.note_round(&report);
        report
    }

    /// Goes through the names of a scope.
    pub(crate) async fn run(&self, scope: &Scope, tell: impl Fn(&GcReport)) -> GcReport {
        let _turn = self.turn.lock().await;
        let (report, failed_names) = Run::new(&self.core, &self.keep, scope).go(tell).await;
        if scope.is_dry {
            return report;
        }
        self.core.shelf.metrics.collected(Collected {
            tags: report.gone.tags,
            manifests: report.gone.manifests,
            blobs: report.gone.blobs,
            bytes: report.freed_bytes,
            skipped_names: report.skipped_names,
            failed_names,
        });
        let gone = report.gone;
        if gone != GcCounts::default() {
            tracing::info!(
                tags = gone.tags,
                manifests = gone.manifests,
                blobs = gone.blobs,
                bytes = report.freed_bytes,
                "collected from hosted names; files go after cache.grace"
            );
            self.keep.recount();
        }
        report
    }

    fn note_round(&self, report: &GcReport) {
        let now = self.core.shelf.clock.now();
        let mut state = self.state.lock();
        match report.problems.first() {
            Some(problem) => {
                state.failures += 1;
                state.problem = Some((now, problem.clone()));
            }
            None => {
                (state.failures, state.problem) = (0, None);
                self.core.shelf.metrics.set_collection_round(now.as_second());
            }
        }
    }

    /// Removes uploads that no byte came for, for too long.
    async fn end_stale_uploads(&self) {
        let (core, ttl) = (self.core.clone(), self.settings.upload_ttl);
        let ended = self.core.shelf.blocking(move |_| core.uploads.sweep(ttl)).await;
        if let Some(Err(error)) = ended {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "uploads that nobody goes on with cannot be removed");
        }
    }

    /// Looks for hosted contents whose bytes are not in the store.
    async fn look_for_lost(&self) {
        // What was just found out is on its way to the catalog.
        let written = self.core.shelf.catalog.submit(Batch::new());
        let _ = tokio::time::timeout(WRITE_TIME, written).await;
        let read = |shelf: &Shelf| shelf.catalog.lost(None, LOST_MAX);
        let Some(Ok(lost)) = self.core.shelf.blocking(read).await else { return };
        self.core.shelf.metrics.set_lost(lost.len() as u64);
        let mut state = self.state.lock();
        state.lost = lost.len() as u64;
        state.lost_one = lost.first().map(|(name, digest)| format!("{name}@{digest}"));
    }

    /// What an operator should hear.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let state = self.state.lock();
        let mut warnings = Vec::new();
        if let Some(one) = &state.lost_one {
            let more = if state.lost >= u64::from(LOST_MAX) { " or more" } else { "" };
            warnings.push(format!(
                "hosted content without bytes: {}{more}, such as {one}; push it again, or restore \
                 the store from a backup",
                state.lost
            ));
        }
        if let Some((at, problem)) =
            state.problem.as_ref().filter(|_| state.failures >= FAILURES_UNTIL_SAID)
        {
            warnings.push(format!(
                "collection of hosted names failed {} times, last at {at:.0}: {problem}",
                state.failures
            ));
        }
        warnings
    }
}
