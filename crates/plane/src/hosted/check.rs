//! What a push must fulfil, asked before it so that the answer says why not; the catalog asks again
//! when it writes.

use super::read::known;
use super::write::Push;
use crate::candidates::{Asking, Candidate, HostedName};
use crate::govern;
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::shelf::Shelf;
use oci::{Descriptor, Digest, ErrorCode, Manifest, Name, Tag};
use policy::Denial;
use std::collections::HashSet;
use std::sync::Arc;

/// Manifests looked at for the text that says what could go.
const UNTAGGED_LOOK_AT: u32 = 1000;
/// Missing digests named in one line.
const MISSING_SHOWN: usize = 3;

/// That the principal may still do what it was permitted when its body began to come.
pub(super) fn still_allowed(push: &Push) -> Result<(), Refusal> {
    if push.core.generation() == push.view.generation {
        return Ok(());
    }
    let (view, permit) = (push.core.view(), &push.permit);
    policy::may_ask_one(&view.governance.access, permit.caller(), permit.intent(), None)?;
    Ok(())
}

/// Whether the repository has room for so many bytes more. `digest`: what they hash to, if that is
/// known; what the name holds already costs nothing.
pub(super) async fn room(
    core: &Arc<Core>,
    name: &HostedName,
    digest: Option<&Digest>,
    asked_bytes: u64,
) -> Result<(), Refusal> {
    let Some(quota_bytes) = name.hosted.quota_bytes else { return Ok(()) };
    let (canonical, digest) = (name.name.clone(), digest.copied());
    let repository = name.repository.name().clone();
    let look = move |shelf: &Shelf| -> Result<Option<Denial>, catalog::Error> {
        if let Some(digest) = digest
            && shelf.catalog.content(&canonical, &digest)?.is_some_and(|row| row.is_hosted)
        {
            return Ok(None);
        }
        let used_bytes = shelf.catalog.hosted_use(repository.as_str())?.bytes;
        // Even nothing does not fit where all is used: what follows would only be refused later.
        if used_bytes.saturating_add(asked_bytes.max(1)) <= quota_bytes {
            return Ok(None);
        }
        let untagged_bytes = shelf.catalog.untagged_bytes(repository.as_str(), UNTAGGED_LOOK_AT)?;
        Ok(Some(Denial::over_quota(
            &repository,
            used_bytes,
            quota_bytes,
            asked_bytes,
            untagged_bytes,
        )))
    };
    match known(core.shelf.blocking(look).await)? {
        Some(denial) => Err(denial.into()),
        None => Ok(()),
    }
}

/// That what a manifest names is content of the name, with the length it says; what must be there.
pub(super) async fn references(
    core: &Arc<Core>,
    name: &HostedName,
    manifest: &Manifest,
) -> Result<Vec<Digest>, Refusal> {
    let mut seen = HashSet::new();
    let named: Vec<Descriptor> = manifest
        .blobs()
        .filter(|blob| !blob.may_be_elsewhere())
        .chain(manifest.manifests.iter().filter(|_| !name.hosted.allows_sparse))
        .filter(|entry| seen.insert(entry.digest))
        .cloned()
        .collect();
    let requires: Vec<Digest> = named.iter().map(|entry| entry.digest).collect();
    let (canonical, asked) = (name.name.clone(), requires.clone());
    let children: Vec<Digest> = match name.hosted.allows_sparse {
        true => Vec::new(),
        false => manifest.manifests.iter().map(|child| child.digest).collect(),
    };
    let look = move |shelf: &Shelf| -> Result<_, catalog::Error> {
        let mut missing = shelf.catalog.missing(&canonical, &asked)?;
        // A child that came as a blob was never judged, and nothing follows what it lists.
        for child in children.iter().filter(|_| missing.is_empty()) {
            let row = shelf.catalog.content(&canonical, child)?;
            if row.is_some_and(|row| !row.is_manifest) {
                missing.push(*child);
                break;
            }
        }
        let mut wrong = None;
        for entry in named.iter().filter(|_| missing.is_empty()) {
            let row = shelf.catalog.content(&canonical, &entry.digest)?;
            let held_bytes = row.and_then(|row| row.size_bytes);
            if held_bytes.is_some_and(|held| held != entry.size_bytes) {
                wrong = Some((entry.digest, entry.size_bytes, held_bytes.unwrap_or(0)));
                break;
            }
        }
        Ok((missing, wrong))
    };
    let (missing, wrong) = known(core.shelf.blocking(look).await)?;
    if !missing.is_empty() {
        return Err(unknown(&name.name, &missing));
    }
    match wrong {
        Some((digest, said, held)) => Err(Refusal::Invalid {
            code: ErrorCode::ManifestInvalid,
            reason: format!("the manifest says {said} bytes of {digest}, which has {held}"),
        }),
        None => Ok(requires),
    }
}

/// That whoever pushes may have the blobs that a manifest lists: they pushed them, or a manifest that they
/// may have reaches them. What others brought is no more theirs by being listed; it is to be pushed, as
/// HEAD says too.
pub(super) async fn grounds(
    core: &Arc<Core>,
    asking: Asking<'_>,
    candidate: &Candidate,
    manifest: &Manifest,
) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    let listed = manifest.blobs().filter(|blob| !blob.may_be_elsewhere());
    for blob in listed.filter(|blob| seen.insert(blob.digest)) {
        if !Box::pin(govern::may_read(core, asking, candidate, &blob.digest)).await {
            return Err(unknown(candidate.name(), &[blob.digest]));
        }
    }
    Ok(())
}

fn unknown(name: &Name, missing: &[Digest]) -> Refusal {
    let shown: Vec<String> = missing.iter().take(MISSING_SHOWN).map(Digest::to_string).collect();
    let more = match missing.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Refusal::Invalid {
        code: ErrorCode::ManifestBlobUnknown,
        reason: format!(
            "{name} lacks {}{more}; push what a manifest names first",
            shown.join(", ")
        ),
    }
}

/// Those of the tags that must not move. Refused, if one of them names something else.
pub(super) async fn immutable(
    core: &Arc<Core>,
    name: &HostedName,
    tags: &[Tag],
    digest: &Digest,
) -> Result<Vec<Tag>, Refusal> {
    let mut immutable = Vec::new();
    for tag in tags {
        let Some(pattern) = name.hosted.immutable(tag) else { continue };
        let held = core.shelf.known_tag(&name.name, tag).await?;
        if let Some(held) = held.filter(|held| held.digest != *digest) {
            let repository = name.repository.name();
            let denial = Denial::immutable_tag(&name.name, tag, &held.digest, pattern, repository);
            return Err(denial.into());
        }
        immutable.push(tag.clone());
    }
    Ok(immutable)
}

/// That no tag of these, all of which name the digest, must stay.
pub(super) fn may_go(name: &HostedName, tags: &[Tag], digest: &Digest) -> Result<(), Refusal> {
    for tag in tags {
        if let Some(pattern) = name.hosted.immutable(tag) {
            let repository = name.repository.name();
            let denial = Denial::immutable_delete(&name.name, tag, digest, pattern, repository);
            return Err(denial.into());
        }
    }
    Ok(())
}

/// What was looked at changed again and again.
pub(super) fn too_busy(name: &Name) -> Refusal {
    Refusal::Conflict(format!("{name} is being changed by others at the same time; try again"))
}
