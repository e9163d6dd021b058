//! Requests to answers: what a well-behaved registry says (OCI distribution-spec 1.1).

use crate::content::Content;
use crate::image::OCI_INDEX;
use crate::registry::{Referrers, Shared};
use crate::store::Manifest;
use crate::wire::{Answer, Request, Window, window};
use serde_json::json;

/// What a path below `/v2/` names.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Ping,
    Catalog,
    Manifest(&'a str, &'a str),
    Blob(&'a str, &'a str),
    Tags(&'a str),
    Referrers(&'a str, &'a str),
}

impl<'a> Route<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/v2")?;
        match rest {
            "" | "/" => return Some(Self::Ping),
            "/_catalog" => return Some(Self::Catalog),
            _ => {}
        }
        let (before, last) = rest.strip_prefix('/')?.rsplit_once('/')?;
        let (name, kind) = before.rsplit_once('/')?;
        match (kind, last) {
            ("manifests", reference) => Some(Self::Manifest(name, reference)),
            ("blobs", digest) => Some(Self::Blob(name, digest)),
            ("tags", "list") => Some(Self::Tags(name)),
            ("referrers", digest) => Some(Self::Referrers(name, digest)),
            _ => None,
        }
    }

    fn name(&self) -> Option<&'a str> {
        match self {
            Self::Ping | Self::Catalog => None,
            Self::Manifest(name, _) | Self::Blob(name, _) => Some(name),
            Self::Tags(name) | Self::Referrers(name, _) => Some(name),
        }
    }
}

/// The answer to `request` if nothing goes wrong.
pub(crate) fn answer(shared: &Shared, request: &Request) -> Answer {
    if shared.is_control(request) {
        return crate::control::answer(shared, request);
    }
    let auth = shared.auth.lock().clone();
    if request.path == "/token" {
        return auth.token(request);
    }
    if let Some(digest) = request.path.strip_prefix("/storage/") {
        let content = shared.store.lock().stored(digest);
        return content.map_or_else(
            || Answer::new(404, "no such object"),
            |content| {
                body(request, content, &format!("\"{digest}\""))
                    .with("content-type", "application/octet-stream")
            },
        );
    }
    let Some(route) = Route::parse(&request.path) else {
        return Answer::error(404, "NOT_FOUND", "no such page");
    };
    if let Err(refusal) = auth.check(request, route.name(), &shared.url) {
        return *refusal;
    }
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Answer::error(405, "UNSUPPORTED", "this registry only serves pulls");
    }
    serve(shared, request, &route).with("docker-distribution-api-version", "registry/2.0")
}

fn serve(shared: &Shared, request: &Request, route: &Route<'_>) -> Answer {
    match *route {
        Route::Ping => Answer::json(200, &json!({})),
        Route::Catalog => {
            let names = shared.store.lock().names();
            page(shared, request, names, |names| json!({"repositories": names}))
        }
        Route::Manifest(name, reference) => manifest(shared, request, name, reference),
        Route::Blob(name, digest) => blob(shared, request, name, digest),
        Route::Tags(name) => match shared.store.lock().tags(name) {
            Some(tags) => page(shared, request, tags, |tags| json!({"name": name, "tags": tags})),
            None => Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry"),
        },
        Route::Referrers(name, digest) => referrers(shared, request, name, digest),
    }
}

fn manifest(shared: &Shared, request: &Request, name: &str, reference: &str) -> Answer {
    let budget = shared.rate_limit.lock().as_mut().map(|limit| limit.spend(request));
    let headers = match budget {
        Some(Err(refusal)) => return *refusal,
        Some(Ok(headers)) => headers,
        None => Vec::new(),
    };
    let Some(held) = find_manifest(shared, name, reference) else {
        let store = shared.store.lock();
        return match store.has_repository(name) {
            true => Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            false => Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry"),
        };
    };
    let etag = format!("\"{}\"", held.digest);
    let mut answer = body(request, Content::Held(held.bytes), &etag)
        .with("content-type", held.media_type)
        .with("docker-content-digest", held.digest);
    answer.headers.extend(headers);
    answer
}

/// A stored manifest, or the index under the fallback tag (distribution-spec, "Referrers Tag
/// Schema") when that is how this registry lists referrers.
fn find_manifest(shared: &Shared, name: &str, reference: &str) -> Option<Manifest> {
    let store = shared.store.lock();
    let stored = store.manifest(name, reference);
    if stored.is_some() || *shared.referrers.lock() != Referrers::FallbackTag {
        return stored;
    }
    let listed = store.referrers(name, &reference.replacen("sha256-", "sha256:", 1));
    if listed.is_empty() {
        return None;
    }
    let bytes = bytes::Bytes::from(index(listed).to_string());
    let digest = crate::digest::sha256(&bytes);
    Some(Manifest { media_type: OCI_INDEX.into(), bytes, digest })
}

fn blob(shared: &Shared, request: &Request, name: &str, digest: &str) -> Answer {
    match shared.store.lock().blob(name, digest) {
        Some(content) => body(request, content, &format!("\"{digest}\""))
            .with("content-type", "application/octet-stream")
            .with("docker-content-digest", digest),
        None => Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
    }
}

fn referrers(shared: &Shared, request: &Request, name: &str, digest: &str) -> Answer {
    if *shared.referrers.lock() != Referrers::Api {
        return Answer::new(404, "404 page not found\n").with("content-type", "text/plain");
    }
    let mut listed = shared.store.lock().referrers(name, digest);
    let wanted = request.query_value("artifactType");
    if let Some(wanted) = &wanted {
        listed.retain(|descriptor| descriptor["artifactType"] == **wanted);
    }
    let answer = Answer::json(200, &index(listed)).with("content-type", OCI_INDEX);
    match wanted {
        Some(_) => answer.with("oci-filters-applied", "artifactType"),
        None => answer,
    }
}

fn index(manifests: Vec<serde_json::Value>) -> serde_json::Value {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})
}

/// The part of a sorted list that `n` and `last` ask for, with a `Link` to the next one
/// (distribution-spec, "Listing Tags"). The server's own page size holds too.
fn page(
    shared: &Shared,
    request: &Request,
    all: Vec<String>,
    wrap: impl Fn(&[String]) -> serde_json::Value,
) -> Answer {
    let last = request.query_value("last").unwrap_or_default();
    let asked = request.query_value("n").and_then(|n| n.parse::<usize>().ok());
    let size = asked.unwrap_or(usize::MAX).min(*shared.page_size.lock());
    let rest: Vec<String> = all.into_iter().filter(|item| *item > last).collect();
    let shown = &rest[..rest.len().min(size)];
    let answer = Answer::json(200, &wrap(shown));
    match shown.last() {
        Some(end) if shown.len() < rest.len() => {
            let link = format!("<{}?n={size}&last={end}>; rel=\"next\"", request.path);
            answer.with("link", link)
        }
        _ => answer,
    }
}

/// A body with validators and ranges: 200, 206, 304 or 416 (RFC 9110 §13 and §14).
fn body(request: &Request, content: Content, etag: &str) -> Answer {
    let size = content.size_bytes();
    let answer = |status| Answer::new(status, "").with("etag", etag).with("accept-ranges", "bytes");
    if request.header("if-none-match").is_some_and(|held| held == "*" || held.contains(etag)) {
        return answer(304);
    }
    let holds = request.header("if-range").is_none_or(|held| held == etag);
    let range = request.header("range").filter(|_| holds && request.method == "GET");
    let (mut answer, start, length) = match window(range, size) {
        Window::Whole => (answer(200), 0, size),
        Window::Part(start, length) => {
            let end = (start + length).saturating_sub(1);
            let named = format!("bytes {start}-{end}/{size}");
            (answer(206).with("content-range", named), start, length)
        }
        Window::Unsatisfiable => {
            return answer(416).with("content-range", format!("bytes */{size}"));
        }
    };
    (answer.content, answer.start, answer.length) = (content, start, length);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_they_should() {
        for (path, expected) in [
            ("/v2/", Some(Route::Ping)),
            ("/v2", Some(Route::Ping)),
            ("/v2/_catalog", Some(Route::Catalog)),
            ("/v2/a/manifests/1", Some(Route::Manifest("a", "1"))),
            ("/v2/a/b/c/blobs/sha256:x", Some(Route::Blob("a/b/c", "sha256:x"))),
            ("/v2/a/tags/list", Some(Route::Tags("a"))),
            ("/v2/manifests/manifests/tags", Some(Route::Manifest("manifests", "tags"))),
            ("/v2/a/referrers/sha256:x", Some(Route::Referrers("a", "sha256:x"))),
            ("/v2/a/other/1", None),
            ("/v1/", None),
        ] {
            assert_eq!(Route::parse(path), expected, "{path}");
        }
    }
}
