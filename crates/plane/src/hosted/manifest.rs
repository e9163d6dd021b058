//! Manifests: checked, stored, and named, in one step as far as anybody can see.

use super::settle::{Change, Unsettled, settle};
use super::uploads::{full, panicked, trouble};
use super::write::Push;
use super::{check, mount, upload};
use crate::answer::{ManifestContent, What};
use crate::candidates::{Asking, Candidate, HostedName};
use crate::govern;
use crate::incoming::Incoming;
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::shelf::MANIFEST_MAX_BYTES;
use bytes::{Bytes, BytesMut};
use catalog::{Batch, ManifestRow, PushedManifest};
use oci::{Algorithm, Digest, ErrorCode, Manifest, MediaType, Reference, Tag};
use std::sync::Arc;

/// Times a push is judged again because something changed between the look and the write.
const ATTEMPTS: usize = 4;

/// Serves the push of a manifest.
pub(super) async fn push(
    push: Push,
    mut incoming: Incoming,
    reference: Reference,
) -> Result<What, Refusal> {
    let content_type = match incoming.content_type() {
        Some(text) => Some(MediaType::parse(text).map_err(|error| invalid(error.to_string()))?),
        None => None,
    };
    let more = tags(&push.query.tags)?;
    let max_bytes = push.name.hosted.manifest_max_bytes.min(MANIFEST_MAX_BYTES as u64);
    let bytes = read(&mut incoming, max_bytes).await?;
    check::still_allowed(&push)?;
    push.core.shelf.metrics.pushed(bytes.len() as u64);
    let digest = digest(&reference, push.query.digest.as_deref(), &bytes)?;
    let mut named = more.clone();
    if let Reference::Tag(tag) = &reference
        && !named.contains(tag)
    {
        named.push(tag.clone());
    }
    if !push.others.is_empty()
        && let Ok(parsed) = Manifest::parse(&bytes, content_type.as_ref())
    {
        mount::of_others(&push, &parsed, 0, &mut mount::MISSING_MAX.clone()).await?;
    }
    let warnings = judge(&push, &bytes, digest, content_type.as_ref(), &named).await?;
    let placed = Placing { bytes, digest, content_type, tags: named };
    let subject = place(&push.core, &push.name, placed).await?;
    let name = push.asked_name;
    Ok(What::ManifestCreated { name, reference, digest, subject, tags: more, warnings })
}

/// What artifact policies say of it, now that it is here: what to warn of.
async fn judge(
    push: &Push,
    bytes: &Bytes,
    digest: Digest,
    content_type: Option<&MediaType>,
    tags: &[Tag],
) -> Result<Vec<String>, Refusal> {
    let view = push.core.view();
    if view.governance.policies.is_empty() {
        return Ok(Vec::new());
    }
    let manifest =
        Manifest::check_pushed(bytes, content_type).map_err(|error| invalid(error.to_string()))?;
    let media_type = manifest.media_type.clone().or(content_type.cloned());
    let media_type = media_type.unwrap_or(MediaType::OCI_MANIFEST);
    let parts = manifest;
    let content = Arc::new(ManifestContent::new(digest, media_type, bytes.clone()));
    let candidate = Candidate::Hosted(push.name.clone());
    let (governance, caller) = (&view.governance, push.permit.caller());
    let asking = Asking { governance, caller, now: push.core.shelf.clock.now() };
    // Before it is judged, which reads its config and tells what stands there.
    check::grounds(&push.core, asking, &candidate, &parts).await?;
    check::references(&push.core, &push.name, &parts).await?;
    govern::pushed(&push.core, asking, &candidate, &content, tags).await
}

/// A manifest that is to be content of a name.
#[derive(Debug)]
pub(crate) struct Placing {
    pub(crate) bytes: Bytes,
    /// What they hash to: the caller has checked it.
    pub(crate) digest: Digest,
    /// What whoever brings it calls it.
    pub(crate) content_type: Option<MediaType>,
    /// Tags that name it from now on.
    pub(crate) tags: Vec<Tag>,
}

/// Makes a manifest content of a hosted name, after all that a push must fulfil; what it refers to.
/// Who may do that was decided before. To be run to its end.
pub(crate) async fn place(
    core: &Arc<Core>,
    name: &HostedName,
    placing: Placing,
) -> Result<Option<Digest>, Refusal> {
    let Placing { bytes, digest, content_type, tags } = placing;
    let manifest = Manifest::check_pushed(&bytes, content_type.as_ref())
        .map_err(|error| invalid(error.to_string()))?;
    let media_type =
        manifest.media_type.clone().or(content_type).unwrap_or(MediaType::OCI_MANIFEST);
    let size_bytes = bytes.len() as u64;
    if core.shelf.is_full() {
        return Err(full());
    }
    let content = Arc::new(ManifestContent::new(digest, media_type.clone(), bytes));
    let mut stored = None;
    for _ in 0..ATTEMPTS {
        let immutable = check::immutable(core, name, &tags, &digest).await?;
        let requires = check::references(core, name, &manifest).await?;
        check::room(core, name, Some(&digest), size_bytes).await?;
        let hold = match &stored {
            Some(hold) => Arc::clone(hold),
            None => {
                let hold = Arc::new(core.shelf.holds.hold(&digest).await);
                store(core, &content).await?;
                stored.insert(hold).clone()
            }
        };
        let mut batch = Batch::new();
        batch.push_manifest(&PushedManifest {
            name: name.name.clone(),
            manifest: ManifestRow::of(digest, size_bytes, media_type.clone(), &manifest),
            requires,
            tags: tags.clone(),
            immutable,
            quota_bytes: name.hosted.quota_bytes,
            at: core.shelf.clock.now(),
        });
        let (canonical, tags, digests) = (name.name.clone(), tags.clone(), vec![digest]);
        let change = Change { batch, name: canonical, tags, digests, hold: Some(hold) };
        match settle(core, change).await {
            Ok(()) => {
                core.shelf.memory.put_manifest(&content);
                return Ok(manifest.subject.map(|subject| subject.digest));
            }
            Err(Unsettled::Conflict) => {}
            Err(Unsettled::Refused(refusal)) => return Err(refusal),
        }
    }
    Err(check::too_busy(&name.name))
}

async fn store(core: &Arc<Core>, content: &Arc<ManifestContent>) -> Result<(), Refusal> {
    let content = content.clone();
    let put = core.shelf.blocking(move |shelf| {
        let put = shelf.store.put(&content.digest, &content.bytes);
        put.map(drop).map_err(|error| trouble(shelf, &error))
    });
    put.await.unwrap_or_else(|| Err(panicked()))
}

/// The whole body, if it is not too long.
async fn read(incoming: &mut Incoming, max_bytes: u64) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::TooLarge { what: "the manifest", max_bytes };
    let told_bytes = incoming.length_bytes().unwrap_or(0);
    if told_bytes > max_bytes {
        return Err(too_large());
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(told_bytes).unwrap_or(0));
    while let Some(next) = incoming.next().await {
        let chunk = next.map_err(Refusal::Incoming)?;
        if (bytes.len() + chunk.len()) as u64 > max_bytes {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// What the bytes hash to, which must be what they are pushed as. `told`: the parameter `digest` of a
/// push by tag.
fn digest(reference: &Reference, told: Option<&str>, bytes: &[u8]) -> Result<Digest, Refusal> {
    let wanted = match (reference, told) {
        (Reference::Digest(digest), _) => Some(*digest),
        (Reference::Tag(_), Some(text)) => Some(upload::digest(text)?),
        (Reference::Tag(_), None) => None,
    };
    let algorithm = wanted.map_or(Algorithm::Sha256, |wanted| wanted.algorithm());
    let found = Digest::of(algorithm, bytes);
    match wanted.filter(|wanted| *wanted != found) {
        Some(wanted) => {
            Err(upload::bad_digest(format!("the manifest hashes to {found}, not to {wanted}")))
        }
        None => Ok(found),
    }
}

/// The tags of `?tag=`, each once.
fn tags(texts: &[String]) -> Result<Vec<Tag>, Refusal> {
    let mut tags = Vec::with_capacity(texts.len());
    for text in texts {
        let tag = Tag::parse(text).map_err(|error| Refusal::Query(error.to_string()))?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

fn invalid(reason: String) -> Refusal {
    Refusal::Invalid { code: ErrorCode::ManifestInvalid, reason }
}
