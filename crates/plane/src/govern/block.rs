//! Blocks that come into force while something is being downloaded. Bodies that are being sent look for
//! themselves ([`crate::pipeline`]); a download has no request to ask, so it is asked about here.

use super::is_cut;
use crate::candidates::Asking;
use crate::plane::Core;
use crate::view::View;
use oci::{Digest, Name};
use policy::Caller;
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
    let Ok(found) = view.routes.locate(name.as_str(), None, None) else { return false };
    let Some(candidate) = found.candidates.iter().find(|it| it.name() == name) else {
        return false;
    };
    let caller = Caller::system();
    let now = core.shelf.clock.now();
    let asking = Asking { governance: &view.governance, caller: &caller, now };
    is_cut(core, asking, candidate, digest, None).await
}
