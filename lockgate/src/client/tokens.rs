//! Tokens of a plane: where it gives them, and how one asks (docs/reference/authentication.md).
//!
//! It exists so that a secret is sent to one place alone: the origin that the user named.

use super::{build, client, outward, root, trusting, whole};
use crate::exit::Failure;
use crate::flags::is_loopback;
use crate::output::clean;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::Duration;
use url::Url;

/// An answer is a token and a few words.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// For one question as a whole: the plane may have to ask an issuer for its keys.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Texts of others are cut to this for messages.
const TOLD_CHARS_MAX: usize = 300;

/// What a plane says at `/.well-known/lockgate`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Discovery {
    token_endpoint: Url,
    /// How people can log in.
    #[serde(default)]
    pub(crate) login: Vec<Offer>,
}

/// A provider at which people can log in by a browser.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Offer {
    /// Its name at the plane.
    pub(crate) provider: String,
    /// The `iss` of its tokens.
    pub(crate) issuer: String,
    /// The client that was registered for the plane.
    pub(crate) client_id: String,
    /// Scopes besides `openid`.
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
}

/// What is shown for a token.
#[derive(Clone, Copy)]
pub(crate) enum Grant<'a> {
    /// A name with a password or a robot token.
    Password { username: &'a str, password: &'a SecretString },
    /// A token of a provider (RFC 8693).
    Exchange { subject_token: &'a SecretString },
    /// What an earlier grant gave.
    Refresh { token: &'a SecretString },
}

/// What the plane gave.
#[derive(Deserialize)]
pub(crate) struct Granted {
    access_token: String,
    expires_in: u64,
    refresh_token: Option<String>,
}

/// An error of OAuth2 (RFC 6749 §5.2).
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct OauthError {
    pub(crate) error: String,
    error_description: String,
}

/// Why there is no token.
#[derive(Debug)]
pub(crate) enum Refused {
    /// What was shown is wrong or has ended.
    Wrong(String),
    /// Anything else.
    Other(Failure),
}

/// Whose a token of the plane is, by its own words.
#[derive(Debug, Deserialize)]
pub(crate) struct Holder {
    kind: String,
    name: String,
    /// The provider that vouched.
    pub(crate) provider: String,
}

/// Where a plane gives tokens.
#[derive(Clone)]
pub(crate) struct TokenEndpoint {
    http: reqwest::Client,
    url: Url,
}

impl Discovery {
    /// Asks a plane.
    pub(crate) async fn of(plane: &Url, ca_file: Option<&Path>) -> Result<Self, Failure> {
        let mut url = plane.clone();
        url.set_path("/.well-known/lockgate");
        url.set_query(None);
        let http = http(ca_file)?;
        let answer = http.get(url.clone()).send().await.map_err(|error| silent(plane, error))?;
        let no_plane = || {
            Failure::cannot_tell(format!("no plane that gives tokens answers at {plane}"))
                .hint("write the URL of the plane itself, scheme and port too")
        };
        if answer.status() != StatusCode::OK {
            return Err(no_plane());
        }
        let discovery: Self = json(answer).await.map_err(|_| no_plane())?;
        // Else an answer that somebody forged, or a proxy that was set up wrongly, would lead
        // credentials to another place than the user named.
        if discovery.token_endpoint.origin() != plane.origin() {
            let there = discovery.token_endpoint.origin().ascii_serialization();
            return Err(Failure::no(format!(
                "{plane} says that tokens are given at {there}, which is another place: nothing is sent there"
            ))
            .hint("if that is the right address of the plane, log in there; else set its listeners[].publicUrls, or trustedProxies for what stands in front of it"));
        }
        Ok(discovery)
    }

    /// Where tokens are given: of the origin that was asked.
    pub(crate) fn token_endpoint(&self) -> &Url {
        &self.token_endpoint
    }
}

impl TokenEndpoint {
    /// The one at a URL.
    pub(crate) fn at(url: &Url, ca_file: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self { http: http(ca_file)?, url: url.clone() })
    }

    /// Asks for a token.
    pub(crate) async fn grant(
        &self,
        grant: Grant<'_>,
        wants_refresh: bool,
    ) -> Result<Granted, Refused> {
        let mut form = grant.form();
        form.push(("client_id", "lockgate"));
        if wants_refresh {
            form.push(("access_type", "offline"));
        }
        let sent = self.http.post(self.url.clone()).form(&form).send().await;
        let answer = sent.map_err(|error| Refused::Other(silent(&self.url, error)))?;
        let status = answer.status();
        if status.is_success() {
            return json(answer).await.map_err(|error| Refused::Other(error.of(&self.url)));
        }
        let told: OauthError = json(answer).await.unwrap_or_default();
        let text = match told.text() {
            text if text.is_empty() => format!("{} answered {status}", self.url),
            text => text,
        };
        Err(match (status, told.error.as_str()) {
            (StatusCode::UNAUTHORIZED, _) | (_, "invalid_grant") => Refused::Wrong(text),
            (status, _) if status.is_client_error() => Refused::Other(Failure::no(text)),
            _ => Refused::Other(Failure::cannot_tell(text)),
        })
    }
}

impl<'a> Grant<'a> {
    fn form(self) -> Vec<(&'static str, &'a str)> {
        match self {
            Self::Password { username, password } => vec![
                ("grant_type", "password"),
                ("username", username),
                ("password", password.expose_secret()),
            ],
            Self::Exchange { subject_token } => vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token", subject_token.expose_secret()),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ],
            Self::Refresh { token } => {
                vec![("grant_type", "refresh_token"), ("refresh_token", token.expose_secret())]
            }
        }
    }
}

impl Granted {
    /// The token to show, and for how long.
    pub(crate) fn access(&self) -> (SecretString, Duration) {
        (self.access_token.clone().into(), Duration::from_secs(self.expires_in))
    }

    /// The token to come back with.
    pub(crate) fn refresh(&self) -> Option<SecretString> {
        self.refresh_token.clone().map(SecretString::from)
    }

    /// Whose it is.
    pub(crate) fn holder(&self) -> Option<Holder> {
        #[derive(Deserialize)]
        struct Claims {
            lockgate: Holder,
        }
        Some(claims::<Claims>(&self.access_token)?.lockgate)
    }
}

impl Holder {
    /// For people.
    pub(crate) fn text(&self) -> String {
        format!("{} {}", clean(&self.kind), clean(&self.name))
    }
}

impl OauthError {
    /// In one line; empty, if nothing was said.
    pub(crate) fn text(&self) -> String {
        let text = match (self.error.as_str(), self.error_description.as_str()) {
            (text, "") | ("", text) => text.to_owned(),
            (error, text) => format!("{text} ({error})"),
        };
        clean(&text).chars().take(TOLD_CHARS_MAX).collect()
    }
}

impl Refused {
    /// As the end of a command.
    pub(crate) fn failure(self, what: &str) -> Failure {
        match self {
            Self::Wrong(text) => Failure::no(format!("{what}: {text}")),
            Self::Other(failure) => failure,
        }
    }
}

/// The claims of a JWT, whose signature is not checked: only for what goes to nobody but its holder.
pub(crate) fn claims<T: DeserializeOwned>(token: &str) -> Option<T> {
    let payload = token.split('.').nth(1)?;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// When a JWT ends, by its own words.
pub(crate) fn end_of(token: &SecretString) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let seconds = claims::<Claims>(token.expose_secret())?.exp;
    // Fractions are allowed (RFC 7519 §2); what no calendar has is none.
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds are enough; casts saturate")]
    Timestamp::from_second(seconds as i64).ok()
}

/// What came in place of JSON.
#[derive(Debug)]
pub(crate) struct NoJson(String);

impl NoJson {
    /// That this place gave it.
    pub(crate) fn of(self, url: &Url) -> Failure {
        Failure::cannot_tell(format!("{url} gave an answer that makes no sense: {}", self.0))
    }
}

/// A bounded answer as JSON. What is wrong with it is told without its content: there may be a secret.
pub(crate) async fn json<T: DeserializeOwned>(answer: Response) -> Result<T, NoJson> {
    let bytes = whole(answer, ANSWER_BYTES_MAX).await;
    let bytes = bytes.map_err(|error| NoJson(root(&error).to_string()))?;
    let bytes = bytes.ok_or_else(|| NoJson("it is too large".to_owned()))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| NoJson(format!("at line {}, column {}", error.line(), error.column())))
}

fn http(ca_file: Option<&Path>) -> Result<reqwest::Client, Failure> {
    build(trusting(client(), ca_file)?.timeout(ANSWER_TIMEOUT))
}

/// For an issuer, or a CI system: perhaps behind the proxy of the site, unless it is this machine.
pub(crate) fn issuer_http(url: &Url, ca_file: Option<&Path>) -> Result<reqwest::Client, Failure> {
    let builder = if is_loopback(url) { client() } else { outward() };
    build(trusting(builder, ca_file)?.timeout(ANSWER_TIMEOUT))
}

/// That nobody answers at a URL.
pub(crate) fn silent(url: &Url, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let cause = root(&error);
    let failure = Failure::cannot_tell(format!("no answer from {url}"));
    let hint = match (url.scheme(), super::is_no_tls(&cause.to_string())) {
        ("https", true) => "it answers without TLS: write http://, if that is meant",
        ("https", false) => {
            "is the address right, does it run, and is its certificate of an authority that is trusted \
             here (--ca-file)?"
        }
        _ => "is the address right, and does it run? if it speaks TLS, write https://",
    };
    failure.because(cause).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_says_whose_it_is_and_when_it_ends() {
        let said =
            r#"{"exp":1800000000,"lockgate":{"kind":"User","name":"al\u0007ice","provider":"p"}}"#;
        let granted = Granted { access_token: token(said), expires_in: 300, refresh_token: None };
        assert_eq!(granted.holder().unwrap().text(), "User al\u{fffd}ice");
        assert_eq!(end_of(&token(said).into()).unwrap().as_second(), 1_800_000_000);
        for none in ["", "a.b", "a.!.c", &token("{}"), &token(r#"{"exp":1e300}"#)] {
            assert!(end_of(&none.to_owned().into()).is_none(), "{none}");
        }
    }

    #[test]
    fn errors_are_told_in_one_bounded_line() {
        let error = |error: &str, text: &str| OauthError {
            error: error.to_owned(),
            error_description: text.to_owned(),
        };
        assert_eq!(error("access_denied", "").text(), "access_denied");
        assert_eq!(error("a", "no\nway").text(), "no\u{fffd}way (a)");
        assert_eq!(error("a", &"x".repeat(9999)).text().chars().count(), TOLD_CHARS_MAX);
    }
}
