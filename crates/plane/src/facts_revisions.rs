//! Facts revisions: a number per name that moves when something changes that rules look at: a tag, a
//! first admission, the beginning of a softening.

use oci::Name;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names share numbers; a change of one makes the answers of those it shares with be made again.
const SHARDS: usize = 4096;

/// The numbers. Reading one takes no lock.
pub(crate) struct FactsRevisions(Box<[AtomicU64]>);

impl FactsRevisions {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| AtomicU64::new(0)).collect())
    }

    /// The number of a name now. To be read before the facts are.
    pub(crate) fn of(&self, name: &Name) -> u64 {
        self.shard(name).load(Ordering::Acquire)
    }

    /// Something about the name changed. To be called after the change can be read.
    pub(crate) fn changed(&self, name: &Name) {
        self.shard(name).fetch_add(1, Ordering::AcqRel);
    }

    fn shard(&self, name: &Name) -> &AtomicU64 {
        let index = usize::try_from(crate::cached::hash_of(name) % SHARDS as u64).unwrap_or(0);
        &self.0[index]
    }
}
