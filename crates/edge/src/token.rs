//! `/token`: who shows who they are gets a token of ours, in both dialects that clients speak (distribution,
//! "Token Authentication", and its OAuth2 variant with RFC 6749 and RFC 8693). No policy is judged here.

use crate::body::Body;
use crate::respond::{json_response, set_reason};
use crate::server::{Connection, read_body};
use crate::service::Shared;
use crate::{credentials, errors};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use jiff::Timestamp;
use plane::{Peer, TokenAsk, TokenGrant, TokenGrantType, TokenRefusal, Trail};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use telemetry::Outcome;

/// A token and a few names.
const BODY_MAX_BYTES: usize = 64 << 10;
/// How long a small body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of a query or a form; the rest is for others.
const FIELDS_MAX: usize = 64;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What is wrong with a request, in the words of OAuth2 (RFC 6749 §5.2).
struct Refused {
    status: StatusCode,
    error: &'static str,
    reason: String,
    retry_after: Option<Duration>,
}

impl Refused {
    fn bad(reason: &str) -> Self {
        let (status, reason) = (StatusCode::BAD_REQUEST, reason.to_owned());
        Self { status, error: "invalid_request", reason, retry_after: None }
    }
}

/// Answers a request for `/token`.
pub(crate) async fn answer(
    shared: &Shared,
    parts: &Parts,
    body: Incoming,
    connection: &Connection,
    peer: Peer,
    trail: &mut Trail,
) -> Response<Body> {
    if !matches!(parts.method, Method::GET | Method::POST) {
        return errors::method_not_allowed("GET, POST", trail, parts.method == Method::HEAD);
    }
    let answered = match form(parts, body).await {
        Ok(form) => issue(shared, parts, &form, connection, peer).await,
        Err(refused) => Err(refused),
    };
    let mut response = match answered {
        Ok(answer) => json_response(StatusCode::OK, "application/json", &answer, false),
        Err(refused) => {
            trail.set_outcome(match refused.status {
                StatusCode::UNAUTHORIZED => Outcome::Denied,
                StatusCode::SERVICE_UNAVAILABLE => Outcome::Indeterminate,
                _ => Outcome::Invalid,
            });
            trail.set_reason(&refused.reason);
            refusal(&refused)
        }
    };
    let held = response.headers_mut();
    held.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The parameters: the query of a GET, the form of a POST.
async fn form(parts: &Parts, body: Incoming) -> Result<HashMap<String, String>, Refused> {
    let bytes = match parts.method {
        Method::POST => {
            let whole = read_body(body, BODY_MAX_BYTES, BODY_TIMEOUT).await;
            whole.map_err(|error| Refused::bad(&error.to_string()))?
        }
        _ => Bytes::copy_from_slice(parts.uri.query().unwrap_or_default().as_bytes()),
    };
    let mut fields = HashMap::new();
    for (key, value) in url::form_urlencoded::parse(&bytes).take(FIELDS_MAX) {
        // `scope` may stand several times, and is not judged.
        if fields.insert(key.to_string(), value.into_owned()).is_some() && key != "scope" {
            return Err(Refused::bad("a parameter stands twice"));
        }
    }
    Ok(fields)
}

async fn issue(
    shared: &Shared,
    parts: &Parts,
    form: &HashMap<String, String>,
    connection: &Connection,
    peer: Peer,
) -> Result<Value, Refused> {
    let field = |name: &str| form.get(name).map(String::as_str).filter(|it| !it.is_empty());
    let certificates = credentials::certificates(connection);
    let basic = basic(parts)?;
    let nothing = || match certificates {
        [] => TokenGrantType::Anonymous,
        _ => TokenGrantType::Certificate,
    };
    let is_post = parts.method == Method::POST;
    let needed = |name: &'static str| {
        field(name).ok_or_else(|| Refused::bad(&format!("the parameter {name} is needed")))
    };
    let grant = match (is_post, field("grant_type")) {
        (true, Some("refresh_token")) => {
            TokenGrantType::Refresh { token: needed("refresh_token")? }
        }
        (true, Some(EXCHANGE)) => {
            TokenGrantType::Exchange { subject_token: needed("subject_token")? }
        }
        (true, Some("password")) => TokenGrantType::Basic {
            username: field("username").unwrap_or_default(),
            password: needed("password")?,
        },
        (true, Some(_)) => {
            let reason = "grant_type is password, refresh_token or token-exchange".to_owned();
            let (status, error) = (StatusCode::BAD_REQUEST, "unsupported_grant_type");
            return Err(Refused { status, error, reason, retry_after: None });
        }
        (true, None) if basic.is_none() => return Err(Refused::bad("grant_type is needed")),
        _ => match &basic {
            Some((username, password)) => TokenGrantType::Basic { username, password },
            None => nothing(),
        },
    };
    let wants_refresh =
        field("offline_token") == Some("true") || field("access_type") == Some("offline");
    let ask = TokenAsk { grant, wants_refresh, peer, certificates };
    let granted = shared.plane.issue_token(ask).await;
    // A certificate that nobody knows says nothing: many connections come through a mesh.
    let granted = match (granted, grant) {
        (Err(TokenRefusal::Wrong { .. }), TokenGrantType::Certificate) => {
            let grant = TokenGrantType::Anonymous;
            shared.plane.issue_token(TokenAsk { grant, ..ask }).await
        }
        (granted, _) => granted,
    };
    let is_exchange = matches!(grant, TokenGrantType::Exchange { .. });
    granted.map(|granted| given(&granted, is_exchange)).map_err(|error| refused(&error))
}

fn basic(parts: &Parts) -> Result<Option<(String, String)>, Refused> {
    let mut all = parts.headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let wrong = || Refused::bad("the header Authorization can stand once, as Basic");
    let text = value.to_str().map_err(|_| wrong())?;
    if all.next().is_some() {
        return Err(wrong());
    }
    let (scheme, encoded) = text.split_once(' ').ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(wrong());
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).map_err(|_| wrong())?;
    let text = String::from_utf8(decoded).map_err(|_| wrong())?;
    let (username, password) = text.split_once(':').ok_or_else(wrong)?;
    // Clients without a login send an empty one.
    if username.is_empty() && password.is_empty() {
        return Ok(None);
    }
    Ok(Some((username.to_owned(), password.to_owned())))
}

fn given(granted: &TokenGrant, is_exchange: bool) -> Value {
    let access = granted.access.expose_secret();
    let mut answer = json!({
        // Each dialect has its own name for it.
        "token": access,
        "access_token": access,
        "token_type": "Bearer",
        "expires_in": granted.expires_in.as_secs(),
        "issued_at": to_second(granted.issued_at).to_string(),
    });
    if let Some(refresh) = &granted.refresh {
        answer["refresh_token"] = refresh.expose_secret().into();
    }
    if is_exchange {
        answer["issued_token_type"] = ACCESS_TOKEN.into();
    }
    answer
}

fn to_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn refused(error: &TokenRefusal) -> Refused {
    let reason = error.to_string();
    match error {
        TokenRefusal::Wrong { .. } => {
            let (status, error) = (StatusCode::UNAUTHORIZED, "invalid_grant");
            Refused { status, error, reason, retry_after: None }
        }
        TokenRefusal::CannotTell { retry_after, .. } => {
            let retry_after = Some(retry_after.unwrap_or(Duration::from_secs(5)));
            let (status, error) = (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable");
            Refused { status, error, reason, retry_after }
        }
    }
}

/// In the words of OAuth2 and of the distribution specification at once: clients print one or the other.
fn refusal(refused: &Refused) -> Response<Body> {
    let code = match refused.status {
        StatusCode::UNAUTHORIZED => "UNAUTHORIZED",
        StatusCode::SERVICE_UNAVAILABLE => "UNAVAILABLE",
        _ => "UNSUPPORTED",
    };
    let body = json!({
        "error": refused.error,
        "error_description": refused.reason,
        "errors": [{ "code": code, "message": refused.reason, "detail": null }],
    });
    let mut response = json_response(refused.status, "application/json", &body, false);
    set_reason(&mut response, &refused.reason);
    if let Some(wait) = refused.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}

/// Our public keys (RFC 7517).
pub(crate) fn keys(shared: &Shared, is_head: bool) -> Response<Body> {
    let mut response = json_response(
        StatusCode::OK,
        "application/jwk-set+json",
        &shared.plane.token_keys(),
        is_head,
    );
    let cacheable = HeaderValue::from_static("public, max-age=300");
    response.headers_mut().insert(header::CACHE_CONTROL, cacheable);
    response
}

/// Where tokens are to be had, and how people can log in: for `lockgate login`.
pub(crate) fn discovery(
    shared: &Shared,
    connection: &Connection,
    parts: &Parts,
    is_head: bool,
) -> Response<Body> {
    let base = connection.public_base(&parts.uri, &parts.headers);
    let base = format!("{}://{}", base.scheme.as_str(), base.host);
    let answer = json!({
        "service": crate::challenge::SERVICE,
        "tokenEndpoint": format!("{base}/token"),
        "keys": format!("{base}/token/keys"),
        "login": shared.plane.login_offers(),
    });
    json_response(StatusCode::OK, "application/json", &answer, is_head)
}
