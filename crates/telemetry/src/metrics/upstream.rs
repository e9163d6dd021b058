//! Counters per upstream. Upstreams come from the operator's resources, and their number is bounded
//! here all the same.

use super::labels::{Label, UpstreamClass, UpstreamOutcome};
use super::table::{Counters, Durations};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Upstreams past this many share the series `other`.
const UPSTREAMS_MAX: usize = 512;

const REQUESTS: &str = "lockgate_upstream_requests";
const LATENCY: &str = "lockgate_upstream_latency_seconds";

/// The counters of one upstream; keep it, and no lookup is ever needed.
#[derive(Debug)]
pub struct UpstreamMetrics {
    requests: Counters<2>,
    latency: Durations,
    bytes: AtomicU64,
    open_circuits: AtomicU64,
    limit: AtomicI64,
    remaining: AtomicI64,
    retired: AtomicBool,
}

impl UpstreamMetrics {
    fn new() -> Self {
        let axes = [("outcome", UpstreamOutcome::VALUES), ("class", UpstreamClass::VALUES)];
        Self {
            requests: Counters::new(REQUESTS, "", axes),
            latency: Durations::default(),
            bytes: AtomicU64::new(0),
            open_circuits: AtomicU64::new(0),
            limit: AtomicI64::new(-1),
            remaining: AtomicI64::new(-1),
            retired: AtomicBool::new(false),
        }
    }

    /// Counts a request; `latency` is the time to the answer's head.
    pub fn request(&self, outcome: UpstreamOutcome, class: UpstreamClass, latency: Duration) {
        self.requests.add([outcome.index(), class.index()], 1);
        self.latency.observe(latency);
    }

    /// Counts body bytes received.
    pub fn received(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Sets what the upstream says of its rate limit: requests per window, and how many are left.
    pub fn set_rate_limit(&self, limit: u64, remaining: u64) {
        self.limit.store(i64::try_from(limit).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.remaining.store(i64::try_from(remaining).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Sets how many of its endpoints are not asked because they failed lately.
    pub fn set_open_circuits(&self, endpoints: u64) {
        self.open_circuits.store(endpoints, Ordering::Relaxed);
    }
}

/// The counters of all upstreams by name.
#[derive(Debug, Default)]
pub(super) struct Upstreams(Mutex<BTreeMap<String, Arc<UpstreamMetrics>>>);

impl Upstreams {
    pub(super) fn of(&self, name: &str) -> Arc<UpstreamMetrics> {
        let mut known = self.0.lock();
        let name = if known.contains_key(name) || known.len() < UPSTREAMS_MAX - 1 {
            name
        } else {
            "other"
        };
        let metrics =
            known.entry(name.to_owned()).or_insert_with(|| Arc::new(UpstreamMetrics::new()));
        metrics.retired.store(false, Ordering::Relaxed);
        metrics.clone()
    }

    /// Stops showing the gauges of an upstream that is no longer configured. Its counters stay, as
    /// counters must not go backwards.
    pub(super) fn retire(&self, name: &str) {
        if let Some(metrics) = self.0.lock().get(name) {
            metrics.retired.store(true, Ordering::Relaxed);
        }
    }

    fn snapshot(&self) -> Vec<(String, Arc<UpstreamMetrics>)> {
        self.0.lock().iter().map(|(name, held)| (name.clone(), held.clone())).collect()
    }
}

impl Collector for Upstreams {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.snapshot();
        let help = "Requests to upstreams";
        let mut metric = encoder.encode_descriptor(REQUESTS, help, None, MetricType::Counter)?;
        for (name, held) in &all {
            held.requests.encode_cells(&mut metric, &[("upstream", name.as_str())])?;
        }
        let help = "Time to the head of an upstream's answer";
        let mut metric = encoder.encode_descriptor(LATENCY, help, None, MetricType::Histogram)?;
        for (name, held) in &all {
            held.latency.encode_series(&mut metric, &[("upstream", name.as_str())])?;
        }
        let (name, help) = ("lockgate_upstream_received_bytes", "Body bytes from upstreams");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (name, held) in &all {
            let bytes = held.bytes.load(Ordering::Relaxed);
            let labels = [("upstream", name.as_str())];
            let mut series = metric.encode_family(&labels)?;
            series.encode_counter::<NoLabelSet, u64, u64>(&bytes, None)?;
        }
        encode_gauges(&mut encoder, &all)
    }
}

fn encode_gauges(
    encoder: &mut DescriptorEncoder<'_>,
    all: &[(String, Arc<UpstreamMetrics>)],
) -> fmt::Result {
    type Read = fn(&UpstreamMetrics) -> i64;
    let gauges: [(&str, &str, Read); 3] = [
        (
            "lockgate_upstream_rate_limit_requests",
            "Requests an upstream allows per window",
            |held| held.limit.load(Ordering::Relaxed),
        ),
        (
            "lockgate_upstream_rate_limit_remaining_requests",
            "Requests an upstream still allows in this window",
            |held| held.remaining.load(Ordering::Relaxed),
        ),
        (
            "lockgate_upstream_open_circuits",
            "Endpoints of an upstream that are not asked because they failed lately",
            |held| i64::try_from(held.open_circuits.load(Ordering::Relaxed)).unwrap_or(i64::MAX),
        ),
    ];
    for (name, help, read) in gauges {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (upstream, held) in all {
            let value = read(held);
            // Negative: the upstream never said.
            if value >= 0 && !held.retired.load(Ordering::Relaxed) {
                gauge(&mut metric, &[("upstream", upstream.as_str())], value)?;
            }
        }
    }
    Ok(())
}

fn gauge(
    metric: &mut MetricEncoder<'_>,
    labels: &[(&str, &str)],
    value: impl EncodeGaugeValue,
) -> fmt::Result {
    metric.encode_family(&labels)?.encode_gauge(&value)
}
