//! Who may pull: Basic credentials, or bearer tokens by the token dance of the Docker token
//! specification (distribution docs, "Token Authentication Specification" and its OAuth2 variant).

use crate::wire::{Answer, Request, form_values};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a registry tells its clients apart. Clones share the tokens issued and the counters, so that
/// one [`FakeRegistry`](crate::FakeRegistry) can issue the tokens that another one accepts.
#[derive(Clone)]
pub struct Auth {
    scheme: Scheme,
    users: Vec<(String, String)>,
    anonymous: bool,
    private: Vec<String>,
    realm: Option<String>,
    service: String,
    lifetime: Duration,
    says_lifetime: bool,
    token_field: Field,
    refusal: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Open,
    Basic,
    Bearer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Both,
    Token,
    AccessToken,
}

#[derive(Default)]
struct State {
    tokens: HashMap<String, Grant>,
    issued: u64,
    refused: u64,
    challenges: u64,
}

struct Grant {
    scopes: Vec<String>,
    until: Instant,
}

impl Auth {
    fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            users: Vec::new(),
            anonymous: scheme != Scheme::Basic,
            private: Vec::new(),
            realm: None,
            service: "testkit".into(),
            lifetime: Duration::from_secs(300),
            says_lifetime: true,
            token_field: Field::Both,
            refusal: 401,
            state: Arc::default(),
        }
    }

    /// Everyone may pull everything; no challenge.
    pub fn none() -> Self {
        Self::new(Scheme::Open)
    }

    /// HTTP Basic (RFC 7617) on every request.
    pub fn basic(user: &str, password: &str) -> Self {
        Self::new(Scheme::Basic).user(user, password)
    }

    /// Bearer tokens from this server's own `/token`, five minutes each, for anyone who asks.
    pub fn bearer() -> Self {
        Self::new(Scheme::Bearer)
    }

    /// Accepts this user too: for Basic on each request, for bearer at the token endpoint, where the
    /// password also serves as refresh token.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.into(), password.into()));
        self
    }

    /// Gives no token without credentials.
    pub fn no_anonymous(mut self) -> Self {
        self.anonymous = false;
        self
    }

    /// Repositories whose name starts with `prefix` need a user. An anonymous token for one is
    /// issued, but grants nothing, as on Docker Hub.
    pub fn private(mut self, prefix: &str) -> Self {
        self.private.push(prefix.into());
        self
    }

    /// Names this URL as realm instead of the server's own `/token`.
    pub fn realm(mut self, url: &str) -> Self {
        self.realm = Some(url.into());
        self
    }

    /// The service named in the challenge; `testkit` by default. Requests for another are refused.
    pub fn service(mut self, name: &str) -> Self {
        self.service = name.into();
        self
    }

    /// How long tokens last.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Leaves `expires_in` out of token answers; the specification then means 60 seconds.
    pub fn silent_lifetime(mut self) -> Self {
        self.says_lifetime = false;
        self
    }

    /// Gives tokens as `access_token` only (as OAuth2 does).
    pub fn access_token_only(mut self) -> Self {
        self.token_field = Field::AccessToken;
        self
    }

    /// Gives tokens as `token` only (as early registries do).
    pub fn token_only(mut self) -> Self {
        self.token_field = Field::Token;
        self
    }

    /// Refuses expired or unknown tokens and wrong passwords with this status instead of 401; ECR
    /// uses 403 and 400. A request without any credentials is still challenged with 401.
    pub fn refuse_with(mut self, status: u16) -> Self {
        self.refusal = status;
        self
    }

    /// Tokens issued so far.
    pub fn tokens_issued(&self) -> u64 {
        self.state.lock().issued
    }

    /// Token requests and credentials refused so far.
    pub fn refused(&self) -> u64 {
        self.state.lock().refused
    }

    /// Challenges sent so far.
    pub fn challenges(&self) -> u64 {
        self.state.lock().challenges
    }

    /// Ends every token issued so far.
    pub fn expire_tokens(&self) {
        self.state.lock().tokens.clear();
    }

    /// Whether `request` may go on; the answer to give if not. `name` is the repository it concerns.
    pub(crate) fn check(
        &self,
        request: &Request,
        name: Option<&str>,
        base_url: &str,
    ) -> Result<(), Box<Answer>> {
        let given = request.header("authorization");
        match self.scheme {
            Scheme::Open => Ok(()),
            Scheme::Basic if given.is_some_and(|value| self.knows(value)) => Ok(()),
            Scheme::Basic => Err(self.challenge(given.is_some(), "Basic realm=\"testkit\"".into())),
            Scheme::Bearer => self.check_token(given, name, base_url),
        }
    }

    fn check_token(
        &self,
        given: Option<&str>,
        name: Option<&str>,
        base_url: &str,
    ) -> Result<(), Box<Answer>> {
        let scope = name.map(|name| format!("repository:{name}:pull"));
        let own = format!("{base_url}/token");
        let realm = self.realm.as_deref().unwrap_or(&own);
        let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{}\"", self.service);
        if let Some(scope) = &scope {
            challenge.push_str(&format!(",scope=\"{scope}\""));
        }
        let Some(token) = given.and_then(|value| value.strip_prefix("Bearer ")) else {
            return Err(self.challenge(given.is_some(), challenge));
        };
        let granted = {
            let state = self.state.lock();
            let grant = state.tokens.get(token).filter(|grant| grant.until > Instant::now());
            grant.map(|grant| scope.is_none_or(|scope| grant.scopes.contains(&scope)))
        };
        match granted {
            Some(true) => Ok(()),
            Some(false) => Err(self.challenge(false, challenge + ",error=\"insufficient_scope\"")),
            None => Err(self.challenge(true, challenge + ",error=\"invalid_token\"")),
        }
    }

    fn challenge(&self, refused: bool, challenge: String) -> Box<Answer> {
        let mut state = self.state.lock();
        if refused {
            state.refused += 1;
        }
        if refused && self.refusal != 401 {
            let text = "the credentials given have expired or are unknown";
            return Box::new(Answer::error(self.refusal, "DENIED", text));
        }
        state.challenges += 1;
        let answer = Answer::error(401, "UNAUTHORIZED", "authentication required");
        Box::new(answer.with("www-authenticate", challenge))
    }

    /// Answers a request to the token endpoint.
    pub(crate) fn token(&self, request: &Request) -> Answer {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let parameters = if request.method == "POST" { form } else { request.query.clone() };
        let user = match self.asking(request, &parameters) {
            Ok(user) => user,
            Err(()) => {
                self.state.lock().refused += 1;
                return Answer::error(401, "UNAUTHORIZED", "incorrect username or password");
            }
        };
        let service = form_values(&parameters, "service");
        if service.first().is_some_and(|service| *service != self.service) {
            return Answer::error(400, "UNSUPPORTED", "unknown service");
        }
        let scopes = form_values(&parameters, "scope");
        let asked = scopes.iter().flat_map(|scopes| scopes.split(' '));
        self.issue(asked.flat_map(pulls).filter(|scope| self.grants(scope, user)).collect())
    }

    /// Whether a known user asks (`true`) or nobody in particular (`false`).
    fn asking(&self, request: &Request, parameters: &str) -> Result<bool, ()> {
        let values = |name| form_values(parameters, name).into_iter().next();
        let known = |given: (String, String)| self.users.contains(&given).then_some(true).ok_or(());
        if let Some(value) = request.header("authorization") {
            return self.knows(value).then_some(true).ok_or(());
        }
        if let (Some(name), Some(password)) = (values("username"), values("password")) {
            return known((name, password));
        }
        if let Some(token) = values("refresh_token") {
            return self.users.iter().any(|user| user.1 == token).then_some(true).ok_or(());
        }
        self.anonymous.then_some(false).ok_or(())
    }

    fn issue(&self, scopes: Vec<String>) -> Answer {
        let mut state = self.state.lock();
        state.issued += 1;
        let token = format!("testkit-token-{}-{}", state.issued, scopes.join("+"));
        let until = Instant::now() + self.lifetime;
        state.tokens.insert(token.clone(), Grant { scopes, until });
        let mut body = json!({});
        if self.token_field != Field::AccessToken {
            body["token"] = json!(token);
        }
        if self.token_field != Field::Token {
            body["access_token"] = json!(token);
        }
        if self.says_lifetime {
            body["expires_in"] = json!(self.lifetime.as_secs());
        }
        Answer::json(200, &body)
    }

    fn grants(&self, scope: &str, user: bool) -> bool {
        let name = scope.split(':').nth(1).unwrap_or_default();
        user || !self.private.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }

    fn knows(&self, authorization: &str) -> bool {
        let Some(given) = authorization.strip_prefix("Basic ") else { return false };
        self.users.iter().any(|(name, password)| base64(&format!("{name}:{password}")) == given)
    }
}

/// The pull scopes that one requested scope stands for: none, or itself reduced to `pull`.
fn pulls(scope: &str) -> Option<String> {
    let (resource, actions) = scope.rsplit_once(':')?;
    actions
        .split(',')
        .any(|action| action == "pull" || action == "*")
        .then(|| format!("{resource}:pull"))
}

/// Base64 with padding (RFC 4648 §4).
pub fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for group in text.as_bytes().chunks(3) {
        let byte = |index| u32::from(group.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            encoded.push(if digit <= group.len() { DIGITS[value as usize].into() } else { '=' });
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_examples_of_rfc_4648() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(text), encoded);
        }
    }

    #[test]
    fn a_scope_is_reduced_to_pulling() {
        let pull = |scope| pulls(scope);
        assert_eq!(pull("repository:a/b:pull,push").as_deref(), Some("repository:a/b:pull"));
        assert_eq!(pull("repository:a/b:push"), None);
        assert_eq!(pull("nonsense"), None);
    }
}
