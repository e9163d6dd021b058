//! Stage 6, serve: the only place where bytes move, and only for a permit.

use super::resolve::{BlobPlace, Target};
use super::route::Routed;
use crate::answer::{BlobAnswer, CacheState, Served, What};
use crate::ask::Ask;
use crate::fill::{FillFailure, FillReader, FillSource};
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::routes::Located;
use crate::stream::{ByteStream, StreamError};
use crate::view::View;
use blobs::{Blob, ReadHow};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use oci::range::ByteRange;
use oci::{Digest, MediaType, Reference};
use policy::{Facts, Intent, Permit, Principal};
use std::sync::Arc;
use std::time::Duration;
use telemetry::CacheStatus;
use upstream::{Class, FailureKind};

/// How long a client waits for a download to begin: longer than all mirrors take to fail.
const BEGIN_TIME: Duration = Duration::from_secs(60);

pub(super) async fn serve(
    core: &Arc<Core>,
    view: &Arc<View>,
    ask: &Ask<'_>,
    routed: Routed,
    target: Target,
    permit: Permit,
) -> Result<Served, Refusal> {
    let Routed { located, asked_name, page, .. } = routed;
    let namespace = located.as_ref().and_then(|located| located.namespace.clone());
    let (what, cache) = match target {
        Target::Base => (What::Base, CacheState::NONE),
        Target::Manifest { content, cache, .. } => (What::Manifest(content), cache),
        Target::Tags { tags, more_after, cache } => {
            (What::Tags { name: asked_name, tags, more_after }, cache)
        }
        Target::Referrers { descriptors, cache } => {
            (What::Referrers { descriptors, filter: page.artifact_type }, cache)
        }
        Target::Catalog { names, more_after } => {
            (What::Catalog { names, more_after }, CacheState::NONE)
        }
        Target::Blob { digest, place, private_to, cache } => {
            let located = located.ok_or_else(|| Refusal::Internal("a blob of no name".into()))?;
            let guard = Guard::new(core, view, permit, private_to.as_deref());
            return blob(core, ask.read, &located, digest, place, cache, guard)
                .await
                .map(|(answer, cache)| Served { what: What::Blob(answer), cache, namespace });
        }
    };
    Ok(Served { what, cache, namespace })
}

async fn blob(
    core: &Arc<Core>,
    how: ReadHow,
    located: &Located,
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
        BlobPlace::Upstream { media_type } => {
            let (reader, size_bytes, status) =
                fill(core, located, &digest, media_type.clone(), Class::Waiting).await?;
            let cache = CacheState { status, age: None };
            (Source::Fill { reader, size_bytes }, media_type, cache)
        }
    };
    let media_type = media_type.unwrap_or(MediaType::OCTET_STREAM);
    let source = BlobSource { source, how, guard: Arc::new(guard) };
    Ok((BlobAnswer { digest, media_type, source }, cache))
}

/// Joins or begins the fill of a blob and waits until its upstream has answered.
pub(crate) async fn fill(
    core: &Arc<Core>,
    located: &Located,
    digest: &Digest,
    media_type: Option<MediaType>,
    class: Class,
) -> Result<(FillReader, Option<u64>, CacheStatus), Refusal> {
    let Some(upstream) = located.repository.upstream.clone() else {
        return Err(Refusal::Internal("the repository has no upstream".to_owned()));
    };
    // Twice: the fill that was joined may fail by the upstream of another name.
    for attempt in 0.. {
        let source = FillSource {
            upstream: upstream.clone(),
            upstream_label: located.repository.upstream_name.clone(),
            upstream_name: located.upstream_name.clone(),
            name: located.name.clone(),
            private_to: located.repository.scope(&located.upstream_name),
            media_type: media_type.clone(),
            class,
        };
        let (mut reader, joined) = core.fills.join_or_start(digest, source);
        let answered = tokio::time::timeout(BEGIN_TIME, reader.answered()).await;
        let failure = match answered {
            Ok(Ok(size_bytes)) => {
                let status = if joined { CacheStatus::Joined } else { CacheStatus::Miss };
                let status = if core.shelf.is_full() { CacheStatus::Uncached } else { status };
                return Ok((reader, size_bytes, status));
            }
            Ok(Err(failure)) => failure,
            Err(_) => {
                return Err(Refusal::Indeterminate {
                    reason: "too many downloads are under way".to_owned(),
                    retry_after: None,
                    is_rate_limit: false,
                });
            }
        };
        if joined && attempt == 0 {
            continue;
        }
        if let FillFailure::Upstream(failure) = &failure
            && failure.kind() == FailureKind::Absent
        {
            let (reference, reason) = (Reference::Digest(*digest), failure.reason());
            let ttl = located.repository.freshness.absent_ttl;
            core.shelf.memory.put_absence(&located.name, &reference, reason, ttl);
        }
        return Err(Refusal::from(&failure));
    }
    Err(Refusal::Internal("a download was never begun".to_owned()))
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
                self.guarded(bytes.map(|next| next.map_err(StreamError::Store)))
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
        let mut watch = Watch { guard: self.guard.clone(), seen: self.guard.generation };
        ByteStream::new(bytes.map(move |next| match next {
            Ok(_) if !watch.may_go_on() => Err(StreamError::Withdrawn),
            next => next,
        }))
    }
}

/// The permit of a body that is being sent, as far as it must hold to the end (contracts §3).
struct Guard {
    core: Arc<Core>,
    principal: Principal,
    intent: Intent,
    facts: Facts,
    generation: u64,
}

impl Guard {
    fn new(core: &Arc<Core>, view: &View, permit: Permit, private_to: Option<&str>) -> Self {
        let private_to = private_to.map(str::to_owned);
        let facts = Facts { private_to, digest: permit.object().copied() };
        Self {
            core: core.clone(),
            principal: *permit.principal(),
            intent: permit.intent().clone(),
            facts,
            generation: view.generation,
        }
    }
}

/// Looks between chunks whether another view came into force, and then whether it still allows.
struct Watch {
    guard: Arc<Guard>,
    seen: u64,
}

impl Watch {
    fn may_go_on(&mut self) -> bool {
        let guard = &self.guard;
        if guard.core.generation() == self.seen {
            return true;
        }
        let view = guard.core.view();
        self.seen = view.generation;
        policy::still_allowed(&view.access, &guard.principal, &guard.intent, &guard.facts)
    }
}
