//! Lists: tags and referrers as the upstream gives them, names as the catalog knows them.
//!
//! They are kept whole with the freshness of a tag, and paged and filtered here. A list that cannot
//! be had is an error, never a shorter list.

use crate::answer::{CacheState, ManifestContent};
use crate::candidates::Located;
use crate::fill::refusal_of;
use crate::freshness::Verdict;
use crate::memory::{ListingOf, ListingState};
use crate::refusal::Refusal;
use crate::shelf::Shelf;
use crate::singleflight::Flights;
use bytes::Bytes;
use oci::{Descriptor, ErrorCode, EvidenceTag, Manifest, MediaType, Name, Tag};
use serde_json::{Value, json};
use std::sync::Arc;
use telemetry::CacheStatus;
use upstream::{Class, Failure};

type Listed = Result<Arc<ListingState>, Failure>;

/// Fetches and keeps lists.
#[derive(Clone)]
pub(crate) struct Lists {
    shelf: Arc<Shelf>,
    /// By the upstream that is asked, too: its words are not another's.
    flights: Flights<(Name, ListingOf, u64), Option<Listed>>,
}

impl Lists {
    pub(crate) fn new(shelf: Arc<Shelf>) -> Self {
        Self { shelf, flights: Flights::new() }
    }

    /// All tags of a name, in lexical order.
    pub(crate) async fn tags(&self, located: &Located) -> Result<(Vec<Tag>, CacheState), Refusal> {
        let (listing, cache) = self.get(located, ListingOf::Tags).await?;
        let texts: Vec<String> = serde_json::from_slice(&listing.body)
            .map_err(|_| Refusal::Internal("a kept list of tags cannot be read".to_owned()))?;
        let tags = texts.iter().filter_map(|text| Tag::parse(text).ok()).collect();
        Ok((tags, cache))
    }

    /// What refers to a digest.
    pub(crate) async fn referrers(
        &self,
        located: &Located,
        subject: &oci::Digest,
    ) -> Result<(Vec<Descriptor>, CacheState), Refusal> {
        let (listing, cache) = self.get(located, ListingOf::Referrers(*subject)).await?;
        let index = Manifest::parse(&listing.body, Some(&MediaType::OCI_INDEX))
            .map_err(|_| Refusal::Internal("a kept list of referrers cannot be read".to_owned()))?;
        Ok((index.manifests, cache))
    }

    async fn get(
        &self,
        located: &Located,
        of: ListingOf,
    ) -> Result<(Arc<ListingState>, CacheState), Refusal> {
        let (freshness, epoch) = (&located.remote.freshness, located.remote.epoch);
        let known = self.shelf.listing(&located.name, &of).await;
        // What another upstream listed says nothing of what this one has.
        let is_its_own = |listing: &&Arc<ListingState>| listing.epoch.is_none_or(|of| of == epoch);
        if let Some(listing) = known.as_ref().filter(is_its_own) {
            let age = self.shelf.clock.since(listing.at);
            let state = |status| CacheState { status, age: Some(age) };
            // A list has the freshness of a tag of its own.
            match freshness.judge(&located.name, &LIST, age) {
                Verdict::Fresh => return Ok((listing.clone(), state(CacheStatus::Hit))),
                Verdict::ServeAndAsk => {
                    let key = (located.name.clone(), of.clone(), epoch);
                    self.flights.launch(key, || self.ask(located, &of, Class::Revalidation));
                    return Ok((listing.clone(), state(CacheStatus::Stale)));
                }
                Verdict::Ask => {}
            }
        }
        let key = (located.name.clone(), of.clone(), epoch);
        let (listed, joined) =
            self.flights.join(key, || self.ask(located, &of, Class::Waiting)).await;
        let failure = match listed.flatten() {
            Some(Ok(listing)) => {
                let status = if joined { CacheStatus::Joined } else { CacheStatus::Miss };
                return Ok((listing, CacheState { status, age: None }));
            }
            Some(Err(failure)) => failure,
            None => {
                return Err(Refusal::Internal("a list could not be fetched; see the log".into()));
            }
        };
        let is_known =
            matches!(failure.kind(), upstream::FailureKind::Absent | upstream::FailureKind::Denied);
        match known {
            Some(listing) if !is_known => {
                let age = self.shelf.clock.since(listing.at);
                if freshness.serves_on_error(age) {
                    let state = CacheState { status: CacheStatus::Stale, age: Some(age) };
                    return Ok((listing, state));
                }
                Err(refusal_of(&failure, ErrorCode::NameUnknown))
            }
            _ => Err(refusal_of(&failure, ErrorCode::NameUnknown)),
        }
    }

    fn ask(
        &self,
        located: &Located,
        of: &ListingOf,
        class: Class,
    ) -> impl Future<Output = Option<Listed>> + Send + 'static {
        let (shelf, located, of) = (self.shelf.clone(), located.clone(), of.clone());
        async move {
            let upstream = located.remote.upstream.clone()?;
            let name = &located.upstream_name;
            let body = match &of {
                ListingOf::Tags => upstream.tags(name, class).await.map(|mut tags| {
                    tags.sort_unstable();
                    tags.dedup();
                    let texts: Vec<&str> = tags.iter().map(Tag::as_str).collect();
                    json!(texts)
                }),
                ListingOf::Referrers(subject) => {
                    upstream.referrers(name, subject, class).await.map(|list| index(&list))
                }
            };
            Some(body.map(|body| shelf.note_listing(&located, &of, Bytes::from(body.to_string()))))
        }
    }
}

/// The tag in whose stead a list's age is judged.
static LIST: std::sync::LazyLock<Tag> =
    std::sync::LazyLock::new(|| Tag::referrers_fallback(&oci::Digest::sha256(b"list")));

/// What a manifest under an evidence tag adds to a list of referrers: an index under the fallback
/// tag its entries, one of cosign's itself, by the type that tells what it is.
pub(crate) fn evidence(kind: EvidenceTag, content: &ManifestContent) -> Vec<Descriptor> {
    let artifact_type = match kind {
        EvidenceTag::Referrers => {
            let parsed = Manifest::parse(&content.bytes, Some(&content.media_type));
            return parsed.map(|index| index.manifests).unwrap_or_default();
        }
        EvidenceTag::Signature => "application/vnd.dev.cosign.artifact.sig.v1+json",
        EvidenceTag::Attestation => "application/vnd.dev.cosign.artifact.att.v1+json",
        EvidenceTag::Sbom => "application/vnd.dev.cosign.artifact.sbom.v1+json",
    };
    vec![Descriptor {
        media_type: content.media_type.clone(),
        digest: content.digest,
        size_bytes: content.bytes.len() as u64,
        platform: None,
        artifact_type: Some(artifact_type.to_owned()),
        annotations: std::collections::BTreeMap::new(),
        is_foreign: false,
    }]
}

/// Descriptors as an OCI index.
pub(crate) fn index(descriptors: &[Descriptor]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX.as_str(),
        "manifests": descriptors.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn entry(descriptor: &Descriptor) -> Value {
    let mut entry = json!({
        "mediaType": descriptor.media_type.as_str(),
        "digest": descriptor.digest,
        "size": descriptor.size_bytes,
    });
    if let Some(artifact_type) = &descriptor.artifact_type {
        entry["artifactType"] = json!(artifact_type);
    }
    if !descriptor.annotations.is_empty() {
        entry["annotations"] = json!(descriptor.annotations);
    }
    if let Some(platform) = &descriptor.platform {
        entry["platform"] = json!({ "os": platform.os, "architecture": platform.architecture });
        if let Some(variant) = &platform.variant {
            entry["platform"]["variant"] = json!(variant);
        }
    }
    entry
}

/// A page of a sorted list: what comes after `last`, at most `n`; and where to go on.
pub(crate) fn page<T: Clone + AsText>(
    all: &[T],
    last: Option<&str>,
    n: Option<usize>,
) -> (Vec<T>, Option<T>) {
    let from = last.map_or(0, |last| all.partition_point(|item| item.text() <= last));
    let rest = &all[from..];
    let taken = &rest[..n.unwrap_or(rest.len()).min(rest.len())];
    let more = taken.len() < rest.len();
    (taken.to_vec(), taken.last().filter(|_| more).cloned())
}

/// What lists are sorted by.
pub(crate) trait AsText {
    fn text(&self) -> &str;
}

impl AsText for Tag {
    fn text(&self) -> &str {
        self.as_str()
    }
}

impl AsText for Name {
    fn text(&self) -> &str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let tags: Vec<Tag> = ["1", "2", "a", "b"].iter().map(|t| Tag::parse(t).unwrap()).collect();
        let texts = |(tags, more): (Vec<Tag>, Option<Tag>)| {
            let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
            (tags.join(","), more.map(|tag| tag.to_string()))
        };
        assert_eq!(texts(page(&tags, None, None)), ("1,2,a,b".into(), None));
        assert_eq!(texts(page(&tags, None, Some(2))), ("1,2".into(), Some("2".into())));
        assert_eq!(texts(page(&tags, Some("2"), Some(2))), ("a,b".into(), None));
        assert_eq!(texts(page(&tags, Some("15"), Some(1))), ("2".into(), Some("2".into())));
        assert_eq!(texts(page(&tags, Some("z"), Some(1))), (String::new(), None));
        assert_eq!(texts(page(&tags, None, Some(0))), (String::new(), None));
    }
}
