//! Blocks that come into force while something is being downloaded. Bodies that are being sent look for
//! themselves ([`crate::pipeline`]); a download has no request to ask, so it is asked about here.

use super::{Case, is_cut, judge};
use crate::answer::ManifestContent;
use crate::candidates::{Asking, Candidate, intent};
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::view::View;
use oci::{Digest, Name, Reference};
use policy::{Action, BlobGrounds, Caller, Object};
use std::sync::Arc;

/// What those who wait for it are told.
const WHY: &str =
    "the download was ended: what it is part of is blocked now; ask again for the reason";

/// Ends the downloads that a block of this view is about.
pub(crate) async fn end_fills(core: &Arc<Core>, view: &View) {
    if view.governance.policies.blocks().is_empty() {
        return;
    }
    for (digest, name) in core.fills.running() {
        if is_blocked(core, view, &name, &digest).await {
            tracing::warn!(%digest, %name, "a download is ended: it is blocked");
            core.fills.end_by_block(&digest, WHY);
        }
    }
}

async fn is_blocked(core: &Arc<Core>, view: &View, name: &Name, digest: &Digest) -> bool {
    is_cut_under(core, view, &Caller::system(), name, digest, None).await.unwrap_or(false)
}

/// Whether a block ends the sending or the download of a blob under a canonical name. `None`: nobody has
/// the name any more.
pub(crate) async fn is_cut_under(
    core: &Arc<Core>,
    view: &View,
    caller: &Caller,
    name: &Name,
    blob: &Digest,
    grounds: Option<BlobGrounds>,
) -> Option<bool> {
    let found = view.routes.locate(name.as_str(), None, None).ok()?;
    let candidate = found.candidates.iter().find(|it| it.name() == name)?;
    let asking = Asking { governance: &view.governance, caller, now: core.shelf.clock.now() };
    Some(is_cut(core, asking, candidate, blob, grounds).await)
}

/// That no block stands against what is to be fetched ahead, as far as the question alone tells.
///
/// # Errors
/// The refusal, in one line.
pub(crate) fn may_fetch(
    core: &Core,
    candidate: &Candidate,
    reference: &Reference,
) -> Result<(), String> {
    let (view, caller) = (core.view(), Caller::system());
    let intent = intent(Action::Pull, candidate.name(), &Object::Manifest(reference.clone()));
    let now = core.shelf.clock.now();
    let judged = policy::judge_intent(&view.governance, &caller, &intent, candidate.place(), now);
    judged.map_err(|denial| denial.message())
}

/// The same of a manifest that is here, before its blobs are fetched.
///
/// # Errors
/// The refusal, in one line.
pub(crate) async fn may_fetch_parts(
    core: &Arc<Core>,
    candidate: &Candidate,
    reference: &Reference,
    content: &Arc<ManifestContent>,
) -> Result<(), String> {
    let (view, caller) = (core.view(), Caller::system());
    let intent = intent(Action::Pull, candidate.name(), &Object::Manifest(reference.clone()));
    if !view.governance.policies.blocks_may_concern(&intent) {
        return Ok(());
    }
    let now = core.shelf.clock.now();
    let asking = Asking { governance: &view.governance, caller: &caller, now };
    let judged = judge(core, asking, Case { candidate, intent: &intent, content }).await;
    match judged.evaluation.is_blocked() {
        true => {
            Err(Refusal::from(policy::refused(&caller, &intent, &judged.evaluation)).to_string())
        }
        false => Ok(()),
    }
}
