//! What an OpenID Connect issuer says of itself, and the checks of the ID token it gives (OpenID Connect
//! Discovery 1.0 §4, Core 1.0 §3.1.3.7).
//!
//! The token's signature is not checked here: it comes from the issuer itself over TLS (Core §3.1.3.7,
//! 6), and the plane, which alone decides by it, checks it with the issuer's keys.

use crate::client::tokens::{OauthError, Offer, claims, issuer_http, json, silent};
use crate::exit::Failure;
use crate::flags::is_loopback;
use crate::output::clean;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use std::path::Path;
use url::Url;

/// An ID token is no longer than this.
const TOKEN_MAX_BYTES: usize = 64 << 10;
/// How far clocks may differ.
const SKEW_SECONDS: i64 = 60;

/// The metadata that is used here.
#[derive(Debug, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: Option<Url>,
    token_endpoint: Url,
    device_authorization_endpoint: Option<Url>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// An issuer, and the client that we are there.
pub(super) struct Issuer {
    http: reqwest::Client,
    metadata: Metadata,
    offer: Offer,
}

/// What a token endpoint says.
pub(super) enum Answer {
    /// Here it is.
    Token(IdToken),
    /// Not, and why.
    Refused(OauthError),
}

/// An ID token that was given to us, for us. Only the plane knows whether its signature is right.
pub(super) struct IdToken(String);

/// What a token endpoint gives.
#[derive(Deserialize)]
struct Given {
    id_token: Option<String>,
}

/// The claims that are checked.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    nonce: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Metadata {
    fn endpoints(&self) -> impl Iterator<Item = &Url> {
        let optional = [&self.authorization_endpoint, &self.device_authorization_endpoint];
        optional.into_iter().flatten().chain([&self.token_endpoint])
    }
}

impl Issuer {
    /// Asks the issuer of an offer for its metadata.
    pub(super) async fn of(offer: &Offer, ca_file: Option<&Path>) -> Result<Self, Failure> {
        let issuer = clean(&offer.issuer);
        let bad = |what: &str| Failure::cannot_tell(format!("no login at {issuer}: {what}"));
        let place =
            format!("{}/.well-known/openid-configuration", offer.issuer.trim_end_matches('/'));
        let url: Url = place.parse().map_err(|_| bad("it is not a URL"))?;
        if !is_safe(&url) {
            return Err(bad("it is not an https:// URL"));
        }
        let http = issuer_http(&url, ca_file)?;
        let answer = http.get(url.clone()).send().await.map_err(|error| silent(&url, error))?;
        if !answer.status().is_success() {
            return Err(bad(&format!("{url} answered {}", answer.status())));
        }
        let metadata: Metadata = json(answer).await.map_err(|error| error.of(&url))?;
        if metadata.issuer != offer.issuer {
            let other = clean(&metadata.issuer);
            return Err(bad(&format!("{url} is the metadata of another issuer, {other}")));
        }
        if let Some(url) = metadata.endpoints().find(|url| !is_safe(url)) {
            return Err(bad(&format!("its endpoint {url} is not an https:// URL")));
        }
        Ok(Self { http, metadata, offer: offer.clone() })
    }

    /// Where people go to log in.
    pub(super) fn authorization_endpoint(&self) -> Result<&Url, Failure> {
        let methods = &self.metadata.code_challenge_methods_supported;
        // RFC 9700 §2.1.1: without PKCE, somebody else could use the code.
        if methods.as_ref().is_some_and(|all| all.iter().all(|method| method != "S256")) {
            return Err(self.cannot("it does not support PKCE with S256"));
        }
        let endpoint = self.metadata.authorization_endpoint.as_ref();
        endpoint.ok_or_else(|| self.cannot("it has no authorization endpoint"))
    }

    /// Where a code for another device is had.
    pub(super) fn device_endpoint(&self) -> Result<&Url, Failure> {
        let endpoint = self.metadata.device_authorization_endpoint.as_ref();
        endpoint.ok_or_else(|| {
            self.cannot("it has no device authorization (RFC 8628)")
                .hint("log in without --device, on a machine with a browser")
        })
    }

    /// Whether its answers in the browser name it (RFC 9207).
    pub(super) fn names_itself(&self) -> bool {
        self.metadata.authorization_response_iss_parameter_supported
    }

    /// Its name: the `iss` of its tokens.
    pub(super) fn name(&self) -> &str {
        &self.offer.issuer
    }

    /// What we are called there.
    pub(super) fn client_id(&self) -> &str {
        &self.offer.client_id
    }

    /// What is asked for.
    pub(super) fn scope(&self) -> String {
        let others = self.offer.scopes.iter().filter(|scope| *scope != "openid");
        others.fold("openid".to_owned(), |all, scope| all + " " + scope)
    }

    /// That one cannot log in here.
    pub(super) fn cannot(&self, what: &str) -> Failure {
        Failure::no(format!("no login at {}: {what}", clean(&self.offer.issuer)))
    }

    /// Sends a form to one of its endpoints.
    pub(super) async fn post(
        &self,
        url: &Url,
        form: &[(&str, &str)],
    ) -> Result<reqwest::Response, Failure> {
        let sent = self.http.post(url.clone()).form(form).send().await;
        sent.map_err(|error| silent(url, error))
    }

    /// Asks its token endpoint. `nonce`: the one the token must have.
    pub(super) async fn token(
        &self,
        form: &[(&str, &str)],
        nonce: Option<&str>,
    ) -> Result<Answer, Failure> {
        let url = &self.metadata.token_endpoint;
        let answer = self.post(url, form).await?;
        let status = answer.status();
        if !status.is_success() {
            let error: OauthError = json(answer).await.unwrap_or_default();
            if error.error.is_empty() || status.is_server_error() {
                return Err(Failure::cannot_tell(format!("{url} answered {status}")));
            }
            return Ok(Answer::Refused(error));
        }
        let given: Given = json(answer).await.map_err(|error| error.of(url))?;
        let token = given.id_token.ok_or_else(|| self.cannot("it gave no ID token"))?;
        let checked = check(&token, self.name(), self.client_id(), nonce, Timestamp::now());
        checked.map_err(|problem| self.cannot(&format!("its ID token {problem}")))?;
        Ok(Answer::Token(IdToken(token)))
    }
}

impl IdToken {
    /// To show it to the plane.
    pub(super) fn into_secret(self) -> SecretString {
        self.0.into()
    }
}

/// Whether what is sent there is seen by nobody on the way.
fn is_safe(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

fn check(
    token: &str,
    issuer: &str,
    client_id: &str,
    nonce: Option<&str>,
    now: Timestamp,
) -> Result<(), &'static str> {
    let claims = (token.len() <= TOKEN_MAX_BYTES).then(|| claims::<Claims>(token)).flatten();
    let claims = claims.ok_or("cannot be read")?;
    if claims.iss != issuer {
        return Err("is of another issuer");
    }
    let (is_for_us, is_for_others) = match &claims.aud {
        Audience::One(audience) => (audience == client_id, false),
        Audience::Several(all) => (all.iter().any(|it| it == client_id), all.len() > 1),
    };
    let is_ours = match &claims.azp {
        Some(party) => party == client_id,
        None => !is_for_others,
    };
    if !is_for_us || !is_ours {
        return Err("is for another client");
    }
    if nonce.is_some() && claims.nonce.as_deref() != nonce {
        return Err("has another nonce: it is the answer to another login");
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds are enough; casts saturate")]
    let ends = claims.exp as i64;
    if ends.saturating_add(SKEW_SECONDS) <= now.as_second() {
        return Err("has ended; is a clock wrong?");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    #[test]
    fn only_a_token_for_this_client_of_this_login_is_taken() {
        let good = json!({ "iss": "https://i", "aud": "me", "exp": 2000, "nonce": "n" });
        let checked = |change: Value| {
            let mut claims = good.clone();
            for (name, value) in change.as_object().unwrap() {
                claims[name] = value.clone();
            }
            let token = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
            check(&token, "https://i", "me", Some("n"), Timestamp::from_second(2000).unwrap())
        };
        for good in [
            json!({}),
            json!({ "aud": ["me"] }),
            json!({ "aud": ["me", "other"], "azp": "me" }),
            json!({ "exp": 1999.5 }),
        ] {
            assert_eq!(checked(good.clone()), Ok(()), "{good}");
        }
        for wrong in [
            json!({ "iss": "https://i/" }),
            json!({ "aud": "other" }),
            json!({ "aud": [] }),
            json!({ "aud": ["me", "other"] }),
            json!({ "azp": "other" }),
            json!({ "nonce": "m" }),
            json!({ "nonce": null }),
            json!({ "exp": 1900 }),
            json!({ "exp": "soon" }),
        ] {
            assert!(checked(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(check("x", "https://i", "me", None, Timestamp::UNIX_EPOCH).is_err());
    }
}
