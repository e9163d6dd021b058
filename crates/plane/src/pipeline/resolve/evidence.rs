//! For clients that know no referrers API: the index they look for under a tag made of the digest
//! (distribution-spec, "Referrers Tag Schema"), made up from what the API would list.
//!
//! Clients of this kind (containerd, oras, go-containerregistry) ask for it by the tag alone, so an
//! index that is made up needs no place under its digest.

use super::super::route::Routed;
use super::{Resolution, Target, lists};
use crate::answer::{CacheState, ManifestContent};
use crate::candidates::{Asking, Candidate, Found, intent};
use crate::pipeline::Trail;
use crate::plane::Core;
use crate::refusal::Refusal;
use bytes::Bytes;
use oci::{Descriptor, Digest, EvidenceTag, Manifest, MediaType, Reference};
use policy::{Action, Object};
use std::collections::HashSet;
use std::sync::Arc;

/// Whose referrers a request looks for by their fallback tag, if an index may have to be made up:
/// where nobody has the tag, and where several could have referrers. A SHA-512 digest cannot be read
/// back from its tag.
pub(super) fn subject(
    found: &Found,
    routed: &Routed,
    had: &Result<Resolution, Refusal>,
) -> Option<Digest> {
    let Object::Manifest(Reference::Tag(tag)) = &routed.object else { return None };
    let (subject, EvidenceTag::Referrers) = tag.evidence_of()? else { return None };
    let is_wanted = match had {
        Ok(_) => found.candidates.len() > 1,
        Err(refusal) => matches!(refusal, Refusal::Absent { .. }),
    };
    is_wanted.then_some(subject)
}

/// The index of what refers to `subject` at any candidate, as the API lists it. `had`: what stands
/// under the tag itself, which is served as it is when it names all of them.
pub(super) async fn index(
    core: &Arc<Core>,
    asking: Asking<'_>,
    found: &Found,
    subject: Digest,
    routed: &Routed,
    had: Result<Resolution, Refusal>,
    trail: &mut Trail,
) -> Result<Resolution, Refusal> {
    let candidates = lists::listed(asking, found, routed);
    let holder = had.as_ref().ok().and_then(|held| held.intent.name.clone());
    // Whoever may not use the member that has the tag hears that, and gets no list instead.
    if holder.as_ref().is_some_and(|name| candidates.iter().all(|it| it.name() != name)) {
        return had;
    }
    // It tells what the API would, so it is told to whom that would tell it.
    let object = Object::Referrers(subject);
    let may = |it: &&Candidate| it.may(asking, Action::Referrers, &object).is_ok();
    let askable: Vec<&Candidate> = candidates.iter().copied().filter(may).collect();
    let told = lists::that_tell(core, asking, &askable, &subject, trail).await?;
    let all = lists::union(core, found, &told.candidates, &subject, routed, trail).await?;
    if let Some(refusal) = told.refusal.filter(|_| all.descriptors.is_empty()) {
        return Err(refusal);
    }
    if let Ok(held) = &had
        && names_all(held, &all.descriptors)
    {
        if let Some(holder) = candidates.iter().find(|it| Some(it.name()) == holder.as_ref()) {
            super::note_candidate(trail, holder, routed);
        }
        return had;
    }
    let Some(first) = all.first else { return had };
    let bytes = Bytes::from(crate::lists::index(&all.descriptors).to_string());
    let digest = Digest::sha256(&bytes);
    let content = Arc::new(ManifestContent::new(digest, MediaType::OCI_INDEX, bytes));
    super::note_candidate(trail, first, routed);
    let private_to = first.scope().map(Into::into);
    let target = Target::Manifest { content, private_to, cache: CacheState::NONE };
    let intent = intent(routed.action, first.name(), &routed.object);
    Ok(Resolution { target, intent, candidate: Some((*first).clone()), redirect: None })
}

fn names_all(had: &Resolution, all: &[Descriptor]) -> bool {
    let Target::Manifest { content, .. } = &had.target else { return false };
    let Ok(index) = Manifest::parse(&content.bytes, Some(&content.media_type)) else {
        return false;
    };
    let named: HashSet<Digest> = index.manifests.iter().map(|entry| entry.digest).collect();
    all.iter().all(|entry| named.contains(&entry.digest))
}
