//! The distribution API: a request becomes an [`Ask`], what is served becomes an answer.
//!
//! Credentials are looked at only where some `IdentityProvider` exists: clients of a mirror send what they
//! hold for somebody else. Nothing of them ever goes upstream.

mod blob;
mod conditions;
mod headers;
mod incoming;
mod lists;
mod manifest;
mod multipart;
mod push;

use crate::body::Body;
use crate::respond::bytes_response;
use crate::server::Connection;
use crate::service::Shared;
use crate::{challenge, credentials, errors, framing};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming as Wire;
use plane::{Ask, Method, Peer, ReadHow, Refusal, Served, Trail, What};

/// What of a request an answer depends on.
pub(super) struct Asked<'r> {
    path: &'r str,
    query: Option<&'r str>,
    headers: &'r HeaderMap,
    is_head: bool,
}

/// Answers a request for `/v2/**`.
pub(crate) async fn answer(
    shared: &Shared,
    parts: &Parts,
    body: Wire,
    connection: &Connection,
    peer: Peer,
    trail: &mut Trail,
) -> Response<Body> {
    let method = method_of(&parts.method);
    let host = connection.asked_host(&parts.uri, &parts.headers);
    let (credentials, wishes) = match credentials::read(&parts.headers, connection) {
        Ok(read) => read,
        Err(problem) => {
            let mut response = errors::malformed(problem, trail, method == Method::Head);
            framing::set_close(parts.version, &mut response);
            return response;
        }
    };
    let ask = Ask {
        method,
        path: parts.uri.path(),
        query: parts.uri.query(),
        host: host.as_deref(),
        peer,
        credentials,
        wishes,
        // With TLS our own code touches the bytes, and a mapping could fail under it.
        read: if connection.tls.is_some() { ReadHow::Copied } else { ReadHow::Mapped },
    };
    let asked = Asked {
        path: ask.path,
        query: ask.query,
        headers: &parts.headers,
        is_head: method == Method::Head,
    };
    let (incoming, fate) = match incoming::of(body, parts, connection.body_stall_timeout) {
        Ok(known) => known,
        Err(problem) => {
            let mut response = errors::malformed(problem, trail, asked.is_head);
            framing::set_close(parts.version, &mut response);
            return response;
        }
    };
    let mut response = match shared.plane.handle(&ask, incoming, trail).await {
        Ok(served) => respond(served, &asked, trail).await,
        Err(refusal) => {
            let mut response = errors::refused(&refusal, method, trail);
            if errors::asks_for_login(&refusal) {
                let shown = credentials.authorization.is_some();
                let is_wrong = shown && matches!(refusal, Refusal::Unauthorized { .. });
                if let Some(challenge) = challenge::bearer(connection, parts, is_wrong) {
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                }
            }
            push::with_upload(response, &refusal, &asked)
        }
    };
    if fate.ends_connection().await {
        framing::set_close(parts.version, &mut response);
    }
    response.headers_mut().insert(headers::API_VERSION, headers::REGISTRY_2_0);
    response
}

async fn respond(served: Served, asked: &Asked<'_>, trail: &mut Trail) -> Response<Body> {
    let Served { what, cache, namespace, decision, warnings } = served;
    let mut response = match what {
        What::Base => bytes_response(StatusCode::OK, "application/json", "{}", asked.is_head),
        What::Manifest(content) => manifest::answer(&content, asked),
        What::Blob(blob) => blob::answer(blob, asked, trail).await,
        What::Tags { name, tags, more_after } => lists::tags(&name, &tags, more_after, asked),
        What::Referrers { descriptors, filter, more_after } => {
            lists::referrers(&descriptors, filter.is_some(), more_after, asked)
        }
        What::Catalog { names, more_after } => lists::catalog(&names, more_after, asked),
        What::Upload(state) => push::upload(&state, asked),
        What::BlobCreated { name, digest } => push::blob(&name, &digest, asked),
        What::ManifestCreated { name, reference, digest, subject, tags, .. } => {
            let made = push::Made { digest, subject, tags };
            push::manifest(&name, &reference, &made, asked)
        }
        What::Deleted => push::plain(StatusCode::ACCEPTED),
        What::Cancelled => push::plain(StatusCode::NO_CONTENT),
        What::Redirect { digest, url } => push::elsewhere(&digest, &url),
    };
    let held = response.headers_mut();
    headers::put_cache(held, cache);
    headers::put_decision(held, decision);
    headers::put_warnings(held, &warnings);
    if let Some(Ok(namespace)) = namespace.map(HeaderValue::try_from) {
        held.insert(headers::OCI_NAMESPACE, namespace);
    }
    response
}

fn method_of(method: &http::Method) -> Method {
    match *method {
        http::Method::GET => Method::Get,
        http::Method::HEAD => Method::Head,
        http::Method::POST => Method::Post,
        http::Method::PUT => Method::Put,
        http::Method::PATCH => Method::Patch,
        http::Method::DELETE => Method::Delete,
        _ => Method::Other,
    }
}
