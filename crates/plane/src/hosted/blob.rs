//! A whole blob becomes content of a hosted name: bytes durable first, then the row.

use super::settle::{Change, Unsettled, settle};
use super::uploads::{Session, panicked, trouble};
use super::{check, upload};
use crate::candidates::HostedName;
use crate::holds::Hold;
use crate::plane::Core;
use crate::refusal::Refusal;
use bytes::Bytes;
use catalog::{Batch, PushedBlob};
use oci::{Digest, MediaType};
use std::sync::Arc;

/// An upload that has come in.
pub(super) struct Pushed {
    pub(super) session: Session,
    /// What is still to be written.
    pub(super) rest: Vec<Bytes>,
    /// What the client says that it hashes to.
    pub(super) digest: Digest,
}

/// A blob that is in the store, and is to be content of a name.
struct Held<'d> {
    digest: &'d Digest,
    size_bytes: u64,
    media_type: Option<MediaType>,
    hold: Arc<Hold>,
}

/// Takes an upload in. With a wrong digest its session is over; with trouble of the store it stays, so
/// that the client may try its last request again. When only the catalog cannot be written, the bytes
/// are here and the row may still follow.
pub(super) async fn take_in(
    core: &Arc<Core>,
    name: &HostedName,
    pushed: Pushed,
) -> Result<(), Refusal> {
    let Pushed { session, rest, digest } = pushed;
    let size_bytes = session.upload.len_bytes() + rest.iter().map(Bytes::len).sum::<usize>() as u64;
    if let Err(refusal) = check::room(core, name, Some(&digest), size_bytes).await {
        let _ = core.uploads.discard(session).await;
        return Err(refusal);
    }
    let hold = Arc::new(core.shelf.holds.hold(&digest).await);
    let committed = core.shelf.blocking(move |shelf| {
        let Session { mut upload, .. } = session;
        upload.append(&rest).map_err(|error| trouble(shelf, &error))?;
        match upload.commit(&digest) {
            Ok(blob) => Ok(Ok(blob.size_bytes())),
            Err((upload, blobs::Error::WrongDigest { found, .. })) => {
                if let Some(upload) = upload
                    && let Err(error) = upload.discard()
                {
                    tracing::warn!(%error, "an upload with a wrong digest left something behind");
                }
                Ok(Err(found))
            }
            Err((_, error)) => Err(trouble(shelf, &error)),
        }
    });
    let ended = committed.await.unwrap_or_else(|| Err(panicked()))?;
    core.uploads.ended();
    let size_bytes = ended.map_err(|found| {
        upload::bad_digest(format!(
            "the bytes hash to {found}, not to {digest}; the upload is over, begin a new one"
        ))
    })?;
    core.shelf.note_committed(size_bytes);
    write(core, name, Held { digest: &digest, size_bytes, media_type: None, hold }).await
}

/// Makes bytes that the store has content of a hosted name. `false`: it does not have them. Who may
/// do that was decided before. To be run to its end.
pub(crate) async fn keep(
    core: &Arc<Core>,
    name: &HostedName,
    digest: &Digest,
    media_type: Option<MediaType>,
) -> Result<bool, Refusal> {
    let hold = Arc::new(core.shelf.holds.hold(digest).await);
    let Some(blob) = core.shelf.known_blob(digest).await? else { return Ok(false) };
    let size_bytes = blob.size_bytes();
    check::room(core, name, Some(digest), size_bytes).await?;
    write(core, name, Held { digest, size_bytes, media_type, hold }).await?;
    Ok(true)
}

/// The row of a blob whose bytes are held.
async fn write(core: &Arc<Core>, name: &HostedName, held: Held<'_>) -> Result<(), Refusal> {
    let Held { digest, size_bytes, media_type, hold } = held;
    let at = core.shelf.clock.now();
    let quota_bytes = name.hosted.quota_bytes;
    let mut batch = Batch::new();
    let canonical = name.name.clone();
    batch.push_blob(&PushedBlob {
        name: canonical.clone(),
        digest: *digest,
        size_bytes,
        media_type,
        quota_bytes,
        at,
    });
    let (tags, digests) = (Vec::new(), vec![*digest]);
    let change = Change { batch, name: canonical, tags, digests, hold: Some(hold.clone()) };
    match settle(core, change).await {
        Ok(()) => Ok(()),
        Err(Unsettled::Refused(refusal)) => Err(refusal),
        Err(Unsettled::Conflict) => {
            // The quota was reached meanwhile. Bytes that are here and nobody's go again.
            let asked = *digest;
            let held = core.shelf.blocking(move |it| it.catalog.holders(&asked, 1)).await;
            if matches!(held, Some(Ok(names)) if names.is_empty()) {
                let mut batch = Batch::new();
                batch.put_blob(digest, size_bytes, false, at);
                batch.condemn(digest, at);
                core.shelf.submit(batch);
            }
            drop(hold);
            check::room(core, name, Some(digest), size_bytes).await?;
            Err(check::too_busy(&name.name))
        }
    }
}
