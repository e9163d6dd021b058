//! One download, shared by all who wait for it: contracts §8, with a registry that misbehaves.

mod support;

use plane::{FillSettings, Method, Refusal, What};
use std::sync::Arc;
use std::time::Duration;
use support::{Rig, Setup, collect, documents, through};
use telemetry::CacheStatus;
use testkit::{FakeRegistry, Fault, Gate, ImageSpec, Match, blob_path};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_cost_one_download() {
    let registry = FakeRegistry::start().await;
    let digest = registry.synthetic_blob("a/b", 8 << 20, 1);
    let gate = Gate::new();
    registry.behave(Match::blobs(), Fault::HoldAt(1 << 20, gate.clone()));
    let rig = Arc::new(Rig::over(&registry).await);
    let path = through(&blob_path("a/b", &digest));
    let pulls: Vec<_> = (0..30)
        .map(|_| {
            let (rig, path) = (rig.clone(), path.clone());
            tokio::spawn(async move { rig.blob(&path).await })
        })
        .collect();
    registry.eventually("a part is sent", |seen| seen.bytes_sent_for(&digest) >= 1 << 20).await;
    let late = rig.range(&path, 100, 200);
    let early_range = late.await.unwrap();
    assert_eq!(early_range.len(), 100, "a range waits only for its window");
    gate.open();
    for pull in pulls {
        let (bytes, _) = pull.await.unwrap().unwrap();
        assert_eq!(testkit::sha256(&bytes), digest);
    }
    assert_eq!(registry.bytes_sent_for(&digest), 8 << 20);
    rig.eventually("it is in the store", async |rig| {
        rig.blob(&path).await.unwrap().1 == CacheStatus::Hit
    })
    .await;
    assert_eq!(registry.bytes_sent_for(&digest), 8 << 20);
}

#[tokio::test]
async fn wrong_bytes_never_end_cleanly_and_are_never_kept() {
    let registry = FakeRegistry::start().await;
    let digest = registry.synthetic_blob("a/b", 3 << 20, 2);
    let rule = registry.behave(Match::blobs().first(1), Fault::OtherContent);
    let rig = Rig::over(&registry).await;
    let path = through(&blob_path("a/b", &digest));
    let broken = rig.blob(&path).await.unwrap_err();
    assert!(broken.contains("hash to"), "{broken}");
    assert_eq!(rule.hits(), 1);
    assert!(rig.plane.status().warnings.iter().any(|w| w.contains("wrong bytes")));
    rig.eventually("the name does not hold it", async |rig| {
        rig.plane.cache_page(None, None, None, 10).await.unwrap().items.is_empty()
    })
    .await;
    assert_eq!(rig.metric("lockgate_fills_finished_total{result=\"mismatch\"}"), 1.0);
    let (bytes, status) = rig.blob(&path).await.unwrap();
    assert_eq!((bytes.len(), status), (3 << 20, CacheStatus::Miss));
}

#[tokio::test]
async fn a_break_is_resumed_without_asking_for_anything_twice() {
    let registry = FakeRegistry::start().await;
    let digest = registry.synthetic_blob("a/b", 4 << 20, 3);
    registry.behave(Match::blobs().first(2), Fault::Truncate(1_000_000));
    let rig = Rig::over(&registry).await;
    let (bytes, _) = rig.blob(&through(&blob_path("a/b", &digest))).await.unwrap();
    assert_eq!(bytes.len(), 4 << 20);
    assert_eq!(registry.bytes_sent_for(&digest), 4 << 20);
}

#[tokio::test]
async fn a_client_that_leaves_or_crawls_stops_nobody() {
    let registry = FakeRegistry::start().await;
    let digest = registry.synthetic_blob("a/b", 6 << 20, 4);
    let gate = Gate::new();
    registry.behave(Match::blobs(), Fault::HoldAt(1 << 20, gate.clone()));
    let rig = Rig::over(&registry).await;
    let path = through(&blob_path("a/b", &digest));
    let (leaver, _) = rig.blob_answer(&path).await.unwrap();
    let (crawler, _) = rig.blob_answer(&path).await.unwrap();
    // Holds its stream and reads nothing.
    let crawling = crawler.stream(None);
    drop(leaver);
    gate.open();
    let (bytes, _) = rig.blob(&path).await.unwrap();
    assert_eq!(bytes.len(), 6 << 20);
    let late = collect(crawling).await.unwrap();
    assert_eq!(late, bytes);
    assert_eq!(registry.bytes_sent_for(&digest), 6 << 20);
}

#[tokio::test]
async fn what_nobody_wants_is_parked_and_resumed_by_the_next() {
    let registry = FakeRegistry::start().await;
    // More than what is finished for its own sake.
    let size = 64u64 << 20;
    let digest = registry.synthetic_blob("a/b", size, 5);
    let gate = Gate::new();
    registry.behave(Match::blobs().first(1), Fault::HoldAt(2 << 20, gate.clone()));
    let fills = FillSettings { linger: Duration::from_millis(50), ..FillSettings::default() };
    let setup = Setup { fills, ..Setup::default() };
    let rig = Rig::with(&documents(&registry.url(), ""), setup).await;
    let path = through(&blob_path("a/b", &digest));
    let (answer, _) = rig.blob_answer(&path).await.unwrap();
    registry.eventually("a part is sent", |seen| seen.bytes_sent_for(&digest) >= 2 << 20).await;
    drop(answer);
    rig.eventually("it is parked", async |rig| {
        rig.metric("lockgate_fills_finished_total{result=\"parked\"}") == 1.0
    })
    .await;
    gate.open();
    let before = registry.bytes_sent_for(&digest);
    let (bytes, _) = rig.blob(&path).await.unwrap();
    assert_eq!(bytes.len() as u64, size);
    let resumed = registry.bytes_sent_for(&digest) - before;
    assert!(resumed < size, "it began again: {resumed}");
    assert!(registry.count(|seen| seen.header("range").is_some()) >= 1);
}

#[tokio::test]
async fn a_full_disk_passes_bytes_on_uncached_and_is_loud() {
    let registry = FakeRegistry::start().await;
    let digest = registry.synthetic_blob("a/b", 12 << 20, 6);
    let setup = Setup { fail_writes_after_bytes: Some(2 << 20), ..Setup::default() };
    let rig = Arc::new(Rig::with(&documents(&registry.url(), ""), setup).await);
    let path = through(&blob_path("a/b", &digest));
    let pulls: Vec<_> = (0..3)
        .map(|_| {
            let (rig, path) = (rig.clone(), path.clone());
            tokio::spawn(async move { rig.blob(&path).await })
        })
        .collect();
    for pull in pulls {
        let (bytes, _) = pull.await.unwrap().unwrap();
        assert_eq!(testkit::sha256(&bytes), digest);
    }
    rig.eventually("it is counted", async |rig| {
        rig.metric("lockgate_fills_finished_total{result=\"unkept\"}") >= 1.0
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_is_warned_of_and_nothing_is_called_stored() {
    let registry = FakeRegistry::start().await;
    let setup = Setup { fail_writes_after_bytes: Some(1000), ..Setup::default() };
    let rig = Rig::with(&documents(&registry.url(), ""), setup).await;
    let pull = async |seed| {
        let digest = registry.synthetic_blob("a/b", 100_000, seed);
        rig.blob(&through(&blob_path("a/b", &digest))).await.unwrap().1
    };
    // Housekeeping may find in between that the real disk has room; then it is tried again.
    for seed in 0..50 {
        pull(2 * seed).await;
        let status = rig.plane.status();
        let cache = pull(2 * seed + 1).await;
        if status.store.full && cache == CacheStatus::Uncached {
            let said = status.warnings.iter().filter(|text| text.contains("is full")).count();
            assert_eq!(said, 1, "{:?}", status.warnings);
            return;
        }
    }
    panic!("it was never full");
}

#[tokio::test]
async fn head_starts_no_download_and_absent_is_absent() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([70_000]));
    let rig = Rig::over(&registry).await;
    let served = rig.ask(Method::Head, &through(&image.layer_path(0))).await.unwrap();
    let What::Blob(answer) = served.what else { panic!("no blob") };
    assert_eq!(answer.size_bytes(), Some(70_000));
    assert_eq!(registry.bytes_sent_for(&image.layers[0].digest), 0);

    let nothing = format!("sha256:{}", "0".repeat(64));
    for _ in 0..2 {
        let refusal = rig.get(&through(&blob_path("a/b", &nothing))).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Absent { .. }), "{refusal:?}");
    }
    let asked = registry.count(|seen| seen.path.contains(&nothing));
    assert_eq!(asked, 1, "an authoritative absence is remembered");
}

#[tokio::test]
async fn two_names_share_one_download_once_each_upstream_has_it() {
    let registry = FakeRegistry::start().await;
    let digest = registry.synthetic_blob("one", 5 << 20, 7);
    let same = registry.synthetic_blob("two", 5 << 20, 7);
    assert_eq!(digest, same);
    let gate = Gate::new();
    registry.behave(Match::blobs().method("GET"), Fault::HoldAt(1 << 20, gate.clone()));
    let rig = Arc::new(Rig::over(&registry).await);
    let (one, two) = (through(&blob_path("one", &digest)), through(&blob_path("two", &digest)));
    let (first, _) = rig.blob_answer(&one).await.unwrap();
    let (second, status) = rig.blob_answer(&two).await.unwrap();
    assert_eq!(status, CacheStatus::Joined);
    let missing = through(&blob_path("three", &digest));
    let refusal = rig.get(&missing).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Absent { .. }), "presence is no permission: {refusal:?}");
    gate.open();
    let (a, b) = tokio::join!(collect(first.stream(None)), collect(second.stream(None)));
    assert_eq!(a.unwrap(), b.unwrap());
    assert_eq!(registry.bytes_sent_for(&digest), 5 << 20);
    let heads = registry.count(|seen| seen.method == "HEAD" && seen.path.starts_with("/v2/two/"));
    assert_eq!(heads, 1);
}

#[tokio::test]
async fn a_length_that_lies_breaks_the_body() {
    let registry = FakeRegistry::start().await;
    let digest = registry.synthetic_blob("a/b", 1 << 20, 8);
    registry.behave(Match::blobs().method("GET"), Fault::LengthOff(1 << 19));
    let rig = Rig::over(&registry).await;
    let broken = rig.blob(&through(&blob_path("a/b", &digest))).await;
    assert!(broken.is_err(), "{broken:?}");
}
