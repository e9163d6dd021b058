//! Sets of keys (RFC 7517): from a file or by discovery, the last good one kept, read again at once when a
//! token names a key that is not there, but not more often than a floor: a stranger's tokens must not make
//! us ask all the time.

use crate::file::Watched;
use crate::jwt::Key;
use crate::report::Report;
use crate::settings::KeySource;
use jsonwebtoken::jwk::Jwk;
use parking_lot::Mutex;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

#[cfg(test)]
mod tests;

/// Keys of one issuer.
const KEYS_MAX: usize = 256;
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

/// How often is asked.
#[derive(Clone, Copy)]
struct Pace {
    /// A set that is older is asked for again, behind what is served.
    every: Duration,
    /// One that is older is asked for again first: a key that was withdrawn must not come back after a
    /// quiet night.
    stale: Duration,
    /// Between two requests, whatever strangers show.
    floor: Duration,
    /// For one request of the two that discovery takes.
    timeout: Duration,
}

const PACE: Pace = Pace {
    every: Duration::from_secs(300),
    stale: Duration::from_secs(3600),
    floor: Duration::from_secs(10),
    timeout: Duration::from_secs(5),
};

/// Keys by discovery.
pub(crate) struct Discovery {
    url: String,
    /// What the metadata must call the issuer: where they are had from the issuer itself. Whoever names
    /// another place has said where the keys are.
    issuer: Option<String>,
    ca_file: Option<PathBuf>,
    pace: Pace,
    report: Report,
    state: Mutex<State>,
    /// One request at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    good: Option<(Arc<KeySet>, Instant)>,
    asked: Option<Instant>,
    /// Why the last request failed, if it did.
    problem: Option<String>,
}

impl Source {
    pub(crate) fn new(keys: &KeySource, issuer: &str, report: &Report) -> Self {
        match keys {
            KeySource::File(path) => Self::File(Watched::new(path, report, parse)),
            KeySource::Discovery { url, ca_file } => {
                let ca_file = ca_file.as_deref();
                Self::Discovery(Arc::new(Discovery::new(url, issuer, ca_file, PACE, report)))
            }
        }
    }

    /// The keys. `misses`: those that are known do not have the key that a token names.
    pub(crate) async fn keys(&self, misses: bool) -> Result<Arc<KeySet>, String> {
        match self {
            Self::File(file) => file.get(misses),
            Self::Discovery(discovery) => discovery.keys(misses).await,
        }
    }
}

impl Discovery {
    fn new(url: &str, issuer: &str, ca_file: Option<&Path>, pace: Pace, report: &Report) -> Self {
        Self {
            url: url.to_owned(),
            issuer: (url == issuer).then(|| issuer.to_owned()),
            ca_file: ca_file.map(Path::to_owned),
            pace,
            report: report.clone(),
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    async fn keys(self: &Arc<Self>, misses: bool) -> Result<Arc<KeySet>, String> {
        if !misses && let Some(keys) = self.held() {
            return Ok(keys);
        }
        // In a task of its own: whoever hangs up does not end it for others.
        let _ = tokio::spawn(self.clone().refresh()).await;
        let state = self.state.lock();
        match (&state.good, &state.problem) {
            // The key may be new, and nobody can tell us now.
            (_, Some(problem)) if misses => Err(problem.clone()),
            (Some((keys, _)), _) => Ok(keys.clone()),
            (None, Some(problem)) => Err(problem.clone()),
            (None, None) => Err("its keys were not had yet".to_owned()),
        }
    }

    /// The keys that may be used without waiting; they are asked for again behind that, if it is time.
    fn held(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let state = self.state.lock();
        let (keys, at) = state.good.as_ref()?;
        let age = at.elapsed();
        // An issuer that is down stops nobody whose key is known.
        if age > self.pace.stale && state.problem.is_none() {
            return None;
        }
        let keys = keys.clone();
        drop(state);
        if age > self.pace.every && self.is_due() {
            tokio::spawn(self.clone().refresh());
        }
        Some(keys)
    }

    fn is_due(&self) -> bool {
        self.state.lock().asked.is_none_or(|at| at.elapsed() >= self.pace.floor)
    }

    /// Asks, if it is time. Whoever comes meanwhile waits for the same answer.
    async fn refresh(self: Arc<Self>) {
        let _turn = self.turn.lock().await;
        if !self.is_due() {
            return;
        }
        let fetched = self.fetch().await;
        let mut state = self.state.lock();
        state.asked = Some(Instant::now());
        match fetched {
            Ok(keys) => {
                self.report.read();
                (state.good, state.problem) = (Some((Arc::new(keys), Instant::now())), None);
            }
            Err(problem) => {
                self.report.failed(&problem, state.good.is_some());
                state.problem = Some(problem);
            }
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    issuer: Option<String>,
    jwks_uri: String,
}

impl Discovery {
    /// OpenID Connect Discovery 1.0 §4: the metadata, then the keys it names. No redirects.
    async fn fetch(&self) -> Result<KeySet, String> {
        let client = self.client().await?;
        let well_known =
            format!("{}/.well-known/openid-configuration", self.url.trim_end_matches('/'));
        let metadata = get(&client, &well_known, is_loopback(&well_known)).await?;
        let metadata: Metadata = serde_json::from_slice(&metadata)
            .map_err(|error| format!("{well_known} is no metadata: {error}"))?;
        if self.issuer.is_some() && metadata.issuer != self.issuer {
            // §4.3.
            return Err(format!("{well_known} is the metadata of another issuer"));
        }
        // Elsewhere nobody may send us to our own host.
        let keys = get(&client, &metadata.jwks_uri, is_loopback(&well_known)).await?;
        parse(&keys).map_err(|problem| format!("{}: {problem}", metadata.jwks_uri))
    }

    async fn client(&self) -> Result<reqwest::Client, String> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(self.pace.timeout)
            .connect_timeout(self.pace.timeout);
        if let Some(path) = &self.ca_file {
            let problem = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let pem = tokio::fs::read(path).await.map_err(|error| problem(&error))?;
            let authorities = reqwest::Certificate::from_pem_bundle(&pem);
            builder = builder.tls_certs_merge(authorities.map_err(|error| problem(&error))?);
        }
        builder.build().map_err(|error| format!("no client can be made: {error}"))
    }
}

fn is_loopback(url: &str) -> bool {
    Url::parse(url)
        .is_ok_and(|url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")))
}

/// One answer, read whole within bounds. `plain`: loopback addresses may do without TLS.
async fn get(client: &reqwest::Client, url: &str, plain: bool) -> Result<Vec<u8>, String> {
    let parsed = Url::parse(url).map_err(|error| format!("{url} is no URL: {error}"))?;
    if parsed.scheme() != "https" && !(plain && is_loopback(url)) {
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
