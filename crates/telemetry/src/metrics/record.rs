//! How the record of decisions stands: a loss must be seen before an auditor finds it.

use super::{Bytes, Metrics};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// The state of the record, for [`Metrics::set_record`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordGauges {
    /// Whether entries are being lost, or would be by a kill.
    pub is_losing: bool,
    /// Entries noted since the start.
    pub noted: u64,
    /// Entries lost since the start.
    pub lost: u64,
    /// Entries that are not on the disk yet.
    pub waiting: u64,
    /// How long the oldest of them has been waiting.
    pub lag: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Record {
    is_losing: Gauge,
    noted: Bytes,
    lost: Bytes,
    waiting: Bytes,
    lag: Gauge<f64, AtomicU64>,
}

impl Record {
    pub(super) fn register(r: &mut Registry) -> Self {
        let record = Self::default();
        let help = "1 if decisions are not being recorded";
        r.register("lockgate_record_losing", help, record.is_losing.clone());
        r.register(
            "lockgate_record_noted_entries",
            "Entries since the start",
            record.noted.clone(),
        );
        r.register(
            "lockgate_record_lost_entries",
            "Entries lost since the start",
            record.lost.clone(),
        );
        let help = "Entries that are not on the disk yet";
        r.register("lockgate_record_waiting_entries", help, record.waiting.clone());
        let help = "How long the oldest of them has been waiting";
        r.register("lockgate_record_lag_seconds", help, record.lag.clone());
        record
    }
}

impl Metrics {
    /// Sets the state of the record.
    pub fn set_record(&self, state: RecordGauges) {
        self.record.is_losing.set(i64::from(state.is_losing));
        self.record.noted.set(state.noted);
        self.record.lost.set(state.lost);
        self.record.waiting.set(state.waiting);
        self.record.lag.set(state.lag.as_secs_f64());
    }
}
