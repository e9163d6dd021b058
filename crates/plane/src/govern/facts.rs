//! Facts of one artifact: only what the rules that could match need, with a deadline.
//!
//! What the bytes alone settle hangs on the digest; tags, the first sight and admissions hang on the
//! name and the digest (contracts §7).

use super::{Case, bytes, weigh};
use crate::answer::ManifestContent;
use crate::candidates::{Asking, intent};
use crate::memory::TagState;
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::shelf::Shelf;
use oci::{Digest, Manifest, Name, Reference, Tag};
use policy::{
    Admissions, Admitted, ArtifactKind, ConfigFacts, Fact, Facts, ManifestFacts, Needs, Object,
    Verdict,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// For all facts of one artifact together. Longer than all mirrors take to fail.
const DEADLINE: Duration = Duration::from_secs(30);
/// Tags of one artifact that are looked at.
const TAGS_MAX: u32 = 1000;
/// Indexes that are looked at for the tags of a child.
const PARENTS_MAX: u32 = 16;

/// All that the rules need.
pub(super) async fn gather(core: &Arc<Core>, asking: Asking<'_>, case: Case<'_>) -> Facts {
    let needs = asking.governance.policies.needs(asking.caller, case.intent);
    let work = Box::pin(all(core, asking, case, needs));
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(facts) => facts,
        Err(_) => {
            let late = "not found out in time";
            Facts {
                config: Fact::failed(late),
                tags: Fact::failed(late),
                first_seen: Fact::failed(late),
                admissions: Fact::failed(late),
                ..from_bytes(core, case)
            }
        }
    }
}

async fn all(core: &Arc<Core>, asking: Asking<'_>, case: Case<'_>, needs: Needs) -> Facts {
    let mut facts = from_bytes(core, case);
    let Some(name) = &case.intent.name else { return facts };
    let digest = case.content.digest;
    if needs.config {
        facts.config = config(core, case, &facts).await;
    }
    if needs.first_seen {
        facts.first_seen = first_seen(core, asking, name, &digest).await;
    }
    if needs.admissions {
        facts.admissions = admissions(core, name, &digest).await;
    }
    let is_index = facts.manifest.as_ref().is_some_and(|it| it.kind == ArtifactKind::Index);
    let parents = match (needs.tags || needs.parents) && !is_index {
        true => parents(core, name, &case.content.digest).await,
        false => Some(BTreeSet::new()),
    };
    facts.parents = match &parents {
        Some(parents) => Fact::Known(parents.iter().copied().collect()),
        None => Fact::failed("the catalog does not answer now"),
    };
    if needs.tags {
        (facts.tags, facts.any_tags) = tags(core, asking, case, name, parents).await;
    }
    facts
}

/// What a child is judged by as long as nobody asked for it: what is here. `None`: not all is.
pub(super) async fn of_child(
    core: &Arc<Core>,
    asking: Asking<'_>,
    case: Case<'_>,
) -> Option<Facts> {
    let needs = asking.governance.policies.needs(asking.caller, case.intent);
    if needs.config && !is_config_here(core, case).await {
        return None;
    }
    Some(all(core, asking, case, Needs { tags: false, ..needs }).await).filter(|_| !needs.tags)
}

async fn is_config_here(core: &Arc<Core>, case: Case<'_>) -> bool {
    if core.govern.configs.contains_key(&case.content.digest) {
        return true;
    }
    let parsed = Manifest::parse(&case.content.bytes, Some(&case.content.media_type));
    match parsed.ok().and_then(|it| it.config) {
        Some(config) => bytes::at_hand(core, &config.digest).await.is_some(),
        None => true,
    }
}

fn from_bytes(core: &Arc<Core>, case: Case<'_>) -> Facts {
    let upstream = case.candidate.place().upstream.cloned();
    let manifest = manifest_of(core, case.content);
    Facts { digest: Some(case.content.digest), upstream, manifest, ..Facts::default() }
}

fn manifest_of(core: &Arc<Core>, content: &Arc<ManifestContent>) -> Option<Arc<ManifestFacts>> {
    if let Some(held) = core.govern.manifests.get(&content.digest)
        && held.media_type == content.media_type
    {
        return Some(held);
    }
    let facts = ManifestFacts::of(&content.bytes, &content.media_type, &content.digest).ok()?;
    let facts = Arc::new(facts);
    core.govern.manifests.insert(content.digest, facts.clone());
    Some(facts)
}

async fn config(core: &Arc<Core>, case: Case<'_>, facts: &Facts) -> Fact<Arc<ConfigFacts>> {
    let digest = case.content.digest;
    if let Some(held) = core.govern.configs.get(&digest) {
        return Fact::Known(held);
    }
    let Some(manifest) = &facts.manifest else {
        return Fact::unknown("the manifest cannot be read");
    };
    if manifest.kind != ArtifactKind::Image {
        return Fact::unknown("only images have a config with labels");
    }
    let parsed = Manifest::parse(&case.content.bytes, Some(&case.content.media_type));
    let Some(config) = parsed.ok().and_then(|parsed| parsed.config) else {
        return Fact::unknown("the image has no config");
    };
    if config.size_bytes > bytes::CONFIG_MAX_BYTES {
        return Fact::unknown("the image's config is larger than any that is read");
    }
    let read = match bytes::whole(core, case.candidate, &config.digest).await {
        Ok(read) => read,
        Err(Refusal::Indeterminate { reason, retry_after, .. }) => {
            let why = format!("the image's config cannot be read now: {reason}").into();
            return Fact::Failed { why, retry_after };
        }
        Err(refusal) => {
            return Fact::failed(&format!("the image's config cannot be read: {refusal}"));
        }
    };
    match ConfigFacts::parse(&read) {
        Ok(facts) => {
            let facts = Arc::new(facts);
            core.govern.configs.insert(digest, facts.clone());
            Fact::Known(facts)
        }
        Err(reason) => Fact::unknown(&format!("the image's config cannot be used: {reason}")),
    }
}

async fn first_seen(
    core: &Arc<Core>,
    asking: Asking<'_>,
    name: &Name,
    digest: &Digest,
) -> Fact<jiff::Timestamp> {
    let (asked, digest) = (name.clone(), *digest);
    let read = move |shelf: &Shelf| shelf.catalog.content(&asked, &digest);
    match core.shelf.blocking(read).await {
        Some(Ok(Some(row))) => Fact::Known(row.since),
        // The catalog is written behind: it came with this very request.
        Some(Ok(None)) => Fact::Known(asking.now),
        _ => Fact::failed("the catalog does not answer now"),
    }
}

async fn admissions(core: &Arc<Core>, name: &Name, digest: &Digest) -> Fact<Arc<Admissions>> {
    let (asked, digest) = (name.clone(), *digest);
    let read = move |shelf: &Shelf| -> Result<_, catalog::Error> {
        let rows = shelf.catalog.admissions(&asked, &digest)?;
        Ok((rows, shelf.catalog.softenings(&asked, &digest)?))
    };
    let Some(Ok((rows, softenings))) = core.shelf.blocking(read).await else {
        return Fact::failed("the catalog does not answer now");
    };
    let by_environment = rows
        .into_iter()
        .map(|row| {
            let admitted = Admitted { first: row.first, last: row.last };
            (row.environment.to_string(), admitted)
        })
        .collect();
    let softened_since = softenings
        .into_iter()
        .map(|row| ((row.environment.to_string(), row.policy), row.since))
        .collect();
    Fact::Known(Arc::new(Admissions { by_environment, softened_since }))
}

/// The tags that name it, and those of the permitted indexes that list it; and besides those of all
/// indexes that list it.
async fn tags(
    core: &Arc<Core>,
    asking: Asking<'_>,
    case: Case<'_>,
    name: &Name,
    parents: Option<BTreeSet<Digest>>,
) -> (Fact<Arc<[Tag]>>, Fact<Arc<[Tag]>>) {
    let failed = || Fact::failed("the catalog does not answer now");
    let Some(mut all) = tags_of(core, name, &case.content.digest).await else {
        return (failed(), failed());
    };
    all.extend(case.intent.object.tag().cloned());
    let (mut any, mut is_whole) = (all.clone(), parents.is_some());
    for parent in parents.into_iter().flatten() {
        let Some(tags) = tags_of(core, name, &parent).await else {
            is_whole = false;
            continue;
        };
        any.extend(tags.iter().cloned());
        all.extend(tags_of_parent(core, asking, case, name, &parent, tags).await);
    }
    let some =
        |tags: BTreeSet<Tag>| Fact::Known(tags.into_iter().take(TAGS_MAX as usize).collect());
    let any = if is_whole { some(any) } else { failed() };
    (some(all), any)
}

/// What names a digest now. What was learned lately counts only where the tag is known to lead there
/// still: of a tag that was removed, memory knows nothing.
async fn tags_of(core: &Arc<Core>, name: &Name, digest: &Digest) -> Option<BTreeSet<Tag>> {
    let (asked, wanted) = (name.clone(), *digest);
    let read = move |shelf: &Shelf| shelf.catalog.tags_naming(&asked, &wanted, TAGS_MAX);
    let written: BTreeSet<Tag> = core.shelf.blocking(read).await?.ok()?.into_iter().collect();
    let is_there = |state: TagState| state.digest == *digest && state.gone_since.is_none();
    let mut current = BTreeSet::new();
    for tag in &written {
        let leads = core.shelf.memory.tag(&(name.clone(), tag.clone()));
        if leads.is_none_or(is_there) {
            current.insert(tag.clone());
        }
    }
    for tag in core.govern.kin.tags(name, digest).iter().filter(|tag| !written.contains(*tag)) {
        if core.shelf.tag(name, tag).await.is_some_and(is_there) {
            current.insert(tag.clone());
        }
    }
    Some(current)
}

async fn parents(core: &Arc<Core>, name: &Name, digest: &Digest) -> Option<BTreeSet<Digest>> {
    let (asked, child) = (name.clone(), *digest);
    let read = move |shelf: &Shelf| shelf.catalog.parents(&asked, &child, PARENTS_MAX);
    let read = core.shelf.blocking(read).await?;
    let mut all: BTreeSet<Digest> = read.ok()?.into_iter().collect();
    all.extend(core.govern.kin.parents(name, digest).iter().copied());
    Some(all)
}

/// The tags of an index speak for its children if it may be had itself.
async fn tags_of_parent(
    core: &Arc<Core>,
    asking: Asking<'_>,
    case: Case<'_>,
    name: &Name,
    parent: &Digest,
    tags: BTreeSet<Tag>,
) -> BTreeSet<Tag> {
    if tags.is_empty() {
        return tags;
    }
    let Some(content) = core.shelf.manifest(parent).await else { return BTreeSet::new() };
    let object = Object::Manifest(Reference::Digest(*parent));
    let intent = intent(case.intent.action, name, &object);
    let case = Case { candidate: case.candidate, intent: &intent, content: &content };
    let needs = asking.governance.policies.needs(asking.caller, case.intent);
    let mut facts =
        Box::pin(all(core, asking, case, Needs { tags: false, parents: false, ..needs })).await;
    facts.tags = Fact::Known(tags.iter().cloned().collect());
    facts.any_tags = facts.tags.clone();
    match weigh(asking, case, &facts).verdict() {
        Verdict::Pass => tags,
        Verdict::Refuse | Verdict::CannotTell => BTreeSet::new(),
    }
}

/// What memory has of a manifest and its config.
pub(super) fn at_hand(
    core: &Arc<Core>,
    content: &Arc<ManifestContent>,
) -> (Option<Arc<ManifestFacts>>, Fact<Arc<ConfigFacts>>) {
    let config = match core.govern.configs.get(&content.digest) {
        Some(held) => Fact::Known(held),
        None => Fact::unknown("nobody asked for it yet"),
    };
    (manifest_of(core, content), config)
}

/// Notes the children of an index that was just permitted, for their parents' sake.
pub(super) fn note_children(core: &Arc<Core>, name: &Name, manifest: &Manifest, digest: &Digest) {
    for child in manifest.manifests.iter().take(256) {
        core.govern.kin.note_parent(name, &child.digest, digest);
    }
}
