//! Small blobs, whole: the config of an image, for its labels.

use crate::candidates::Candidate;
use crate::pipeline::{Brought, fill};
use crate::plane::Core;
use crate::refusal::Refusal;
use blobs::Blob;
use bytes::Bytes;
use oci::Digest;
use std::sync::Arc;
use upstream::Class;

/// The largest config that is read.
pub(super) const CONFIG_MAX_BYTES: u64 = 8 << 20;

/// The bytes, from here or from the upstream. Whoever asks serves none of them.
pub(super) async fn whole(
    core: &Arc<Core>,
    candidate: &Candidate,
    digest: &Digest,
) -> Result<Bytes, Refusal> {
    if let Some(blob) = core.shelf.blob(digest).await {
        return read(core, blob).await;
    }
    let Candidate::Remote(located) = candidate else {
        return Err(trouble(format!("{digest} is not in the store")));
    };
    match Box::pin(fill(core, located, digest, None, Class::Waiting)).await? {
        Brought::Stored(blob) => read(core, blob).await,
        Brought::Filling { mut reader, .. } => {
            if let Err(failure) = reader.completed().await {
                return Err(trouble(failure.text()));
            }
            match core.shelf.blob(digest).await {
                Some(blob) => read(core, blob).await,
                None => Err(trouble(format!("{digest} was downloaded and could not be kept"))),
            }
        }
    }
}

/// The bytes, if they are here.
pub(super) async fn at_hand(core: &Arc<Core>, digest: &Digest) -> Option<Bytes> {
    read(core, core.shelf.blob(digest).await?).await.ok()
}

async fn read(core: &Arc<Core>, blob: Blob) -> Result<Bytes, Refusal> {
    let max_bytes = usize::try_from(CONFIG_MAX_BYTES).unwrap_or(usize::MAX);
    match core.shelf.blocking(move |_| blob.read_all(max_bytes)).await {
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(error)) => Err(trouble(error.to_string())),
        None => Err(trouble("it cannot be read".to_owned())),
    }
}

fn trouble(reason: String) -> Refusal {
    Refusal::Indeterminate { reason, retry_after: None, is_rate_limit: false }
}
