//! Manifests, and the four outcomes.

use crate::support::*;
use oci::MediaType;
use testkit::{FakeRegistry, Fault, ImageSpec, Match, OCI_MANIFEST, RateLimit};
use upstream::{Class, FailureKind, Profile, Settings};

async fn registry() -> (FakeRegistry, testkit::Image) {
    let registry = FakeRegistry::start().await;
    let image = registry.image("library/alpine", "3", ImageSpec::layers([1000]));
    (registry, image)
}

#[tokio::test]
async fn a_manifest_comes_verbatim_by_tag_and_by_digest() {
    let (registry, image) = registry().await;
    let upstream = upstream(&[&registry]);
    for text in ["3", image.digest.as_str()] {
        let answer = upstream.manifest(&name("library/alpine"), &reference(text), WAITING).await;
        let answer = answer.unwrap();
        assert_eq!(answer.bytes, image.manifest);
        assert_eq!(answer.digest, digest(&image.digest));
        assert_eq!(answer.media_type, MediaType::OCI_MANIFEST);
        assert_eq!(answer.endpoint, registry.url());
        let head = upstream.head_manifest(&name("library/alpine"), &reference(text), WAITING).await;
        let head = head.unwrap();
        assert_eq!(head.digest, Some(digest(&image.digest)));
        assert_eq!(head.size_bytes, Some(image.manifest.len() as u64));
        assert_eq!(head.media_type, Some(MediaType::OCI_MANIFEST));
    }
    for seen in registry.requests() {
        assert_eq!(seen.header("accept"), Some(oci::ACCEPTED_MANIFESTS));
        assert_eq!(seen.header("accept-encoding"), Some("identity"));
        assert!(seen.header("user-agent").unwrap().starts_with("lockgate/"));
    }
}

#[tokio::test]
async fn every_answer_has_its_outcome() {
    use FailureKind::{Absent, Denied, Indeterminate};
    let html = |status| {
        Fault::status(status).header("content-type", "text/html").body("<html>no</html>").into()
    };
    let with_body = |body: &'static str| Fault::status(404).body(body).into();
    let cases: Vec<(Fault, FailureKind)> = vec![
        (Fault::status(404).into(), Absent),
        (with_body(""), Absent),
        (with_body(r#"{"detail":"nope"}"#), Absent),
        (with_body("404 page not found\n"), Indeterminate),
        (html(404), Indeterminate),
        (Fault::html().into(), Indeterminate),
        (Fault::status(401).into(), Denied),
        (Fault::status(403).into(), Denied),
        (Fault::status(429).into(), Indeterminate),
        (Fault::status(400).into(), Indeterminate),
        (Fault::status(418).into(), Indeterminate),
        (Fault::status(500).into(), Indeterminate),
        (Fault::status(503).into(), Indeterminate),
        (Fault::status(204).into(), Indeterminate),
        (Fault::Garbage, Indeterminate),
        (Fault::Drop, Indeterminate),
        (Fault::ResetAtOnce, Indeterminate),
        (Fault::BlackHole, Indeterminate),
        (Fault::EndlessHeader, Indeterminate),
        (Fault::HugeHeader(1 << 20), Indeterminate),
        (Fault::Truncate(10), Indeterminate),
        (Fault::Stall(10), Indeterminate),
        (Fault::HugeBody(5 << 20), Indeterminate),
        (Fault::header("content-encoding", "gzip"), Indeterminate),
        (Fault::lying_digest(), Indeterminate),
        (Fault::FlipByte(3), Indeterminate),
    ];
    for (fault, outcome) in cases {
        let (registry, image) = registry().await;
        registry.behave(Match::manifests(), fault.clone());
        let upstream = build(fit(&fault, &[&registry]));
        for text in ["3", image.digest.as_str()] {
            let wanted = reference(text);
            let refused = upstream.manifest(&name("library/alpine"), &wanted, WAITING).await;
            assert_eq!(kind(refused), outcome, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn head_has_the_same_outcomes() {
    use FailureKind::{Absent, Denied, Indeterminate};
    let html = Fault::status(404).header("content-type", "text/html");
    for (fault, outcome) in [
        (Fault::from(Fault::status(404)), Absent),
        (html.into(), Indeterminate),
        (Fault::status(401).into(), Denied),
        (Fault::status(500).into(), Indeterminate),
        (Fault::html().into(), Indeterminate),
        (Fault::BlackHole, Indeterminate),
    ] {
        let (registry, image) = registry().await;
        registry.behave(Match::any(), fault.clone());
        let upstream = build(fit(&fault, &[&registry]));
        let alpine = name("library/alpine");
        let head = upstream.head_manifest(&alpine, &reference("3"), WAITING).await;
        assert_eq!(kind(head), outcome, "{fault:?}");
        let layer = digest(&image.layers[0].digest);
        let head = upstream.head_blob(&alpine, &layer, WAITING).await;
        assert_eq!(kind(head), outcome, "{fault:?}");
    }
}

#[tokio::test]
async fn a_registry_without_head_or_digest_headers_is_read_all_the_same() {
    let (registry, image) = registry().await;
    registry.behave(Match::manifests().method("HEAD"), Fault::status(405));
    registry.behave(Match::manifests(), Fault::without_digest());
    let upstream = upstream(&[&registry]);
    let wanted = name("library/alpine");
    let head = upstream.head_manifest(&wanted, &reference("3"), WAITING).await.unwrap();
    assert_eq!(head.digest, Some(digest(&image.digest)));
    let answer = upstream.manifest(&wanted, &reference("3"), WAITING).await.unwrap();
    assert_eq!(answer.digest, digest(&image.digest));
}

#[tokio::test]
async fn bytes_under_anothers_digest_are_a_lie() {
    let (registry, image) = registry().await;
    let other = testkit::sha256(b"other");
    registry.manifest_under("library/alpine", &other, OCI_MANIFEST, image.manifest.clone());
    let upstream = upstream(&[&registry]);
    let refused = upstream.manifest(&name("library/alpine"), &reference(&other), WAITING).await;
    assert_eq!(kind(refused), FailureKind::Indeterminate);
}

#[tokio::test]
async fn one_quick_failure_is_tried_again_and_many_are_not() {
    let (registry, _) = registry().await;
    registry.behave(Match::manifests().first(1), Fault::status(502));
    let upstream = upstream(&[&registry]);
    upstream.manifest(&name("library/alpine"), &reference("3"), WAITING).await.unwrap();
    assert_eq!(registry.requests().len(), 2);
    registry.forget_requests();
    registry.behave(Match::manifests(), Fault::status(502));
    let alpine = name("library/alpine");
    let head = upstream.head_manifest(&alpine, &reference("3"), Class::Prefetch).await;
    assert_eq!(kind(head), FailureKind::Indeterminate);
    assert_eq!(registry.requests().len(), 1, "nobody waits for a prefetch");
}

#[tokio::test]
async fn retries_never_multiply_the_load() {
    let (registry, _) = registry().await;
    registry.behave(Match::any(), Fault::status(500));
    let upstream = upstream(&[&registry]);
    for _ in 0..200 {
        let _ = upstream.manifest(&name("library/alpine"), &reference("3"), WAITING).await;
    }
    let asked = registry.requests().len();
    assert!(asked <= 12, "the circuit opened after five failures: {asked}");
}

#[tokio::test]
async fn too_many_requests_is_obeyed() {
    let (registry, _) = registry().await;
    registry.behave(Match::manifests(), Fault::too_many_requests(60));
    let upstream = upstream(&[&registry]);
    for _ in 0..5 {
        let refused = upstream.manifest(&name("library/alpine"), &reference("3"), WAITING).await;
        let failure = refused.unwrap_err();
        assert!(failure.is_rate_limit(), "{failure:?}");
        assert!(failure.retry_after().unwrap().as_secs() >= 50);
    }
    assert_eq!(registry.requests().len(), 1);
    assert!(upstream.health()[0].throttled_for.is_some());
}

#[tokio::test]
async fn docker_hub_has_library_and_a_budget_that_background_work_leaves_alone() {
    let (registry, image) = registry().await;
    let hub = Settings { profile: Profile::DockerHub, ..settings(&[&registry]) };
    let upstream = build(hub);
    let alpine = name("alpine");
    let pull = async |class| upstream.manifest(&alpine, &reference("3"), class).await;
    let limit = |remaining| Some(RateLimit { remaining, ..RateLimit::new(100) });

    registry.set_rate_limit(limit(41));
    pull(Class::Prefetch).await.unwrap();
    assert!(registry.requests()[0].path.contains("/library/alpine/"));
    // 40 of 100 are left now.
    let stopped = pull(Class::Prefetch).await.unwrap_err();
    assert!(stopped.is_rate_limit() && stopped.reason().contains("40 of 100"), "{stopped}");
    let tag = reference("3");
    upstream.head_manifest(&alpine, &tag, Class::Revalidation).await.unwrap();

    registry.set_rate_limit(limit(20));
    pull(WAITING).await.unwrap();
    let stopped = upstream.head_manifest(&alpine, &tag, Class::Revalidation).await.unwrap_err();
    assert!(stopped.is_rate_limit(), "{stopped}");

    // Who waits goes on until nothing is left, and then only what is counted stops.
    registry.set_rate_limit(limit(1));
    pull(WAITING).await.unwrap();
    assert!(pull(WAITING).await.unwrap_err().is_rate_limit());
    registry.forget_requests();
    assert!(pull(WAITING).await.unwrap_err().retry_after().is_some());
    assert_eq!(registry.requests().len(), 0, "the 429 is obeyed");
    let layer = &image.layers[0].digest;
    assert!(is(&blob(&upstream, "alpine", layer).await.unwrap(), layer));
}

#[tokio::test]
async fn one_at_a_time_if_the_settings_say_so() {
    let (registry, image) = registry().await;
    let mut slow = settings(&[&registry]);
    slow.limits.connections = 1;
    slow.timeouts.first_byte = std::time::Duration::from_millis(500);
    let upstream = build(slow);
    let layer = digest(&image.layers[0].digest);
    let alpine = name("library/alpine");
    let transfer = upstream.blob(&alpine, &layer, Default::default(), WAITING).await.unwrap();
    let refused = upstream.manifest(&alpine, &reference("3"), WAITING).await;
    assert!(refused.clone().unwrap_err().reason().contains("in use"));
    assert_eq!(kind(refused), FailureKind::Indeterminate);
    drop(transfer);
    upstream.manifest(&alpine, &reference("3"), WAITING).await.unwrap();
}
