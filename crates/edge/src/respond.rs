//! Error answers, and answers that are at hand.
//!
//! The reason of an error stands in the JSON body, and on HTTP/1.1 in the status line as well,
//! because containerd and the kubelet print nothing else.

use crate::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use oci::{ErrorCode, error::ErrorBody};
use serde::Serialize;
use std::time::Duration;

/// A reason phrase is no longer than this; some clients and proxies bound the status line.
const REASON_MAX_BYTES: usize = 300;

/// An error answer in the form of the distribution specification: `message` is one line for people
/// and, sanitised, the reason phrase; `detail` is for machines and may be `null`. `head` says that
/// the request was HEAD: the same answer, without the body.
pub(crate) fn error_response(
    status: StatusCode,
    code: ErrorCode,
    message: &str,
    detail: serde_json::Value,
    head: bool,
    retry_after: Option<Duration>,
) -> Response<Body> {
    errors_response(status, code, &[message.to_owned()], detail, head, retry_after)
}

/// As [`error_response`], with several reasons: the first is the one that most clients print.
pub(crate) fn errors_response(
    status: StatusCode,
    code: ErrorCode,
    messages: &[String],
    detail: serde_json::Value,
    head: bool,
    retry_after: Option<Duration>,
) -> Response<Body> {
    let first = messages.first().map(String::as_str).unwrap_or_default();
    let mut body = ErrorBody::new(code, first, "");
    for message in messages.iter().skip(1) {
        body.errors.extend(ErrorBody::new(code, message, "").errors);
    }
    for entry in &mut body.errors {
        entry.detail = detail.clone();
    }
    let mut response = json_response(status, "application/json", &body, head);
    set_reason(&mut response, first);
    if let Some(wait) = retry_after {
        set_retry_after(&mut response, wait);
    }
    response
}

/// When to ask again. Rounded up: 0 would invite an immediate retry.
pub(crate) fn set_retry_after(response: &mut Response<Body>, wait: Duration) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
}

/// An answer with `value` as JSON of the type `content_type`; with `head`, without the body.
pub(crate) fn json_response(
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
pub(crate) fn bytes_response(
    status: StatusCode,
    content_type: &'static str,
    bytes: impl Into<Bytes>,
    head: bool,
) -> Response<Body> {
    let bytes = bytes.into();
    let length = bytes.len();
    let mut response = Response::new(if head { Body::empty() } else { Body::full(bytes) });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Makes `message` the reason phrase of an error answer on HTTP/1.1 (RFC 9112 §4). HTTP/2 has none.
pub(crate) fn set_reason(response: &mut Response<Body>, message: &str) {
    let reason = one_line(message);
    if response.status().as_u16() < 400 || reason.is_empty() {
        return;
    }
    if let Ok(reason) = ReasonPhrase::try_from(reason) {
        response.extensions_mut().insert(reason);
    }
}

/// `message` in printable ASCII: whatever else it holds becomes one space, so that nothing can end
/// the status line or a header. At most 300 bytes.
pub(crate) fn one_line(message: &str) -> String {
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

    #[test]
    fn reasons_are_one_line_of_printable_ascii() {
        for (message, reason) in [
            ("denied by a/b: no", "denied by a/b: no"),
            ("a\r\nX-Evil: 1", "a X-Evil: 1"),
            ("  tab\tand \u{1b}[31m red  ", "tab and [31m red"),
            ("für é", "f r"),
            ("\u{0}\u{7f}", ""),
        ] {
            assert_eq!(one_line(message), reason, "{message:?}");
        }
        assert_eq!(one_line(&"x".repeat(1000)).len(), 300);
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
        let bytes = get.body().bytes_at_hand().unwrap();
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        let expected =
            serde_json::json!([{"code": "DENIED", "message": "denied by x", "detail": detail}]);
        assert_eq!(value["errors"], expected);

        let head =
            error_response(StatusCode::FORBIDDEN, ErrorCode::Denied, "x", detail, true, None);
        assert!(head.body().bytes_at_hand().is_none());
        assert_ne!(head.headers()["content-length"], "0");
    }
}
