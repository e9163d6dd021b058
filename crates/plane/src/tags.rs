//! From a reference to a manifest: fresh, stale or fetched.
//!
//! One resolver for HEAD and GET, for tags and digests. A tag is served from what is known while it
//! is fresh; then it is revalidated by HEAD, once for all who ask, behind the answer or before it
//! as its age demands; when the upstream cannot say, what is known is served as stale. Only an
//! authoritative "absent" changes what a tag means.
//!
//! What asks an upstream is boxed: the way of a warm pull stays small enough to move cheaply.

use crate::answer::{CacheState, ManifestContent};
use crate::candidates::Located;
use crate::freshness::Verdict;
use crate::manifests::{FetchFailure, Fetched, Manifests, is_public_somewhere};
use crate::memory::{ContentState, TagState, Thing};
use crate::refusal::Refusal;
use crate::shelf::{ContentNote, Shelf};
use crate::singleflight::Flights;
use catalog::Batch;
use moka::sync::Cache;
use oci::{Digest, ErrorCode, Name, Reference, Tag};
use std::sync::Arc;
use std::time::Duration;
use telemetry::CacheStatus;
use upstream::{Class, Failure, FailureKind};

/// After a revalidation that failed, a tag is not asked about for this long.
const QUIET: Duration = Duration::from_secs(5);
/// Tags that are left alone at a time.
const QUIET_MAX: u64 = 20_000;

/// A manifest that a reference leads to.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) content: Arc<ManifestContent>,
    pub(crate) private_to: Option<Arc<str>>,
    pub(crate) cache: CacheState,
    /// The upstream was asked for it.
    pub(crate) asked: bool,
}

/// What a revalidation found.
#[derive(Clone, Debug)]
enum Found {
    /// The tag leads where it led.
    Same,
    /// It leads elsewhere now.
    Moved(Fetched),
    /// The upstream says, with authority, that there is no such tag.
    Gone(TagState),
    /// It cannot be told.
    Unknown(FetchFailure),
}

/// The resolver.
#[derive(Clone)]
pub(crate) struct Resolver {
    shelf: Arc<Shelf>,
    manifests: Manifests,
    /// By the upstream that is asked, too: who asks another does not wait for this one.
    revalidations: Flights<(Name, Tag, u64), Found>,
    quiet: Cache<(Name, Tag), ()>,
}

impl Resolver {
    pub(crate) fn new(shelf: Arc<Shelf>, manifests: Manifests) -> Self {
        let quiet = Cache::builder().max_capacity(QUIET_MAX).time_to_live(QUIET).build();
        Self { shelf, manifests, revalidations: Flights::new(), quiet }
    }

    /// The manifest that `reference` leads to.
    pub(crate) async fn resolve(
        &self,
        located: &Located,
        reference: &Reference,
        class: Class,
    ) -> Result<Resolved, Refusal> {
        match reference {
            Reference::Tag(tag) => self.tag(located, tag, class).await,
            Reference::Digest(digest) => self.digest(located, digest, class).await,
        }
    }

    async fn tag(&self, located: &Located, tag: &Tag, class: Class) -> Result<Resolved, Refusal> {
        let Some(state) = self.shelf.tag(&located.name, tag).await else {
            return Box::pin(self.fetch(located, &Reference::Tag(tag.clone()), class)).await;
        };
        let Some((content, held)) = self.held(&located.name, &state.digest).await else {
            // Known, and evicted since.
            return Box::pin(self.fetch(located, &Reference::Tag(tag.clone()), class)).await;
        };
        let known = Known { content, private_to: held.private_to.clone(), state };
        let freshness = &located.remote.freshness;
        let age = self.shelf.clock.since(state.checked_at);
        if let Some(since) = state.gone_since {
            // Another upstream than the one that said so may stand behind the name by now.
            let thing = Thing::Manifest(Reference::Tag(tag.clone()));
            let is_its_word = self.shelf.memory.absence(located, &thing).is_some();
            if is_its_word && age < freshness.absent_ttl {
                return self.deleted(located, tag, known, since);
            }
        } else {
            match freshness.judge(&located.name, tag, age) {
                Verdict::Fresh => return Ok(known.resolved(CacheStatus::Hit, age, false)),
                Verdict::ServeAndAsk => {
                    self.ask_behind(located, tag, state);
                    return Ok(known.resolved(CacheStatus::Stale, age, false));
                }
                Verdict::Ask => {}
            }
        }
        Box::pin(self.revalidated(located, tag, known, age)).await
    }

    /// Asks the upstream before answering.
    async fn revalidated(
        &self,
        located: &Located,
        tag: &Tag,
        known: Known,
        age: Duration,
    ) -> Result<Resolved, Refusal> {
        let freshness = &located.remote.freshness;
        let serves = freshness.serves_on_error(age);
        let key = (located.name.clone(), tag.clone());
        if serves && known.state.gone_since.is_none() && self.quiet.contains_key(&key) {
            return Ok(known.resolved(CacheStatus::Stale, age, false));
        }
        // Somebody waits for the answer: it is not background work.
        let ask = || self.ask(located, tag, known.state, Class::Waiting);
        let key = (key.0, key.1, located.remote.epoch);
        let (found, _) = self.revalidations.join(key, ask).await;
        match found {
            Some(Found::Same) => Ok(known.resolved(CacheStatus::Revalidated, Duration::ZERO, true)),
            Some(Found::Moved(fetched)) => Ok(fetched.resolved(CacheStatus::Miss)),
            Some(Found::Gone(state)) => {
                let since = state.gone_since.unwrap_or(state.checked_at);
                self.deleted(located, tag, known, since)
            }
            Some(Found::Unknown(failure)) => {
                // What was said to be gone stays so: an outage brings nothing back.
                let may = known
                    .state
                    .gone_since
                    .is_none_or(|since| freshness.serves_deleted(self.shelf.clock.since(since)));
                if serves && may {
                    let reason = failure.reason();
                    tracing::debug!(name = %located.name, %tag, reason, "served stale");
                    return Ok(known.resolved(CacheStatus::Stale, age, true));
                }
                Err(Refusal::from(&failure))
            }
            None => Err(Refusal::Internal("a revalidation was ended by a bug; see the log".into())),
        }
    }

    /// Asks the upstream behind the answer.
    fn ask_behind(&self, located: &Located, tag: &Tag, state: TagState) {
        let key = (located.name.clone(), tag.clone());
        if !self.quiet.contains_key(&key) {
            let key = (key.0, key.1, located.remote.epoch);
            self.revalidations.launch(key, || self.ask(located, tag, state, Class::Revalidation));
        }
    }

    fn ask(
        &self,
        located: &Located,
        tag: &Tag,
        state: TagState,
        class: Class,
    ) -> impl Future<Output = Found> + Send + 'static {
        let (this, located, tag) = (self.clone(), located.clone(), tag.clone());
        async move {
            let found = this.look(&located, &tag, state, class).await;
            if let Found::Unknown(failure) = &found {
                let reason = failure.reason();
                tracing::warn!(name = %located.name, %tag, reason, "a tag cannot be revalidated");
                this.quiet.insert((located.name, tag), ());
            }
            found
        }
    }

    async fn look(&self, located: &Located, tag: &Tag, state: TagState, class: Class) -> Found {
        let Some(upstream) = &located.remote.upstream else {
            return Found::Unknown(FetchFailure::Internal("the repository has no upstream".into()));
        };
        let reference = Reference::Tag(tag.clone());
        // HEAD costs nothing of Docker Hub's pull limit; a GET does.
        match upstream.head_manifest(&located.upstream_name, &reference, class).await {
            Ok(head) if head.digest == Some(state.digest) => {
                self.shelf.memory.forget_absence(&located.name, &Thing::Manifest(reference));
                let mut batch = Batch::new();
                self.shelf.note_tag(&mut batch, &located.name, tag, &state.digest);
                self.shelf.submit(batch);
                Found::Same
            }
            Ok(_) => match self.manifests.fetch(located, &reference, class).await.0 {
                Ok(fetched) if fetched.content.digest == state.digest => Found::Same,
                Ok(fetched) => Found::Moved(fetched),
                Err(failure) => self.unfound(located, tag, state, failure),
            },
            Err(failure) => self.unfound(located, tag, state, FetchFailure::Upstream(failure)),
        }
    }

    fn unfound(
        &self,
        located: &Located,
        tag: &Tag,
        state: TagState,
        failure: FetchFailure,
    ) -> Found {
        if failure.is_absent() {
            let thing = Thing::Manifest(Reference::Tag(tag.clone()));
            self.shelf.memory.put_absence(located, &thing, failure.reason());
            Found::Gone(self.shelf.note_gone(&located.name, tag, state))
        } else {
            Found::Unknown(failure)
        }
    }

    /// The upstream deleted the tag: its repository says what that means here.
    fn deleted(
        &self,
        located: &Located,
        tag: &Tag,
        known: Known,
        since: jiff::Timestamp,
    ) -> Result<Resolved, Refusal> {
        let gone_for = self.shelf.clock.since(since);
        if located.remote.freshness.serves_deleted(gone_for) {
            let age = self.shelf.clock.since(known.state.checked_at);
            return Ok(known.resolved(CacheStatus::Stale, age, false));
        }
        Err(Refusal::Absent {
            code: ErrorCode::ManifestUnknown,
            reason: format!(
                "upstream {} deleted {}:{tag}, and onUpstreamDelete of repository {} says not to serve it any more",
                located.remote.upstream_name,
                located.name,
                located.repository.name()
            ),
        })
    }

    async fn digest(
        &self,
        located: &Located,
        digest: &Digest,
        class: Class,
    ) -> Result<Resolved, Refusal> {
        if let Some((content, held)) = self.held(&located.name, digest).await {
            let private_to = held.private_to.clone();
            return Ok(Resolved { content, private_to, cache: CacheState::HIT, asked: false });
        }
        let is_content = self.shelf.content(&located.name, digest).await.is_some();
        if !is_content && let Some(content) = self.shelf.manifest(digest).await {
            // Another name brought it: this one's own upstream has to have it too.
            let size_bytes = Some(content.bytes.len() as u64);
            let media_type = Some(&content.media_type);
            let proof = Proof { digest, is_manifest: true, size_bytes, media_type };
            let private_to = Box::pin(self.vouch(located, proof, class)).await?;
            let cache = CacheState { status: CacheStatus::Revalidated, age: None };
            return Ok(Resolved { content, private_to, cache, asked: true });
        }
        Box::pin(self.fetch(located, &Reference::Digest(*digest), class)).await
    }

    /// A manifest this name holds: its bytes and its row.
    async fn held(
        &self,
        name: &Name,
        digest: &Digest,
    ) -> Option<(Arc<ManifestContent>, Arc<ContentState>)> {
        let row = self.shelf.content(name, digest).await?;
        let mut content = self.shelf.manifest(digest).await?;
        // Another name's upstream may call the same bytes something else.
        if let Some(own) = row.media_type.as_ref().filter(|own| **own != content.media_type) {
            let bytes = content.bytes.clone();
            content = Arc::new(ManifestContent::new(*digest, own.clone(), bytes));
        }
        self.shelf.note_use(name, digest, &row, self.shelf.clock.now());
        Some((content, row))
    }

    async fn fetch(
        &self,
        located: &Located,
        reference: &Reference,
        class: Class,
    ) -> Result<Resolved, Refusal> {
        let thing = Thing::Manifest(reference.clone());
        if let Some(absence) = self.shelf.memory.absence(located, &thing) {
            let reason = absence.reason.to_string();
            return Err(Refusal::Absent { code: ErrorCode::ManifestUnknown, reason });
        }
        let (fetched, joined) = self.manifests.fetch(located, reference, class).await;
        let status = if joined { CacheStatus::Joined } else { CacheStatus::Miss };
        match fetched {
            Ok(fetched) => Ok(fetched.resolved(status)),
            Err(failure) => Err(Refusal::from(&failure)),
        }
    }

    /// Makes sure that the upstream behind this name has a digest which the store holds already,
    /// and notes it (contracts §5). Gives the credential scope under which it is held.
    pub(crate) async fn vouch(
        &self,
        located: &Located,
        proof: Proof<'_>,
        class: Class,
    ) -> Result<Option<Arc<str>>, Refusal> {
        let digest = proof.digest;
        if self.is_listed_and_public(located, digest).await {
            self.note(located, proof, None);
            return Ok(None);
        }
        let reference = Reference::Digest(*digest);
        let (code, thing) = match proof.is_manifest {
            true => (ErrorCode::ManifestUnknown, Thing::Manifest(reference.clone())),
            false => (ErrorCode::BlobUnknown, Thing::Blob(*digest)),
        };
        if let Some(absence) = self.shelf.memory.absence(located, &thing) {
            return Err(Refusal::Absent { code, reason: absence.reason.to_string() });
        }
        let Some(upstream) = &located.remote.upstream else {
            return Err(Refusal::Internal("the repository has no upstream".to_owned()));
        };
        let name = &located.upstream_name;
        let asked: Result<Option<u64>, Failure> = if proof.is_manifest {
            upstream.head_manifest(name, &reference, class).await.map(|head| head.size_bytes)
        } else {
            upstream.head_blob(name, digest, class).await.map(|head| head.size_bytes)
        };
        match asked {
            Ok(size_bytes) => {
                let scope = located.scope();
                if let Some(held_bytes) = proof.size_bytes {
                    let is_manifest = proof.is_manifest;
                    self.shelf.take_in(digest, is_manifest, held_bytes, size_bytes).await;
                }
                let size_bytes = proof.size_bytes.or(size_bytes);
                self.note(located, Proof { size_bytes, ..proof }, scope.as_deref());
                Ok(scope.map(Into::into))
            }
            Err(failure) => {
                if failure.kind() == FailureKind::Absent {
                    self.shelf.memory.put_absence(located, &thing, failure.reason());
                }
                Err(crate::fill::refusal_of(&failure, code))
            }
        }
    }

    fn note(&self, located: &Located, proof: Proof<'_>, private_to: Option<&str>) {
        let mut batch = Batch::new();
        self.shelf.note_content(
            &mut batch,
            ContentNote {
                name: &located.name,
                digest: proof.digest,
                is_manifest: proof.is_manifest,
                size_bytes: proof.size_bytes,
                media_type: proof.media_type,
                private_to,
            },
        );
        self.shelf.submit(batch);
    }

    /// A stored manifest of this name lists it, and the bytes are public anyway: proof enough, so
    /// that an outage does not hide what the plane holds.
    async fn is_listed_and_public(&self, located: &Located, digest: &Digest) -> bool {
        if located.scope().is_some() {
            return false;
        }
        let (name, child) = (located.name.clone(), *digest);
        let listed = self.shelf.blocking(move |s| s.catalog.listed_by(&name, &child, 8)).await;
        let Some(Ok(listed)) = listed else { return false };
        listed.iter().any(|row| row.is_public) && is_public_somewhere(&self.shelf, digest).await
    }
}

/// What is to be vouched for.
#[derive(Clone, Copy)]
pub(crate) struct Proof<'p> {
    pub(crate) digest: &'p Digest,
    pub(crate) is_manifest: bool,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) media_type: Option<&'p oci::MediaType>,
}

/// A tag that is known, with what it leads to.
struct Known {
    content: Arc<ManifestContent>,
    private_to: Option<Arc<str>>,
    state: TagState,
}

impl Known {
    fn resolved(self, status: CacheStatus, age: Duration, asked: bool) -> Resolved {
        let cache = CacheState { status, age: Some(age) };
        Resolved { content: self.content, private_to: self.private_to, cache, asked }
    }
}

impl Fetched {
    fn resolved(self, status: CacheStatus) -> Resolved {
        let cache = CacheState { status, age: None };
        Resolved { content: self.content, private_to: self.private_to, cache, asked: true }
    }
}
