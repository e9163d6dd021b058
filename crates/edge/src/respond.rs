//! Bodies and error answers.
//!
//! Two things here are easy to get wrong. A body whose source fails must never end cleanly: the
//! error goes to hyper, which closes an HTTP/1.1 connection before its `Content-Length` is met (or
//! without the last chunk) and resets an HTTP/2 stream. And the reason of an error stands in the
//! JSON body, and on HTTP/1.1 in the status line as well, because containerd and the kubelet print
//! nothing else.

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use hyper::ext::ReasonPhrase;
use oci::{ErrorCode, error::ErrorBody};
use serde::Serialize;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Any error of a body's source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A reason phrase is no longer than this; some clients and proxies bound the status line.
const REASON_MAX_BYTES: usize = 300;

/// The body of an answer.
pub enum Body {
    /// Nothing.
    Empty,
    /// Bytes at hand.
    Full(Bytes),
    /// Bytes to come.
    Stream(StreamBody),
}

/// Bytes to come, checked against the length that was promised.
pub struct StreamBody {
    source: Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>,
    remaining_bytes: Option<u64>,
    ended: bool,
}

/// The source of a body gave fewer or more bytes than its length.
#[derive(Debug, thiserror::Error)]
#[error("the body's source gave {0} bytes than its length says")]
pub struct WrongLength(&'static str);

impl Body {
    /// Bytes at hand; [`Body::Empty`] if there are none.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }

    /// Bytes to come. With `length_bytes`, the answer has a `Content-Length`, and a source that
    /// gives fewer or more is an error; without, HTTP/1.1 sends chunks.
    pub fn stream<S, E>(source: S, length_bytes: Option<u64>) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        use futures_util::TryStreamExt as _;
        let source = Box::pin(source.map_err(Into::into));
        Self::Stream(StreamBody { source, remaining_bytes: length_bytes, ended: false })
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Stream(body) => write!(f, "Stream({:?} bytes left)", body.remaining_bytes),
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
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                *self = Self::Empty;
                Poll::Ready(Some(Ok(frame)))
            }
            Self::Stream(body) => body.poll_bytes(cx).map(|next| next.map(|r| r.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Stream(body) => body.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(body) => {
                body.remaining_bytes.map(SizeHint::with_exact).unwrap_or_default()
            }
        }
    }
}

impl StreamBody {
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

/// An error answer in the form of the distribution specification: `message` is one line for people
/// and, sanitised, the reason phrase; `detail` is for machines and may be `null`. `head` says that
/// the request was HEAD: the same answer, without the body.
pub fn error_response(
    status: StatusCode,
    code: ErrorCode,
    message: &str,
    detail: serde_json::Value,
    head: bool,
    retry_after: Option<Duration>,
) -> Response<Body> {
    let mut body = ErrorBody::new(code, message, "");
    for entry in &mut body.errors {
        entry.detail = detail.clone();
    }
    let mut response = json_response(status, "application/json", &body, head);
    set_reason(&mut response, message);
    if let Some(wait) = retry_after {
        // Rounded up: 0 would invite an immediate retry.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

/// An answer with `value` as JSON of the type `content_type`; with `head`, without the body.
pub fn json_response(
    status: StatusCode,
    content_type: &'static str,
    value: &impl Serialize,
    head: bool,
) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(text) => bytes_response(status, content_type, text, head),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            let text = "{\"errors\":[]}";
            bytes_response(StatusCode::INTERNAL_SERVER_ERROR, content_type, text, head)
        }
    }
}

/// An answer with bytes at hand; with `head`, their length and not the bytes.
pub fn bytes_response(
    status: StatusCode,
    content_type: &'static str,
    bytes: impl Into<Bytes>,
    head: bool,
) -> Response<Body> {
    let bytes = bytes.into();
    let length = bytes.len();
    let mut response = Response::new(if head { Body::Empty } else { Body::full(bytes) });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Makes `message` the reason phrase of an error answer on HTTP/1.1 (RFC 9112 §4). HTTP/2 has none.
pub fn set_reason(response: &mut Response<Body>, message: &str) {
    let reason = sanitised_reason(message);
    if response.status().as_u16() >= 400 && !reason.is_empty() {
        if let Ok(reason) = ReasonPhrase::try_from(reason) {
            response.extensions_mut().insert(reason);
        }
    }
}

/// `message` in printable ASCII: whatever else it holds becomes one space, so that nothing can end
/// the status line.
fn sanitised_reason(message: &str) -> String {
    let mut reason = String::with_capacity(message.len().min(REASON_MAX_BYTES));
    for c in message.chars() {
        let c = if c.is_ascii_graphic() { c } else { ' ' };
        if c == ' ' && (reason.is_empty() || reason.ends_with(' ')) {
            continue;
        }
        if reason.len() == REASON_MAX_BYTES {
            break;
        }
        reason.push(c);
    }
    reason.truncate(reason.trim_end().len());
    reason
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

    #[test]
    fn reasons_are_one_line_of_printable_ascii() {
        for (message, reason) in [
            ("denied by a/b: no", "denied by a/b: no"),
            ("a\r\nX-Evil: 1", "a X-Evil: 1"),
            ("  tab\tand \u{1b}[31m red  ", "tab and [31m red"),
            ("für é", "f r"),
            ("\u{0}\u{7f}", ""),
        ] {
            assert_eq!(sanitised_reason(message), reason, "{message:?}");
        }
        assert_eq!(sanitised_reason(&"x".repeat(1000)).len(), 300);
    }

    #[test]
    fn an_error_answer_says_it_in_json_and_in_the_status_line() {
        let detail = serde_json::json!({"decision": "7f3a"});
        let wait = Some(Duration::from_millis(1500));
        let get = error_response(
            StatusCode::FORBIDDEN,
            ErrorCode::Denied,
            "denied by x",
            detail.clone(),
            false,
            wait,
        );
        assert_eq!(get.headers()["retry-after"], "2");
        assert_eq!(get.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"denied by x");
        let Body::Full(bytes) = get.body() else { panic!("{:?}", get.body()) };
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        let expected =
            serde_json::json!([{"code": "DENIED", "message": "denied by x", "detail": detail}]);
        assert_eq!(value["errors"], expected);

        let head =
            error_response(StatusCode::FORBIDDEN, ErrorCode::Denied, "x", detail, true, None);
        assert!(matches!(head.body(), Body::Empty));
        assert_ne!(head.headers()["content-length"], "0");
    }
}
