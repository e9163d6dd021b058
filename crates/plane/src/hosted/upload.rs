//! Uploads: the requests of a session (distribution-spec, "Pushing Blobs").

use super::blob::{self, Pushed};
use super::receive::{append, receive};
use super::uploads::{Session, algorithm, full};
use super::write::Push;
use super::{check, mount};
use crate::answer::{UploadState, What};
use crate::incoming::Incoming;
use crate::refusal::Refusal;
use blobs::UploadId;
use oci::range::ContentRange;
use oci::{Algorithm, Digest, ErrorCode};

/// Begins a session; or takes a whole blob, or one that is here already.
pub(super) async fn begin(push: Push, incoming: Incoming) -> Result<What, Refusal> {
    let algorithm = match &push.query.algorithm {
        Some(name) => Some(known_algorithm(name)?),
        None => None,
    };
    let digest = match &push.query.digest {
        Some(text) => Some(digest(text)?),
        None => None,
    };
    if let Some(digest) = mount::wanted(&push.query)
        && mount::mount(&push, &digest).await?
    {
        return Ok(What::BlobCreated { name: push.asked_name, digest });
    }
    // One that announces a digest and sends nothing wants a session, unless nothing is what hashes
    // to it.
    let told_bytes = incoming.length_bytes();
    let whole = digest
        .filter(|digest| told_bytes != Some(0) || Digest::of(digest.algorithm(), b"") == *digest);
    let asked_bytes = told_bytes.filter(|_| whole.is_some()).unwrap_or(0);
    check::room(&push.core, &push.name, whole.as_ref(), asked_bytes).await?;
    if push.core.shelf.is_full() {
        return Err(full());
    }
    let algorithm = algorithm.or(digest.map(|digest| digest.algorithm()));
    let session = push.core.uploads.begin(&push, algorithm).await?;
    match whole {
        Some(digest) => {
            let id = session.upload.id();
            let created = complete(&push, incoming, session, &digest, None).await;
            if created.is_err() {
                // Nobody was told of the session.
                push.core.uploads.remove(id).await;
            }
            created?;
            is_ones_own(&push, &digest);
            Ok(What::BlobCreated { name: push.asked_name, digest })
        }
        None => Ok(state(&push, &session, false)),
    }
}

/// Whoever pushed a blob may read it, also while no manifest holds it (contracts §4).
pub(super) fn is_ones_own(push: &Push, digest: &Digest) {
    let (core, caller) = (&push.core, push.permit.caller());
    core.govern.leases.grant_own(core, caller, &push.name.name, digest);
}

/// How far a session is.
pub(super) async fn status(push: Push, id: UploadId) -> Result<What, Refusal> {
    let session = push.core.uploads.take_up(&push, id).await?;
    Ok(state(&push, &session, true))
}

/// More bytes.
pub(super) async fn extend(
    push: Push,
    mut incoming: Incoming,
    id: UploadId,
) -> Result<What, Refusal> {
    let session = push.core.uploads.take_up(&push, id).await?;
    let promised_bytes = promised(&push, &incoming, &session)?;
    if push.core.shelf.is_full() {
        return Err(full());
    }
    let core = &push.core;
    let received = receive(core, session, &mut incoming, promised_bytes).await?;
    let session = append(core, received.session, received.rest).await?;
    match received.broken {
        None => Ok(state(&push, &session, false)),
        Some(refusal) => Err(refusal),
    }
}

/// The last bytes, and what all of them hash to.
pub(super) async fn finish(push: Push, incoming: Incoming, id: UploadId) -> Result<What, Refusal> {
    let Some(text) = &push.query.digest else {
        return Err(bad_digest(
            "the parameter digest is needed: what the upload hashes to".to_owned(),
        ));
    };
    let digest = digest(text)?;
    let mut session = push.core.uploads.take_up(&push, id).await?;
    let promised_bytes = promised(&push, &incoming, &session)?;
    if session.upload.len_bytes() == 0 {
        // Nothing has to be hashed again for it.
        session.upload.hash_with(digest.algorithm());
    }
    complete(&push, incoming, session, &digest, promised_bytes).await?;
    is_ones_own(&push, &digest);
    Ok(What::BlobCreated { name: push.asked_name, digest })
}

/// Away with a session.
pub(super) async fn cancel(push: Push, id: UploadId) -> Result<What, Refusal> {
    let session = push.core.uploads.take_up(&push, id).await?;
    push.core.uploads.discard(session).await?;
    Ok(What::Cancelled)
}

async fn complete(
    push: &Push,
    mut incoming: Incoming,
    session: Session,
    digest: &Digest,
    promised_bytes: Option<u64>,
) -> Result<(), Refusal> {
    let core = &push.core;
    let received = receive(core, session, &mut incoming, promised_bytes).await?;
    if let Some(refusal) = received.broken {
        append(core, received.session, received.rest).await?;
        return Err(refusal);
    }
    check::still_allowed(push)?;
    let pushed = Pushed { session: received.session, rest: received.rest, digest: *digest };
    blob::take_in(core, &push.name, pushed).await
}

/// How long the body is by its `Content-Range`, which must begin where the session stands.
fn promised(push: &Push, incoming: &Incoming, session: &Session) -> Result<Option<u64>, Refusal> {
    let Some(text) = incoming.content_range() else { return Ok(None) };
    let invalid = |code, reason| Refusal::Invalid { code, reason };
    let said = ContentRange::parse(text)
        .map_err(|error| invalid(ErrorCode::BlobUploadInvalid, error.to_string()))?;
    let received_bytes = session.upload.len_bytes();
    if said.range.start != received_bytes {
        let (asked_name, id) = (push.asked_name.clone(), session.upload.id());
        return Err(Refusal::UploadRange { asked_name, id, received_bytes });
    }
    let length_bytes = said.range.len();
    match incoming.length_bytes() {
        Some(told) if told != length_bytes => Err(invalid(
            ErrorCode::SizeInvalid,
            format!("Content-Range speaks of {length_bytes} bytes and Content-Length of {told}"),
        )),
        _ => Ok(Some(length_bytes)),
    }
}

fn state(push: &Push, session: &Session, is_status: bool) -> What {
    What::Upload(UploadState {
        name: push.asked_name.clone(),
        id: session.upload.id(),
        received_bytes: session.upload.len_bytes(),
        is_status,
    })
}

fn known_algorithm(name: &str) -> Result<Algorithm, Refusal> {
    algorithm(name).ok_or_else(|| {
        let shown: String = name.chars().take(32).collect();
        bad_digest(format!("digest algorithm {shown:?} is not supported; use sha256 or sha512"))
    })
}

/// A digest of the query.
pub(super) fn digest(text: &str) -> Result<Digest, Refusal> {
    Digest::parse(text).map_err(|error| bad_digest(error.to_string()))
}

pub(super) fn bad_digest(reason: String) -> Refusal {
    Refusal::Invalid { code: ErrorCode::DigestInvalid, reason }
}
