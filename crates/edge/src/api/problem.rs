//! What goes wrong in the management API, as problem details (RFC 9457).

use super::with_reason;
use crate::body::Body;
use crate::respond::json_response;
use crate::server::BodyError;
use http::{HeaderValue, Response, StatusCode, header};
use plane::AdminError;
use policy::Denial;
use serde::Serialize;
use telemetry::{Outcome, RequestId};

/// When to ask again for what is not there now.
const RETRY_AFTER_SECONDS: u64 = 5;

/// A problem.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    decision: Option<String>,
    hint: Hint,
}

/// What a client may do about it, in a header of its own.
#[derive(Debug)]
enum Hint {
    Nothing,
    /// The methods that there are.
    Allow(String),
    RetryLater,
}

/// As it stands in an answer. The type `about:blank` says that the status tells it all.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'a str>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), decision: None, hint: Hint::Nothing }
    }

    /// 400.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 401, for what was denied to nobody in particular: logging in could help.
    pub(super) fn login_needed(denial: Box<Denial>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, ..Self::from(AdminError::Denied(denial)) }
    }

    /// 405. `allow`: the methods that there are.
    pub(super) fn method(allow: String) -> Self {
        let detail = format!("this endpoint does not take this method; it takes {allow}");
        Self { hint: Hint::Allow(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail) }
    }

    /// Whether it is the answer of a decision.
    pub(super) fn was_decided(&self) -> bool {
        self.decision.is_some()
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What came of the request, for the record.
    pub(super) fn outcome(&self) -> Outcome {
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::Denied,
            StatusCode::NOT_FOUND => Outcome::Absent,
            status if status.is_client_error() => Outcome::Invalid,
            _ => Outcome::Failed,
        }
    }

    pub(super) fn response(self, request_id: &RequestId) -> Response<Body> {
        let wire = Wire {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id: request_id.as_str(),
            decision: self.decision.as_deref(),
        };
        let mut response = json_response(self.status, "application/problem+json", &wire, false);
        let header = match self.hint {
            Hint::Nothing => None,
            Hint::Allow(methods) => HeaderValue::try_from(methods).ok().map(|m| (header::ALLOW, m)),
            Hint::RetryLater => Some((header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS))),
        };
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        with_reason(response, &self.detail)
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let detail = error.to_string();
        match error {
            AdminError::Denied(denial) => {
                let decision = Some(denial.id().to_string());
                Self { decision, ..Self::new(StatusCode::FORBIDDEN, detail) }
            }
            AdminError::Unauthorized(_) => Self::new(StatusCode::UNAUTHORIZED, detail),
            AdminError::Invalid(_) => Self::invalid(detail),
            AdminError::NotFound(_) => Self::not_found(detail),
            AdminError::Unavailable(_) => {
                let hint = Hint::RetryLater;
                Self { hint, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
            }
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let status = match &error {
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::RequestIds;

    #[test]
    fn problems_say_what_and_where() {
        let id = RequestIds::new().next();
        let denial = Denial::foreign_namespace("evil.example");
        let decision = denial.id().to_string();
        let response = Problem::from(AdminError::Denied(Box::new(denial))).response(&id);
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let bytes = response.body().bytes_at_hand().unwrap();
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(value["type"], "about:blank");
        assert_eq!(value["title"], "Forbidden");
        assert_eq!(value["status"], 403);
        assert_eq!(value["requestId"], id.as_str());
        assert_eq!(value["decision"], decision);

        let later = Problem::from(AdminError::Unavailable("x".to_owned())).response(&id);
        assert_eq!(later.headers()["retry-after"], "5");
        let other = Problem::method("GET, POST".to_owned()).response(&id);
        assert_eq!(other.headers()["allow"], "GET, POST");
    }
}
