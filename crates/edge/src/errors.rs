//! The one table from a refusal to what the client sees: status, OCI code, when to ask again.

use crate::body::Body;
use crate::respond::{error_response, errors_response};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use oci::route::RouteError;
use oci::{ErrorCode, ReferenceError};
use plane::{IncomingError, Method, Refusal, Trail};
use serde_json::{Value, json};
use std::time::Duration;
use telemetry::{Outcome, RequestId};

/// When to ask again, if nobody says better.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Reasons told besides the first.
const FURTHER_MAX: usize = 8;

/// Which decision an answer is.
const DECISION: HeaderName = HeaderName::from_static("lockgate-decision");

/// Whether the answer is a challenge.
pub(crate) fn asks_for_login(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Unauthorized { .. } | Refusal::LoginNeeded(_))
}

/// The methods of everything that can only be read.
const READ_METHODS: &str = "GET, HEAD";

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    status: StatusCode,
    code: ErrorCode,
    outcome: Outcome,
}

fn line(refusal: &Refusal, method: Method) -> Line {
    use ErrorCode as Code;
    let (status, code, outcome) = match refusal {
        Refusal::Route(error) => return route_line(error, method),
        Refusal::Query(_) => (400, Code::Unsupported, Outcome::Invalid),
        Refusal::Method { .. } | Refusal::Unsupported(_) => {
            (405, Code::Unsupported, Outcome::Invalid)
        }
        // A policy's no is 403 and nothing else: clients ask for a login at 401, say "not found" at
        // 404 and storm at 429.
        Refusal::Denied(_) | Refusal::UpstreamDenied(_) => (403, Code::Denied, Outcome::Denied),
        Refusal::Unauthorized { .. } | Refusal::LoginNeeded(_) => {
            (401, Code::Unauthorized, Outcome::Denied)
        }
        Refusal::CannotTell(_) => (503, Code::Unavailable, Outcome::Indeterminate),
        Refusal::NoRepository(_) => (404, Code::NameUnknown, Outcome::Absent),
        Refusal::Invalid { code, .. } => (400, *code, Outcome::Invalid),
        Refusal::TooLarge { .. } => (413, Code::SizeInvalid, Outcome::Invalid),
        Refusal::UploadUnknown => (404, Code::BlobUploadUnknown, Outcome::Absent),
        Refusal::UploadBusy => (409, Code::BlobUploadInvalid, Outcome::Invalid),
        Refusal::UploadRange { .. } => (416, Code::BlobUploadInvalid, Outcome::Invalid),
        Refusal::Incoming(IncomingError::Stalled(_)) => {
            (408, Code::BlobUploadInvalid, Outcome::Cancelled)
        }
        // Nobody is left to read it.
        Refusal::Incoming(IncomingError::Broken) => {
            (400, Code::BlobUploadInvalid, Outcome::Cancelled)
        }
        Refusal::Conflict(_) => (409, Code::Denied, Outcome::Invalid),
        Refusal::Absent { code, .. } => (404, *code, Outcome::Absent),
        Refusal::Indeterminate { is_rate_limit: true, .. } => {
            (429, Code::TooManyRequests, Outcome::Indeterminate)
        }
        Refusal::Indeterminate { .. } => (503, Code::Unavailable, Outcome::Indeterminate),
        Refusal::Internal(_) => (500, Code::Unavailable, Outcome::Failed),
    };
    Line { status: status_of(status), code, outcome }
}

fn route_line(error: &RouteError, method: Method) -> Line {
    let is_read = matches!(method, Method::Get | Method::Head | Method::Delete);
    let (status, code) = match error {
        RouteError::Unknown => (404, ErrorCode::Unsupported),
        RouteError::Name(_) | RouteError::Encoded => (400, ErrorCode::NameInvalid),
        RouteError::Digest(_) | RouteError::Reference(ReferenceError::Digest(_)) => {
            (400, ErrorCode::DigestInvalid)
        }
        // A tag that breaks the grammar cannot exist, so it is absent.
        RouteError::Reference(ReferenceError::Tag(_)) if is_read => {
            (404, ErrorCode::ManifestUnknown)
        }
        RouteError::Reference(ReferenceError::Tag(_)) => (400, ErrorCode::ManifestInvalid),
    };
    let outcome = if status == 404 { Outcome::Absent } else { Outcome::Invalid };
    Line { status: status_of(status), code, outcome }
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The answer to a refused request of the distribution API; notes on the trail what came of it.
pub(crate) fn refused(refusal: &Refusal, method: Method, trail: &mut Trail) -> Response<Body> {
    let line = line(refusal, method);
    let message = refusal.to_string();
    trail.set_outcome(line.outcome);
    trail.set_reason(&message);
    let mut detail = json!({
        "requestId": trail.request_id().as_str(),
        "outcome": line.outcome.as_str(),
    });
    let mut decision = None;
    let mut further = Vec::new();
    match refusal {
        Refusal::Denied(denial) | Refusal::LoginNeeded(denial) => {
            decision = Some(denial.id());
            detail["policy"] = Value::String(denial.policy().to_owned());
            detail["rule"] = Value::String(denial.rule().to_owned());
            further = denial.further_reasons();
        }
        Refusal::CannotTell(cannot) => decision = Some(cannot.id()),
        _ => {}
    }
    if let Some(id) = decision {
        detail["decision"] = Value::String(id.to_string());
    }
    let retry_after = match refusal {
        Refusal::Indeterminate { retry_after, .. } => Some(retry_after.unwrap_or(RETRY_AFTER)),
        Refusal::CannotTell(cannot) => Some(cannot.retry_after().unwrap_or(RETRY_AFTER)),
        _ => None,
    };
    let is_head = method == Method::Head;
    further.truncate(FURTHER_MAX);
    let messages: Vec<String> = std::iter::once(message).chain(further).collect();
    let mut response =
        errors_response(line.status, line.code, &messages, detail, is_head, retry_after);
    if let Some(Ok(id)) = decision.map(|id| HeaderValue::try_from(id.to_string())) {
        response.headers_mut().insert(DECISION, id);
    }
    let allow = match refusal {
        Refusal::Method { allow } => Some(*allow),
        Refusal::Unsupported(_) => Some(READ_METHODS),
        _ => None,
    };
    if let Some(allow) = allow {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    response
}

/// 404 outside every API.
pub(crate) fn no_such_page(trail: &mut Trail, is_head: bool) -> Response<Body> {
    let message = "there is nothing here; images are under /v2/, the management API under /api/v1";
    trail.set_outcome(Outcome::Absent);
    let detail = request_detail(trail.request_id());
    let (status, code) = (StatusCode::NOT_FOUND, ErrorCode::Unsupported);
    error_response(status, code, message, detail, is_head, None)
}

/// 405 outside every API.
pub(crate) fn method_not_allowed(
    allow: &'static str,
    trail: &mut Trail,
    is_head: bool,
) -> Response<Body> {
    let message = Refusal::Method { allow }.to_string();
    trail.set_outcome(Outcome::Invalid);
    let detail = request_detail(trail.request_id());
    let (status, code) = (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported);
    let mut response = error_response(status, code, &message, detail, is_head, None);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// 416: the blob has no such bytes.
pub(crate) fn unsatisfiable(size_bytes: u64, trail: &mut Trail) -> Response<Body> {
    let message = format!("no byte of the range asked for exists; the blob has {size_bytes}");
    trail.set_outcome(Outcome::Invalid);
    trail.set_reason(&message);
    let detail = request_detail(trail.request_id());
    let (status, code) = (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::SizeInvalid);
    error_response(status, code, &message, detail, false, None)
}

/// 400: a request that no part of the plane may act upon.
pub(crate) fn malformed(message: &str, trail: &mut Trail, is_head: bool) -> Response<Body> {
    trail.set_outcome(Outcome::Invalid);
    trail.set_reason(message);
    let detail = request_detail(trail.request_id());
    let (status, code) = (StatusCode::BAD_REQUEST, ErrorCode::Unsupported);
    error_response(status, code, message, detail, is_head, None)
}

/// 500: a bug.
pub(crate) fn crashed(request_id: &RequestId, is_head: bool) -> Response<Body> {
    let message = format!("a bug in the plane; its log has it under request {request_id}");
    let detail = request_detail(request_id);
    let (status, code) = (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unavailable);
    error_response(status, code, &message, detail, is_head, None)
}

fn request_detail(request_id: &RequestId) -> Value {
    json!({ "requestId": request_id.as_str() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Reference;
    use oci::route::Route;

    fn answer(refusal: &Refusal, method: Method) -> (u16, &'static str) {
        let line = line(refusal, method);
        (line.status.as_u16(), line.code.as_str())
    }

    #[test]
    fn paths_that_are_wrong() {
        for (path, method, expected) in [
            ("/v2/A/manifests/1", Method::Get, (400, "NAME_INVALID")),
            ("/v2/a%2fb/manifests/1", Method::Get, (400, "NAME_INVALID")),
            ("/v2/a/blobs/1", Method::Get, (400, "DIGEST_INVALID")),
            ("/v2/a/manifests/sha256:1", Method::Head, (400, "DIGEST_INVALID")),
            ("/v2/a/manifests/.x", Method::Get, (404, "MANIFEST_UNKNOWN")),
            ("/v2/a/manifests/.x", Method::Put, (400, "MANIFEST_INVALID")),
            ("/v2/a", Method::Get, (404, "UNSUPPORTED")),
        ] {
            let error = Route::parse(path).unwrap().unwrap_err();
            assert_eq!(answer(&Refusal::Route(error), method), expected, "{path}");
        }
        assert!(Reference::parse(".x").is_err());
    }

    #[test]
    fn the_four_outcomes_stay_apart() {
        let absent =
            Refusal::Absent { code: ErrorCode::ManifestUnknown, reason: "gone".to_owned() };
        let unknown = |is_rate_limit| Refusal::Indeterminate {
            reason: "x".to_owned(),
            retry_after: None,
            is_rate_limit,
        };
        let denied = Refusal::from(policy::Denial::foreign_namespace("evil.example"));
        for (refusal, expected) in [
            (absent, (404, "MANIFEST_UNKNOWN")),
            (denied, (403, "DENIED")),
            (Refusal::UpstreamDenied("x".to_owned()), (403, "DENIED")),
            (unknown(false), (503, "UNAVAILABLE")),
            (unknown(true), (429, "TOOMANYREQUESTS")),
            (Refusal::Internal("x".to_owned()), (500, "UNAVAILABLE")),
            (Refusal::NoRepository("x".to_owned()), (404, "NAME_UNKNOWN")),
            (Refusal::Unsupported("x".to_owned()), (405, "UNSUPPORTED")),
            (Refusal::Query("x".to_owned()), (400, "UNSUPPORTED")),
        ] {
            assert_eq!(answer(&refusal, Method::Get), expected, "{refusal:?}");
        }
    }

    #[test]
    fn what_a_push_can_meet() {
        let invalid = |code| Refusal::Invalid { code, reason: "x".to_owned() };
        for (refusal, expected) in [
            (invalid(ErrorCode::DigestInvalid), (400, "DIGEST_INVALID")),
            (invalid(ErrorCode::ManifestBlobUnknown), (400, "MANIFEST_BLOB_UNKNOWN")),
            (Refusal::TooLarge { what: "the blob", max_bytes: 7 }, (413, "SIZE_INVALID")),
            (Refusal::UploadUnknown, (404, "BLOB_UPLOAD_UNKNOWN")),
            (Refusal::UploadBusy, (409, "BLOB_UPLOAD_INVALID")),
            (Refusal::Incoming(IncomingError::Stalled(60)), (408, "BLOB_UPLOAD_INVALID")),
            (Refusal::Incoming(IncomingError::Broken), (400, "BLOB_UPLOAD_INVALID")),
            (Refusal::Conflict("x".to_owned()), (409, "DENIED")),
        ] {
            assert_eq!(answer(&refusal, Method::Put), expected, "{refusal:?}");
        }
    }
}
