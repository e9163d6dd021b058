//! Admissions: that an environment was served a digest under a name, first and last.
//!
//! Noted in memory coarsely, so that a warm pull writes nothing; the catalog follows behind.

use super::minute;
use crate::cached::{Cached, cached};
use crate::plane::Core;
use catalog::Batch;
use jiff::Timestamp;
use moka::sync::Cache;
use oci::{Digest, Name};
use policy::{Caller, EnvironmentName};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Admissions known in memory; about 300 bytes each.
const KNOWN_MAX: u64 = 100_000;
/// The last time is exact to this.
const COARSE_MINUTES: i64 = 60;

/// The minute in which each was written last.
pub(crate) struct Admissions(Cached<(EnvironmentName, Name, Digest), Arc<AtomicI64>>);

impl Admissions {
    pub(crate) fn new() -> Self {
        Self(cached(Cache::builder().max_capacity(KNOWN_MAX)))
    }

    /// Notes that the caller's environment is served a digest now. One that the client only asked to be
    /// judged by is served nothing.
    pub(crate) fn note(
        &self,
        core: &Core,
        caller: &Caller,
        name: &Name,
        digest: &Digest,
        now: Timestamp,
    ) {
        let environment = caller.setting.found_environment();
        let key = (environment.clone(), name.clone(), *digest);
        let at = minute(now);
        let (written, is_first) = match self.0.get(&key) {
            Some(written) => (written, false),
            None => (self.0.get_with(key, || Arc::new(AtomicI64::new(i64::MIN))), true),
        };
        let last = written.load(Ordering::Relaxed);
        let is_due = at.saturating_sub(last) >= COARSE_MINUTES;
        if !is_due
            || written.compare_exchange(last, at, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        let mut batch = Batch::new();
        batch.note_admission(environment, name, digest, now);
        match is_first {
            true => super::record::told(core, batch, name),
            false => core.shelf.submit(batch),
        }
    }
}
