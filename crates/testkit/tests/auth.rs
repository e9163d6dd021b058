//! Basic credentials and the token dance, step by step.
#![allow(clippy::unwrap_used)]

use std::time::Duration;
use testkit::client::{Request, Response};
use testkit::{Auth, FakeRegistry, Fault, Image, ImageSpec, Match, base64, client};

async fn registry(auth: &Auth) -> (FakeRegistry, Image) {
    let registry = FakeRegistry::builder().auth(auth.clone()).start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([10]));
    (registry, image)
}

async fn get(registry: &FakeRegistry, path: &str, authorization: &str) -> Response {
    let headers = [("authorization", authorization)];
    let headers = if authorization.is_empty() { &[][..] } else { &headers[..] };
    client::get(registry.addr(), path, headers).await.unwrap()
}

/// A token for pulling `name`, as the challenge of `registry` says.
async fn token(registry: &FakeRegistry, name: &str, authorization: &str) -> Response {
    let path = format!("/token?service=testkit&scope=repository:{name}:pull");
    get(registry, &path, authorization).await
}

fn bearer(response: &Response) -> String {
    format!("Bearer {}", response.json()["token"].as_str().unwrap())
}

#[tokio::test]
async fn the_dance_ends_in_a_pull() {
    let auth = Auth::bearer();
    let (registry, image) = registry(&auth).await;
    let challenged = get(&registry, &image.tag_path(), "").await;
    let expected = format!(
        "Bearer realm=\"{}/token\",service=\"testkit\",scope=\"repository:a/b:pull\"",
        registry.url()
    );
    assert_eq!(challenged.status, 401);
    assert_eq!(challenged.header("www-authenticate"), Some(expected.as_str()));
    let issued = token(&registry, "a/b", "").await;
    assert_eq!(issued.json()["expires_in"], 300);
    assert_eq!(get(&registry, &image.tag_path(), &bearer(&issued)).await.status, 200);
    assert_eq!(get(&registry, &image.layer_path(0), &bearer(&issued)).await.status, 200);
    assert_eq!((auth.tokens_issued(), auth.challenges(), auth.refused()), (1, 1, 0));
}

#[tokio::test]
async fn tokens_hold_for_their_scope_only() {
    let (registry, image) = registry(&Auth::bearer()).await;
    let other = token(&registry, "c", "").await;
    let got = get(&registry, &image.tag_path(), &bearer(&other)).await;
    assert_eq!(got.status, 401);
    assert!(got.header("www-authenticate").unwrap().contains("insufficient_scope"));
    assert_eq!(get(&registry, "/v2/", &bearer(&other)).await.status, 200);
    let wrong_service = get(&registry, "/token?service=else", "").await;
    assert_eq!(wrong_service.status, 400);
}

#[tokio::test]
async fn credentials_count_at_the_token_endpoint() {
    let auth = Auth::bearer().user("alice", "secret").private("a/");
    let (registry, image) = registry(&auth).await;
    let nobody = token(&registry, "a/b", "").await;
    assert_eq!(get(&registry, &image.tag_path(), &bearer(&nobody)).await.status, 401);
    let basic = |pair| format!("Basic {}", base64(pair));
    let alice = token(&registry, "a/b", &basic("alice:secret")).await;
    assert_eq!(get(&registry, &image.tag_path(), &bearer(&alice)).await.status, 200);
    assert_eq!(token(&registry, "a/b", &basic("alice:guess")).await.status, 401);
    assert_eq!(auth.refused(), 1);

    let form = "grant_type=refresh_token&refresh_token=secret&service=testkit\
                &scope=repository%3Aa%2Fb%3Apull";
    let posted = Request::new("POST", "/token").body(form).send(registry.addr()).await.unwrap();
    assert_eq!(get(&registry, &image.tag_path(), &bearer(&posted)).await.status, 200);

    registry.set_auth(Auth::bearer().no_anonymous());
    assert_eq!(token(&registry, "a/b", "").await.status, 401);
}

#[tokio::test]
async fn expired_tokens_are_refused_the_way_each_registry_does() {
    for status in [401, 403, 400] {
        let auth = Auth::bearer().refuse_with(status);
        let (registry, image) = registry(&auth).await;
        let old = token(&registry, "a/b", "").await;
        auth.expire_tokens();
        assert_eq!(get(&registry, &image.tag_path(), &bearer(&old)).await.status, status);
        assert_eq!(get(&registry, &image.tag_path(), "").await.status, 401);
        let new = token(&registry, "a/b", "").await;
        assert_eq!(get(&registry, &image.tag_path(), &bearer(&new)).await.status, 200);
    }
    let (registry, image) = registry(&Auth::bearer().lifetime(Duration::ZERO)).await;
    let stale = token(&registry, "a/b", "").await;
    assert_eq!(get(&registry, &image.tag_path(), &bearer(&stale)).await.status, 401);
}

#[tokio::test]
async fn token_answers_come_in_every_shape() {
    let keys = |response: Response| {
        let json = response.json();
        ["token", "access_token", "expires_in"].map(|key| !json[key].is_null())
    };
    for (auth, expected) in [
        (Auth::bearer(), [true, true, true]),
        (Auth::bearer().token_only(), [true, false, true]),
        (Auth::bearer().access_token_only(), [false, true, true]),
        (Auth::bearer().silent_lifetime(), [true, true, false]),
    ] {
        let (registry, _) = registry(&auth).await;
        assert_eq!(keys(token(&registry, "a/b", "").await), expected);
    }
}

#[tokio::test]
async fn tokens_can_come_from_another_host_and_it_can_fail() {
    let tokens = FakeRegistry::start().await;
    let auth = Auth::bearer().realm(&format!("{}/token", tokens.url()));
    tokens.set_auth(auth.clone());
    let (registry, image) = registry(&auth).await;
    let challenged = get(&registry, &image.tag_path(), "").await;
    assert!(challenged.header("www-authenticate").unwrap().contains(&tokens.url()));
    let issued = token(&tokens, "a/b", "").await;
    assert_eq!(get(&registry, &image.tag_path(), &bearer(&issued)).await.status, 200);
    tokens.behave(Match::token(), Fault::status(503));
    assert_eq!(token(&tokens, "a/b", "").await.status, 503);
    assert_eq!(auth.tokens_issued(), 1);
}

#[tokio::test]
async fn basic_is_asked_for_on_every_request() {
    let (registry, image) = registry(&Auth::basic("alice", "secret")).await;
    let challenged = get(&registry, &image.tag_path(), "").await;
    assert_eq!(challenged.status, 401);
    assert!(challenged.header("www-authenticate").unwrap().starts_with("Basic "));
    let right = format!("Basic {}", base64("alice:secret"));
    let wrong = format!("Basic {}", base64("alice:guess"));
    assert_eq!(get(&registry, &image.tag_path(), &right).await.status, 200);
    assert_eq!(get(&registry, &image.tag_path(), &wrong).await.status, 401);
    registry.set_auth(Auth::basic("alice", "secret").refuse_with(403));
    assert_eq!(get(&registry, &image.tag_path(), &wrong).await.status, 403);
}
