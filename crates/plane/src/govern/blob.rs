//! Which manifest speaks for a blob (contracts §4).
//!
//! Rules are about artifacts, and a blob is a part of one. Whoever was permitted a manifest has a lease
//! on what it reaches. Without a lease the manifests of this name that reach the blob are judged afresh.

use super::{Case, judge, passes};
use crate::candidates::{Asking, Candidate, intent};
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::shelf::Shelf;
use catalog::Role;
use oci::{Digest, Name, Reference};
use policy::{Action, BlobGrounds, Caller, Denial, Object, PrincipalKind, Verdict};
use std::sync::Arc;

/// Manifests that are judged for one blob; of more that refuse, nothing is known.
const MANIFESTS_MAX: u32 = 16;

/// Why a blob is not served of which one manifest is not here.
const UNREAD: &str = "a manifest that it is part of is not here any more, and whether it is blocked cannot be \
                      told; ask for the manifest first";

/// What speaks for a blob under a candidate's name.
///
/// # Errors
/// The refusal of the manifest that was judged first, where all that are known refuse.
pub(crate) async fn grounds(
    core: &Arc<Core>,
    asking: Asking<'_>,
    candidate: &Candidate,
    blob: &Digest,
) -> Result<Option<BlobGrounds>, Refusal> {
    let (leases, name) = (&core.govern.leases, candidate.name());
    // A manifest is one by whatever path it is asked for.
    if core.shelf.content(name, blob).await.is_some_and(|held| held.is_manifest) {
        return afresh(core, asking, candidate, blob, &[*blob]).await;
    }
    let object = Object::Blob(*blob);
    let may_be_blocked =
        asking.governance.policies.blocks_may_concern(&intent(Action::Pull, name, &object));
    let held = leases.held(core, asking, name, blob);
    if let Some(held) = held {
        // A lease outlives an ordinary change of rules, and no block. Who pushed a blob has it until a block
        // is about all that it is part of.
        let is_open = match held.manifest() {
            _ if !may_be_blocked => true,
            Some(manifest) => !is_blocked(core, asking, candidate, &manifest).await,
            None => false,
        };
        if is_open {
            return Ok(Some(held));
        }
    }
    let Some(manifests) = reaching(core, name, blob).await else {
        return Err(not_now("the catalog does not answer now, so nothing speaks for this blob"));
    };
    let mut open = Vec::new();
    for manifest in &manifests {
        if !may_be_blocked || !is_blocked(core, asking, candidate, manifest).await {
            open.push(*manifest);
        }
    }
    if manifests.is_empty() || !open.is_empty() {
        if let Some(own @ BlobGrounds::OwnPush) = held {
            return Ok(Some(own));
        }
        if let Some(held) = leases.recall(core, asking, name, blob, &open).await {
            return Ok(Some(held));
        }
    }
    afresh(core, asking, candidate, blob, &manifests).await
}

/// The manifests of a name that are known to have a blob; `None`: the catalog does not answer. An index says
/// nothing of what it lists: its children are judged by themselves.
async fn reaching(core: &Arc<Core>, name: &Name, blob: &Digest) -> Option<Vec<Digest>> {
    let (name, blob) = (name.clone(), *blob);
    let read = move |shelf: &Shelf| shelf.catalog.listed_by(&name, &blob, MANIFESTS_MAX);
    let listed = core.shelf.blocking(read).await?.ok()?;
    let parts = listed.into_iter().filter(|it| it.role != Role::Child);
    let mut manifests: Vec<Digest> = parts.map(|it| it.manifest).collect();
    manifests.dedup();
    Some(manifests)
}

fn not_now(reason: &str) -> Refusal {
    Refusal::Indeterminate { reason: reason.to_owned(), retry_after: None, is_rate_limit: false }
}

async fn afresh(
    core: &Arc<Core>,
    asking: Asking<'_>,
    candidate: &Candidate,
    blob: &Digest,
    manifests: &[Digest],
) -> Result<Option<BlobGrounds>, Refusal> {
    let (name, policies) = (candidate.name(), &asking.governance.policies);
    let (mut denial, mut cannot) = (None, None);
    // What blocks say of manifests whose bytes are not here any more.
    let (mut blocked, mut unread) = (None, None);
    for digest in manifests {
        let Some(held) = core.shelf.content(name, digest).await.filter(|it| it.is_manifest) else {
            continue;
        };
        let object = Object::Manifest(Reference::Digest(*digest));
        let intent = intent(Action::Pull, name, &object);
        let Some(content) = core.shelf.manifest(digest).await else {
            match policies.cut_by(Some(name), &[*digest]) {
                Some(block) => blocked = blocked.or(Some(Denial::blocked(block).into())),
                None if policies.has_blocks_by_facts(&intent) => unread = Some(not_now(UNREAD)),
                None => {}
            }
            continue;
        };
        let content = core.shelf.as_called(content, &held);
        let case = Case { candidate, intent: &intent, content: &content };
        let judged = Box::pin(judge(core, asking, case)).await;
        if passes(asking, &judged) {
            core.govern.leases.decided(core, asking, name, blob, &content);
            return Ok(Some(BlobGrounds::Decided { manifest: *digest }));
        }
        let refused: Refusal = policy::refused(asking.caller, &intent, &judged.evaluation).into();
        match judged.evaluation.verdict() {
            Verdict::CannotTell => cannot = cannot.or(Some(refused)),
            _ => denial = denial.or(Some(refused)),
        }
    }
    // One that could be told later might have permitted it.
    match cannot.or(denial).or(unread).or(blocked) {
        Some(refused) => Err(refused),
        None => Ok(None),
    }
}

/// Whether a block stands against a manifest of a name.
async fn is_blocked(
    core: &Arc<Core>,
    asking: Asking<'_>,
    candidate: &Candidate,
    manifest: &Digest,
) -> bool {
    let (name, policies) = (candidate.name(), &asking.governance.policies);
    let object = Object::Manifest(Reference::Digest(*manifest));
    let intent = intent(Action::Pull, name, &object);
    // Of what is not here, nobody can say that it is not.
    let Some(content) = core.shelf.manifest_of(name, manifest).await else {
        let is_cut = policies.cut_by(Some(name), &[*manifest]).is_some();
        return is_cut || policies.has_blocks_by_facts(&intent);
    };
    let case = Case { candidate, intent: &intent, content: &content };
    Box::pin(judge(core, asking, case)).await.evaluation.is_blocked()
}

/// Whether a block ends a body that is being sent, or a download: one against the manifest that speaks for
/// the blob, or else against every manifest of the name that is known to reach it.
pub(super) async fn is_cut(
    core: &Arc<Core>,
    asking: Asking<'_>,
    candidate: &Candidate,
    blob: &Digest,
    grounds: Option<BlobGrounds>,
) -> bool {
    let (name, governance) = (candidate.name(), asking.governance);
    let pull = intent(Action::Pull, name, &Object::Blob(*blob));
    if !governance.policies.blocks_may_concern(&pull) {
        return false;
    }
    // To the plane itself only blocks speak.
    let itself = Caller::system();
    if policy::judge_intent(governance, &itself, &pull, candidate.place(), asking.now).is_err() {
        return true;
    }
    let held = grounds.or_else(|| core.govern.leases.held(core, asking, name, blob));
    if let Some(manifest) = held.and_then(BlobGrounds::manifest) {
        return is_blocked(core, asking, candidate, &manifest).await;
    }
    let Some(manifests) = reaching(core, name, blob).await else { return false };
    for manifest in &manifests {
        if !is_blocked(core, asking, candidate, manifest).await {
            return false;
        }
    }
    !manifests.is_empty()
}

/// Whether the caller may have a blob under a name, where it is not asked for by itself: as the source
/// of a mount. What cannot be told is no.
pub(crate) async fn may_read(
    core: &Arc<Core>,
    asking: Asking<'_>,
    candidate: &Candidate,
    blob: &Digest,
) -> bool {
    let intent = intent(Action::Pull, candidate.name(), &Object::Blob(*blob));
    let is_own_work = asking.caller.principal.kind() == PrincipalKind::System;
    let policies = &asking.governance.policies;
    if !is_own_work && policies.cut_by(Some(candidate.name()), &[*blob]).is_some() {
        return false;
    }
    if !policy::needs_evaluation(asking.governance, asking.caller, &intent) {
        return true;
    }
    match grounds(core, asking, candidate, blob).await {
        Ok(Some(_)) => true,
        // Where only blocks could speak, one of which no manifest is known is not blocked.
        Ok(None) => !policies.may_concern(asking.caller, &intent),
        Err(_) => false,
    }
}
