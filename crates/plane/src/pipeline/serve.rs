//! Stage 6, serve: the only place where bytes move, and only for a permit.

use super::gather::Gathered;
use super::resolve::{BlobPlace, Resolution, Target};
use super::route::Routed;
use crate::answer::{BlobAnswer, CacheState, Served, What};
use crate::ask::Ask;
use crate::candidates::{Asking, Located};
use crate::fill::{Boarding, FillFailure, FillReader, FillSource};
use crate::govern;
use crate::hosted::{self, Push};
use crate::incoming::Incoming;
use crate::memory::Thing;
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::stream::{ByteStream, StreamError};
use crate::tags::Proof;
use crate::view::View;
use blobs::{Blob, ReadHow};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use oci::range::ByteRange;
use oci::{Digest, MediaType};
use policy::{Caller, Facts, Intent, Permit};
use std::sync::Arc;
use std::time::Duration;
use telemetry::CacheStatus;
use upstream::{Class, FailureKind};

/// How long a client waits for a download to begin: longer than all mirrors take to fail.
const BEGIN_TIME: Duration = Duration::from_secs(60);

/// Fills that one request joins or begins, one after the other, when they end before it has a byte.
const ATTEMPTS: usize = 4;

/// What the stages before have found, and the permit to give it.
pub(super) struct Decided {
    pub(super) routed: Routed,
    pub(super) found: Resolution,
    pub(super) known: Gathered,
    pub(super) permit: Permit,
}

pub(super) async fn serve(
    core: &Arc<Core>,
    view: &Arc<View>,
    ask: &Ask<'_>,
    incoming: Incoming,
    decided: Decided,
) -> Result<Served, Refusal> {
    let Decided { routed, found, known, permit } = decided;
    let (decision, mut warnings) = (permit.id(), permit.warnings().to_vec());
    let Routed { found: named, asked_name, query, is_head, .. } = routed;
    let (namespace, mut others) =
        named.map(|named| (named.namespace, named.candidates)).unwrap_or_default();
    let (what, cache) = match found.target {
        Target::Base => (What::Base, CacheState::NONE),
        Target::Manifest { content, cache, .. } => {
            if let Some(name) = permit.intent().name.as_ref().filter(|_| !is_head) {
                let (governance, caller) = (&view.governance, permit.caller());
                let asking = Asking { governance, caller, now: core.shelf.clock.now() };
                govern::permitted(core, asking, name, &content, known.judged.as_ref());
            }
            (What::Manifest(content), cache)
        }
        Target::Tags { tags, more_after, cache } => {
            (What::Tags { name: asked_name, tags, more_after }, cache)
        }
        Target::Referrers { descriptors, more_after, cache } => {
            let filter = query.artifact_type;
            (What::Referrers { descriptors, filter, more_after }, cache)
        }
        Target::Catalog { names, more_after } => {
            (What::Catalog { names, more_after }, CacheState::NONE)
        }
        Target::Write { name, write } => {
            let (core, view) = (core.clone(), view.clone());
            let host = ask.host.map(str::to_owned);
            others.retain(|other| *other.name() != name.name);
            let push = Push { core, view, name, asked_name, others, host, query, permit };
            let mut what = hosted::write(push, incoming, write).await?;
            if let What::ManifestCreated { warnings: of_push, .. } = &mut what {
                warnings.append(of_push);
            }
            (what, CacheState::NONE)
        }
        Target::Blob { digest, place, cache, .. } => {
            if let BlobPlace::Stored { blob, .. } = &place
                && let Some(valid_for) = found.redirect.filter(|_| !is_head)
                && let Some(what) = redirect(core, blob, valid_for).await
            {
                return Ok(Served { what, cache, namespace, decision: Some(decision), warnings });
            }
            let guard = Guard::new(core, view, permit, &known.facts);
            let (answer, cache) = blob(core, ask.read, digest, place, cache, guard).await?;
            (What::Blob(answer), cache)
        }
    };
    Ok(Served { what, cache, namespace, decision: Some(decision), warnings })
}

/// A URL of the object store that has the blob. None: it is sent from here.
async fn redirect(core: &Arc<Core>, blob: &Blob, valid_for: Duration) -> Option<What> {
    let digest = *blob.digest();
    let blob = blob.clone();
    let signed = core.shelf.blocking(move |shelf| shelf.store.presign(&blob, valid_for)).await?;
    match signed {
        Ok(url) => Some(What::Redirect { digest, url: url? }),
        Err(error) => {
            tracing::warn!(%digest, %error, "a presigned URL cannot be made; the blob is sent");
            None
        }
    }
}

async fn blob(
    core: &Arc<Core>,
    how: ReadHow,
    digest: Digest,
    place: BlobPlace,
    cache: CacheState,
    guard: Guard,
) -> Result<(BlobAnswer, CacheState), Refusal> {
    let (source, media_type, cache) = match place {
        BlobPlace::Stored { blob, content } => {
            let media_type = content.media_type.clone();
            (Source::Stored(blob), media_type, cache)
        }
        BlobPlace::Known { size_bytes, media_type } => {
            (Source::Known(size_bytes), media_type, cache)
        }
        BlobPlace::Upstream { located, media_type } => {
            let filling = fill(core, &located, &digest, media_type.clone(), Class::Waiting);
            match Box::pin(filling).await? {
                Brought::Filling { reader, size_bytes, status } => {
                    let cache = CacheState { status, age: None };
                    (Source::Fill { reader, size_bytes }, media_type, cache)
                }
                Brought::Stored(blob) => (Source::Stored(blob), media_type, CacheState::HIT),
            }
        }
    };
    let media_type = media_type.unwrap_or(MediaType::OCTET_STREAM);
    let source = BlobSource { source, how, guard: Arc::new(guard) };
    Ok((BlobAnswer { digest, media_type, source }, cache))
}

/// A blob on its way, or in the store after all.
pub(crate) enum Brought {
    Stored(Blob),
    Filling { reader: FillReader, size_bytes: Option<u64>, status: CacheStatus },
}

/// Joins or begins the fill of a blob and waits until its upstream has answered.
pub(crate) async fn fill(
    core: &Arc<Core>,
    located: &Located,
    digest: &Digest,
    media_type: Option<MediaType>,
    class: Class,
) -> Result<Brought, Refusal> {
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        let source = source_of(located, media_type.clone(), class)?;
        let (mut reader, joined) = match core.fills.join_or_start(digest, source) {
            Boarding::Begun(reader) => (reader, false),
            Boarding::Joined(reader) => (reader, true),
            Boarding::Unvouched(fill) => {
                vouched(core, located, digest, class).await?;
                fill.vouch(&located.name);
                continue;
            }
            Boarding::Parking(fill) => {
                let _ = tokio::time::timeout(BEGIN_TIME, fill.ended()).await;
                continue;
            }
            Boarding::Full => return Err(too_many()),
        };
        let failure = match tokio::time::timeout(BEGIN_TIME, reader.answered()).await {
            Ok(Ok(size_bytes)) => {
                let status = if joined { CacheStatus::Joined } else { CacheStatus::Miss };
                let is_unkept = core.shelf.is_full() || reader.is_unkept();
                let status = if is_unkept { CacheStatus::Uncached } else { status };
                return Ok(Brought::Filling { reader, size_bytes, status });
            }
            Ok(Err(FillFailure::Stored)) => {
                vouched(core, located, digest, class).await?;
                match core.shelf.blob(digest).await {
                    Some(blob) => return Ok(Brought::Stored(blob)),
                    None => continue,
                }
            }
            // It is asked for again under the view that blocks it.
            Ok(Err(failure @ FillFailure::Blocked(_))) => return Err(Refusal::from(&failure)),
            Ok(Err(failure)) => failure,
            Err(_) => return Err(too_many()),
        };
        // What another name's upstream says is no word about this one, and one that was begun for
        // nobody in particular may have been turned away where a client is not.
        let is_own = reader.is_begun_for(&located.name);
        if joined && (attempt == 0 || !is_own) {
            last = Some(failure.text());
            continue;
        }
        if let FillFailure::Upstream(failure) = &failure
            && failure.kind() == FailureKind::Absent
        {
            let thing = Thing::Blob(*digest);
            core.shelf.memory.put_absence(located, &thing, failure.reason());
        }
        return Err(Refusal::from(&failure));
    }
    let reason = last.unwrap_or_else(|| "the download ended before it began".to_owned());
    Err(Refusal::Indeterminate { reason, retry_after: None, is_rate_limit: false })
}

fn source_of(
    located: &Located,
    media_type: Option<MediaType>,
    class: Class,
) -> Result<FillSource, Refusal> {
    let Some(upstream) = located.remote.upstream.clone() else {
        return Err(Refusal::Internal("the repository has no upstream".to_owned()));
    };
    Ok(FillSource {
        upstream,
        upstream_label: located.remote.upstream_name.clone(),
        upstream_name: located.upstream_name.clone(),
        name: located.name.clone(),
        private_to: located.scope(),
        media_type,
        class,
    })
}

/// That this name has the digest: by its row, or by its own upstream's word (contracts §5).
async fn vouched(
    core: &Arc<Core>,
    located: &Located,
    digest: &Digest,
    class: Class,
) -> Result<(), Refusal> {
    if core.shelf.content(&located.name, digest).await.is_some() {
        return Ok(());
    }
    let proof = Proof { digest, is_manifest: false, size_bytes: None, media_type: None };
    core.resolver.vouch(located, proof, class).await.map(drop)
}

fn too_many() -> Refusal {
    Refusal::Indeterminate {
        reason: "too many downloads are under way".to_owned(),
        retry_after: None,
        is_rate_limit: false,
    }
}

/// Where the bytes of a permitted blob come from.
pub(crate) struct BlobSource {
    source: Source,
    how: ReadHow,
    guard: Arc<Guard>,
}

enum Source {
    Stored(Blob),
    Known(Option<u64>),
    Fill { reader: FillReader, size_bytes: Option<u64> },
}

impl BlobSource {
    pub(crate) fn size_bytes(&self) -> Option<u64> {
        match &self.source {
            Source::Stored(blob) => Some(blob.size_bytes()),
            Source::Known(size_bytes) => *size_bytes,
            Source::Fill { size_bytes, .. } => *size_bytes,
        }
    }

    pub(crate) fn stream(&self, range: Option<ByteRange>) -> ByteStream {
        match &self.source {
            Source::Stored(blob) => {
                let all = ByteRange { start: 0, end: blob.size_bytes() };
                let bytes = blob.stream(range.unwrap_or(all), self.how);
                let (core, blob) = (self.guard.core.clone(), blob.clone());
                self.guarded(bytes.map(move |next| {
                    next.map_err(|error| {
                        core.shelf.broke(&blob, &error);
                        StreamError::Store(error)
                    })
                }))
            }
            Source::Known(_) => ByteStream::new(stream::empty()),
            Source::Fill { reader, .. } => {
                let (first, mut reader) = (reader, reader.another());
                first.step_aside();
                if let Some(range) = range {
                    reader.limit(range.start, range.end);
                }
                if !reader.can_be_served() {
                    let gone = StreamError::Fill("the disk is full; ask again".to_owned());
                    return ByteStream::new(stream::iter([Err(gone)]));
                }
                let how = self.how;
                self.guarded(stream::unfold(Some(reader), move |reader| async move {
                    let mut reader = reader?;
                    match reader.next(how).await {
                        Ok(Some(bytes)) => Some((Ok(bytes), Some(reader))),
                        Ok(None) => None,
                        Err(error) => Some((Err(error), None)),
                    }
                }))
            }
        }
    }

    fn guarded(
        &self,
        bytes: impl Stream<Item = Result<Bytes, StreamError>> + Send + 'static,
    ) -> ByteStream {
        let seen = self.guard.generation;
        let watch = Watch { guard: self.guard.clone(), seen, is_withdrawn: false };
        let both = (Box::pin(bytes), watch);
        ByteStream::new(stream::unfold(both, |(mut bytes, mut watch)| async move {
            let next = match bytes.next().await? {
                Ok(_) if !watch.may_go_on().await => Err(StreamError::Withdrawn),
                next => next,
            };
            Some((next, (bytes, watch)))
        }))
    }
}

/// The permit of a body that is being sent, as far as it must hold to the end (contracts §3).
struct Guard {
    core: Arc<Core>,
    caller: Caller,
    intent: Intent,
    facts: Facts,
    generation: u64,
}

impl Guard {
    fn new(core: &Arc<Core>, view: &View, permit: Permit, facts: &Facts) -> Self {
        let (private_to, grounds) = (facts.private_to.clone(), facts.grounds);
        let digest = permit.object().copied();
        let facts = Facts { private_to, digest, grounds, ..Facts::default() };
        Self {
            core: core.clone(),
            caller: permit.caller().clone(),
            intent: permit.intent().clone(),
            facts,
            generation: view.generation,
        }
    }
}

impl Guard {
    /// Whether access is withdrawn, or a block stands against what is being sent. Other rules cut no pull
    /// under way.
    async fn is_withdrawn(&self, view: &View) -> bool {
        let Self { core, caller, intent, facts, .. } = self;
        let governance = &view.governance;
        if !policy::still_allowed(governance, caller, intent, facts) {
            return true;
        }
        let (Some(name), Some(blob)) = (&intent.name, &facts.digest) else { return false };
        if !governance.policies.blocks_may_concern(intent) {
            return false;
        }
        let is_cut = govern::is_cut_under(core, view, caller, name, blob, facts.grounds).await;
        is_cut.unwrap_or(true)
    }
}

/// Looks between chunks whether another view came into force, and then whether it still allows.
struct Watch {
    guard: Arc<Guard>,
    seen: u64,
    is_withdrawn: bool,
}

impl Watch {
    async fn may_go_on(&mut self) -> bool {
        if self.guard.core.generation() != self.seen && !self.is_withdrawn {
            let view = self.guard.core.view();
            self.seen = view.generation;
            self.is_withdrawn = Box::pin(self.guard.is_withdrawn(&view)).await;
        }
        !self.is_withdrawn
    }
}
