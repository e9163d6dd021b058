//! Every counter of the process, in the text format of Prometheus (OpenMetrics 1.0).
//!
//! What a request touches is resolved by index at compile time ([`table`]); nothing on that path
//! takes a lock or looks a label up. Labels come from closed sets ([`labels`]) or from the
//! operator's own files, never from a client.

mod collection;
mod identities;
mod labels;
mod table;
mod upstream;

use crate::Lines;
pub use collection::Collected;
use collection::Collection;
use identities::Identities;
use labels::Label;
pub use labels::{
    CacheStatus, CutReason, FillResult, MethodClass, Outcome, ReloadTarget, Route, StatusClass,
    UpstreamClass, UpstreamOutcome,
};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use table::{Counters, DurationsBy};
pub use upstream::UpstreamMetrics;
use upstream::Upstreams;

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Bytes = Gauge<u64, AtomicU64>;
type LabelledGauge = Family<Vec<(String, String)>, Gauge>;

/// The counters. One per process, made by the composition root and handed to who counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Arc<Counters<4>>,
    request_duration: Arc<DurationsBy>,
    sent: Counter,
    sent_by_cache: Arc<Counters<1>>,
    fills_started: Counter,
    fills_running: Gauge,
    fills_finished: Arc<Counters<1>>,
    upstreams: Arc<Upstreams>,
    evicted_blobs: Counter,
    evicted: Counter,
    damaged_blobs: Counter,
    uploads_open: Gauge,
    pushed: Counter,
    collection: Collection,
    store: Store,
    connections_open: Gauge,
    connections_accepted: Counter,
    connections_cut: Arc<Counters<1>>,
    certificates: LabelledGauge,
    identities: Identities,
    catalog: Catalog,
    revision: LabelledGauge,
    reload_failures: Arc<Counters<1>>,
}

/// One request, for [`Metrics::request`].
#[derive(Clone, Copy, Debug)]
pub struct RequestSample {
    /// The kind of method.
    pub method: MethodClass,
    /// What it was for.
    pub route: Route,
    /// The HTTP status of the answer.
    pub status: u16,
    /// What came of it.
    pub outcome: Outcome,
    /// Where the bytes came from.
    pub cache: CacheStatus,
    /// Body bytes sent.
    pub bytes: u64,
    /// From the request's head to the end of the answer.
    pub duration: Duration,
}

/// The state of the store, for [`Metrics::set_store`].
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreGauges {
    /// Blobs kept.
    pub blobs: u64,
    /// Bytes of the blobs kept.
    pub bytes: u64,
    /// Bytes the store may hold before it evicts.
    pub capacity_bytes: u64,
    /// Bytes free on its disk.
    pub free_bytes: u64,
    /// Inodes free on its disk.
    pub free_inodes: u64,
}

/// The state of the catalog, for [`Metrics::set_catalog`].
#[derive(Clone, Copy, Debug, Default)]
pub struct CatalogGauges {
    /// Whether it takes writes.
    pub writable: bool,
    /// Batches that wait to be written.
    pub waiting_batches: u64,
    /// Batches that were lost.
    pub gaps: u64,
}

#[derive(Debug, Default)]
struct Store {
    blobs: Bytes,
    bytes: Bytes,
    capacity: Bytes,
    free: Bytes,
    free_inodes: Bytes,
}

#[derive(Debug, Default)]
struct Catalog {
    writable: Gauge,
    waiting: Bytes,
    gaps: Bytes,
}

impl Metrics {
    /// Registers everything in `registry`. `lines` is where the log goes, whose losses are shown.
    pub fn new(mut registry: Registry, version: &str, lines: Option<Lines>) -> Arc<Self> {
        let upstreams = Arc::new(Upstreams::default());
        registry.register_collector(Box::new(upstreams.clone()));
        if let Some(lines) = lines {
            registry.register_collector(Box::new(LostLines(lines)));
        }
        let build: LabelledGauge = Family::default();
        build.get_or_create(&vec![("version".to_owned(), version.to_owned())]).set(1);
        registry.register("lockgate_build_info", "The version that runs", build);
        let r = &mut registry;
        let metrics = Self {
            requests: requests(r),
            request_duration: request_duration(r),
            sent: counter(r, "lockgate_sent_bytes", "Body bytes sent to clients"),
            sent_by_cache: by(
                r,
                "lockgate_artifact_sent_bytes",
                "Body bytes sent, by where they came from",
                ("cache", CacheStatus::VALUES),
            ),
            fills_started: counter(r, "lockgate_fills_started", "Shared downloads begun"),
            fills_running: gauge(r, "lockgate_fills_running", "Shared downloads now"),
            fills_finished: by(
                r,
                "lockgate_fills_finished",
                "Shared downloads by how they ended",
                ("result", FillResult::VALUES),
            ),
            upstreams,
            evicted_blobs: counter(r, "lockgate_evicted_blobs", "Blobs removed for space"),
            evicted: counter(r, "lockgate_evicted_bytes", "Bytes removed for space"),
            damaged_blobs: counter(
                r,
                "lockgate_damaged_blobs",
                "Blobs removed because their bytes had rotted on the disk",
            ),
            uploads_open: gauge(
                r,
                "lockgate_uploads_open",
                "Upload sessions that are written to now",
            ),
            pushed: counter(r, "lockgate_pushed_bytes", "Bytes of blobs and manifests pushed here"),
            collection: Collection::register(r),
            store: Store::register(r),
            connections_open: gauge(r, "lockgate_connections_open", "Client connections now"),
            connections_accepted: counter(r, "lockgate_connections_accepted", "Client connections"),
            connections_cut: by(
                r,
                "lockgate_connections_cut",
                "Connections ended by the plane, by reason",
                ("reason", CutReason::VALUES),
            ),
            identities: Identities::register(r),
            certificates: labelled(
                r,
                "lockgate_certificate_not_after_timestamp_seconds",
                "When a listener's certificate expires, in Unix seconds",
            ),
            catalog: Catalog::register(r),
            revision: labelled(r, "lockgate_revision_info", "The set of resources in force"),
            reload_failures: by(
                r,
                "lockgate_reload_failures",
                "Files that could not be taken over",
                ("what", ReloadTarget::VALUES),
            ),
            registry: Registry::default(),
        };
        Arc::new(Self { registry, ..metrics })
    }

    /// Counts a request that is over.
    pub fn request(&self, sample: &RequestSample) {
        let status = StatusClass::of(sample.status).index();
        let (method, route) = (sample.method.index(), sample.route.index());
        self.requests.add([method, route, status, sample.outcome.index()], 1);
        self.request_duration.observe(route, sample.duration);
        self.sent.inc_by(sample.bytes);
        if sample.cache != CacheStatus::None {
            self.sent_by_cache.add([sample.cache.index()], sample.bytes);
        }
    }

    /// A shared download begins.
    pub fn fill_started(&self) {
        self.fills_started.inc();
        self.fills_running.inc();
    }

    /// A shared download is over; once for each [`fill_started`](Self::fill_started).
    pub fn fill_finished(&self, result: FillResult) {
        self.fills_running.dec();
        self.fills_finished.add([result.index()], 1);
    }

    /// The counters of the upstream `name`, made if need be.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        self.upstreams.of(name)
    }

    /// The upstream `name` is no longer configured: its gauges are not shown any more.
    pub fn retire_upstream(&self, name: &str) {
        self.upstreams.retire(name);
    }

    /// Counts what was removed for space.
    pub fn evicted(&self, blobs: u64, bytes: u64) {
        self.evicted_blobs.inc_by(blobs);
        self.evicted.inc_by(bytes);
    }

    /// Counts a blob whose bytes had rotted on the disk.
    pub fn damaged_blob(&self) {
        self.damaged_blobs.inc();
    }

    /// A request took an upload session up.
    pub fn upload_opened(&self) {
        self.uploads_open.inc();
    }

    /// It is done with it; once for each [`upload_opened`](Self::upload_opened).
    pub fn upload_closed(&self) {
        self.uploads_open.dec();
    }

    /// Counts bytes of blobs and manifests that were pushed here.
    pub fn pushed(&self, bytes: u64) {
        self.pushed.inc_by(bytes);
    }

    /// Sets the state of the store.
    pub fn set_store(&self, state: StoreGauges) {
        self.store.blobs.set(state.blobs);
        self.store.bytes.set(state.bytes);
        self.store.capacity.set(state.capacity_bytes);
        self.store.free.set(state.free_bytes);
        self.store.free_inodes.set(state.free_inodes);
    }

    /// Sets the state of the catalog.
    pub fn set_catalog(&self, state: CatalogGauges) {
        self.catalog.writable.set(i64::from(state.writable));
        self.catalog.waiting.set(state.waiting_batches);
        self.catalog.gaps.set(state.gaps);
    }

    /// A client connection was accepted.
    pub fn connection_opened(&self) {
        self.connections_accepted.inc();
        self.connections_open.inc();
    }

    /// A client connection is gone; once for each [`connection_opened`](Self::connection_opened).
    pub fn connection_closed(&self) {
        self.connections_open.dec();
    }

    /// How many client connections there are.
    pub fn connections_open(&self) -> u64 {
        u64::try_from(self.connections_open.get()).unwrap_or(0)
    }

    /// We ended a connection.
    pub fn connection_cut(&self, reason: CutReason) {
        self.connections_cut.add([reason.index()], 1);
    }

    /// Sets when the certificate in the file `path` expires, in Unix seconds.
    pub fn set_certificate(&self, path: &str, not_after_unix_seconds: i64) {
        let labels = vec![("path".to_owned(), path.to_owned())];
        self.certificates.get_or_create(&labels).set(not_after_unix_seconds);
    }

    /// Sets the revision in force: its digest, and where it came from (`files`, `kept`, …).
    pub fn set_revision(&self, digest: &str, source: &str) {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        self.revision.clear();
        let labels = vec![label("digest", digest), label("source", source)];
        self.revision.get_or_create(&labels).set(1);
    }

    /// Something could not be read again, and what was in force stays.
    pub fn reload_failed(&self, what: ReloadTarget) {
        self.reload_failures.add([what.index()], 1);
    }

    /// Everything, as [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Store {
    fn register(r: &mut Registry) -> Self {
        let store = Self::default();
        r.register("lockgate_store_blobs", "Blobs kept", store.blobs.clone());
        r.register("lockgate_store_bytes", "Bytes of the blobs kept", store.bytes.clone());
        let help = "Bytes the store may hold before it evicts";
        r.register("lockgate_store_capacity_bytes", help, store.capacity.clone());
        r.register("lockgate_store_free_bytes", "Bytes free on its disk", store.free.clone());
        r.register("lockgate_store_free_inodes", "Inodes free there", store.free_inodes.clone());
        store
    }
}

impl Catalog {
    fn register(r: &mut Registry) -> Self {
        let catalog = Self::default();
        let help = "1 if the catalog takes writes";
        r.register("lockgate_catalog_writable", help, catalog.writable.clone());
        let help = "Batches that wait to be written";
        r.register("lockgate_catalog_waiting_batches", help, catalog.waiting.clone());
        r.register("lockgate_catalog_gaps", "Batches that were lost", catalog.gaps.clone());
        catalog
    }
}

fn requests(r: &mut Registry) -> Arc<Counters<4>> {
    let axes = [
        ("method", MethodClass::VALUES),
        ("route", Route::VALUES),
        ("status", StatusClass::VALUES),
        ("outcome", Outcome::VALUES),
    ];
    let requests = Arc::new(Counters::new("lockgate_requests", "Requests answered", axes));
    r.register_collector(Box::new(requests.clone()));
    requests
}

fn request_duration(r: &mut Registry) -> Arc<DurationsBy> {
    let help = "From a request's head to the end of the answer";
    let axis = ("route", Route::VALUES);
    let held = Arc::new(DurationsBy::new("lockgate_request_duration_seconds", help, axis));
    r.register_collector(Box::new(held.clone()));
    held
}

fn counter(r: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    r.register(name, help, counter.clone());
    counter
}

fn gauge(r: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    r.register(name, help, gauge.clone());
    gauge
}

fn labelled(r: &mut Registry, name: &str, help: &str) -> LabelledGauge {
    let family = Family::default();
    r.register(name, help, LabelledGauge::clone(&family));
    family
}

fn by(
    r: &mut Registry,
    name: &'static str,
    help: &'static str,
    axis: table::Axis,
) -> Arc<Counters<1>> {
    let counters = Arc::new(Counters::new(name, help, [axis]));
    r.register_collector(Box::new(counters.clone()));
    counters
}

/// Reads the losses of the log when somebody looks.
#[derive(Debug)]
struct LostLines(Lines);

impl Collector for LostLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counter = ConstCounter::new(self.0.lost());
        let (name, help) = ("lockgate_log_lines_lost", "Log lines that could not be written");
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
    }
}

#[cfg(test)]
mod tests;
