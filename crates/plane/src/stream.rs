//! Bytes on their way to a client.

use bytes::Bytes;
use futures_util::Stream;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Why a body broke off. The client must never see a clean end after one.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[source] blobs::Error),
    /// The download it follows failed.
    #[error("the download failed: {0}")]
    Fill(String),
    /// What is sent was forbidden while it was sent.
    #[error("access to it was withdrawn while it was sent")]
    Withdrawn,
}

/// The body of a blob, or of a range of it. Dropping it is how a client leaves.
pub struct ByteStream(Pin<Box<dyn Stream<Item = Result<Bytes, StreamError>> + Send>>);

impl ByteStream {
    pub(crate) fn new(
        source: impl Stream<Item = Result<Bytes, StreamError>> + Send + 'static,
    ) -> Self {
        Self(Box::pin(source))
    }
}

impl Stream for ByteStream {
    type Item = Result<Bytes, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ByteStream")
    }
}
