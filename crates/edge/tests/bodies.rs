//! Bodies of pushes, byte by byte: streamed, broken off, standing still, unwanted; and the
//! connections they come by.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::world::{HOSTED, REPOSITORY, World};
use common::{eventually, limits, plain};
use edge::server::{Limits, ListenerSettings};
use futures_util::stream;
use oci::Digest;
use std::convert::Infallible;
use std::time::Duration;
use testkit::FakeRegistry;
use testkit::client::{Connection, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What comes back until `end` was seen, or until the server closes.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(end) {
        if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
            break;
        }
    }
    String::from_utf8(seen).unwrap()
}

/// The head of a request with this body framing.
fn head(method: &str, path: &str, lines: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")
}

#[tokio::test]
async fn an_upload_in_chunks_keeps_its_connection() {
    let world = World::hosted().await;
    let layer = Bytes::from(vec![7; 300_000]);
    let digest = Digest::sha256(&layer);
    let connection = Connection::plain(world.addr()).await.unwrap();
    let begin = Request::new("POST", "/v2/team/app/blobs/uploads/").chunked();
    let (begun, connection) = connection.send(&begin).await.unwrap();
    assert_eq!(begun.status, 202);
    let session = begun.header("location").unwrap();
    let patch = Request::new("PATCH", session).body(layer.clone()).chunked();
    let (extended, connection) = connection.unwrap().send(&patch).await.unwrap();
    assert_eq!((extended.status, extended.header("range")), (202, Some("0-299999")));
    let finish = Request::new("PUT", &format!("{session}?digest={digest}")).chunked();
    let (made, connection) = connection.unwrap().send(&finish).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    let get = Request::get(made.header("location").unwrap());
    let (got, connection) = connection.unwrap().send(&get).await.unwrap();
    assert!(got.body == layer);
    assert!(connection.is_some());
}

#[tokio::test]
async fn two_lengths_end_the_connection() {
    let world = World::hosted().await;
    for lines in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ] {
        let mut stream = TcpStream::connect(world.addr()).await.unwrap();
        let smuggled = head("GET", "/healthz", "X: y");
        let request = head("POST", "/v2/team/app/blobs/uploads/", lines) + "0\r\n\r\n" + &smuggled;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = until(&mut stream, "never").await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn what_follows_a_push_is_a_request_or_an_error() {
    let world = World::hosted().await;
    let mut stream = TcpStream::connect(world.addr()).await.unwrap();
    let begin = head("POST", "/v2/team/app/blobs/uploads/", "Content-Length: 0");
    stream.write_all((begin.clone() + &begin + "GARBAGE\r\n\r\n").as_bytes()).await.unwrap();
    let answers = until(&mut stream, "never").await;
    assert_eq!(answers.matches("HTTP/1.1 202 ").count(), 2, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 400 ").count(), 1, "{answers}");

    // Chunks that are none break the push, and what came of it is kept.
    let session = world.begin_upload("team/app").await;
    let mut stream = TcpStream::connect(world.addr()).await.unwrap();
    let patch = head("PATCH", &session, "Transfer-Encoding: chunked");
    stream.write_all((patch + "3\r\nabc\r\nno chunk\r\n").as_bytes()).await.unwrap();
    let answer = until(&mut stream, "never").await;
    assert!(!answer.contains("HTTP/1.1 2"), "{answer}");
    assert_eq!(received(&world, &session, "0-2").await, "0-2");
}

/// How far a session is, once nobody writes to it and it has got as far as `wanted`; else how far it
/// got.
async fn received(world: &World, session: &str, wanted: &str) -> String {
    let mut range = String::new();
    for _ in 0..500 {
        let answer = world.get(session, &[]).await;
        range = answer.header("range").unwrap_or_default().to_owned();
        if answer.status == 204 && range == wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    range
}

#[tokio::test]
async fn an_upload_goes_on_where_it_broke_off() {
    let world = World::hosted().await;
    let session = world.begin_upload("team/app").await;
    let bytes: Vec<u8> = (0..2000_u32).map(|at| at as u8).collect();
    let mut stream = TcpStream::connect(world.addr()).await.unwrap();
    let lines = "Content-Length: 2000\r\nContent-Range: 0-1999";
    stream.write_all(head("PATCH", &session, lines).as_bytes()).await.unwrap();
    stream.write_all(&bytes[..1200]).await.unwrap();
    drop(stream);
    assert_eq!(received(&world, &session, "0-1199").await, "0-1199");
    let digest = Digest::sha256(&bytes);
    let rest = Request::new("PUT", &format!("{session}?digest={digest}"))
        .header("content-range", "1200-1999")
        .body(bytes[1200..].to_vec());
    let made = world.send(rest).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert!(world.get(made.header("location").unwrap(), &[]).await.body == bytes);
}

#[tokio::test]
async fn a_body_that_stands_still_is_told_so() {
    let bounds = Limits { body_stall_timeout: Duration::from_millis(200), ..limits() };
    let world = World::within(FakeRegistry::builder(), plain(), HOSTED, bounds).await;
    let session = world.begin_upload("team/app").await;
    for lines in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let mut stream = TcpStream::connect(world.addr()).await.unwrap();
        let request = head("PATCH", &session, lines) + "3\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = until(&mut stream, "never").await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("stood still"), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    }
    assert_eq!(received(&world, &session, "0-2").await, "0-2");
}

#[tokio::test]
async fn who_asks_before_sending_is_told_to_or_refused() {
    let world = World::hosted().await;
    let lines = "Content-Length: 1000000\r\nExpect: 100-continue";
    let mut stream = TcpStream::connect(world.addr()).await.unwrap();
    let refused = head("PUT", &format!("/v2/{REPOSITORY}/app/manifests/1"), lines);
    stream.write_all(refused.as_bytes()).await.unwrap();
    let answer = until(&mut stream, "never").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");

    let digest = Digest::sha256(b"abc");
    let path = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    let mut stream = TcpStream::connect(world.addr()).await.unwrap();
    let lines = "Content-Length: 3\r\nExpect: 100-continue";
    stream.write_all(head("POST", &path, lines).as_bytes()).await.unwrap();
    assert_eq!(until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    let answer = until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

#[tokio::test]
async fn a_small_body_that_nobody_wants_costs_no_connection() {
    let world = World::hosted().await;
    let mut connection = Connection::plain(world.addr()).await.unwrap();
    let path = format!("/v2/{REPOSITORY}/app/manifests/1");
    for size in [2, 60_000] {
        let request = Request::new("PUT", &path).body(vec![b'x'; size]);
        let (answer, kept) = connection.send(&request).await.unwrap();
        assert_eq!(answer.status, 405);
        connection = kept.unwrap();
    }
    // A read may have one too.
    let request = Request::get("/v2/").body("abc");
    let (answer, kept) = connection.send(&request).await.unwrap();
    assert_eq!(answer.status, 200);
    let (answer, _) = kept.unwrap().send(&Request::get("/v2/")).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_large_body_that_nobody_wants_hides_no_answer() {
    let world = World::hosted().await;
    let path = format!("/v2/{REPOSITORY}/app/blobs/uploads/");
    for request in [
        Request::new("POST", &path).body(vec![0; 8 << 20]),
        Request::new("POST", &path).body(vec![0; 8 << 20]).chunked(),
    ] {
        // The client sends all of it before it reads.
        let (answer, kept) =
            Connection::plain(world.addr()).await.unwrap().send(&request).await.unwrap();
        assert_eq!((answer.status, answer.clean_end()), (405, true));
        assert_eq!(answer.json()["errors"][0]["code"], "UNSUPPORTED");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(kept.is_none());
    }
}

#[tokio::test]
async fn a_push_over_http2() {
    let listener = ListenerSettings { http2: true, ..plain() };
    let world = World::with(FakeRegistry::builder(), listener, HOSTED).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = |path: &str| format!("http://{}{path}", world.addr());
    let begun = client.post(url("/v2/team/app/blobs/uploads/")).send().await.unwrap();
    assert_eq!((begun.status().as_u16(), begun.version()), (202, http::Version::HTTP_2));
    let session = begun.headers()["location"].to_str().unwrap().to_owned();
    let layer = vec![3; 2 << 20];
    let chunks: Vec<_> = layer.chunks(100_000).map(|it| Ok::<_, Infallible>(it.to_vec())).collect();
    let streamed = reqwest::Body::wrap_stream(stream::iter(chunks));
    let extended = client.patch(url(&session)).body(streamed).send().await.unwrap();
    assert_eq!(extended.status(), 202);
    assert_eq!(extended.headers()["range"], "0-2097151");
    let digest = Digest::sha256(&layer);
    let made = client.put(url(&format!("{session}?digest={digest}"))).send().await.unwrap();
    assert_eq!(made.status(), 201);
    let location = made.headers()["location"].to_str().unwrap().to_owned();
    let got = client.get(url(&location)).send().await.unwrap().bytes().await.unwrap();
    assert!(got == layer);

    // One that is refused ends its stream and not the connection.
    let path = url(&format!("/v2/{REPOSITORY}/app/blobs/uploads/"));
    let refused = client.post(path).body(vec![0; 100_000]).send().await.unwrap();
    assert_eq!(refused.status(), 405);
    assert!(!refused.headers().contains_key("connection"));
    assert_eq!(client.get(url("/v2/")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn who_does_not_leave_after_a_refusal_is_cut() {
    let short = Duration::from_millis(200);
    let bounds = Limits { header_timeout: short, ..limits() };
    let world = World::within(FakeRegistry::builder(), plain(), HOSTED, bounds).await;
    let mut stream = TcpStream::connect(world.addr()).await.unwrap();
    let path = format!("/v2/{REPOSITORY}/app/manifests/1");
    stream.write_all(head("PUT", &path, "Content-Length: 1000000").as_bytes()).await.unwrap();
    let answer = until(&mut stream, "never").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    // The stream is still open on this side.
    let open = || world.server.metrics.connections_open();
    eventually("the connection is gone", || open() == 0).await;
    drop(stream);
}
