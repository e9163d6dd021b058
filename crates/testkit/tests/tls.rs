//! TLS: who trusts whom.

use testkit::client::{End, Request};
use testkit::{FakeRegistry, Fault, ImageSpec, Match, TestCa};

#[tokio::test]
async fn a_client_that_trusts_the_authority_pulls() {
    let ca = TestCa::new();
    let registry = FakeRegistry::builder().tls(&ca).start().await;
    let image = registry.image("a", "1", ImageSpec::layers([3_000_000]));
    assert!(registry.url().starts_with("https://"));
    let request = Request::get(&image.layer_path(0)).tls(ca.client_config(None), "127.0.0.1");
    let got = request.send(registry.addr()).await.unwrap();
    assert_eq!((testkit::sha256(&got.body), got.end), (image.layers[0].digest.clone(), End::Clean));
    registry.behave(Match::blobs(), Fault::Reset(1000));
    let cut = request.send(registry.addr()).await.unwrap();
    assert_eq!((cut.body.len(), cut.end), (1000, End::Reset));
}

#[tokio::test]
async fn wrong_authorities_names_and_dates_are_refused() {
    let ca = TestCa::new();
    let registry = FakeRegistry::builder().tls(&ca).start().await;
    let ask = |ca: &TestCa, name: &str| {
        let request = Request::get("/v2/").tls(ca.client_config(None), name);
        let addr = registry.addr();
        async move { request.send(addr).await.map(|got| got.status) }
    };
    assert_eq!(ask(&ca, "localhost").await.unwrap(), 200);
    assert!(ask(&ca, "example.org").await.is_err());
    assert!(ask(&TestCa::new(), "localhost").await.is_err());
    for identity in [ca.expired_server(&["localhost"]), ca.future_server(&["localhost"])] {
        registry.set_identity(&identity);
        assert!(ask(&ca, "localhost").await.is_err());
    }
    registry.set_identity(&ca.server(&["example.org"]));
    assert_eq!(ask(&ca, "example.org").await.unwrap(), 200);
}

#[tokio::test]
async fn clients_can_be_asked_for_certificates() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let registry = FakeRegistry::builder().tls(&ca).require_client_cert(&ca).start().await;
    for (identity, welcome) in [
        (Some(ca.client("plane")), true),
        (None, false),
        (Some(other.client("plane")), false),
        (Some(ca.expired_client("plane")), false),
    ] {
        let config = ca.client_config(identity.as_ref());
        let got = Request::get("/v2/").tls(config, "127.0.0.1").send(registry.addr()).await;
        assert_eq!(got.is_ok_and(|got| got.status == 200), welcome);
    }
    registry.set_identity(&ca.server(&["127.0.0.1"]));
    let stranger = Request::get("/v2/").tls(ca.client_config(None), "127.0.0.1");
    assert!(stranger.send(registry.addr()).await.is_err(), "a new certificate changes no rule");
}

#[tokio::test]
async fn an_ordinary_client_trusts_the_pem() {
    let ca = TestCa::new();
    let registry = FakeRegistry::builder().tls(&ca).start().await;
    let root = reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let got = client.get(registry.url() + "/v2/").send().await.unwrap();
    assert_eq!(got.status(), 200);
}
