//! Certificates of listeners: read at the start, read again when their files change, and never
//! given up for something worse.

use super::client_certificates::AskForCertificate;
use super::{Error, TlsFiles};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::NoClientAuth;
use rustls::server::ProducesTickets;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use telemetry::{Metrics, ReloadTarget};
use x509_cert::der::Decode;

/// No chain or key is bigger than this.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// The certificates of all listeners with TLS. Clones are the same.
#[derive(Clone, Debug)]
pub struct Certificates {
    listeners: Arc<[Arc<TlsListener>]>,
    metrics: Arc<Metrics>,
}

/// A certificate in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The file it was read from.
    pub path: PathBuf,
    /// When the first certificate of its chain expires.
    pub not_after: Timestamp,
}

/// One listener's certificate. A new connection takes the configuration in force; those that are
/// open keep theirs.
pub(super) struct TlsListener {
    files: TlsFiles,
    http2: bool,
    ticketer: Option<Arc<dyn ProducesTickets>>,
    config: ArcSwap<ServerConfig>,
    seen: Mutex<Seen>,
}

/// What was last looked at, and what is in force.
struct Seen {
    fingerprint: Fingerprint,
    not_after: Timestamp,
}

/// Tells a changed file from an unchanged one, without reading it.
type Fingerprint = [Option<(u64, u64, u64, i64, i64)>; 2];

impl std::fmt::Debug for TlsListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsListener").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificates {
    pub(super) fn new(listeners: Vec<Arc<TlsListener>>, metrics: Arc<Metrics>) -> Self {
        let certificates = Self { listeners: listeners.into(), metrics };
        for held in certificates.list() {
            certificates.show(&held);
            if held.not_after <= Timestamp::now() {
                let (path, not_after) = (held.path.display(), held.not_after);
                tracing::error!(%path, %not_after, "this certificate has expired; clients refuse it");
            }
        }
        certificates
    }

    /// The certificates in force.
    pub fn list(&self) -> Vec<Certificate> {
        self.listeners.iter().map(|listener| listener.in_force()).collect()
    }

    /// Reads every certificate again, changed or not. A bad one changes nothing; it is logged,
    /// counted and returned.
    pub fn reload(&self) -> Vec<Error> {
        self.listeners.iter().filter_map(|listener| self.reload_one(listener).err()).collect()
    }

    /// Reads again those whose files changed. Blocks for a few file operations.
    pub(super) fn reload_changed(&self) {
        for listener in self.listeners.iter().filter(|listener| listener.changed()) {
            // What goes wrong is logged and counted there.
            let _ = self.reload_one(listener);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    fn reload_one(&self, listener: &TlsListener) -> Result<(), Error> {
        let result = listener.reload();
        let held = listener.in_force();
        match &result {
            Ok(()) => {
                self.show(&held);
                let (path, not_after) = (held.path.display(), held.not_after);
                tracing::info!(%path, %not_after, "certificate read again");
            }
            Err(error) => {
                self.metrics.reload_failed(ReloadTarget::Certificate);
                tracing::error!(
                    %error,
                    cause = std::error::Error::source(error).map(tracing::field::display),
                    kept_until = %held.not_after,
                    "the changed certificate is not used; the one before stays"
                );
            }
        }
        result
    }

    fn show(&self, held: &Certificate) {
        self.metrics.set_certificate(&held.path.to_string_lossy(), held.not_after.as_second());
    }
}

impl TlsListener {
    /// Reads the files and makes the configuration.
    pub(super) fn load(files: &TlsFiles, http2: bool) -> Result<Self, Error> {
        let fingerprint = fingerprint(files);
        let ticketer = Ticketer::new().ok();
        let (config, not_after) = read_config(files, http2, ticketer.clone())?;
        let seen = Mutex::new(Seen { fingerprint, not_after });
        let config = ArcSwap::new(config);
        Ok(Self { files: files.clone(), http2, ticketer, config, seen })
    }

    /// The configuration for a new connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    fn in_force(&self) -> Certificate {
        Certificate { path: self.files.cert_file.clone(), not_after: self.seen.lock().not_after }
    }

    fn changed(&self) -> bool {
        fingerprint(&self.files) != self.seen.lock().fingerprint
    }

    fn reload(&self) -> Result<(), Error> {
        // Taken before reading: a change while we read is seen the next time.
        let fingerprint = fingerprint(&self.files);
        self.seen.lock().fingerprint = fingerprint;
        let (config, not_after) = read_config(&self.files, self.http2, self.ticketer.clone())?;
        let now = Timestamp::now();
        let mut seen = self.seen.lock();
        if not_after <= now && seen.not_after > now {
            let problem = format!("expired at {not_after}");
            return Err(Error::Certificate { path: self.files.cert_file.clone(), problem });
        }
        seen.not_after = not_after;
        self.config.store(config);
        Ok(())
    }
}

fn read_config(
    files: &TlsFiles,
    http2: bool,
    ticketer: Option<Arc<dyn ProducesTickets>>,
) -> Result<(Arc<ServerConfig>, Timestamp), Error> {
    let chain = read_chain(&files.cert_file)?;
    let not_after = first_expiry(&files.cert_file, &chain)?;
    let key = read_key(&files.key_file)?;
    let bad = |error: rustls::Error| Error::Certificate {
        path: files.cert_file.clone(),
        problem: format!("cannot be used with the key in {}: {error}", files.key_file.display()),
    };
    // The provider is named, so that no other crate's choice of a default matters.
    let provider: Arc<CryptoProvider> = Arc::new(default_provider());
    let verifier: Arc<dyn ClientCertVerifier> = match files.requests_client_certificate {
        true => Arc::new(AskForCertificate(provider.clone())),
        false => Arc::new(NoClientAuth),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(bad)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(bad)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if http2 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    // Kept over reloads, so that clients can resume.
    if let Some(ticketer) = ticketer {
        config.ticketer = ticketer;
    }
    Ok((Arc::new(config), not_after))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read_bounded(path)?;
    let problem = |problem: String| Error::Certificate { path: path.to_owned(), problem };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| problem(format!("not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(problem("holds no certificate in PEM (BEGIN CERTIFICATE)".to_owned()));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = read_bounded(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| Error::Certificate {
        path: path.to_owned(),
        // The parser's own words could hold part of the key.
        problem: "holds no private key in PEM (BEGIN PRIVATE KEY)".to_owned(),
    })
}

fn first_expiry(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Timestamp, Error> {
    let problem =
        |text: &str| Error::Certificate { path: path.to_owned(), problem: text.to_owned() };
    let mut first = Timestamp::MAX;
    for der in chain {
        let certificate = x509_cert::Certificate::from_der(der)
            .map_err(|error| problem(&format!("not a certificate: {error}")))?;
        let not_after = certificate.tbs_certificate().validity().not_after.to_unix_duration();
        let seconds = i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX);
        first = first.min(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX));
    }
    Ok(first)
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, Error> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        let problem = "bigger than 1 MiB; is it the right file?".to_owned();
        return Err(Error::Certificate { path: path.to_owned(), problem });
    }
    Ok(bytes)
}

/// Follows links, so that the swap of a mounted secret shows as another inode.
fn fingerprint(files: &TlsFiles) -> Fingerprint {
    [&files.cert_file, &files.key_file].map(|path| {
        let held = fs::metadata(path).ok()?;
        let changed = held.ctime().wrapping_mul(1_000_000_000).wrapping_add(held.ctime_nsec());
        let modified = held.mtime().wrapping_mul(1_000_000_000).wrapping_add(held.mtime_nsec());
        Some((held.dev(), held.ino(), held.size(), modified, changed))
    })
}
