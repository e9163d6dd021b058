//! What one request must not do to another: absences, names, downloads and types stay apart.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use plane::{JobState, PrefetchRequest, Refusal, What};
use std::sync::Arc;
use std::time::Duration;
use support::{Rig, Setup, collect, documents, through};
use telemetry::CacheStatus;
use testkit::{
    DOCKER_MANIFEST, FakeRegistry, Fault, Gate, ImageSpec, Match, OCI_MANIFEST, blob_path,
    manifest_path,
};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_absent_manifest_is_no_absent_blob_and_the_other_way_round() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([70_000]));
    let rig = Rig::over(&registry).await;
    // containerd asks for `manifests/<digest>` and `blobs/<digest>` of the same digest.
    let layer = &image.layers[0].digest;
    let refusal = rig.get(&through(&manifest_path("a/b", layer))).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Absent { .. }), "{refusal:?}");
    let (bytes, _) = rig.blob(&through(&image.layer_path(0))).await.unwrap();
    assert_eq!(bytes.len(), 70_000);

    let as_blob = Match::path(&blob_path("a/b", &image.digest));
    registry.behave(as_blob, Fault::status(404));
    let refusal = rig.get(&through(&blob_path("a/b", &image.digest))).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Absent { .. }), "{refusal:?}");
    let (bytes, _) = rig.manifest(&through(&image.digest_path())).await.unwrap();
    assert_eq!(bytes, image.manifest);
}

#[tokio::test]
async fn a_blob_in_the_store_is_no_manifest() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([70_000]));
    let rig = Rig::over(&registry).await;
    for digest in [&image.layers[0].digest, &image.config.digest] {
        let path = through(&blob_path("a/b", digest));
        rig.eventually("it is in the store", async |rig| {
            rig.blob(&path).await.unwrap().1 == CacheStatus::Hit
        })
        .await;
        let served = rig.get(&through(&manifest_path("a/b", digest))).await;
        assert!(matches!(served, Err(Refusal::Absent { .. })), "{digest}");
    }
}

#[tokio::test]
async fn a_name_keeps_the_type_that_its_own_upstream_gave() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([100]));
    registry.manifest("evil/b", "1", DOCKER_MANIFEST, image.manifest.clone());
    let rig = Rig::over(&registry).await;
    for path in [image.tag_path(), manifest_path("evil/b", "1"), image.tag_path()] {
        let What::Manifest(content) = rig.get(&through(&path)).await.unwrap().what else {
            panic!()
        };
        let expected = if path.contains("evil") { DOCKER_MANIFEST } else { OCI_MANIFEST };
        assert_eq!(content.media_type.as_str(), expected, "{path}");
        assert_eq!(content.media_type_header, expected);
    }
}

#[tokio::test]
async fn what_came_in_while_another_upstream_was_asked_is_not_downloaded_again() {
    let registry = FakeRegistry::start().await;
    let digest = registry.synthetic_blob("one", 5 << 20, 7);
    registry.synthetic_blob("two", 5 << 20, 7);
    let (body, head) = (Gate::new(), Gate::new());
    registry.behave(Match::blobs().method("GET"), Fault::HoldAt(1 << 20, body.clone()));
    registry.behave(Match::blobs().method("HEAD"), Fault::Hold(head.clone()));
    let rig = Arc::new(Rig::over(&registry).await);
    let (one, two) = (through(&blob_path("one", &digest)), through(&blob_path("two", &digest)));
    let (first, _) = rig.blob_answer(&one).await.unwrap();
    let second = {
        let rig = rig.clone();
        tokio::spawn(async move { rig.blob(&two).await })
    };
    registry
        .eventually("the other upstream is asked", |seen| {
            seen.count(|seen| seen.method == "HEAD" && seen.path.starts_with("/v2/two/")) == 1
        })
        .await;
    body.open();
    collect(first.stream(None)).await.unwrap();
    rig.eventually("it is in the store", async |rig| {
        rig.blob(&one).await.unwrap().1 == CacheStatus::Hit
    })
    .await;
    head.open();
    let (bytes, _) = second.await.unwrap().unwrap();
    assert_eq!(testkit::sha256(&bytes), digest);
    assert_eq!(registry.bytes_sent_for(&digest), 5 << 20, "one download");
}

/// Prefetches one reference and waits for the end; what became of it.
async fn prefetched(rig: &Rig, reference: &str) -> JobState {
    let request = PrefetchRequest { references: vec![reference.to_owned()], platforms: vec![] };
    let job = rig.plane.prefetch(request).await.unwrap();
    let mut changes = rig.plane.job(&job.id).unwrap();
    changes.wait_for(|view| view.state.is_final()).await.unwrap().state
}

#[tokio::test]
async fn prefetch_joins_no_download_that_its_own_upstream_did_not_vouch_for() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("private/x", "1", ImageSpec::layers([3 << 20]));
    let layer = &image.layers[0].digest;
    // Whoever knows a digest can write a manifest that lists it.
    registry.manifest("mine/x", "1", OCI_MANIFEST, image.manifest.clone());
    let config = testkit::client::get(registry.addr(), &image.config_path(), &[]).await.unwrap();
    registry.blob("mine/x", config.body);
    let gate = Gate::new();
    let held = Match::path_contains(layer).method("GET");
    registry.behave(held, Fault::HoldAt(1 << 20, gate.clone()));
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "secret").unwrap();
    let private = format!(
        "---\napiVersion: lockgate.dev/v1alpha1\nkind: Upstream\nmetadata: {{ name: private }}\n\
         spec:\n  endpoints: [{{ url: \"{}\" }}]\n  boundary: {{ privateAddresses: true }}\n  \
         credentials: [{{ prefix: \"\", basic: {{ username: me, passwordFile: {} }} }}]\n---\n\
         apiVersion: lockgate.dev/v1alpha1\nkind: Repository\nmetadata: {{ name: sec }}\n\
         spec:\n  remote: {{ upstream: private }}\n---\n\
         apiVersion: lockgate.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: all }}\n\
         spec:\n  allow: [{{ subjects: [{{ kind: Anonymous }}], actions: [Pull], repositories: [\"**\"] }}]\n",
        registry.url(),
        secret.path().display()
    );
    let text = documents(&registry.url(), "") + &private;
    let rig = Rig::with(&text, Setup::default()).await;
    let path = image.layer_path(0).replacen("/v2/", "/v2/sec/", 1);
    let (running, _) = rig.blob_answer(&path).await.unwrap();
    let opener = async {
        registry
            .eventually("its own upstream is asked for the layer", |seen| {
                seen.count(|seen| seen.path == blob_path("mine/x", layer)) > 0
            })
            .await;
        gate.open();
    };
    let (state, ()) = tokio::join!(prefetched(&rig, "reg/mine/x:1"), opener);
    assert_eq!(state, JobState::Failed);
    collect(running.stream(None)).await.unwrap();
}

#[tokio::test]
async fn prefetch_downloads_nothing_that_the_store_has() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("one", "1", ImageSpec::layers([300_000]).seed(1));
    registry.image("two", "1", ImageSpec::layers([300_000]).seed(1));
    let rig = Rig::over(&registry).await;
    assert_eq!(prefetched(&rig, "reg/one:1").await, JobState::Done);
    let layer = &image.layers[0].digest;
    assert_eq!(registry.bytes_sent_for(layer), 300_000);
    assert_eq!(prefetched(&rig, "reg/two:1").await, JobState::Done);
    assert_eq!(registry.bytes_sent_for(layer), 300_000);
    let (_, status) = rig.blob(&through(&blob_path("two", layer))).await.unwrap();
    assert_eq!(status, CacheStatus::Hit, "and the other name holds it now");
}

#[tokio::test]
async fn an_outage_brings_no_deleted_tag_back() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([100]));
    let text = documents(&registry.url(), ", onUpstreamDelete: { refuse: true }");
    let rig = Rig::with(&text, Setup::default()).await;
    let path = through(&image.tag_path());
    rig.manifest(&path).await.unwrap();
    let deleted = registry.behave(Match::manifests(), Fault::status(404));
    rig.clock.advance(70 * MINUTE);
    let refusal = rig.get(&path).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Absent { .. }), "{refusal:?}");
    registry.forget(&deleted);
    registry.behave(Match::manifests(), Fault::status(500));
    rig.clock.advance(MINUTE);
    let refusal = rig.get(&path).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Indeterminate { .. }), "{refusal:?}");
    // The upstream's circuit has time to close.
    registry.clear();
    assert_eq!(rig.manifest(&path).await.unwrap().0, image.manifest, "it came back upstream");
}

#[tokio::test]
async fn on_a_full_disk_who_comes_late_gets_a_download_of_its_own() {
    let registry = FakeRegistry::start().await;
    let digest = registry.synthetic_blob("a/b", 12 << 20, 6);
    let gate = Gate::new();
    registry.behave(Match::blobs().first(1), Fault::HoldAt(11 << 20, gate.clone()));
    let setup = Setup { fail_writes_after_bytes: Some(1 << 20), ..Setup::default() };
    let rig = Arc::new(Rig::with(&documents(&registry.url(), ""), setup).await);
    let path = through(&blob_path("a/b", &digest));
    let first = {
        let (rig, path) = (rig.clone(), path.clone());
        tokio::spawn(async move { rig.blob(&path).await })
    };
    registry
        .eventually("most of it is sent", |seen| seen.bytes_sent_for(&digest) >= 11 << 20)
        .await;
    let (bytes, status) = rig.blob(&path).await.unwrap();
    assert_eq!((testkit::sha256(&bytes), status), (digest.clone(), CacheStatus::Uncached));
    gate.open();
    let (bytes, _) = first.await.unwrap().unwrap();
    assert_eq!(testkit::sha256(&bytes), digest);
}
