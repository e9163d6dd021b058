//! Counters and histograms by index: adding is one or two atomic additions, no lookup and no lock.
//! Series that were never touched are not shown.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A label's name with its values.
pub(super) type Axis = (&'static str, &'static [&'static str]);

/// Counters in a grid with one axis per label.
#[derive(Debug)]
pub(super) struct Counters<const D: usize> {
    name: &'static str,
    help: &'static str,
    axes: [Axis; D],
    cells: Box<[AtomicU64]>,
}

impl<const D: usize> Counters<D> {
    pub(super) fn new(name: &'static str, help: &'static str, axes: [Axis; D]) -> Self {
        let size = axes.iter().map(|(_, values)| values.len()).product();
        let cells = (0..size).map(|_| AtomicU64::new(0)).collect();
        Self { name, help, axes, cells }
    }

    /// Adds `count` to the cell at `place`: one index per axis.
    pub(super) fn add(&self, place: [usize; D], count: u64) {
        let index = place.iter().zip(&self.axes).fold(0, |sum, (at, axis)| sum * axis.1.len() + at);
        self.cells[index].fetch_add(count, Ordering::Relaxed);
    }

    /// Writes every touched cell, each with the labels `fixed` before its own.
    pub(super) fn encode_cells(
        &self,
        metric: &mut MetricEncoder<'_>,
        fixed: &[(&str, &str)],
    ) -> fmt::Result {
        for (index, cell) in self.cells.iter().enumerate() {
            let count = cell.load(Ordering::Relaxed);
            if count == 0 {
                continue;
            }
            let mut labels = fixed.to_vec();
            labels.extend(self.labels(index));
            let mut series = metric.encode_family(&labels)?;
            series.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
        Ok(())
    }

    fn labels(&self, index: usize) -> [(&'static str, &'static str); D] {
        let mut rest = index;
        let mut labels = [("", ""); D];
        for (label, (name, values)) in labels.iter_mut().zip(&self.axes).rev() {
            *label = (*name, values[rest % values.len()]);
            rest /= values.len();
        }
        labels
    }
}

impl<const D: usize> Collector for Counters<D> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric =
            encoder.encode_descriptor(self.name, self.help, None, MetricType::Counter)?;
        self.encode_cells(&mut metric, &[])
    }
}

/// Upper bounds of the buckets, in microseconds: from a cached answer to a big download.
const BOUNDS_US: [u64; 17] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    60_000_000,
    300_000_000,
];

/// A histogram of durations.
#[derive(Debug, Default)]
pub(super) struct Durations {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

impl Durations {
    pub(super) fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().take_while(|bound| micros > **bound).count();
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Writes the histogram with `labels`, unless nothing was ever observed.
    pub(super) fn encode_series(
        &self,
        metric: &mut MetricEncoder<'_>,
        labels: &[(&str, &str)],
    ) -> fmt::Result {
        let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds
            .zip(&self.buckets)
            .map(|(bound, count)| (bound, count.load(Ordering::Relaxed)))
            .collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        if count == 0 {
            return Ok(());
        }
        let sum = self.sum_ns.load(Ordering::Relaxed) as f64 / 1e9;
        metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

/// A histogram of durations for each value of a label.
#[derive(Debug)]
pub(super) struct DurationsBy {
    name: &'static str,
    help: &'static str,
    axis: Axis,
    rows: Box<[Durations]>,
}

impl DurationsBy {
    pub(super) fn new(name: &'static str, help: &'static str, axis: Axis) -> Self {
        Self { name, help, axis, rows: axis.1.iter().map(|_| Durations::default()).collect() }
    }

    pub(super) fn observe(&self, index: usize, duration: Duration) {
        self.rows[index].observe(duration);
    }
}

impl Collector for DurationsBy {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric =
            encoder.encode_descriptor(self.name, self.help, None, MetricType::Histogram)?;
        for (value, row) in self.axis.1.iter().zip(&self.rows) {
            row.encode_series(&mut metric, &[(self.axis.0, value)])?;
        }
        Ok(())
    }
}
