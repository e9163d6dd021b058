//! What an HTTP answer that is no success means: absent, denied, or nothing known. The one place
//! where a status becomes an outcome, so that an outage can never look like an absence.

use crate::endpoint::Endpoint;
use crate::failure::{Failure, redacted};
use crate::health::RETRY_AFTER_DEFAULT;
use crate::request::{self, Answer, Ask};
use crate::settings::{Profile, Settings};
use crate::wire;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{Method, StatusCode};
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// Error bodies are read up to here; what is longer is no registry's.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Codes that say with authority that something is not there (distribution-spec, "Error Codes"; NOT_FOUND
/// is common practice).
const ABSENT_CODES: [&str; 6] = [
    "MANIFEST_UNKNOWN",
    "NAME_UNKNOWN",
    "BLOB_UNKNOWN",
    "MANIFEST_BLOB_UNKNOWN",
    "NOT_FOUND",
    "TAG_UNKNOWN",
];

/// The failure that an unsuccessful answer stands for. Tells the endpoint's health of "too many
/// requests".
pub(crate) async fn failure(
    settings: &Settings,
    endpoint: &Endpoint,
    ask: &Ask,
    answer: Answer,
) -> Failure {
    let status = answer.status();
    let by = request::answered_by(&answer);
    let by = if answer.is_at_endpoint { String::new() } else { format!(", redirected to {by},") };
    let (label, code) = (endpoint.label(), status.as_u16());
    let label = match (&answer.shown_credential, code) {
        (Some(prefix), 401 | 403) => {
            format!("{label} refused the credential for {prefix} ({code}) for {}", ask.label())
        }
        _ => format!("{label}{by} answers {code} for {}", ask.label()),
    };
    let wait = wire::retry_after(answer.headers());
    let Answer { response, is_at_endpoint, .. } = answer;
    let kind = BodyKind::of(&response);
    let body = match ask.method == Method::HEAD {
        true => Ok(Bytes::new()),
        false => wire::read_whole(response, ERROR_BYTES_MAX, settings.timeouts.first_byte).await,
    };
    let said = Said::read(kind, body, ask.method == Method::HEAD);
    let text = format!("{label}{}", said.told());
    match status.as_u16() {
        404 if is_at_endpoint && said.is_a_registry() => said.absence(text),
        // A redirect to another registry may be believed if it speaks as one; storage may not: the
        // registry itself has just said that the blob is there.
        404 if !is_at_endpoint && said.is_absence_elsewhere(ask) => said.absence(text),
        401 | 403 if is_at_endpoint => Failure::denied(text),
        // A presigned URL that is refused was valid for too short; a new one may do.
        401 | 403 => Failure::transient(text),
        429 => {
            let wait = wait.unwrap_or(RETRY_AFTER_DEFAULT);
            let failure = Failure::limited(text, wait);
            if is_at_endpoint {
                let only_pulls = settings.profile == Profile::DockerHub && ask.is_counted;
                endpoint.health.throttle(wait, only_pulls, &failure);
            }
            failure
        }
        408 | 500..=599 => {
            let failure = Failure::transient(text);
            match wait {
                Some(wait) => failure.with_retry_after(wait),
                None => failure,
            }
        }
        _ => Failure::indeterminate(text),
    }
}

/// Refuses a successful answer that a middlebox changed: compressed, or a page of HTML.
pub(crate) fn check_untouched(
    endpoint: &Endpoint,
    ask: &Ask,
    answer: &Answer,
) -> Result<(), Failure> {
    let refuse = |what: &str| {
        let text = format!("{}: {} comes {what}", endpoint.label(), ask.label());
        Err(Failure::indeterminate(text))
    };
    match answer.header(CONTENT_ENCODING) {
        None => {}
        Some(encoding) if encoding.trim().eq_ignore_ascii_case("identity") => {}
        Some(_) => return refuse("compressed although that was not asked for"),
    }
    match BodyKind::of(&answer.response) {
        BodyKind::Html => refuse("as a page of HTML (a login page or a proxy's?)"),
        BodyKind::Json | BodyKind::Other | BodyKind::Unnamed => Ok(()),
    }
}

/// What a body is by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyKind {
    Json,
    Html,
    Other,
    Unnamed,
}

impl BodyKind {
    fn of(response: &reqwest::Response) -> Self {
        let Some(value) = response.headers().get(CONTENT_TYPE) else { return Self::Unnamed };
        let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
        let essence = text.split(';').next().unwrap_or_default().trim();
        match essence {
            "text/html" | "application/xhtml+xml" => Self::Html,
            "" => Self::Unnamed,
            _ if essence.ends_with("/json") || essence.ends_with("+json") => Self::Json,
            _ => Self::Other,
        }
    }
}

/// What an error body says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// The error body of the distribution API: first code and message.
    Oci { code: String, message: String },
    /// Some other JSON.
    Json,
    /// Nothing at all.
    Empty,
    /// Not a registry's words.
    Foreign,
}

impl Said {
    fn read(kind: BodyKind, body: Result<Bytes, String>, is_head: bool) -> Self {
        let Ok(body) = body else { return Self::Foreign };
        if kind == BodyKind::Html {
            return Self::Foreign;
        }
        if body.is_empty() {
            // HEAD has no body to judge by; its type tells whose answer it would have been.
            return if is_head && kind == BodyKind::Other { Self::Foreign } else { Self::Empty };
        }
        if let Ok(oci::error::ErrorBody { errors }) = serde_json::from_slice(&body) {
            return match errors.into_iter().next() {
                Some(first) => Self::Oci { code: first.code, message: first.message },
                None => Self::Json,
            };
        }
        let is_json = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(&body).is_ok();
        if is_json { Self::Json } else { Self::Foreign }
    }

    /// Whether the words are those of a registry, not of something in between.
    fn is_a_registry(&self) -> bool {
        !matches!(self, Self::Foreign)
    }

    fn is_absence_elsewhere(&self, ask: &Ask) -> bool {
        match self {
            Self::Oci { code, .. } => ABSENT_CODES.contains(&code.as_str()),
            Self::Empty => ask.method == Method::HEAD && ask.rest.starts_with("manifests/"),
            Self::Json | Self::Foreign => false,
        }
    }

    /// A 404, unless its own code says that it is a refusal.
    fn absence(&self, text: String) -> Failure {
        match self {
            Self::Oci { code, .. } if code == "DENIED" || code == "UNAUTHORIZED" => {
                Failure::denied(text)
            }
            Self::Oci { code, .. } if code == "TOOMANYREQUESTS" || code == "UNAVAILABLE" => {
                Failure::indeterminate(text)
            }
            _ => Failure::absent(text),
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Oci { code, message } => {
                let code: String = code
                    .chars()
                    .filter(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_')
                    .take(40)
                    .collect();
                match redacted(message, 120) {
                    message if message.is_empty() => format!(" ({code})"),
                    message => format!(" ({code}: {message})"),
                }
            }
            Self::Json | Self::Empty => String::new(),
            Self::Foreign => " (not in a registry's words: a proxy or login page?)".to_owned(),
        }
    }
}

/// Whether a status says that an optional part of the API is not there.
pub(crate) fn is_unsupported(status: StatusCode) -> bool {
    matches!(status.as_u16(), 404 | 405 | 501)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: BodyKind, body: &'static str) -> Said {
        Said::read(kind, Ok(Bytes::from_static(body.as_bytes())), false)
    }

    #[test]
    fn tells_a_registrys_words_from_others() {
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        let said_so = said(BodyKind::Json, unknown);
        assert!(said_so.is_a_registry());
        assert_eq!(said_so.told(), " (MANIFEST_UNKNOWN: manifest unknown)");
        // Registries without a content type exist.
        assert!(said(BodyKind::Other, unknown).is_a_registry());
        assert!(said(BodyKind::Unnamed, "").is_a_registry());
        assert!(said(BodyKind::Json, r#"{"message":"not found"}"#).is_a_registry());
        assert!(!said(BodyKind::Html, unknown).is_a_registry());
        assert!(!said(BodyKind::Html, "").is_a_registry());
        assert!(!said(BodyKind::Other, "404 page not found\n").is_a_registry());
        assert!(!said(BodyKind::Unnamed, "<html>").is_a_registry());
        assert!(!Said::read(BodyKind::Json, Err("cut".into()), false).is_a_registry());
        assert!(!Said::read(BodyKind::Html, Ok(Bytes::new()), true).is_a_registry());
    }

    #[test]
    fn a_refusal_dressed_as_404_is_a_refusal() {
        let denied = said(BodyKind::Json, r#"{"errors":[{"code":"DENIED","message":"no"}]}"#);
        let kind = denied.absence(String::new()).kind();
        assert_eq!(kind, crate::failure::FailureKind::Denied);
    }
}
