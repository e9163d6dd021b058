//! Blobs over the wire, cold and warm: whole, in part, in several parts.

#![allow(clippy::unwrap_used)]

mod common;

use common::world::{REPOSITORY, World, through};
use oci::{Algorithm, Digest};
use testkit::client::{Request, Response};
use testkit::{Fault, Gate, ImageSpec, Match, Synthetic};

const SIZE: u64 = 1 << 20;

/// A blob of one MiB, its path here, and its digest.
fn blob(world: &World) -> (Vec<u8>, String, String) {
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([SIZE]).seed(7));
    let bytes = Synthetic::new(SIZE, image.layer_seeds[0]).to_bytes().to_vec();
    (bytes, through(&image.layer_path(0)), image.layers[0].digest.clone())
}

fn assert_part(answer: &Response, bytes: &[u8], range: std::ops::Range<usize>) {
    let expected = format!("bytes {}-{}/{}", range.start, range.end - 1, bytes.len());
    assert_eq!(answer.status, 206);
    assert_eq!(answer.header("content-range"), Some(expected.as_str()));
    assert_eq!(answer.header("content-length"), Some(range.len().to_string().as_str()));
    assert!(answer.clean_end());
    assert!(answer.body == bytes[range]);
}

#[tokio::test]
async fn a_blob_with_all_its_headers() {
    let world = World::start().await;
    let (bytes, path, digest) = blob(&world);
    // The download, then joining it or asking whether it is there, until its rows are written.
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some("lockgate; hit") {
        assert!(seen.len() < 1000, "{seen:?}");
        let answer = world.get(&path, &[]).await;
        seen.push(answer.header("cache-status").unwrap_or_default().to_owned());
        assert_eq!((answer.status, answer.clean_end()), (200, true));
        assert!(answer.body == bytes);
        assert_eq!(answer.header("content-length"), Some(SIZE.to_string().as_str()));
        assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
        assert_eq!(answer.header("etag"), Some(format!("\"{digest}\"").as_str()));
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
        assert!(answer.header("content-type").is_some());
    }
    assert_eq!(seen[0], "lockgate; fwd=miss; stored");
    assert_eq!(world.registry.bytes_sent_for(&digest), SIZE);
    let tag = format!("\"{digest}\"");
    let known = world.get(&path, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status, known.body.len()), (304, 0));
}

#[tokio::test]
async fn head_says_the_size_and_starts_no_download() {
    let world = World::start().await;
    let (_, path, digest) = blob(&world);
    let head = world.head(&path, &[("range", "bytes=0-9")]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(SIZE.to_string().as_str()));
    assert_eq!(head.header("docker-content-digest"), Some(digest.as_str()));
    assert_eq!(head.header("content-range"), None);
    assert_eq!(world.registry.bytes_sent_for(&digest), 0);
}

#[tokio::test]
async fn a_range_of_a_cold_blob_waits_only_for_its_window() {
    let world = World::start().await;
    let (bytes, path, digest) = blob(&world);
    let gate = Gate::new();
    // The second half is held back; the window lies in the first.
    world.registry.behave(Match::blobs().method("GET"), Fault::HoldAt(SIZE / 2, gate.clone()));
    let answer = world.get(&path, &[("range", "bytes=1000-1999")]).await;
    assert_part(&answer, &bytes, 1000..2000);
    gate.open();
    let whole = world.get(&path, &[]).await;
    assert!(whole.body == bytes);
    assert_eq!(world.registry.bytes_sent_for(&digest), SIZE);
}

#[tokio::test]
async fn ranges_of_a_warm_blob() {
    let world = World::start().await;
    let (bytes, path, digest) = blob(&world);
    world.get(&path, &[]).await;
    let size = bytes.len();
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=500-1499", 500..1500),
        ("bytes=1000000-", 1_000_000..size),
        ("bytes=-500", size - 500..size),
        ("bytes=1000-99999999", 1000..size),
    ] {
        assert_part(&world.get(&path, &[("range", range)]).await, &bytes, expected);
    }
    // The conformance program of the specification wants it so.
    assert_eq!(world.get(&path, &[("range", "bytes=5-1")]).await.status, 416);
    for range in ["lines=0-1", "bytes=0-,0-"] {
        let answer = world.get(&path, &[("range", range)]).await;
        assert_eq!((answer.status, answer.body.len()), (200, size), "{range}");
    }
    let tag = format!("\"{digest}\"");
    let resumed = world.get(&path, &[("range", "bytes=10-19"), ("if-range", &tag)]).await;
    assert_part(&resumed, &bytes, 10..20);
    for other in [format!("W/{tag}"), "Tue, 24 Nov 2026 17:02:03 GMT".to_owned()] {
        let answer = world.get(&path, &[("range", "bytes=10-19"), ("if-range", &other)]).await;
        assert_eq!((answer.status, answer.body.len()), (200, size), "{other}");
    }
}

#[tokio::test]
async fn a_range_outside_says_so() {
    let world = World::start().await;
    let (_, path, digest) = blob(&world);
    world.get(&path, &[]).await;
    let answer = world.get(&path, &[("range", &format!("bytes={SIZE}-"))]).await;
    assert_eq!(answer.status, 416);
    assert_eq!(answer.header("content-range"), Some(format!("bytes */{SIZE}").as_str()));
    assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.reason.starts_with("no byte of the range"), "{}", answer.reason);
    let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&SIZE.to_string()), "{message}");
}

#[tokio::test]
async fn several_ranges_come_as_parts() {
    let world = World::start().await;
    let (bytes, path, _) = blob(&world);
    for _ in ["cold", "warm"] {
        let range = "bytes=500000-500099, 0-9, -5";
        let answer = world.get(&path, &[("range", range)]).await;
        assert_eq!((answer.status, answer.clean_end()), (206, true));
        let kind = answer.header("content-type").unwrap();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let mut rest = &answer.body[..];
        for part in [500_000..500_100, 0..10, bytes.len() - 5..bytes.len()] {
            let end = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            let head = std::str::from_utf8(&rest[..end]).unwrap();
            let (first, last, size) = (part.start, part.end - 1, bytes.len());
            assert!(head.contains(&format!("--{boundary}\r\n")), "{head}");
            assert!(
                head.contains(&format!("Content-Range: bytes {first}-{last}/{size}")),
                "{head}"
            );
            rest = &rest[end + 4..];
            assert!(rest[..part.len()] == bytes[part.clone()]);
            rest = &rest[part.len()..];
        }
        assert_eq!(rest, format!("\r\n--{boundary}--\r\n").as_bytes());
        world.get(&path, &[]).await;
    }
}

#[tokio::test]
async fn an_upstream_without_a_length_is_passed_on_in_chunks() {
    let world = World::start().await;
    let (bytes, path, digest) = blob(&world);
    world.registry.behave(Match::blobs(), Fault::Chunked);
    // Not known is not zero.
    let head = world.head(&path, &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, None));
    let answer = world.get(&path, &[("range", "bytes=0-9")]).await;
    assert!(matches!(answer.status, 200 | 206), "{}", answer.status);
    if answer.status == 200 {
        assert_eq!(answer.header("content-length"), None);
        assert!(answer.clean_end() && answer.body == bytes);
    }
    let again = world.get(&path, &[]).await;
    assert!(again.clean_end() && again.body == bytes);
    assert_eq!(world.registry.bytes_sent_for(&digest), SIZE);
}

#[tokio::test]
async fn wrong_bytes_never_end_cleanly() {
    let world = World::start().await;
    let (_, path, _) = blob(&world);
    world.registry.behave(Match::blobs(), Fault::FlipByte(SIZE - 10));
    let answer = Request::get(&path).send(world.addr()).await.unwrap();
    assert!(answer.status != 200 || !answer.clean_end());
    world.registry.clear();
    let failed = "lockgate_requests_total{method=\"get\",route=\"blob\",status=\"2xx\",\
                  outcome=\"failed\"}";
    common::eventually("it is counted as failed", || world.server.metric(failed) == 1).await;
}

#[tokio::test]
async fn an_empty_blob_and_one_named_by_sha512() {
    let world = World::start().await;
    let empty = world.registry.blob("lib/app", "");
    let answer = world.get(&format!("/v2/{REPOSITORY}/lib/app/blobs/{empty}"), &[]).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));
    assert!(answer.clean_end());

    let bytes = vec![9u8; 100_000];
    let long = Digest::of(Algorithm::Sha512, &bytes).to_string();
    world.registry.blob_under("lib/app", &long, bytes.clone());
    for _ in ["cold", "warm"] {
        let answer = world.get(&format!("/v2/{REPOSITORY}/lib/app/blobs/{long}"), &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.clean_end() && answer.body == bytes);
    }

    // Nothing under a digest that is not of nothing.
    let other = testkit::sha256(b"x");
    world.registry.blob_under("lib/app", &other, Vec::new());
    let answer = world.get(&format!("/v2/{REPOSITORY}/lib/app/blobs/{other}"), &[]).await;
    assert!(answer.status >= 500, "{}", answer.status);
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_as_such() {
    let world = World::start().await;
    let (_, path, _) = blob(&world);
    let gate = Gate::new();
    world.registry.behave(Match::blobs().method("GET"), Fault::HoldAt(SIZE / 2, gate.clone()));
    let transfer = Request::get(&path).open(world.addr()).await.unwrap();
    assert_eq!(transfer.status, 200);
    drop(transfer);
    let cancelled = "lockgate_requests_total{method=\"get\",route=\"blob\",status=\"2xx\",\
                     outcome=\"cancelled\"}";
    common::eventually("it is counted", || world.server.metric(cancelled) == 1).await;
    gate.open();
}
