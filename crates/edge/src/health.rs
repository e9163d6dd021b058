//! For probes and scrapers: alive, ready, counters; and one line for whoever opens `/`.

use crate::body::Body;
use crate::respond::{bytes_response, json_response, set_reason};
use crate::service::Shared;
use http::{Response, StatusCode};
use plane::Peer;

const TEXT: &str = "text/plain; charset=utf-8";

const HOME: &str = "Lockgate, an OCI registry that pulls through from others. Images: /v2/. \
    Health: /healthz, /readyz. Counters: /metrics. Management: /api/v1, described at \
    /api/v1/openapi.json.\n";

/// `/healthz`: 200 as long as the process answers. Nothing else is looked at, so that no trouble
/// of something shared makes an orchestrator restart every replica.
pub(crate) fn alive(is_head: bool) -> Response<Body> {
    bytes_response(StatusCode::OK, TEXT, "ok\n", is_head)
}

/// `/readyz`: 503 only while starting and stopping. The detail may name upstreams, so only a
/// local peer and the operator see it.
pub(crate) fn ready(shared: &Shared, peer: Peer, is_head: bool) -> Response<Body> {
    let mut status = shared.plane.status();
    let stopping = shared.stopping.is_cancelled();
    status.ready &= !stopping;
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = if peer.is_loopback || peer.is_operator {
        json_response(code, "application/json", &status, is_head)
    } else {
        let brief = serde_json::json!({
            "ready": status.ready,
            "warnings": status.warnings.len(),
        });
        json_response(code, "application/json", &brief, is_head)
    };
    set_reason(&mut response, if stopping { "stopping" } else { "not ready" });
    response
}

/// `/metrics`, in the text format of Prometheus.
pub(crate) fn metrics(shared: &Shared, is_head: bool) -> Response<Body> {
    bytes_response(StatusCode::OK, telemetry::CONTENT_TYPE, shared.metrics.render(), is_head)
}

/// `/`: what this is, and where to look.
pub(crate) fn home(is_head: bool) -> Response<Body> {
    bytes_response(StatusCode::OK, TEXT, HOME, is_head)
}
