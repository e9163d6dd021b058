//! Discovery against a server that misbehaves.

use super::*;
use testkit::{FakeRegistry, Fault, Gate, Match, TestCa};

const NEVER: Duration = Duration::from_secs(3600);
/// Asks whenever it may.
const EAGER: Pace =
    Pace { every: NEVER, stale: NEVER, floor: Duration::ZERO, timeout: Duration::from_secs(30) };
const METADATA: &str = "/.well-known/openid-configuration";

fn key_set(kid: &str) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let encoding = jsonwebtoken::EncodingKey::from_ec_der(&key.serialize_der());
    let mut jwk = Jwk::from_encoding_key(&encoding, jsonwebtoken::Algorithm::ES256).unwrap();
    jwk.common.key_id = Some(kid.to_owned());
    serde_json::json!({ "keys": [jwk] }).to_string()
}

fn metadata(issuer: &str, keys: &str) -> String {
    serde_json::json!({ "issuer": issuer, "jwks_uri": keys }).to_string()
}

/// Serves a set of keys; what was told before counts no more.
fn serve(server: &FakeRegistry, keys: &str) {
    server.clear();
    let told = metadata(&server.url(), &format!("{}/keys", server.url()));
    server.behave(Match::path(METADATA), Fault::status(200).body(told));
    server.behave(Match::path("/keys"), Fault::status(200).body(keys.to_owned()));
}

fn discovery(url: &str, pace: Pace) -> Arc<Discovery> {
    Arc::new(Discovery::new(url, url, None, pace, &Report::default()))
}

fn kids(keys: &KeySet) -> Vec<&str> {
    keys.0.iter().filter_map(|key| key.kid.as_deref()).collect()
}

/// What is said when the keys cannot be had.
async fn problem(server: &FakeRegistry) -> String {
    match discovery(&server.url(), EAGER).keys(false).await {
        Ok(_) => panic!("keys were had"),
        Err(problem) => problem,
    }
}

#[tokio::test]
async fn keys_are_asked_for_once_and_again_for_one_that_is_missing() {
    let server = FakeRegistry::start().await;
    serve(&server, &key_set("old"));
    let discovery = discovery(&server.url(), EAGER);
    assert_eq!(kids(&discovery.keys(false).await.unwrap()), ["old"]);
    assert_eq!(kids(&discovery.keys(false).await.unwrap()), ["old"]);
    assert_eq!(server.count(|seen| seen.path == "/keys"), 1);

    serve(&server, &key_set("new"));
    assert_eq!(kids(&discovery.keys(false).await.unwrap()), ["old"]);
    assert_eq!(kids(&discovery.keys(true).await.unwrap()), ["new"]);
    assert_eq!(server.count(|seen| seen.path == "/keys"), 2);
}

#[tokio::test]
async fn strangers_do_not_make_us_ask_all_the_time() {
    let server = FakeRegistry::start().await;
    serve(&server, &key_set("one"));
    let discovery = discovery(&server.url(), Pace { floor: NEVER, ..EAGER });
    for _ in 0..20 {
        assert_eq!(kids(&discovery.keys(true).await.unwrap()), ["one"]);
    }
    assert_eq!(server.count(|_| true), 2);
}

#[tokio::test]
async fn many_who_wait_get_the_answer_of_one_request() {
    let server = FakeRegistry::start().await;
    serve(&server, &key_set("one"));
    let gate = Gate::new();
    server.behave(Match::path(METADATA), Fault::Hold(gate.clone()));
    let discovery = discovery(&server.url(), Pace { floor: NEVER, ..EAGER });
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let discovery = discovery.clone();
            tokio::spawn(async move { discovery.keys(false).await })
        })
        .collect();
    // One of them hangs up; the others do not notice.
    waiting[0].abort();
    server.eventually("it is asked", |it| it.connections_accepted() > 0).await;
    gate.open();
    for waiter in waiting.into_iter().skip(1) {
        assert_eq!(kids(&waiter.await.unwrap().unwrap()), ["one"]);
    }
    assert_eq!(server.count(|seen| seen.path == "/keys"), 1);
}

#[tokio::test]
async fn the_last_good_keys_are_kept_but_a_missing_one_cannot_be_told() {
    let server = FakeRegistry::start().await;
    serve(&server, &key_set("one"));
    let pace = Pace { every: Duration::ZERO, stale: Duration::ZERO, ..EAGER };
    let discovery = discovery(&server.url(), pace);
    discovery.keys(false).await.unwrap();

    server.clear();
    server.behave(Match::any(), Fault::status(503));
    // Too old to be used unasked, and nobody answers: used all the same.
    assert_eq!(kids(&discovery.keys(false).await.unwrap()), ["one"]);
    assert!(discovery.keys(true).await.is_err_and(|problem| problem.contains("503")));
    // Now it is known that the issuer is down: nobody waits for it again.
    let held = Gate::new();
    server.clear();
    server.behave(Match::any(), Fault::Hold(held.clone()));
    assert_eq!(kids(&discovery.keys(false).await.unwrap()), ["one"]);
    held.open();

    serve(&server, &key_set("two"));
    assert_eq!(kids(&discovery.keys(true).await.unwrap()), ["two"]);
}

#[tokio::test]
async fn without_keys_the_reason_is_told_and_the_next_one_asks_again() {
    let server = FakeRegistry::start().await;
    server.behave(Match::path(METADATA), Fault::status(500));
    let discovery = discovery(&server.url(), EAGER);
    assert!(discovery.keys(false).await.is_err_and(|problem| problem.contains("500")));
    serve(&server, &key_set("one"));
    assert_eq!(kids(&discovery.keys(false).await.unwrap()), ["one"]);
}

#[tokio::test]
async fn answers_that_are_none_are_refused() {
    let server = FakeRegistry::start().await;
    let keys = key_set("one");
    let cases: [(&str, Fault, &str); 8] = [
        (METADATA, Fault::html().into(), "no metadata"),
        (METADATA, Fault::Garbage, METADATA),
        (METADATA, Fault::Drop, METADATA),
        (METADATA, Fault::Redirect("/keys".to_owned()), "307"),
        ("/keys", Fault::RedirectBase("http://127.0.0.1:1".to_owned()), "307"),
        ("/keys", Fault::status(200).body(vec![b' '; 2 << 20]).into(), "more than 1 MiB"),
        ("/keys", Fault::html().into(), "not a JWK set"),
        ("/keys", Fault::status(200).body("{\"keys\": []}").into(), "no key"),
    ];
    for (path, fault, expected) in cases {
        server.clear();
        let told = metadata(&server.url(), &format!("{}/keys", server.url()));
        for (good, body) in [(METADATA, &told), ("/keys", &keys)] {
            if good != path {
                server.behave(Match::path(good), Fault::status(200).body(body.clone()));
            }
        }
        server.behave(Match::path(path), fault);
        let problem = problem(&server).await;
        assert!(problem.contains(expected), "{path}, {expected}: {problem}");
    }
}

#[tokio::test]
async fn whoever_never_answers_is_not_waited_for() {
    let server = FakeRegistry::start().await;
    server.behave(Match::any(), Fault::BlackHole);
    let pace = Pace { timeout: Duration::from_millis(100), ..EAGER };
    assert!(discovery(&server.url(), pace).keys(false).await.is_err());
}

#[tokio::test]
async fn the_metadata_of_another_issuer_is_refused_unless_the_place_was_named() {
    let server = FakeRegistry::start().await;
    let told = metadata("https://other.example", &format!("{}/keys", server.url()));
    server.behave(Match::path(METADATA), Fault::status(200).body(told));
    server.behave(Match::path("/keys"), Fault::status(200).body(key_set("one")));
    assert!(problem(&server).await.contains("another issuer"));

    let named = Discovery::new(&server.url(), "https://x.example", None, EAGER, &Report::default());
    assert_eq!(kids(&Arc::new(named).keys(false).await.unwrap()), ["one"]);
}

#[tokio::test]
async fn keys_are_had_over_tls_from_whom_the_named_authority_vouches_for() {
    let ca = TestCa::new();
    let server = FakeRegistry::builder().tls(&ca).start().await;
    serve(&server, &key_set("one"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let trusting = |authority: &TestCa| {
        std::fs::write(&file, authority.pem()).unwrap();
        let url = server.url();
        Arc::new(Discovery::new(&url, &url, Some(&file), EAGER, &Report::default()))
    };
    assert_eq!(kids(&trusting(&ca).keys(false).await.unwrap()), ["one"]);
    assert!(trusting(&TestCa::new()).keys(false).await.is_err());
    assert!(discovery(&server.url(), EAGER).keys(false).await.is_err());
}

#[tokio::test]
async fn keys_are_never_had_in_the_clear_but_from_our_own_host_at_its_own_word() {
    let server = FakeRegistry::start().await;
    let told = metadata(&server.url(), "http://issuer.example/keys");
    server.behave(Match::path(METADATA), Fault::status(200).body(told));
    assert!(problem(&server).await.contains("https only"));
    let remote = discovery("http://issuer.example", EAGER).keys(false).await;
    assert!(remote.is_err_and(|problem| problem.contains("https only")));

    // Whoever is elsewhere must not send us to ourselves.
    let keys = format!("{}/keys", server.url());
    server.behave(Match::path("/keys"), Fault::status(200).body(key_set("one")));
    let client = reqwest::Client::new();
    assert!(get(&client, &keys, true).await.is_ok());
    let refused = get(&client, &keys, false).await;
    assert!(refused.is_err_and(|problem| problem.contains("https only")));
}
