//! What an upstream is, as its owner wrote it: addresses, credentials by prefix, trust, limits.
//! Two equal settings are the same upstream, so that its state may be carried over.

use crate::origin::OriginPattern;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Everything that defines an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Name of the `Upstream` document; for people and metrics.
    pub name: String,
    /// Addresses in the order they are tried.
    pub endpoints: Vec<Url>,
    /// Credentials; the longest prefix of the upstream's repository name wins, none is anonymous.
    pub credentials: Vec<PrefixCredential>,
    /// PEM file of authorities trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM files of the client certificate (with its chain) and of its key.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// Proxy for the endpoints, their realms and their redirects.
    pub proxy: Option<Url>,
    /// Where credentials and redirects may go.
    pub boundary: Boundary,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How much to ask.
    pub limits: Limits,
    /// What kind of registry it is.
    pub profile: Profile,
}

/// A credential for the repository names that begin with `prefix`.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixCredential {
    /// Beginning of the upstream's repository names; empty for all.
    pub prefix: String,
    /// How to log in.
    pub kind: CredentialKind,
}

/// A way to log in. Secrets are named by file or program, never held here.
#[derive(Clone, Debug, PartialEq)]
pub enum CredentialKind {
    /// User name, and the file of its password.
    Basic {
        /// The user name.
        username: String,
        /// File of the password; read again when it changes.
        password_file: PathBuf,
    },
    /// The file of a token that is sent as it is.
    Bearer {
        /// File of the token; read again when it changes.
        token_file: PathBuf,
    },
    /// A docker `config.json`, with its credential helpers.
    DockerConfig {
        /// The file; read again when it changes.
        file: PathBuf,
    },
    /// A program that speaks the docker credential helper protocol.
    Exec {
        /// The program: a path, or a name looked up in PATH.
        command: String,
        /// Arguments before `get`.
        args: Vec<String>,
    },
    /// Amazon ECR, by `docker-credential-ecr-login` if not told otherwise.
    Ecr {
        /// Another helper.
        command: Option<String>,
    },
    /// Google Artifact Registry, by `docker-credential-gcr` if not told otherwise.
    Gcp {
        /// Another helper.
        command: Option<String>,
    },
    /// Azure Container Registry, by `docker-credential-acr-env` if not told otherwise.
    Azure {
        /// Another helper.
        command: Option<String>,
    },
}

/// Where credentials and redirects may go besides the endpoints themselves, and which addresses may
/// be connected to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Boundary {
    /// Token services that may see credentials.
    pub realms: Vec<OriginPattern>,
    /// Servers that answers may redirect to; they never see credentials.
    pub redirects: Vec<OriginPattern>,
    /// Whether private, loopback and link-local addresses may be connected to.
    pub private_addresses: bool,
}

/// How long to wait for an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, name resolution and TLS included.
    pub connect: Duration,
    /// For the head of an answer, connecting included.
    pub first_byte: Duration,
    /// Between two pieces of a body; for the whole of a small one.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(5),
            stall: Duration::from_secs(20),
        }
    }
}

/// How much to ask of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests under way at once; a blob counts until its last byte.
    pub connections: usize,
    /// Requests per second, spread evenly.
    pub requests_per_second: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 64, requests_per_second: None }
    }
}

/// What kind of registry it is, for what its API does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Docker Hub: `library/`, its rate-limit headers, its key in docker's `config.json`.
    DockerHub,
    /// Amazon ECR.
    Ecr,
    /// Google Artifact Registry or Container Registry.
    Gcp,
    /// Azure Container Registry.
    Acr,
    /// Any other.
    Generic,
}

impl Profile {
    /// The profile that the host of an endpoint speaks for.
    pub fn of_host(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let under = |domain: &str| {
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if under("docker.io") {
            Self::DockerHub
        } else if host == "public.ecr.aws"
            || (host.contains(".dkr.ecr.") && (under("amazonaws.com") || under("amazonaws.com.cn")))
        {
            Self::Ecr
        } else if under("gcr.io") || under("pkg.dev") {
            Self::Gcp
        } else if under("azurecr.io") || under("azurecr.cn") || under("azurecr.us") {
            Self::Acr
        } else {
            Self::Generic
        }
    }
}

/// Who waits for what is asked; decides what stops first as a rate budget runs low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Someone waits.
    Waiting,
    /// To see whether what is held is still current.
    Revalidation,
    /// Nobody waits yet.
    Prefetch,
}

impl Class {
    pub(crate) fn label(self) -> telemetry::UpstreamClass {
        match self {
            Self::Waiting => telemetry::UpstreamClass::Waiting,
            Self::Revalidation => telemetry::UpstreamClass::Revalidation,
            Self::Prefetch => telemetry::UpstreamClass::Prefetch,
        }
    }
}

/// Why settings do not make an upstream.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No endpoint, or too many.
    #[error("an upstream has 1 to {max} endpoints, not {0}", max = Settings::ENDPOINTS_MAX)]
    Endpoints(usize),
    /// An address that cannot be asked.
    #[error("{what} {url}: {problem}")]
    Url {
        /// Which address.
        what: &'static str,
        /// The address, without user name and password.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two credentials for one prefix.
    #[error("two credentials have the prefix {0:?}")]
    DuplicatePrefix(String),
    /// A limit that lets nothing through, or a wait that ends before it begins.
    #[error("{0} must be more than zero")]
    Zero(&'static str),
}

impl Settings {
    /// Each endpoint costs a wait when it is down.
    pub const ENDPOINTS_MAX: usize = 16;

    /// Checks what the types do not say.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.endpoints.is_empty() || self.endpoints.len() > Self::ENDPOINTS_MAX {
            return Err(Error::Endpoints(self.endpoints.len()));
        }
        for url in &self.endpoints {
            check_url("endpoint", url)?;
        }
        if let Some(url) = &self.proxy {
            check_url("proxy", url)?;
        }
        let mut prefixes: Vec<&str> = self.credentials.iter().map(|c| c.prefix.as_str()).collect();
        prefixes.sort_unstable();
        if let Some(pair) = prefixes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::DuplicatePrefix(pair[0].to_owned()));
        }
        let Timeouts { connect, first_byte, stall } = self.timeouts;
        let zero = [
            (connect.is_zero(), "timeouts.connect"),
            (first_byte.is_zero(), "timeouts.firstByte"),
            (stall.is_zero(), "timeouts.stall"),
            (self.limits.connections == 0, "limits.connections"),
            (self.limits.requests_per_second == Some(0), "limits.requestsPerSecond"),
        ];
        match zero.into_iter().find(|(is_zero, _)| *is_zero) {
            Some((_, what)) => Err(Error::Zero(what)),
            None => Ok(()),
        }
    }
}

fn check_url(what: &'static str, url: &Url) -> Result<(), Error> {
    let has_user = !url.username().is_empty() || url.password().is_some();
    let problem = if !matches!(url.scheme(), "http" | "https") {
        "must begin with https:// or http://"
    } else if url.host_str().is_none_or(str::is_empty) {
        "names no host"
    } else if has_user {
        "must not hold a user name or password"
    } else if url.query().is_some() || url.fragment().is_some() {
        "must not have a query or fragment"
    } else {
        return Ok(());
    };
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    Err(Error::Url { what, url: shown.to_string(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_speak_for_profiles() {
        for (url, profile) in [
            ("https://registry-1.docker.io", Profile::DockerHub),
            ("https://123.dkr.ecr.eu-west-1.amazonaws.com", Profile::Ecr),
            ("https://public.ecr.aws", Profile::Ecr),
            ("https://europe-docker.pkg.dev", Profile::Gcp),
            ("https://eu.gcr.io", Profile::Gcp),
            ("https://corp.azurecr.io", Profile::Acr),
            ("https://ghcr.io", Profile::Generic),
            ("https://notdocker.io", Profile::Generic),
            ("https://evil-azurecr.io", Profile::Generic),
        ] {
            assert_eq!(Profile::of_host(&Url::parse(url).unwrap()), profile, "{url}");
        }
    }

    #[test]
    fn an_address_with_a_password_is_refused_without_showing_it() {
        let url = Url::parse("https://me:hunter2@h.example/").unwrap();
        let told = check_url("endpoint", &url).unwrap_err().to_string();
        assert!(told.contains("h.example") && !told.contains("hunter2"), "{told}");
        assert!(check_url("endpoint", &Url::parse("ftp://h/").unwrap()).is_err());
    }
}
