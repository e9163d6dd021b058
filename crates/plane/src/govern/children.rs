//! An index and its children agree: when every child is known to be refused, so is the index.

use super::{Case, facts, weigh};
use crate::candidates::{Asking, intent};
use crate::plane::Core;
use oci::{Digest, Manifest, Reference};
use policy::{ArtifactKind, Evaluation, Facts, Object, Outcome, Verdict};
use std::sync::Arc;

/// Children looked at; an index with more is judged by itself alone.
const CHILDREN_MAX: usize = 32;

/// What refuses every child, if that is known from what is here; `None`: something may be had.
pub(super) async fn all_refused(
    core: &Arc<Core>,
    asking: Asking<'_>,
    case: Case<'_>,
    facts: &Facts,
    own: &Evaluation,
) -> Option<Arc<Evaluation>> {
    let kind = facts.manifest.as_ref()?.kind;
    let is_left_to_children = own.outcomes().iter().any(|it| it.outcome == Outcome::NotApplicable);
    if kind != ArtifactKind::Index || own.verdict() != Verdict::Pass || !is_left_to_children {
        return None;
    }
    let index = Manifest::parse(&case.content.bytes, Some(&case.content.media_type)).ok()?;
    if index.manifests.is_empty() || index.manifests.len() > CHILDREN_MAX {
        return None;
    }
    let mut first: Option<Evaluation> = None;
    for child in &index.manifests {
        let refused = refused(core, asking, case, &child.digest).await?;
        // One that may be had tomorrow makes the index one that may.
        first = Some(match first {
            Some(first) => first.no_longer_than(&refused),
            None => refused,
        });
    }
    first.map(|first| Arc::new(first.no_longer_than(own)))
}

/// What refuses a child that is here; `None`: nothing does, or it is not known.
async fn refused(
    core: &Arc<Core>,
    asking: Asking<'_>,
    case: Case<'_>,
    child: &Digest,
) -> Option<Evaluation> {
    let name = case.intent.name.as_ref()?;
    let content = core.shelf.manifest_of(name, child).await?;
    let object = Object::Manifest(Reference::Digest(*child));
    let intent = intent(case.intent.action, name, &object);
    let case = Case { candidate: case.candidate, intent: &intent, content: &content };
    let facts = facts::of_child(core, asking, case).await?;
    let evaluation = weigh(asking, case, &facts);
    // Where refusals are only observed, what is refused may be had; what is blocked may not.
    let observes = asking.governance.policies.posture() == policy::Posture::Observe;
    let is_refused = evaluation.verdict() == Verdict::Refuse;
    (is_refused && (!observes || evaluation.is_blocked())).then_some(evaluation)
}
