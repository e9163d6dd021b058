//! The registry when it behaves: the pull side of the OCI distribution spec, and its life cycle.

use std::io::ErrorKind;
use std::time::Duration;
use testkit::client::{Connection, End, Request};
use testkit::{
    DOCKER_MANIFEST, FakeRegistry, ImageSpec, OCI_INDEX, RateLimit, Referrers, blob_path, client,
    sha256,
};

#[tokio::test]
async fn an_image_can_be_pulled_by_tag_and_digest() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b/c", "1", ImageSpec::layers([10, 3_000_000]).docker());
    for path in [image.tag_path(), image.digest_path()] {
        let got = client::get(registry.addr(), &path, &[]).await.unwrap();
        assert_eq!((got.status, &got.body), (200, &image.manifest));
        assert_eq!(got.header("content-type"), Some(DOCKER_MANIFEST));
        assert_eq!(sha256(&got.body), image.digest);
    }
    for (index, layer) in image.layers.iter().enumerate() {
        let got = client::get(registry.addr(), &image.layer_path(index), &[]).await.unwrap();
        assert_eq!(sha256(&got.body), layer.digest);
        assert_eq!(got.body.len() as u64, layer.size_bytes);
    }
    let config = client::get(registry.addr(), &image.config_path(), &[]).await.unwrap();
    assert_eq!(sha256(&config.body), image.config.digest);
    let head = client::head(registry.addr(), &image.layer_path(1), &[]).await.unwrap();
    assert_eq!((head.header("content-length"), head.body.len()), (Some("3000000"), 0));
}

#[tokio::test]
async fn content_is_the_same_for_the_same_seed_only() {
    let registry = FakeRegistry::start().await;
    let image = |tag, seed| registry.image("a", tag, ImageSpec::layers([100]).seed(seed)).digest;
    assert_eq!(image("1", 1), image("2", 1));
    assert_ne!(image("1", 1), image("1", 2));
    let unseeded = |tag| registry.image("a", tag, ImageSpec::layers([100])).digest;
    assert_ne!(unseeded("1"), unseeded("2"));
}

#[tokio::test]
async fn an_index_lists_its_platforms() {
    let registry = FakeRegistry::start().await;
    let index = registry.index("multi", "1", &[("linux", "amd64"), ("linux", "arm64")]);
    let got = client::get(registry.addr(), &index.tag_path(), &[]).await.unwrap();
    assert_eq!(got.header("content-type"), Some(OCI_INDEX));
    let listed = got.json();
    assert_eq!(listed["manifests"][1]["platform"]["architecture"], "arm64");
    assert_eq!(listed["manifests"][1]["digest"], index.images[1].digest);
    let child = client::get(registry.addr(), &index.images[0].digest_path(), &[]).await.unwrap();
    assert_eq!(child.body, index.images[0].manifest);
}

#[tokio::test]
async fn what_is_not_there_is_told_by_the_codes_of_the_spec() {
    let registry = FakeRegistry::start().await;
    let digest = registry.blob("a", "blob");
    for (path, code) in [
        ("/v2/a/manifests/1".to_owned(), "MANIFEST_UNKNOWN"),
        ("/v2/b/manifests/1".to_owned(), "NAME_UNKNOWN"),
        (blob_path("a", &sha256(b"other")), "BLOB_UNKNOWN"),
        (blob_path("b", &digest), "BLOB_UNKNOWN"),
        ("/v2/b/tags/list".to_owned(), "NAME_UNKNOWN"),
    ] {
        let got = client::get(registry.addr(), &path, &[]).await.unwrap();
        assert_eq!((got.status, &got.json()["errors"][0]["code"]), (404, &code.into()), "{path}");
    }
    let push = Request::new("POST", "/v2/a/blobs/uploads/").body("x");
    assert_eq!(push.send(registry.addr()).await.unwrap().status, 404);
    let put = Request::new("PUT", "/v2/a/manifests/1").body("{}");
    assert_eq!(put.send(registry.addr()).await.unwrap().status, 405);
}

#[tokio::test]
async fn tags_and_blobs_come_and_go() {
    let registry = FakeRegistry::start().await;
    let one = registry.image("a", "1", ImageSpec::layers([10]));
    let two = registry.image("a", "2", ImageSpec::layers([10]));
    let digest = |path: String| {
        let addr = registry.addr();
        async move {
            let got = client::head(addr, &path, &[]).await.unwrap();
            got.header("docker-content-digest").map(str::to_owned)
        }
    };
    registry.move_tag("a", "1", &two.digest);
    assert_eq!(digest(one.tag_path()).await.as_ref(), Some(&two.digest));
    registry.delete_tag("a", "1");
    assert_eq!(digest(one.tag_path()).await, None);
    assert_eq!(digest(one.digest_path()).await.as_ref(), Some(&one.digest));
    registry.delete_manifest("a", &one.digest);
    assert_eq!(digest(one.digest_path()).await, None);
    registry.delete_blob("a", &one.layers[0].digest);
    assert_eq!(digest(one.layer_path(0)).await, None);
    registry.delete_repository("a");
    assert_eq!(digest(two.tag_path()).await, None);
}

#[tokio::test]
async fn conditions_and_ranges_are_honoured() {
    let registry = FakeRegistry::start().await;
    let path = blob_path("a", &registry.blob("a", "0123456789"));
    let whole = client::get(registry.addr(), &path, &[]).await.unwrap();
    let etag = whole.header("etag").unwrap();
    for (headers, status, body) in [
        (vec![("range", "bytes=2-4")], 206, "234"),
        (vec![("range", "bytes=-2")], 206, "89"),
        (vec![("range", "bytes=2-4"), ("if-range", etag)], 206, "234"),
        (vec![("range", "bytes=2-4"), ("if-range", "\"old\"")], 200, "0123456789"),
        (vec![("range", "bytes=10-")], 416, ""),
        (vec![("if-none-match", etag)], 304, ""),
        (vec![("if-none-match", "\"old\"")], 200, "0123456789"),
    ] {
        let got = client::get(registry.addr(), &path, &headers).await.unwrap();
        assert_eq!((got.status, got.text().as_str()), (status, body), "{headers:?}");
        assert!(got.clean_end());
    }
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let registry = FakeRegistry::start().await;
    for tag in ["a", "b", "c", "d", "e"] {
        registry.image("x", tag, ImageSpec::layers([1]).seed(1));
    }
    registry.set_page_size(2);
    let (mut path, mut tags, mut pages) = ("/v2/x/tags/list".to_owned(), Vec::new(), 0);
    loop {
        let got = client::get(registry.addr(), &path, &[]).await.unwrap();
        let listed = got.json();
        let page = listed["tags"].as_array().unwrap().iter();
        tags.extend(page.map(|tag| tag.as_str().unwrap().to_owned()));
        pages += 1;
        let Some(link) = got.header("link") else { break };
        path = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
    }
    assert_eq!((tags.concat().as_str(), pages), ("abcde", 3));
}

#[tokio::test]
async fn referrers_are_listed_by_api_by_tag_or_not_at_all() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a", "1", ImageSpec::layers([10]));
    let signature = registry.referrer("a", &image.digest, "application/x.sig", "signed");
    registry.referrer("a", &image.digest, "application/x.sbom", "parts");
    let api = format!("/v2/a/referrers/{}", image.digest);
    let tag = format!("/v2/a/manifests/{}", image.digest.replace(':', "-"));
    let get = |path: String| {
        let addr = registry.addr();
        async move { client::get(addr, &path, &[]).await.unwrap() }
    };
    let listed = get(api.clone()).await;
    assert_eq!(listed.json()["manifests"].as_array().unwrap().len(), 2);
    let filtered = get(format!("{api}?artifactType=application%2Fx.sig")).await;
    assert_eq!(filtered.json()["manifests"][0]["digest"], signature.digest);
    assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
    assert_eq!(get(tag.clone()).await.status, 404);

    registry.set_referrers(Referrers::FallbackTag);
    assert_eq!(get(api.clone()).await.status, 404);
    assert_eq!(get(tag.clone()).await.json()["manifests"].as_array().unwrap().len(), 2);

    registry.set_referrers(Referrers::Off);
    assert_eq!((get(api).await.status, get(tag).await.status), (404, 404));
}

#[tokio::test]
async fn a_budget_of_pulls_runs_out() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a", "1", ImageSpec::layers([10]));
    registry.set_rate_limit(Some(RateLimit::new(2)));
    let head = client::head(registry.addr(), &image.tag_path(), &[]).await.unwrap();
    assert_eq!(head.header("ratelimit-remaining"), Some("2;w=21600"));
    for (status, remaining) in [(200, "1;w=21600"), (200, "0;w=21600"), (429, "0;w=21600")] {
        let got = client::get(registry.addr(), &image.tag_path(), &[]).await.unwrap();
        assert_eq!((got.status, got.header("ratelimit-remaining")), (status, Some(remaining)));
    }
    registry.set_rate_limit(None);
    let got = client::get(registry.addr(), &image.tag_path(), &[]).await.unwrap();
    assert_eq!((got.status, got.header("ratelimit-limit")), (200, None));
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a", "1", ImageSpec::layers([100_000]));
    let mut connection = Connection::plain(registry.addr()).await.unwrap();
    for path in [image.tag_path(), image.layer_path(0), "/v2/nothing".into(), image.tag_path()] {
        let (response, kept) = connection.send(&Request::get(&path)).await.unwrap();
        assert_eq!(response.end, End::Clean);
        connection = kept.expect("keep-alive");
    }
    assert_eq!((registry.connections_accepted(), registry.requests().len()), (1, 4));
    let last = registry.requests().pop().unwrap();
    assert!(last.finished && last.completed && last.connection == 1 && last.status == 200);
}

#[tokio::test]
async fn a_stopped_registry_refuses_and_comes_back_on_the_same_port() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a", "1", ImageSpec::layers([100]));
    let idle = Connection::plain(registry.addr()).await.unwrap();
    registry.stop().await;
    let refused = client::get(registry.addr(), "/v2/", &[]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(idle.send(&Request::get("/v2/")).await.is_err());
    registry.restart().await;
    assert_eq!(client::get(registry.addr(), &image.tag_path(), &[]).await.unwrap().status, 200);
    registry.restart().await;
    assert_eq!(client::get(registry.addr(), "/v2/", &[]).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_paused_registry_accepts_and_says_nothing_until_resumed() {
    let registry = FakeRegistry::start().await;
    registry.pause();
    let pull = tokio::spawn(client::get_owned(registry.addr(), "/v2/".into(), vec![]));
    registry.eventually("it is asked", |seen| seen.requests().len() == 1).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!pull.is_finished() && registry.requests()[0].status == 0);
    registry.resume();
    assert_eq!(pull.await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn dropping_the_last_handle_stops_it() {
    let registry = FakeRegistry::start().await;
    let (addr, other) = (registry.addr(), registry.clone());
    drop(registry);
    assert!(client::get(addr, "/v2/", &[]).await.is_ok());
    drop(other);
    while client::get(addr, "/v2/", &[]).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn huge_blobs_cost_no_memory_and_reads_can_be_slow() {
    let registry = FakeRegistry::start().await;
    let digest = registry.synthetic_blob("big", 64 << 20, 7);
    let request = Request::get(&blob_path("big", &digest)).slowly(1_000_000);
    let mut transfer = request.open(registry.addr()).await.unwrap();
    let mut buffer = vec![0; 10_000];
    assert!(transfer.read(&mut buffer).await.unwrap() > 0);
    let sent = registry.bytes_sent_for(&digest);
    assert!(sent < 32 << 20, "a slow reader holds the sender back, but {sent} bytes were sent");
    drop(transfer);
    registry.eventually("it notices", |seen| seen.open_connections() == 0).await;
}

#[tokio::test]
async fn an_ordinary_client_gets_on_with_it() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a", "1", ImageSpec::layers([2_000_000]));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in [image.tag_path(), image.layer_path(0), image.layer_path(0)] {
        let got = client.get(registry.url() + &path).send().await.unwrap();
        assert_eq!(got.status(), 200);
        got.bytes().await.unwrap();
    }
    assert_eq!(registry.connections_accepted(), 1);
}
