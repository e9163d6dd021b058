//! Requests whose framing or host cannot be trusted are refused before anything is routed by them:
//! what is in front of us may have read them otherwise (RFC 9112 §3.2, §6.3).

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Response, Version, header};

/// Why a request must not be answered as it stands; `None` if it may.
///
/// hyper takes `Content-Length` away where `Transfer-Encoding` is too, so that a request with both
/// cannot be told from one with the latter alone. Reads have no body, so there it is refused. Of
/// writes, which clients do send in chunks, the length that counts is the chunks', and hyper (since
/// 1.12) ends the connection after the answer where both lines stood (RFC 9112 §6.3).
pub(crate) fn problem(parts: &Parts) -> Option<&'static str> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Some("the request has more than one Host line; send one"),
        (None, _) if parts.version == Version::HTTP_11 => {
            return Some("the request has no Host line; HTTP/1.1 requests need one");
        }
        (Some(host), None) if !is_host(host) => {
            return Some("the Host line of the request is no host name");
        }
        _ => {}
    }
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    if is_read && parts.headers.contains_key(header::TRANSFER_ENCODING) {
        return Some("a GET or HEAD request has no body; send it without Transfer-Encoding");
    }
    None
}

/// A host with or without a port, or nothing at all, which stands for "no authority".
fn is_host(value: &HeaderValue) -> bool {
    let text = value.to_str().unwrap_or("@");
    text.is_empty() || (!text.contains('@') && text.parse::<Authority>().is_ok())
}

/// Ends an HTTP/1 connection after this answer. HTTP/2 frames by itself and knows no such header.
pub(crate) fn set_close<B>(version: Version, response: &mut Response<B>) {
    if version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn refused(method: Method, version: Version, lines: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).version(version).uri("/v2/");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        problem(&request.body(()).unwrap().into_parts().0).is_some()
    }

    #[test]
    fn a_request_names_its_host_once() {
        let get = |version, lines: &[_]| refused(Method::GET, version, lines);
        assert!(get(Version::HTTP_11, &[]));
        assert!(!get(Version::HTTP_10, &[]));
        assert!(!get(Version::HTTP_2, &[]));
        assert!(!get(Version::HTTP_11, &[("host", "")]));
        assert!(!get(Version::HTTP_11, &[("host", "[::1]:5050")]));
        assert!(get(Version::HTTP_11, &[("host", "a"), ("host", "a")]));
        for bad in ["a b", "u@a", "a/b", "a,b c"] {
            assert!(get(Version::HTTP_11, &[("host", bad)]), "{bad}");
        }
    }

    #[test]
    fn a_read_is_not_framed() {
        let lines = [("host", "a"), ("transfer-encoding", "chunked")];
        assert!(refused(Method::GET, Version::HTTP_11, &lines));
        assert!(refused(Method::HEAD, Version::HTTP_11, &lines));
        assert!(!refused(Method::POST, Version::HTTP_11, &lines));
    }
}
