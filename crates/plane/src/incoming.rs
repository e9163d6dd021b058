//! The body of a push, as the wire brings it: bytes to come, and what the client says of them.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use std::fmt;
use std::pin::Pin;

/// Why a body did not come to its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IncomingError {
    /// The client is gone, or broke its framing.
    #[error("the connection broke in the body of the request")]
    Broken,
    /// Nothing came for too long.
    #[error("the body of the request stood still for {0} s")]
    Stalled(u64),
}

/// What a body is read from.
type Source = Pin<Box<dyn Stream<Item = Result<Bytes, IncomingError>> + Send>>;

/// The body of a request that writes. It is read once, by whoever serves the request; what is not
/// read is the connection's business.
pub struct Incoming {
    source: Option<Source>,
    length_bytes: Option<u64>,
    content_type: Option<String>,
    content_range: Option<String>,
}

impl Incoming {
    /// No body: every read.
    pub fn none() -> Self {
        Self { source: None, length_bytes: Some(0), content_type: None, content_range: None }
    }

    /// A body. `length_bytes`: as `Content-Length` says, or `None` for chunks.
    pub fn new(
        source: impl Stream<Item = Result<Bytes, IncomingError>> + Send + 'static,
        length_bytes: Option<u64>,
    ) -> Self {
        let source: Source = Box::pin(source);
        Self { source: Some(source), length_bytes, content_type: None, content_range: None }
    }

    /// The `Content-Type` and `Content-Range` lines, as they stand.
    #[must_use]
    pub fn with_lines(self, content_type: Option<String>, content_range: Option<String>) -> Self {
        Self { content_type, content_range, ..self }
    }

    /// How many bytes the client says will come.
    pub fn length_bytes(&self) -> Option<u64> {
        self.length_bytes
    }

    /// `Content-Type`, as it stands.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// `Content-Range`, as it stands.
    pub fn content_range(&self) -> Option<&str> {
        self.content_range.as_deref()
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, IncomingError>> {
        self.source.as_mut()?.next().await
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("length_bytes", &self.length_bytes).finish_non_exhaustive()
    }
}
