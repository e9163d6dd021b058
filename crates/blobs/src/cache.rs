//! Blobs that are open: bounded, least recently used closed first.
//!
//! Nothing blocks here, so that an async worker may ask. What is dropped is dropped after the lock
//! is released, and unmapping, which takes a while for large blobs, off the async workers.

use crate::blob::OpenBlob;
use crate::map::{MapBudget, MapCharge, Mapping};
use oci::Digest;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

#[derive(Debug)]
pub(crate) struct OpenBlobs {
    entries: Mutex<Entries>,
    held_max: usize,
    budget: Arc<MapBudget>,
}

#[derive(Debug, Default)]
struct Entries {
    by_digest: HashMap<Digest, Entry>,
    /// Counts look-ups; orders entries by use.
    now: u64,
    /// What `now` was when idle mappings were last asked for.
    idle_since: u64,
}

#[derive(Debug)]
struct Entry {
    /// Knows of readers also when the cache has let go.
    alive: Weak<OpenBlob>,
    held: Option<Arc<OpenBlob>>,
    used: u64,
}

impl Entry {
    fn is_read(&self) -> bool {
        self.alive.strong_count() > usize::from(self.held.is_some())
    }
}

impl OpenBlobs {
    pub(crate) fn new(held_max: usize, mapped_max_bytes: u64) -> Arc<Self> {
        let (entries, budget) = (Mutex::default(), MapBudget::new(mapped_max_bytes));
        Arc::new(Self { entries, held_max: held_max.max(1), budget })
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<OpenBlob>> {
        let mut entries = self.entries.lock();
        entries.now += 1;
        let now = entries.now;
        let entry = entries.by_digest.get_mut(digest)?;
        entry.used = now;
        entry.held.clone().or_else(|| entry.alive.upgrade())
    }

    /// Takes a blob in, in place of what had its digest.
    pub(crate) fn insert(&self, blob: &Arc<OpenBlob>) {
        let mut dropped = Vec::new();
        let mut entries = self.entries.lock();
        entries.now += 1;
        let entry =
            Entry { alive: Arc::downgrade(blob), held: Some(blob.clone()), used: entries.now };
        if let Some(before) = entries.by_digest.insert(*blob.digest(), entry) {
            dropped.extend(before.held);
        }
        if entries.held() > self.held_max {
            // Some more than needed, so that sorting by use is not done for each.
            entries.release(self.held_max - self.held_max / 16, &mut dropped);
        }
        drop(entries);
        drop_elsewhere(dropped);
    }

    /// Nothing is found under the digest any more; who reads it goes on.
    pub(crate) fn forget(&self, digest: &Digest) {
        let entry = self.entries.lock().by_digest.remove(digest);
        drop_elsewhere(entry.into_iter().filter_map(|entry| entry.held).collect());
    }

    /// Forgets what lies where it is not looked for any more; who reads it goes on.
    pub(crate) fn retain(&self, is_kept: impl Fn(&OpenBlob) -> bool) {
        let mut dropped = Vec::new();
        self.entries.lock().by_digest.retain(|_, entry| {
            let open = entry.held.clone().or_else(|| entry.alive.upgrade());
            let kept = open.as_deref().is_some_and(&is_kept);
            if !kept {
                dropped.extend(entry.held.take());
            }
            // Dropped behind the lock, also when this was the last to hold it.
            dropped.extend(open);
            kept
        });
        drop_elsewhere(dropped);
    }

    pub(crate) fn is_read(&self, digest: &Digest) -> bool {
        self.entries.lock().by_digest.get(digest).is_some_and(Entry::is_read)
    }

    /// Lets go of half of what may be held, least recently used first: the process has no file descriptors left.
    pub(crate) fn close_half(&self) {
        let mut dropped = Vec::new();
        self.entries.lock().release(self.held_max / 2, &mut dropped);
        drop(dropped);
    }

    /// Mappings of blobs that nobody reads, nor asked for since the last call.
    pub(crate) fn idle_mappings(&self) -> Vec<Mapping> {
        let mut entries = self.entries.lock();
        let now = entries.now;
        let since = std::mem::replace(&mut entries.idle_since, now);
        let idle = entries.by_digest.values().filter(|e| e.used <= since && !e.is_read());
        idle.filter_map(|entry| entry.held.as_ref()?.mapped().cloned()).collect()
    }

    /// Address space for a mapping, taken from the least recently read if need be.
    pub(crate) fn reserve(&self, bytes: u64) -> Option<MapCharge> {
        if bytes > self.budget.max_bytes() {
            return None;
        }
        if let Some(charge) = self.budget.reserve(bytes) {
            return Some(charge);
        }
        // Here the drop is in place: what it frees is wanted now. It happens when the sum of all
        // mapped blobs passes the limit, so rarely.
        let used = self.budget.used_bytes().saturating_add(bytes);
        let wanted = used.saturating_sub(self.budget.max_bytes());
        let dropped = self.entries.lock().take_mapped(wanted);
        drop(dropped);
        self.budget.reserve(bytes)
    }
}

impl Entries {
    /// Lets go of the least recently used until no more than `max` are held, and forgets those
    /// that nobody holds.
    fn release(&mut self, max: usize, dropped: &mut Vec<Arc<OpenBlob>>) {
        let excess = self.held().saturating_sub(max);
        for digest in self.by_use().into_iter().take(excess) {
            if let Some(entry) = self.by_digest.get_mut(&digest) {
                dropped.extend(entry.held.take());
                if entry.alive.strong_count() == 1 {
                    self.by_digest.remove(&digest);
                }
            }
        }
        self.by_digest.retain(|_, entry| entry.alive.strong_count() > 0);
    }

    /// Blobs that are mapped but not read now, together at least `bytes` long if there are so many.
    fn take_mapped(&mut self, bytes: u64) -> Vec<Arc<OpenBlob>> {
        let (mut taken, mut sum) = (Vec::new(), 0);
        for digest in self.by_use() {
            if sum >= bytes {
                break;
            }
            let Some(entry) = self.by_digest.get(&digest) else { continue };
            let mapped = entry.held.as_ref().is_some_and(|blob| blob.mapped().is_some());
            if !mapped || entry.is_read() {
                continue;
            }
            if let Some(blob) = self.by_digest.remove(&digest).and_then(|entry| entry.held) {
                sum += blob.size_bytes();
                taken.push(blob);
            }
        }
        taken
    }

    fn held(&self) -> usize {
        self.by_digest.values().filter(|entry| entry.held.is_some()).count()
    }

    /// What is held, least recently used first.
    fn by_use(&self) -> Vec<Digest> {
        let mut held: Vec<(u64, Digest)> = self
            .by_digest
            .iter()
            .filter(|(_, entry)| entry.held.is_some())
            .map(|(digest, entry)| (entry.used, *digest))
            .collect();
        held.sort_unstable_by_key(|(used, _)| *used);
        held.into_iter().map(|(_, digest)| digest).collect()
    }
}

/// Closes and unmaps on the blocking pool where there is one.
fn drop_elsewhere(blobs: Vec<Arc<OpenBlob>>) {
    if !blobs.iter().any(|blob| blob.mapped().is_some()) {
        return;
    }
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn_blocking(move || drop(blobs));
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{Options, Store};
    use crate::{Blob, ReadHow};
    use oci::Digest;
    use oci::range::ByteRange;

    #[test]
    fn idle_is_what_nobody_read_since_last_asked() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(dir.path())).unwrap();
        let map = |blob: &Blob| drop(blob.stream(ByteRange { start: 0, end: 1 }, ReadHow::Mapped));
        let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        store.put(&Digest::sha256(b"not mapped"), b"not mapped").unwrap();
        map(&store.put(&one, b"1").unwrap());
        let held = store.put(&two, b"2").unwrap();
        map(&held);
        let idle = || store.opens().idle_mappings().len();
        assert_eq!(idle(), 0, "used just now");
        assert_eq!(idle(), 1, "the other is held");
        drop(held);
        assert_eq!(idle(), 2);
        store.cached(&one);
        assert_eq!((idle(), idle()), (1, 2));
    }
}
