//! Manifests and refusals over the wire, through a whole plane.

#![allow(clippy::unwrap_used)]

mod common;

use common::plain;
use common::world::{REPOSITORY, World, through};
use edge::server::ListenerSettings;
use testkit::client::{self, Request};
use testkit::{FakeRegistry, Fault, ImageSpec, Match, TestCa};

#[tokio::test]
async fn the_base_says_that_this_is_a_registry() {
    let world = World::start().await;
    for path in ["/v2/", "/v2"] {
        let answer = world.get(path, &[]).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
        assert_eq!(answer.header("docker-distribution-api-version"), Some("registry/2.0"));
        assert_eq!(answer.header("x-request-id").map(str::len), Some(16));
    }
    let head = world.head("/v2/", &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("2")));
    assert!(world.registry.requests().is_empty());
}

#[tokio::test]
async fn a_manifest_by_path_host_and_namespace_is_the_same() {
    let world = World::start().await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let by_path = world.get(&through(&image.tag_path()), &[]).await;
    assert_eq!((by_path.status, &by_path.body[..]), (200, &image.manifest[..]));
    assert_eq!(by_path.header("docker-content-digest"), Some(image.digest.as_str()));
    assert_eq!(by_path.header("content-type"), Some(image.media_type.as_str()));
    assert_eq!(by_path.header("etag"), Some(format!("\"{}\"", image.digest).as_str()));
    assert_eq!(by_path.header("cache-status"), Some("lockgate; fwd=miss; stored"));
    assert_eq!(by_path.header("oci-namespace"), None);

    let by_host = world.get(&image.tag_path(), &[("host", REPOSITORY)]).await;
    assert_eq!(by_host.body, image.manifest);
    assert_eq!(by_host.header("cache-status"), Some("lockgate; hit"));
    assert!(by_host.header("age").is_some());

    let path = format!("{}?ns={REPOSITORY}", image.tag_path());
    let by_namespace = world.get(&path, &[]).await;
    assert_eq!(by_namespace.body, image.manifest);
    assert_eq!(by_namespace.header("oci-namespace"), Some(REPOSITORY));

    let by_digest = world.get(&through(&image.digest_path()), &[]).await;
    assert_eq!(by_digest.body, image.manifest);
    assert_eq!(world.registry.count(|seen| seen.path.contains("/manifests/")), 1);
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let world = World::start().await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let path = through(&image.tag_path());
    let head = world.head(&path, &[]).await;
    let length = image.manifest.len().to_string();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(length.as_str()));
    let get = world.get(&path, &[]).await;
    for name in ["content-length", "content-type", "docker-content-digest", "etag"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
}

#[tokio::test]
async fn whoever_has_it_gets_304() {
    let world = World::start().await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let path = through(&image.tag_path());
    let etag = format!("\"{}\"", image.digest);
    for value in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        for answer in [
            world.get(&path, &[("if-none-match", &value)]).await,
            world.head(&path, &[("if-none-match", &value)]).await,
        ] {
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{value}");
            assert_eq!(answer.header("etag"), Some(etag.as_str()));
            assert_eq!(answer.header("docker-content-digest"), Some(image.digest.as_str()));
            assert!(answer.header("cache-status").is_some());
        }
    }
    let other = world.get(&path, &[("if-none-match", "\"sha256:0\"")]).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn foreign_credentials_are_taken_and_go_nowhere() {
    let world = World::start().await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let headers = [("authorization", "Basic aHViOnNlY3JldA=="), ("cookie", "session=secret")];
    assert_eq!(world.get(&through(&image.tag_path()), &headers).await.status, 200);
    assert_eq!(world.get(&through(&image.layer_path(0)), &headers).await.status, 200);
    let requests = world.registry.requests();
    assert!(requests.len() >= 2);
    for seen in requests {
        assert_eq!((seen.header("authorization"), seen.header("cookie")), (None, None));
    }
}

#[tokio::test]
async fn a_foreign_namespace_is_refused_with_its_reason_in_the_status_line() {
    let world = World::start().await;
    let path = "/v2/lib/app/manifests/1?ns=evil.example";
    let get = world.get(path, &[]).await;
    let head = world.head(path, &[]).await;
    assert_eq!((get.status, head.status), (403, 403));
    let error = &get.json()["errors"][0];
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("evil.example"), "{message}");
    assert_eq!((&error["code"], get.reason.as_str()), (&"DENIED".into(), message));
    assert!(head.reason.starts_with("denied by routing/namespace"), "{}", head.reason);
    assert_ne!(head.header("content-length"), Some("0"));
    assert_eq!(error["detail"]["policy"], "routing");
    assert_eq!(error["detail"]["rule"], "namespace");
    assert_eq!(error["detail"]["decision"].as_str().unwrap().len(), 26);
    assert_eq!(error["detail"]["requestId"].as_str(), get.header("x-request-id"));
    assert!(world.registry.requests().is_empty());
}

#[tokio::test]
async fn every_error_says_why_in_the_status_line_and_in_json() {
    let world = World::start().await;
    world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let no_digest = format!("/v2/{REPOSITORY}/lib/app/blobs/sha256:{}", "0".repeat(64));
    for (path, status, code) in [
        ("/v2/reg.example/lib/app/manifests/none", 404, "MANIFEST_UNKNOWN"),
        (no_digest.as_str(), 404, "BLOB_UNKNOWN"),
        ("/v2/reg.example/lib/app/manifests/.x", 404, "MANIFEST_UNKNOWN"),
        ("/v2/reg.example/lib/app/manifests/sha256:1", 400, "DIGEST_INVALID"),
        ("/v2/reg.example/lib/APP/manifests/1", 400, "NAME_INVALID"),
        ("/v2/elsewhere/app/manifests/1", 404, "NAME_UNKNOWN"),
        ("/v2/reg.example/lib/app", 404, "UNSUPPORTED"),
        ("/v2/reg.example/lib/app/tags/list?n=x", 400, "UNSUPPORTED"),
        ("/nothing", 404, "UNSUPPORTED"),
    ] {
        let get = world.get(path, &[]).await;
        assert_eq!(get.status, status, "{path} {}", get.text());
        assert_eq!(get.json()["errors"][0]["code"], code, "{path}");
        let head = world.head(path, &[]).await;
        for answer in [&get, &head] {
            let standard = http::StatusCode::from_u16(status).unwrap().canonical_reason();
            assert_ne!(Some(answer.reason.as_str()), standard, "{path}");
            assert!(answer.reason.len() > 5, "{path} {:?}", answer.reason);
        }
        assert_eq!((head.status, head.body.len()), (status, 0), "{path}");
    }
}

#[tokio::test]
async fn the_outcomes_of_an_upstream_stay_apart() {
    for (fault, status, code) in [
        (Fault::status(500), 503, "UNAVAILABLE"),
        (Fault::status(403), 403, "DENIED"),
        (Fault::status(404), 404, "MANIFEST_UNKNOWN"),
        (Fault::too_many_requests(7), 429, "TOOMANYREQUESTS"),
    ] {
        let world = World::start().await;
        world.registry.behave(Match::any(), fault);
        let answer = world.get("/v2/reg.example/lib/app/manifests/1", &[]).await;
        let text = answer.text();
        assert_eq!(answer.status, status, "{text}");
        assert_eq!(answer.json()["errors"][0]["code"], code, "{text}");
        let waits = matches!(status, 429 | 503);
        assert_eq!(answer.header("retry-after").is_some(), waits, "{text}");
        if status == 429 {
            assert_eq!(answer.header("retry-after"), Some("7"));
        }
    }
}

#[tokio::test]
async fn what_is_stale_says_so() {
    let world = World::start().await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let path = through(&image.tag_path());
    assert_eq!(world.get(&path, &[]).await.status, 200);
    world.registry.behave(Match::any(), Fault::status(500));
    world.clock.advance(std::time::Duration::from_secs(2 * 3600));
    let answer = world.get(&path, &[]).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &image.manifest[..]));
    assert_eq!(answer.header("cache-status"), Some("lockgate; hit; detail=stale"));
    let age: u64 = answer.header("age").unwrap().parse().unwrap();
    assert!(age >= 2 * 3600, "{age}");
}

#[tokio::test]
async fn pushes_and_unknown_methods_are_refused() {
    let world = World::start().await;
    let addr = world.addr();
    for (method, path) in [
        ("POST", "/v2/reg.example/lib/app/blobs/uploads/"),
        ("PUT", "/v2/reg.example/lib/app/manifests/1"),
        ("DELETE", "/v2/reg.example/lib/app/manifests/1"),
        ("PATCH", "/v2/reg.example/lib/app/tags/list"),
        ("OPTIONS", "/v2/"),
        ("POST", "/healthz"),
    ] {
        let answer = Request::new(method, path).body("{}").send(addr).await.unwrap();
        assert!(matches!(answer.status, 403 | 405), "{method} {path} {}", answer.status);
        assert!(answer.reason.len() > 20, "{method} {path} {:?}", answer.reason);
        if answer.status == 405 {
            assert!(answer.header("allow").is_some(), "{method} {path}");
        }
    }
    assert!(world.registry.requests().is_empty());
}

#[tokio::test]
async fn requests_are_counted_with_what_came_of_them() {
    let world = World::start().await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let path = through(&image.tag_path());
    world.get(&path, &[]).await;
    world.get(&path, &[]).await;
    world.head(&path, &[]).await;
    world.get("/v2/lib/app/manifests/1?ns=evil.example", &[]).await;
    let count = |method: &str, status: &str, outcome: &str| {
        world.server.metric(&format!(
            "lockgate_requests_total{{method=\"{method}\",route=\"manifest\",\
             status=\"{status}\",outcome=\"{outcome}\"}}"
        ))
    };
    common::eventually("all four are counted", || {
        [
            count("get", "2xx", "miss"),
            count("get", "2xx", "hit"),
            count("head", "2xx", "hit"),
            count("get", "4xx", "denied"),
        ] == [1, 1, 1, 1]
    })
    .await;
}

#[tokio::test]
async fn a_pull_over_http2_and_over_tls() {
    let h2c = ListenerSettings { http2: true, ..plain() };
    let world = World::with(FakeRegistry::builder(), h2c, "").await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([300_000]));
    let prior = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for path in [image.tag_path(), image.layer_path(0)] {
        let url = format!("http://{}{}", world.addr(), through(&path));
        let answer = prior.get(&url).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
        assert!(!answer.bytes().await.unwrap().is_empty());
        let head = prior.head(&url).send().await.unwrap();
        assert!(head.headers().contains_key("content-length"), "{path}");
    }

    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new();
    let issued = ca.server(&["localhost"]);
    let (cert_file, key_file) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert_file, issued.cert_pem).unwrap();
    std::fs::write(&key_file, issued.key_pem).unwrap();
    let tls =
        Some(edge::server::TlsFiles { cert_file, key_file, requests_client_certificate: false });
    let listener = ListenerSettings { tls, ..plain() };
    let world = World::with(FakeRegistry::builder(), listener, "").await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([300_000]));
    // Twice: from the download, and from the store.
    for _ in 0..2 {
        let request = Request::get(&through(&image.layer_path(0)));
        let answer = request.tls(ca.client_config(None), "localhost").send(world.addr()).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.clean_end()), (200, true));
        assert_eq!(testkit::sha256(&answer.body), image.layers[0].digest);
    }
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let world = World::start().await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let mut connection = client::Connection::plain(world.addr()).await.unwrap();
    for path in [
        "/v2/".to_owned(),
        through(&image.tag_path()),
        "/v2/reg.example/lib/app/manifests/none".to_owned(),
        through(&image.layer_path(0)),
        "/healthz".to_owned(),
    ] {
        for request in [Request::get(&path), Request::head(&path)] {
            let (answer, kept) = connection.send(&request).await.unwrap();
            assert!(matches!(answer.status, 200 | 404), "{path} {}", answer.status);
            connection = kept.unwrap_or_else(|| panic!("{path}: the connection was closed"));
        }
    }
}
