//! Stage 3, resolve: from a name to the thing, how fresh it is, and which candidate has it.
//!
//! A manifest is had here whole, since it decides; of a blob only where it is, since its bytes must
//! not move before the decision. One function goes through the candidates for HEAD and GET of
//! manifests and blobs ([`first_that_has`]); lists are their union ([`lists`]).

mod blob;
mod evidence;
mod lists;
mod pusher;

use super::Trail;
use super::route::{Routed, manifest_reference, reference};
use crate::answer::{CacheState, ManifestContent};
use crate::candidates::{Asking, Candidate, Found, HostedName, Located, intent};
use crate::hosted::{self, Write};
use crate::memory::ContentState;
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::tags::Resolved;
use crate::view::View;
use blobs::Blob;
use oci::{Descriptor, Digest, Name, Reference, Tag};
use policy::{Intent, Leave, Object};
use std::sync::Arc;
use telemetry::CacheStatus;
use upstream::Class;

/// What a request came to, and under which name it is decided.
pub(super) struct Resolution {
    pub(super) target: Target,
    /// What is decided: under the canonical name of the candidate that has it.
    pub(super) intent: Intent,
    /// The candidate; none for what concerns no repository, and for pushes.
    pub(super) candidate: Option<Candidate>,
    /// How long a presigned URL of it may be good for.
    pub(super) redirect: Option<std::time::Duration>,
}

/// What a request came to.
pub(super) enum Target {
    Base,
    Manifest { content: Arc<ManifestContent>, private_to: Option<Arc<str>>, cache: CacheState },
    Blob { digest: Digest, place: BlobPlace, private_to: Option<Arc<str>>, cache: CacheState },
    Tags { tags: Vec<Tag>, more_after: Option<Tag>, cache: CacheState },
    Referrers { descriptors: Vec<Descriptor>, more_after: Option<Digest>, cache: CacheState },
    Catalog { names: Vec<Name>, more_after: Option<Name> },
    Write { name: HostedName, write: Write },
}

/// Where a blob is.
pub(super) enum BlobPlace {
    /// In the store.
    Stored { blob: Blob, content: Arc<ContentState> },
    /// It exists; for HEAD that is all there is to know.
    Known { size_bytes: Option<u64>, media_type: Option<oci::MediaType> },
    /// Upstream: a fill brings it.
    Upstream { located: Box<Located>, media_type: Option<oci::MediaType> },
}

/// Whether this may be asked of a candidate.
fn may(asking: Asking<'_>, candidate: &Candidate, routed: &Routed) -> bool {
    candidate.may(asking, routed.action, &routed.object).is_ok()
}

pub(super) async fn resolve(
    core: &Arc<Core>,
    view: &View,
    asking: Asking<'_>,
    routed: &Routed,
    _leave: Leave,
    trail: &mut Trail,
) -> Result<Resolution, Refusal> {
    let Some(found) = &routed.found else {
        let target = match routed.object {
            Object::Catalog => Box::pin(lists::catalog(core, view, asking.caller, routed)).await?,
            _ => Target::Base,
        };
        let intent = routed.unnamed();
        return Ok(Resolution { target, intent, candidate: None, redirect: None });
    };
    if let Some(write) = &routed.write {
        let name = routed.push_target()?;
        trail.set_target(&name.name, reference(&routed.object));
        let intent = intent(routed.action, &name.name, &routed.object);
        let target = Target::Write { name, write: write.clone() };
        return Ok(Resolution { target, intent, candidate: None, redirect: None });
    }
    match &routed.object {
        Object::Manifest(_) | Object::Blob(_) => {
            if let Some(digest) = pusher::question(asking, found, routed) {
                return pusher::answer(core, asking, found, &digest, routed, trail).await;
            }
            let had = first_that_has(core, asking, found, routed, trail).await;
            match evidence::subject(found, routed, &had) {
                None => had,
                Some(subject) => {
                    let index = evidence::index(core, asking, found, subject, routed, had, trail);
                    Box::pin(index).await
                }
            }
        }
        Object::Tags => Box::pin(lists::tags(core, asking, found, routed, trail)).await,
        Object::Referrers(subject) => {
            Box::pin(lists::referrers(core, asking, found, subject, routed, trail)).await
        }
        Object::Upload | Object::Catalog | Object::Base => Err(no_object()),
    }
}

/// Asks the candidates in their order. Only one that says "not there, for certain" is passed over;
/// one that refuses or cannot tell ends the search, and is named.
async fn first_that_has(
    core: &Arc<Core>,
    asking: Asking<'_>,
    found: &Found,
    routed: &Routed,
    trail: &mut Trail,
) -> Result<Resolution, Refusal> {
    let mut absent = None;
    let held = holder(core, asking, found, routed).await;
    let in_order = (0..found.candidates.len()).filter(|index| Some(*index) != held);
    for (asked, index) in held.into_iter().chain(in_order).enumerate() {
        let candidate = &found.candidates[index];
        note_candidate(trail, candidate, routed);
        let has_others = asked + 1 < found.candidates.len();
        match one(core, candidate, routed, has_others, trail).await {
            Ok(target) => {
                let intent = intent(routed.action, candidate.name(), &routed.object);
                let (redirect, candidate) = (candidate.redirect(), Some(candidate.clone()));
                return Ok(Resolution { target, intent, candidate, redirect });
            }
            Err(refusal @ Refusal::Absent { .. }) => {
                absent.get_or_insert(refusal);
            }
            Err(refusal) => return Err(of_member(refusal, found, candidate)),
        }
    }
    Err(absent.map_or_else(no_object, |refusal| nobody_has(refusal, found)))
}

/// Bytes named by their digest are the same wherever they are: a candidate that is known to have
/// them, or to have what lists them, is asked first, so that no other's upstream is asked for what is
/// here. Only one that the asker may use: where others happen to have the same bytes too must not
/// turn a pull into a refusal.
async fn holder(
    core: &Arc<Core>,
    asking: Asking<'_>,
    found: &Found,
    routed: &Routed,
) -> Option<usize> {
    let digest = match &routed.object {
        Object::Blob(digest) | Object::Manifest(Reference::Digest(digest)) => digest,
        _ => return None,
    };
    if found.candidates.len() < 2 {
        return None;
    }
    let all = || found.candidates.iter().enumerate();
    // What is hot costs no look at the catalog.
    let memory = &core.shelf.memory;
    let is_hot = |it: &Candidate| memory.content(&(it.name().clone(), *digest)).is_some();
    if let Some((index, _)) = all().find(|(_, it)| is_hot(it) && may(asking, it, routed)) {
        return Some(index);
    }
    let usable = || all().filter(|(_, it)| may(asking, it, routed));
    for (index, candidate) in usable() {
        let held = match candidate {
            Candidate::Remote(located) => core.shelf.content(&located.name, digest).await,
            Candidate::Hosted(hosted) => {
                core.shelf.known_content(&hosted.name, digest).await.ok().flatten()
            }
        };
        if held.is_some() {
            return Some(index);
        }
    }
    for (index, candidate) in usable() {
        let Candidate::Remote(located) = candidate else { continue };
        let (name, child) = (located.name.clone(), *digest);
        let read = core.shelf.blocking(move |it| it.catalog.listed_by(&name, &child, 1)).await;
        if matches!(read, Some(Ok(rows)) if !rows.is_empty()) {
            return Some(index);
        }
    }
    None
}

async fn one(
    core: &Arc<Core>,
    candidate: &Candidate,
    routed: &Routed,
    has_others: bool,
    trail: &mut Trail,
) -> Result<Target, Refusal> {
    if let Object::Blob(digest) = &routed.object {
        let how = blob::How { is_head: routed.is_head, has_others };
        return match candidate {
            Candidate::Remote(located) => blob::remote(core, located, digest, how, trail).await,
            Candidate::Hosted(hosted) => blob::hosted(core, hosted, digest, routed.is_head).await,
        };
    }
    let reference = manifest_reference(&routed.object).ok_or_else(no_object)?;
    let resolved = manifest(core, candidate, reference, trail).await?;
    let Resolved { content, private_to, cache, .. } = resolved;
    Ok(Target::Manifest { content, private_to, cache })
}

/// The manifest that a reference leads to at one candidate.
async fn manifest(
    core: &Arc<Core>,
    candidate: &Candidate,
    reference: &Reference,
    trail: &mut Trail,
) -> Result<Resolved, Refusal> {
    match candidate {
        Candidate::Remote(located) => {
            let resolved = core.resolver.resolve(located, reference, Class::Waiting).await?;
            if !resolved.asked {
                trail.upstream_was_not_asked();
            }
            Ok(resolved)
        }
        Candidate::Hosted(hosted) => hosted::manifest(core, hosted, reference).await,
    }
}

/// From here on it may be asked; before, access said no.
fn note_candidate(trail: &mut Trail, candidate: &Candidate, routed: &Routed) {
    trail.set_target(candidate.name(), reference(&routed.object));
    match candidate {
        Candidate::Remote(located) => trail.set_upstream(&located.remote.upstream_name),
        Candidate::Hosted(_) => trail.upstream_was_not_asked(),
    }
}

/// Which member of a virtual repository ended the search.
fn of_member(refusal: Refusal, found: &Found, candidate: &Candidate) -> Refusal {
    if found.repository.name() == candidate.repository().name() {
        return refusal;
    }
    let (member, whole) = (candidate.repository().name(), found.repository.name());
    let say = |reason: &str| {
        format!("member {member} of {whole} cannot tell, so no further one is asked: {reason}")
    };
    match refusal {
        Refusal::Indeterminate { reason, retry_after, is_rate_limit } => {
            Refusal::Indeterminate { reason: say(&reason), retry_after, is_rate_limit }
        }
        Refusal::UpstreamDenied(reason) => Refusal::UpstreamDenied(format!(
            "member {member} of {whole} is refused by its upstream, so no further one is asked: \
             {reason}"
        )),
        other => other,
    }
}

/// All candidates said "not there"; with several, all of them are named.
fn nobody_has(refusal: Refusal, found: &Found) -> Refusal {
    let Refusal::Absent { code, reason } = refusal else { return refusal };
    if found.candidates.len() < 2 {
        return Refusal::Absent { code, reason };
    }
    let members: Vec<&str> =
        found.candidates.iter().map(|it| it.repository().name().as_str()).collect();
    let (whole, members) = (found.repository.name(), members.join(", "));
    Refusal::Absent { code, reason: format!("no member of {whole} has it ({members}): {reason}") }
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
