//! Asking a token service for a token (distribution docs, "Token Authentication Specification" and
//! its OAuth2 variant).

use crate::clock;
use crate::credentials::Login;
use crate::failure::Failure;
use crate::token::{Issued, LIFETIME_DEFAULT};
use crate::wire;
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::time::Duration;
use url::Url;

/// A token answer holds a token or two, of some kilobytes each.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A longer token fits in no request header.
const TOKEN_BYTES_MAX: usize = 32 << 10;

/// How we name ourselves to OAuth2 token services.
const CLIENT_ID: &str = "lockgate";

/// One request to a token service. Owns all it needs: it goes on when nobody waits any more.
pub(crate) struct Dance {
    pub(crate) client: reqwest::Client,
    pub(crate) realm: Url,
    pub(crate) service: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) login: Option<Login>,
    /// Beginning of every sentence about it.
    pub(crate) label: String,
    /// For the head of the answer, and again for its body.
    pub(crate) first_byte: Duration,
}

#[derive(Deserialize)]
struct Wire {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

impl Dance {
    /// Asks. Secrets go to the realm, which was judged before, and nowhere else: redirects are not
    /// followed.
    pub(crate) async fn dance(self) -> Result<Issued, Failure> {
        let asked = clock::now();
        let sent = tokio::time::timeout(self.first_byte, self.request().send()).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(wire::transport_failure(&self.label, &error)),
            Err(_) => {
                let text = format!("{}: no answer in {:?}", self.label, self.first_byte);
                return Err(Failure::indeterminate(text));
            }
        };
        let status = response.status();
        if !status.is_success() {
            return Err(self.refusal(status, &response));
        }
        let body = wire::read_whole(response, ANSWER_BYTES_MAX, self.first_byte).await;
        let body =
            body.map_err(|text| Failure::indeterminate(format!("{}: {text}", self.label)))?;
        // The parser's message could quote the token.
        let wire: Wire = serde_json::from_slice(&body).map_err(|_| {
            Failure::indeterminate(format!("{}: its answer is no token", self.label))
        })?;
        let given = wire.token.filter(|token| !token.is_empty()).or(wire.access_token);
        let value = given.filter(|token| is_sendable(token)).ok_or_else(|| {
            Failure::indeterminate(format!("{}: its answer holds no usable token", self.label))
        })?;
        let lifetime = wire.expires_in.filter(|seconds| *seconds > 0.0);
        let lifetime = lifetime.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Issued {
            value: SecretString::from(value),
            lifetime: lifetime.unwrap_or(LIFETIME_DEFAULT),
            asked,
        })
    }

    fn request(&self) -> reqwest::RequestBuilder {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        pairs.extend(self.service.as_deref().map(|service| ("service", service)));
        pairs.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        match &self.login {
            Some(Login::IdentityToken(token)) => {
                pairs.push(("grant_type", "refresh_token"));
                pairs.push(("client_id", CLIENT_ID));
                pairs.push(("refresh_token", token.expose_secret()));
                self.client.post(self.realm.clone()).form(&pairs)
            }
            Some(Login::Password { username, password }) => {
                pairs.push(("account", username));
                let request = self.client.get(self.realm.clone()).query(&pairs);
                request.basic_auth(username, Some(password.expose_secret()))
            }
            // A token that is sent as it is needs no dance; none other is made of it.
            Some(Login::Token(_)) | None => self.client.get(self.realm.clone()).query(&pairs),
        }
    }

    fn refusal(&self, status: StatusCode, response: &reqwest::Response) -> Failure {
        let label = &self.label;
        let code = status.as_u16();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::denied(match self.login {
                Some(_) => format!("{label}: the credential is not accepted (HTTP {code})"),
                None => format!("{label}: no token without a credential (HTTP {code})"),
            }),
            StatusCode::TOO_MANY_REQUESTS => {
                let wait = wire::retry_after(response.headers());
                let wait = wait.unwrap_or(crate::health::RETRY_AFTER_DEFAULT);
                Failure::limited(format!("{label}: too many requests (HTTP 429)"), wait)
            }
            _ if status.is_server_error() => {
                Failure::transient(format!("{label}: no token (HTTP {code})"))
            }
            _ => Failure::indeterminate(format!("{label}: no token (HTTP {code})")),
        }
    }
}

/// Whether a token can stand in a header at all.
fn is_sendable(token: &str) -> bool {
    !token.is_empty()
        && token.len() <= TOKEN_BYTES_MAX
        && token.bytes().all(|byte| byte.is_ascii_graphic())
}
