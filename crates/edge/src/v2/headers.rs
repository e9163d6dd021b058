//! Header names and values of the distribution API, and `Cache-Status` (RFC 9211).

use crate::respond::one_line;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use plane::CacheState;
use policy::DecisionId;
use telemetry::CacheStatus;

pub(super) const API_VERSION: HeaderName =
    HeaderName::from_static("docker-distribution-api-version");
pub(super) const REGISTRY_2_0: HeaderValue = HeaderValue::from_static("registry/2.0");
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
pub(super) const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
pub(super) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(super) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(super) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Says how the cache came by an answer, and how long ago the upstream last confirmed it.
///
/// RFC 9211 §2: `hit` and `fwd` exclude each other; `stored` and `collapsed` go with `fwd`. A tag
/// is revalidated by HEAD, whose answer is 200, so there is no `fwd-status=304` to tell; what is
/// served though it is stale says so in `detail`.
pub(super) fn put_cache(headers: &mut HeaderMap, cache: CacheState) {
    let value = match cache.status {
        CacheStatus::None => return,
        CacheStatus::Hit => HeaderValue::from_static("lockgate; hit"),
        CacheStatus::Miss => HeaderValue::from_static("lockgate; fwd=miss; stored"),
        CacheStatus::Joined => HeaderValue::from_static("lockgate; fwd=miss; stored; collapsed"),
        CacheStatus::Stale => HeaderValue::from_static("lockgate; hit; detail=stale"),
        CacheStatus::Revalidated => {
            HeaderValue::from_static("lockgate; fwd=stale; detail=revalidated")
        }
        CacheStatus::Uncached => HeaderValue::from_static("lockgate; fwd=miss; detail=uncached"),
    };
    headers.insert(CACHE_STATUS, value);
    if let Some(age) = cache.age {
        headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    }
}

/// A value made of text that we wrote ourselves.
pub(super) fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
}

const DECISION: HeaderName = HeaderName::from_static("lockgate-decision");
/// Warnings of one answer.
const WARNINGS_MAX: usize = 4;

/// Which decision the answer is, for `lockgate why`.
pub(super) fn put_decision(headers: &mut HeaderMap, decision: Option<DecisionId>) {
    if let Some(id) = decision {
        headers.insert(DECISION, value(id.to_string()));
    }
}

/// What the client is to be warned of (distribution-spec, "Warnings"; RFC 7234 §5.5).
pub(super) fn put_warnings(headers: &mut HeaderMap, warnings: &[String]) {
    for warning in warnings.iter().take(WARNINGS_MAX) {
        let mut text = String::from("299 - \"");
        // As short as a reason: proxies in front bound the whole head.
        for c in one_line(warning).chars() {
            if matches!(c, '"' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('"');
        headers.append(header::WARNING, value(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted_and_bounded() {
        let mut headers = HeaderMap::new();
        let one = "p/r: image \"a\\b\" é\r\nX: y".to_owned();
        put_warnings(&mut headers, &vec![one; 9]);
        let all: Vec<_> = headers.get_all(header::WARNING).iter().collect();
        assert_eq!(all.len(), WARNINGS_MAX);
        assert_eq!(all[0].to_str().unwrap(), "299 - \"p/r: image \\\"a\\\\b\\\" X: y\"");
        let mut headers = HeaderMap::new();
        put_warnings(&mut headers, &["\"".repeat(10_000)]);
        assert!(headers[header::WARNING].len() < 700);
    }
}
