//! Lists: the union of what the candidates have, as a view for the one who asks (contracts §11).
//!
//! A candidate that cannot tell makes the whole list fail: a shorter one would be a lie. One that the
//! asking may not list is left out. Of entries that several have, the first candidate's counts.

use super::super::query::PAGE_MAX;
use super::super::route::{Routed, reference};
use super::{Resolution, Target, note_asked, note_candidate, of_member};
use crate::answer::CacheState;
use crate::candidates::{Asking, Candidate, Found, intent};
use crate::govern::Case;
use crate::hosted;
use crate::lists::page;
use crate::pipeline::Trail;
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::view::View;
use futures_util::future::{join, join_all};
use oci::{Descriptor, Digest, EvidenceTag, Name, Reference, Tag};
use policy::{Action, Caller, Intent, Object};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use upstream::Class;

/// Names looked through for one page of the catalog.
const NAMES_MAX: u32 = 200_000;
/// Pages that are passed over because all on them is hidden.
const HIDDEN_PAGES_MAX: usize = 1000;
/// Names read at a time.
const NAMES_PAGE: u32 = 1000;
/// The longest list of referrers in one answer: clients read an index as they read any manifest, and
/// many take 4 MiB at most.
const REFERRERS_PAGE_BYTES: usize = 3 << 20;
/// What an entry takes beside its annotations and its artifact type, at most.
const REFERRER_BYTES: usize = 512;

/// Candidates that the asking may use for this; never none, for access was looked at before.
pub(super) fn listed<'f>(
    asking: Asking<'_>,
    found: &'f Found,
    routed: &Routed,
) -> Vec<&'f Candidate> {
    found.candidates.iter().filter(|candidate| super::may(asking, candidate, routed)).collect()
}

fn decided(routed: &Routed, first: &Candidate, target: Target) -> Resolution {
    let intent = intent(routed.action, first.name(), &routed.object);
    Resolution { target, intent, candidate: None, redirect: None }
}

/// A page of the tags of a name. Where all of it is hidden, the next: an empty page with a way on would
/// name what is hidden, and one without would end the list.
pub(super) async fn tags(
    core: &Arc<Core>,
    asking: Asking<'_>,
    found: &Found,
    routed: &Routed,
    trail: &mut Trail,
) -> Result<Resolution, Refusal> {
    let candidates = listed(asking, found, routed);
    let wanted = TagsWanted { found, routed, candidates: &candidates };
    let mut page = tags_page(core, asking, wanted, routed.query.last.as_deref(), trail).await?;
    for _ in 0..HIDDEN_PAGES_MAX {
        let Some(end) = page.end.take().filter(|_| page.tags.is_empty()) else { break };
        page = tags_page(core, asking, wanted, Some(end.as_str()), trail).await?;
    }
    let Some(first) = candidates.first() else { return Err(super::no_object()) };
    trail.set_target(first.name(), reference(&routed.object));
    let TagsPage { tags, is_more, cache, .. } = page;
    let more_after = tags.last().filter(|_| is_more).cloned();
    Ok(decided(routed, first, Target::Tags { tags, more_after, cache }))
}

#[derive(Clone, Copy)]
struct TagsWanted<'a> {
    found: &'a Found,
    routed: &'a Routed,
    candidates: &'a [&'a Candidate],
}

struct TagsPage {
    /// Those that are shown.
    tags: Vec<Tag>,
    /// The last of the page, shown or not, if there is more.
    end: Option<Tag>,
    is_more: bool,
    cache: CacheState,
}

async fn tags_page(
    core: &Arc<Core>,
    asking: Asking<'_>,
    wanted: TagsWanted<'_>,
    last: Option<&str>,
    trail: &mut Trail,
) -> Result<TagsPage, Refusal> {
    let TagsWanted { found, routed, candidates } = wanted;
    let n = routed.query.n.unwrap_or(PAGE_MAX);
    let asked = candidates.iter().map(|candidate| tags_of(core, candidate, last, n));
    // With whether it is shown: by any that has it.
    let mut all: BTreeMap<Tag, bool> = BTreeMap::new();
    let (mut absent, mut is_known, mut is_more, mut cache) = (None, false, false, CacheState::NONE);
    for (candidate, listed) in candidates.iter().zip(join_all(asked).await) {
        note_candidate(trail, candidate, routed);
        match listed {
            Ok(of_candidate) => {
                is_known = true;
                is_more |= of_candidate.is_more;
                let tags = of_candidate.tags;
                for tag in crate::govern::shown(core, asking, candidate, tags.clone()) {
                    all.insert(tag, true);
                }
                for tag in tags {
                    all.entry(tag).or_default();
                }
                if let Some(state) = of_candidate.cache {
                    note_asked(trail, state);
                    cache = state;
                }
            }
            Err(refusal @ Refusal::Absent { .. }) => {
                absent.get_or_insert(refusal);
            }
            Err(refusal) => return Err(of_member(refusal, found, candidate)),
        }
    }
    if !is_known {
        return Err(absent.map_or_else(super::no_object, |it| super::nobody_has(it, found)));
    }
    // Each member gave its first `n` after `last`, so the first `n` of all are among them.
    is_more |= all.len() > n;
    let end = all.keys().take(n).next_back().filter(|_| is_more).cloned();
    let tags = all.into_iter().take(n).filter(|(_, is_shown)| *is_shown).map(|(tag, _)| tag);
    Ok(TagsPage { tags: tags.collect(), end, is_more, cache })
}

struct TagsOf {
    tags: Vec<Tag>,
    is_more: bool,
    /// Where they came from; a hosted name has no cache.
    cache: Option<CacheState>,
}

/// The first `n` tags of a candidate after `last`.
async fn tags_of(
    core: &Arc<Core>,
    candidate: &Candidate,
    last: Option<&str>,
    n: usize,
) -> Result<TagsOf, Refusal> {
    let ((tags, more), cache) = match candidate {
        Candidate::Remote(located) => {
            let (tags, state) = core.lists.tags(located).await?;
            (page(&tags, last, Some(n)), Some(state))
        }
        Candidate::Hosted(hosted) => (hosted::tags(core, hosted, last, n).await?, None),
    };
    Ok(TagsOf { tags, is_more: more.is_some(), cache })
}

/// What refers to a digest under a name: a page, in order of digest.
pub(super) async fn referrers(
    core: &Arc<Core>,
    asking: Asking<'_>,
    found: &Found,
    subject: &Digest,
    routed: &Routed,
    trail: &mut Trail,
) -> Result<Resolution, Refusal> {
    let candidates = listed(asking, found, routed);
    let told = that_tell(core, asking, &candidates, subject, trail).await?;
    let Union { mut descriptors, cache, .. } =
        union(core, found, &told.candidates, subject, routed, trail).await?;
    if let Some(refusal) = told.refusal.filter(|_| descriptors.is_empty()) {
        return Err(refusal);
    }
    let Some(first) = candidates.first() else { return Err(super::no_object()) };
    if let Some(wanted) = &routed.query.artifact_type {
        descriptors.retain(|entry| entry.artifact_type.as_ref() == Some(wanted));
    }
    let last = match routed.query.last.as_deref() {
        None => None,
        Some(text) => Some(Digest::parse(text).map_err(|_| {
            Refusal::Query("the parameter last is a digest, as a page before gave it".to_owned())
        })?),
    };
    let (descriptors, more_after) = referrers_page(descriptors, last, routed.query.n);
    trail.set_target(first.name(), reference(&routed.object));
    Ok(decided(routed, first, Target::Referrers { descriptors, more_after, cache }))
}

/// The candidates whose word about a subject may be told.
pub(super) struct Telling<'f> {
    pub(super) candidates: Vec<&'f Candidate>,
    /// Why that of another may not.
    pub(super) refusal: Option<Refusal>,
}

/// What refers to a refused artifact belongs to it: a candidate at which the subject is refused tells
/// nothing, and where no other knows anything, the answer is the artifact's refusal, with its reason. One
/// that is nowhere is not judged.
pub(super) async fn that_tell<'f>(
    core: &Arc<Core>,
    asking: Asking<'_>,
    candidates: &[&'f Candidate],
    subject: &Digest,
    trail: &mut Trail,
) -> Result<Telling<'f>, Refusal> {
    let mut telling = Telling { candidates: Vec::new(), refusal: None };
    let reference = Reference::Digest(*subject);
    for candidate in candidates {
        let object = Object::Manifest(reference.clone());
        let intent = intent(Action::Pull, candidate.name(), &object);
        if !policy::needs_evaluation(asking.governance, asking.caller, &intent) {
            telling.candidates.push(candidate);
            continue;
        }
        let resolved = match super::manifest(core, candidate, &reference, trail).await {
            Ok(resolved) => resolved,
            Err(Refusal::Absent { .. }) => {
                telling.candidates.push(candidate);
                continue;
            }
            Err(refusal) => return Err(refusal),
        };
        let case = Case { candidate, intent: &intent, content: &resolved.content };
        let judged = crate::govern::judge(core, asking, case).await;
        match crate::govern::passes(asking, &judged) {
            true => telling.candidates.push(candidate),
            false => {
                let refused = policy::refused(asking.caller, &intent, &judged.evaluation);
                telling.refusal.get_or_insert(refused.into());
            }
        }
    }
    Ok(telling)
}

/// What comes after `last`, as far as one answer may be long; and where to go on.
fn referrers_page(
    mut all: Vec<Descriptor>,
    last: Option<Digest>,
    n: Option<usize>,
) -> (Vec<Descriptor>, Option<Digest>) {
    let from = last.map_or(0, |last| all.partition_point(|entry| entry.digest <= last));
    all.drain(..from);
    let mut size_bytes = 0;
    let mut fits = |entry: &Descriptor| {
        let annotations = entry.annotations.iter().map(|(key, value)| key.len() + value.len() + 8);
        let artifact_type = entry.artifact_type.as_deref().map_or(0, str::len);
        size_bytes += REFERRER_BYTES + artifact_type + annotations.sum::<usize>();
        size_bytes <= REFERRERS_PAGE_BYTES
    };
    // One at least, or a client would go round for ever.
    let fitting = all.iter().take_while(|entry| fits(entry)).count().max(1);
    let room = fitting.min(n.unwrap_or(usize::MAX));
    let is_more = room < all.len();
    all.truncate(room);
    let more_after = all.last().filter(|_| is_more).map(|entry| entry.digest);
    (all, more_after)
}

/// What refers to a digest at several candidates, each once.
pub(super) struct Union<'f> {
    /// The first candidate at which something does.
    pub(super) first: Option<&'f Candidate>,
    /// In order of digest; of entries that several have, as the first candidate has it.
    pub(super) descriptors: Vec<Descriptor>,
    pub(super) cache: CacheState,
}

pub(super) async fn union<'f>(
    core: &Arc<Core>,
    found: &Found,
    candidates: &[&'f Candidate],
    subject: &Digest,
    routed: &Routed,
    trail: &mut Trail,
) -> Result<Union<'f>, Refusal> {
    let mut all = Union { first: None, descriptors: Vec::new(), cache: CacheState::NONE };
    let mut seen = HashSet::new();
    let asked = candidates.iter().map(|candidate| of_candidate(core, candidate, subject));
    for (candidate, listed) in candidates.iter().zip(join_all(asked).await) {
        note_candidate(trail, candidate, routed);
        match listed {
            Ok((descriptors, state)) => {
                if matches!(candidate, Candidate::Remote(_)) {
                    note_asked(trail, state);
                    all.cache = state;
                }
                if !descriptors.is_empty() {
                    all.first = all.first.or(Some(*candidate));
                }
                let new = descriptors.into_iter().filter(|entry| seen.insert(entry.digest));
                all.descriptors.extend(new);
            }
            Err(Refusal::Absent { .. }) => {}
            Err(refusal) => return Err(of_member(refusal, found, candidate)),
        }
    }
    all.descriptors.sort_unstable_by_key(|entry| entry.digest);
    Ok(all)
}

/// What refers to a digest at one candidate: the API, the fallback tag and the tags of cosign.
async fn of_candidate(
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

/// The names this plane knows, as far as the asking may list them. Names are read until the page is
/// full, so that a page of a large catalog costs what a page of a small one does.
pub(super) async fn catalog(
    core: &Arc<Core>,
    view: &View,
    caller: &Caller,
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
        names.extend(some.into_iter().filter(|name| may_list(view, caller, name)));
        if is_end || names.len() > n || looked_at >= NAMES_MAX {
            break;
        }
    }
    let (names, more_after) = page(&names, None, Some(n));
    Ok(Target::Catalog { names, more_after })
}

fn may_list(view: &View, caller: &Caller, name: &Name) -> bool {
    let Some(repository) = view.repository_of(name) else { return false };
    let scope = repository.scope_of(name);
    let intent = Intent { action: Action::List, name: Some(name.clone()), object: Object::Tags };
    let asked = policy::Candidate { intent: &intent, private_to: scope.as_deref() };
    policy::may_ask(&view.governance.access, caller, &[asked]).is_ok()
}
