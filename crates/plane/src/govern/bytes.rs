//! Small blobs, whole: the config of an image, for its labels.

use crate::candidates::Candidate;
use crate::fill::FillReader;
use crate::pipeline::{Brought, fill};
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::stream::StreamError;
use blobs::{Blob, ReadHow};
use bytes::{Bytes, BytesMut};
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
    // What another name has is not read for this one.
    if core.shelf.content(candidate.name(), digest).await.is_some()
        && let Some(blob) = core.shelf.blob(digest).await
    {
        return read(core, blob).await;
    }
    let Candidate::Remote(located) = candidate else {
        return Err(trouble(format!("{digest} is not in the store")));
    };
    match Box::pin(fill(core, located, digest, None, Class::Waiting)).await? {
        Brought::Stored(blob) => read(core, blob).await,
        // Out of the download itself: it may not be in the store yet when its last byte is here.
        Brought::Filling { reader, .. } => match gathered(reader).await {
            Ok(bytes) => Ok(bytes),
            // Another download of the same digest may have ended first.
            Err(error) => match core.shelf.blob(digest).await {
                Some(blob) => read(core, blob).await,
                None => Err(trouble(error.to_string())),
            },
        },
    }
}

/// All bytes of a download, once their digest is known to be right.
async fn gathered(mut reader: FillReader) -> Result<Bytes, StreamError> {
    let mut bytes = BytesMut::new();
    while let Some(next) = reader.next(ReadHow::Copied).await? {
        if bytes.len() as u64 + next.len() as u64 > CONFIG_MAX_BYTES {
            return Err(StreamError::Fill(format!("it is longer than {CONFIG_MAX_BYTES} bytes")));
        }
        bytes.extend_from_slice(&next);
    }
    reader.completed().await.map_err(|failure| StreamError::Fill(failure.text()))?;
    Ok(bytes.freeze())
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
