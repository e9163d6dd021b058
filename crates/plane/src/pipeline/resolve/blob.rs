//! Where a blob is, and that a name has it.

use super::{BlobPlace, Target};
use crate::answer::CacheState;
use crate::candidates::{HostedName, Located};
use crate::hosted;
use crate::memory::{ContentState, Thing};
use crate::pipeline::Trail;
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::tags::Proof;
use oci::{Digest, ErrorCode};
use std::sync::Arc;
use telemetry::CacheStatus;
use upstream::Class;

/// How a blob is asked for.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// Nothing is downloaded.
    pub(super) is_head: bool,
    /// Others come after this candidate: whether it has the blob must be known before it is served.
    pub(super) has_others: bool,
}

/// A blob that was pushed here.
pub(super) async fn hosted(
    core: &Arc<Core>,
    name: &HostedName,
    digest: &Digest,
    is_head: bool,
) -> Result<Target, Refusal> {
    let (blob, content) = hosted::blob(core, name, digest, is_head).await?;
    let place = BlobPlace::Stored { blob, content };
    Ok(Target::Blob { digest: *digest, place, private_to: None, cache: CacheState::NONE })
}

/// A blob of a remote repository: here, or upstream.
pub(super) async fn remote(
    core: &Arc<Core>,
    located: &Located,
    digest: &Digest,
    how: How,
    trail: &mut Trail,
) -> Result<Target, Refusal> {
    let is_head = how.is_head;
    let shelf = &core.shelf;
    let (content, stored) = shelf.content_and_blob(&located.name, digest).await;
    let target =
        |place, private_to, cache| Ok(Target::Blob { digest: *digest, place, private_to, cache });
    let upstream =
        |media_type| BlobPlace::Upstream { located: Box::new(located.clone()), media_type };
    match (content, stored) {
        (Some(content), Some(blob)) => {
            trail.upstream_was_not_asked();
            shelf.note_use(&located.name, digest, &content, shelf.clock.now());
            let private_to = content.private_to.clone();
            target(BlobPlace::Stored { blob, content }, private_to, CacheState::HIT)
        }
        (Some(content), None) => {
            let (size_bytes, media_type) = (content.size_bytes, content.media_type.clone());
            let place = if is_head && size_bytes.is_some() {
                trail.upstream_was_not_asked();
                BlobPlace::Known { size_bytes, media_type }
            } else if is_head {
                return Box::pin(known(core, located, digest)).await;
            } else {
                upstream(media_type)
            };
            target(place, content.private_to.clone(), CacheState::MISS)
        }
        // Another name brought it: this one's own upstream has to have it too.
        (None, Some(blob)) => {
            let size_bytes = Some(blob.size_bytes());
            let proof = Proof { digest, is_manifest: false, size_bytes, media_type: None };
            let vouched = core.resolver.vouch(located, proof, Class::Waiting);
            let private_to = Box::pin(vouched).await?;
            // The upstream knows another length, and ours turned out damaged.
            if shelf.store.cached(digest).is_none() {
                return target(upstream(None), private_to, CacheState::MISS);
            }
            let content =
                Arc::new(ContentState::new(false, size_bytes, None, private_to.as_deref()));
            let cache = CacheState { status: CacheStatus::Revalidated, age: None };
            target(BlobPlace::Stored { blob, content }, private_to, cache)
        }
        (None, None) if is_head => Box::pin(known(core, located, digest)).await,
        (None, None) => {
            if let Some(absence) = shelf.memory.absence(located, &Thing::Blob(*digest)) {
                trail.upstream_was_not_asked();
                let reason = absence.reason.to_string();
                return Err(Refusal::Absent { code: ErrorCode::BlobUnknown, reason });
            }
            if how.has_others {
                let proof =
                    Proof { digest, is_manifest: false, size_bytes: None, media_type: None };
                let vouched = core.resolver.vouch(located, proof, Class::Waiting);
                let private_to = Box::pin(vouched).await?;
                return target(upstream(None), private_to, CacheState::MISS);
            }
            target(upstream(None), located.scope().map(Into::into), CacheState::MISS)
        }
    }
}

/// For HEAD of what the store does not have: the upstream is asked, nothing is downloaded.
async fn known(core: &Arc<Core>, located: &Located, digest: &Digest) -> Result<Target, Refusal> {
    let proof = Proof { digest, is_manifest: false, size_bytes: None, media_type: None };
    let private_to = core.resolver.vouch(located, proof, Class::Waiting).await?;
    let content = core.shelf.content(&located.name, digest).await;
    let size_bytes = content.and_then(|content| content.size_bytes);
    let place = BlobPlace::Known { size_bytes, media_type: None };
    Ok(Target::Blob { digest: *digest, place, private_to, cache: CacheState::MISS })
}
