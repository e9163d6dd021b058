//! Tags, referrers, the catalog; health, metrics and the first page.

#![allow(clippy::unwrap_used)]

mod common;

use common::plain;
use common::world::{REPOSITORY, World};
use edge::server::{ListenerSettings, PublicBase};
use policy::Network;
use testkit::{FakeRegistry, ImageSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn names(answer: &testkit::client::Response, field: &str) -> Vec<String> {
    let value = answer.json();
    let list = value[field].as_array().unwrap_or_else(|| panic!("{}", answer.text()));
    list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Follows `Link` until there is none.
async fn pages(world: &World, first: &str, field: &str) -> Vec<Vec<String>> {
    let (mut path, mut pages) = (first.to_owned(), Vec::new());
    loop {
        let answer = world.get(&path, &[]).await;
        assert_eq!(answer.status, 200, "{path} {}", answer.text());
        pages.push(names(&answer, field));
        let Some(link) = answer.header("link") else { return pages };
        let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
        path = next.unwrap_or_else(|| panic!("{link}")).to_owned();
        assert!(path.starts_with("/v2/"), "{link}");
        assert!(pages.len() < 20);
    }
}

#[tokio::test]
async fn tags_come_in_pages() {
    let world = World::start().await;
    for tag in ["1", "2", "3", "4", "5"] {
        world.registry.image("lib/app", tag, ImageSpec::layers([10]));
    }
    let all = world.get("/v2/reg.example/lib/app/tags/list", &[]).await;
    assert_eq!(all.json()["name"], "reg.example/lib/app");
    assert_eq!(all.header("link"), None);
    assert_eq!(names(&all, "tags"), ["1", "2", "3", "4", "5"]);
    let expected = [vec!["1", "2"], vec!["3", "4"], vec!["5"]];
    assert_eq!(pages(&world, "/v2/reg.example/lib/app/tags/list?n=2", "tags").await, expected);
    // The namespace is carried along.
    let by_namespace = format!("/v2/lib/app/tags/list?n=2&ns={REPOSITORY}");
    assert_eq!(pages(&world, &by_namespace, "tags").await, expected);
    let rest = world.get("/v2/reg.example/lib/app/tags/list?last=3", &[]).await;
    assert_eq!(names(&rest, "tags"), ["4", "5"]);
    let none = world.get("/v2/reg.example/lib/none/tags/list", &[]).await;
    assert_eq!((none.status, &none.json()["errors"][0]["code"]), (404, &"NAME_UNKNOWN".into()));
}

#[tokio::test]
async fn links_are_right_behind_a_proxy() {
    let listener = ListenerSettings {
        trusted_proxies: vec![Network::parse("127.0.0.0/8").unwrap()],
        public_urls: vec![PublicBase::parse("https://public.example").unwrap()],
        ..plain()
    };
    let world = World::with(FakeRegistry::builder(), listener, common::world::ALLOW_ALL).await;
    for tag in ["1", "2"] {
        world.registry.image("lib/app", tag, ImageSpec::layers([10]));
    }
    let headers = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "public.example"),
    ];
    let answer = world.get("/v2/reg.example/lib/app/tags/list?n=1", &headers).await;
    let link = "</v2/reg.example/lib/app/tags/list?last=1&n=1>; rel=\"next\"";
    assert_eq!((answer.status, answer.header("link")), (200, Some(link)));
}

#[tokio::test]
async fn referrers_are_an_index_and_can_be_filtered() {
    let world = World::start().await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let signature = world.registry.referrer("lib/app", &image.digest, "a/signature", "s");
    world.registry.referrer("lib/app", &image.digest, "a/sbom", "b");
    let path = format!("/v2/{REPOSITORY}/lib/app/referrers/{}", image.digest);
    let all = world.get(&path, &[]).await;
    assert_eq!(all.status, 200, "{}", all.text());
    assert_eq!(all.header("content-type"), Some(testkit::OCI_INDEX));
    let value = all.json();
    assert_eq!(
        (&value["schemaVersion"], &value["mediaType"]),
        (&2.into(), &testkit::OCI_INDEX.into())
    );
    assert_eq!(value["manifests"].as_array().unwrap().len(), 2);

    let filtered = world.get(&format!("{path}?artifactType=a%2Fsignature"), &[]).await;
    assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
    let entries = filtered.json()["manifests"].clone();
    assert_eq!(entries.as_array().unwrap().len(), 1, "{entries}");
    assert_eq!(entries[0]["digest"], signature.digest.as_str());
    assert_eq!(entries[0]["artifactType"], "a/signature");
    assert_eq!(entries[0]["size"], signature.manifest.len());

    let nothing = format!("/v2/{REPOSITORY}/lib/app/referrers/{}", testkit::sha256(b"x"));
    let nothing = world.get(&nothing, &[]).await;
    assert_eq!((nothing.status, &nothing.json()["manifests"]), (200, &serde_json::json!([])));
}

#[tokio::test]
async fn the_catalog_lists_what_this_plane_knows() {
    let world = World::start().await;
    for name in ["lib/a", "lib/b", "lib/c"] {
        let image = world.registry.image(name, "1", ImageSpec::layers([10]));
        let path = common::world::through(&image.tag_path());
        assert_eq!(world.get(&path, &[]).await.status, 200);
    }
    let expected = ["reg.example/lib/a", "reg.example/lib/b", "reg.example/lib/c"];
    // Rows are written behind the answer.
    for _ in 0..1000 {
        let all = names(&world.get("/v2/_catalog", &[]).await, "repositories");
        if all == expected {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let pages = pages(&world, "/v2/_catalog?n=2", "repositories").await;
    assert_eq!(pages, [expected[..2].to_vec(), expected[2..].to_vec()]);
}

#[tokio::test]
async fn health_says_more_to_those_who_are_near() {
    let trusted_proxies = vec![Network::parse("127.0.0.0/8").unwrap()];
    let listener = ListenerSettings { trusted_proxies, ..plain() };
    let world = World::with(FakeRegistry::builder(), listener, "").await;
    let alive = world.get("/healthz", &[]).await;
    assert_eq!((alive.status, alive.text().as_str()), (200, "ok\n"));

    let near = world.get("/readyz", &[]).await;
    assert_eq!((near.status, &near.json()["ready"]), (200, &true.into()));
    assert!(near.json()["revision"]["digest"].is_string(), "{}", near.text());
    let far = world.get("/readyz", &[("x-forwarded-for", "203.0.113.7")]).await;
    assert_eq!(far.status, 200);
    let fields: Vec<String> = far.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["ready", "warnings"]);
    assert!(far.json()["warnings"].is_u64());

    world.stopping.cancel();
    let head = world.head("/readyz", &[]).await;
    assert_eq!((head.status, head.reason.as_str()), (503, "stopping"));
    assert_eq!(world.get("/healthz", &[]).await.status, 200);
}

#[tokio::test]
async fn trouble_of_an_upstream_leaves_the_plane_ready() {
    let world = World::start().await;
    world.registry.stop().await;
    let answer = world.get("/v2/reg.example/lib/app/manifests/1", &[]).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(world.get("/readyz", &[]).await.status, 200);
}

#[tokio::test]
async fn counters_and_the_first_page() {
    let world = World::start().await;
    let metrics = world.get("/metrics", &[]).await;
    assert_eq!(metrics.header("content-type"), Some(telemetry::CONTENT_TYPE));
    assert!(metrics.text().contains("lockgate_build_info"));
    let home = world.get("/", &[]).await;
    assert_eq!((home.status, home.text().lines().count()), (200, 1));
    assert!(home.text().contains("/v2/"));
    let head = world.head("/metrics", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_client_that_is_not_local_may_not_pull_by_default() {
    let trusted_proxies = vec![Network::parse("127.0.0.0/8").unwrap()];
    let listener = ListenerSettings { trusted_proxies, ..plain() };
    let world = World::with(FakeRegistry::builder(), listener, "").await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let path = common::world::through(&image.tag_path());
    let far = world.get(&path, &[("x-forwarded-for", "203.0.113.7")]).await;
    assert_eq!((far.status, &far.json()["errors"][0]["code"]), (403, &"DENIED".into()));
    // An address that cannot be read is not the proxy's own.
    let unknown = world.get(&path, &[("x-forwarded-for", "junk")]).await;
    assert_eq!(unknown.status, 403);
    assert!(world.registry.requests().is_empty());
    assert_eq!(world.get(&path, &[]).await.status, 200);
}

#[tokio::test]
async fn whom_the_proxy_protocol_names_is_who_asks() {
    let listener = ListenerSettings {
        trusted_proxies: vec![Network::parse("127.0.0.0/8").unwrap()],
        proxy_protocol: true,
        ..plain()
    };
    let world = World::with(FakeRegistry::builder(), listener, "").await;
    world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    for (client, status) in [("203.0.113.7", 403), ("127.0.0.1", 200)] {
        let mut stream = tokio::net::TcpStream::connect(world.addr()).await.unwrap();
        let request = format!(
            "PROXY TCP4 {client} 127.0.0.1 4711 5050\r\n\
             GET /v2/reg.example/lib/app/manifests/1 HTTP/1.1\r\nhost: a\r\n\
             connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{client} {answer}");
    }
}

#[tokio::test]
async fn a_host_that_a_trusted_proxy_forwards_routes_the_request() {
    let trusted_proxies = vec![Network::parse("127.0.0.0/8").unwrap()];
    let listener = ListenerSettings { trusted_proxies, ..plain() };
    let world = World::with(FakeRegistry::builder(), listener, "").await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let answer = world.get(&image.tag_path(), &[("x-forwarded-host", REPOSITORY)]).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &image.manifest[..]));
    // From a stranger the header is nothing.
    let world = World::start().await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let answer = world.get(&image.tag_path(), &[("x-forwarded-host", REPOSITORY)]).await;
    assert_eq!(answer.status, 404);
}
