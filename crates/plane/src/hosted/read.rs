//! What a hosted name has.

use crate::answer::CacheState;
use crate::candidates::HostedName;
use crate::memory::ContentState;
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::shelf::Shelf;
use crate::tags::Resolved;
use blobs::Blob;
use oci::{Descriptor, Digest, ErrorCode, EvidenceTag, Name, Reference, Tag};
use std::sync::Arc;

/// Referrers listed of one digest; a list cut short would be a lie, so more is a failure.
const REFERRERS_MAX: u32 = 10_000;

/// The manifest that a reference leads to.
pub(crate) async fn manifest(
    core: &Arc<Core>,
    name: &HostedName,
    reference: &Reference,
) -> Result<Resolved, Refusal> {
    let shelf = &core.shelf;
    let digest = match reference {
        Reference::Digest(digest) => *digest,
        Reference::Tag(tag) => match shelf.known_tag(&name.name, tag).await? {
            Some(state) => state.digest,
            None => return Err(absent(core, no_manifest(&name.name, &format!("tag {tag}")))),
        },
    };
    let Some(row) = shelf.known_content(&name.name, &digest).await? else {
        return Err(absent(core, no_manifest(&name.name, &digest.to_string())));
    };
    // Bytes that were pushed as a blob are no manifest of the name: nobody looked at what they list,
    // and collection does not follow them.
    if !row.is_manifest {
        return Err(absent(core, no_manifest(&name.name, &digest.to_string())));
    }
    let Some(content) = shelf.manifest(&digest).await else {
        return Err(lost(&name.name, &digest));
    };
    shelf.note_use(&name.name, &digest, &row, shelf.clock.now());
    let content = shelf.as_called(content, &row);
    Ok(Resolved { content, private_to: None, cache: CacheState::NONE, asked: false })
}

/// A blob. One whose bytes are lost, for certain, is absent for HEAD alone: that is how clients ask
/// whether they must push it, and pushing it again is what heals it.
pub(crate) async fn blob(
    core: &Arc<Core>,
    name: &HostedName,
    digest: &Digest,
    is_head: bool,
) -> Result<(Blob, Arc<ContentState>), Refusal> {
    let shelf = &core.shelf;
    let Some(row) = shelf.known_content(&name.name, digest).await? else {
        let reason = format!("{} has no blob {digest}", name.name);
        return Err(absent(core, Refusal::Absent { code: ErrorCode::BlobUnknown, reason }));
    };
    let Some(blob) = shelf.known_blob(digest).await? else {
        if is_head {
            let reason = format!("the bytes of {digest} are lost; push them again");
            return Err(Refusal::Absent { code: ErrorCode::BlobUnknown, reason });
        }
        return Err(lost(&name.name, digest));
    };
    shelf.note_use(&name.name, digest, &row, shelf.clock.now());
    Ok((blob, row))
}

/// Tags after one of them, at most `n`; and where to go on.
pub(crate) async fn tags(
    core: &Arc<Core>,
    name: &HostedName,
    last: Option<&str>,
    n: usize,
) -> Result<(Vec<Tag>, Option<Tag>), Refusal> {
    let after = last.map(str::to_owned);
    let limit = u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
    let asked = name.name.clone();
    let read = move |shelf: &Shelf| -> Result<Option<Vec<Tag>>, catalog::Error> {
        let tags = shelf.catalog.tags(&asked, after.as_deref(), limit)?;
        let is_known = !tags.is_empty() || shelf.catalog.name_change(&asked)?.is_some();
        Ok(is_known.then_some(tags))
    };
    let found = known(core.shelf.blocking(read).await)?;
    // A part of a list would be taken for all of it.
    core.shelf.expect_complete()?;
    match found {
        Some(tags) => Ok(crate::lists::page(&tags, None, Some(n))),
        None => {
            let reason = format!("nothing was pushed to {}", name.name);
            Err(Refusal::Absent { code: ErrorCode::NameUnknown, reason })
        }
    }
}

/// What refers to a digest: manifests that name it as their subject, what an index under the
/// fallback tag lists, and the tags of cosign (distribution-spec, "Listing Referrers", "Referrers
/// Tag Schema").
pub(crate) async fn referrers(
    core: &Arc<Core>,
    name: &HostedName,
    subject: &Digest,
) -> Result<Vec<Descriptor>, Refusal> {
    let (asked, of) = (name.name.clone(), *subject);
    let read = move |shelf: &Shelf| shelf.catalog.referrers(&asked, &of, REFERRERS_MAX + 1);
    let rows = known(core.shelf.blocking(read).await)?;
    core.shelf.expect_complete()?;
    if rows.len() > REFERRERS_MAX as usize {
        return Err(Refusal::Indeterminate {
            reason: format!("{} has more than {REFERRERS_MAX} referrers of {subject}", name.name),
            retry_after: None,
            is_rate_limit: false,
        });
    }
    let mut all: Vec<Descriptor> = rows
        .into_iter()
        .map(|row| Descriptor {
            media_type: row.media_type,
            digest: row.digest,
            size_bytes: row.size_bytes,
            platform: None,
            artifact_type: row.artifact_type,
            annotations: row.annotations,
            is_foreign: false,
        })
        .collect();
    for kind in EvidenceTag::ALL {
        let tag = Reference::Tag(Tag::evidence(subject, kind));
        let resolved = match manifest(core, name, &tag).await {
            Ok(resolved) => resolved,
            Err(Refusal::Absent { .. }) => continue,
            Err(refusal) => return Err(refusal),
        };
        let content = &resolved.content;
        all.extend(crate::lists::evidence(kind, content));
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|entry| seen.insert(entry.digest));
    Ok(all)
}

/// What a read of the catalog said; one that does not answer is "cannot tell".
pub(crate) fn known<T>(answer: Option<Result<T, catalog::Error>>) -> Result<T, Refusal> {
    match answer {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(cannot_tell(&error)),
        None => Err(Refusal::Internal("a read of the catalog panicked; see the log".to_owned())),
    }
}

/// "Not there", unless the catalog does not know all names now.
fn absent(core: &Core, refusal: Refusal) -> Refusal {
    core.shelf.expect_complete().err().unwrap_or(refusal)
}

/// The catalog does not answer.
pub(crate) fn cannot_tell(error: &dyn std::error::Error) -> Refusal {
    Refusal::Indeterminate {
        reason: format!("the catalog does not answer now: {error}"),
        retry_after: None,
        is_rate_limit: false,
    }
}

fn no_manifest(name: &Name, what: &str) -> Refusal {
    let reason = format!("{name} has no {what}");
    Refusal::Absent { code: ErrorCode::ManifestUnknown, reason }
}

/// The catalog has it and the store does not: not the same as "not there".
fn lost(name: &Name, digest: &Digest) -> Refusal {
    Refusal::Indeterminate {
        reason: format!(
            "{name} has {digest}, and its bytes are not in the store: push it again, or restore the \
             store from a backup"
        ),
        retry_after: None,
        is_rate_limit: false,
    }
}
