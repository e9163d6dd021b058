//! Store, catalog and memory as one: what is known is looked up here, what is learned is noted
//! here.
//!
//! Look-ups go to memory, then to the catalog on the blocking pool; a catalog that does not answer
//! counts as "not known", and the upstream is asked instead. Notes go to memory at once and to the
//! catalog behind; no request waits for a write (design, invariants 12 and 13).

use crate::answer::ManifestContent;
use crate::candidates::Located;
use crate::clock::Clock;
use crate::facts_revisions::FactsRevisions;
use crate::holds::Holds;
use crate::memory::{ContentState, ListingOf, ListingState, Memory, TagState};
use crate::names::NameBook;
use blobs::{Blob, Store};
use bytes::Bytes;
use catalog::{Batch, Catalog, Content, ContentRow, ListingKey, ManifestRow};
use jiff::Timestamp;
use oci::{Digest, Manifest, ManifestKind, MediaType, Name, Tag};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use telemetry::Metrics;

/// Uses waiting to be written; more are not noted, which only makes "last used" coarser.
const USES_MAX: usize = 100_000;
/// The longest manifest that is read back from the store: what a hosted repository may be set to
/// take.
pub(crate) const MANIFEST_MAX_BYTES: usize = 64 << 20;
/// Remembered events for status.
const EVENTS_MAX: usize = 16;

pub(crate) struct Shelf {
    pub(crate) store: Store,
    pub(crate) catalog: Catalog,
    pub(crate) memory: Memory,
    /// Which hosted names changed, and whether all are known.
    pub(crate) names: NameBook,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    /// Moves with what rules look at.
    pub(crate) facts: FactsRevisions,
    /// Which bytes are on their way in or out.
    pub(crate) holds: Holds,
    /// The last write failed for want of space, or would have eaten the catalog's reserve.
    full: AtomicBool,
    uses: Mutex<Vec<(Name, Digest)>>,
    /// Bytes committed since housekeeping last looked: it looks sooner when much came in.
    pub(crate) committed_bytes: AtomicI64,
    pub(crate) committed: tokio::sync::Notify,
    /// Bytes of a blob turned out to be damaged.
    pub(crate) lost_one: tokio::sync::Notify,
    /// Upstreams that sent bytes which were not those of the digest.
    mismatches: Mutex<VecDeque<String>>,
}

impl Shelf {
    pub(crate) fn new(store: Store, catalog: Catalog, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            catalog,
            memory: Memory::new(),
            names: NameBook::default(),
            clock,
            metrics,
            facts: FactsRevisions::new(),
            holds: Holds::default(),
            full: AtomicBool::new(false),
            uses: Mutex::default(),
            committed_bytes: AtomicI64::new(0),
            committed: tokio::sync::Notify::new(),
            lost_one: tokio::sync::Notify::new(),
            mismatches: Mutex::default(),
        }
    }

    /// Runs what may block on the blocking pool. `None`: it panicked.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Shelf) -> T + Send + 'static,
    ) -> Option<T> {
        let shelf = self.clone();
        tokio::task::spawn_blocking(move || work(&shelf)).await.ok()
    }

    // ---- what is known ---------------------------------------------------------------------

    /// Where a tag leads, as far as is known.
    pub(crate) async fn tag(self: &Arc<Self>, name: &Name, tag: &Tag) -> Option<TagState> {
        let key = (name.clone(), tag.clone());
        if let Some(state) = self.memory.tag(&key) {
            return Some(state);
        }
        let row = self.blocking(move |shelf| shelf.catalog.tag(&key.0, &key.1)).await?.ok()??;
        let state =
            TagState { digest: row.digest, checked_at: row.checked_at, gone_since: row.gone_since };
        Some(self.memory.recall_tag(name, tag, state))
    }

    /// What a name holds under a digest, as far as is known.
    pub(crate) async fn content(
        self: &Arc<Self>,
        name: &Name,
        digest: &Digest,
    ) -> Option<Arc<ContentState>> {
        let key = (name.clone(), *digest);
        if let Some(state) = self.memory.content(&key) {
            return Some(state);
        }
        let asked = key.clone();
        let row = self.blocking(move |shelf| shelf.catalog.content(&asked.0, &asked.1)).await?;
        let row = row.ok()??;
        Some(self.recall(name, digest, row))
    }

    /// What the catalog told, in memory for the next who asks.
    fn recall(&self, name: &Name, digest: &Digest, row: ContentRow) -> Arc<ContentState> {
        let state = ContentState::new(
            row.is_manifest,
            row.size_bytes,
            row.media_type,
            row.private_to.as_deref(),
        );
        self.memory.recall_content(name, digest, state)
    }

    /// The bytes of a manifest, if the store has them. Says nothing about who may have them.
    pub(crate) async fn manifest(
        self: &Arc<Self>,
        digest: &Digest,
    ) -> Option<Arc<ManifestContent>> {
        if let Some(content) = self.memory.manifest(digest) {
            return Some(content);
        }
        let digest = *digest;
        let content = self.blocking(move |shelf| shelf.read_manifest(&digest)).await??;
        self.memory.put_manifest(&content);
        Some(content)
    }

    fn read_manifest(&self, digest: &Digest) -> Option<Arc<ManifestContent>> {
        let blob = self.open_blob(digest, None)?;
        let bytes = match blob.read_all(MANIFEST_MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.is_damage() {
                    self.damaged(&blob, &error.to_string());
                }
                return None;
            }
        };
        // A file that rotted on the disk is as good as absent; it is fetched again.
        if Digest::of(digest.algorithm(), &bytes) != *digest {
            self.damaged(&blob, "its bytes do not hash to its digest");
            return None;
        }
        let media_type = match self.catalog.manifest(digest).ok().flatten() {
            Some(row) => row.media_type,
            // The catalog does not know it now. Layers and configs lie in the store too: only what
            // reads as a manifest is one.
            None => {
                let parsed = Manifest::parse(&bytes, None).ok();
                let parsed = parsed.filter(|parsed| parsed.kind != ManifestKind::Other)?;
                parsed.media_type.unwrap_or(MediaType::OCI_MANIFEST)
            }
        };
        Some(Arc::new(ManifestContent::new(*digest, media_type, bytes)))
    }

    /// An open blob, if the store has it. Says nothing about who may have it.
    pub(crate) async fn blob(self: &Arc<Self>, digest: &Digest) -> Option<Blob> {
        self.blob_of(digest, None).await
    }

    async fn blob_of(self: &Arc<Self>, digest: &Digest, size_bytes: Option<u64>) -> Option<Blob> {
        if let Some(blob) = self.store.cached(digest) {
            return Some(blob);
        }
        let digest = *digest;
        self.blocking(move |shelf| shelf.open_blob(&digest, size_bytes)).await?
    }

    /// What a name holds under a digest, and the open blob: one trip to the blocking pool for both.
    pub(crate) async fn content_and_blob(
        self: &Arc<Self>,
        name: &Name,
        digest: &Digest,
    ) -> (Option<Arc<ContentState>>, Option<Blob>) {
        let known = self.memory.content(&(name.clone(), *digest));
        let open = self.store.cached(digest);
        if known.is_some() || open.is_some() {
            let content = match known {
                Some(content) => Some(content),
                None => self.content(name, digest).await,
            };
            let blob = match open {
                Some(blob) => Some(blob),
                None => {
                    let size_bytes = content.as_ref().and_then(|content| content.size_bytes);
                    self.blob_of(digest, size_bytes).await
                }
            };
            return (content, blob);
        }
        let (asked, wanted) = (name.clone(), *digest);
        let looked = self.blocking(move |shelf| {
            let row = shelf.catalog.content(&asked, &wanted).ok().flatten();
            let size_bytes = row.as_ref().and_then(|row| row.size_bytes);
            (row, shelf.open_blob(&wanted, size_bytes))
        });
        let (row, blob) = looked.await.unwrap_or_default();
        (row.map(|row| self.recall(name, digest, row)), blob)
    }

    /// A list of a name, as its upstream last gave it.
    pub(crate) async fn listing(
        self: &Arc<Self>,
        name: &Name,
        of: &ListingOf,
    ) -> Option<Arc<ListingState>> {
        let key = (name.clone(), of.clone());
        if let Some(state) = self.memory.listing(&key) {
            return Some(state);
        }
        let row = self.blocking(move |shelf| shelf.catalog.listing(&key.0, &key.1.key())).await?;
        let row = row.ok()??;
        let state = Arc::new(ListingState { body: row.body, at: row.at, epoch: None });
        Some(self.memory.recall_listing(name, of, state))
    }

    // ---- what is learned -------------------------------------------------------------------

    pub(crate) fn submit(&self, batch: Batch) {
        // Dropping the ticket changes nothing; losses are counted by the catalog.
        drop(self.catalog.submit(batch));
    }

    /// A name holds a digest.
    pub(crate) fn note_content(&self, batch: &mut Batch, note: ContentNote<'_>) {
        let at = self.clock.now();
        let media_type = note.media_type.cloned();
        let state = ContentState::new(
            note.is_manifest,
            note.size_bytes,
            media_type.clone(),
            note.private_to,
        );
        self.memory.put_content(note.name, note.digest, state);
        batch.put_content(
            note.name,
            note.digest,
            Content {
                is_manifest: note.is_manifest,
                size_bytes: note.size_bytes,
                media_type,
                private_to: note.private_to.map(str::to_owned),
                is_hosted: false,
                at,
            },
        );
    }

    /// A tag leads to a digest, confirmed now.
    pub(crate) fn note_tag(&self, batch: &mut Batch, name: &Name, tag: &Tag, digest: &Digest) {
        let checked_at = self.clock.now();
        let known = self.memory.tag(&(name.clone(), tag.clone()));
        let state = TagState { digest: *digest, checked_at, gone_since: None };
        self.memory.put_tag(name, tag, state);
        match known {
            Some(known) if known.digest == *digest && known.gone_since.is_none() => {
                batch.touch_tag(name, tag, checked_at);
            }
            _ => {
                batch.move_tag(name, tag, digest, checked_at);
                self.facts.changed(name);
            }
        }
    }

    /// The upstream says, with authority, that a tag we hold is gone.
    pub(crate) fn note_gone(&self, name: &Name, tag: &Tag, state: TagState) -> TagState {
        let now = self.clock.now();
        let since = state.gone_since.unwrap_or(now);
        let state = TagState { checked_at: now, gone_since: Some(since), ..state };
        self.memory.put_tag(name, tag, state);
        let mut batch = Batch::new();
        batch.tag_gone(name, tag, since);
        self.facts.changed(name);
        self.submit(batch);
        state
    }

    /// The store has a manifest's bytes.
    pub(crate) fn note_manifest(
        &self,
        batch: &mut Batch,
        content: &Arc<ManifestContent>,
        parsed: &Manifest,
    ) {
        let size_bytes = content.bytes.len() as u64;
        let media_type = content.media_type.clone();
        self.memory.put_manifest(content);
        batch.put_manifest(&ManifestRow::of(content.digest, size_bytes, media_type, parsed));
    }

    /// The store has a blob's bytes.
    pub(crate) fn note_blob(
        &self,
        batch: &mut Batch,
        digest: &Digest,
        size_bytes: u64,
        is_manifest: bool,
    ) {
        batch.put_blob(digest, size_bytes, is_manifest, self.clock.now());
        self.note_committed(size_bytes);
    }

    /// So many bytes came in: housekeeping looks sooner when much did.
    pub(crate) fn note_committed(&self, size_bytes: u64) {
        let size = i64::try_from(size_bytes).unwrap_or(i64::MAX);
        self.committed_bytes.fetch_add(size, Ordering::Relaxed);
        self.committed.notify_one();
    }

    pub(crate) fn note_listing(
        &self,
        located: &Located,
        of: &ListingOf,
        body: Bytes,
    ) -> Arc<ListingState> {
        let (name, at) = (&located.name, self.clock.now());
        let epoch = Some(located.remote.epoch);
        let state = Arc::new(ListingState { body: body.clone(), at, epoch });
        self.memory.put_listing(name, of, state.clone());
        let mut batch = Batch::new();
        batch.put_listing(name, of.key(), body, at);
        self.submit(batch);
        state
    }

    /// Somebody was served this. Coarse: once a minute at most.
    pub(crate) fn note_use(
        &self,
        name: &Name,
        digest: &Digest,
        state: &ContentState,
        now: Timestamp,
    ) {
        if state.is_first_use_in_minute(now) {
            let mut uses = self.uses.lock();
            if uses.len() < USES_MAX {
                uses.push((name.clone(), *digest));
            }
        }
    }

    /// The uses since the last call.
    pub(crate) fn take_uses(&self) -> Vec<(Name, Digest)> {
        std::mem::take(&mut self.uses.lock())
    }

    // ---- trouble ---------------------------------------------------------------------------

    /// The disk took no more bytes (or may not). Loud, once for each time it begins.
    pub(crate) fn set_full(&self, cause: &str) {
        if !self.full.swap(true, Ordering::AcqRel) {
            tracing::error!(
                cause,
                "the disk of the store is full: downloads are passed on and not kept until space returns"
            );
        }
    }

    /// There is space again.
    pub(crate) fn set_roomy(&self) {
        if self.full.swap(false, Ordering::AcqRel) {
            tracing::info!("the disk of the store has space again");
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// An upstream sent bytes that are not those of the digest. That it said "found" for the name
    /// counts no more: the next who asks has it asked again.
    pub(crate) fn note_mismatch(&self, upstream: &str, name: &Name, digest: &Digest) {
        let mut batch = Batch::new();
        batch.drop_content(name, digest);
        self.submit(batch);
        self.memory.forget_content(name, digest);
        let text =
            format!("upstream {upstream} sent wrong bytes for {digest} at {}", self.clock.now());
        let mut mismatches = self.mismatches.lock();
        mismatches.truncate(EVENTS_MAX - 1);
        mismatches.push_front(text);
    }

    pub(crate) fn mismatches(&self) -> Vec<String> {
        self.mismatches.lock().iter().cloned().collect()
    }
}

/// That a name holds a digest, for [`Shelf::note_content`].
#[derive(Clone, Copy)]
pub(crate) struct ContentNote<'n> {
    pub(crate) name: &'n Name,
    pub(crate) digest: &'n Digest,
    pub(crate) is_manifest: bool,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) media_type: Option<&'n MediaType>,
    pub(crate) private_to: Option<&'n str>,
}

impl ListingOf {
    fn key(&self) -> ListingKey {
        match self {
            Self::Tags => ListingKey::Tags,
            Self::Referrers(subject) => ListingKey::Referrers(*subject),
        }
    }
}
