//! The management API, `/api/v1`: JSON in lowerCamelCase, problems by RFC 9457 (contracts §10).
//!
//! One table ([`endpoints`]) names every endpoint; requests are routed by it and the description at
//! `/api/v1/openapi.json` is made from it, so that neither can be without the other.

mod endpoints;
mod events;
mod guard;
mod handlers;
pub mod openapi;
mod params;
mod problem;
mod schemas;

use crate::body::Body;
use crate::challenge;
use crate::credentials;
use crate::respond::set_reason;
use crate::server::Connection;
use crate::service::Shared;
use endpoints::{Found, Operation};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use plane::{AdminError, Peer, Trail};
use problem::Problem;

/// A request of the management API.
pub(crate) struct Call<'r> {
    pub(crate) parts: &'r Parts,
    pub(crate) body: Incoming,
    pub(crate) connection: &'r Connection,
    pub(crate) peer: Peer,
}

/// Answers a request for `/api/**`.
pub(crate) async fn answer(shared: &Shared, call: Call<'_>, trail: &mut Trail) -> Response<Body> {
    let is_head = call.parts.method == Method::HEAD;
    let challenge = challenge::bearer(call.connection, call.parts, false);
    let answered = admitted(shared, call).await;
    let mut response = match answered {
        Ok(response) => response,
        Err(problem) => {
            trail.set_reason(problem.detail());
            trail.set_outcome(problem.outcome());
            problem.response(trail.request_id())
        }
    };
    if response.status() == StatusCode::UNAUTHORIZED
        && let Some(challenge) = challenge
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    // What is said here is about now.
    let held = response.headers_mut();
    held.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if is_head {
        response = without_body(response);
    }
    response
}

/// Looks the endpoint up, then lets in who may.
async fn admitted(shared: &Shared, call: Call<'_>) -> Result<Response<Body>, Problem> {
    let (credentials, _) =
        credentials::read(&call.parts.headers, call.connection).map_err(Problem::invalid)?;
    let caller = shared.plane.who_asks(call.peer, &credentials).await?;
    let administers = shared.plane.administers(&caller);
    let method = match call.parts.method {
        Method::HEAD => "GET",
        ref method => method.as_str(),
    };
    let found = endpoints::find(method, call.parts.uri.path());
    // Whoever asks about themselves need not administer. Others hear nothing, not even what there is.
    let is_for_askers = |operation| matches!(operation, Operation::Decision | Operation::Check);
    if !matches!(found, Found::Endpoint(endpoint, _) if is_for_askers(endpoint.operation)) {
        administers.clone().map_err(AdminError::Denied)?;
    }
    let (endpoint, parameter) = match found {
        Found::Endpoint(endpoint, parameter) => (endpoint, parameter),
        Found::OtherMethods(allow) => return Err(Problem::method(allow)),
        Found::Nothing => {
            return Err(Problem::not_found("no such endpoint; see /api/v1/openapi.json"));
        }
    };
    guard::check(&call, endpoint)?;
    let params = params::Params::read(endpoint, parameter, call.parts.uri.query())?;
    let is_operator = call.peer.is_operator;
    let body = guard::body(call.body, endpoint).await?;
    let asker = handlers::Asker { caller, administers, is_operator };
    handlers::run(shared, endpoint.operation, &params, &body, &asker).await
}

/// The answer to HEAD: the same headers.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(bytes) = body.bytes_at_hand() {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    }
    Response::from_parts(parts, Body::empty())
}

/// A problem's status must show on HTTP/1.1 as well.
fn with_reason(mut response: Response<Body>, reason: &str) -> Response<Body> {
    set_reason(&mut response, reason);
    response
}

/// 204.
fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
