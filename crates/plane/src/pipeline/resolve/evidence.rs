//! For clients that know no referrers API: the index they look for under a tag made of the digest
//! (distribution-spec, "Referrers Tag Schema"), made up from what the API would list.

use super::super::route::Routed;
use super::{Resolution, Target, lists};
use crate::answer::{CacheState, ManifestContent};
use crate::candidates::{Found, intent};
use crate::pipeline::Trail;
use crate::plane::Core;
use crate::refusal::Refusal;
use bytes::Bytes;
use oci::{Digest, EvidenceTag, MediaType, Reference};
use policy::Object;
use std::sync::Arc;

/// The index of referrers under its fallback tag, where nobody has such a tag and something refers
/// to the digest.
pub(super) async fn made_up(
    core: &Arc<Core>,
    found: &Found,
    routed: &Routed,
    trail: &mut Trail,
) -> Result<Option<Resolution>, Refusal> {
    let Object::Manifest(Reference::Tag(tag)) = &routed.object else { return Ok(None) };
    let Some((subject, EvidenceTag::Referrers)) = tag.evidence_of() else { return Ok(None) };
    for candidate in &found.candidates {
        let listed = lists::of_candidate(core, candidate, &subject).await;
        let descriptors = match listed {
            Ok((descriptors, _)) => descriptors,
            Err(Refusal::Absent { .. }) => continue,
            Err(refusal) => return Err(super::of_member(refusal, found, candidate)),
        };
        if descriptors.is_empty() {
            continue;
        }
        let bytes = Bytes::from(crate::lists::index(&descriptors).to_string());
        let digest = Digest::sha256(&bytes);
        let content = Arc::new(ManifestContent::new(digest, MediaType::OCI_INDEX, bytes));
        trail.set_target(candidate.name(), Some(tag.to_string()));
        let private_to = candidate.scope().map(Into::into);
        let target = Target::Manifest { content, private_to, cache: CacheState::NONE };
        let intent = intent(routed.action, candidate.name(), &routed.object);
        return Ok(Some(Resolution { target, intent, redirect: None }));
    }
    Ok(None)
}
