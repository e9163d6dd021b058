//! Bytes that rot on the disk are found, removed, said and fetched again; a catalog that was lost
//! does not make the store forget its bounds.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use plane::{JobState, KeepSettings, PurgeTarget, VerifyRequest};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::{Rig, Setup, documents, through};
use telemetry::CacheStatus;
use testkit::{FakeRegistry, Image, ImageSpec};

const LAYER: usize = 300_000;
const STOP: Duration = Duration::from_secs(10);

fn digest(text: &str) -> oci::Digest {
    oci::Digest::parse(text).unwrap()
}

fn file_of(rig: &Rig, text: &str) -> PathBuf {
    let digest = digest(text);
    let hex = digest.hex();
    rig.dir.path().join("blobs").join("sha256").join(&hex[..2]).join(&hex)
}

fn truncate(path: &PathBuf) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1000).unwrap();
}

/// In place, as a disk does it.
fn flip(path: &PathBuf) {
    let mut byte = [0];
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    file.read_exact_at(&mut byte, 500).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 500).unwrap();
}

async fn is_kept(rig: &Rig, text: &str) {
    let digest = digest(text);
    rig.eventually("it is kept", async |rig| matches!(rig.catalog.blob_size(&digest), Ok(Some(_))))
        .await;
}

/// A plane that holds one image, and its layer's path and digest.
async fn warm(registry: &FakeRegistry) -> (Rig, Image, String, String) {
    let image = registry.image("a/b", "1", ImageSpec::layers([LAYER as u64]));
    let rig = Rig::over(registry).await;
    rig.manifest(&through(&image.tag_path())).await.unwrap();
    let layer = through(&image.layer_path(0));
    rig.blob(&layer).await.unwrap();
    let text = image.layers[0].digest.clone();
    is_kept(&rig, &text).await;
    (rig, image, layer, text)
}

async fn restarted(rig: Rig, registry: &FakeRegistry, keep: KeepSettings) -> Rig {
    assert!(rig.plane.stop(STOP).await);
    again(rig.dir.clone(), registry, keep).await
}

async fn again(dir: Arc<tempfile::TempDir>, registry: &FakeRegistry, keep: KeepSettings) -> Rig {
    let setup = Setup { dir: Some(dir), keep, ..Setup::default() };
    Rig::with(&documents(&registry.url(), ""), setup).await
}

#[tokio::test]
async fn a_file_truncated_while_the_plane_was_stopped_is_a_miss() {
    let registry = FakeRegistry::start().await;
    let (rig, _, layer, text) = warm(&registry).await;
    let file = file_of(&rig, &text);
    assert!(rig.plane.stop(STOP).await);
    truncate(&file);
    let rig = again(rig.dir.clone(), &registry, KeepSettings::default()).await;
    let (bytes, status) = rig.blob(&layer).await.unwrap();
    assert_eq!((bytes.len(), status), (LAYER, CacheStatus::Miss));
    assert_eq!(rig.metric("lockgate_damaged_blobs_total"), 1.0);
    is_kept(&rig, &text).await;
    assert_eq!(rig.blob(&layer).await.unwrap().1, CacheStatus::Hit);
}

#[tokio::test]
async fn a_truncated_file_that_no_row_knows_is_a_miss_too() {
    let registry = FakeRegistry::start().await;
    let (rig, _, layer, text) = warm(&registry).await;
    let file = file_of(&rig, &text);
    assert!(rig.plane.stop(STOP).await);
    truncate(&file);
    forget_catalog(&rig);
    let rig = again(rig.dir.clone(), &registry, KeepSettings::default()).await;
    assert_eq!(rig.blob(&layer).await.unwrap().0.len(), LAYER);
}

#[tokio::test]
async fn a_file_truncated_while_it_is_open_breaks_one_answer_and_is_fetched_again() {
    let registry = FakeRegistry::start().await;
    let (rig, _, layer, text) = warm(&registry).await;
    assert_eq!(rig.blob(&layer).await.unwrap().1, CacheStatus::Hit);
    truncate(&file_of(&rig, &text));
    assert!(rig.blob(&layer).await.is_err(), "never a clean end");
    rig.eventually("it is found", async |rig| rig.metric("lockgate_damaged_blobs_total") == 1.0)
        .await;
    let (bytes, status) = rig.blob(&layer).await.unwrap();
    assert_eq!((bytes.len(), status), (LAYER, CacheStatus::Miss));
}

#[tokio::test]
async fn a_purge_removes_what_no_row_knows() {
    let registry = FakeRegistry::start().await;
    let (rig, _, layer, text) = warm(&registry).await;
    let mut batch = catalog::Batch::new();
    batch.blob_lost(&digest(&text));
    rig.catalog.submit(batch).await.unwrap();
    let purged = rig.plane.purge(PurgeTarget::Digest(digest(&text))).await.unwrap();
    assert_eq!((purged.contents, purged.blobs, purged.bytes), (1, 1, LAYER as u64), "{purged:?}");
    assert!(!file_of(&rig, &text).exists());
    assert_eq!(rig.blob(&layer).await.unwrap().1, CacheStatus::Miss);
}

#[tokio::test]
async fn a_purge_removes_what_waits_for_its_grace() {
    let registry = FakeRegistry::start().await;
    let (rig, _, layer, text) = warm(&registry).await;
    let mut batch = catalog::Batch::new();
    batch.condemn(&digest(&text), rig.clock.now());
    rig.catalog.submit(batch).await.unwrap();
    let purged = rig.plane.purge(PurgeTarget::Digest(digest(&text))).await.unwrap();
    assert_eq!((purged.contents, purged.blobs), (1, 1), "{purged:?}");
    assert_eq!(rig.blob(&layer).await.unwrap().1, CacheStatus::Miss);
}

#[tokio::test]
async fn a_purge_after_a_restart_removes_what_was_served_just_now() {
    let registry = FakeRegistry::start().await;
    let (rig, _, layer, text) = warm(&registry).await;
    let rig = restarted(rig, &registry, KeepSettings::default()).await;
    assert_eq!(rig.blob(&layer).await.unwrap().1, CacheStatus::Hit);
    let purged = rig.plane.purge(PurgeTarget::Digest(digest(&text))).await.unwrap();
    assert_eq!((purged.contents, purged.blobs), (1, 1), "{purged:?}");
    assert_eq!(rig.blob(&layer).await.unwrap().1, CacheStatus::Miss);
}

#[tokio::test]
async fn a_purge_says_what_holds_the_bytes() {
    let registry = FakeRegistry::start().await;
    let (rig, _, layer, text) = warm(&registry).await;
    let target = || PurgeTarget::Digest(digest(&text));
    rig.plane.pin("reg/a/b:1").await.unwrap();
    let purged = rig.plane.purge(target()).await.unwrap();
    assert_eq!((purged.blobs, purged.pinned), (0, 1), "{purged:?}");
    rig.plane.unpin("reg/a/b:1").await.unwrap();
    let (answer, status) = rig.blob_answer(&layer).await.unwrap();
    assert_eq!(status, CacheStatus::Revalidated);
    let name = oci::Name::parse("reg/a/b").unwrap();
    rig.eventually("the name holds it again", async |rig| {
        matches!(rig.catalog.content(&name, &digest(&text)), Ok(Some(_)))
    })
    .await;
    let purged = rig.plane.purge(target()).await.unwrap();
    assert_eq!((purged.contents, purged.blobs, purged.in_use), (1, 0, 1), "{purged:?}");
    drop(answer);
    let purged = rig.plane.purge(target()).await.unwrap();
    assert_eq!((purged.blobs, purged.pinned, purged.in_use), (1, 0, 0), "{purged:?}");
}

async fn verified(rig: &Rig, request: VerifyRequest) -> plane::JobView {
    let job = rig.plane.verify(request).await.unwrap();
    let mut changes = rig.plane.job(&job.id).unwrap();
    changes.wait_for(|view| view.state.is_final()).await.unwrap().clone()
}

#[tokio::test]
async fn verifying_finds_a_flipped_bit_and_it_is_fetched_again() {
    let registry = FakeRegistry::start().await;
    let (rig, image, layer, text) = warm(&registry).await;
    let whole = verified(&rig, VerifyRequest::All).await;
    assert_eq!(
        (whole.state, whole.kind.as_str(), whole.items.len()),
        (JobState::Done, "verify", 1)
    );
    assert!(whole.done_bytes > LAYER as u64 && whole.done_bytes == whole.total_bytes, "{whole:?}");
    flip(&file_of(&rig, &text));
    // What is asked for decides what is read.
    let manifest = digest(&image.digest);
    let other = verified(&rig, VerifyRequest::Digest(manifest)).await;
    assert_eq!(other.state, JobState::Done, "{other:?}");
    let found = verified(&rig, VerifyRequest::Reference("reg/a/b:1".to_owned())).await;
    assert_eq!(found.state, JobState::Failed, "{found:?}");
    assert_eq!(found.items[1].digest, Some(digest(&text)), "{found:?}");
    assert_eq!(rig.metric("lockgate_damaged_blobs_total"), 1.0);
    assert_eq!(rig.blob(&layer).await.unwrap().1, CacheStatus::Miss);
    is_kept(&rig, &text).await;
    let repository = VerifyRequest::Repository("reg".to_owned());
    assert_eq!(verified(&rig, repository).await.state, JobState::Done);
    for wrong in
        [VerifyRequest::Repository("nowhere".into()), VerifyRequest::Reference("::".into())]
    {
        assert!(rig.plane.verify(wrong).await.is_err());
    }
}

#[tokio::test]
async fn the_scrub_finds_a_flipped_bit_by_itself() {
    let registry = FakeRegistry::start().await;
    let (rig, _, layer, text) = warm(&registry).await;
    flip(&file_of(&rig, &text));
    rig.plane.scrub_round().await;
    assert_eq!(rig.metric("lockgate_damaged_blobs_total"), 1.0);
    assert_eq!(rig.blob(&layer).await.unwrap().1, CacheStatus::Miss);
}

fn forget_catalog(rig: &Rig) {
    for entry in std::fs::read_dir(rig.dir.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("catalog.sqlite") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

#[tokio::test]
async fn what_a_lost_catalog_knew_is_counted_and_evicted_in_the_end() {
    let registry = FakeRegistry::start().await;
    let (rig, image, ..) = warm(&registry).await;
    is_kept(&rig, &image.digest).await;
    assert!(rig.plane.stop(STOP).await);
    forget_catalog(&rig);
    let rig = again(rig.dir.clone(), &registry, KeepSettings::default()).await;
    rig.eventually("it is counted again", async |rig| {
        rig.plane.cache_stats().await.unwrap().bytes > LAYER as u64
    })
    .await;
    let victims = rig.catalog.victims(None, 10).unwrap();
    assert_eq!(victims.iter().filter(|victim| victim.is_manifest).count(), 1, "{victims:?}");
    let keep = KeepSettings {
        max_bytes: Some(LAYER as u64 / 2),
        grace: Duration::ZERO,
        reserve_bytes: 0,
        ..KeepSettings::default()
    };
    let file = file_of(&rig, &image.layers[0].digest);
    let rig = restarted(rig, &registry, keep).await;
    rig.eventually("it is evicted", async |_| !file.exists()).await;
}
