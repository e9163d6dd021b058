//! Bounds of connections, and the drain.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{Server, eventually, limits, mirror, plain};
use edge::Body;
use edge::server::{Connection, Limits, ListenerSettings};
use futures_util::stream;
use http::{Request, Response};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::client::{self, End};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// So short that a test may wait for it.
const SHORT: Duration = Duration::from_millis(100);

async fn closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn cut(reason: &str) -> String {
    format!("lockgate_connections_cut_total{{reason=\"{reason}\"}}")
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut() {
    let bounds = Limits { header_timeout: SHORT, ..limits() };
    let server = Server::start(&[plain()], bounds, mirror).await;
    // Nothing at all, and a head in the middle.
    for bytes in [&b""[..], b"GET /v2/ HTTP/1.1\r\nhost: a"] {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        assert_eq!(closed(&mut stream).await, "");
    }
    eventually("both are counted", || server.metric(&cut("header")) == 2).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let bounds = Limits { idle_timeout: SHORT, ..limits() };
    let server = Server::start(&[plain()], bounds, mirror).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(closed(&mut stream).await.starts_with("HTTP/1.1 200"));
    eventually("it is counted", || server.metric(&cut("idle")) == 1).await;
}

#[tokio::test]
async fn a_head_that_is_too_big_is_refused() {
    let bounds = Limits { max_header_bytes: 8 << 10, ..limits() };
    let http2 = ListenerSettings { http2: true, ..plain() };
    for settings in [plain(), http2] {
        let server = Server::start(&[settings], bounds, mirror).await;
        let long = "x".repeat(64 << 10);
        let answer = client::get(server.addr(), "/", &[("x-long", &long)]).await;
        assert_eq!(answer.unwrap().status, 431);
        assert_eq!(client::get(server.addr(), "/", &[]).await.unwrap().status, 200);
    }
}

/// As many bytes as the client takes.
async fn endless(_: Request<Incoming>, _: Arc<Connection>) -> Response<Body> {
    let chunk = Bytes::from(vec![0; 256 << 10]);
    let source = stream::repeat_with(move || Ok::<_, Infallible>(chunk.clone()));
    Response::new(Body::stream(source, None))
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut() {
    let bounds = Limits { body_stall_timeout: SHORT, ..limits() };
    let server = Server::start(&[plain()], bounds, endless).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    eventually("it is counted", || server.metric(&cut("stall")) == 1).await;
    eventually("it is gone", || server.metrics.connections_open() == 0).await;
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let bounds = Limits { max_connections: 1, ..limits() };
    let server = Server::start(&[plain()], bounds, mirror).await;
    let first = client::Connection::plain(server.addr()).await.unwrap();
    let (answer, first) = first.send(&client::Request::get("/")).await.unwrap();
    assert_eq!(answer.status, 200);
    let second = client::get(server.addr(), "/", &[]).await.unwrap();
    assert_eq!((second.status, second.reason.as_str()), (503, "too many connections; try again"));
    assert_eq!(second.json()["errors"][0]["code"], "UNAVAILABLE");
    drop(first);
    eventually("the place is free", || server.metrics.connections_open() == 0).await;
    assert_eq!(client::get(server.addr(), "/", &[]).await.unwrap().status, 200);
}

/// A body of two halves; the second comes when the gate opens.
fn gated(gate: watch::Receiver<bool>) -> Body {
    let source = stream::unfold(0, move |sent| {
        let mut gate = gate.clone();
        async move {
            if sent == 1 {
                gate.wait_for(|open| *open).await.ok()?;
            }
            (sent < 2).then(|| (Ok::<_, Infallible>(Bytes::from_static(b"half")), sent + 1))
        }
    });
    Body::stream(source, Some(8))
}

#[tokio::test]
async fn a_drain_lets_a_transfer_finish_and_accepts_nothing_new() {
    let (open, gate) = watch::channel(false);
    let handler = move |_: Request<Incoming>, _: Arc<Connection>| {
        let gate = gate.clone();
        async move { Response::new(gated(gate)) }
    };
    let server = Server::start(&[plain()], limits(), handler).await;
    let addr = server.addr();
    let transfer = client::Request::get("/").open(addr).await.unwrap();
    let idle = client::Connection::plain(addr).await.unwrap();
    eventually("both are open", || server.metrics.connections_open() == 2).await;
    server.stop();
    eventually("the idle one is closed", || server.metrics.connections_open() == 1).await;
    assert!(TcpStream::connect(addr).await.is_err());
    open.send_replace(true);
    let (answer, _) = transfer.finish().await;
    assert_eq!((answer.text().as_str(), answer.clean_end()), ("halfhalf", true));
    let drained = server.drained().await;
    assert_eq!((drained.finished, drained.cut), (2, 0));
    drop(idle);
}

#[tokio::test]
async fn a_drain_that_takes_too_long_cuts_what_is_left() {
    let (_open, gate) = watch::channel(false);
    let handler = move |_: Request<Incoming>, _: Arc<Connection>| {
        let gate = gate.clone();
        async move { Response::new(gated(gate)) }
    };
    let bounds = Limits { drain: SHORT, ..limits() };
    let server = Server::start(&[plain()], bounds, handler).await;
    let transfer = client::Request::get("/").open(server.addr()).await.unwrap();
    let drained = server.drained().await;
    assert_eq!((drained.finished, drained.cut), (0, 1));
    let (answer, _) = transfer.finish().await;
    assert!(matches!(answer.end, End::Truncated | End::Reset), "{:?}", answer.end);
}

#[tokio::test]
async fn a_body_that_breaks_never_ends_cleanly() {
    let handler = |request: Request<Incoming>, _: Arc<Connection>| async move {
        let source = stream::iter([Ok(Bytes::from_static(b"half")), Err("broken")]);
        let length = (request.uri().path() == "/length").then_some(8);
        Response::new(Body::stream(source, length))
    };
    let settings = ListenerSettings { http2: true, ..plain() };
    let server = Server::start(&[settings], limits(), handler).await;
    for path in ["/length", "/chunks"] {
        // An error that comes at once may overtake the head.
        if let Ok(answer) = client::get(server.addr(), path, &[]).await {
            assert!(!answer.clean_end(), "{path} {:?}", answer.end);
        }
    }
    let prior = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    // Here too the reset may overtake the head.
    if let Ok(answer) = prior.get(format!("http://{}/chunks", server.addr())).send().await {
        assert!(answer.bytes().await.is_err());
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_work_for_it() {
    let dropped = Arc::new(AtomicUsize::new(0));
    struct Guard(Arc<AtomicUsize>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let count = dropped.clone();
    let handler = move |_: Request<Incoming>, _: Arc<Connection>| {
        let guard = Guard(count.clone());
        async move {
            let _guard = guard;
            std::future::pending::<Response<Body>>().await
        }
    };
    let server = Server::start(&[plain()], limits(), handler).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    eventually("it is open", || server.metrics.connections_open() == 1).await;
    drop(stream);
    eventually("the handler is dropped", || dropped.load(Ordering::SeqCst) == 1).await;
}
