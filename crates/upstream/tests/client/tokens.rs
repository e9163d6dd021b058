//! The token dance.

use crate::support::*;
use std::time::Duration;
use testkit::{Auth, FakeRegistry, Fault, Gate, ImageSpec, Match};
use upstream::{Boundary, FailureKind, OriginPattern, Settings};

async fn registry(auth: &Auth) -> FakeRegistry {
    let registry = FakeRegistry::builder().auth(auth.clone()).start().await;
    registry.image("library/alpine", "3", ImageSpec::layers([1000]));
    registry.image("secret/app", "1", ImageSpec::layers([1000]));
    registry
}

fn token_requests(registry: &FakeRegistry) -> usize {
    registry.count(|seen| seen.path == "/token")
}

#[tokio::test]
async fn one_token_per_repository_and_one_challenge_per_endpoint() {
    let auth = Auth::bearer();
    let registry = registry(&auth).await;
    let upstream = upstream(&[&registry]);
    for _ in 0..3 {
        upstream.manifest(&name("library/alpine"), &reference("3"), WAITING).await.unwrap();
    }
    assert_eq!((auth.tokens_issued(), auth.challenges()), (1, 1));
    upstream.manifest(&name("secret/app"), &reference("1"), WAITING).await.unwrap();
    assert_eq!((auth.tokens_issued(), auth.challenges()), (2, 1));
    let scopes: Vec<String> = registry.requests().into_iter().map(|seen| seen.query).collect();
    assert!(scopes.iter().any(|query| query.contains("repository%3Alibrary%2Falpine%3Apull")));
}

#[tokio::test]
async fn one_dance_serves_all_who_wait() {
    let auth = Auth::bearer();
    let registry = registry(&auth).await;
    let gate = Gate::new();
    registry.behave(Match::token(), Fault::Hold(gate.clone()));
    let upstream = upstream(&[&registry]);
    let pulls: Vec<_> = (0..8)
        .map(|_| {
            let upstream = upstream.clone();
            tokio::spawn(async move {
                upstream.manifest(&name("library/alpine"), &reference("3"), WAITING).await
            })
        })
        .collect();
    registry.eventually("a token is asked for", |seen| token_requests(seen) == 1).await;
    // The others have time to come; who comes later finds the token.
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Whoever began it may leave.
    pulls[0].abort();
    gate.open();
    for pull in pulls.into_iter().skip(1) {
        pull.await.unwrap().unwrap();
    }
    assert_eq!(auth.tokens_issued(), 1);
}

#[tokio::test]
async fn tokens_that_ended_are_renewed_whatever_the_refusal_looks_like() {
    for status in [400, 401, 403] {
        let auth = Auth::bearer().refuse_with(status);
        let registry = registry(&auth).await;
        let upstream = upstream(&[&registry]);
        for round in 1..=3 {
            upstream.manifest(&name("library/alpine"), &reference("3"), WAITING).await.unwrap();
            assert_eq!(auth.tokens_issued(), round, "{status}");
            auth.expire_tokens();
        }
    }
}

#[tokio::test]
async fn a_refusal_that_a_new_token_does_not_help_is_denied_and_not_asked_again_and_again() {
    let auth = Auth::bearer().private("secret/");
    let registry = registry(&auth).await;
    let upstream = upstream(&[&registry]);
    for _ in 0..6 {
        let refused = upstream.manifest(&name("secret/app"), &reference("1"), WAITING).await;
        assert_eq!(kind(refused), FailureKind::Denied);
    }
    assert!(auth.tokens_issued() <= 2, "{}", auth.tokens_issued());
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let auth = Auth::bearer().lifetime(Duration::from_secs(2));
    let registry = registry(&auth).await;
    let upstream = upstream(&[&registry]);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while auth.tokens_issued() < 3 {
        assert!(std::time::Instant::now() < deadline);
        upstream.manifest(&name("library/alpine"), &reference("3"), WAITING).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(auth.challenges(), 1, "no request was sent with a token that had ended");
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_not_tried_again_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let auth = Auth::bearer().user("me", "right");
    let registry = registry(&auth).await;
    let credentials = vec![password(directory.path(), "me", "hunter2")];
    let upstream = build(Settings { credentials, ..settings(&[&registry]) });
    for _ in 0..5 {
        let refused = upstream.manifest(&name("secret/app"), &reference("1"), WAITING).await;
        assert_eq!(kind(refused), FailureKind::Denied);
    }
    assert_eq!(token_requests(&registry), 1);
    // A new password is not the old one's fault.
    std::fs::write(directory.path().join("password"), "right\n").unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while upstream.manifest(&name("secret/app"), &reference("1"), WAITING).await.is_err() {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(token_requests(&registry), 2);
}

#[tokio::test]
async fn a_realm_outside_the_boundary_sees_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = FakeRegistry::start().await;
    let realm = format!("{}/token", elsewhere.url());
    let auth = Auth::bearer().user("me", "hunter2").realm(&realm);
    let registry = registry(&auth).await;
    elsewhere.set_auth(auth.clone());
    let credentials = vec![password(directory.path(), "me", "hunter2")];
    let base = Settings { credentials, ..settings(&[&registry]) };
    let refused = build(base.clone()).manifest(&name("secret/app"), &reference("1"), WAITING).await;
    let failure = refused.clone().unwrap_err();
    assert_eq!(kind(refused), FailureKind::Indeterminate);
    assert!(failure.reason().contains("boundary.realms"), "{failure}");
    assert_eq!(elsewhere.connections_accepted(), 0);

    let realms = vec![OriginPattern::parse(&elsewhere.url()).unwrap()];
    let boundary = Boundary { realms, private_addresses: true, ..Boundary::default() };
    let upstream = build(Settings { boundary, ..base });
    upstream.manifest(&name("secret/app"), &reference("1"), WAITING).await.unwrap();
    let basic = |seen: &testkit::Seen| {
        seen.header("authorization").is_some_and(|value| value.starts_with("Basic "))
    };
    assert_eq!(elsewhere.count(basic), 1);
    assert_eq!(registry.count(basic), 0, "the password goes to the realm alone");
}

#[tokio::test]
async fn tokens_come_under_either_name_and_with_or_without_a_lifetime() {
    for auth in [
        Auth::bearer().access_token_only(),
        Auth::bearer().token_only(),
        Auth::bearer().silent_lifetime(),
    ] {
        let registry = registry(&auth).await;
        let upstream = upstream(&[&registry]);
        for _ in 0..2 {
            upstream.manifest(&name("library/alpine"), &reference("3"), WAITING).await.unwrap();
        }
        assert_eq!(auth.tokens_issued(), 1);
    }
}

#[tokio::test]
async fn a_token_service_in_trouble_is_indeterminate() {
    for fault in [
        Fault::HugeToken(100_000),
        Fault::Garbage,
        Fault::Drop,
        Fault::html().into(),
        Fault::status(500).into(),
        Fault::status(404).into(),
        Fault::Redirect("http://127.0.0.1:1/token".into()),
        Fault::BlackHole,
        Fault::Stall(3),
    ] {
        let registry = registry(&Auth::bearer()).await;
        registry.behave(Match::token(), fault.clone());
        let upstream = build(fit(&fault, &[&registry]));
        let refused = upstream.manifest(&name("library/alpine"), &reference("3"), WAITING).await;
        assert_eq!(kind(refused), FailureKind::Indeterminate, "{fault:?}");
    }
}

#[tokio::test]
async fn too_many_requests_at_the_token_service_is_a_rate_limit() {
    let registry = registry(&Auth::bearer()).await;
    registry.behave(Match::token(), Fault::too_many_requests(20));
    let upstream = upstream(&[&registry]);
    let wanted = name("library/alpine");
    let failure = upstream.manifest(&wanted, &reference("3"), WAITING).await.unwrap_err();
    assert!(failure.is_rate_limit() && failure.retry_after().is_some(), "{failure:?}");
}

#[tokio::test]
async fn a_dance_needs_no_second_connection() {
    let registry = registry(&Auth::bearer()).await;
    let upstream = upstream(&[&registry]);
    for _ in 0..3 {
        upstream.manifest(&name("library/alpine"), &reference("3"), WAITING).await.unwrap();
    }
    assert_eq!(registry.connections_accepted(), 1);
}
