//! The body of an answer.
//!
//! Two things here are easy to get wrong. A body whose source fails must never end cleanly: the
//! error goes to hyper, which closes an HTTP/1.1 connection before its `Content-Length` is met (or
//! without the last chunk) and resets an HTTP/2 stream. And the record of a request must say how its
//! answer ended, so the trail travels with the body and ends with it.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http_body::{Frame, SizeHint};
use plane::{Trail, TrailEnd};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Any error of a body's source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub struct Body {
    content: Content,
    /// Boxed: bodies are moved several times on their way through hyper.
    trail: Option<Box<Trail>>,
}

enum Content {
    Empty,
    Full(Bytes),
    Stream(StreamContent),
}

/// Bytes to come, checked against the length that was promised.
struct StreamContent {
    source: Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>,
    remaining_bytes: Option<u64>,
    ended: bool,
}

/// The source of a body gave fewer or more bytes than its length.
#[derive(Debug, thiserror::Error)]
#[error("the body's source gave {0} bytes than its length says")]
pub struct WrongLength(&'static str);

impl Body {
    /// Nothing.
    pub fn empty() -> Self {
        Self { content: Content::Empty, trail: None }
    }

    /// Bytes at hand.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let content = if bytes.is_empty() { Content::Empty } else { Content::Full(bytes) };
        Self { content, trail: None }
    }

    /// Bytes to come. With `length_bytes`, the answer has a `Content-Length`, and a source that
    /// gives fewer or more is an error; without, HTTP/1.1 sends chunks.
    pub fn stream<S, E>(source: S, length_bytes: Option<u64>) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let source = Box::pin(source.map_err(Into::into));
        let content = StreamContent { source, remaining_bytes: length_bytes, ended: false };
        Self { content: Content::Stream(content), trail: None }
    }

    /// The bytes, if they are all at hand.
    pub fn bytes_at_hand(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Full(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Lets the trail end with this body: complete when the last byte was handed over, broken when
    /// the source failed, cancelled when the body is dropped before.
    pub fn traced(mut self, trail: Trail) -> Self {
        self.trail = Some(Box::new(trail));
        if matches!(self.content, Content::Empty) {
            self.finish(TrailEnd::Complete);
        }
        self
    }

    fn finish(&mut self, end: TrailEnd) {
        if let Some(mut trail) = self.trail.take() {
            trail.finish(end);
        }
    }

    /// Notes what is about to be handed over.
    fn note(&mut self, next: &Option<Result<Bytes, BoxError>>, is_last: bool) {
        let Some(trail) = &mut self.trail else { return };
        match next {
            Some(Ok(bytes)) => trail.sent(bytes.len() as u64),
            Some(Err(error)) => trail.set_reason(&error.to_string()),
            None => {}
        }
        match next {
            Some(Err(_)) => self.finish(TrailEnd::Broken),
            _ if is_last => self.finish(TrailEnd::Complete),
            _ => {}
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Empty => f.write_str("Empty"),
            Content::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Content::Stream(body) => write!(f, "Stream({:?} bytes left)", body.remaining_bytes),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let (next, is_last) = match &mut this.content {
            Content::Empty => return Poll::Ready(None),
            Content::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.content = Content::Empty;
                (Some(Ok(bytes)), true)
            }
            Content::Stream(body) => {
                let next = ready!(body.poll_bytes(cx));
                // hyper asks no further once the promised length is met.
                (next, body.ended || body.remaining_bytes == Some(0))
            }
        };
        this.note(&next, is_last);
        Poll::Ready(next.map(|result| result.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Full(_) => false,
            Content::Stream(body) => body.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(body) => {
                body.remaining_bytes.map(SizeHint::with_exact).unwrap_or_default()
            }
        }
    }
}

impl StreamContent {
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = ready!(self.source.as_mut().poll_next(cx));
        let next = match next {
            Some(Ok(bytes)) => self.count(bytes).map(Some),
            Some(Err(error)) => Err(error),
            None if self.remaining_bytes.is_some_and(|left| left > 0) => {
                Err(WrongLength("fewer").into())
            }
            None => Ok(None),
        };
        self.ended = !matches!(next, Ok(Some(_)));
        Poll::Ready(next.transpose())
    }

    fn count(&mut self, bytes: Bytes) -> Result<Bytes, BoxError> {
        if let Some(left) = &mut self.remaining_bytes {
            *left = left.checked_sub(bytes.len() as u64).ok_or(WrongLength("more"))?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn chunks(sizes: &[usize], length: Option<u64>) -> Body {
        let chunks: Vec<Result<Bytes, BoxError>> =
            sizes.iter().map(|size| Ok(Bytes::from(vec![0; *size]))).collect();
        Body::stream(futures_util::stream::iter(chunks), length)
    }

    #[tokio::test]
    async fn a_source_must_keep_the_length_it_promised() {
        for (sizes, length, good) in [
            (vec![3, 4], Some(7), true),
            (vec![3, 4], None, true),
            (vec![], Some(0), true),
            (vec![3, 4], Some(8), false),
            (vec![3, 4], Some(6), false),
            (vec![1], Some(0), false),
        ] {
            let collected = chunks(&sizes, length).collect().await;
            assert_eq!(collected.is_ok(), good, "{sizes:?} {length:?}");
        }
    }

    #[tokio::test]
    async fn after_an_error_nothing_follows() {
        let source: Vec<Result<Bytes, BoxError>> =
            vec![Ok(Bytes::from("a")), Err("broken".into()), Ok(Bytes::from("b"))];
        let mut body = Body::stream(futures_util::stream::iter(source), None);
        assert!(body.frame().await.unwrap().is_ok());
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }
}
