//! Every fault, as the raw client sees it.
#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::time::Duration;
use testkit::client::{End, Request, Response};
use testkit::{Canned, FakeRegistry, Fault, Gate, Image, ImageSpec, Match, Mode, client};

const LAYER_BYTES: usize = 300_000;

async fn registry() -> (FakeRegistry, Image) {
    let registry = FakeRegistry::start().await;
    let image = registry.image("library/alpine", "3", ImageSpec::layers([LAYER_BYTES as u64]));
    (registry, image)
}

/// Publishes an image, applies `fault` to its blobs and gets the layer.
async fn layer(fault: impl Into<Fault>, headers: &[(&str, &str)]) -> Response {
    let (registry, image) = registry().await;
    registry.behave(Match::blobs(), fault);
    client::get(registry.addr(), &image.layer_path(0), headers).await.unwrap()
}

async fn good_layer() -> Response {
    let (registry, image) = registry().await;
    client::get(registry.addr(), &image.layer_path(0), &[]).await.unwrap()
}

#[tokio::test]
async fn bodies_can_end_in_every_wrong_way() {
    let good = good_layer().await;
    assert_eq!((good.status, good.body.len(), good.end), (200, LAYER_BYTES, End::Clean));
    for (fault, length, end) in [
        (Fault::Truncate(1000), 1000, End::Truncated),
        (Fault::Truncate(0), 0, End::Truncated),
        (Fault::Reset(1000), 1000, End::Reset),
        (Fault::LengthOff(7), LAYER_BYTES, End::Truncated),
        (Fault::LengthOff(-7), LAYER_BYTES - 7, End::Clean),
        (Fault::Chunked, LAYER_BYTES, End::Clean),
        (Fault::CloseDelimited, LAYER_BYTES, End::Clean),
    ] {
        let name = format!("{fault:?}");
        let got = layer(fault, &[]).await;
        assert_eq!((got.body.len(), got.end), (length, end), "{name}");
        assert_eq!(got.body, good.body[..length], "{name}");
    }
}

#[tokio::test]
async fn a_stalled_body_stays_open_until_the_client_gives_up() {
    let (registry, image) = registry().await;
    registry.behave(Match::blobs(), Fault::Stall(5000));
    let request = Request::get(&image.layer_path(0)).timeout(Duration::from_secs(1));
    let got = request.send(registry.addr()).await.unwrap();
    assert_eq!((got.status, got.body.len(), got.end), (200, 5000, End::TimedOut));
    registry.eventually("the connection goes", |seen| seen.open_connections() == 0).await;
    let seen = &registry.requests()[0];
    assert!(seen.finished && !seen.completed && seen.bytes_sent == 5000);
}

#[tokio::test]
async fn chunked_bodies_can_be_cut_too() {
    let (registry, image) = registry().await;
    registry.behave(Match::blobs(), Fault::Chunked);
    registry.behave(Match::blobs(), Fault::Truncate(1234));
    let got = client::get(registry.addr(), &image.layer_path(0), &[]).await.unwrap();
    assert_eq!((got.body.len(), got.end), (1234, End::Truncated));
    assert_eq!(got.header("content-length"), None);
}

#[tokio::test]
async fn wrong_bytes_have_the_right_length() {
    let good = good_layer().await;
    let flipped = layer(Fault::FlipByte(250_000), &[]).await;
    let differing = good.body.iter().zip(&flipped.body).filter(|(one, other)| one != other);
    assert_eq!((flipped.body.len(), differing.count()), (LAYER_BYTES, 1));
    assert_ne!(flipped.body[250_000], good.body[250_000]);
    let other = layer(Fault::OtherContent, &[]).await;
    assert_eq!((other.body.len(), other.clean_end()), (LAYER_BYTES, true));
    assert_ne!(other.body, good.body);
}

#[tokio::test]
async fn some_faults_leave_no_answer_at_all() {
    for (fault, kind) in [
        (Fault::Drop, ErrorKind::UnexpectedEof),
        (Fault::ResetAtOnce, ErrorKind::ConnectionReset),
        (Fault::BlackHole, ErrorKind::TimedOut),
        (Fault::Garbage, ErrorKind::InvalidData),
        (Fault::EndlessHeader, ErrorKind::TimedOut),
    ] {
        let (registry, _) = registry().await;
        let name = format!("{fault:?}");
        registry.behave(Match::ping(), fault);
        let patience = if kind == ErrorKind::TimedOut { 300 } else { 30_000 };
        let request = Request::get("/v2/").timeout(Duration::from_millis(patience));
        let error = request.send(registry.addr()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        registry.eventually("the connection goes", |seen| seen.open_connections() == 0).await;
    }
}

#[tokio::test]
async fn canned_answers_carry_what_they_were_given() {
    let canned: Canned = Fault::status(403).header("x-a", "b").body("no").reason("Denied by me");
    let got = layer(canned, &[]).await;
    assert_eq!((got.status, got.reason.as_str(), got.text()), (403, "Denied by me", "no".into()));
    assert_eq!(got.header("x-a"), Some("b"));
    let busy = layer(Fault::too_many_requests(7), &[]).await;
    assert_eq!((busy.status, busy.header("retry-after")), (429, Some("7")));
    assert_eq!(busy.json()["errors"][0]["code"], "TOOMANYREQUESTS");
    let portal = layer(Fault::html(), &[]).await;
    assert_eq!((portal.status, portal.header("content-type")), (200, Some("text/html")));
}

#[tokio::test]
async fn ranges_can_be_ignored_or_answered_with_lies() {
    let good = good_layer().await;
    let range = [("range", "bytes=1000-1999")];
    let named = |got: &Response| got.header("content-range").map(str::to_owned);
    let honest = layer(Fault::header("x-nothing", "1"), &range).await;
    assert_eq!((honest.status, &honest.body), (206, &good.body.slice(1000..2000)));
    assert_eq!(named(&honest).as_deref(), Some("bytes 1000-1999/300000"));

    let ignored = layer(Fault::IgnoreRange, &range).await;
    assert_eq!((ignored.status, named(&ignored), ignored.body), (200, None, good.body.clone()));
    let other = layer(Fault::OtherRange(10), &range).await;
    assert_eq!((other.status, &other.body), (206, &good.body.slice(1010..2010)));
    assert_eq!(named(&other).as_deref(), Some("bytes 1010-2009/300000"));
    let lying = layer(Fault::ContentRangeOff(-10), &range).await;
    assert_eq!((lying.status, &lying.body), (206, &good.body.slice(1000..2000)));
    assert_eq!(named(&lying).as_deref(), Some("bytes 990-1989/300000"));
    let total = layer(Fault::TotalOff(1), &range).await;
    assert_eq!(named(&total).as_deref(), Some("bytes 1000-1999/300001"));
    let etag = layer(Fault::etag("\"new\""), &range).await;
    assert_eq!(etag.header("etag"), Some("\"new\""));
}

#[tokio::test]
async fn redirects_go_where_they_are_told() {
    let (elsewhere, _) = registry().await;
    let to = layer(Fault::Redirect("http://10.0.0.1/x".into()), &[]).await;
    assert_eq!((to.status, to.header("location")), (307, Some("http://10.0.0.1/x")));

    let (registry, image) = registry().await;
    let rule = registry.behave(Match::blobs(), Fault::RedirectBase(elsewhere.url()));
    let moved = client::get(registry.addr(), &image.layer_path(0), &[]).await.unwrap();
    let expected = format!("{}{}", elsewhere.url(), image.layer_path(0));
    assert_eq!(moved.header("location"), Some(expected.as_str()));

    registry.forget(&rule);
    registry.behave(Match::blobs(), Fault::RedirectLoop);
    let mut path = image.layer_path(0);
    for hop in 1..=3 {
        let got = client::get(registry.addr(), &path, &[]).await.unwrap();
        path = got.header("location").unwrap().to_owned();
        assert_eq!((got.status, path.ends_with(&format!("?hop={hop}"))), (307, true));
    }
}

#[tokio::test]
async fn object_storage_serves_without_authentication() {
    let (registry, image) = registry().await;
    registry.set_auth(testkit::Auth::basic("a", "b"));
    let url = registry.storage_url(&image.layers[0].digest);
    let path = url.strip_prefix(&registry.url()).unwrap();
    let got = client::get(registry.addr(), path, &[("range", "bytes=-5")]).await.unwrap();
    assert_eq!((got.status, got.body.len()), (206, 5));
}

#[tokio::test]
async fn answers_can_be_huge() {
    let (registry, image) = registry().await;
    registry.behave(Match::manifests(), Fault::HugeBody(20 << 20));
    let request = Request::get(&image.tag_path()).body_max(1 << 20);
    let manifest = request.send(registry.addr()).await.unwrap();
    assert_eq!((manifest.end, manifest.body.len()), (End::TooLong, 1 << 20));
    assert_eq!(manifest.header("content-length"), Some("20971520"));

    registry.behave(Match::ping(), Fault::HugeHeader(100_000));
    let ping = client::get(registry.addr(), "/v2/", &[]).await.unwrap();
    assert_eq!(ping.header("x-huge").unwrap().len(), 100_000);

    registry.set_auth(testkit::Auth::bearer());
    registry.behave(Match::token(), Fault::HugeToken(5000));
    let token = client::get(registry.addr(), "/token", &[]).await.unwrap();
    assert_eq!(token.json()["token"].as_str().unwrap().len(), 5000);
}

#[tokio::test]
async fn digest_headers_can_be_missing_or_lie() {
    let missing = layer(Fault::without_digest(), &[]).await;
    assert_eq!(missing.header("docker-content-digest"), None);
    let (registry, image) = registry().await;
    let path = image.tag_path();
    let honest = client::head(registry.addr(), &path, &[]).await.unwrap();
    assert_eq!(honest.header("docker-content-digest"), Some(image.digest.as_str()));
    registry.behave(Match::manifests(), Fault::lying_digest());
    let lying = client::head(registry.addr(), &path, &[]).await.unwrap();
    assert_ne!(lying.header("docker-content-digest"), Some(image.digest.as_str()));
}

#[tokio::test]
async fn head_can_be_unsupported_and_faults_can_be_lifted() {
    let (registry, image) = registry().await;
    registry.behave(Match::any().method("HEAD"), Fault::status(405));
    let path = image.tag_path();
    assert_eq!(client::head(registry.addr(), &path, &[]).await.unwrap().status, 405);
    assert_eq!(client::get(registry.addr(), &path, &[]).await.unwrap().status, 200);
    registry.clear();
    assert_eq!(client::head(registry.addr(), &path, &[]).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_gate_holds_answers_and_bodies() {
    let (registry, image) = registry().await;
    let (before, within) = (Gate::new(), Gate::new());
    registry.behave(Match::blobs(), Fault::Hold(before.clone()));
    registry.behave(Match::blobs(), Fault::HoldAt(1000, within.clone()));
    let path = image.layer_path(0);
    let pull = tokio::spawn(client::get_owned(registry.addr(), path, vec![]));
    registry.eventually("it asks", |seen| !seen.requests().is_empty()).await;
    assert_eq!(registry.requests()[0].status, 0);
    before.open();
    registry.eventually("1000 bytes are out", |seen| seen.requests()[0].bytes_sent == 1000).await;
    within.open();
    assert_eq!(pull.await.unwrap().unwrap().body.len(), LAYER_BYTES);
}

#[tokio::test]
async fn slow_bodies_take_their_time() {
    let (registry, image) = registry().await;
    registry.behave(Match::blobs(), Fault::Slow(1_000_000));
    let got = client::get(registry.addr(), &image.layer_path(0), &[]).await.unwrap();
    assert!(got.clean_end() && got.took > Duration::from_millis(250), "{:?}", got.took);
}

#[tokio::test]
async fn bandwidth_is_shared_and_latency_added() {
    let (registry, image) = registry().await;
    registry.set_bandwidth(2_000_000);
    registry.set_latency(Duration::from_millis(50));
    let path = image.layer_path(0);
    let pull = || tokio::spawn(client::get_owned(registry.addr(), path.clone(), vec![]));
    let (one, two) = (pull(), pull());
    let (one, two) = (one.await.unwrap().unwrap(), two.await.unwrap().unwrap());
    assert!(one.took.max(two.took) > Duration::from_millis(300));
    assert!(one.head_after >= Duration::from_millis(50));
}

#[tokio::test]
async fn modes_govern_the_whole_server() {
    let (registry, image) = registry().await;
    let path = image.layer_path(0);
    for (mode, status) in [("429", 429), ("500", 500), ("401", 401), ("stall", 200), ("ok", 200)] {
        registry.mode(Mode::parse(mode).unwrap());
        let patience = if mode == "stall" { 1000 } else { 30_000 };
        let request = Request::get(&path).timeout(Duration::from_millis(patience));
        let got = request.send(registry.addr()).await.unwrap();
        assert_eq!((got.status, got.end == End::TimedOut), (status, mode == "stall"), "{mode}");
    }
    for mode in ["blackhole", "garbage", "drop", "reset"] {
        registry.mode(Mode::parse(mode).unwrap());
        let request = Request::get(&path).timeout(Duration::from_millis(200));
        assert!(request.send(registry.addr()).await.is_err(), "{mode}");
    }
    assert_eq!(Mode::parse("sideways"), None);
}
