//! What `lockgate doctor` is told.

use crate::support::*;
use testkit::{Auth, FakeRegistry, Fault, ImageSpec, Match, RateLimit, TestCa};
use upstream::{Profile, Settings};

#[tokio::test]
async fn a_healthy_endpoint_shows_its_certificate_and_takes_the_credential() {
    let directory = tempfile::tempdir().unwrap();
    let ca = TestCa::new();
    let auth = Auth::bearer().user("me", "hunter2");
    let registry = FakeRegistry::builder().tls(&ca).auth(auth).start().await;
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, ca.pem()).unwrap();
    let credentials = vec![password(directory.path(), "me", "hunter2")];
    let ca_file = Some(ca_file);
    let upstream = build(Settings { credentials, ca_file, ..settings(&[&registry]) });
    let probes = upstream.probe().await;
    assert_eq!(probes.len(), 1);
    assert!(probes[0].is_reachable, "{probes:?}");
    assert_eq!(probes[0].certificate_not_after.unwrap().to_string(), "2095-01-01T00:00:00Z");
    assert_eq!(probes[0].credentials[0].scope.as_deref(), Some("*"));
    assert!(probes[0].credentials[0].is_accepted && probes[0].problems.is_empty(), "{probes:?}");
}

#[tokio::test]
async fn what_is_wrong_comes_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let auth = Auth::bearer().user("me", "right");
    let registry = FakeRegistry::builder().auth(auth).start().await;
    let down = FakeRegistry::start().await;
    down.stop().await;
    let credentials = vec![password(directory.path(), "me", "hunter2")];
    let upstream = build(Settings { credentials, ..settings(&[&registry, &down]) });
    let probes = upstream.probe().await;
    assert!(probes[0].is_reachable && !probes[0].credentials[0].is_accepted, "{probes:?}");
    assert!(probes[0].problems[0].remedy.contains("password"), "{probes:?}");
    assert!(!probes[1].is_reachable && probes[1].problems[0].remedy.contains("registry is up"));
    assert!(!format!("{probes:?}").contains("hunter2"));
}

#[tokio::test]
async fn docker_hub_is_asked_for_its_limit_without_using_it_up() {
    let registry = FakeRegistry::start().await;
    registry.image("ratelimitpreview/test", "latest", ImageSpec::layers([10]));
    registry.set_rate_limit(Some(RateLimit { remaining: 0, ..RateLimit::new(100) }));
    let hub = Settings { profile: Profile::DockerHub, ..settings(&[&registry]) };
    let probes = build(hub).probe().await;
    let limit = probes[0].rate_limit.unwrap();
    assert_eq!((limit.limit, limit.remaining, limit.window_seconds), (100, 0, 21600));
    assert!(probes[0].problems[0].what.contains("none of 100"), "{probes:?}");
    assert_eq!(registry.count(|seen| seen.method == "GET" && seen.path != "/v2/"), 0);
}

#[tokio::test]
async fn a_server_that_is_no_registry_is_told() {
    let registry = FakeRegistry::start().await;
    registry.behave(Match::ping(), Fault::status(404));
    let probes = upstream(&[&registry]).probe().await;
    assert!(!probes[0].is_reachable && probes[0].problems[0].what.contains("404"), "{probes:?}");
}
