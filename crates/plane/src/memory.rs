//! What is hot, in memory: enough to serve a warm pull without the catalog (design, invariant 13).
//!
//! A bounded snapshot of rows the catalog has or will have. It is filled by whoever learns
//! something, at once; the catalog follows behind.

use crate::answer::ManifestContent;
use crate::candidates::Located;
use bytes::Bytes;
use jiff::Timestamp;
use moka::sync::Cache;
use oci::{Digest, MediaType, Name, Reference, Tag};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Tags kept in memory; about 200 bytes each.
const TAGS_MAX: u64 = 100_000;
/// Contents kept in memory; about 250 bytes each.
const CONTENTS_MAX: u64 = 200_000;
/// Bytes of manifests kept in memory.
const MANIFESTS_MAX_BYTES: u64 = 64 << 20;
/// Bytes of lists (tags, referrers) kept in memory.
const LISTINGS_MAX_BYTES: u64 = 16 << 20;
/// Remembered absences.
const ABSENCES_MAX: u64 = 20_000;

/// Where a tag leads, as the upstream last said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagState {
    pub(crate) digest: Digest,
    /// When the upstream last confirmed it.
    pub(crate) checked_at: Timestamp,
    /// Since when the upstream says that it is gone.
    pub(crate) gone_since: Option<Timestamp>,
}

/// What a name holds under a digest (contracts §5).
#[derive(Debug)]
pub(crate) struct ContentState {
    /// It came as a manifest; what came as a blob is none, whatever its bytes say.
    pub(crate) is_manifest: bool,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) media_type: Option<MediaType>,
    /// The scope of the credential it was fetched with; `None`: public.
    pub(crate) private_to: Option<Arc<str>>,
    /// The last minute (since 1970) in which its use was noted.
    used_minute: AtomicI64,
}

impl ContentState {
    pub(crate) fn new(
        is_manifest: bool,
        size_bytes: Option<u64>,
        media_type: Option<MediaType>,
        private_to: Option<&str>,
    ) -> Self {
        let private_to = private_to.map(Into::into);
        Self { is_manifest, size_bytes, media_type, private_to, used_minute: AtomicI64::new(0) }
    }

    /// Whether nobody noted a use in this minute yet.
    pub(crate) fn is_first_use_in_minute(&self, now: Timestamp) -> bool {
        let minute = now.as_second() / 60;
        self.used_minute.load(Ordering::Relaxed) != minute
            && self.used_minute.swap(minute, Ordering::Relaxed) != minute
    }
}

/// A list as an upstream gave it, in our own form.
#[derive(Clone, Debug)]
pub(crate) struct ListingState {
    pub(crate) body: Bytes,
    pub(crate) at: Timestamp,
    /// Which upstream gave it; see [`Remote::epoch`](crate::view::Remote). `None`: one of before this
    /// process, which counts as the same.
    pub(crate) epoch: Option<u64>,
}

/// Which list of a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ListingOf {
    Tags,
    Referrers(Digest),
}

/// What can be absent. A digest that is no manifest may well be a blob, and the other way round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Thing {
    Manifest(Reference),
    Blob(Digest),
}

/// An authoritative "absent", and who said it.
#[derive(Clone, Debug)]
pub(crate) struct Absence {
    until: Instant,
    /// Which upstream said so; see [`Remote::epoch`](crate::view::Remote).
    epoch: u64,
    pub(crate) reason: Arc<str>,
}

#[derive(Clone)]
pub(crate) struct Memory {
    tags: Cache<(Name, Tag), TagState>,
    contents: Cache<(Name, Digest), Arc<ContentState>>,
    manifests: Cache<Digest, Arc<ManifestContent>>,
    listings: Cache<(Name, ListingOf), Arc<ListingState>>,
    absences: Cache<(Name, Thing), Absence>,
    /// Counts what was taken back of hosted names; held while it is.
    changes: Arc<RwLock<u64>>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let weigh = |len: usize| u32::try_from(len + 512).unwrap_or(u32::MAX);
        Self {
            tags: Cache::new(TAGS_MAX),
            contents: Cache::new(CONTENTS_MAX),
            manifests: Cache::builder()
                .max_capacity(MANIFESTS_MAX_BYTES)
                .weigher(move |_, content: &Arc<ManifestContent>| weigh(content.bytes.len()))
                .build(),
            listings: Cache::builder()
                .max_capacity(LISTINGS_MAX_BYTES)
                .weigher(move |_, listing: &Arc<ListingState>| weigh(listing.body.len()))
                .build(),
            absences: Cache::builder()
                .max_capacity(ABSENCES_MAX)
                .time_to_live(Duration::from_secs(24 * 3600))
                .build(),
            changes: Arc::default(),
        }
    }

    pub(crate) fn tag(&self, key: &(Name, Tag)) -> Option<TagState> {
        self.tags.get(key)
    }

    /// Remembers what the catalog says, unless something newer was learned meanwhile; what counts.
    pub(crate) fn recall_tag(&self, name: &Name, tag: &Tag, state: TagState) -> TagState {
        self.tags.entry((name.clone(), tag.clone())).or_insert(state).into_value()
    }

    /// How often something was taken back. To be asked before the catalog is read.
    pub(crate) fn changes(&self) -> u64 {
        *self.changes.read()
    }

    /// Takes something back. What readers learned before and did not remember yet is not remembered.
    pub(crate) fn withdraw(&self, take_back: impl FnOnce(&Self)) {
        let mut changes = self.changes.write();
        *changes += 1;
        take_back(self);
    }

    /// As [`recall_tag`](Self::recall_tag), unless something was taken back since.
    pub(crate) fn recall_tag_since(&self, seen: u64, name: &Name, tag: &Tag, state: TagState) {
        let changes = self.changes.read();
        if *changes == seen {
            self.recall_tag(name, tag, state);
        }
    }

    /// As [`recall_content`](Self::recall_content), unless something was taken back since.
    pub(crate) fn recall_content_since(
        &self,
        seen: u64,
        name: &Name,
        digest: &Digest,
        state: ContentState,
    ) -> Arc<ContentState> {
        let changes = self.changes.read();
        if *changes == seen { self.recall_content(name, digest, state) } else { Arc::new(state) }
    }

    pub(crate) fn put_tag(&self, name: &Name, tag: &Tag, state: TagState) {
        self.tags.insert((name.clone(), tag.clone()), state);
    }

    pub(crate) fn forget_tag(&self, name: &Name, tag: &Tag) {
        self.tags.invalidate(&(name.clone(), tag.clone()));
    }

    pub(crate) fn content(&self, key: &(Name, Digest)) -> Option<Arc<ContentState>> {
        self.contents.get(key)
    }

    /// As [`recall_tag`](Self::recall_tag).
    pub(crate) fn recall_content(
        &self,
        name: &Name,
        digest: &Digest,
        state: ContentState,
    ) -> Arc<ContentState> {
        self.contents.entry((name.clone(), *digest)).or_insert(Arc::new(state)).into_value()
    }

    pub(crate) fn put_content(&self, name: &Name, digest: &Digest, state: ContentState) {
        self.contents.insert((name.clone(), *digest), Arc::new(state));
    }

    pub(crate) fn forget_content(&self, name: &Name, digest: &Digest) {
        self.contents.invalidate(&(name.clone(), *digest));
    }

    pub(crate) fn manifest(&self, digest: &Digest) -> Option<Arc<ManifestContent>> {
        self.manifests.get(digest)
    }

    pub(crate) fn put_manifest(&self, content: &Arc<ManifestContent>) {
        self.manifests.insert(content.digest, content.clone());
    }

    pub(crate) fn forget_manifest(&self, digest: &Digest) {
        self.manifests.invalidate(digest);
    }

    pub(crate) fn listing(&self, key: &(Name, ListingOf)) -> Option<Arc<ListingState>> {
        self.listings.get(key)
    }

    /// As [`recall_tag`](Self::recall_tag).
    pub(crate) fn recall_listing(
        &self,
        name: &Name,
        of: &ListingOf,
        state: Arc<ListingState>,
    ) -> Arc<ListingState> {
        self.listings.entry((name.clone(), of.clone())).or_insert(state).into_value()
    }

    pub(crate) fn put_listing(&self, name: &Name, of: &ListingOf, state: Arc<ListingState>) {
        self.listings.insert((name.clone(), of.clone()), state);
    }

    /// What the upstream that is asked now said not long ago. What another said, which stood behind
    /// the name before, is no word about this one.
    pub(crate) fn absence(&self, located: &Located, thing: &Thing) -> Option<Absence> {
        let key = (located.name.clone(), thing.clone());
        let absence = self.absences.get(&key)?;
        if absence.until > Instant::now() && absence.epoch == located.remote.epoch {
            return Some(absence);
        }
        self.absences.invalidate(&key);
        None
    }

    pub(crate) fn put_absence(&self, located: &Located, thing: &Thing, reason: &str) {
        let remote = &located.remote;
        let ttl = remote.freshness.absent_ttl;
        if ttl.is_zero() {
            return;
        }
        let until = Instant::now() + ttl.min(Duration::from_secs(24 * 3600));
        let absence = Absence { until, epoch: remote.epoch, reason: reason.into() };
        self.absences.insert((located.name.clone(), thing.clone()), absence);
    }

    pub(crate) fn forget_absence(&self, name: &Name, thing: &Thing) {
        self.absences.invalidate(&(name.clone(), thing.clone()));
    }

    /// Forgets everything of names that match, after a purge; the catalog is asked again.
    pub(crate) fn forget_names(&self, matches: impl Fn(&Name) -> bool) {
        let names: Vec<_> = self.tags.iter().filter(|(key, _)| matches(&key.0)).collect();
        names.iter().for_each(|(key, _)| self.tags.invalidate(key.as_ref()));
        let names: Vec<_> = self.contents.iter().filter(|(key, _)| matches(&key.0)).collect();
        names.iter().for_each(|(key, _)| self.contents.invalidate(key.as_ref()));
        let names: Vec<_> = self.listings.iter().filter(|(key, _)| matches(&key.0)).collect();
        names.iter().for_each(|(key, _)| self.listings.invalidate(key.as_ref()));
        let names: Vec<_> = self.absences.iter().filter(|(key, _)| matches(&key.0)).collect();
        names.iter().for_each(|(key, _)| self.absences.invalidate(key.as_ref()));
    }
}
