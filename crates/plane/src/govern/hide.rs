//! Tags that policies refuse, left out of lists where the policy says so (`hide`).
//!
//! Only what is known here counts: a list asks nobody about each of its entries. Whoever asks for a
//! hidden tag by its name is told why it is refused.

use super::facts;
use crate::candidates::{Asking, Candidate, intent};
use crate::plane::Core;
use oci::{Reference, Tag};
use policy::{Action, Fact, Facts, Object, Question};
use std::sync::Arc;

/// The tags that are shown to the caller.
pub(crate) fn shown(
    core: &Arc<Core>,
    asking: Asking<'_>,
    candidate: &Candidate,
    tags: Vec<Tag>,
) -> Vec<Tag> {
    if !asking.governance.policies.list().iter().any(|policy| policy.hides) {
        return tags;
    }
    tags.into_iter().filter(|tag| !is_hidden(core, asking, candidate, tag)).collect()
}

fn is_hidden(core: &Arc<Core>, asking: Asking<'_>, candidate: &Candidate, tag: &Tag) -> bool {
    let Asking { governance, caller, now } = asking;
    let object = Object::Manifest(Reference::Tag(tag.clone()));
    let intent = intent(Action::Pull, candidate.name(), &object);
    if !policy::needs_evaluation(governance, caller, &intent) {
        return false;
    }
    let mut known = Facts {
        upstream: candidate.place().upstream.cloned(),
        tags: Fact::Known([tag.clone()].into()),
        ..Facts::default()
    };
    let memory = &core.shelf.memory;
    let leads = memory.tag(&(candidate.name().clone(), tag.clone()));
    if let Some(content) = leads.and_then(|state| memory.manifest(&state.digest)) {
        (known.manifest, known.config) = facts::at_hand(core, &content);
        known.digest = Some(content.digest);
    }
    let repository = candidate.repository().document_name();
    let question = Question { caller, intent: &intent, repository, facts: &known, now };
    governance.policies.hides(&question)
}
