//! The HTTP client of one upstream: its trust, its certificate, its proxy, its address guard. Built
//! when first needed, and again when one of its files changes.

use crate::failure::Trouble;
use crate::guard::GuardedResolver;
use crate::settings::Settings;
use crate::stamped::{Held, StampedFile};
use parking_lot::Mutex;
use reqwest::{Certificate, ClientBuilder, Identity, Proxy};
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;

/// A bundle of all public authorities has 250 KB.
const CA_BYTES_MAX: u64 = 4 << 20;

/// A certificate with its chain, or a key.
const CERTIFICATE_BYTES_MAX: u64 = 256 << 10;

/// Idle connections are worth keeping for a pull that comes in bursts, not longer.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Finds out that a peer is gone even when nothing is sent.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// More header lines than any registry sends.
const HEADERS_MAX: usize = 100;

/// What registries see of us.
const USER_AGENT: &str = concat!("lockgate/", env!("CARGO_PKG_VERSION"));

/// Makes clients from settings and files.
#[derive(Debug)]
pub(crate) struct Clients {
    proxy: Option<url::Url>,
    connect_timeout: Duration,
    idle_per_host: usize,
    allows_private: bool,
    ca: Option<Arc<StampedFile>>,
    identity: Option<(Arc<StampedFile>, Arc<StampedFile>)>,
    built: Mutex<Option<(Versions, reqwest::Client)>>,
}

/// The versions of the files that a client was built from.
type Versions = [Option<u64>; 3];

/// The content of those files.
struct Files {
    ca: Option<Held>,
    certificate: Option<Held>,
    key: Option<Held>,
}

impl Files {
    fn versions(&self) -> Versions {
        [&self.ca, &self.certificate, &self.key].map(|held| held.as_ref().map(|held| held.version))
    }
}

impl Clients {
    pub(crate) fn new(settings: &Settings) -> Self {
        let certificate = |path| StampedFile::new(path, CERTIFICATE_BYTES_MAX);
        let identity = settings.client_cert.as_ref();
        Self {
            proxy: settings.proxy.clone(),
            connect_timeout: settings.timeouts.connect,
            idle_per_host: settings.limits.connections,
            allows_private: settings.boundary.private_addresses,
            ca: settings.ca_file.as_ref().map(|path| StampedFile::new(path, CA_BYTES_MAX)),
            identity: identity.map(|(cert, key)| (certificate(cert), certificate(key))),
            built: Mutex::default(),
        }
    }

    /// A client as the files say now. Connections are kept as long as no file changes. The error is
    /// one line.
    pub(crate) async fn get(self: &Arc<Self>) -> Result<reqwest::Client, Trouble> {
        let files = self.files().await?;
        let versions = files.versions();
        if let Some((known, client)) = &*self.built.lock()
            && *known == versions
        {
            return Ok(client.clone());
        }
        // Reads the system's authorities: some milliseconds of file reading.
        let this = self.clone();
        let built = tokio::task::spawn_blocking(move || this.build(&files)).await;
        let built = built.unwrap_or_else(|_| Err("building the client was aborted".to_owned()));
        let mut slot = self.built.lock();
        let client = match (&*slot, built) {
            // Someone else was faster; one pool is enough.
            (Some((known, client)), _) if *known == versions => return Ok(client.clone()),
            // A certificate and its key change one after the other, and files can be wrong.
            (Some((_, before)), Err(problem)) => {
                tracing::warn!(problem, "changed TLS files do not work; the old ones stay in use");
                before.clone()
            }
            (_, built) => built?,
        };
        *slot = Some((versions, client.clone()));
        Ok(client)
    }

    async fn files(&self) -> Result<Files, Trouble> {
        let ca = match &self.ca {
            Some(file) => Some(file.read().await?),
            None => None,
        };
        let (certificate, key) = match &self.identity {
            Some((certificate, key)) => (Some(certificate.read().await?), Some(key.read().await?)),
            None => (None, None),
        };
        Ok(Files { ca, certificate, key })
    }

    fn build(&self, files: &Files) -> Result<reqwest::Client, String> {
        let authorities = match &files.ca {
            Some(held) => Certificate::from_pem_bundle(held.content.expose_secret())
                .map_err(|error| format!("tls.caFile holds no certificates: {}", last(&error)))?,
            None => Vec::new(),
        };
        let client = self.builder(files)?.tls_certs_merge(authorities.clone()).build();
        // A system without any authorities of its own (a bare container) is no reason not to talk
        // plain HTTP, or to servers whose authority was given.
        let client = client.or_else(|_| {
            self.builder(files)?
                .tls_certs_only(authorities)
                .build()
                .map_err(|error| format!("no TLS client can be made: {}", last(&error)))
        });
        client.map_err(|error: String| error)
    }

    fn builder(&self, files: &Files) -> Result<ClientBuilder, String> {
        let proxy_host = self.proxy.as_ref().and_then(|url| url.host_str()).map(str::to_owned);
        let resolver = GuardedResolver { allows_private: self.allows_private, proxy_host };
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            // Never the proxy of the process's environment: what is not in a resource does not count.
            .no_proxy()
            // One large download over HTTP/2 holds up the others on its connection.
            .http1_only()
            .http1_max_headers(HEADERS_MAX)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(self.idle_per_host)
            .tcp_keepalive(TCP_KEEPALIVE)
            .dns_resolver(resolver)
            .tls_info(true);
        if let Some(url) = &self.proxy {
            let proxy = Proxy::all(url.clone()).map_err(|_| "the proxy's address is not valid")?;
            builder = builder.proxy(proxy);
        }
        if let (Some(certificate), Some(key)) = (&files.certificate, &files.key) {
            let mut pem = key.content.expose_secret().to_vec();
            pem.push(b'\n');
            pem.extend_from_slice(certificate.content.expose_secret());
            let identity = Identity::from_pem(&pem).map_err(|error| {
                format!("tls.certFile and tls.keyFile are no certificate and key: {}", last(&error))
            })?;
            builder = builder.identity(identity);
        }
        Ok(builder)
    }
}

/// The innermost cause of an error: what happened, without the layers that passed it on.
pub(crate) fn last(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
