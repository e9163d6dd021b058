//! What a push, a delete and a redirect are answered (distribution-spec, "Pushing Blobs", "Pushing
//! Manifests", "Content Management").
//!
//! Every `Location` is a path without scheme and host, so that it is right behind every proxy.

use super::{Asked, headers};
use crate::body::Body;
use crate::percent::{decode, push_encoded};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use oci::{Digest, Reference, Tag};
use plane::{Refusal, UploadId, UploadState};
use secrecy::{ExposeSecret, SecretString};

/// What became of a pushed manifest.
pub(super) struct Made {
    pub(super) digest: Digest,
    pub(super) subject: Option<Digest>,
    pub(super) tags: Vec<Tag>,
}

/// An upload session: 202 when it was begun or extended, 204 when it was only asked for.
pub(super) fn upload(state: &UploadState, asked: &Asked<'_>) -> Response<Body> {
    let status = if state.is_status { StatusCode::NO_CONTENT } else { StatusCode::ACCEPTED };
    let mut response = plain(status);
    put_session(response.headers_mut(), &state.name, state.id, state.received_bytes, asked);
    response
}

/// 201: the blob can be had at `Location`.
pub(super) fn blob(name: &str, digest: &Digest, asked: &Asked<'_>) -> Response<Body> {
    let mut response = plain(StatusCode::CREATED);
    let held = response.headers_mut();
    held.insert(header::LOCATION, location(name, &format!("blobs/{digest}"), asked));
    held.insert(headers::CONTENT_DIGEST, headers::value(digest.to_string()));
    response
}

/// 201: the manifest can be had at `Location`, as what it was pushed.
pub(super) fn manifest(
    name: &str,
    reference: &Reference,
    made: &Made,
    asked: &Asked<'_>,
) -> Response<Body> {
    let mut response = plain(StatusCode::CREATED);
    let held = response.headers_mut();
    held.insert(header::LOCATION, location(name, &format!("manifests/{reference}"), asked));
    held.insert(headers::CONTENT_DIGEST, headers::value(made.digest.to_string()));
    if let Some(subject) = &made.subject {
        held.insert(headers::OCI_SUBJECT, headers::value(subject.to_string()));
    }
    for tag in &made.tags {
        held.append(headers::OCI_TAG, headers::value(tag.to_string()));
    }
    response
}

/// An answer that its status says all of.
pub(super) fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// 307: the bytes are to be had at a URL that must not be kept, neither by caches nor by logs.
pub(super) fn elsewhere(digest: &Digest, url: &SecretString) -> Response<Body> {
    let Ok(mut location) = HeaderValue::from_str(url.expose_secret()) else {
        // A URL is printable, so this is a bug of the store that made it.
        tracing::error!(%digest, "the URL of a redirect is no header value");
        return plain(StatusCode::INTERNAL_SERVER_ERROR);
    };
    location.set_sensitive(true);
    let mut response = plain(StatusCode::TEMPORARY_REDIRECT);
    let held = response.headers_mut();
    held.insert(header::LOCATION, location);
    held.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    held.insert(headers::CONTENT_DIGEST, headers::value(digest.to_string()));
    response
}

/// Says with a refused chunk how far the session is, so that the client can go on from there.
pub(super) fn with_upload(
    mut response: Response<Body>,
    refusal: &Refusal,
    asked: &Asked<'_>,
) -> Response<Body> {
    if let Refusal::UploadRange { asked_name, id, received_bytes } = refusal {
        put_session(response.headers_mut(), asked_name, *id, *received_bytes, asked);
    }
    response
}

fn put_session(
    held: &mut HeaderMap,
    name: &str,
    id: UploadId,
    received_bytes: u64,
    asked: &Asked<'_>,
) {
    held.insert(header::LOCATION, location(name, &format!("blobs/uploads/{id}"), asked));
    // Of the last byte; an empty session says 0-0 too, as docker-registry does, because clients
    // take a missing line for an error.
    let last = received_bytes.saturating_sub(1);
    held.insert(header::RANGE, headers::value(format!("0-{last}")));
    held.insert(headers::UPLOAD_UUID, headers::value(id.to_string()));
}

/// A path below the name as the client wrote it, with the `ns` that it came by.
fn location(name: &str, rest: &str, asked: &Asked<'_>) -> HeaderValue {
    let mut path = format!("/v2/{name}/{rest}");
    let pairs = asked.query.unwrap_or_default().split('&');
    let ns = pairs.filter_map(|pair| pair.strip_prefix("ns=")).find(|value| !value.is_empty());
    if let Some(ns) = ns.and_then(|value| decode(value, true)) {
        path.push_str("?ns=");
        push_encoded(&mut path, &ns);
    }
    headers::value(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'r>(query: Option<&'r str>, headers: &'r HeaderMap) -> Asked<'r> {
        Asked { path: "/", query, headers, is_head: false }
    }

    #[test]
    fn a_session_says_where_it_is_and_how_far() {
        let headers = HeaderMap::new();
        let id = UploadId::parse("00000000000000000000000000000abc").unwrap();
        for (received_bytes, range) in
            [(0, "0-0"), (1, "0-0"), (2, "0-1"), (1 << 40, "0-1099511627775")]
        {
            let state =
                UploadState { name: "a/b".to_owned(), id, received_bytes, is_status: false };
            let response = upload(&state, &asked(Some("ns=reg.example:5&digest=x"), &headers));
            assert_eq!(response.status(), 202);
            let held = response.headers();
            let location = format!("/v2/a/b/blobs/uploads/{id}?ns=reg.example:5");
            assert_eq!(held["location"], location);
            assert_eq!(held["range"], range);
            assert_eq!(held["docker-upload-uuid"], id.to_string());
        }
    }

    #[test]
    fn a_manifest_says_all_that_became_of_it() {
        let headers = HeaderMap::new();
        let (digest, subject) = (Digest::sha256(b"m"), Digest::sha256(b"s"));
        let tags = ["a", "b"].map(|tag| Tag::parse(tag).unwrap()).to_vec();
        let made = Made { digest, subject: Some(subject), tags };
        let reference = Reference::Digest(digest);
        let response = manifest("a", &reference, &made, &asked(None, &headers));
        let held = response.headers();
        assert_eq!(held["location"], format!("/v2/a/manifests/{digest}"));
        assert_eq!(held["docker-content-digest"], digest.to_string());
        assert_eq!(held["oci-subject"], subject.to_string());
        let tags: Vec<_> = held.get_all("oci-tag").iter().collect();
        assert_eq!(tags, ["a", "b"]);
    }

    #[test]
    fn a_redirect_is_not_kept() {
        let digest = Digest::sha256(b"x");
        let url = SecretString::from("https://store.example/x?signature=secret");
        let response = elsewhere(&digest, &url);
        assert_eq!(response.status(), 307);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(response.headers()["location"].is_sensitive());
        assert!(!format!("{response:?}").contains("secret"));
    }
}
