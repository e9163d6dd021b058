//! From a request to its answer: who asks, the trail, the panic guard.

use crate::body::Body;
use crate::server::{Address, Connection, Handler};
use crate::{errors, routes};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use plane::{Peer, Plane};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use telemetry::{Metrics, Outcome, RequestId, RequestIds};
use tokio_util::sync::CancellationToken;

/// Our id of a request, in its answer; a client's own, in its request.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every request needs.
pub(crate) struct Shared {
    pub(crate) plane: Arc<Plane>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stopping: CancellationToken,
    request_ids: RequestIds,
}

/// The handler for every listener, TCP and Unix socket alike; the peer of a Unix socket is the
/// operator. Once `stopping` is cancelled, `/readyz` says 503 and event streams end, so that no
/// listener of events holds up the drain.
pub fn service(
    plane: Arc<Plane>,
    metrics: Arc<Metrics>,
    stopping: CancellationToken,
) -> impl Handler {
    let request_ids = RequestIds::new();
    let shared = Arc::new(Shared { plane, metrics, stopping, request_ids });
    move |request: Request<Incoming>, connection: Arc<Connection>| {
        answer(shared.clone(), request, connection)
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    connection: Arc<Connection>,
) -> Response<Body> {
    let headers = request.headers();
    let peer = peer(&connection, headers);
    let (method, path) = (request.method().as_str(), request.uri().path());
    let mut trail = shared.plane.trail(shared.request_ids.next(), method, path, peer.address);
    trail.client_said(text(headers, &header::USER_AGENT), text(headers, &X_REQUEST_ID));
    let request_id = *trail.request_id();
    let is_head = request.method() == http::Method::HEAD;
    let work = routes::answer(&shared, request, &connection, peer, &mut trail);
    let mut response = match caught(work).await {
        Ok(response) => response,
        Err(panic) => {
            tracing::error!(%request_id, %panic, "a request ended in a bug");
            trail.set_outcome(Outcome::Failed);
            trail.set_reason(&panic);
            errors::crashed(&request_id, is_head)
        }
    };
    if let Some(id) = id_header(&request_id) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    trail.answered(response.status().as_u16());
    response.map(|body| body.traced(trail))
}

fn id_header(id: &RequestId) -> Option<HeaderValue> {
    HeaderValue::from_str(id.as_str()).ok()
}

/// A header as text, or nothing.
pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Who is at the other end. An address that is not known is not local.
fn peer(connection: &Connection, headers: &HeaderMap) -> Peer {
    let address = connection.client_address(headers);
    let listens_locally = match &connection.listener.address {
        Address::Tcp(address) => address.ip().to_canonical().is_loopback(),
        Address::Unix(_) => false,
    };
    let is_local = address.is_some_and(|address| address.to_canonical().is_loopback());
    Peer { address, is_loopback: listens_locally && is_local, is_operator: connection.is_unix() }
}

/// Does the work; a panic in it is an error, with its text. Not an `async fn`, which would hold the work
/// twice.
fn caught<T>(work: impl Future<Output = T>) -> impl Future<Output = Result<T, String>> {
    let done = AssertUnwindSafe(work).catch_unwind();
    done.map(|done| done.map_err(|panic| panic_text(panic.as_ref()).to_owned()))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return text;
    }
    panic.downcast_ref::<String>().map_or("a panic without words", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_with_its_text() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        let number = 7;
        let formatted = caught(async { panic!("number {number}") }).await;
        assert_eq!(formatted, Err::<(), _>("number 7".to_owned()));
        let fixed = caught(async { panic!("fixed") }).await;
        assert_eq!(fixed, Err::<(), _>("fixed".to_owned()));
    }
}
