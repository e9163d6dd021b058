//! Several endpoints: the next one only when nothing is known, and not the dead one every time.

use crate::support::*;
use std::time::Duration;
use testkit::{FakeRegistry, Fault, ImageSpec, Match, Mode};
use upstream::{Circuit, FailureKind, Resume};

async fn pair() -> (FakeRegistry, FakeRegistry, testkit::Image) {
    let (first, second) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let spec = || ImageSpec::layers([300_000]).seed(7);
    first.image("a/b", "1", spec());
    let image = second.image("a/b", "1", spec());
    (first, second, image)
}

#[tokio::test]
async fn absent_and_denied_stand() {
    for (status, outcome) in [(404, FailureKind::Absent), (403, FailureKind::Denied)] {
        let (first, second, _) = pair().await;
        first.behave(Match::any(), Fault::status(status));
        let refused =
            upstream(&[&first, &second]).manifest(&name("a/b"), &reference("1"), WAITING).await;
        assert_eq!(kind(refused), outcome);
        assert_eq!(second.requests().len(), 0);
    }
}

#[tokio::test]
async fn what_is_not_known_is_asked_of_the_next() {
    for fault in [
        Fault::from(Fault::status(500)),
        Fault::too_many_requests(30).into(),
        Fault::Garbage,
        Fault::BlackHole,
        Fault::OtherContent,
        Fault::html().into(),
    ] {
        let (first, second, image) = pair().await;
        first.behave(Match::any(), fault.clone());
        let upstream = build(fit(&fault, &[&first, &second]));
        let answer = upstream.manifest(&name("a/b"), &reference("1"), WAITING).await.unwrap();
        assert_eq!(answer.endpoint, second.url(), "{fault:?}");
        assert_eq!(answer.digest, digest(&image.digest));
    }
}

#[tokio::test]
async fn all_that_failed_is_told() {
    let (first, second, _) = pair().await;
    first.mode(Mode::Status(500));
    second.behave(Match::any(), Fault::too_many_requests(30));
    let refused =
        upstream(&[&first, &second]).manifest(&name("a/b"), &reference("1"), WAITING).await;
    let failure = refused.unwrap_err();
    assert!(failure.is_rate_limit(), "{failure:?}");
    for host in [first.host(), second.host()] {
        assert!(failure.reason().contains(&host), "{failure}");
    }
}

#[tokio::test]
async fn a_dead_endpoint_is_left_alone_and_found_again() {
    let (first, second, _) = pair().await;
    first.mode(Mode::Drop);
    let upstream = upstream(&[&first, &second]);
    let pull = async || upstream.manifest(&name("a/b"), &reference("1"), WAITING).await.unwrap();
    for _ in 0..5 {
        assert_eq!(pull().await.endpoint, second.url());
    }
    assert!(matches!(upstream.health()[0].circuit, Circuit::Open { .. }));
    assert!(upstream.health()[0].last_problem.is_some());
    assert_eq!(upstream.health()[1].circuit, Circuit::Closed);
    let before = first.connections_accepted();
    pull().await;
    assert_eq!(first.connections_accepted(), before);
    first.mode(Mode::Ok);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while pull().await.endpoint != first.url() {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(upstream.health()[0].circuit, Circuit::Closed);
}

#[tokio::test]
async fn a_single_dead_endpoint_is_told_at_once_and_found_again() {
    let (first, _, _) = pair().await;
    first.stop().await;
    let upstream = upstream(&[&first]);
    let pull = async || upstream.manifest(&name("a/b"), &reference("1"), WAITING).await;
    for _ in 0..12 {
        let refused = pull().await;
        assert!(refused.clone().unwrap_err().reason().contains(&first.host()));
        assert_eq!(kind(refused), FailureKind::Indeterminate);
    }
    let failure = pull().await.unwrap_err();
    assert!(failure.retry_after().is_some() && failure.reason().contains("asked again"));
    first.restart().await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while pull().await.is_err() {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_transfer_goes_on_at_the_next_mirror() {
    let (first, second, image) = pair().await;
    first.behave(Match::blobs(), Fault::Truncate(100_000));
    first.behave(Match::blobs().with_range(), Fault::status(500));
    let upstream = upstream(&[&first, &second]);
    let layer = &image.layers[0].digest;
    let start = Resume::default();
    let mut transfer = upstream.blob(&name("a/b"), &digest(layer), start, WAITING).await.unwrap();
    assert_eq!(transfer.endpoint(), first.url());
    assert!(is(&drain(&mut transfer).await.unwrap(), layer));
    assert_eq!(transfer.endpoint(), second.url());
    assert_eq!(first.bytes_sent_for(layer) - error_bytes(&first), 100_000);
    assert_eq!(second.bytes_sent_for(layer), 200_000);
}

#[tokio::test]
async fn a_mirror_with_etags_of_its_own_goes_on_too() {
    let (first, second, image) = pair().await;
    first.behave(Match::blobs(), Fault::Truncate(100_000));
    first.behave(Match::blobs().with_range(), Fault::status(500));
    second.behave(Match::blobs(), Fault::etag("\"its own\""));
    let bytes = blob(&upstream(&[&first, &second]), "a/b", &image.layers[0].digest).await.unwrap();
    assert!(is(&bytes, &image.layers[0].digest));
}

/// Body bytes of the error answers.
fn error_bytes(registry: &FakeRegistry) -> u64 {
    let errors = registry.requests().into_iter().filter(|seen| seen.status >= 400);
    errors.map(|seen| seen.bytes_sent).sum()
}

#[tokio::test]
async fn metrics_tell_outcomes_bytes_and_open_circuits() {
    let (first, second, image) = pair().await;
    first.stop().await;
    let metrics = telemetry::Metrics::new(Default::default(), "test", None);
    let pair = settings(&[&first, &second]);
    let upstream = upstream::Upstream::new(pair, metrics.upstream("test")).unwrap();
    for _ in 0..5 {
        upstream.manifest(&name("a/b"), &reference("1"), WAITING).await.unwrap();
    }
    blob(&upstream, "a/b", &image.layers[0].digest).await.unwrap();
    let received = 300_000 + 5 * image.manifest.len();
    let text = metrics.render();
    for line in [
        "lockgate_upstream_open_circuits{upstream=\"test\"} 1".to_owned(),
        format!("lockgate_upstream_received_bytes_total{{upstream=\"test\"}} {received}"),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
    let counted = |outcome: &str| {
        let mut lines = text.lines().filter(|line| line.contains("upstream_requests_total"));
        let line = lines.find(|line| line.contains(outcome) && line.contains("waiting")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!((counted("\"found\""), counted("\"indeterminate\"")), (6, 5));
    drop(upstream);
    assert!(metrics.render().contains("lockgate_upstream_open_circuits{upstream=\"test\"} 0"));
}
