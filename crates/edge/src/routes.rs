//! What is answered where: the whole surface on one page.

use crate::body::Body;
use crate::server::Connection;
use crate::service::Shared;
use crate::{api, errors, framing, health, token, v2};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use plane::{Peer, Trail};
use telemetry::Route;

/// Answers a request.
pub(crate) async fn answer(
    shared: &Shared,
    request: Request<Incoming>,
    connection: &Connection,
    peer: Peer,
    trail: &mut Trail,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if let Some(problem) = framing::problem(&parts) {
        let mut response = errors::malformed(problem, trail, parts.method == Method::HEAD);
        framing::set_close(parts.version, &mut response);
        return response;
    }
    let path = parts.uri.path();
    if path.starts_with("/v2/") || path == "/v2" {
        return v2::answer(shared, &parts, body, connection, peer, trail).await;
    }
    if path.starts_with("/api/") {
        trail.set_route(Route::Api);
        let request = api::Call { parts: &parts, body, connection, peer };
        // Boxed: its calls are large, and those of the warm path are not.
        return Box::pin(api::answer(shared, request, trail)).await;
    }
    if path == "/token" {
        trail.set_route(Route::Token);
        // Boxed, as above.
        return Box::pin(token::answer(shared, &parts, body, connection, peer, trail)).await;
    }
    let route = match path {
        "/token/keys" | "/.well-known/lockgate" => Route::Token,
        "/healthz" | "/readyz" => Route::Health,
        "/metrics" => Route::Metrics,
        _ => Route::Other,
    };
    trail.set_route(route);
    let is_head = parts.method == Method::HEAD;
    let is_read = is_head || parts.method == Method::GET;
    match path {
        "/healthz" | "/readyz" | "/metrics" | "/" | "/token/keys" | "/.well-known/lockgate"
            if !is_read =>
        {
            errors::method_not_allowed("GET, HEAD", trail, is_head)
        }
        "/healthz" => health::alive(is_head),
        "/readyz" => health::ready(shared, peer, is_head),
        "/metrics" => health::metrics(shared, is_head),
        "/token/keys" => token::keys(shared, is_head),
        "/.well-known/lockgate" => token::discovery(shared, connection, &parts, is_head),
        "/" => health::home(is_head),
        _ => errors::no_such_page(trail, is_head),
    }
}
