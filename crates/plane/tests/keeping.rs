//! The store stays within its bounds, and what is in use or pinned stays in the store.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use plane::{FillSettings, JobState, KeepSettings, PrefetchRequest, PurgeTarget};
use std::time::Duration;
use support::{Rig, Setup, documents, through};
use telemetry::CacheStatus;
use testkit::{FakeRegistry, ImageSpec, blob_path};

fn small(max_bytes: u64) -> Setup {
    let keep = KeepSettings {
        max_bytes: Some(max_bytes),
        grace: Duration::ZERO,
        // The disk of the machine that runs the test is nobody's business here.
        high_watermark_percent: 90,
        low_watermark_percent: 50,
        reserve_bytes: 0,
    };
    Setup { keep, fills: FillSettings::default(), ..Setup::default() }
}

async fn used_bytes(rig: &Rig) -> u64 {
    rig.plane.cache_stats().await.unwrap().bytes
}

#[tokio::test]
async fn the_least_recently_used_goes_first_and_pins_stay() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([1 << 20]));
    let rig = Rig::with(&documents(&registry.url(), ""), small(4 << 20)).await;
    rig.manifest(&through(&image.tag_path())).await.unwrap();
    rig.blob(&through(&image.layer_path(0))).await.unwrap();
    rig.plane.pin("reg/a/b:1").await.unwrap();
    let mut paths = Vec::new();
    for seed in 10..16 {
        rig.clock.advance(Duration::from_secs(120));
        let digest = registry.synthetic_blob("x", 1 << 20, seed);
        paths.push(through(&blob_path("x", &digest)));
        rig.blob(paths.last().unwrap()).await.unwrap();
    }
    rig.clock.advance(Duration::from_secs(600));
    rig.eventually("some went", async |rig| rig.metric("lockgate_evicted_blobs_total") >= 3.0)
        .await;
    assert!(used_bytes(&rig).await <= 4 << 20);
    assert_eq!(rig.blob(&through(&image.layer_path(0))).await.unwrap().1, CacheStatus::Hit);
    assert_eq!(rig.blob(&paths[0]).await.unwrap().1, CacheStatus::Miss, "the oldest went");
}

#[tokio::test]
async fn a_repository_is_held_to_its_share() {
    let registry = FakeRegistry::start().await;
    let text = documents(&registry.url(), ", cacheShare: 2MiB");
    let rig = Rig::with(&text, small(1 << 30)).await;
    for seed in 20..25 {
        let digest = registry.synthetic_blob("x", 1 << 20, seed);
        rig.blob(&through(&blob_path("x", &digest))).await.unwrap();
        rig.clock.advance(Duration::from_secs(600));
    }
    rig.eventually("it holds no more than its share", async |rig| {
        let stats = rig.plane.cache_stats().await.unwrap();
        let held = stats.repositories.iter().find(|held| held.repository == "reg");
        held.is_some_and(|held| held.bytes <= 2 << 20)
    })
    .await;
}

#[tokio::test]
async fn a_purge_makes_it_forget_and_the_next_request_asks_again() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([50_000]));
    let rig = Rig::over(&registry).await;
    let (tag, layer) = (through(&image.tag_path()), through(&image.layer_path(0)));
    rig.manifest(&tag).await.unwrap();
    rig.blob(&layer).await.unwrap();
    rig.eventually("it is kept", async |rig| used_bytes(rig).await >= 50_000).await;
    let purged = rig.plane.purge(PurgeTarget::Pattern("reg/a/**".to_owned())).await.unwrap();
    assert!(purged.contents >= 2 && purged.blobs >= 2, "{purged:?}");
    assert_eq!(rig.manifest(&tag).await.unwrap().1, CacheStatus::Miss);
    assert_eq!(rig.blob(&layer).await.unwrap().1, CacheStatus::Miss);
    let digest = oci::Digest::parse(&image.layers[0].digest).unwrap();
    rig.eventually("it is kept again", async |rig| used_bytes(rig).await >= 50_000).await;
    let purged = rig.plane.purge(PurgeTarget::Digest(digest)).await.unwrap();
    assert_eq!((purged.contents, purged.blobs), (1, 1));
    assert_eq!(rig.blob(&layer).await.unwrap().1, CacheStatus::Miss);
    assert!(rig.plane.purge(PurgeTarget::Pattern("[".to_owned())).await.is_err());
}

#[tokio::test]
async fn the_cache_is_listed_page_by_page() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([1000, 2000]));
    let rig = Rig::over(&registry).await;
    rig.manifest(&through(&image.tag_path())).await.unwrap();
    for layer in 0..2 {
        rig.blob(&through(&image.layer_path(layer))).await.unwrap();
    }
    rig.eventually("all is noted", async |rig| {
        rig.plane.cache_page(None, None, None, 10).await.unwrap().items.len() == 3
    })
    .await;
    let first = rig.plane.cache_page(Some("reg"), None, None, 2).await.unwrap();
    assert_eq!(first.items.len(), 2);
    let rest = rig.plane.cache_page(Some("reg"), None, first.continue_after.as_deref(), 2).await;
    assert_eq!(rest.unwrap().items.len(), 1);
    let all = rig.plane.cache_page(None, Some("reg/a/*"), None, 10).await.unwrap();
    let manifest = all.items.iter().find(|item| item.kind == "manifest").unwrap();
    assert_eq!((manifest.tags.as_slice(), manifest.present), (&["1".to_owned()][..], true));
    assert!(rig.plane.cache_page(None, Some("other/**"), None, 10).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_prefetch_brings_one_platform_and_tells_what_failed() {
    let registry = FakeRegistry::start().await;
    let platforms = [("linux", "amd64"), ("linux", "arm64")];
    let index = registry.index("a/b", "1", &platforms);
    let rig = Rig::over(&registry).await;
    let request = PrefetchRequest {
        references: vec!["reg/a/b:1".to_owned(), "reg/a/b:missing".to_owned()],
        platforms: vec!["linux/arm64".to_owned()],
    };
    let job = rig.plane.prefetch(request).await.unwrap();
    let mut changes = rig.plane.job(&job.id).unwrap();
    let ended = changes.wait_for(|view| view.state.is_final()).await.unwrap().clone();
    assert_eq!(ended.items[0].problem, None);
    assert_eq!(ended.items[0].digest.unwrap().to_string(), index.digest);
    assert!(ended.items[1].problem.is_some());
    assert!(ended.done_bytes >= 51_000 && ended.done_bytes == ended.total_bytes, "{ended:?}");
    let arm = &index.images[1];
    assert_eq!(rig.manifest(&through(&arm.digest_path())).await.unwrap().1, CacheStatus::Hit);
    assert_eq!(rig.blob(&through(&arm.layer_path(0))).await.unwrap().1, CacheStatus::Hit);
    let other = registry.count(|seen| seen.path.contains(&index.images[0].digest));
    assert_eq!(other, 0, "the other platform was not asked for");
    assert_eq!(rig.plane.jobs().len(), 1);

    // The second time all of it is held, and what two names share counts once.
    let twice = PrefetchRequest {
        references: vec!["reg/a/b:1".to_owned(), format!("reg/a/b@{}", index.digest)],
        platforms: vec!["linux/arm64".to_owned()],
    };
    let job = rig.plane.prefetch(twice).await.unwrap();
    let mut changes = rig.plane.job(&job.id).unwrap();
    let again = changes.wait_for(|view| view.state.is_final()).await.unwrap().clone();
    let bytes = (again.total_bytes, again.done_bytes, again.held_bytes);
    assert_eq!(bytes, (ended.total_bytes, ended.total_bytes, ended.total_bytes), "{again:?}");
    assert_eq!(ended.held_bytes, 0);

    let list = |references: &[&str], platforms: &[&str]| PrefetchRequest {
        references: references.iter().map(ToString::to_string).collect(),
        platforms: platforms.iter().map(ToString::to_string).collect(),
    };
    assert!(rig.plane.prefetch(list(&[], &[])).await.is_err());
    assert!(rig.plane.prefetch(list(&["reg/a/b:1"], &["linux/"])).await.is_err());
    // What leads nowhere fails alone.
    let mixed = list(&["nginx:1.27", "reg/a/b:1", "reg/UPPER:1"], &["linux/amd64"]);
    let job = rig.plane.prefetch(mixed).await.unwrap();
    let mut changes = rig.plane.job(&job.id).unwrap();
    let ended = changes.wait_for(|view| view.state.is_final()).await.unwrap().clone();
    let states: Vec<_> = ended.items.iter().map(|item| item.state).collect();
    assert_eq!(states, [JobState::Failed, JobState::Done, JobState::Failed], "{ended:?}");
    assert_eq!(ended.state, JobState::Failed);
    let problem = ended.items[0].problem.as_deref().unwrap();
    assert!(problem.contains("no repository of this plane is named nginx"), "{problem}");
}

#[tokio::test]
async fn what_a_manifest_lists_that_was_served_just_now_is_not_removed() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([1 << 20]));
    let grace = Duration::from_secs(300);
    let mut setup = small(4 << 20);
    setup.keep.grace = grace;
    let text = documents(&registry.url(), ", freshness: { tagTtl: forever }");
    let rig = Rig::with(&text, setup).await;
    let (tag, layer) = (through(&image.tag_path()), through(&image.layer_path(0)));
    rig.manifest(&tag).await.unwrap();
    rig.blob(&layer).await.unwrap();
    for seed in 30..34 {
        rig.clock.advance(2 * grace);
        let digest = registry.synthetic_blob("x", 1 << 20, seed);
        rig.blob(&through(&blob_path("x", &digest))).await.unwrap();
    }
    let digest = oci::Digest::parse(&image.layers[0].digest).unwrap();
    let is_condemned = async |rig: &Rig| {
        let condemned = rig.catalog.condemned(rig.clock.now(), 100);
        condemned.unwrap().contains(&digest)
    };
    rig.eventually("the layer is condemned", is_condemned).await;
    // A client is given the manifest just before the grace is over, and asks for the layer after.
    rig.clock.advance(grace - Duration::from_secs(60));
    rig.manifest(&tag).await.unwrap();
    rig.clock.advance(Duration::from_secs(120));
    rig.eventually("it is neither condemned nor removed", async |rig| !is_condemned(rig).await)
        .await;
    assert_eq!(rig.blob(&layer).await.unwrap().1, CacheStatus::Hit);
}
