//! What changes a hosted name: the requests, and who serves them.

use super::{delete, manifest, upload};
use crate::answer::What;
use crate::candidates::{Candidate, HostedName};
use crate::incoming::Incoming;
use crate::pipeline::Query;
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::view::View;
use blobs::UploadId;
use oci::{Digest, Reference};
use policy::Permit;
use std::sync::Arc;

/// What is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// `POST …/blobs/uploads/`: an upload session, a whole blob, or a mount.
    Begin,
    /// `GET` of a session: how far it is.
    Status(UploadId),
    /// `PATCH`: more bytes.
    Extend(UploadId),
    /// `PUT`: the last bytes, and the digest.
    Finish(UploadId),
    /// `DELETE`: away with it.
    Cancel(UploadId),
    /// `PUT …/manifests/<reference>`.
    PutManifest(Reference),
    /// `DELETE …/manifests/<reference>`: a tag, or a manifest with its tags.
    DeleteManifest(Reference),
    /// `DELETE …/blobs/<digest>`.
    DeleteBlob(Digest),
}

impl Write {
    /// The digest it speaks of, as far as the request alone tells.
    pub(crate) fn digest(&self) -> Option<Digest> {
        match self {
            Self::PutManifest(Reference::Digest(digest))
            | Self::DeleteManifest(Reference::Digest(digest))
            | Self::DeleteBlob(digest) => Some(*digest),
            _ => None,
        }
    }
}

/// A request that changes something, with leave to.
pub(crate) struct Push {
    pub(crate) core: Arc<Core>,
    pub(crate) view: Arc<View>,
    pub(crate) name: HostedName,
    /// The name as the client wrote it: what it hears back.
    pub(crate) asked_name: String,
    /// Of a virtual name: its other candidates, which clients take for having what they have.
    pub(crate) others: Vec<Candidate>,
    /// The host it was sent to, by which a mount's source is found.
    pub(crate) host: Option<String>,
    pub(crate) query: Query,
    pub(crate) permit: Permit,
}

/// Serves it, in a task of its own: a client that hangs up ends the body, and what came of it is
/// kept; it does not end a write in the middle (design, invariant 12).
pub(crate) async fn write(push: Push, incoming: Incoming, write: Write) -> Result<What, Refusal> {
    push.core.shelf.expect_durable()?;
    let work = async move {
        match write {
            Write::Begin => upload::begin(push, incoming).await,
            Write::Status(id) => upload::status(push, id).await,
            Write::Extend(id) => upload::extend(push, incoming, id).await,
            Write::Finish(id) => upload::finish(push, incoming, id).await,
            Write::Cancel(id) => upload::cancel(push, id).await,
            Write::PutManifest(reference) => manifest::push(push, incoming, reference).await,
            Write::DeleteManifest(Reference::Tag(tag)) => delete::tag(push, tag).await,
            Write::DeleteManifest(Reference::Digest(digest)) => {
                delete::manifest(push, digest).await
            }
            Write::DeleteBlob(digest) => delete::blob(push, digest).await,
        }
    };
    let served = tokio::spawn(work).await;
    served.unwrap_or_else(|_| {
        Err(Refusal::Internal("a push was ended by a bug; see the log".to_owned()))
    })
}
