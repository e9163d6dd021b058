//! `/token`: every way to show who asks, and what does not do.

#![allow(clippy::unwrap_used)]

mod common;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use common::people::{PASSWORD, People, basic};
use common::plain;
use common::world::World;
use serde_json::json;
use std::time::Duration;
use testkit::FakeRegistry;
use testkit::client::{Request, Response};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn start(people: &People) -> World {
    World::with(FakeRegistry::builder(), plain(), &people.documents()).await
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).finish()
}

async fn post(world: &World, fields: &[(&str, &str)]) -> Response {
    world.send(Request::new("POST", "/token").header(FORM.0, FORM.1).body(form(fields))).await
}

async fn get(world: &World, query: &str, authorization: Option<&str>) -> Response {
    let request = Request::get(&format!("/token{query}"));
    let shown = authorization.iter();
    world.send(shown.fold(request, |request, it| request.header("authorization", it))).await
}

/// What a token is good for: the status of `/v2/`, and of the catalog, which only alice may list.
async fn good_for(world: &World, token: &str) -> (u16, u16) {
    let shown = format!("Bearer {token}");
    let headers = [("authorization", shown.as_str())];
    let base = world.get("/v2/", &headers).await.status;
    (base, world.get("/v2/_catalog", &headers).await.status)
}

fn text(answer: &Response, field: &str) -> String {
    answer.json()[field].as_str().unwrap_or_default().to_owned()
}

/// A good answer; its token.
fn token(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{}", answer.reason);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let value = answer.json();
    assert_eq!((&value["token"], &value["token_type"]), (&value["access_token"], &json!("Bearer")));
    assert!(value["expires_in"].as_u64().is_some_and(|it| (1..=300).contains(&it)), "{value}");
    text(answer, "issued_at").parse::<jiff::Timestamp>().unwrap();
    text(answer, "token")
}

/// A bad answer, in both dialects.
fn bad(answer: &Response, status: u16, error: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{what}");
    let value = answer.json();
    assert_eq!(value["error"], error, "{what}");
    let reason = value["error_description"].as_str().unwrap();
    assert_eq!(value["errors"][0]["message"], reason, "{what}");
    assert_eq!(answer.reason, reason, "{what}");
    assert!(!answer.text().contains(PASSWORD), "{what}: a password is shown");
}

const SOMEBODY: (u16, u16) = (200, 200);
const NOBODY: (u16, u16) = (200, 401);

#[tokio::test]
async fn a_get_gives_a_token_to_whoever_shows_something_and_to_nobody() {
    let people = People::new();
    let world = start(&people).await;
    let alice = basic("alice", PASSWORD);
    let robot = basic("anything", &people.robot);
    let empty = basic("", "");
    for (shown, wanted) in [
        (None, NOBODY),
        (Some(empty.as_str()), NOBODY),
        (Some(alice.as_str()), SOMEBODY),
        (Some(robot.as_str()), SOMEBODY),
    ] {
        let answer = get(&world, "?service=lockgate&account=alice", shown).await;
        assert_eq!(good_for(&world, &token(&answer)).await, wanted, "{shown:?}");
        assert_eq!(answer.json().get("refresh_token"), None);
        assert_eq!(answer.json().get("scope"), None);
    }
    // No scope is ever an error, nor does one give anything.
    let query = "?scope=repository:a/b:pull,push&scope=registry:catalog:*&scope=%00";
    let answer = get(&world, query, None).await;
    assert_eq!(good_for(&world, &token(&answer)).await, NOBODY);
    assert_eq!(text(&answer, "scope"), "repository:a/b:pull,push registry:catalog:* \0");
    // Who wants to come back can; nobody has nothing to come back with.
    let answer = get(&world, "?offline_token=true", Some(&alice)).await;
    assert!(!text(&answer, "refresh_token").is_empty());
    assert_eq!(get(&world, "?offline_token=true", None).await.json().get("refresh_token"), None);
    // The query of a GET carries no secrets, so it is not asked for any.
    let query = format!("?grant_type=password&username=alice&password={}", "correct+horse");
    assert_eq!(good_for(&world, &token(&get(&world, &query, None).await)).await, NOBODY);
}

#[tokio::test]
async fn a_form_gives_a_token_by_each_grant() {
    let people = People::new();
    let world = start(&people).await;
    let password = [("grant_type", "password"), ("username", "alice"), ("password", PASSWORD)];
    let answer = post(&world, &password).await;
    assert_eq!(good_for(&world, &token(&answer)).await, SOMEBODY);
    assert_eq!(answer.json().get("refresh_token"), None);

    let offline = [&password[..], &[("access_type", "offline"), ("scope", "a b")]].concat();
    let answer = post(&world, &offline).await;
    assert_eq!(
        (text(&answer, "scope").as_str(), good_for(&world, &token(&answer)).await),
        ("a b", SOMEBODY)
    );
    let refresh = text(&answer, "refresh_token");
    // It is for /token and nothing else.
    assert_eq!(good_for(&world, &refresh).await, (401, 401));
    let back = post(&world, &[("grant_type", "refresh_token"), ("refresh_token", &refresh)]).await;
    assert_eq!(good_for(&world, &token(&back)).await, SOMEBODY);
    assert_eq!(text(&back, "refresh_token"), refresh);

    let by_header =
        Request::new("POST", "/token").header("authorization", &basic("alice", PASSWORD));
    for body in ["grant_type=password", ""] {
        let answer = world.send(by_header.clone().body(body)).await;
        assert_eq!(good_for(&world, &token(&answer)).await, SOMEBODY, "{body:?}");
    }

    let exchange = [("grant_type", EXCHANGE), ("subject_token", people.robot.as_str())];
    for kind in ["jwt", "id_token", "access_token"] {
        let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
        let answer =
            post(&world, &[&exchange[..], &[("subject_token_type", &kind)]].concat()).await;
        assert_eq!(good_for(&world, &token(&answer)).await, SOMEBODY);
        let issued = text(&answer, "issued_token_type");
        assert_eq!(issued, "urn:ietf:params:oauth:token-type:access_token");
    }
}

#[tokio::test]
async fn what_is_wrong_is_401_and_what_makes_no_sense_400() {
    let people = People::new();
    let world = start(&people).await;
    let forged = format!("{}x", people.robot);
    for (name, password) in
        [("alice", "x"), ("alice", ""), ("nobody", PASSWORD), ("alice", &forged), ("", "x")]
    {
        let answer = get(&world, "", Some(&basic(name, password))).await;
        bad(&answer, 401, "invalid_grant", &format!("{name}:{password}"));
        assert_eq!(answer.json()["errors"][0]["code"], "UNAUTHORIZED");
    }
    let access = token(&get(&world, "", Some(&basic("alice", PASSWORD))).await);
    let exchange = ("grant_type", EXCHANGE);
    for (fields, status, error) in [
        (vec![], 400, "invalid_request"),
        (vec![("grant_type", "")], 400, "invalid_request"),
        (vec![("grant_type", "authorization_code")], 400, "unsupported_grant_type"),
        (vec![("grant_type", "client_credentials")], 400, "unsupported_grant_type"),
        (vec![("grant_type", "password"), ("username", "alice")], 400, "invalid_request"),
        (vec![("grant_type", "password"), ("password", PASSWORD)], 401, "invalid_grant"),
        (vec![("grant_type", "refresh_token")], 400, "invalid_request"),
        (vec![("grant_type", "refresh_token"), ("refresh_token", "x")], 401, "invalid_grant"),
        (vec![("grant_type", "refresh_token"), ("refresh_token", &access)], 401, "invalid_grant"),
        (vec![exchange], 400, "invalid_request"),
        (vec![exchange, ("subject_token", "a.b.c")], 401, "invalid_grant"),
        (
            vec![exchange, ("subject_token", &people.robot), ("subject_token_type", "saml2")],
            400,
            "invalid_request",
        ),
        (vec![exchange, exchange, ("subject_token", &people.robot)], 400, "invalid_request"),
    ] {
        bad(&post(&world, &fields).await, status, error, &format!("{fields:?}"));
    }
}

#[tokio::test]
async fn hostile_requests_are_refused_in_bounds() {
    let people = People::new();
    let world = start(&people).await;
    let large = format!("grant_type=password&password={}", "x".repeat(65 << 10));
    let answer =
        Request::new("POST", "/token").body(large.clone()).send(world.addr()).await.unwrap();
    bad(&answer, 413, "invalid_request", "large");
    let chunked = Request::new("POST", "/token").body(large).chunked();
    let answer = chunked.send(world.addr()).await.unwrap();
    bad(&answer, 413, "invalid_request", "large, in chunks");
    // The parameters beyond the first few do not count.
    let many: String = (0..100).map(|i| format!("p{i}=1&")).collect();
    let many = Request::new("POST", "/token").body(many + "grant_type=password");
    bad(&world.send(many).await, 400, "invalid_request", "many");
    let broken =
        Request::new("POST", "/token").body(b"grant_type=%ff\xff&=&&%&password=%00".to_vec());
    bad(&world.send(broken).await, 400, "unsupported_grant_type", "broken");

    let alice = basic("alice", PASSWORD);
    for shown in [
        vec![alice.as_str(), alice.as_str()],
        vec!["Bearer x"],
        vec!["Basic"],
        vec!["Basic !"],
        vec!["Basic YQ=="],
        vec!["Basic //8="],
    ] {
        let request = Request::get("/token");
        let request = shown.iter().fold(request, |request, it| request.header("authorization", it));
        bad(&world.send(request).await, 400, "invalid_request", &format!("{shown:?}"));
    }
    for method in ["PUT", "DELETE", "HEAD", "OPTIONS"] {
        let answer = Request::new(method, "/token").send(world.addr()).await.unwrap();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, POST")), "{method}");
    }
}

#[tokio::test]
async fn tokens_end_and_do_not_renew_themselves() {
    let people = People::new();
    let world = start(&people).await;
    let password = [("grant_type", "password"), ("username", "alice"), ("password", PASSWORD)];
    let answer = post(&world, &[&password[..], &[("access_type", "offline")]].concat()).await;
    let (access, refresh) = (token(&answer), text(&answer, "refresh_token"));

    world.clock.advance(Duration::from_secs(200));
    let exchange =
        [("grant_type", EXCHANGE), ("subject_token", &access), ("access_type", "offline")];
    let by_exchange = post(&world, &exchange).await;
    let by_basic = get(&world, "?offline_token=true", Some(&basic("alice", &access))).await;
    for answer in [by_exchange, by_basic] {
        assert_eq!(good_for(&world, &token(&answer)).await, SOMEBODY);
        assert!(answer.json()["expires_in"].as_u64().unwrap() <= 100, "{}", answer.json());
        assert_eq!(answer.json().get("refresh_token"), None);
    }

    // Beyond its end and what clocks may differ by.
    world.clock.advance(Duration::from_secs(200));
    assert_eq!(good_for(&world, &access).await, (401, 401));
    bad(&post(&world, &exchange).await, 401, "invalid_grant", "ended");
    let back = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    assert_eq!(good_for(&world, &token(&post(&world, &back).await)).await, SOMEBODY);
    world.clock.advance(Duration::from_secs(13 * 3600));
    bad(&post(&world, &back).await, 401, "invalid_grant", "the refresh token has ended");
}

#[tokio::test]
async fn what_cannot_be_checked_now_is_503_and_never_anonymous() {
    let people = People::new();
    let unreadable = "
apiVersion: lockgate.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec: { oidc: { issuer: 'https://corp.example', audiences: [lockgate], jwksFile: /nowhere/corp.jwks } }
---
";
    let more = people.documents() + unreadable;
    let world = World::with(FakeRegistry::builder(), plain(), &more).await;
    let encoded = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let expires = world.clock.now().as_second() + 60;
    let header = encoded(json!({ "alg": "RS256", "kid": "1", "typ": "JWT" }));
    let said = json!({
        "iss": "https://corp.example", "aud": "lockgate", "sub": "carol", "exp": expires
    });
    let jwt = format!("{header}.{}.{}", encoded(said), BASE64_URL_SAFE_NO_PAD.encode([0; 256]));
    let by_get = get(&world, "", Some(&basic("carol", &jwt))).await;
    let by_post = post(&world, &[("grant_type", EXCHANGE), ("subject_token", &jwt)]).await;
    for answer in [by_get, by_post] {
        bad(&answer, 503, "temporarily_unavailable", "");
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert_eq!(answer.json()["errors"][0]["code"], "UNAVAILABLE");
        assert!(
            answer.reason.contains("corp") && !answer.reason.contains(&jwt),
            "{}",
            answer.reason
        );
    }
    assert_eq!(good_for(&world, &jwt).await, (503, 503));
}

#[tokio::test]
async fn keys_and_the_way_to_log_in_are_published() {
    let people = People::new();
    let login = "
apiVersion: lockgate.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec:
  oidc:
    issuer: https://corp.example
    audiences: [lockgate]
    jwksFile: /nowhere/corp.jwks
    login: { clientId: cli, scopes: [groups] }
---
";
    let world = World::with(FakeRegistry::builder(), plain(), &(people.documents() + login)).await;
    let keys = world.get("/token/keys", &[]).await;
    assert_eq!((keys.status, keys.header("cache-control")), (200, Some("public, max-age=300")));
    let key = &keys.json()["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], key.get("d")), (&json!("EC"), &json!("P-256"), None));
    // The key that signs is among them.
    let access = token(&get(&world, "", None).await);
    let header = access.split('.').next().unwrap();
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    assert_eq!((&header["kid"], &header["alg"]), (&key["kid"], &json!("ES256")));

    let known = world.get("/.well-known/lockgate", &[("host", "plane.example:8443")]).await;
    let base = "http://plane.example:8443";
    let offer = json!({
        "provider": "corp", "issuer": "https://corp.example", "clientId": "cli",
        "scopes": known.json()["login"][0]["scopes"],
    });
    assert_eq!(
        known.json(),
        json!({
            "service": "lockgate",
            "tokenEndpoint": format!("{base}/token"),
            "keys": format!("{base}/token/keys"),
            "login": [offer],
        })
    );
    for path in ["/token/keys", "/.well-known/lockgate"] {
        let head = world.head(path, &[]).await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        let post = Request::new("POST", path).send(world.addr()).await.unwrap();
        assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
}
