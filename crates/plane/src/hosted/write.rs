//! What changes a hosted name: the requests, and who serves them.

use crate::answer::What;
use crate::candidates::HostedName;
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
pub(crate) struct Push<'r> {
    pub(crate) core: &'r Arc<Core>,
    pub(crate) view: &'r Arc<View>,
    pub(crate) name: HostedName,
    /// The name as the client wrote it: what it hears back.
    pub(crate) asked_name: String,
    /// The host it was sent to, by which a mount's source is found.
    pub(crate) host: Option<&'r str>,
    pub(crate) query: Query,
    pub(crate) incoming: Incoming,
    pub(crate) permit: Permit,
}

/// Serves it.
pub(crate) async fn write(_push: Push<'_>, write: Write) -> Result<What, Refusal> {
    Err(Refusal::Internal(format!("not built yet: {write:?}")))
}
