//! The plane: what lives as long as the process, and the few things others ask of it.

use crate::admin::{AdminError, Status};
use crate::answer::Served;
use crate::ask::{Ask, Credentials, Peer};
use crate::clock::Clock;
use crate::collect::{Collector, GcSettings};
use crate::decisions::Decisions;
use crate::fill::{FillSettings, Fills};
use crate::govern::Govern;
use crate::hosted::{PushSettings, Uploads};
use crate::incoming::Incoming;
use crate::jobs::Jobs;
use crate::keep::{Keep, KeepSettings};
use crate::lists::Lists;
use crate::manifests::Manifests;
use crate::names::Scribe;
use crate::pipeline::{self, Recorder, Trail};
use crate::places::Places;
use crate::refusal::{Refusal, could_log_in};
use crate::revisions::{Applied, ApplyError, Revisions};
use crate::shelf::Shelf;
use crate::tags::Resolver;
use crate::tokens::Tokens;
use crate::view::View;
use crate::waivers::WaiverUses;
use arc_swap::ArcSwap;
use identity::TokenKeys;
use jiff::Timestamp;
use policy::{Action, Caller, Intent, Object};
use resources::{Problems, Set};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use telemetry::{AccessLog, Metrics, RequestId};
use tokio_util::sync::CancellationToken;
use upstream::Upstream;

/// Upstreams whose clients are made ready ahead.
const PREPARED_MAX: usize = 32;

/// What the composition root hands over.
pub struct Options {
    /// The directory that belongs to this process; `revision.yaml` is kept there.
    pub data_dir: PathBuf,
    /// Bytes by digest.
    pub store: blobs::Store,
    /// What exists.
    pub catalog: catalog::Catalog,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// One line per request, if wanted.
    pub access_log: Option<AccessLog>,
    /// How much is kept.
    pub keep: KeepSettings,
    /// When hosted content that nothing needs goes.
    pub gc: GcSettings,
    /// Downloads.
    pub fills: FillSettings,
    /// Pushes.
    pub pushes: PushSettings,
    /// The time.
    pub clock: Clock,
    /// Where our own signing keys lie; `keys/` in the data directory if left out. Replicas that share
    /// them take each other's tokens.
    pub keys_dir: Option<PathBuf>,
}

/// What the stages and the background work of a plane share.
pub(crate) struct Core {
    pub(crate) data_dir: PathBuf,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) resolver: Resolver,
    pub(crate) lists: Lists,
    pub(crate) places: Places,
    pub(crate) fills: Fills,
    pub(crate) uploads: Uploads,
    pub(crate) decisions: Decisions,
    pub(crate) waiver_uses: WaiverUses,
    /// What was judged, and who may have what.
    pub(crate) govern: Govern,
    /// Our own tokens.
    pub(crate) tokens: Tokens,
    view: ArcSwap<View>,
    generation: AtomicU64,
}

impl Core {
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// The generation of the view in force.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts a view in force, for the next request of everybody.
    pub(crate) fn swap(&self, view: View) {
        let generation = view.generation;
        self.view.store(Arc::new(view));
        self.generation.store(generation, Ordering::Release);
        self.prepare_upstreams();
    }

    /// Makes the clients of the upstreams that somebody wrote down ready, behind everything else.
    /// The built-in ones, most of which nobody asks, are made at their first use.
    fn prepare_upstreams(&self) {
        let view = self.view();
        let written: Vec<Upstream> = view
            .set
            .upstreams()
            .filter(|(document, _)| !resources::is_builtin(document))
            .filter_map(|(document, _)| view.upstreams.get(document.name()).cloned())
            .take(PREPARED_MAX)
            .collect();
        tokio::spawn(async move {
            for upstream in written {
                upstream.prepare().await;
            }
        });
    }
}

/// The plane. All of it is reached from here; nothing is global.
pub struct Plane {
    pub(crate) core: Arc<Core>,
    pub(crate) revisions: Revisions,
    pub(crate) keep: Arc<Keep>,
    pub(crate) collector: Arc<Collector>,
    pub(crate) jobs: Jobs,
    scribe: Arc<Scribe>,
    recorder: Arc<Recorder>,
    /// Ends what runs beside the rest.
    stop: CancellationToken,
    stopping: AtomicBool,
}

impl Plane {
    /// Starts with the documents just read from `source`, or, when they are wrong, with the last
    /// set that was in force. Asks no upstream. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the documents are wrong and no set was ever in force.
    pub async fn start(
        options: Options,
        read: Result<Set, Problems>,
        source: &str,
    ) -> Result<Arc<Self>, ApplyError> {
        let Options {
            data_dir,
            store,
            catalog,
            metrics,
            access_log,
            keep,
            gc,
            fills,
            pushes,
            clock,
            keys_dir,
        } = options;
        let shelf = Arc::new(Shelf::new(store, catalog, clock, metrics.clone()));
        shelf.rescue_hosted();
        let (revisions, view) = Revisions::start(&shelf, data_dir.clone(), read, source).await?;
        let manifests = Manifests::new(shelf.clone());
        let keys_dir = keys_dir.unwrap_or_else(|| data_dir.join("keys"));
        let keys = open_keys(&keys_dir, shelf.clock.now())?;
        let places = Places::start(&data_dir, &shelf.store, &view);
        let core = Arc::new(Core {
            data_dir,
            places,
            resolver: Resolver::new(shelf.clone(), manifests),
            lists: Lists::new(shelf.clone()),
            fills: Fills::new(shelf.clone(), fills),
            uploads: Uploads::new(shelf.clone(), pushes),
            decisions: Decisions::new(),
            waiver_uses: WaiverUses::default(),
            govern: Govern::new(),
            tokens: Tokens::new(keys),
            generation: AtomicU64::new(view.generation),
            view: ArcSwap::from_pointee(view),
            shelf,
        });
        core.prepare_upstreams();
        let stop = CancellationToken::new();
        tokio::spawn(Places::refresh(core.clone(), stop.clone()));
        let scribe = Scribe::start(core.clone()).await;
        let keep = Keep::start(core.clone(), keep, fills.parts_max_bytes).await;
        let collector = Collector::start(core.clone(), keep.clone(), gc);
        let jobs = Jobs::start(core.clone(), collector.clone()).await;
        let recorder = Arc::new(Recorder { metrics, access_log });
        Ok(Arc::new(Self {
            core,
            revisions,
            keep,
            collector,
            jobs,
            scribe,
            recorder,
            stop,
            stopping: AtomicBool::new(false),
        }))
    }

    /// Answers a request for the distribution API: the pipeline, `identify` to `serve`. `incoming` is
    /// read only for a request that writes, and only after it was permitted.
    ///
    /// # Errors
    /// Every negative answer, with the line that people see.
    pub async fn handle(
        &self,
        ask: &Ask<'_>,
        incoming: Incoming,
        trail: &mut Trail,
    ) -> Result<Served, Refusal> {
        pipeline::handle(&self.core, ask, incoming, trail).await
    }

    /// Begins the trail of any request, of the distribution API or not.
    pub fn trail(
        &self,
        request_id: RequestId,
        method: &str,
        path: &str,
        client: Option<IpAddr>,
    ) -> Trail {
        Trail::begin(self.recorder.clone(), request_id, method, path, client)
    }

    /// Puts documents in force that were read from `source`. When they are wrong, nothing changes,
    /// and status, log and metric say why until the next good set.
    ///
    /// # Errors
    /// What is wrong with the documents.
    pub async fn apply(
        &self,
        read: Result<Set, Problems>,
        source: &str,
    ) -> Result<Applied, ApplyError> {
        self.revisions.apply(&self.core, read, source).await
    }

    /// What is in force now.
    pub fn view(&self) -> Arc<View> {
        self.core.view()
    }

    /// The counters, for `/metrics`.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.core.shelf.metrics
    }

    /// The state of the process. Cheap: reads what is known, asks nobody.
    pub fn status(&self) -> Status {
        crate::admin::status(self, !self.stopping.load(Ordering::Acquire))
    }

    /// From now on `/readyz` says no. For load balancers, before connections are drained.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Stops: fills are parked, uses are noted, the catalog is flushed and closed. To be called when
    /// no connection is left. `false`: not all of it was done in time.
    pub async fn stop(&self, timeout: Duration) -> bool {
        self.set_stopping();
        self.stop.cancel();
        let work = async {
            self.jobs.stop().await;
            self.collector.stop().await;
            self.scribe.stop().await;
            self.core.fills.stop().await;
            self.keep.stop().await;
        };
        let in_time = tokio::time::timeout(timeout, work).await.is_ok();
        let closed = self.core.shelf.blocking(move |shelf| shelf.catalog.close(timeout)).await;
        in_time && closed.unwrap_or(false)
    }

    /// Who asks, for what is not of the distribution API.
    ///
    /// # Errors
    /// When they do not say it, or what they show is wrong or cannot be checked now.
    pub async fn who_asks(
        &self,
        peer: Peer,
        credentials: &Credentials<'_>,
    ) -> Result<Caller, AdminError> {
        self.caller(peer, credentials).await.map_err(AdminError::from_refusal)
    }

    /// Whether a caller may use `/api/v1`.
    ///
    /// # Errors
    /// The denial.
    pub fn administers(&self, caller: &Caller) -> Result<(), Box<policy::Denial>> {
        let intent = Intent { action: Action::Administer, name: None, object: Object::Catalog };
        let access = &self.core.view().governance.access;
        policy::may_ask_one(access, caller, &intent, None).map(drop).map_err(Box::new)
    }

    /// Whether a caller is nobody in particular, and could log in (contracts §2).
    pub fn could_log_in(&self, caller: &Caller) -> bool {
        could_log_in(&self.core.view(), caller)
    }

    /// Whether whoever asks may use `/api/v1`: by the data directory's socket, or with `Administer`.
    ///
    /// # Errors
    /// As [`Plane::who_asks`], and the denial.
    pub async fn may_administer(
        &self,
        peer: Peer,
        credentials: &Credentials<'_>,
    ) -> Result<Caller, AdminError> {
        let caller = self.who_asks(peer, credentials).await?;
        self.administers(&caller).map_err(AdminError::Denied)?;
        Ok(caller)
    }
}

/// The keys of our tokens. A directory that cannot be written ends nothing but this process's tokens with
/// it: clients get new ones.
fn open_keys(dir: &Path, now: Timestamp) -> Result<TokenKeys, ApplyError> {
    match TokenKeys::open(dir, now) {
        Ok(keys) => Ok(keys),
        Err(error) => {
            let cause = error.to_string();
            tracing::error!(dir = %dir.display(), %cause, "the keys of tokens cannot be kept: tokens \
                end with this process, and other replicas do not take them");
            TokenKeys::in_memory(now).map_err(|error| ApplyError::Keys(error.to_string()))
        }
    }
}

impl std::fmt::Debug for Plane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plane").field("revision", &self.view().revision).finish_non_exhaustive()
    }
}
