//! The body of a request, on its way to the plane; and what becomes of one that nobody read.
//!
//! A push can be refused before its body has come. A little of it is read and dropped, so that
//! the connection can carry the next request; with more, the answer says that the connection ends.
//! A client that waits for `100 Continue` is never told to go on by a refusal: hyper says that when
//! the body is first asked for, and here nobody asks.

use bytes::Bytes;
use futures_util::Stream;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming as Wire;
use parking_lot::Mutex;
use plane::{Incoming, IncomingError};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// The most of an unwanted body that is read to keep a connection.
const DRAIN_MAX_BYTES: u64 = 64 << 10;
/// How long an answer waits for it.
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// What the plane left of a body.
enum Rest {
    /// The plane may still read it.
    Open,
    /// It cannot be read, or not without telling the client to send it.
    Lost,
    /// It can be read.
    Left(Wire),
    /// Nothing.
    Nothing,
}

type Shared = Arc<Mutex<Rest>>;

/// What becomes of the body of a request, once there is an answer.
pub(super) struct Fate(Option<Shared>);

impl Fate {
    /// Reads what is left, if it is little. Whether the connection cannot carry another request
    /// after the answer.
    pub(super) async fn ends_connection(self) -> bool {
        let Some(shared) = self.0 else { return false };
        let rest = std::mem::replace(&mut *shared.lock(), Rest::Lost);
        match rest {
            Rest::Nothing => false,
            Rest::Open | Rest::Lost => true,
            Rest::Left(body) => {
                let drained = tokio::time::timeout(DRAIN_TIME, drain(body)).await;
                !drained.unwrap_or(false)
            }
        }
    }
}

/// Whether the body came to its end, and was no more than a little.
async fn drain(mut body: Wire) -> bool {
    let mut left_bytes = DRAIN_MAX_BYTES;
    if body.size_hint().lower() > left_bytes {
        return false;
    }
    while let Some(next) = body.frame().await {
        let Ok(frame) = next else { return false };
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(left) = left_bytes.checked_sub(bytes) else { return false };
        left_bytes = left;
    }
    true
}

/// The body as the plane takes it. `stall_timeout`: the longest wait for the next bytes.
///
/// # Errors
/// What is wrong with the lines that describe it, for an answer 400.
pub(super) fn of(
    body: Wire,
    parts: &Parts,
    stall_timeout: Duration,
) -> Result<(Incoming, Fate), &'static str> {
    if body.is_end_stream() && matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok((Incoming::none(), Fate(None)));
    }
    let (content_type, content_range) = lines(&parts.headers)?;
    if body.is_end_stream() {
        return Ok((Incoming::none().with_lines(content_type, content_range), Fate(None)));
    }
    let length_bytes = body.size_hint().exact();
    let rest = Arc::new(Mutex::new(Rest::Open));
    let source = Source {
        body: Some(body),
        rest: rest.clone(),
        stall_timeout,
        stall: None,
        is_waiting: false,
        is_asked_for: !parts.headers.contains_key(header::EXPECT),
        is_reset: parts.version >= Version::HTTP_2,
    };
    let incoming = Incoming::new(source, length_bytes).with_lines(content_type, content_range);
    Ok((incoming, Fate(Some(rest))))
}

type Line = Option<String>;

fn lines(headers: &HeaderMap) -> Result<(Line, Line), &'static str> {
    let content_type = only(headers, &header::CONTENT_TYPE)
        .ok_or("the request has more than one Content-Type line, or one that is no text")?;
    let content_range = only(headers, &header::CONTENT_RANGE)
        .ok_or("the request has more than one Content-Range line, or one that is no text")?;
    Ok((content_type, content_range))
}

/// The one line of this name, if there is one; `None`: there are several, or it is no text.
fn only(headers: &HeaderMap, name: &HeaderName) -> Option<Line> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Some(None) };
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok().map(|text| Some(text.to_owned()))
}

/// The bytes of a body, with an end to waiting for them.
struct Source {
    /// Until its end, or its break.
    body: Option<Wire>,
    rest: Shared,
    stall_timeout: Duration,
    stall: Option<Pin<Box<Sleep>>>,
    /// The last poll found nothing, and `stall` runs.
    is_waiting: bool,
    /// The client sends without waiting, or was told to.
    is_asked_for: bool,
    /// A stream of HTTP/2, which ends without its connection.
    is_reset: bool,
}

impl Source {
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stall = match &mut self.stall {
            Some(stall) => stall,
            empty => empty.insert(Box::pin(tokio::time::sleep(self.stall_timeout))),
        };
        if !self.is_waiting {
            self.is_waiting = true;
            stall.as_mut().reset(Instant::now() + self.stall_timeout);
        }
        stall.as_mut().poll(cx)
    }
}

impl Stream for Source {
    type Item = Result<Bytes, IncomingError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            this.is_asked_for = true;
            let next = match Pin::new(body).poll_frame(cx) {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    ready!(this.poll_stalled(cx));
                    this.body = None;
                    let seconds = this.stall_timeout.as_secs();
                    return Poll::Ready(Some(Err(IncomingError::Stalled(seconds))));
                }
            };
            this.is_waiting = false;
            match next {
                // Trailers say nothing that anybody here wants to know.
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "the body of a request broke off");
                    this.body = None;
                    return Poll::Ready(Some(Err(IncomingError::Broken)));
                }
                None => {
                    this.body = None;
                    *this.rest.lock() = Rest::Nothing;
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut rest = self.rest.lock();
        match self.body.take() {
            // It ended, or broke.
            None if matches!(*rest, Rest::Nothing) => {}
            None => *rest = Rest::Lost,
            Some(body) if self.is_reset || body.is_end_stream() => *rest = Rest::Nothing,
            Some(_) if !self.is_asked_for => *rest = Rest::Lost,
            Some(body) => *rest = Rest::Left(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_line_stands_once() {
        let held = |values: &[&'static [u8]]| {
            let line = |value: &&'static [u8]| {
                (header::CONTENT_RANGE, HeaderValue::from_bytes(value).unwrap())
            };
            only(&values.iter().map(line).collect(), &header::CONTENT_RANGE)
        };
        assert_eq!(held(&[]), Some(None));
        assert_eq!(held(&[b"0-1"]), Some(Some("0-1".to_owned())));
        assert_eq!(held(&[b"0-1", b"0-1"]), None);
        assert_eq!(held(&[b"\xff"]), None);
    }
}
