//! `/token`: who shows who they are gets a token of ours, in both dialects that clients speak (distribution,
//! "Token Authentication", and its OAuth2 variant with RFC 6749 and RFC 8693). No policy is judged here.

use crate::body::Body;
use crate::respond::{json_response, set_reason, set_retry_after};
use crate::server::{BodyError, Connection, read_body};
use crate::service::Shared;
use crate::{credentials, errors};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use jiff::Timestamp;
use plane::{Authorization, Peer, TokenAsk, TokenGrant, TokenGrantType, TokenRefusal, Trail};
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
/// What may be shown for an exchange: RFC 8693 §3 has names for more, none of which is a JWT of a provider.
const SUBJECT_TOKENS: [&str; 3] = [
    "urn:ietf:params:oauth:token-type:jwt",
    "urn:ietf:params:oauth:token-type:id_token",
    ACCESS_TOKEN,
];
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

    fn body(error: &BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken(_) => StatusCode::BAD_REQUEST,
        };
        Self { status, ..Self::bad(&error.to_string()) }
    }
}

/// The parameters of a request.
#[derive(Default)]
struct Form {
    fields: HashMap<String, String>,
    /// Every `scope`, in the client's words. It is not judged: tokens name a principal, not a permission.
    scope: String,
}

impl Form {
    /// A parameter that is there and says something.
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str).filter(|it| !it.is_empty())
    }

    fn needed(&self, name: &'static str) -> Result<&str, Refused> {
        self.field(name).ok_or_else(|| Refused::bad(&format!("the parameter {name} is needed")))
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
async fn form(parts: &Parts, body: Incoming) -> Result<Form, Refused> {
    let bytes = match parts.method {
        Method::POST => {
            let whole = read_body(body, BODY_MAX_BYTES, BODY_TIMEOUT).await;
            whole.map_err(|error| Refused::body(&error))?
        }
        _ => Bytes::copy_from_slice(parts.uri.query().unwrap_or_default().as_bytes()),
    };
    let mut form = Form::default();
    for (key, value) in url::form_urlencoded::parse(&bytes).take(FIELDS_MAX) {
        if key == "scope" {
            let space = if form.scope.is_empty() { "" } else { " " };
            form.scope += space;
            form.scope += &value;
        } else if form.fields.insert(key.into_owned(), value.into_owned()).is_some() {
            return Err(Refused::bad("a parameter stands twice"));
        }
    }
    Ok(form)
}

/// What a request shows.
fn grant<'r>(
    is_post: bool,
    form: &'r Form,
    basic: Option<&'r (String, String)>,
    has_certificate: bool,
) -> Result<TokenGrantType<'r>, Refused> {
    let by_header = basic.map(|(username, password)| TokenGrantType::Basic { username, password });
    // The query of a GET names no grant: it would stand in logs.
    let grant = match form.field("grant_type").filter(|_| is_post) {
        Some("refresh_token") => TokenGrantType::Refresh { token: form.needed("refresh_token")? },
        Some("password") => match (form.field("password"), by_header) {
            (None, Some(by_header)) => by_header,
            _ => TokenGrantType::Basic {
                username: form.field("username").unwrap_or_default(),
                password: form.needed("password")?,
            },
        },
        Some(EXCHANGE) => {
            if form.field("subject_token_type").is_some_and(|it| !SUBJECT_TOKENS.contains(&it)) {
                return Err(Refused::bad("subject_token_type is jwt, id_token or access_token"));
            }
            TokenGrantType::Exchange { subject_token: form.needed("subject_token")? }
        }
        Some(_) => {
            let reason = "grant_type is password, refresh_token or token-exchange";
            return Err(Refused { error: "unsupported_grant_type", ..Refused::bad(reason) });
        }
        None => match by_header {
            Some(by_header) => by_header,
            None if is_post => return Err(Refused::bad("the parameter grant_type is needed")),
            None if has_certificate => TokenGrantType::Certificate,
            None => TokenGrantType::Anonymous,
        },
    };
    Ok(grant)
}

async fn issue(
    shared: &Shared,
    parts: &Parts,
    form: &Form,
    connection: &Connection,
    peer: Peer,
) -> Result<Value, Refused> {
    let certificates = credentials::certificates(connection);
    let basic = basic(parts)?;
    let is_post = parts.method == Method::POST;
    let grant = grant(is_post, form, basic.as_ref(), !certificates.is_empty())?;
    let wants_refresh =
        form.field("offline_token") == Some("true") || form.field("access_type") == Some("offline");
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
    let mut answer = given(&granted.map_err(|error| refused(&error))?);
    if matches!(grant, TokenGrantType::Exchange { .. }) {
        answer["issued_token_type"] = ACCESS_TOKEN.into();
    }
    if !form.scope.is_empty() {
        answer["scope"] = form.scope.as_str().into();
    }
    Ok(answer)
}

fn basic(parts: &Parts) -> Result<Option<(String, String)>, Refused> {
    let mut all = parts.headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let wrong = || Refused::bad("the header Authorization can stand once, as Basic");
    let text = value.to_str().map_err(|_| wrong())?;
    if all.next().is_some() {
        return Err(wrong());
    }
    let shown = Authorization::parse(text).map_err(|_| wrong())?;
    // Clients without a login send an empty one.
    if shown.is_empty() {
        return Ok(None);
    }
    match shown {
        Authorization::Basic { username, password } => Ok(Some((username, password))),
        Authorization::Bearer(_) => Err(wrong()),
    }
}

fn given(granted: &TokenGrant) -> Value {
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
    if refused.status == StatusCode::UNAUTHORIZED {
        // RFC 6749 §5.2, RFC 9110 §15.5.2.
        let challenge = HeaderValue::from_static("Basic realm=\"lockgate\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(wait) = refused.retry_after {
        set_retry_after(&mut response, wait);
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
