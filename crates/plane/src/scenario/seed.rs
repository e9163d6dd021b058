//! Puts the artifacts of a scenario where pulls and pushes would have left them.

use super::ScenarioError;
use super::artifact::{Artifact, Artifacts, Document};
use super::question;
use crate::answer::ManifestContent;
use crate::candidates::{Candidate, Located};
use crate::clock::Clock;
use crate::lists;
use crate::memory::ListingOf;
use crate::plane::Plane;
use crate::shelf::{ContentNote, Shelf};
use bytes::Bytes;
use catalog::Batch;
use jiff::Timestamp;
use oci::{Descriptor, Digest, Manifest, Name};
use policy::{Caller, EnvironmentName, Principal, Setting};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Puts all that somebody has, each at its time, and leaves the clock at `now`.
pub(super) async fn put(
    plane: &Plane,
    artifacts: &Artifacts,
    clock: &Clock,
    now: Timestamp,
) -> Result<(), ScenarioError> {
    let mut had: Vec<(&Artifact, &Name)> =
        artifacts.iter().filter_map(|it| it.name.as_ref().map(|name| (it, name))).collect();
    had.sort_by_key(|(artifact, _)| artifact.first_seen.unwrap_or(Timestamp::MIN));
    for (artifact, name) in had {
        if let Some(at) = artifact.first_seen {
            forward(clock, at);
        }
        one(plane, artifact, name).await?;
    }
    forward(clock, now);
    confirm(plane, artifacts);
    settle(plane).await
}

/// What was put, or follows from the questions so far, is in the catalog before the next one.
pub(super) async fn settle(plane: &Plane) -> Result<(), ScenarioError> {
    let written = plane.core.shelf.catalog.submit(Batch::new());
    let waited = tokio::task::spawn_blocking(move || written.wait_for(Duration::from_secs(30)));
    match waited.await {
        Ok(Some(Ok(()))) => Ok(()),
        _ => Err(ScenarioError::Plane("its catalog could not be written".to_owned())),
    }
}

fn forward(clock: &Clock, to: Timestamp) {
    let micros = to.as_microsecond().saturating_sub(clock.now().as_microsecond());
    clock.advance(Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
}

/// Who has a name, where it is one repository.
fn candidate(plane: &Plane, name: &Name) -> Result<Candidate, ScenarioError> {
    let wrong = |reason: String| ScenarioError::senseless(format!("artifact of {name}"), reason);
    let view = plane.core.view();
    let found = view.routes.locate(name.as_str(), None, None);
    let found = found.map_err(|refusal| wrong(refusal.to_string()))?;
    match found.candidates.as_slice() {
        [only] if only.name() == name => Ok(only.clone()),
        [only] => Err(wrong(format!("its canonical name is {}; write that", only.name()))),
        _ => Err(wrong("write the name of a member, not that of a virtual repository".to_owned())),
    }
}

async fn one(plane: &Plane, artifact: &Artifact, name: &Name) -> Result<(), ScenarioError> {
    match candidate(plane, name)? {
        Candidate::Remote(located) => cached(plane, artifact, &located).await?,
        Candidate::Hosted(_) => pushed(plane, artifact, name).await?,
    }
    let mut batch = Batch::new();
    for (environment, first, last) in &artifact.admitted {
        let environment = EnvironmentName::new(environment);
        for document in artifact.documents() {
            batch.note_admission(&environment, name, &document.digest, *first);
            batch.note_admission(&environment, name, &document.digest, *last);
        }
    }
    plane.core.shelf.submit(batch);
    Ok(())
}

/// As a pull leaves it.
async fn cached(
    plane: &Plane,
    artifact: &Artifact,
    located: &Located,
) -> Result<(), ScenarioError> {
    let (shelf, scope) = (&plane.core.shelf, located.scope());
    let mut batch = Batch::new();
    for bytes in &artifact.blobs {
        let digest = Digest::sha256(bytes);
        store(shelf, &digest, bytes).await?;
        shelf.note_blob(&mut batch, &digest, bytes.len() as u64, false);
        note(shelf, &mut batch, located, &digest, bytes.len(), None, scope.as_deref());
    }
    for document in artifact.documents() {
        let Document { digest, media_type, bytes } = document;
        let content = Arc::new(ManifestContent::new(*digest, media_type.clone(), bytes.clone()));
        let parsed = Manifest::parse(bytes, Some(media_type))
            .map_err(|error| ScenarioError::senseless(&artifact.id, error.to_string()))?;
        store(shelf, digest, bytes).await?;
        shelf.note_manifest(&mut batch, &content, &parsed);
        shelf.note_blob(&mut batch, digest, bytes.len() as u64, true);
        note(shelf, &mut batch, located, digest, bytes.len(), Some(document), scope.as_deref());
    }
    for tag in &artifact.tags {
        shelf.note_tag(&mut batch, &located.name, tag, &artifact.root.digest);
    }
    shelf.submit(batch);
    Ok(())
}

async fn store(shelf: &Arc<Shelf>, digest: &Digest, bytes: &Bytes) -> Result<(), ScenarioError> {
    let (digest, bytes) = (*digest, bytes.clone());
    match shelf.blocking(move |shelf| shelf.store.put(&digest, &bytes)).await {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(ScenarioError::Plane(error.to_string())),
        None => Err(ScenarioError::Plane("its store panicked".to_owned())),
    }
}

fn note(
    shelf: &Shelf,
    batch: &mut Batch,
    located: &Located,
    digest: &Digest,
    length: usize,
    manifest: Option<&Document>,
    private_to: Option<&str>,
) {
    let note = ContentNote {
        name: &located.name,
        digest,
        is_manifest: manifest.is_some(),
        size_bytes: Some(length as u64),
        media_type: manifest.map(|it| &it.media_type),
        private_to,
    };
    shelf.note_content(batch, note);
}

/// By pushes of the plane itself, to which no policy speaks.
async fn pushed(plane: &Plane, artifact: &Artifact, name: &Name) -> Result<(), ScenarioError> {
    let setting = Setting::new(EnvironmentName::default(), policy::Purpose::Replicate);
    let caller = Caller::new(Principal::system(), setting);
    let tags: Vec<&str> = artifact.tags.iter().map(oci::Tag::as_str).collect();
    let pushed = question::push(plane, &caller, artifact, name.as_str(), &tags, None).await;
    pushed.map(drop).map_err(|refusal| {
        ScenarioError::senseless(format!("artifact {}", artifact.id), refusal.to_string())
    })
}

/// Says of every cached tag and list that its upstream has just confirmed it.
pub(super) fn confirm(plane: &Plane, artifacts: &Artifacts) {
    let mut names: BTreeMap<&Name, Vec<&Artifact>> = BTreeMap::new();
    for artifact in artifacts.iter() {
        if let Some(name) = &artifact.name {
            names.entry(name).or_default().push(artifact);
        }
    }
    let shelf = &plane.core.shelf;
    for (name, all) in names {
        let Ok(Candidate::Remote(located)) = candidate(plane, name) else { continue };
        let mut batch = Batch::new();
        let mut tags = Vec::new();
        for artifact in &all {
            for tag in &artifact.tags {
                tags.push(tag.as_str());
                shelf.note_tag(&mut batch, name, tag, &artifact.root.digest);
            }
        }
        shelf.submit(batch);
        tags.sort_unstable();
        shelf.note_listing(&located, &ListingOf::Tags, Bytes::from(json!(tags).to_string()));
        for artifact in &all {
            let referring: Vec<Descriptor> = all
                .iter()
                .filter(|it| it.subject == Some(artifact.root.digest))
                .map(|it| descriptor(it))
                .collect();
            let of = ListingOf::Referrers(artifact.root.digest);
            let body = Bytes::from(lists::index(&referring).to_string());
            shelf.note_listing(&located, &of, body);
        }
    }
}

fn descriptor(artifact: &Artifact) -> Descriptor {
    Descriptor {
        media_type: artifact.root.media_type.clone(),
        digest: artifact.root.digest,
        size_bytes: artifact.root.bytes.len() as u64,
        platform: None,
        artifact_type: artifact.artifact_type.map(str::to_owned),
        annotations: BTreeMap::new(),
        is_foreign: false,
    }
}
