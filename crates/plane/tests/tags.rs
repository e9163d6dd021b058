//! Freshness and the four outcomes: what a tag means while its upstream is well, slow, wrong, gone.

mod support;

use plane::{Method, Refusal, What};
use std::time::Duration;
use support::{Rig, Setup, documents, through};
use telemetry::CacheStatus;
use testkit::{FakeRegistry, Fault, ImageSpec, Match, Mode};

const MINUTE: Duration = Duration::from_secs(60);

fn manifest_requests(registry: &FakeRegistry, method: &str) -> usize {
    registry.count(|seen| seen.method == method && seen.path.contains("/manifests/"))
}

#[tokio::test]
async fn a_tag_is_fetched_once_and_then_revalidated_by_head() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([100]));
    let rig = Rig::over(&registry).await;
    let path = through(&image.tag_path());
    let (bytes, status) = rig.manifest(&path).await.unwrap();
    assert_eq!((bytes.clone(), status), (image.manifest.clone(), CacheStatus::Miss));
    for _ in 0..10 {
        assert_eq!(rig.manifest(&path).await.unwrap().1, CacheStatus::Hit);
    }
    assert_eq!(manifest_requests(&registry, "GET"), 1);
    assert_eq!(manifest_requests(&registry, "HEAD"), 0);

    // Past its life: served at once, and asked about behind the answer.
    rig.clock.advance(6 * MINUTE);
    assert_eq!(rig.manifest(&path).await.unwrap().1, CacheStatus::Stale);
    rig.eventually("it is fresh again", async |rig| {
        rig.manifest(&path).await.unwrap().1 == CacheStatus::Hit
    })
    .await;
    assert_eq!(manifest_requests(&registry, "HEAD"), 1);

    // Past that too: asked first.
    rig.clock.advance(70 * MINUTE);
    assert_eq!(rig.manifest(&path).await.unwrap().1, CacheStatus::Revalidated);
    assert_eq!(manifest_requests(&registry, "GET"), 1, "nothing was fetched again");
}

#[tokio::test]
async fn a_tag_that_moved_is_followed_and_the_old_digest_stays() {
    let registry = FakeRegistry::start().await;
    let old = registry.image("a/b", "1", ImageSpec::layers([100]).seed(1));
    let rig = Rig::over(&registry).await;
    rig.manifest(&through(&old.tag_path())).await.unwrap();
    let new = registry.image("a/b", "1", ImageSpec::layers([100]).seed(2));
    rig.clock.advance(70 * MINUTE);
    let (bytes, status) = rig.manifest(&through(&old.tag_path())).await.unwrap();
    assert_eq!((bytes, status), (new.manifest, CacheStatus::Miss));
    let (bytes, status) = rig.manifest(&through(&old.digest_path())).await.unwrap();
    assert_eq!((bytes, status), (old.manifest, CacheStatus::Hit));
}

#[tokio::test]
async fn an_outage_serves_what_there_is_and_never_says_absent() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([100, 2000]));
    let rig = Rig::over(&registry).await;
    let (tag, digest) = (through(&image.tag_path()), through(&image.digest_path()));
    rig.manifest(&tag).await.unwrap();
    rig.blob(&through(&image.layer_path(0))).await.unwrap();
    for (mode, limited) in [
        (Mode::Status(500), false),
        (Mode::Status(429), true),
        (Mode::Garbage, false),
        (Mode::BlackHole, false),
    ] {
        registry.mode(mode);
        rig.clock.advance(100 * MINUTE);
        let (bytes, status) = rig.manifest(&tag).await.unwrap();
        assert_eq!((bytes, status), (image.manifest.clone(), CacheStatus::Stale));
        assert_eq!(rig.manifest(&digest).await.unwrap().1, CacheStatus::Hit);
        assert_eq!(rig.blob(&through(&image.layer_path(0))).await.unwrap().1, CacheStatus::Hit);
        let refusal = rig.get("/v2/reg/a/b/manifests/other").await.unwrap_err();
        match refusal {
            Refusal::Indeterminate { is_rate_limit, .. } => {
                assert!(!limited || is_rate_limit, "429 stays 429");
            }
            other => panic!("{other:?}"),
        }
    }
    registry.mode(Mode::Ok);
}

#[tokio::test]
async fn a_refusal_upstream_is_said_as_one() {
    let registry = FakeRegistry::start().await;
    registry.image("a/b", "1", ImageSpec::layers([100]));
    registry.behave(Match::manifests(), Fault::status(403));
    let rig = Rig::over(&registry).await;
    let refusal = rig.get("/v2/reg/a/b/manifests/1").await.unwrap_err();
    assert!(matches!(refusal, Refusal::UpstreamDenied(_)), "{refusal:?}");
    assert!(refusal.to_string().contains("up"), "{refusal}");
}

#[tokio::test]
async fn what_the_upstream_deleted_is_kept_or_refused_as_the_repository_says() {
    for (setting, kept) in [("", true), (", onUpstreamDelete: { refuse: true }", false)] {
        let registry = FakeRegistry::start().await;
        let image = registry.image("a/b", "1", ImageSpec::layers([100]));
        let text = documents(&registry.url(), setting);
        let rig = Rig::with(&text, Setup::default()).await;
        rig.manifest(&through(&image.tag_path())).await.unwrap();
        registry.delete_tag("a/b", "1");
        rig.clock.advance(100 * MINUTE);
        let after = rig.manifest(&through(&image.tag_path())).await;
        match after {
            Ok((_, status)) => assert_eq!((status, kept), (CacheStatus::Stale, true)),
            Err(refusal) => {
                assert!(matches!(refusal, Refusal::Absent { .. }), "{refusal:?}");
                assert!(!kept && refusal.to_string().contains("onUpstreamDelete"), "{refusal}");
            }
        }
        // By digest nothing changed: bytes do not expire.
        assert!(rig.manifest(&through(&image.digest_path())).await.is_ok());
    }
}

#[tokio::test]
async fn an_absence_is_remembered_for_its_time_only() {
    let registry = FakeRegistry::start().await;
    registry.image("a/b", "1", ImageSpec::layers([100]));
    let text = documents(&registry.url(), ", freshness: { absentTtl: 300ms }");
    let rig = Rig::with(&text, Setup::default()).await;
    for _ in 0..3 {
        let refusal = rig.get("/v2/reg/a/b/manifests/2").await.unwrap_err();
        assert!(matches!(refusal, Refusal::Absent { .. }), "{refusal:?}");
    }
    assert_eq!(manifest_requests(&registry, "GET"), 1);
    registry.image("a/b", "2", ImageSpec::layers([100]).seed(9));
    rig.eventually("the new tag is seen", async |rig| {
        rig.get("/v2/reg/a/b/manifests/2").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn an_index_and_its_children_are_what_upstream_holds() {
    let registry = FakeRegistry::start().await;
    let platforms = [("linux", "amd64"), ("linux", "arm64")];
    let index = registry.index("a/b", "1", &platforms);
    let rig = Rig::over(&registry).await;
    let (bytes, _) = rig.manifest(&through(&index.tag_path())).await.unwrap();
    assert_eq!(bytes, index.manifest);
    let child = &index.images[0];
    let (bytes, _) = rig.manifest(&through(&child.digest_path())).await.unwrap();
    assert_eq!(bytes, child.manifest);
    let other = registry.count(|seen| seen.path.contains(&index.images[1].digest));
    assert_eq!(other, 0, "only what is asked for is fetched");
}

#[tokio::test]
async fn a_warm_pull_survives_a_catalog_that_is_gone() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([5000]));
    let rig = Rig::over(&registry).await;
    rig.manifest(&through(&image.tag_path())).await.unwrap();
    rig.blob(&through(&image.layer_path(0))).await.unwrap();
    rig.eventually("the blob is in the store", async |rig| {
        rig.blob(&through(&image.layer_path(0))).await.unwrap().1 == CacheStatus::Hit
    })
    .await;
    for file in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        let _ = std::fs::remove_file(rig.dir.path().join(file));
    }
    registry.mode(Mode::Status(500));
    assert_eq!(rig.manifest(&through(&image.tag_path())).await.unwrap().1, CacheStatus::Hit);
    assert_eq!(rig.blob(&through(&image.layer_path(0))).await.unwrap().1, CacheStatus::Hit);
}

#[tokio::test]
async fn a_restart_knows_what_was_known() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([5000]));
    let rig = Rig::over(&registry).await;
    rig.manifest(&through(&image.tag_path())).await.unwrap();
    rig.blob(&through(&image.layer_path(0))).await.unwrap();
    rig.eventually("the blob is committed", async |rig| {
        rig.metric("lockgate_fills_finished_total{result=\"complete\"}") == 1.0
    })
    .await;
    assert!(rig.plane.stop(Duration::from_secs(10)).await);
    registry.mode(Mode::Status(500));
    let dir = Some(rig.dir.clone());
    let again = Rig::with(&documents(&registry.url(), ""), Setup { dir, ..Setup::default() }).await;
    let (bytes, status) = again.manifest(&through(&image.tag_path())).await.unwrap();
    assert_eq!((bytes, status), (image.manifest.clone(), CacheStatus::Hit));
    assert_eq!(again.blob(&through(&image.layer_path(0))).await.unwrap().1, CacheStatus::Hit);
}

#[tokio::test]
async fn lists_are_whole_paged_and_stale_in_an_outage() {
    let registry = FakeRegistry::start().await;
    for tag in ["3", "1", "2"] {
        registry.image("a/b", tag, ImageSpec::layers([100]));
    }
    registry.set_page_size(1);
    let rig = Rig::over(&registry).await;
    let tags = async |path: &str| match rig.get(path).await.map(|served| served.what) {
        Ok(What::Tags { name, tags, more_after }) => {
            let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
            (name, tags.join(","), more_after.map(|tag| tag.to_string()))
        }
        other => panic!("{other:?}"),
    };
    let all = ("reg/a/b".to_owned(), "1,2,3".to_owned(), None);
    assert_eq!(tags("/v2/reg/a/b/tags/list").await, all);
    let page = tags("/v2/reg/a/b/tags/list?n=2").await;
    assert_eq!((page.1.as_str(), page.2.as_deref()), ("1,2", Some("2")));
    assert_eq!(tags("/v2/reg/a/b/tags/list?n=2&last=2").await.1, "3");
    registry.mode(Mode::Status(500));
    rig.clock.advance(100 * MINUTE);
    assert_eq!(tags("/v2/reg/a/b/tags/list").await, all);
    let refusal = rig.ask(Method::Get, "/v2/reg/c/d/tags/list").await.unwrap_err();
    assert!(matches!(refusal, Refusal::Indeterminate { .. }), "{refusal:?}");
}

#[tokio::test]
async fn referrers_come_by_api_or_by_fallback_and_are_filtered() {
    use testkit::Referrers;
    for referrers in [Referrers::Api, Referrers::FallbackTag] {
        let registry = FakeRegistry::start().await;
        registry.set_referrers(referrers);
        let image = registry.image("a/b", "1", ImageSpec::layers([100]));
        registry.referrer("a/b", &image.digest, "application/vnd.example.sbom", &b"{}"[..]);
        registry.referrer("a/b", &image.digest, "application/vnd.example.sig", &b"s"[..]);
        let rig = Rig::over(&registry).await;
        let count = async |query: &str| {
            let path = format!("/v2/reg/a/b/referrers/{}{query}", image.digest);
            match rig.get(&path).await.map(|served| served.what) {
                Ok(What::Referrers { descriptors, .. }) => descriptors.len(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(count("").await, 2);
        assert_eq!(count("?artifactType=application/vnd.example.sig").await, 1);
        assert_eq!(count("?artifactType=application/vnd.example.none").await, 0);
    }
}
