//! One name: what it has is completed from its upstream as far as that answers, and what is whole is
//! adopted.

use super::Work;
use crate::candidates::Located;
use crate::hosted::{self, Placing};
use crate::jobs::moving::{MoveKind, MoveLine, to_end};
use crate::jobs::prefetch::kept;
use crate::pipeline::{self, Brought};
use crate::refusal::Refusal;
use crate::shelf::Shelf;
use crate::view::Repository;
use catalog::Batch;
use oci::{Digest, EvidenceTag, Manifest, Name, Reference, Tag};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use upstream::Class;

/// How long the catalog may take to write what was fetched.
const WRITE_TIME: Duration = Duration::from_secs(60);
/// Rows read at a time.
const PAGE: u32 = 1000;
/// Manifests of one name.
const MANIFESTS_MAX: usize = 50_000;
/// Missing parts that are named in one line.
const SHOWN: usize = 3;

/// What a name has.
#[derive(Default)]
struct Had {
    manifests: BTreeSet<Digest>,
    hosted: HashSet<Digest>,
    private: u64,
    /// By what they name.
    tags: BTreeMap<Digest, Vec<Tag>>,
}

/// What manifests list, as far as they are here.
type Parsed = HashMap<Digest, Manifest>;

/// Adopts a name; what is not whole is told.
pub(super) async fn adopt(work: &Work<'_>, repository: &Arc<Repository>, name: &Name) {
    if let Err(problem) = one(work, repository, name).await {
        work.moving.failed(name, None, problem);
    }
}

async fn one(work: &Work<'_>, repository: &Arc<Repository>, name: &Name) -> Result<(), String> {
    let core = work.moving.core;
    let remote = repository.remote().ok_or("it is not remote any more")?.clone();
    let below = name.below(repository.name()).ok_or("it is not of its repository")?;
    let upstream_name = remote.name_upstream(&below).ok_or("its upstream cannot have it")?;
    let located =
        Located { repository: repository.clone(), remote, name: name.clone(), upstream_name };
    let mut had = had(work, name).await?;
    if !work.is_offline && !work.is_dry {
        complete(work, &located, &mut had).await;
        written(work, name, &had).await;
    }
    let mut parsed = Parsed::new();
    for digest in had.manifests.iter().chain(had.tags.keys()) {
        if let Some(content) = core.shelf.manifest(digest).await
            && let Ok(manifest) = Manifest::parse(&content.bytes, Some(&content.media_type))
        {
            parsed.insert(*digest, manifest);
        }
    }
    let listed: HashSet<Digest> =
        parsed.values().flat_map(|it| it.manifests.iter().map(|child| child.digest)).collect();
    let mut roots: BTreeSet<Digest> = had.tags.keys().copied().collect();
    roots.extend(had.manifests.iter().filter(|digest| !listed.contains(*digest)));
    for root in roots {
        image(work, name, &below, &had, &parsed, root).await?;
    }
    // Of an index that is not whole, the platforms that are.
    for child in had.manifests.iter().filter(|digest| listed.contains(*digest)) {
        let (parts, missing) = parts(work, name, &parsed, *child).await?;
        if missing.is_empty() && work.into.is_none() && !work.is_dry {
            let (core, name) = (core.clone(), name.clone());
            let adopt = async move { hosted::adopt(&core, &name, parts).await };
            to_end(adopt).await.map_err(|refusal| refusal.to_string())?;
        }
    }
    if had.private > 0 {
        let text = format!(
            "{} parts of {name} came by a credential; hosted, AccessPolicy alone decides who pulls",
            had.private
        );
        work.moving.tell(|report| report.notes.push(text));
    }
    Ok(())
}

async fn had(work: &Work<'_>, name: &Name) -> Result<Had, String> {
    let name = name.clone();
    let read = move |shelf: &Shelf| -> Result<Had, catalog::Error> {
        let (mut had, mut after) = (Had::default(), None);
        loop {
            let page = shelf.catalog.contents(&name, after.as_ref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (digest, row) in page {
                had.private += u64::from(row.private_to.is_some());
                if row.is_hosted {
                    had.hosted.insert(digest);
                }
                if row.is_manifest && had.manifests.len() < MANIFESTS_MAX {
                    had.manifests.insert(digest);
                }
            }
        }
        let mut after: Option<Tag> = None;
        loop {
            // Without those that the upstream says are gone.
            let page = shelf.catalog.tags(&name, after.as_ref().map(Tag::as_str), PAGE)?;
            let Some(last) = page.last() else { return Ok(had) };
            after = Some(last.clone());
            for tag in page {
                if let Some(row) = shelf.catalog.tag(&name, &tag)? {
                    had.tags.entry(row.digest).or_default().push(tag);
                }
            }
        }
    };
    let read =
        work.moving.core.shelf.blocking(read).await.ok_or("a read of the catalog panicked")?;
    read.map_err(|error| error.to_string())
}

/// Waits until the rows of what was fetched are written: writes go in order, and this is one more.
async fn written(work: &Work<'_>, name: &Name, had: &Had) {
    let Some(any) = had.manifests.first() else { return };
    let shelf = &work.moving.core.shelf;
    let mut batch = Batch::new();
    batch.used(&[(name.clone(), *any)], shelf.clock.now());
    // One that cannot be written shows as parts that are missing.
    let _ = tokio::time::timeout(WRITE_TIME, shelf.catalog.submit(batch)).await;
}

/// Fetches what is missing, as far as the upstream answers; the rest is told as missing later.
async fn complete(work: &Work<'_>, located: &Located, had: &mut Had) {
    let core = work.moving.core;
    let tags = core.lists.tags(located).await.map(|(tags, _)| tags).unwrap_or_default();
    let mut waiting: Vec<Reference> =
        had.manifests.iter().copied().map(Reference::Digest).collect();
    waiting.extend(had.tags.keys().copied().map(Reference::Digest));
    let mut seen = HashSet::new();
    while let Some(reference) = waiting.pop() {
        let resolved = core.resolver.resolve(located, &reference, Class::Prefetch).await;
        let Ok(resolved) = resolved else { continue };
        let content = resolved.content;
        if let Reference::Tag(tag) = reference {
            let named = had.tags.entry(content.digest).or_default();
            if !named.contains(&tag) {
                named.push(tag);
            }
        }
        if !seen.insert(content.digest) || seen.len() > MANIFESTS_MAX {
            continue;
        }
        had.manifests.insert(content.digest);
        let Ok(manifest) = Manifest::parse(&content.bytes, Some(&content.media_type)) else {
            continue;
        };
        for blob in manifest.blobs().filter(|blob| !blob.may_be_elsewhere()) {
            if let Err(why) = fetch(work, located, &blob.digest, blob.size_bytes).await {
                tracing::debug!(digest = %blob.digest, why, "a part cannot be fetched");
            }
        }
        waiting.extend(manifest.manifests.iter().map(|child| Reference::Digest(child.digest)));
        if let Ok((referrers, _)) = core.lists.referrers(located, &content.digest).await {
            waiting.extend(referrers.iter().map(|entry| Reference::Digest(entry.digest)));
        }
        for kind in EvidenceTag::ALL {
            let tag = Tag::evidence(&content.digest, kind);
            if tags.contains(&tag) {
                waiting.push(Reference::Tag(tag));
            }
        }
    }
}

async fn fetch(
    work: &Work<'_>,
    located: &Located,
    digest: &Digest,
    size_bytes: u64,
) -> Result<(), String> {
    let core = work.moving.core;
    if core.shelf.content(&located.name, digest).await.is_some()
        && core.shelf.blob(digest).await.is_some()
    {
        return Ok(());
    }
    work.moving.more_bytes(size_bytes);
    let begun = pipeline::fill(core, located, digest, None, Class::Prefetch).await;
    if let Brought::Filling { mut reader, .. } = begun.map_err(|refusal| refusal.to_string())? {
        reader.step_aside();
        reader.completed().await.map_err(|failure| failure.text())?;
        kept(core, digest).await?;
    }
    work.moving.done_bytes(size_bytes, false);
    Ok(())
}

/// All that a manifest needs and itself last, and what of it the name does not have.
async fn parts(
    work: &Work<'_>,
    name: &Name,
    parsed: &Parsed,
    root: Digest,
) -> Result<(Vec<Digest>, Vec<Digest>), String> {
    let (mut all, mut waiting, mut seen) = (Vec::new(), vec![root], HashSet::from([root]));
    while let Some(digest) = waiting.pop() {
        all.push(digest);
        let Some(manifest) = parsed.get(&digest) else { continue };
        let blobs = manifest.blobs().filter(|blob| !blob.may_be_elsewhere());
        all.extend(blobs.map(|blob| blob.digest).filter(|digest| seen.insert(*digest)));
        let children = manifest.manifests.iter().map(|child| child.digest);
        waiting.extend(children.filter(|digest| seen.insert(*digest)));
    }
    all.reverse();
    let (name, asked) = (name.clone(), all.clone());
    let look = move |shelf: &Shelf| shelf.catalog.missing(&name, &asked);
    let missing = work.moving.core.shelf.blocking(look).await.ok_or("a read panicked")?;
    Ok((all, missing.map_err(|error| error.to_string())?))
}

/// Adopts one image, if it is whole.
async fn image(
    work: &Work<'_>,
    name: &Name,
    below: &Name,
    had: &Had,
    parsed: &Parsed,
    root: Digest,
) -> Result<(), String> {
    let tags = had.tags.get(&root).cloned().unwrap_or_default();
    let (all, missing) = parts(work, name, parsed, root).await?;
    if !missing.is_empty() {
        let shown: Vec<String> = missing.iter().take(SHOWN).map(Digest::to_string).collect();
        let what: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        work.moving.line(MoveLine {
            kind: MoveKind::Incomplete,
            name: name.to_string(),
            what: Some(if tags.is_empty() { root.to_string() } else { what.join(",") }),
            here: Some(root),
            there: None,
            why: Some(format!("{} parts are not here: {}", missing.len(), shown.join(", "))),
        });
        return Ok(());
    }
    if work.into.is_none() && all.iter().all(|digest| had.hosted.contains(digest)) {
        work.moving.tell(|report| report.same += 1);
        return Ok(());
    }
    if !work.is_dry {
        let done = match &work.into {
            None => {
                let (core, name) = (work.moving.core.clone(), name.clone());
                to_end(async move { hosted::adopt(&core, &name, all).await }).await
            }
            Some(_) => push(work, below, parsed, all, tags).await,
        };
        if let Err(refusal) = done {
            work.moving.failed(name, Some(root.to_string()), refusal.to_string());
            return Ok(());
        }
    }
    work.moving.tell(|report| report.moved += 1);
    Ok(())
}

/// Pushes an image into another repository. `all`: what others need first; the image last.
async fn push(
    work: &Work<'_>,
    below: &Name,
    parsed: &Parsed,
    all: Vec<Digest>,
    tags: Vec<Tag>,
) -> Result<(), Refusal> {
    let core = work.moving.core;
    let Some(into) = &work.into else { return Ok(()) };
    let to = into.of(&core.view(), below).map_err(Refusal::Conflict)?;
    let root = all.last().copied();
    // Blobs come before all manifests, which need them.
    let (mut manifests, blobs): (Vec<Digest>, Vec<Digest>) =
        all.into_iter().partition(|digest| parsed.contains_key(digest));
    for digest in blobs {
        let (core, to) = (core.clone(), to.clone());
        if !to_end(async move { hosted::keep(&core, &to, &digest, None).await }).await? {
            return Err(Refusal::Conflict(format!("{digest} was taken away meanwhile; try again")));
        }
    }
    // Images before indexes, whichever of several indexes listed them.
    manifests.sort_by_key(|digest| parsed.get(digest).is_some_and(|it| !it.manifests.is_empty()));
    for digest in manifests {
        let Some(content) = core.shelf.manifest(&digest).await else {
            return Err(Refusal::Conflict(format!("{digest} was taken away meanwhile; try again")));
        };
        let tags = if Some(digest) == root { tags.clone() } else { Vec::new() };
        let content_type = Some(content.media_type.clone());
        let placing = Placing { bytes: content.bytes.clone(), digest, content_type, tags };
        let (core, to) = (core.clone(), to.clone());
        to_end(async move { hosted::place(&core, &to, placing).await }).await?;
    }
    Ok(())
}
