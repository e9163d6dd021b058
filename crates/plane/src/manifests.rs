//! Fetching a manifest: whole, checked, stored, noted; once for all who ask at the same time.

use crate::answer::ManifestContent;
use crate::candidates::Located;
use crate::fill::refusal_of;
use crate::memory::Thing;
use crate::refusal::Refusal;
use crate::shelf::{ContentNote, Shelf};
use crate::singleflight::Flights;
use catalog::Batch;
use oci::{Digest, ErrorCode, Manifest, ManifestKind, Name, Reference};
use std::sync::Arc;
use upstream::{Class, Failure, FailureKind, ManifestAnswer};

/// A manifest that came from its upstream just now.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) content: Arc<ManifestContent>,
    pub(crate) private_to: Option<Arc<str>>,
}

/// Why one did not come.
#[derive(Clone, Debug)]
pub(crate) enum FetchFailure {
    Upstream(Failure),
    /// The upstream answered 200 with what is no manifest.
    Garbage(Arc<str>),
    Internal(Arc<str>),
}

impl FetchFailure {
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Upstream(failure) if failure.kind() == FailureKind::Absent)
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Upstream(failure) => failure.reason(),
            Self::Garbage(reason) | Self::Internal(reason) => reason,
        }
    }
}

impl From<&FetchFailure> for Refusal {
    fn from(failure: &FetchFailure) -> Self {
        match failure {
            FetchFailure::Upstream(failure) => refusal_of(failure, ErrorCode::ManifestUnknown),
            FetchFailure::Garbage(reason) => Refusal::Indeterminate {
                reason: reason.to_string(),
                retry_after: None,
                is_rate_limit: false,
            },
            FetchFailure::Internal(reason) => Refusal::Internal(reason.to_string()),
        }
    }
}

/// What a fetch gives.
pub(crate) type Fetch = Result<Fetched, FetchFailure>;

/// Fetches manifests.
#[derive(Clone)]
pub(crate) struct Manifests {
    shelf: Arc<Shelf>,
    /// By the upstream that is asked, too: who asks another does not wait for this one.
    flights: Flights<(Name, Reference, u64), Fetch>,
}

impl Manifests {
    pub(crate) fn new(shelf: Arc<Shelf>) -> Self {
        Self { shelf, flights: Flights::new() }
    }

    /// Fetches a manifest from the upstream of its name. The flag tells whether another's fetch was
    /// joined.
    pub(crate) async fn fetch(
        &self,
        located: &Located,
        reference: &Reference,
        class: Class,
    ) -> (Fetch, bool) {
        let key = (located.name.clone(), reference.clone(), located.remote.epoch);
        let (fetch, joined) = self.flights.join(key, || self.work(located, reference, class)).await;
        let lost =
            || Err(FetchFailure::Internal("the fetch was ended by a bug; see the log".into()));
        (fetch.unwrap_or_else(lost), joined)
    }

    fn work(
        &self,
        located: &Located,
        reference: &Reference,
        class: Class,
    ) -> impl Future<Output = Fetch> + Send + 'static {
        let (shelf, located, reference) = (self.shelf.clone(), located.clone(), reference.clone());
        async move {
            let Some(upstream) = located.remote.upstream.clone() else {
                return Err(FetchFailure::Internal("the repository has no upstream".into()));
            };
            let asked = upstream.manifest(&located.upstream_name, &reference, class).await;
            match asked {
                Ok(answer) => {
                    let private_to = located.scope();
                    store(&shelf, &located, &reference, answer, private_to).await
                }
                Err(failure) => {
                    if failure.kind() == FailureKind::Absent {
                        let thing = Thing::Manifest(reference);
                        shelf.memory.put_absence(&located, &thing, failure.reason());
                    }
                    Err(FetchFailure::Upstream(failure))
                }
            }
        }
    }
}

/// Checks what came, stores it, and notes it under the name and the tag.
async fn store(
    shelf: &Arc<Shelf>,
    located: &Located,
    reference: &Reference,
    answer: ManifestAnswer,
    private_to: Option<String>,
) -> Fetch {
    let parsed = match Manifest::parse(&answer.bytes, Some(&answer.media_type)) {
        Ok(parsed) => parsed,
        Err(error) => {
            let upstream = &located.remote.upstream_name;
            let text = format!("upstream {upstream} sent what is no manifest: {error}");
            return Err(FetchFailure::Garbage(text.into()));
        }
    };
    // Served as the upstream serves it; where that says nothing useful, as the bytes say.
    let media_type = match &parsed.media_type {
        Some(own) if !answer.media_type.is_manifest() && parsed.kind != ManifestKind::Schema1 => {
            own.clone()
        }
        _ => answer.media_type.clone(),
    };
    let content = Arc::new(ManifestContent::new(answer.digest, media_type, answer.bytes));
    let kept = content.clone();
    let put = shelf.blocking(move |shelf| shelf.store.put(&kept.digest, &kept.bytes)).await;
    let mut batch = Batch::new();
    match put {
        Some(Ok(_)) => {
            shelf.note_manifest(&mut batch, &content, &parsed);
            shelf.note_blob(&mut batch, &content.digest, content.bytes.len() as u64, true);
        }
        // Served all the same, from memory.
        Some(Err(error)) => {
            if error.is_no_space() {
                shelf.set_full("a manifest cannot be written");
            } else {
                tracing::error!(digest = %content.digest, error = &error as &dyn std::error::Error, "a manifest cannot be stored");
            }
            shelf.note_manifest(&mut batch, &content, &parsed);
        }
        None => return Err(FetchFailure::Internal("the store panicked".into())),
    }
    shelf.memory.forget_absence(&located.name, &Thing::Manifest(reference.clone()));
    shelf.note_content(
        &mut batch,
        ContentNote {
            name: &located.name,
            digest: &content.digest,
            is_manifest: true,
            size_bytes: Some(content.bytes.len() as u64),
            media_type: Some(&content.media_type),
            private_to: private_to.as_deref(),
        },
    );
    if let Reference::Tag(tag) = reference {
        shelf.note_tag(&mut batch, &located.name, tag, &content.digest);
    }
    shelf.submit(batch);
    Ok(Fetched { content, private_to: private_to.map(Into::into) })
}

/// Whether bytes that some name holds are public: then a stored manifest of another name that
/// lists them proves enough (contracts §5).
pub(crate) async fn is_public_somewhere(shelf: &Arc<Shelf>, digest: &Digest) -> bool {
    let digest = *digest;
    matches!(shelf.blocking(move |s| s.catalog.is_public_somewhere(&digest)).await, Some(Ok(true)))
}
