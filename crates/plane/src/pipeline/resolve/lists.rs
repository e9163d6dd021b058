//! Lists: the union of what the candidates have, as a view for the one who asks (contracts §11).
//!
//! A candidate that cannot tell makes the whole list fail: a shorter one would be a lie. One that the
//! asker may not list is left out. Of entries that several have, the first candidate's counts.

use super::super::query::PAGE_MAX;
use super::super::route::{Routed, reference};
use super::{Resolution, Target, note_asked, note_candidate, of_member};
use crate::answer::CacheState;
use crate::candidates::{Candidate, Found, intent};
use crate::hosted;
use crate::lists::page;
use crate::pipeline::Trail;
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::view::View;
use futures_util::future::{join, join_all};
use oci::{Descriptor, Digest, EvidenceTag, Name, Reference, Tag};
use policy::{Action, Intent, Object, Principal};
use std::collections::HashSet;
use std::sync::Arc;
use upstream::Class;

/// Names looked through for one page of the catalog.
const NAMES_MAX: u32 = 200_000;
/// Names read at a time.
const NAMES_PAGE: u32 = 1000;

/// Candidates that the asker may list; never none, for access was looked at before.
fn listed<'f>(
    view: &View,
    principal: &Principal,
    found: &'f Found,
    routed: &Routed,
) -> Vec<&'f Candidate> {
    let may = |candidate: &&Candidate| {
        let intent = intent(routed.action, candidate.name(), &routed.object);
        let scope = candidate.scope();
        let asked = policy::Candidate { intent: &intent, private_to: scope.as_deref() };
        policy::may_ask(&view.access, principal, &[asked]).is_ok()
    };
    found.candidates.iter().filter(may).collect()
}

fn decided(routed: &Routed, first: &Candidate, target: Target) -> Resolution {
    let intent = intent(routed.action, first.name(), &routed.object);
    Resolution { target, intent, redirect: None }
}

/// A page of the tags of a name.
pub(super) async fn tags(
    core: &Arc<Core>,
    view: &View,
    principal: &Principal,
    found: &Found,
    routed: &Routed,
    trail: &mut Trail,
) -> Result<Resolution, Refusal> {
    let candidates = listed(view, principal, found, routed);
    let (last, n) = (routed.query.last.as_deref(), routed.query.n.unwrap_or(PAGE_MAX));
    let mut all: Vec<Tag> = Vec::new();
    let (mut absent, mut is_known, mut is_more, mut cache) = (None, false, false, CacheState::NONE);
    for candidate in &candidates {
        note_candidate(trail, candidate, routed);
        let listed = match candidate {
            Candidate::Remote(located) => core.lists.tags(located).await.map(|(tags, state)| {
                (cache, is_known) = (state, true);
                note_asked(trail, state);
                page(&tags, last, Some(n))
            }),
            Candidate::Hosted(hosted) => hosted::tags(core, hosted, last, n).await,
        };
        match listed {
            Ok((tags, more)) => {
                is_known = true;
                is_more |= more.is_some();
                all.extend(tags);
            }
            Err(refusal @ Refusal::Absent { .. }) => {
                absent.get_or_insert(refusal);
            }
            Err(refusal) => return Err(of_member(refusal, found, candidate)),
        }
    }
    let Some(first) = candidates.first().filter(|_| is_known) else {
        return Err(absent.unwrap_or_else(super::no_object));
    };
    // Each member gave its first `n` after `last`, so the first `n` of all are among them.
    all.sort_unstable();
    all.dedup();
    let (tags, more_after) = page(&all, None, Some(n));
    let more_after = more_after.or_else(|| tags.last().filter(|_| is_more).cloned());
    trail.set_target(first.name(), reference(&routed.object));
    Ok(decided(routed, first, Target::Tags { tags, more_after, cache }))
}

/// What refers to a digest under a name.
pub(super) async fn referrers(
    core: &Arc<Core>,
    view: &View,
    principal: &Principal,
    found: &Found,
    subject: &Digest,
    routed: &Routed,
    trail: &mut Trail,
) -> Result<Resolution, Refusal> {
    let candidates = listed(view, principal, found, routed);
    let mut cache = CacheState::NONE;
    let mut all: Vec<Descriptor> = Vec::new();
    let mut seen = HashSet::new();
    for candidate in &candidates {
        note_candidate(trail, candidate, routed);
        let listed = of_candidate(core, candidate, subject).await;
        match listed {
            Ok((descriptors, state)) => {
                if matches!(candidate, Candidate::Remote(_)) {
                    note_asked(trail, state);
                    cache = state;
                }
                all.extend(descriptors.into_iter().filter(|entry| seen.insert(entry.digest)));
            }
            Err(Refusal::Absent { .. }) => {}
            Err(refusal) => return Err(of_member(refusal, found, candidate)),
        }
    }
    let Some(first) = candidates.first() else { return Err(super::no_object()) };
    if let Some(wanted) = &routed.query.artifact_type {
        all.retain(|entry| entry.artifact_type.as_ref() == Some(wanted));
    }
    trail.set_target(first.name(), reference(&routed.object));
    Ok(decided(routed, first, Target::Referrers { descriptors: all, cache }))
}

/// What refers to a digest at one candidate: the API, the fallback tag and the tags of cosign.
pub(super) async fn of_candidate(
    core: &Arc<Core>,
    candidate: &Candidate,
    subject: &Digest,
) -> Result<(Vec<Descriptor>, CacheState), Refusal> {
    match candidate {
        Candidate::Remote(located) => {
            // Each has its own freshness, and remembers an absence of its own.
            let tagged = EvidenceTag::ALL.map(|kind| async move {
                let tag = Reference::Tag(Tag::evidence(subject, kind));
                (kind, core.resolver.resolve(located, &tag, Class::Waiting).await)
            });
            let listed = core.lists.referrers(located, subject);
            let (listed, tagged) = join(listed, join_all(tagged)).await;
            let (mut all, cache) = listed?;
            for (kind, resolved) in tagged {
                match resolved {
                    Ok(resolved) => all.extend(crate::lists::evidence(kind, &resolved.content)),
                    Err(Refusal::Absent { .. }) => {}
                    Err(refusal) => return Err(refusal),
                }
            }
            let mut seen = HashSet::new();
            all.retain(|entry| seen.insert(entry.digest));
            Ok((all, cache))
        }
        Candidate::Hosted(hosted) => {
            let descriptors = hosted::referrers(core, hosted, subject).await?;
            Ok((descriptors, CacheState::NONE))
        }
    }
}

/// The names this plane knows, as far as the asker may list them. Names are read until the page is
/// full, so that a page of a large catalog costs what a page of a small one does.
pub(super) async fn catalog(
    core: &Arc<Core>,
    view: &View,
    principal: &Principal,
    routed: &Routed,
) -> Result<Target, Refusal> {
    let n = routed.query.n.unwrap_or(PAGE_MAX);
    let mut after = match routed.query.last.as_deref() {
        None => None,
        Some(last) => Some(Name::parse(last).map_err(|_| {
            Refusal::Query("the parameter last is a name, as a page before gave it".to_owned())
        })?),
    };
    let (mut names, mut looked_at): (Vec<Name>, u32) = (Vec::new(), 0);
    loop {
        let from = after.clone();
        let limit = u32::try_from(n + 1 - names.len()).unwrap_or(NAMES_PAGE).clamp(1, NAMES_PAGE);
        let read = core.shelf.blocking(move |shelf| shelf.catalog.names(from.as_ref(), limit));
        let Some(Ok(some)) = read.await else {
            return Err(Refusal::Indeterminate {
                reason: "the catalog does not answer now".to_owned(),
                retry_after: None,
                is_rate_limit: false,
            });
        };
        looked_at = looked_at.saturating_add(u32::try_from(some.len()).unwrap_or(u32::MAX));
        let is_end = some.len() < limit as usize;
        after = some.last().cloned();
        names.extend(some.into_iter().filter(|name| may_list(view, principal, name)));
        if is_end || names.len() > n || looked_at >= NAMES_MAX {
            break;
        }
    }
    let (names, more_after) = page(&names, None, Some(n));
    Ok(Target::Catalog { names, more_after })
}

fn may_list(view: &View, principal: &Principal, name: &Name) -> bool {
    let Some(repository) = view.repository_of(name) else { return false };
    let scope = repository.scope_of(name);
    let intent = Intent { action: Action::List, name: Some(name.clone()), object: Object::Tags };
    let asked = policy::Candidate { intent: &intent, private_to: scope.as_deref() };
    policy::may_ask(&view.access, principal, &[asked]).is_ok()
}
