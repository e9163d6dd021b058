//! A blob's answer: whole, in part, in several parts, or only its headers.

use super::{Asked, conditions, headers, multipart};
use crate::body::Body;
use crate::errors;
use futures_util::TryStreamExt as _;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use oci::Digest;
use oci::range::{self, ByteRange, Selection};
use plane::{BlobAnswer, Method, Refusal, Trail};

/// Room for the headers that every blob has, and those that are put on later.
const HEADERS: usize = 12;

/// Answers with the blob, or what was asked of it.
pub(super) async fn answer(
    blob: BlobAnswer,
    asked: &Asked<'_>,
    trail: &mut Trail,
) -> Response<Body> {
    let digest = blob.digest().to_string();
    let etag = headers::value(format!("\"{digest}\""));
    let mut held = HeaderMap::with_capacity(HEADERS);
    held.insert(headers::CONTENT_DIGEST, headers::value(digest));
    held.insert(header::ETAG, etag.clone());
    held.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if conditions::has_it(asked.headers, &etag) {
        return with(StatusCode::NOT_MODIFIED, held, Body::empty());
    }
    let media_type = blob.media_type().as_str();
    let media_type = HeaderValue::from_str(media_type)
        .unwrap_or(const { HeaderValue::from_static("application/octet-stream") });
    held.insert(header::CONTENT_TYPE, media_type.clone());
    let Some(size_bytes) = blob.size_bytes() else {
        let body =
            if asked.is_head { Body::empty() } else { Body::stream(blob.stream(None), None) };
        return with(StatusCode::OK, held, body);
    };
    // HEAD is about the whole: Range is defined for GET alone (RFC 9110 §14.2).
    if !asked.is_head && conditions::range_counts(asked.headers, &etag) {
        match selection(asked.headers, size_bytes) {
            Selection::Whole => {}
            Selection::Unsatisfiable => {
                held.insert(header::CONTENT_RANGE, headers::value(format!("bytes */{size_bytes}")));
                return unsatisfiable(size_bytes, held, trail);
            }
            Selection::Ranges(ranges) => {
                return partial(blob, &ranges, size_bytes, held, &media_type);
            }
        }
    }
    held.insert(header::CONTENT_LENGTH, HeaderValue::from(size_bytes));
    if asked.is_head {
        return with(StatusCode::OK, held, Body::empty());
    }
    if size_bytes == 0 {
        return match checked_empty(&blob).await {
            Ok(()) => with(StatusCode::OK, held, Body::empty()),
            Err(refusal) => errors::refused(&refusal, Method::Get, trail),
        };
    }
    with(StatusCode::OK, held, Body::stream(blob.stream(None), Some(size_bytes)))
}

fn with(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What the request's `Range` selects. More than one such header is not a range.
fn selection(headers: &HeaderMap, size_bytes: u64) -> Selection {
    let mut lines = headers.get_all(header::RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Selection::Whole };
    match line.to_str().ok().and_then(range::parse) {
        Some(specs) => range::select(&specs, size_bytes),
        None => Selection::Whole,
    }
}

fn partial(
    blob: BlobAnswer,
    ranges: &[ByteRange],
    size_bytes: u64,
    mut held: HeaderMap,
    media_type: &HeaderValue,
) -> Response<Body> {
    if let [range] = ranges {
        held.insert(header::CONTENT_RANGE, headers::value(content_range(*range, size_bytes)));
        held.insert(header::CONTENT_LENGTH, HeaderValue::from(range.len()));
        let body = Body::stream(blob.stream(Some(*range)), Some(range.len()));
        return with(StatusCode::PARTIAL_CONTENT, held, body);
    }
    let plan = multipart::Plan::new(ranges, size_bytes, media_type);
    held.insert(header::CONTENT_TYPE, plan.content_type());
    held.insert(header::CONTENT_LENGTH, HeaderValue::from(plan.length_bytes()));
    let length_bytes = plan.length_bytes();
    let source = plan.stream(move |range| blob.stream(Some(range)));
    with(StatusCode::PARTIAL_CONTENT, held, Body::stream(source, Some(length_bytes)))
}

/// `bytes 0-499/1000` (RFC 9110 §14.4).
pub(super) fn content_range(range: ByteRange, size_bytes: u64) -> String {
    format!("bytes {}-{}/{size_bytes}", range.start, range.end.saturating_sub(1))
}

fn unsatisfiable(size_bytes: u64, held: HeaderMap, trail: &mut Trail) -> Response<Body> {
    let mut response = errors::unsatisfiable(size_bytes, trail);
    for (name, value) in held {
        if let Some(name) = name.filter(|name| name != header::CONTENT_TYPE) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// An empty body cannot be broken off later, so it is settled before: either the digest is that of
/// nothing, or the source must say that all is well.
async fn checked_empty(blob: &BlobAnswer) -> Result<(), Refusal> {
    if *blob.digest() == Digest::of(blob.digest().algorithm(), b"") {
        return Ok(());
    }
    let wrong =
        |reason: String| Refusal::Indeterminate { reason, retry_after: None, is_rate_limit: false };
    let read: Result<Option<_>, _> = blob.stream(None).try_next().await;
    Err(match read {
        Err(error) => wrong(error.to_string()),
        Ok(_) => wrong(format!("no bytes hash to {}", blob.digest())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(lines: &[&'static str]) -> Selection {
        let line = |line: &&'static str| (header::RANGE, HeaderValue::from_static(line));
        selection(&lines.iter().map(line).collect(), 100)
    }

    #[test]
    fn ranges_that_cannot_be_read_ask_for_everything() {
        assert_eq!(select(&[]), Selection::Whole);
        assert_eq!(select(&["bytes=0-1", "bytes=2-3"]), Selection::Whole);
        assert_eq!(select(&["lines=1-2"]), Selection::Whole);
        assert_eq!(select(&["bytes=100-"]), Selection::Unsatisfiable);
        let last = ByteRange { start: 90, end: 100 };
        assert_eq!(select(&["bytes=-10"]), Selection::Ranges(vec![last]));
        assert_eq!(content_range(last, 100), "bytes 90-99/100");
    }
}
