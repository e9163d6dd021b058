//! What policies say of a push: judged when the bytes are here, before anybody can ask for them.

use super::{Case, judge, passes};
use crate::answer::ManifestContent;
use crate::candidates::{Asking, Candidate, intent};
use crate::plane::Core;
use crate::refusal::Refusal;
use oci::{Digest, Reference, Tag};
use policy::{Action, Effect, Object};
use std::sync::Arc;

/// Judges a manifest that is pushed, by every tag that is to name it. What the client is to be warned of.
///
/// # Errors
/// The refusal; nothing was made content of the name.
pub(crate) async fn pushed(
    core: &Arc<Core>,
    asking: Asking<'_>,
    candidate: &Candidate,
    content: &Arc<ManifestContent>,
    tags: &[Tag],
) -> Result<Vec<String>, Refusal> {
    let mut references: Vec<Reference> = tags.iter().cloned().map(Reference::Tag).collect();
    if references.is_empty() {
        references.push(Reference::Digest(content.digest));
    }
    let mut warnings = Vec::new();
    for reference in references {
        let object = Object::Manifest(reference);
        let intent = intent(Action::Push, candidate.name(), &object);
        if !policy::needs_evaluation(asking.governance, asking.caller, &intent) {
            continue;
        }
        let case = Case { candidate, intent: &intent, content };
        let judged = Box::pin(judge(core, asking, case)).await;
        if !passes(asking, &judged) {
            return Err(policy::refused(asking.caller, &intent, &judged.evaluation).into());
        }
        let warned = judged.evaluation.with_effect(Effect::Warn).map(policy::warning);
        warnings.extend(warned.filter(|line| !warnings.contains(line)).collect::<Vec<_>>());
    }
    Ok(warnings)
}

/// Whether the caller could have pulled a manifest under a name, where it is not asked for by itself: as
/// the source of a mount. What cannot be told is no.
pub(crate) async fn may_pull_manifest(
    core: &Arc<Core>,
    asking: Asking<'_>,
    candidate: &Candidate,
    digest: &Digest,
) -> bool {
    let object = Object::Manifest(Reference::Digest(*digest));
    let intent = intent(Action::Pull, candidate.name(), &object);
    if !policy::needs_evaluation(asking.governance, asking.caller, &intent) {
        return true;
    }
    let Some(held) = core.shelf.content(candidate.name(), digest).await else { return false };
    let Some(content) = core.shelf.manifest(digest).await else { return false };
    let content = core.shelf.as_called(content, &held);
    let case = Case { candidate, intent: &intent, content: &content };
    let judged = Box::pin(judge(core, asking, case)).await;
    passes(asking, &judged)
}
