//! What was just learned of tags and indexes, until the catalog, which is written behind, has it too.
//!
//! A client asks for a child the moment it has the index, and must not find the index forgotten.

use crate::cached::{Cached, cached};
use moka::sync::Cache;
use oci::{Digest, Name, Tag};
use std::sync::Arc;
use std::time::Duration;

/// Entries of each kind.
const ENTRIES_MAX: u64 = 50_000;
/// Far longer than the catalog is behind.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Of one digest.
const EACH_MAX: usize = 64;

pub(super) struct Kin {
    tags: Cached<(Name, Digest), Arc<[Tag]>>,
    parents: Cached<(Name, Digest), Arc<[Digest]>>,
}

impl Kin {
    pub(super) fn new() -> Self {
        let ttl = REMEMBERED;
        Self {
            tags: cached(Cache::builder().max_capacity(ENTRIES_MAX).time_to_live(ttl)),
            parents: cached(Cache::builder().max_capacity(ENTRIES_MAX).time_to_live(ttl)),
        }
    }

    /// Whether that is news.
    pub(super) fn note_tag(&self, name: &Name, tag: &Tag, digest: &Digest) -> bool {
        note(&self.tags, (name.clone(), *digest), tag)
    }

    pub(super) fn note_parent(&self, name: &Name, child: &Digest, parent: &Digest) -> bool {
        note(&self.parents, (name.clone(), *child), parent)
    }

    /// Tags that named it lately. One that moved since may be among them: ask where it leads now.
    pub(super) fn tags(&self, name: &Name, digest: &Digest) -> Arc<[Tag]> {
        self.tags.get(&(name.clone(), *digest)).unwrap_or_default()
    }

    pub(super) fn parents(&self, name: &Name, child: &Digest) -> Arc<[Digest]> {
        self.parents.get(&(name.clone(), *child)).unwrap_or_default()
    }
}

fn note<T: Clone + PartialEq + Send + Sync + 'static>(
    cache: &Cached<(Name, Digest), Arc<[T]>>,
    key: (Name, Digest),
    value: &T,
) -> bool {
    let held = cache.get(&key).unwrap_or_default();
    if held.contains(value) || held.len() >= EACH_MAX {
        return false;
    }
    let more: Arc<[T]> = held.iter().cloned().chain([value.clone()]).collect();
    cache.insert(key, more);
    true
}
