//! Stage 3, resolve: from a name to the thing, and how fresh it is.
//!
//! A manifest is had here whole, since it decides; of a blob only where it is, since its bytes must
//! not move before the decision.

use super::Trail;
use super::route::{Routed, manifest_reference};
use crate::answer::{CacheState, ManifestContent};
use crate::lists;
use crate::memory::{ContentState, Thing};
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::routes::Located;
use crate::tags::{Proof, Resolved};
use crate::view::View;
use blobs::Blob;
use oci::{Descriptor, Digest, ErrorCode, Name, Tag};
use policy::{Action, Intent, Leave, Object, Principal};
use std::sync::Arc;
use telemetry::CacheStatus;
use upstream::Class;

/// Names looked through for one page of the catalog.
const NAMES_MAX: u32 = 100_000;

/// What a request came to.
pub(super) enum Target {
    Base,
    Manifest { content: Arc<ManifestContent>, private_to: Option<Arc<str>>, cache: CacheState },
    Blob { digest: Digest, place: BlobPlace, private_to: Option<Arc<str>>, cache: CacheState },
    Tags { tags: Vec<Tag>, more_after: Option<Tag>, cache: CacheState },
    Referrers { descriptors: Vec<Descriptor>, cache: CacheState },
    Catalog { names: Vec<Name>, more_after: Option<Name> },
}

/// Where a blob is.
pub(super) enum BlobPlace {
    /// In the store.
    Stored { blob: Blob, content: Arc<ContentState> },
    /// It exists; for HEAD that is all there is to know.
    Known { size_bytes: Option<u64>, media_type: Option<oci::MediaType> },
    /// Upstream: a fill brings it.
    Upstream { media_type: Option<oci::MediaType> },
}

pub(super) async fn resolve(
    core: &Arc<Core>,
    view: &View,
    principal: &Principal,
    routed: &Routed,
    _leave: Leave,
    trail: &mut Trail,
) -> Result<Target, Refusal> {
    let intent = routed.intent();
    let Some(located) = &routed.located else {
        return match intent.object {
            Object::Catalog => Box::pin(catalog(core, view, principal, routed)).await,
            _ => Ok(Target::Base),
        };
    };
    // From here on it may be asked; before, access said no.
    trail.set_upstream(&located.repository.upstream_name);
    match &intent.object {
        Object::Manifest(_) => {
            let reference = manifest_reference(intent).ok_or_else(no_object)?;
            let resolved = core.resolver.resolve(located, reference, Class::Waiting).await?;
            let Resolved { content, private_to, cache, asked } = resolved;
            if !asked {
                trail.upstream_was_not_asked();
            }
            Ok(Target::Manifest { content, private_to, cache })
        }
        Object::Blob(digest) => blob(core, located, digest, routed.is_head, trail).await,
        Object::Tags => {
            let (all, cache) = Box::pin(core.lists.tags(located)).await?;
            note_asked(trail, cache);
            let (tags, more_after) = lists::page(&all, routed.page.last.as_deref(), routed.page.n);
            Ok(Target::Tags { tags, more_after, cache })
        }
        Object::Referrers(subject) => {
            let (mut descriptors, cache) = Box::pin(core.lists.referrers(located, subject)).await?;
            note_asked(trail, cache);
            if let Some(wanted) = &routed.page.artifact_type {
                descriptors.retain(|entry| entry.artifact_type.as_ref() == Some(wanted));
            }
            Ok(Target::Referrers { descriptors, cache })
        }
        Object::Upload | Object::Catalog | Object::Base => Err(no_object()),
    }
}

/// A hit asked nobody.
fn note_asked(trail: &mut Trail, cache: CacheState) {
    if cache.status == CacheStatus::Hit {
        trail.upstream_was_not_asked();
    }
}

fn no_object() -> Refusal {
    Refusal::Internal("a request was routed to nothing".to_owned())
}

/// Where a blob is, and that this name has it.
async fn blob(
    core: &Arc<Core>,
    located: &Located,
    digest: &Digest,
    is_head: bool,
    trail: &mut Trail,
) -> Result<Target, Refusal> {
    let shelf = &core.shelf;
    let (content, stored) = shelf.content_and_blob(&located.name, digest).await;
    let target =
        |place, private_to, cache| Ok(Target::Blob { digest: *digest, place, private_to, cache });
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
                BlobPlace::Upstream { media_type }
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
                let place = BlobPlace::Upstream { media_type: None };
                return target(place, private_to, CacheState::MISS);
            }
            let content = Arc::new(ContentState::new(size_bytes, None, private_to.as_deref()));
            let cache = CacheState { status: CacheStatus::Revalidated, age: None };
            target(BlobPlace::Stored { blob, content }, private_to, cache)
        }
        (None, None) if is_head => Box::pin(known(core, located, digest)).await,
        (None, None) => {
            if let Some(absence) = shelf.memory.absence(&located.name, &Thing::Blob(*digest)) {
                trail.upstream_was_not_asked();
                let reason = absence.reason.to_string();
                return Err(Refusal::Absent { code: ErrorCode::BlobUnknown, reason });
            }
            let private_to = located.repository.scope(&located.upstream_name).map(Into::into);
            target(BlobPlace::Upstream { media_type: None }, private_to, CacheState::MISS)
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

/// The names this plane knows, as far as the asker may list them (contracts §11).
async fn catalog(
    core: &Arc<Core>,
    view: &View,
    principal: &Principal,
    routed: &Routed,
) -> Result<Target, Refusal> {
    let read = core.shelf.blocking(|shelf| shelf.catalog.names(None, NAMES_MAX)).await;
    let Some(Ok(mut names)) = read else {
        return Err(Refusal::Indeterminate {
            reason: "the catalog does not answer now".to_owned(),
            retry_after: None,
            is_rate_limit: false,
        });
    };
    names.retain(|name| {
        let Some(repository) = view.repository_of(name) else { return false };
        let scope = repository.upstream_name_of(name).and_then(|name| repository.scope(&name));
        let intent =
            Intent { action: Action::List, name: Some(name.clone()), object: Object::Tags };
        policy::may_ask(&view.access, principal, &intent, scope.as_deref()).is_ok()
    });
    let (names, more_after) = lists::page(&names, routed.page.last.as_deref(), routed.page.n);
    Ok(Target::Catalog { names, more_after })
}
