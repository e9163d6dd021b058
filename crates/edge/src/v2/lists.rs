//! Lists: tags, referrers, the catalog. A page that is not the last names the next in `Link`
//! (RFC 8288), without scheme and host, so that it is right behind every proxy.

use super::{Asked, headers};
use crate::body::Body;
use crate::percent::{decode, push_encoded};
use crate::respond::json_response;
use http::{HeaderValue, Response, StatusCode, header};
use oci::{Descriptor, Digest, MediaType, Name, Tag};
use serde::Serialize;
use std::collections::BTreeMap;

const JSON: &str = "application/json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A page of tags.
pub(super) fn tags(
    name: &str,
    tags: &[Tag],
    more_after: Option<Tag>,
    asked: &Asked<'_>,
) -> Response<Body> {
    #[derive(Serialize)]
    struct Page<'a> {
        name: &'a str,
        tags: &'a [Tag],
    }
    let response = json_response(StatusCode::OK, JSON, &Page { name, tags }, asked.is_head);
    with_next(response, asked, more_after.as_ref().map(Tag::as_str))
}

/// A page of repositories.
pub(super) fn catalog(
    names: &[Name],
    more_after: Option<Name>,
    asked: &Asked<'_>,
) -> Response<Body> {
    #[derive(Serialize)]
    struct Page<'a> {
        repositories: &'a [Name],
    }
    let page = Page { repositories: names };
    let response = json_response(StatusCode::OK, JSON, &page, asked.is_head);
    with_next(response, asked, more_after.as_ref().map(Name::as_str))
}

fn with_next(
    mut response: Response<Body>,
    asked: &Asked<'_>,
    last: Option<&str>,
) -> Response<Body> {
    if let Some(Ok(link)) = last.map(|last| HeaderValue::try_from(next_link(asked, last))) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// The path as asked, which the pipeline has found good, with every parameter it came with but
/// `last`.
fn next_link(asked: &Asked<'_>, last: &str) -> String {
    let mut link = format!("<{}?last=", asked.path);
    push_encoded(&mut link, last);
    for pair in asked.query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // What is neither is not ours, and is not handed on.
        if let ("n" | "ns" | "artifactType", Some(value)) = (name, decode(value, true)) {
            link.push('&');
            link.push_str(name);
            link.push('=');
            push_encoded(&mut link, &value);
        }
    }
    link.push_str(">; rel=\"next\"");
    link
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Entry<'a>>,
}

/// A descriptor (image-spec `descriptor.md`) as it stands in a list of referrers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Runs<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Runs<'a> {
    os: &'a str,
    architecture: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
}

/// What refers to a digest, as an index. `filtered`: by artifact type.
pub(super) fn referrers(
    descriptors: &[Descriptor],
    filtered: bool,
    more_after: Option<Digest>,
    asked: &Asked<'_>,
) -> Response<Body> {
    debug_assert_eq!(INDEX, MediaType::OCI_INDEX.as_str());
    let manifests = descriptors.iter().map(entry).collect();
    let index = Index { schema_version: 2, media_type: INDEX, manifests };
    let mut response = json_response(StatusCode::OK, INDEX, &index, asked.is_head);
    if filtered {
        let held = response.headers_mut();
        held.insert(headers::FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    with_next(response, asked, more_after.map(|digest| digest.to_string()).as_deref())
}

fn entry(descriptor: &Descriptor) -> Entry<'_> {
    Entry {
        media_type: descriptor.media_type.as_str(),
        digest: descriptor.digest.to_string(),
        size: descriptor.size_bytes,
        platform: descriptor.platform.as_ref().map(|platform| Runs {
            os: &platform.os,
            architecture: &platform.architecture,
            variant: platform.variant.as_deref(),
        }),
        artifact_type: descriptor.artifact_type.as_deref(),
        annotations: &descriptor.annotations,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn asked<'r>(path: &'r str, query: Option<&'r str>, headers: &'r HeaderMap) -> Asked<'r> {
        Asked { path, query, headers, is_head: false }
    }

    #[test]
    fn the_next_page_keeps_what_was_asked() {
        let headers = HeaderMap::new();
        for (query, link) in [
            (None, "</v2/a/tags/list?last=1.0>; rel=\"next\""),
            (Some("n=2&last=0.9"), "</v2/a/tags/list?last=1.0&n=2>; rel=\"next\""),
            (
                Some("ns=reg.example%3A5000&n=2&x=%3E"),
                "</v2/a/tags/list?last=1.0&ns=reg.example:5000&n=2>; rel=\"next\"",
            ),
            (Some("n=%3E%22%0d"), "</v2/a/tags/list?last=1.0&n=%3E%22%0D>; rel=\"next\""),
        ] {
            let last = Tag::parse("1.0").unwrap();
            let asked = asked("/v2/a/tags/list", query, &headers);
            let response = tags("a", std::slice::from_ref(&last), Some(last.clone()), &asked);
            assert_eq!(response.headers()["link"], link, "{query:?}");
        }
        let response = tags("a", &[], None, &asked("/v2/a/tags/list", None, &headers));
        assert!(response.headers().get("link").is_none());
        assert_eq!(response.body().bytes_at_hand().unwrap(), "{\"name\":\"a\",\"tags\":[]}");
    }

    #[test]
    fn referrers_are_an_index() {
        let digest = Digest::sha256(b"x");
        let descriptor = Descriptor {
            media_type: MediaType::OCI_MANIFEST,
            digest,
            size_bytes: 7,
            platform: None,
            artifact_type: Some("a/b".to_owned()),
            annotations: [("k".to_owned(), "v".to_owned())].into(),
            is_foreign: false,
        };
        let headers = HeaderMap::new();
        let here = asked("/v2/a/referrers/x", Some("artifactType=a%2Fb&n=1"), &headers);
        let response = referrers(&[descriptor], true, Some(digest), &here);
        let link = response.headers()["link"].to_str().unwrap();
        assert!(link.starts_with("</v2/a/referrers/x?last=sha256:"), "{link}");
        assert!(link.ends_with("&artifactType=a/b&n=1>; rel=\"next\""), "{link}");
        assert_eq!(response.headers()["oci-filters-applied"], "artifactType");
        assert_eq!(response.headers()["content-type"], INDEX);
        let bytes = response.body().bytes_at_hand().unwrap();
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        let expected = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{
                "mediaType": MediaType::OCI_MANIFEST.as_str(),
                "digest": digest.to_string(),
                "size": 7,
                "artifactType": "a/b",
                "annotations": {"k": "v"},
            }],
        });
        assert_eq!(value, expected);
    }
}
