//! A manifest with all that belongs to it: blobs and children before it, what refers to it after.

use super::Work;
use super::blob;
use super::name::Named;
use super::source::{Trouble, patiently};
use crate::hosted::{self, Placing};
use crate::jobs::moving::to_end;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use oci::{Digest, EvidenceTag, Manifest, MediaType, Reference, Tag};
use std::collections::HashSet;
use upstream::{Class, FailureKind};

/// Manifests within manifests: indexes, what refers to them, and what refers to that.
const DEPTH_MAX: usize = 8;
/// Manifests that one tag leads to.
const MANIFESTS_MAX: usize = 10_000;

/// A manifest that is to be brought.
pub(super) struct Errand {
    pub(super) digest: Digest,
    /// Tags that name it at the destination from now on.
    pub(super) tags: Vec<Tag>,
    pub(super) depth: usize,
}

/// Brings a manifest and what belongs to it. `visited`: what this tag led to so far.
pub(super) fn bring<'w>(
    work: &'w Work<'_>,
    named: &'w Named<'_>,
    errand: Errand,
    visited: &'w mut HashSet<Digest>,
) -> BoxFuture<'w, Result<(), Trouble>> {
    Box::pin(async move {
        let Errand { digest, tags, depth } = errand;
        let is_finished = named.finished.lock().contains(&digest);
        if !visited.insert(digest) || (is_finished && tags.is_empty()) {
            return Ok(());
        }
        if depth > DEPTH_MAX || visited.len() > MANIFESTS_MAX {
            let text = format!(
                "more than {DEPTH_MAX} manifests within each other, or {MANIFESTS_MAX} in all"
            );
            return Err(text.into());
        }
        let (is_here, media_type, bytes) = content(work, named, &digest).await?;
        let manifest = Manifest::parse(&bytes, Some(&media_type));
        let manifest = manifest.map_err(|error| format!("{digest}: {error}"))?;
        if !is_here {
            blob::bring_all(work, named, &manifest).await?;
        }
        for child in &manifest.manifests {
            let errand = Errand { digest: child.digest, tags: Vec::new(), depth: depth + 1 };
            match bring(work, named, errand, visited).await {
                // The source itself does not have it, and the destination need not.
                Err(trouble) if trouble.is_absent && named.to.hosted.allows_sparse => {}
                other => other?,
            }
        }
        if !is_here || !tags.is_empty() {
            place(work, named, Placing { bytes, digest, content_type: Some(media_type), tags })
                .await?;
        }
        if !is_finished {
            referrers(work, named, &digest, depth, visited).await?;
            named.finished.lock().insert(digest);
        }
        Ok(())
    })
}

/// A manifest's bytes: from the destination, if it has them already (`true`), else from the source.
async fn content(
    work: &Work<'_>,
    named: &Named<'_>,
    digest: &Digest,
) -> Result<(bool, MediaType, Bytes), Trouble> {
    let shelf = &work.moving.core.shelf;
    if let Some(row) = shelf.known_content(&named.to.name, digest).await?
        && let Some(content) = shelf.manifest(digest).await
    {
        let content = shelf.as_called(content, &row);
        return Ok((true, content.media_type.clone(), content.bytes.clone()));
    }
    let (upstream, reference) = (&work.source.upstream, Reference::Digest(*digest));
    let answer = patiently(|| upstream.manifest(named.from, &reference, Class::Prefetch)).await?;
    Ok((false, answer.media_type, answer.bytes))
}

async fn place(work: &Work<'_>, named: &Named<'_>, placing: Placing) -> Result<(), Trouble> {
    let (core, to) = (work.moving.core.clone(), named.to.clone());
    to_end(async move { hosted::place(&core, &to, placing).await }).await?;
    Ok(())
}

/// What refers to a manifest: by the API, or by the fallback tag, which some sources do not list among
/// the tags. What stands under evidence tags that are listed comes with them.
async fn referrers(
    work: &Work<'_>,
    named: &Named<'_>,
    subject: &Digest,
    depth: usize,
    visited: &mut HashSet<Digest>,
) -> Result<(), Trouble> {
    let upstream = &work.source.upstream;
    let listed = patiently(|| upstream.referrers(named.from, subject, Class::Prefetch)).await;
    let cannot = |failure: upstream::Failure| {
        Trouble::from(format!("what refers to {subject} cannot be listed: {failure}"))
    };
    let mut listed = listed.map_err(cannot)?;
    let fallback = Tag::evidence(subject, EvidenceTag::Referrers);
    if listed.is_empty() && !named.tags.contains(&fallback) {
        let reference = Reference::Tag(fallback);
        let ask = || upstream.manifest(named.from, &reference, Class::Prefetch);
        match patiently(ask).await {
            Ok(answer) => {
                let index = Manifest::parse(&answer.bytes, Some(&answer.media_type));
                listed = index.map(|index| index.manifests).unwrap_or_default();
            }
            Err(failure) if failure.kind() == FailureKind::Absent => {}
            Err(failure) => return Err(cannot(failure)),
        }
    }
    for entry in listed {
        let errand = Errand { digest: entry.digest, tags: Vec::new(), depth: depth + 1 };
        match bring(work, named, errand, visited).await {
            // Some lists name what was deleted since.
            Err(trouble) if trouble.is_absent => {}
            other => other?,
        }
    }
    Ok(())
}
