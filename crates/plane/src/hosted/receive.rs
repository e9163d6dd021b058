//! The body of an upload, from the network to the end of its session.
//!
//! While some bytes are hashed and written on the blocking pool, the next are gathered. The last of
//! them are handed back unwritten, so that whoever ends the request writes them and does what is to
//! be done then in one trip.

use super::uploads::{Session, full, panicked, trouble};
use crate::incoming::Incoming;
use crate::plane::Core;
use crate::refusal::Refusal;
use bytes::Bytes;
use oci::ErrorCode;
use std::sync::Arc;

/// Bytes written at a time; a request holds at most twice as many.
const BATCH_BYTES: usize = 512 << 10;

/// A body that was read as far as it came.
pub(super) struct Received {
    pub(super) session: Session,
    /// What is still to be written.
    pub(super) rest: Vec<Bytes>,
    /// Why it did not come to its end. What came counts all the same.
    pub(super) broken: Option<Refusal>,
}

/// Bytes gathered from the network.
#[derive(Default)]
struct Gathered {
    chunks: Vec<Bytes>,
    bytes: usize,
    end: Option<Option<Refusal>>,
}

/// Reads a body into a session. `promised_bytes`: how long it is by its `Content-Range`.
pub(super) async fn receive(
    core: &Arc<Core>,
    mut session: Session,
    incoming: &mut Incoming,
    promised_bytes: Option<u64>,
) -> Result<Received, Refusal> {
    let max_bytes = core.uploads.blob_max_bytes();
    let before_bytes = session.upload.len_bytes();
    let told_bytes = incoming.length_bytes().unwrap_or(0);
    if before_bytes.saturating_add(told_bytes) > max_bytes {
        return Err(Refusal::TooLarge { what: "the blob", max_bytes });
    }
    let mut taken_bytes = 0;
    let mut gathered = gather(incoming).await;
    loop {
        taken_bytes += gathered.bytes as u64;
        core.shelf.metrics.pushed(gathered.bytes as u64);
        if before_bytes.saturating_add(taken_bytes) > max_bytes {
            return Err(Refusal::TooLarge { what: "the blob", max_bytes });
        }
        if promised_bytes.is_some_and(|promised| taken_bytes > promised) {
            return Err(not_as_promised());
        }
        if let Some(end) = gathered.end {
            let is_short = promised_bytes.is_some_and(|promised| taken_bytes < promised);
            let broken = end.or_else(|| is_short.then(not_as_promised));
            return Ok(Received { session, rest: gathered.chunks, broken });
        }
        if core.shelf.is_full() {
            return Err(full());
        }
        let writing = append(core, session, gathered.chunks);
        let (written, next) = tokio::join!(writing, gather(incoming));
        (session, gathered) = (written?, next);
    }
}

/// The next bytes, until there are enough for one write or no more come.
async fn gather(incoming: &mut Incoming) -> Gathered {
    let mut gathered = Gathered::default();
    while gathered.bytes < BATCH_BYTES {
        match incoming.next().await {
            Some(Ok(chunk)) => {
                gathered.bytes += chunk.len();
                gathered.chunks.push(chunk);
            }
            Some(Err(error)) => {
                gathered.end = Some(Some(Refusal::Incoming(error)));
                break;
            }
            None => {
                gathered.end = Some(None);
                break;
            }
        }
    }
    gathered
}

/// Writes bytes at the end of a session.
pub(super) async fn append(
    core: &Arc<Core>,
    mut session: Session,
    chunks: Vec<Bytes>,
) -> Result<Session, Refusal> {
    if chunks.is_empty() {
        return Ok(session);
    }
    let written = core.shelf.blocking(move |shelf| match session.upload.append(&chunks) {
        Ok(()) => Ok(session),
        Err(error) => Err(trouble(shelf, &error)),
    });
    written.await.unwrap_or_else(|| Err(panicked()))
}

fn not_as_promised() -> Refusal {
    Refusal::Invalid {
        code: ErrorCode::SizeInvalid,
        reason:
            "the body is not as long as its Content-Range says; ask how far the upload is by GET"
                .to_owned(),
    }
}
