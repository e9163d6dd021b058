//! HEAD of a blob by somebody who may push to a virtual name: the question before a push, "must I send
//! it?".
//!
//! A blob that only an upstream has would have to be downloaded before the push could be taken, and
//! no push waits for an upstream. So to whoever may push, what is not here is not there: they send
//! it. What another member holds here is mounted when the manifest comes.

use super::{BlobPlace, Resolution, Routed, Target, blob, note_candidate, of_member};
use crate::answer::CacheState;
use crate::candidates::{Asking, Candidate, Found, PushTo, intent};
use crate::pipeline::Trail;
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::view::Kind;
use oci::{Digest, ErrorCode};
use policy::{Action, Object};
use std::sync::Arc;

/// The digest, if this is such a question.
pub(super) fn question(asking: Asking<'_>, found: &Found, routed: &Routed) -> Option<Digest> {
    let Object::Blob(digest) = &routed.object else { return None };
    if !routed.is_head || found.candidates.len() < 2 {
        return None;
    }
    if !matches!(found.repository.kind, Kind::Virtual(_)) {
        return None;
    }
    let PushTo::Hosted(target) = found.push_to() else { return None };
    let target = Candidate::Hosted(target.clone());
    let may = target.may(asking, Action::Push, &Object::Upload);
    may.is_ok().then_some(*digest)
}

/// Its answer: from what is here.
pub(super) async fn answer(
    core: &Arc<Core>,
    asking: Asking<'_>,
    found: &Found,
    digest: &Digest,
    routed: &Routed,
    trail: &mut Trail,
) -> Result<Resolution, Refusal> {
    for candidate in found.candidates.iter().filter(|it| super::may(asking, it, routed)) {
        let target = match candidate {
            Candidate::Hosted(hosted) => match blob::hosted(core, hosted, digest, true).await {
                Ok(target) => target,
                Err(Refusal::Absent { .. }) => continue,
                Err(refusal) => return Err(of_member(refusal, found, candidate)),
            },
            Candidate::Remote(located) => {
                let held = core.shelf.content_and_blob(&located.name, digest).await;
                let (Some(content), Some(blob)) = held else { continue };
                let private_to = content.private_to.clone();
                let place = BlobPlace::Stored { blob, content };
                Target::Blob { digest: *digest, place, private_to, cache: CacheState::HIT }
            }
        };
        note_candidate(trail, candidate, routed);
        trail.upstream_was_not_asked();
        let intent = intent(routed.action, candidate.name(), &routed.object);
        return Ok(Resolution {
            target,
            intent,
            candidate: Some(candidate.clone()),
            redirect: None,
        });
    }
    let whole = found.repository.name();
    let reason = format!("no member of {whole} holds it here: whoever pushes has to send it");
    Err(Refusal::Absent { code: ErrorCode::BlobUnknown, reason })
}
