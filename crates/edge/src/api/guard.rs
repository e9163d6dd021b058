//! What a browser must not be tricked into: a page of somebody else sends requests from the
//! operator's own machine, where the address alone says nothing.
//!
//! Browsers name the page in `Origin` on everything that changes something (Fetch Standard,
//! "append a request `Origin` header"), and cannot send JSON across sites without asking first.

use super::Call;
use super::endpoints::{Endpoint, Operation};
use super::problem::Problem;
use crate::server::{Connection, PublicBase, read_body};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use hyper::body::Incoming;
use std::net::IpAddr;
use std::time::Duration;

/// No request but a long list of references has more to say.
const BODY_MAX_BYTES: usize = 64 << 10;

/// A job's references, of which there may be thousands.
const REFERENCES_MAX_BYTES: usize = 1 << 20;

/// How long a small body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Refuses what comes from another site's page, and bodies that are no JSON.
pub(super) fn check(call: &Call<'_>, endpoint: &Endpoint) -> Result<(), Problem> {
    if endpoint.method == "GET" {
        return Ok(());
    }
    let is_of_machine = matches!(endpoint.operation, Operation::Backup | Operation::Migrate);
    if is_of_machine && !call.peer.is_operator {
        let detail = "this names files of the plane's own machine: ask there, by the socket in the \
                      data directory";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    if !call.peer.is_operator && !is_own_page(call.connection, call.parts) {
        let detail = "this request comes from the page of another site; use the command line";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    if endpoint.body.is_some() && !is_json(&call.parts.headers) {
        let detail = "send the body as Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(())
}

/// Reads the body, if the endpoint has one.
pub(super) async fn body(body: Incoming, endpoint: &Endpoint) -> Result<Bytes, Problem> {
    if endpoint.body.is_none() {
        return Ok(Bytes::new());
    }
    let max_bytes = match endpoint.operation {
        Operation::Prefetch | Operation::Copy => REFERENCES_MAX_BYTES,
        _ => BODY_MAX_BYTES,
    };
    Ok(read_body(body, max_bytes, BODY_TIMEOUT).await?)
}

/// No page at all, or one of ours: under a public URL, or under the address that the request went
/// to, if that is an IP address or localhost. Another name would not do, because whoever owns a name
/// can let it point here (DNS rebinding).
fn is_own_page(connection: &Connection, parts: &Parts) -> bool {
    let Some(origin) = parts.headers.get(header::ORIGIN) else { return true };
    let Some(origin) = origin.to_str().ok().and_then(|text| PublicBase::parse(text).ok()) else {
        return false;
    };
    let is_public = connection.listener.public_urls.contains(&origin);
    let is_here = || {
        is_fixed_host(&origin.host) && origin == connection.public_base(&parts.uri, &parts.headers)
    };
    is_public || is_here()
}

/// Whether nobody can make `host` (with or without a port) mean something else.
fn is_fixed_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Address, ForwardedStyle, ListenerInfo};
    use http::{HeaderValue, Request};
    use std::sync::Arc;

    fn own(public: &[&str], host: &str, origin: Option<&str>) -> bool {
        let local = "127.0.0.1:5050".parse().unwrap();
        let listener = ListenerInfo {
            address: Address::Tcp(local),
            tls: false,
            http2: false,
            trusted_proxies: Vec::new(),
            forwarded: ForwardedStyle::default(),
            proxy_protocol: false,
            public_urls: public.iter().map(|url| PublicBase::parse(url).unwrap()).collect(),
        };
        let listener = Arc::new(listener);
        let connection = Connection {
            id: 1,
            peer: local,
            local,
            listener,
            tls: None,
            unix: None,
            body_stall_timeout: Duration::from_secs(60),
        };
        let mut request = Request::post("/api/v1/pins").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        is_own_page(&connection, &request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn pages_of_others_are_refused() {
        let public = &["https://reg.example"][..];
        assert!(own(&[], "127.0.0.1:5050", None));
        assert!(own(&[], "127.0.0.1:5050", Some("http://127.0.0.1:5050")));
        assert!(own(&[], "localhost:5050", Some("http://localhost:5050")));
        assert!(own(&[], "[::1]:5050", Some("http://[::1]:5050")));
        assert!(own(public, "reg.example", Some("https://reg.example")));
        for (public, host, origin) in [
            (&[][..], "127.0.0.1:5050", "https://evil.example"),
            (&[], "127.0.0.1:5050", "http://127.0.0.1:8080"),
            (&[], "127.0.0.1:5050", "null"),
            (&[], "127.0.0.1:5050", ""),
            // A name that was made to point here after its page was loaded.
            (&[], "evil.example:5050", "http://evil.example:5050"),
            (public, "evil.example", "http://evil.example"),
        ] {
            assert!(!own(public, host, Some(origin)), "{host} {origin}");
        }
    }

    #[test]
    fn json_is_said_in_one_way() {
        for (value, is) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/jsonp", false),
        ] {
            let line = (header::CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_json(&[line].into_iter().collect()), is, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
