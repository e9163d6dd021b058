//! The login in a browser: authorization code with PKCE (RFC 7636), the answer on a loopback address
//! (RFC 8252 §7.3).
//!
//! What could be forged on the way is checked: `state` ties the answer to this login, `nonce` the token,
//! `iss` the issuer (RFC 9207), and the verifier makes the code worthless to everybody else.

use super::callback::{Callback, Listener};
use super::oidc::{Answer, IdToken, Issuer};
use crate::exit::Failure;
use crate::output::{self, clean, say};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::time::Duration;
use url::Url;

/// How long somebody may take to log in.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(600);
/// What to do where no browser is.
const NO_BROWSER: &str =
    "no browser here? `lockgate login --device` shows a code for another device";

/// A login whose answer came: the browser still waits for a word.
pub(super) struct Answered {
    /// Who is to be told.
    pub(super) callback: Callback,
    /// What came.
    pub(super) token: Result<IdToken, Failure>,
}

/// What only we know of a login.
struct Secrets {
    state: String,
    nonce: String,
    verifier: String,
}

/// Sends somebody to the issuer, and waits until they come back: to this port, if one is named.
pub(super) async fn login(
    issuer: &Issuer,
    port: Option<u16>,
    opens_browser: bool,
) -> Result<Answered, Failure> {
    let endpoint = issuer.authorization_endpoint()?;
    let secrets = Secrets::new()?;
    let listener = Listener::bind(port).await?;
    let redirect = listener.redirect_uri();
    let url = secrets.url(endpoint, issuer, &redirect);
    let client = clean(issuer.client_id());
    say(&format!(
        "to log in at {} (client {client}), open this address in a browser on this machine:\n\n    {url}\n",
        clean(issuer.name()),
    ));
    let is_open = opens_browser && super::browser::open(&url);
    if opens_browser && !is_open {
        if !output::is_watched() {
            return Err(Failure::no("no browser can be opened, and nobody is at a terminal")
                .hint("people: --device; jobs: --ci or --token-stdin; or --no-browser to wait for the address to be opened"));
        }
        output::headed("note", output::CYAN, NO_BROWSER);
    }
    let callback = tokio::time::timeout(LOGIN_TIMEOUT, listener.answer()).await;
    let callback = callback
        .map_err(|_| Failure::no("nobody logged in within ten minutes").hint(NO_BROWSER))??;
    let token = secrets.redeem(issuer, &callback, &redirect).await;
    Ok(Answered { callback, token })
}

impl Secrets {
    fn new() -> Result<Self, Failure> {
        Ok(Self { state: random()?, nonce: random()?, verifier: random()? })
    }

    fn url(&self, endpoint: &Url, issuer: &Issuer, redirect: &str) -> Url {
        let challenge =
            BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()).as_ref());
        let mut url = endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", issuer.client_id())
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", &issuer.scope())
            .append_pair("state", &self.state)
            .append_pair("nonce", &self.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        url
    }

    /// Checks what the browser brought, and gets the token for it.
    async fn redeem(
        &self,
        issuer: &Issuer,
        callback: &Callback,
        redirect: &str,
    ) -> Result<IdToken, Failure> {
        let code = self.code(issuer, callback)?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("client_id", issuer.client_id()),
            ("code_verifier", &self.verifier),
        ];
        match issuer.token(&form, Some(&self.nonce)).await? {
            Answer::Token(token) => Ok(token),
            Answer::Refused(error) => Err(issuer.cannot(&error.text())),
        }
    }

    fn code<'c>(&self, issuer: &Issuer, callback: &'c Callback) -> Result<&'c str, Failure> {
        if callback.field("state") != Some(self.state.as_str()) {
            return Err(Failure::no("the answer in the browser is not to this login (state)")
                .hint("start again, and use the address of this login alone"));
        }
        match callback.field("iss") {
            Some(other) if other != issuer.name() => {
                let text = format!("the answer is of another issuer, {} (iss)", clean(other));
                return Err(issuer.cannot(&text));
            }
            None if issuer.names_itself() => {
                return Err(issuer.cannot("the answer does not name its issuer (iss)"));
            }
            _ => {}
        }
        match (callback.field("error"), callback.field("code")) {
            (Some(error), _) => {
                Err(issuer.cannot(&told(error, callback.field("error_description"))))
            }
            (None, Some(code)) => Ok(code),
            (None, None) => Err(issuer.cannot("the answer has no code")),
        }
    }
}

fn told(error: &str, description: Option<&str>) -> String {
    let text = match description {
        Some(description) => format!("{description} ({error})"),
        None => error.to_owned(),
    };
    clean(&text).chars().take(300).collect()
}

/// 256 random bits, in letters that stand in URLs.
fn random() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Failure::cannot_tell("the system gives no randomness"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}
