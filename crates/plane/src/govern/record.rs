//! What a permitted pull leaves behind: a lease on the blobs, the admission, and the beginning of a
//! softening. All of it in memory at once and in the catalog behind; none of it can fail the request.

use super::{Judged, facts};
use crate::answer::ManifestContent;
use crate::candidates::Asking;
use crate::plane::Core;
use catalog::Batch;
use oci::Name;
use policy::PrincipalKind;
use std::sync::Arc;

/// A manifest of a name was permitted, and its bytes are about to be sent.
pub(crate) fn permitted(
    core: &Arc<Core>,
    asking: Asking<'_>,
    name: &Name,
    content: &ManifestContent,
    judged: Option<&Arc<Judged>>,
) {
    let Asking { caller, now, .. } = asking;
    if matches!(caller.principal.kind(), PrincipalKind::System | PrincipalKind::Operator) {
        return;
    }
    core.govern.admissions.note(core, caller, name, &content.digest, now);
    // Also where no rule speaks yet: the first one is not to cut a pull under way.
    if let Some(manifest) = core.govern.leases.grant(core, asking, name, content) {
        facts::note_children(core, name, &manifest, &content.digest);
    }
    let Some(judged) = judged else { return };
    let begins = judged.evaluation.softened();
    if begins.is_empty() {
        return;
    }
    let mut batch = Batch::new();
    for policy in begins {
        let environment = caller.setting.found_environment();
        batch.note_softening(environment, name, &content.digest, policy, now);
    }
    told(core, batch, name);
}

/// Writes what changes the facts of a name. Answers are made anew at once, and once more when it is
/// written: what was asked in between was read without it, and would be remembered.
pub(super) fn told(core: &Core, batch: Batch, name: &Name) {
    let (shelf, name) = (core.shelf.clone(), name.clone());
    let written = shelf.catalog.submit(batch);
    shelf.facts.changed(&name);
    tokio::spawn(async move {
        // Lost or written: what is asked from now on is read as it is.
        let _ = written.await;
        shelf.facts.changed(&name);
    });
}
