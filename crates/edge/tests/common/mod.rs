//! What the tests of the server and of the service share.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

pub mod people;
pub mod world;

use edge::Body;
use edge::server::{
    Address, Bound, Connection, Drained, Handler, Limits, ListenerSettings, bind, serve,
};
use http::{Request, Response};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use telemetry::{Metrics, Registry};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A server that runs until it is told to stop.
pub struct Server {
    pub addresses: Vec<Address>,
    pub certificates: edge::server::Certificates,
    pub metrics: Arc<Metrics>,
    stop: CancellationToken,
    task: JoinHandle<Drained>,
}

pub fn loopback() -> Address {
    Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
}

pub fn plain() -> ListenerSettings {
    ListenerSettings::plain(loopback())
}

/// Bounds that no test waits for.
pub fn limits() -> Limits {
    Limits { drain: Duration::from_secs(20), ..Limits::default() }
}

pub fn metrics() -> Arc<Metrics> {
    Metrics::new(Registry::default(), "test", None)
}

impl Server {
    pub async fn start(
        listeners: &[ListenerSettings],
        limits: Limits,
        handler: impl Handler,
    ) -> Self {
        let metrics = metrics();
        let bound = bind(listeners, limits, metrics.clone()).await.unwrap();
        Self::run(bound, metrics, CancellationToken::new(), handler)
    }

    pub fn run(
        bound: Bound,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
        handler: impl Handler,
    ) -> Self {
        let addresses = bound.listeners().iter().map(|held| held.address.clone()).collect();
        let certificates = bound.certificates();
        let stopped = stop.clone();
        let shutdown = async move { stopped.cancelled().await };
        let task = tokio::spawn(serve(bound, handler, shutdown));
        Self { addresses, certificates, metrics, stop, task }
    }

    pub fn addr(&self) -> SocketAddr {
        let Address::Tcp(address) = &self.addresses[0] else { panic!("a Unix socket is first") };
        *address
    }

    /// Tells it to stop, and goes on.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for its end.
    pub async fn drained(self) -> Drained {
        self.stop.cancel();
        self.task.await.unwrap()
    }

    pub fn metric(&self, line: &str) -> u64 {
        let text = self.metrics.render();
        let found = text.lines().find_map(|held| held.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or(0)
    }
}

/// Waits until `condition` holds; panics after ten seconds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within ten seconds: {what}");
}

/// Answers with what the server knows of the connection.
pub async fn mirror(request: Request<Incoming>, connection: Arc<Connection>) -> Response<Body> {
    let headers = request.headers();
    let client = connection.client_address(headers).map(|address| address.to_string());
    let known = serde_json::json!({
        "client": client,
        "base": connection.public_base(request.uri(), headers).to_string(),
        "host": connection.asked_host(request.uri(), headers),
        "unix": connection.is_unix(),
        "tls": connection.tls.is_some(),
        "version": format!("{:?}", request.version()),
        "connection": connection.id,
    });
    Response::new(Body::full(known.to_string()))
}
