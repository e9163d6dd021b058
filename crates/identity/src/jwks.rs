//! Sets of keys (RFC 7517): from a file or by discovery, the last good one kept, read again at once when a
//! token names a key that is not there, but not more often than a floor: a stranger's tokens must not make
//! us ask all the time.

use crate::file::Watched;
use crate::jwt::Key;
use crate::settings::KeySource;
use jsonwebtoken::jwk::Jwk;
use parking_lot::Mutex;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// Keys of one issuer.
const KEYS_MAX: usize = 256;
/// How old a discovered set may get before it is asked for again, behind what is served.
const REFRESH_EVERY: Duration = Duration::from_secs(300);
/// Between two requests for an unknown key.
const FLOOR: Duration = Duration::from_secs(10);
/// For one request of the two that discovery takes.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Larger than any key set.
const ANSWER_MAX_BYTES: usize = 1 << 20;

/// The keys of a set.
pub(crate) struct KeySet(pub(crate) Vec<Key>);

impl KeySet {
    /// Those that could have signed a token: the one it names, or, where it names none, the only one
    /// that fits.
    pub(crate) fn candidates(
        &self,
        kid: Option<&str>,
        algorithm: jsonwebtoken::Algorithm,
    ) -> Vec<&Key> {
        let fitting = self.0.iter().filter(|key| key.fits(algorithm));
        match kid {
            Some(kid) => fitting.filter(|key| key.kid.as_deref() == Some(kid)).collect(),
            None => {
                let all: Vec<&Key> = fitting.collect();
                if all.len() == 1 { all } else { Vec::new() }
            }
        }
    }
}

#[derive(Deserialize)]
struct WireSet {
    keys: Vec<serde_json::Value>,
}

/// Reads a set; keys of kinds that we do not know are left out.
pub(crate) fn parse(bytes: &[u8]) -> Result<KeySet, String> {
    let set: WireSet =
        serde_json::from_slice(bytes).map_err(|error| format!("not a JWK set: {error}"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("more than {KEYS_MAX} keys"));
    }
    let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let keys: Vec<Key> = keys.filter_map(|jwk| Key::of(&jwk)).collect();
    if keys.is_empty() {
        return Err("it holds no key that verifies signatures".to_owned());
    }
    Ok(KeySet(keys))
}

/// Where the keys of one provider come from.
pub(crate) enum Source {
    File(Watched<KeySet>),
    Discovery(Arc<Discovery>),
}

/// Keys by discovery.
pub(crate) struct Discovery {
    provider: String,
    url: String,
    ca_file: Option<PathBuf>,
    state: Mutex<State>,
    /// One request at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    good: Option<(Arc<KeySet>, Instant)>,
    asked: Option<Instant>,
    problem: Option<String>,
}

impl Source {
    pub(crate) fn new(provider: &str, keys: &KeySource) -> Self {
        match keys {
            KeySource::File(path) => Self::File(Watched::new(path, parse)),
            KeySource::Discovery { url, ca_file } => Self::Discovery(Arc::new(Discovery {
                provider: provider.to_owned(),
                url: url.clone(),
                ca_file: ca_file.clone(),
                state: Mutex::default(),
                turn: tokio::sync::Mutex::default(),
            })),
        }
    }

    /// The keys. `misses`: those that are known do not have the key that a token names.
    pub(crate) async fn keys(&self, misses: bool) -> Result<Arc<KeySet>, String> {
        match self {
            Self::File(file) => file.get(misses),
            Self::Discovery(discovery) => discovery.keys(misses).await,
        }
    }

    /// How old the keys are, if they are ever asked for anew; `None`: there are none yet.
    pub(crate) fn age(&self) -> Option<Option<Duration>> {
        match self {
            Self::File(_) => None,
            Self::Discovery(it) => Some(it.state.lock().good.as_ref().map(|good| good.1.elapsed())),
        }
    }
}

impl Discovery {
    async fn keys(self: &Arc<Self>, misses: bool) -> Result<Arc<KeySet>, String> {
        let (held, age) = match &self.state.lock().good {
            Some((keys, at)) => (Some(keys.clone()), at.elapsed()),
            None => (None, Duration::ZERO),
        };
        match held {
            Some(keys) if !misses => {
                if age > REFRESH_EVERY && self.is_due() {
                    let this = self.clone();
                    tokio::spawn(async move { this.refresh().await });
                }
                Ok(keys)
            }
            _ => {
                if self.is_due() {
                    // In a task of its own: whoever hangs up does not end it for others.
                    let this = self.clone();
                    let _ = tokio::spawn(async move { this.refresh().await }).await;
                } else {
                    // Somebody asks already; their answer is ours.
                    let _turn = self.turn.lock().await;
                }
                let state = self.state.lock();
                match (&state.good, &state.problem) {
                    (Some((keys, _)), _) => Ok(keys.clone()),
                    (None, Some(problem)) => Err(problem.clone()),
                    (None, None) => Err("its keys were not had yet".to_owned()),
                }
            }
        }
    }

    /// Whether the floor lets us ask, and notes that we do.
    fn is_due(&self) -> bool {
        let mut state = self.state.lock();
        let is_due = state.asked.is_none_or(|at| at.elapsed() >= FLOOR);
        if is_due {
            state.asked = Some(Instant::now());
        }
        is_due
    }

    async fn refresh(&self) {
        let _turn = self.turn.lock().await;
        let fetched = fetch(&self.url, self.ca_file.as_deref()).await;
        let mut state = self.state.lock();
        match fetched {
            Ok(keys) => {
                (state.good, state.problem) = (Some((Arc::new(keys), Instant::now())), None)
            }
            Err(problem) => {
                let kept = state.good.is_some();
                tracing::warn!(provider = %self.provider, %problem, kept, "keys cannot be had");
                state.problem = Some(problem);
            }
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    jwks_uri: String,
}

/// OpenID Connect Discovery 1.0 §4: the metadata, then the keys it names. No redirects.
async fn fetch(url: &str, ca_file: Option<&std::path::Path>) -> Result<KeySet, String> {
    let client = client(ca_file).await?;
    let well_known = format!("{}/.well-known/openid-configuration", url.trim_end_matches('/'));
    let metadata = get(&client, &well_known).await?;
    let metadata: Metadata = serde_json::from_slice(&metadata)
        .map_err(|error| format!("{well_known} is no metadata: {error}"))?;
    parse(&get(&client, &metadata.jwks_uri).await?)
        .map_err(|problem| format!("{}: {problem}", metadata.jwks_uri))
}

async fn client(ca_file: Option<&std::path::Path>) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .connect_timeout(TIMEOUT);
    if let Some(path) = ca_file {
        let problem = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let pem = tokio::fs::read(path).await.map_err(|error| problem(&error))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem);
        builder = builder.tls_certs_merge(authorities.map_err(|error| problem(&error))?);
    }
    builder.build().map_err(|error| format!("no client can be made: {error}"))
}

async fn get(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    let parsed = Url::parse(url).map_err(|error| format!("{url} is no URL: {error}"))?;
    let is_local = matches!(parsed.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if parsed.scheme() != "https" && !is_local {
        return Err(format!("{url}: keys are had over https only"));
    }
    let cause = |error: reqwest::Error| {
        let mut deepest: &dyn std::error::Error = &error;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        format!("{url}: {deepest}")
    };
    let mut response = client.get(parsed).send().await.map_err(cause)?;
    if !response.status().is_success() {
        return Err(format!("{url} answers {}", response.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(cause)? {
        if bytes.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(format!("{url} answers more than 1 MiB"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
