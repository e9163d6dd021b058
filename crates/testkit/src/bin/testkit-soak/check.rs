//! At the end: everything reachable is there and right; after a collection nothing else is.

use crate::model::{Evidence, Model};
use crate::registry::Registry;
use std::collections::BTreeSet;

/// What is reachable but not there, or not right.
pub(crate) async fn lost(registry: &Registry, model: &Model) -> Result<Vec<String>, String> {
    let mut lost = Vec::new();
    for slot in &model.slots {
        let answer = registry.manifest(&slot.name, &slot.tag).await?;
        let expected = slot.image.as_ref().map(|image| image.body.as_bytes());
        match expected {
            None if answer.status == 404 => {}
            Some(body) if answer.status == 200 && answer.body == body => {}
            _ => lost.push(format!("{}:{} answers {}", slot.name, slot.tag, answer.status)),
        }
        if let Some(image) = &slot.image
            && let Err(why) = registry.whole(&slot.name, image).await
        {
            lost.push(why);
        }
    }
    for held in model.evidence.iter().filter(|held| held.certain) {
        if let Err(why) = registry.whole(&held.name, &held.image).await {
            lost.push(format!("of {}: {why}", held.subject));
        }
        let listed = registry.referrers(&held.name, &held.subject).await?;
        if held.tag.is_none() && !listed.contains(&held.image.digest) {
            lost.push(format!("referrer {} of {} is not listed", held.image.digest, held.subject));
        }
    }
    Ok(lost)
}

/// What is not reachable but still there.
pub(crate) async fn left(registry: &Registry, model: &Model) -> Result<Vec<String>, String> {
    let kept = kept_by_tags(registry, model).await?;
    let sure = model.evidence.iter().filter(|held| held.certain);
    let alive = model.reachable(sure.chain(kept.iter().copied()));
    let mut left = Vec::new();
    for (name, digest) in &model.manifests {
        let answer = registry.manifest(name, digest).await?;
        let undecided = model.evidence.iter().any(|held| {
            held.name == *name
                && held.image.digest == *digest
                && alive.has_manifest(name, &held.subject)
        });
        if answer.status != 404 && !alive.has_manifest(name, digest) && !undecided {
            left.push(format!("manifest {digest} of {name}: {}", answer.status));
        }
    }
    let undecided = undecided_blobs(model);
    for (name, digest) in &model.blobs {
        let doubtful = undecided.contains(&(name.as_str(), digest.as_str()));
        if !alive.has_blob(name, digest) && !doubtful && registry.has_blob(name, digest).await? {
            left.push(format!("blob {digest} of {name}"));
        }
    }
    for name in &registry.names {
        let mut expected: BTreeSet<&str> = model
            .slots
            .iter()
            .filter(|slot| slot.name == *name && slot.image.is_some())
            .map(|slot| slot.tag.as_str())
            .collect();
        expected.extend(
            kept.iter().filter(|held| held.name == *name).filter_map(|held| held.tag.as_deref()),
        );
        for tag in registry.tags(name).await? {
            if !expected.contains(tag.as_str()) {
                left.push(format!("tag {tag} of {name}"));
            }
        }
    }
    Ok(left)
}

/// Evidence whose tag stands. A subject that a client deleted, rather than a collection, leaves it.
async fn kept_by_tags<'a>(
    registry: &Registry,
    model: &'a Model,
) -> Result<Vec<&'a Evidence>, String> {
    let mut kept = Vec::new();
    for held in &model.evidence {
        let Some(tag) = &held.tag else { continue };
        let answer = registry.manifest(&held.name, tag).await?;
        if answer.status == 200 && answer.body == held.image.body.as_bytes() {
            kept.push(held);
        }
    }
    Ok(kept)
}

/// Blobs of evidence that may or may not be there.
fn undecided_blobs(model: &Model) -> BTreeSet<(&str, &str)> {
    let undecided = model
        .evidence
        .iter()
        .filter(|held| !held.certain && model.is_named(&held.name, &held.subject));
    undecided
        .flat_map(|held| {
            held.image.blobs.iter().map(|blob| (held.name.as_str(), blob.digest.as_str()))
        })
        .collect()
}
