//! The registry that is copied from: who it is, and which of its repositories are wanted.

use super::CopyRequest;
use crate::plane::Core;
use crate::view::View;
use oci::Name;
use policy::NamePattern;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use upstream::{
    Boundary, Class, CredentialKind, Failure, FailureKind, Limits, PrefixCredential, Profile,
    Settings, Timeouts, Upstream,
};
use url::Url;

/// The name of a source that no document describes, in metrics and sentences.
const AD_HOC: &str = "copy-source";
/// Times a question is asked again of a source that says "too many requests".
const PATIENCE: usize = 40;
/// The longest wait for such a source, and the one where it names none.
const WAIT: (Duration, Duration) = (Duration::from_secs(15 * 60), Duration::from_secs(10));

/// The registry that is copied from.
pub(super) struct Source {
    pub(super) upstream: Upstream,
    pub(super) label: Arc<str>,
    /// No document describes it.
    pub(super) is_ad_hoc: bool,
}

/// Which repositories are wanted.
pub(super) struct Wanted {
    names: Vec<Name>,
    patterns: Vec<NamePattern>,
}

impl Wanted {
    /// A pattern without wildcards is a name, and needs no list of the source.
    pub(super) fn parse(texts: &[String]) -> Result<Self, String> {
        let mut wanted = Self { names: Vec::new(), patterns: Vec::new() };
        for text in texts {
            if text.contains(['*', '?', '[', '{']) {
                let pattern = NamePattern::parse(text).map_err(|error| error.to_string())?;
                wanted.patterns.push(pattern);
            } else {
                let name = Name::parse(text).map_err(|error| format!("{text:?}: {error}"))?;
                wanted.names.push(name);
            }
        }
        Ok(wanted)
    }
}

impl Source {
    /// The source that a request names.
    pub(super) fn find(core: &Core, view: &View, request: &CopyRequest) -> Result<Self, String> {
        let credential = credential(request)?;
        if !request.from.contains("://") {
            if credential.is_some() {
                return Err("an Upstream has its credentials in its document".to_owned());
            }
            let known = view.upstreams.get(&request.from).cloned();
            let unknown = || {
                let from = &request.from;
                format!(
                    "there is no Upstream {from:?}; name one, or an address such as https://{from}"
                )
            };
            return Ok(Self::known(known.ok_or_else(unknown)?));
        }
        let url = Url::parse(&request.from).map_err(|error| error.to_string())?;
        if has_secret(&url) {
            return Err(SECRET_IN_URL.to_owned());
        }
        let known = view.upstreams.values().find(|it| is_at(it, &url));
        if let (Some(known), None) = (known, &credential) {
            return Ok(Self::known(known.clone()));
        }
        let settings = Settings {
            name: AD_HOC.to_owned(),
            profile: Profile::of_host(&url),
            endpoints: vec![url],
            credentials: credential.into_iter().collect(),
            ca_file: None,
            client_cert: None,
            proxy: None,
            // Who moves a registry of its own in names its address: it is mostly a private one.
            boundary: Boundary { private_addresses: true, ..Boundary::default() },
            timeouts: Timeouts::default(),
            limits: Limits::default(),
        };
        let upstream = Upstream::new(settings, core.shelf.metrics.upstream(AD_HOC));
        let upstream = upstream.map_err(|error| error.to_string())?;
        Ok(Self { upstream, label: AD_HOC.into(), is_ad_hoc: true })
    }

    fn known(upstream: Upstream) -> Self {
        let label = upstream.name().into();
        Self { upstream, label, is_ad_hoc: false }
    }

    /// The repositories that are wanted, each once.
    pub(super) async fn names(&self, wanted: &Wanted) -> Result<Vec<Name>, String> {
        let mut names = wanted.names.clone();
        if !wanted.patterns.is_empty() {
            let all = patiently(|| self.upstream.names(Class::Prefetch)).await;
            let all = all.map_err(|failure| {
                format!(
                    "its repositories cannot be listed: {failure}. Name them instead: a name \
                     without wildcards needs no list"
                )
            })?;
            let is_wanted = |name: &Name| wanted.patterns.iter().any(|it| it.matches(name));
            names.extend(all.into_iter().filter(is_wanted));
        }
        names.sort_unstable();
        names.dedup();
        match names.is_empty() {
            true => Err("no repository of the source matches".to_owned()),
            false => Ok(names),
        }
    }
}

/// What is said of an address that holds a password: it would stand in logs and in the job.
pub(super) const SECRET_IN_URL: &str = "the address must not hold a user name or password: write an \
    Upstream document, or use --username and --password-file";

/// Whether an address holds a user name or a password.
pub(super) fn has_secret(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Whether this is an address of the upstream.
fn is_at(upstream: &Upstream, url: &Url) -> bool {
    let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
    let mut endpoints = upstream.settings().endpoints.iter();
    endpoints.any(|known| known.origin() == url.origin() && path(known) == path(url))
}

fn credential(request: &CopyRequest) -> Result<Option<PrefixCredential>, String> {
    let is_whole = |path: &Path| match path.is_absolute() {
        true => Ok(()),
        false => Err(format!("{} is not written as a whole path, from / on", path.display())),
    };
    let kind = match (&request.docker_config, &request.username, &request.password_file) {
        (None, None, None) => return Ok(None),
        (Some(file), None, None) => {
            is_whole(file)?;
            CredentialKind::DockerConfig { file: file.clone() }
        }
        (None, Some(username), Some(file)) => {
            is_whole(file)?;
            CredentialKind::Basic { username: username.clone(), password_file: file.clone() }
        }
        _ => {
            let text = "log in by dockerConfig, or by username with passwordFile";
            return Err(text.to_owned());
        }
    };
    Ok(Some(PrefixCredential { prefix: String::new(), kind }))
}

/// Asks a source, and waits when it says "too many requests", or when what it lets us ask has to be
/// left to others.
pub(super) async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    for _ in 0..PATIENCE {
        match ask().await {
            Err(failure) if failure.is_rate_limit() => {
                tokio::time::sleep(wait_of(&failure)).await;
            }
            other => return other,
        }
    }
    ask().await
}

/// How long to wait for a source that says "too many requests".
pub(super) fn wait_of(failure: &Failure) -> Duration {
    failure.retry_after().unwrap_or(WAIT.1).min(WAIT.0)
}

/// Why something could not be brought.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) text: String,
    /// The source does not have it, for certain.
    pub(super) is_absent: bool,
}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Self { text, is_absent: false }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { text: failure.to_string(), is_absent: failure.kind() == FailureKind::Absent }
    }
}

impl From<crate::refusal::Refusal> for Trouble {
    fn from(refusal: crate::refusal::Refusal) -> Self {
        refusal.to_string().into()
    }
}
