//! Manifests, whole and checked, and what HEAD says of manifests and blobs.

use crate::classify;
use crate::endpoint::Endpoint;
use crate::failover::Tour;
use crate::failure::Failure;
use crate::origin;
use crate::request::{self, Answer, Ask};
use crate::settings::Class;
use crate::upstream::Shared;
use crate::wire;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use oci::{Digest, Manifest, MediaType, Reference};
use std::time::Duration;

/// A manifest of more bytes than this is refused; the distribution-spec asks registries for 4 MiB.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// Where registries name the digest of what they send (distribution-spec, "Pulling manifests").
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest whose digest was computed from its bytes and found right.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestAnswer {
    /// Exactly what the upstream sent.
    pub bytes: Bytes,
    /// What the upstream or, failing that, the manifest says it is.
    pub media_type: MediaType,
    /// What the bytes hash to.
    pub digest: Digest,
    /// Which endpoint gave it: `scheme://host[:port]`.
    pub endpoint: String,
}

/// What a HEAD says of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestHead {
    /// The digest the upstream claims, if it does.
    pub digest: Option<Digest>,
    /// Its media type, if told.
    pub media_type: Option<MediaType>,
    /// Its length, if told.
    pub size_bytes: Option<u64>,
}

/// What a HEAD says of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobHead {
    /// Its length, if told.
    pub size_bytes: Option<u64>,
}

/// The request for a manifest.
pub(crate) fn ask(repository: &str, reference: &Reference, class: Class) -> Ask {
    let ask = Ask::get(repository, format!("manifests/{reference}"), class);
    Ask { accept: oci::ACCEPTED_MANIFESTS, is_counted: true, ..ask }
}

/// A manifest from the first endpoint that knows.
pub(crate) async fn manifest(
    shared: &Shared,
    repository: &str,
    reference: &Reference,
    class: Class,
) -> Result<ManifestAnswer, Failure> {
    let ask = ask(repository, reference, class);
    let _slot = shared.slot(class).await?;
    let mut tour = Tour::new(shared, &ask, 0);
    loop {
        let visit = tour.next().await?;
        match manifest_at(shared, &visit.endpoint, &ask, reference).await {
            Ok((answer, latency)) => {
                tour.found(visit, latency);
                return Ok(answer);
            }
            Err(failure) => tour.failed(visit, failure)?,
        }
    }
}

/// A manifest from one endpoint, and the time to the head of its answer.
pub(crate) async fn manifest_at(
    shared: &Shared,
    endpoint: &Endpoint,
    ask: &Ask,
    reference: &Reference,
) -> Result<(ManifestAnswer, Duration), Failure> {
    let answer = request::exchange(shared, endpoint, ask).await?;
    if answer.status() != StatusCode::OK {
        return Err(classify::failure(&shared.settings, endpoint, ask, answer).await);
    }
    classify::check_untouched(endpoint, ask, &answer)?;
    let latency = answer.latency;
    let claimed = claimed_digest(&answer);
    let content_type = content_type(&answer);
    let stall = shared.settings.timeouts.stall;
    let read = wire::read_whole(answer.response, MANIFEST_BYTES_MAX, stall).await;
    let bytes = read.map_err(|text| {
        Failure::transient(format!("{}: {}: {text}", endpoint.label(), ask.label()))
    })?;
    shared.metrics.received(bytes.len() as u64);
    let lies = |what: &str| {
        let text = format!("{}: {}: {what}", endpoint.label(), ask.label());
        Failure::indeterminate(text).blameless()
    };
    let asked = match reference {
        Reference::Digest(digest) => Some(*digest),
        Reference::Tag(_) => None,
    };
    let digest = match asked.or(claimed) {
        Some(digest) => digest,
        None => Digest::sha256(&bytes),
    };
    if Digest::of(digest.algorithm(), &bytes) != digest {
        return Err(lies("the bytes are not those of the digest"));
    }
    if claimed.is_some_and(|claimed| Digest::of(claimed.algorithm(), &bytes) != claimed) {
        return Err(lies("the bytes are not those of the digest it claims"));
    }
    let media_type =
        media_type(&bytes, content_type).ok_or_else(|| lies("what it sends is no manifest"))?;
    let endpoint = origin::shown(&endpoint.url);
    Ok((ManifestAnswer { bytes, media_type, digest, endpoint }, latency))
}

/// What a manifest is: by its header where that is specific, else by its own word. `None` if it is
/// not even JSON, which every manifest is.
fn media_type(bytes: &[u8], content_type: Option<MediaType>) -> Option<MediaType> {
    serde_json::from_slice::<std::collections::BTreeMap<String, serde::de::IgnoredAny>>(bytes)
        .ok()?;
    let is_vague = |known: &MediaType| {
        matches!(
            known.as_str(),
            "application/octet-stream" | "application/json" | "text/plain" | "binary/octet-stream"
        )
    };
    let specific = content_type.clone().filter(|known| !is_vague(known));
    let own = || Manifest::parse(bytes, None).ok().and_then(|manifest| manifest.media_type);
    Some(specific.or_else(own).or(content_type).unwrap_or(MediaType::OCI_MANIFEST))
}

fn claimed_digest(answer: &Answer) -> Option<Digest> {
    answer.header(CONTENT_DIGEST).and_then(|text| Digest::parse(text.trim()).ok())
}

fn content_type(answer: &Answer) -> Option<MediaType> {
    answer.header(CONTENT_TYPE).and_then(|text| MediaType::parse(text).ok())
}

/// `Content-Length` as the header says; a HEAD has no body to count.
fn length(answer: &Answer) -> Option<u64> {
    answer.header(CONTENT_LENGTH).and_then(|text| text.trim().parse().ok())
}

/// What the first endpoint that knows says of a manifest.
pub(crate) async fn head(
    shared: &Shared,
    repository: &str,
    reference: &Reference,
    class: Class,
) -> Result<ManifestHead, Failure> {
    let ask = ask(repository, reference, class).into_head();
    let _slot = shared.slot(class).await?;
    let mut tour = Tour::new(shared, &ask, 0);
    loop {
        let visit = tour.next().await?;
        match head_at(shared, &visit.endpoint, &ask, reference).await {
            Ok((head, latency)) => {
                tour.found(visit, latency);
                return Ok(head);
            }
            Err(failure) => tour.failed(visit, failure)?,
        }
    }
}

async fn head_at(
    shared: &Shared,
    endpoint: &Endpoint,
    head: &Ask,
    reference: &Reference,
) -> Result<(ManifestHead, Duration), Failure> {
    let answer = request::exchange(shared, endpoint, head).await?;
    if matches!(answer.status(), StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) {
        // A registry without HEAD: what it would say of itself is known from the whole.
        let get = ask(&head.repository, reference, head.class);
        let (whole, latency) = manifest_at(shared, endpoint, &get, reference).await?;
        let head = ManifestHead {
            digest: Some(whole.digest),
            media_type: Some(whole.media_type),
            size_bytes: Some(whole.bytes.len() as u64),
        };
        return Ok((head, latency));
    }
    if answer.status() != StatusCode::OK {
        return Err(classify::failure(&shared.settings, endpoint, head, answer).await);
    }
    classify::check_untouched(endpoint, head, &answer)?;
    let digest = claimed_digest(&answer);
    if let (Reference::Digest(asked), Some(claimed)) = (reference, digest)
        && asked.algorithm() == claimed.algorithm()
        && *asked != claimed
    {
        let text = format!("{}: {}: it claims another digest", endpoint.label(), head.label());
        return Err(Failure::indeterminate(text).blameless());
    }
    let head =
        ManifestHead { digest, media_type: content_type(&answer), size_bytes: length(&answer) };
    Ok((head, answer.latency))
}

/// Whether the first endpoint that knows has a blob.
pub(crate) async fn head_blob(
    shared: &Shared,
    repository: &str,
    digest: &Digest,
    class: Class,
) -> Result<BlobHead, Failure> {
    let ask = Ask::get(repository, format!("blobs/{digest}"), class).into_head();
    let _slot = shared.slot(class).await?;
    let mut tour = Tour::new(shared, &ask, 0);
    loop {
        let visit = tour.next().await?;
        match head_blob_at(shared, &visit.endpoint, &ask).await {
            Ok((head, latency)) => {
                tour.found(visit, latency);
                return Ok(head);
            }
            Err(failure) => tour.failed(visit, failure)?,
        }
    }
}

async fn head_blob_at(
    shared: &Shared,
    endpoint: &Endpoint,
    ask: &Ask,
) -> Result<(BlobHead, Duration), Failure> {
    let answer = request::exchange(shared, endpoint, ask).await?;
    let latency = answer.latency;
    let status = answer.status();
    if status == StatusCode::OK {
        classify::check_untouched(endpoint, ask, &answer)?;
        return Ok((BlobHead { size_bytes: length(&answer) }, latency));
    }
    // The registry redirected, so it has the blob; presigned URLs are mostly good for GET alone.
    let is_storage_without_head = !answer.is_at_endpoint
        && matches!(status, StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED);
    if is_storage_without_head {
        return Ok((BlobHead { size_bytes: None }, latency));
    }
    Err(classify::failure(&shared.settings, endpoint, ask, answer).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vague_header_gives_way_to_the_manifests_own_word() {
        let index = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        let told = |content_type: Option<&str>| {
            media_type(index, content_type.map(|text| MediaType::parse(text).unwrap()))
        };
        assert_eq!(told(Some("application/json")), Some(MediaType::OCI_INDEX));
        assert_eq!(told(None), Some(MediaType::OCI_INDEX));
        let docker = MediaType::DOCKER_MANIFEST;
        assert_eq!(told(Some(docker.as_str())), Some(docker));
        assert_eq!(media_type(b"{}", None), Some(MediaType::OCI_MANIFEST));
        assert_eq!(media_type(b"[]", None), None);
        assert_eq!(media_type(b"please log in", Some(MediaType::OCI_INDEX)), None);
    }
}
