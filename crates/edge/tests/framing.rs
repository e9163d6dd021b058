//! Requests that are no good HTTP, byte by byte.

#![allow(clippy::unwrap_used)]

mod common;

use common::world::World;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// All that comes back until the server closes.
async fn raw(addr: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    // A reset after the answer is an end too.
    let _ = stream.read_to_end(&mut all).await;
    String::from_utf8_lossy(&all).into_owned()
}

/// That `answer` is one refusal with this status, which says why in the status line and in JSON.
#[track_caller]
fn refused(answer: &str, status: u16, why: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let line = head.lines().next().unwrap();
    assert!(line.starts_with(&format!("HTTP/1.1 {status} ")) && line.contains(why), "{line}");
    assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let message = body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains(why), "{body}");
}

#[tokio::test]
async fn a_request_that_others_may_read_otherwise_is_refused() {
    let world = World::start().await;
    for (request, why) in [
        ("GET /v2/ HTTP/1.1\r\n\r\n", "no Host"),
        ("GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "more than one Host"),
        ("GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", "Host"),
        (
            "GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding",
        ),
        (
            "GET /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding",
        ),
    ] {
        refused(&raw(world.addr(), request).await, 400, why);
    }
    let old = raw(world.addr(), "GET /v2/ HTTP/1.0\r\n\r\n").await;
    assert!(old.contains(" 200 "), "{old}");
}

#[tokio::test]
async fn what_is_no_http_is_told_so_in_our_words() {
    let world = World::start().await;
    let well = "GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n";
    for bad in ["GARBAGE\r\n\r\n", "GET /v2/ HTTP/1.1\r\nHost: a\r\nbad name: x\r\n\r\n"] {
        refused(&raw(world.addr(), bad).await, 400, "well-formed");
    }
    // After a good answer on the same connection, too.
    let mut stream = TcpStream::connect(world.addr()).await.unwrap();
    stream.write_all(well.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"{}") {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "{seen:?}");
    }
    stream.write_all(b"GARBAGE\r\n\r\n").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    refused(&rest, 400, "well-formed");

    let lines = "x: y\r\n".repeat(200);
    let many = format!("GET /v2/ HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    refused(&raw(world.addr(), &many).await, 431, "head of the request");
    // However much more the client has sent by then.
    let long = format!("GET /v2/ HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n", "y".repeat(600_000));
    for _ in 0..10 {
        refused(&raw(world.addr(), &long).await, 431, "head of the request");
    }
}

#[tokio::test]
async fn a_framed_write_ends_the_connection() {
    let world = World::start().await;
    let request = "PUT /v2/reg.example/a/manifests/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\
                   Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
                   GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = raw(world.addr(), request).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_parameter_that_stands_twice_is_refused() {
    let world = World::start().await;
    for query in ["ns=reg.example&ns=other.example", "n=1&n=2", "last=a&last=b"] {
        let answer = world.get(&format!("/v2/a/tags/list?{query}"), &[]).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.reason.contains("twice"), "{}", answer.reason);
    }
}
