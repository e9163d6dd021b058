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
use oci::{Digest, Reference};
use policy::{Action, BlobGrounds, Denial, Object, PrincipalKind, Verdict};
use std::sync::Arc;

/// Manifests that are judged for one blob; of more that refuse, nothing is known.
const MANIFESTS_MAX: u32 = 16;

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
    let (asked, reached) = (name.clone(), *blob);
    let read = move |shelf: &Shelf| shelf.catalog.listed_by(&asked, &reached, MANIFESTS_MAX);
    let Some(Ok(listed)) = core.shelf.blocking(read).await else {
        return Err(Refusal::Indeterminate {
            reason: "the catalog does not answer now, so nothing speaks for this blob".to_owned(),
            retry_after: None,
            is_rate_limit: false,
        });
    };
    // An index says nothing of what it lists: its children are judged by themselves.
    let parts = listed.into_iter().filter(|it| it.role != Role::Child);
    let mut manifests: Vec<Digest> = parts.map(|it| it.manifest).collect();
    manifests.dedup();
    let mut leased = manifests.clone();
    if may_be_blocked {
        leased.clear();
        for manifest in manifests.iter().take(MANIFESTS_MAX as usize) {
            if !is_blocked(core, asking, candidate, manifest).await {
                leased.push(*manifest);
            }
        }
    }
    if manifests.is_empty() || !leased.is_empty() {
        if let Some(own @ BlobGrounds::OwnPush) = held {
            return Ok(Some(own));
        }
        if let Some(held) = leases.recall(core, asking, name, blob, &leased).await {
            return Ok(Some(held));
        }
    }
    afresh(core, asking, candidate, blob, &manifests).await
}

async fn afresh(
    core: &Arc<Core>,
    asking: Asking<'_>,
    candidate: &Candidate,
    blob: &Digest,
    manifests: &[Digest],
) -> Result<Option<BlobGrounds>, Refusal> {
    let (mut denial, mut cannot) = (None, None);
    let (mut blocked, mut is_unread) = (None, false);
    for digest in manifests {
        let name = candidate.name();
        let Some(held) = core.shelf.content(name, digest).await.filter(|it| it.is_manifest) else {
            continue;
        };
        let object = Object::Manifest(Reference::Digest(*digest));
        let intent = intent(Action::Pull, name, &object);
        let Some(content) = core.shelf.manifest(digest).await else {
            if let Err(denial) = unread(asking, &intent, digest) {
                denial.map_or_else(
                    || is_unread = true,
                    |denial| {
                        blocked.get_or_insert(denial);
                    },
                );
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
        let refused = policy::refused(asking.caller, &intent, &judged.evaluation);
        match judged.evaluation.verdict() {
            Verdict::CannotTell => cannot = cannot.or(Some(refused)),
            _ => denial = denial.or(Some(refused)),
        }
    }
    // One that could be told later might have permitted it.
    match cannot.or(denial) {
        Some(refused) => Err(refused.into()),
        None if is_unread => Err(Refusal::Indeterminate {
            reason:
                "a manifest that it is part of is not here any more, and whether it is blocked \
                     cannot be told; ask for the manifest first"
                    .to_owned(),
            retry_after: None,
            is_rate_limit: false,
        }),
        None => blocked.map_or(Ok(None), |denial| Err(Refusal::from(denial))),
    }
}

/// What blocks say of a manifest whose bytes are not here: the refusal, or that nobody can tell (`None`).
fn unread(
    asking: Asking<'_>,
    intent: &policy::Intent,
    manifest: &Digest,
) -> Result<(), Option<Denial>> {
    let policies = &asking.governance.policies;
    match policies.cut_by(intent.name.as_ref(), &[*manifest]) {
        Some(block) => Err(Some(Denial::blocked(block))),
        None if policies.has_blocks_by_facts(intent) => Err(None),
        None => Ok(()),
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
    let held = core.shelf.content(name, manifest).await.filter(|it| it.is_manifest);
    let content = core.shelf.manifest(manifest).await;
    let object = Object::Manifest(Reference::Digest(*manifest));
    let intent = intent(Action::Pull, name, &object);
    // Of what is not here, nobody can say that it is not.
    let (Some(held), Some(content)) = (held, content) else {
        let is_cut = policies.cut_by(Some(name), &[*manifest]).is_some();
        return is_cut || policies.has_blocks_by_facts(&intent);
    };
    let content = core.shelf.as_called(content, &held);
    let case = Case { candidate, intent: &intent, content: &content };
    Box::pin(judge(core, asking, case)).await.evaluation.is_blocked()
}

/// Whether a block ends a body that is being sent, or a download: one against the manifest that speaks for
/// the blob, or else against every manifest of the name that is known to reach it.
pub(crate) async fn is_cut(
    core: &Arc<Core>,
    asking: Asking<'_>,
    candidate: &Candidate,
    blob: &Digest,
    grounds: Option<BlobGrounds>,
) -> bool {
    let (name, policies) = (candidate.name(), &asking.governance.policies);
    if !policies.blocks_may_concern(&intent(Action::Pull, name, &Object::Blob(*blob))) {
        return false;
    }
    let object = Object::Blob(*blob);
    let pull = intent(Action::Pull, name, &object);
    let Asking { caller, now, .. } = asking;
    let place = candidate.place();
    if policies.cut_by(Some(name), &[*blob]).is_some()
        || policies.is_blocked_by_intent(&policy::Question {
            caller,
            intent: &pull,
            repository: place.repository,
            facts: &policy::Facts { upstream: place.upstream.cloned(), ..policy::Facts::default() },
            now,
        })
    {
        return true;
    }
    let held = grounds.or_else(|| core.govern.leases.held(core, asking, name, blob));
    if let Some(manifest) = held.and_then(BlobGrounds::manifest) {
        return is_blocked(core, asking, candidate, &manifest).await;
    }
    let (asked, reached) = (name.clone(), *blob);
    let read = move |shelf: &Shelf| shelf.catalog.listed_by(&asked, &reached, MANIFESTS_MAX);
    let Some(Ok(listed)) = core.shelf.blocking(read).await else { return false };
    let parts: Vec<_> = listed.into_iter().filter(|it| it.role != Role::Child).collect();
    for part in &parts {
        if !is_blocked(core, asking, candidate, &part.manifest).await {
            return false;
        }
    }
    !parts.is_empty()
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
