//! Work longer than a second: it has an id, progress, can be cancelled, and survives a restart
//! (contracts §10).

mod adopt;
mod backup;
mod copy;
mod gc;
mod migrate;
mod moving;
mod prefetch;
mod verify;

pub use adopt::AdoptRequest;
pub use copy::CopyRequest;
pub use gc::GcRequest;
pub use migrate::{MigrateRequest, MigrateTo};
pub use moving::{MoveKind, MoveLine, MoveReport};
pub(crate) use prefetch::parse as parse_reference;
pub use verify::VerifyRequest;

use crate::admin::AdminError;
use crate::backup::BackupRequest;
use crate::collect::{Collector, GcReport};
use crate::places::PlaceView;
use crate::plane::{Core, Plane};
use catalog::{Batch, JobRow};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// References of one job.
const REFERENCES_MAX: usize = 10_000;
/// Jobs remembered in memory; the oldest that ended go first.
const JOBS_MAX: usize = 200;
/// Jobs that may wait or run.
const ACTIVE_MAX: usize = 50;
/// Jobs at work at a time.
const RUNNING_MAX: usize = 2;
/// Jobs of the last process that are looked at.
const RESUMED_MAX: u32 = 200;

/// What to fetch before anybody asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrefetchRequest {
    /// References as clients write them, such as `docker.io/library/alpine:3.20`; at most 10,000.
    pub references: Vec<String>,
    /// Platforms to fetch of an index, such as `linux/arm64`; empty: the plane's own.
    #[serde(default)]
    pub platforms: Vec<String>,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Not begun.
    Queued,
    /// At work.
    Running,
    /// All of it is done.
    Done,
    /// Some of it failed.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// A job as it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// Its id.
    pub id: String,
    /// What kind, such as `prefetch`.
    pub kind: String,
    /// How it stands.
    pub state: JobState,
    /// Bytes there are to do, as far as is known.
    pub total_bytes: u64,
    /// Bytes done; what the cache held already counts. What several images share counts once.
    pub done_bytes: u64,
    /// Of these, bytes that the cache held already.
    #[serde(default)]
    pub held_bytes: u64,
    /// One entry for each thing it was asked to do.
    pub items: Vec<Reported>,
    /// Of a collection: what goes and what stays. Its lists come with the end.
    #[serde(default)]
    pub gc: Option<Box<GcReport>>,
    /// Of what moves content in: how far it is. Its lists come with the end.
    #[serde(default)]
    pub moved: Option<Box<MoveReport>>,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

/// How one thing of a job stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reported {
    /// As it was asked for.
    pub reference: String,
    /// What it resolved to.
    pub digest: Option<oci::Digest>,
    /// How it stands.
    pub state: JobState,
    /// Why it failed.
    pub problem: Option<String>,
}

/// What a job is to do.
enum Spec {
    Prefetch(PrefetchRequest),
    Verify(VerifyRequest),
    Gc(GcRequest),
    Backup(BackupRequest),
    Migrate(MigrateRequest),
    Copy(CopyRequest),
    Adopt(AdoptRequest),
}

impl Spec {
    fn kind(&self) -> &'static str {
        match self {
            Self::Prefetch(_) => "prefetch",
            Self::Verify(_) => "verify",
            Self::Gc(_) => "gc",
            Self::Backup(_) => "backup",
            Self::Migrate(_) => "migrate",
            Self::Copy(_) => "copy",
            Self::Adopt(_) => "adopt",
        }
    }

    /// As the catalog keeps it, beside its kind.
    fn to_json(&self) -> String {
        let json = match self {
            Self::Prefetch(request) => serde_json::to_string(request),
            Self::Verify(request) => serde_json::to_string(request),
            Self::Gc(request) => serde_json::to_string(request),
            Self::Backup(request) => serde_json::to_string(request),
            Self::Migrate(request) => serde_json::to_string(request),
            Self::Copy(request) => serde_json::to_string(request),
            Self::Adopt(request) => serde_json::to_string(request),
        };
        json.unwrap_or_default()
    }

    /// `None`: of a kind, or in a form, that this version does not know.
    fn parse(kind: &str, json: &str) -> Option<Self> {
        match kind {
            "prefetch" => serde_json::from_str(json).ok().map(Self::Prefetch),
            "verify" => serde_json::from_str(json).ok().map(Self::Verify),
            "gc" => serde_json::from_str(json).ok().map(Self::Gc),
            "backup" => serde_json::from_str(json).ok().map(Self::Backup),
            "migrate" => serde_json::from_str(json).ok().map(Self::Migrate),
            "copy" => serde_json::from_str(json).ok().map(Self::Copy),
            "adopt" => serde_json::from_str(json).ok().map(Self::Adopt),
            _ => None,
        }
    }
}

/// A job that is known to this process.
struct Held {
    view: watch::Sender<JobView>,
    spec: Spec,
    cancel: CancellationToken,
}

/// The jobs.
#[derive(Clone)]
pub(crate) struct Jobs(Arc<Inner>);

struct Inner {
    core: Arc<Core>,
    collector: Arc<Collector>,
    held: Mutex<BTreeMap<String, Arc<Held>>>,
    turns: Semaphore,
    stop: CancellationToken,
    tasks: TaskTracker,
    last_id: AtomicU64,
}

impl JobState {
    /// Whether there is nothing more to come.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

impl Jobs {
    /// Takes up what the last process left undone.
    pub(crate) async fn start(core: Arc<Core>, collector: Arc<Collector>) -> Self {
        let jobs = Self(Arc::new(Inner {
            core: core.clone(),
            collector,
            held: Mutex::default(),
            turns: Semaphore::new(RUNNING_MAX),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            last_id: AtomicU64::new(0),
        }));
        let rows = core.shelf.blocking(|shelf| shelf.catalog.jobs(RESUMED_MAX)).await;
        for row in rows.and_then(Result::ok).unwrap_or_default() {
            let Ok(mut view) = serde_json::from_str::<JobView>(&row.progress_json) else {
                continue;
            };
            let Some(spec) = Spec::parse(&row.kind, &row.spec_json) else { continue };
            let mut again = !view.state.is_final();
            if again && matches!(spec, Spec::Backup(_)) {
                // Of another moment than it was asked for; and the catalog of every backup has it.
                backup::cut_short(&mut view);
                again = false;
            }
            jobs.hold(view, spec, again);
        }
        jobs
    }

    /// Stops at work without ending the jobs: the next process goes on.
    pub(crate) async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn hold(&self, view: JobView, spec: Spec, begin: bool) -> Arc<Held> {
        let id = view.id.clone();
        let cancel = self.0.stop.child_token();
        let held = Arc::new(Held { view: watch::Sender::new(view), spec, cancel });
        let mut all = self.0.held.lock();
        all.insert(id, held.clone());
        while all.len() > JOBS_MAX {
            let ended = |held: &Arc<Held>| held.view.borrow().state.is_final();
            let Some(oldest) = all.iter().find(|(_, held)| ended(held)).map(|(id, _)| id.clone())
            else {
                break;
            };
            all.remove(&oldest);
        }
        drop(all);
        if begin {
            let (jobs, job) = (self.clone(), held.clone());
            self.0.tasks.spawn(async move { jobs.run(job).await });
        }
        held
    }

    async fn run(&self, job: Arc<Held>) {
        let turn = job.cancel.run_until_cancelled(self.0.turns.acquire()).await;
        if let Some(Ok(_turn)) = turn {
            job.change(&self.0.core, |view| view.state = JobState::Running);
            self.keep(&job);
            let core = &self.0.core;
            let work = async {
                match &job.spec {
                    Spec::Prefetch(request) => prefetch::run(core, &job, request).await,
                    Spec::Verify(request) => verify::run(core, &job, request).await,
                    Spec::Gc(request) => gc::run(core, &self.0.collector, &job, request).await,
                    Spec::Backup(request) => backup::run(core, &job, request).await,
                    Spec::Migrate(request) => migrate::run(core, &job, request).await,
                    Spec::Copy(request) => copy::run(core, &job, request).await,
                    Spec::Adopt(request) => adopt::run(core, &job, request).await,
                }
            };
            job.cancel.run_until_cancelled(work).await;
        }
        // Stopped with the process: it goes on with the next one.
        if !self.0.stop.is_cancelled() {
            job.change(&self.0.core, |view| {
                if !view.state.is_final() {
                    view.state = JobState::Cancelled;
                    for item in &mut view.items {
                        if !item.state.is_final() {
                            item.state = JobState::Cancelled;
                        }
                    }
                }
            });
        }
        self.keep(&job);
    }

    /// Takes a job on, with one item for each thing it is to do.
    fn begin(&self, spec: Spec, things: Vec<String>) -> Result<JobView, AdminError> {
        let active = {
            let held = self.0.held.lock();
            held.values().filter(|held| !held.view.borrow().state.is_final()).count()
        };
        if active >= ACTIVE_MAX {
            let text = format!("{active} jobs are waiting or at work; ask again when some ended");
            return Err(AdminError::Unavailable(text));
        }
        let now = self.0.core.shelf.clock.now();
        let queued = |reference| Reported {
            reference,
            digest: None,
            state: JobState::Queued,
            problem: None,
        };
        let view = JobView {
            id: self.next_id(),
            kind: spec.kind().to_owned(),
            state: JobState::Queued,
            total_bytes: 0,
            done_bytes: 0,
            held_bytes: 0,
            items: things.into_iter().map(queued).collect(),
            gc: None,
            moved: None,
            created: now,
            updated: now,
        };
        let held = self.hold(view.clone(), spec, true);
        self.keep(&held);
        Ok(view)
    }

    /// Writes the job to the catalog.
    fn keep(&self, job: &Held) {
        let view = job.view.borrow().clone();
        let row = JobRow {
            id: view.id.clone(),
            kind: view.kind.clone(),
            spec_json: job.spec.to_json(),
            state: view.state.into(),
            progress_json: serde_json::to_string(&view).unwrap_or_default(),
            created: view.created,
            updated: view.updated,
        };
        let mut batch = Batch::new();
        batch.put_job(&row);
        self.0.core.shelf.submit(batch);
    }

    /// Ids sort by time.
    fn next_id(&self) -> String {
        let micros = u64::try_from(self.0.core.shelf.clock.now().as_microsecond()).unwrap_or(0);
        let floor = self.0.last_id.load(Ordering::Relaxed) + 1;
        let id = micros.max(floor);
        self.0.last_id.fetch_max(id, Ordering::Relaxed);
        format!("{id:013x}")
    }
}

impl Held {
    fn change(&self, core: &Core, change: impl FnOnce(&mut JobView)) {
        let now = core.shelf.clock.now();
        self.view.send_modify(|view| {
            change(view);
            view.updated = now;
        });
    }
}

impl From<JobState> for catalog::JobState {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Queued => Self::Queued,
            JobState::Running => Self::Running,
            JobState::Done => Self::Done,
            JobState::Failed => Self::Failed,
            JobState::Cancelled => Self::Cancelled,
        }
    }
}

impl Plane {
    /// Begins to fetch references before anybody asks for them.
    ///
    /// # Errors
    /// When a platform cannot be read, no or too many references are named, or too many jobs wait.
    /// A reference that cannot be read is a failed item of the job.
    pub async fn prefetch(&self, request: PrefetchRequest) -> Result<JobView, AdminError> {
        if request.references.is_empty() || request.references.len() > REFERENCES_MAX {
            return Err(AdminError::Invalid(format!(
                "a prefetch names 1 to {REFERENCES_MAX} references"
            )));
        }
        prefetch::check(&request)?;
        let things = request.references.clone();
        self.jobs.begin(Spec::Prefetch(request), things)
    }

    /// Begins to read blobs of the store and to hold them against their digests. Damaged ones are
    /// removed, and fetched again when somebody asks for them.
    ///
    /// # Errors
    /// When the reference cannot be read, no such repository is known, or too many jobs wait.
    pub async fn verify(&self, request: VerifyRequest) -> Result<JobView, AdminError> {
        let thing = verify::check(&self.core.view(), &request)?;
        self.jobs.begin(Spec::Verify(request), vec![thing])
    }

    /// Begins to take away what hosted names hold and nothing needs, or to tell what that would be.
    ///
    /// # Errors
    /// When the request cannot be read, no such hosted repository is known, or too many jobs wait.
    pub async fn gc(&self, request: GcRequest) -> Result<JobView, AdminError> {
        let thing = gc::check(&self.core.view(), &request)?;
        self.jobs.begin(Spec::Gc(request), vec![thing])
    }

    /// Begins to write a backup to a directory of this machine. For the operator alone.
    ///
    /// # Errors
    /// When the path is not absolute, or too many jobs wait.
    pub async fn backup(&self, request: BackupRequest) -> Result<JobView, AdminError> {
        if !request.to.is_absolute() {
            let text = "a backup's directory is written as a whole path, from / on";
            return Err(AdminError::Invalid(text.to_owned()));
        }
        let thing = request.to.display().to_string();
        self.jobs.begin(Spec::Backup(request), vec![thing])
    }

    /// Begins to bring all blobs to another place.
    ///
    /// # Errors
    /// When the place cannot be read, or too many jobs wait.
    pub async fn migrate(&self, request: MigrateRequest) -> Result<JobView, AdminError> {
        let place = migrate::check(&self.core, &request)?;
        self.jobs.begin(Spec::Migrate(request), vec![place.to_string()])
    }

    /// Begins to copy repositories of another registry into a hosted one. `is_operator`: whoever asks
    /// has the plane's own machine, and may name files of it.
    ///
    /// # Errors
    /// When the request cannot be read, its source or destination is not known or not for whoever
    /// asks, or too many jobs wait.
    pub async fn copy(
        &self,
        request: CopyRequest,
        is_operator: bool,
    ) -> Result<JobView, AdminError> {
        let thing = copy::check(&self.core, &request, is_operator)?;
        self.jobs.begin(Spec::Copy(request), vec![thing])
    }

    /// Begins to make hosted what the cache holds of remote repositories.
    ///
    /// # Errors
    /// When the request cannot be read, its destination is not known, or too many jobs wait.
    pub async fn adopt(&self, request: AdoptRequest) -> Result<JobView, AdminError> {
        let thing = adopt::check(&self.core.view(), &request)?;
        self.jobs.begin(Spec::Adopt(request), vec![thing])
    }

    /// The places of the store in order: blobs are written to the first, and read in all.
    pub async fn places(&self) -> Vec<PlaceView> {
        crate::places::views(&self.core).await
    }

    /// Goes once through all hosted names, as it comes every interval. For tests.
    #[doc(hidden)]
    pub async fn collect_round(&self) -> GcReport {
        self.collector.round().await
    }

    /// Goes once round the store as housekeeping does, without its pauses. For tests.
    #[doc(hidden)]
    pub async fn scrub_round(&self) {
        self.keep.scrub(1).await;
    }

    /// Jobs, newest first.
    pub fn jobs(&self) -> Vec<JobView> {
        let held = self.jobs.0.held.lock();
        held.values().rev().map(|held| held.view.borrow().clone()).collect()
    }

    /// A job, and every change of it until it ends.
    pub fn job(&self, id: &str) -> Option<watch::Receiver<JobView>> {
        Some(self.jobs.0.held.lock().get(id)?.view.subscribe())
    }

    /// Stops a job.
    ///
    /// # Errors
    /// When there is no such job.
    pub fn cancel_job(&self, id: &str) -> Result<JobView, AdminError> {
        let held = self.jobs.0.held.lock().get(id).cloned();
        let held = held.ok_or_else(|| AdminError::NotFound(format!("there is no job {id}")))?;
        held.cancel.cancel();
        Ok(held.view.borrow().clone())
    }
}
