//! Mounts: a blob that another name has becomes content of this one without its bytes being sent
//! again (distribution-spec, "Mounting a blob from another repository").
//!
//! Only where the one who asks could have pulled it there and pushed it here. No upstream is asked,
//! and no refusal tells what is elsewhere: what cannot be mounted is to be uploaded.

use super::manifest::{self, Placing};
use super::read::known;
use super::write::Push;
use super::{blob, upload};
use crate::candidates::{Asking, Candidate, HostedName, intent};
use crate::govern;
use crate::memory::ContentState;
use crate::pipeline::Query;
use crate::refusal::Refusal;
use crate::shelf::Shelf;
use oci::{Digest, ErrorCode, Manifest, Name};
use policy::{Action, Object};
use std::collections::HashSet;
use std::sync::Arc;

/// Indexes within indexes.
const DEPTH_MAX: usize = 4;
/// What one push may have mounted, with all that it lists.
pub(super) const MISSING_MAX: usize = 4096;
/// Names looked through for a blob when no source is said.
const HOLDERS_MAX: u32 = 16;

/// The digest that a request wants mounted. One that cannot be read mounts nothing.
pub(super) fn wanted(query: &Query) -> Option<Digest> {
    query.mount.as_deref().and_then(|text| Digest::parse(text).ok())
}

/// Mounts a blob; `false`: it has to be uploaded.
pub(super) async fn mount(push: &Push, digest: &Digest) -> Result<bool, Refusal> {
    let Some((content, may_read)) = source(push, digest).await else { return Ok(false) };
    let media_type = content.media_type.clone();
    let is_kept = blob::keep(&push.core, &push.name, digest, media_type).await?;
    if is_kept && may_read {
        upload::is_ones_own(push, digest);
    }
    Ok(is_kept)
}

/// Content of some name that the principal may pull; and whether they may: what the name has already
/// they need not send, and that alone lets nobody read it.
async fn source(push: &Push, digest: &Digest) -> Option<(Arc<ContentState>, bool)> {
    let shelf = &push.core.shelf;
    // What the name has already, whoever put it there, nobody has to send again.
    if let Ok(Some(content)) = shelf.known_content(&push.name.name, digest).await {
        return Some((content, false));
    }
    let readable = |content| (content, true);
    let Some(from) = &push.query.from else {
        return of_any(push, digest).await.map(readable);
    };
    let from = Name::parse(from).ok()?;
    let ns = push.query.ns.as_deref();
    let found = push.view.routes.locate(from.as_str(), push.host.as_deref(), ns).ok()?;
    of_candidates(push, digest, &found.candidates).await.map(readable)
}

/// Of the first candidate that has it.
async fn of_candidates(
    push: &Push,
    digest: &Digest,
    candidates: &[Candidate],
) -> Option<Arc<ContentState>> {
    let shelf = &push.core.shelf;
    for candidate in candidates {
        let content = match candidate {
            Candidate::Hosted(hosted) => shelf.known_content(&hosted.name, digest).await.ok()?,
            Candidate::Remote(located) => shelf.content(&located.name, digest).await,
        };
        let Some(content) = content else { continue };
        if may_pull(push, candidate, digest, &content).await {
            return Some(content);
        }
    }
    None
}

/// Mounts what a manifest pushed by a virtual name lists, its target lacks, and other members hold:
/// by that name they are there, so no client sends them. What nobody holds here is the push's own
/// check to refuse; no upstream is asked for it.
pub(super) async fn of_others(
    push: &Push,
    manifest: &Manifest,
    depth: usize,
    budget: &mut usize,
) -> Result<(), Refusal> {
    if push.others.is_empty() || depth > DEPTH_MAX {
        return Ok(());
    }
    let listed: Vec<Digest> = (manifest.blobs().filter(|blob| !blob.may_be_elsewhere()))
        .chain(&manifest.manifests)
        .map(|entry| entry.digest)
        .collect();
    let (name, asked) = (push.name.name.clone(), listed);
    let look = move |shelf: &Shelf| shelf.catalog.missing(&name, &asked);
    let missing = known(push.core.shelf.blocking(look).await)?;
    *budget = budget.checked_sub(missing.len()).ok_or_else(|| Refusal::Invalid {
        code: ErrorCode::ManifestInvalid,
        reason: format!(
            "it lists more than {MISSING_MAX} things that {} lacks; push them first",
            push.name.name
        ),
    })?;
    let children: HashSet<Digest> = manifest.manifests.iter().map(|it| it.digest).collect();
    for digest in missing {
        let Some(content) = of_candidates(push, &digest, &push.others).await else { continue };
        if children.contains(&digest) {
            Box::pin(child(push, &digest, &content, depth, budget)).await?;
        } else {
            let media_type = content.media_type.clone();
            if blob::keep(&push.core, &push.name, &digest, media_type).await? {
                // They may pull it at the member that has it.
                upload::is_ones_own(push, &digest);
            }
        }
    }
    Ok(())
}

/// A manifest that an index lists.
async fn child(
    push: &Push,
    digest: &Digest,
    content: &ContentState,
    depth: usize,
    budget: &mut usize,
) -> Result<(), Refusal> {
    let Some(held) = push.core.shelf.manifest(digest).await else { return Ok(()) };
    let held = push.core.shelf.as_called(held, content);
    let content_type = Some(held.media_type.clone());
    let Ok(parsed) = Manifest::parse(&held.bytes, content_type.as_ref()) else { return Ok(()) };
    of_others(push, &parsed, depth + 1, budget).await?;
    // It comes to the target as if it were pushed there.
    let view = push.core.view();
    let (governance, caller) = (&view.governance, push.permit.caller());
    let asking = Asking { governance, caller, now: push.core.shelf.clock.now() };
    let target = Candidate::Hosted(push.name.clone());
    govern::pushed(&push.core, asking, &target, &held, &[]).await?;
    let bytes = held.bytes.clone();
    let placing = Placing { bytes, digest: *digest, content_type, tags: Vec::new() };
    manifest::place(&push.core, &push.name, placing).await.map(drop)
}

/// Of any hosted name.
async fn of_any(push: &Push, digest: &Digest) -> Option<Arc<ContentState>> {
    let shelf = &push.core.shelf;
    let asked = *digest;
    let holders = shelf.blocking(move |it| it.catalog.hosted_holders(&asked, HOLDERS_MAX)).await;
    for name in known(holders).ok()? {
        let Some(candidate) = hosted_candidate(push, &name) else { continue };
        let Ok(Some(content)) = shelf.known_content(&name, digest).await else { continue };
        if may_pull(push, &candidate, digest, &content).await {
            return Some(content);
        }
    }
    None
}

/// A name that somebody holds, as the hosted repository it belongs to.
fn hosted_candidate(push: &Push, name: &Name) -> Option<Candidate> {
    let repository = push.view.repository_of(name)?;
    let hosted = repository.hosted()?.clone();
    let (repository, name) = (repository.clone(), name.clone());
    Some(Candidate::Hosted(HostedName { repository, hosted, name }))
}

/// Whether who pushes could have pulled it there: by access, and by the policies that speak of what it
/// belongs to.
async fn may_pull(
    push: &Push,
    candidate: &Candidate,
    digest: &Digest,
    content: &ContentState,
) -> bool {
    let (governance, caller) = (&push.view.governance, push.permit.caller());
    let intent = intent(Action::Pull, candidate.name(), &Object::Blob(*digest));
    let scope = candidate.scope();
    let private_to = content.private_to.as_deref().or(scope.as_deref());
    let asked = policy::Candidate { intent: &intent, private_to };
    if policy::may_ask(&governance.access, caller, &[asked]).is_err() {
        return false;
    }
    let asking = Asking { governance, caller, now: push.core.shelf.clock.now() };
    match content.is_manifest {
        true => govern::may_pull_manifest(&push.core, asking, candidate, digest).await,
        false => Box::pin(govern::may_read(&push.core, asking, candidate, digest)).await,
    }
}
