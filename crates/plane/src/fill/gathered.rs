//! What comes from the network between two writes.

use super::state::FillFailure;
use bytes::{Bytes, BytesMut};

/// What was gathered from the network, and whether that was the end.
#[derive(Default)]
pub(super) struct Gathered {
    chunks: Vec<Bytes>,
    pub(super) end: Option<Result<(), FillFailure>>,
}

impl Gathered {
    /// Takes what the transfer gave; how many bytes that was.
    pub(super) fn take(&mut self, next: Result<Option<Bytes>, upstream::Failure>) -> usize {
        match next {
            Ok(Some(bytes)) => {
                let length = bytes.len();
                self.chunks.push(bytes);
                return length;
            }
            Ok(None) => self.end = Some(Ok(())),
            Err(failure) => self.end = Some(Err(FillFailure::Upstream(failure))),
        }
        0
    }

    /// One chunk of many: one copy here saves one wake-up and one write for each reader.
    pub(super) fn merged(&mut self) -> Bytes {
        let mut chunks = std::mem::take(&mut self.chunks);
        if chunks.len() <= 1 {
            return chunks.pop().unwrap_or_default();
        }
        let mut all = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
        chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
        all.freeze()
    }
}
