//! Deletes: tags, manifests with the tags that name them, blobs that no manifest lists.
//!
//! The bytes go later, when no other name has them; here only what the name holds goes, at once.

use super::check;
use super::read::known;
use super::settle::{Change, Unsettled, settle};
use super::write::Push;
use crate::answer::What;
use crate::refusal::Refusal;
use crate::shelf::Shelf;
use catalog::Batch;
use oci::{Digest, ErrorCode, Tag};

/// Times a delete is judged again because something changed between the look and the write.
const ATTEMPTS: usize = 4;
/// Tags of one manifest that a delete takes with it.
const TAGS_MAX: u32 = 10_000;

/// Deletes a tag; what it names stays.
pub(super) async fn tag(push: Push, tag: Tag) -> Result<What, Refusal> {
    for _ in 0..ATTEMPTS {
        let Some(held) = push.core.shelf.known_tag(&push.name.name, &tag).await? else {
            return Err(absent(&push, ErrorCode::ManifestUnknown, &format!("tag {tag}")));
        };
        check::may_go(&push.name, std::slice::from_ref(&tag), &held.digest)?;
        let mut batch = Batch::new();
        batch.delete_tag(&push.name.name, &tag);
        if done(&push, batch, vec![tag.clone()], Vec::new()).await? {
            return Ok(What::Deleted);
        }
    }
    Err(check::too_busy(&push.name.name))
}

/// Deletes a manifest, and the tags that name it.
pub(super) async fn manifest(push: Push, digest: Digest) -> Result<What, Refusal> {
    for _ in 0..ATTEMPTS {
        let name = push.name.name.clone();
        let look = move |shelf: &Shelf| -> Result<_, catalog::Error> {
            let row = shelf.catalog.content(&name, &digest)?.filter(|row| row.is_manifest);
            let tags = shelf.catalog.tags_naming(&name, &digest, TAGS_MAX)?;
            Ok((row.is_some(), tags, shelf.catalog.listed_by(&name, &digest, 1)?))
        };
        let (is_there, tags, listed) = known(push.core.shelf.blocking(look).await)?;
        if !is_there {
            return Err(absent(&push, ErrorCode::ManifestUnknown, &digest.to_string()));
        }
        check::may_go(&push.name, &tags, &digest)?;
        let mut batch = Batch::new();
        // Where indexes may lack what they name, they may come to lack it.
        if !push.name.hosted.allows_sparse {
            if let Some(parent) = listed.first() {
                return Err(needed(&push, &digest, &parent.manifest));
            }
            batch.expect_unlisted(&push.name.name, &digest);
        }
        batch.delete_manifest(&push.name.name, &digest, &tags, push.core.shelf.clock.now());
        if done(&push, batch, tags, vec![digest]).await? {
            return Ok(What::Deleted);
        }
    }
    Err(check::too_busy(&push.name.name))
}

/// Deletes a blob that no manifest of the name lists.
pub(super) async fn blob(push: Push, digest: Digest) -> Result<What, Refusal> {
    for _ in 0..ATTEMPTS {
        let name = push.name.name.clone();
        let look = move |shelf: &Shelf| -> Result<_, catalog::Error> {
            let row = shelf.catalog.content(&name, &digest)?.filter(|row| !row.is_manifest);
            Ok((row.is_some(), shelf.catalog.listed_by(&name, &digest, 1)?))
        };
        let (is_there, listed) = known(push.core.shelf.blocking(look).await)?;
        if !is_there {
            return Err(absent(&push, ErrorCode::BlobUnknown, &format!("blob {digest}")));
        }
        if let Some(parent) = listed.first() {
            return Err(needed(&push, &digest, &parent.manifest));
        }
        let mut batch = Batch::new();
        batch.expect_unlisted(&push.name.name, &digest);
        batch.delete_blob(&push.name.name, &digest, push.core.shelf.clock.now());
        if done(&push, batch, Vec::new(), vec![digest]).await? {
            return Ok(What::Deleted);
        }
    }
    Err(check::too_busy(&push.name.name))
}

/// Writes it; `false`: something changed meanwhile.
async fn done(
    push: &Push,
    batch: Batch,
    tags: Vec<Tag>,
    digests: Vec<Digest>,
) -> Result<bool, Refusal> {
    let change = Change { batch, name: push.name.name.clone(), tags, digests, hold: None };
    match settle(&push.core, change).await {
        Ok(()) => Ok(true),
        Err(Unsettled::Conflict) => Ok(false),
        Err(Unsettled::Refused(refusal)) => Err(refusal),
    }
}

fn absent(push: &Push, code: ErrorCode, what: &str) -> Refusal {
    Refusal::Absent { code, reason: format!("{} has no {what}", push.name.name) }
}

fn needed(push: &Push, digest: &Digest, parent: &Digest) -> Refusal {
    Refusal::Conflict(format!(
        "manifest {parent} of {} lists {digest}; delete that one first",
        push.name.name
    ))
}
