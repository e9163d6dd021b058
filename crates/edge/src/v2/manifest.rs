//! A manifest's answer. The warm path of every pull: no text is made here, the headers come ready
//! with the content.

use super::{Asked, conditions, headers};
use crate::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use plane::ManifestContent;

/// Room for the headers that every manifest has, and those that are put on later.
const HEADERS: usize = 12;

/// 200 with the exact bytes of the upstream, or 304. `Accept` selects nothing: what is stored is
/// what is served.
///
/// There is no `Cache-Control`: a cache in front that kept an answer would go on serving it after
/// access was withdrawn.
pub(super) fn answer(content: &ManifestContent, asked: &Asked<'_>) -> Response<Body> {
    let mut held = HeaderMap::with_capacity(HEADERS);
    held.insert(headers::CONTENT_DIGEST, content.digest_header.clone());
    held.insert(header::ETAG, content.etag_header.clone());
    let has_it = conditions::has_it(asked.headers, &content.etag_header);
    let body = if has_it {
        Body::empty()
    } else {
        held.insert(header::CONTENT_TYPE, content.media_type_header.clone());
        held.insert(header::CONTENT_LENGTH, HeaderValue::from(content.bytes.len()));
        if asked.is_head { Body::empty() } else { Body::full(content.bytes.clone()) }
    };
    let mut response = Response::new(body);
    *response.headers_mut() = held;
    if has_it {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response
}
