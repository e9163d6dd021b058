//! The settings by name: what each option means, its default and what it protects.
//!
//! The doc comments below are what `lockgate config schema` and editors show.

use resources::{Cidr, HttpUrl, SocketAddress, WireDuration, WirePercent, WireSize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the process runs. What changes a decision is in resources, never here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where clients are answered; at least one.
    #[schemars(length(min = 1, max = 64))]
    pub listeners: Vec<Listener>,
    /// Where blobs, the catalog and the command socket are. If left out: /var/lib/lockgate for
    /// root, else lockgate below $XDG_DATA_HOME or ~/.local/share.
    pub data_dir: Option<PathBuf>,
    /// Directory (or file) of resources; it is watched. If left out, the built-in ones alone.
    pub resources_dir: Option<PathBuf>,
    /// How much is kept.
    pub cache: Cache,
    /// When hosted content that nothing needs goes.
    pub gc: Gc,
    /// Downloads from upstreams.
    pub fills: Fills,
    /// Tokens that clients get at `/token`.
    pub tokens: Tokens,
    /// Bounds on connections of clients.
    pub server: Server,
    /// What is written about it.
    pub log: Log,
    /// Threads that serve requests; one for each CPU if left out.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
}

/// One address on which clients are answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Listener {
    /// IP address and port; anything but a loopback address needs an AccessPolicy to be useful.
    pub address: SocketAddress,
    /// Certificate; plain HTTP if left out.
    pub tls: Option<ListenerTls>,
    /// Whether HTTP/2 is offered. It has no reason phrase, so that clients which print nothing
    /// else show a bare 403; big downloads gain nothing from it.
    pub http2: bool,
    /// Networks of load balancers whose X-Forwarded-For, -Proto and -Host count.
    #[schemars(length(max = 256))]
    pub trusted_proxies: Vec<Cidr>,
    /// Whether every connection begins with a PROXY protocol v2 header from a trusted proxy.
    pub proxy_protocol: bool,
    /// URLs under which clients reach this listener, for `Location` headers and `lockgate doctor`.
    #[schemars(length(max = 64))]
    pub public_urls: Vec<HttpUrl>,
}

/// A listener's certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListenerTls {
    /// PEM file of the certificate and its chain; read again when it changes.
    pub cert_file: PathBuf,
    /// PEM file of its key; read again when it changes.
    pub key_file: PathBuf,
    /// Whether clients are asked for a certificate, for IdentityProviders with spiffe or
    /// clientCertificates. None is required, and none is trusted by the listener itself.
    #[serde(default)]
    pub request_client_certificate: bool,
}

/// How much is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Cache {
    /// Most bytes of blobs. If left out, the watermarks alone bound them.
    pub max_bytes: Option<WireSize>,
    /// Share of the disk's bytes (or inodes) in use, or of maxBytes, at which eviction begins.
    pub high_watermark: WirePercent,
    /// Share at which eviction ends; below highWatermark.
    pub low_watermark: WirePercent,
    /// Bytes of the disk that only the catalog may use, so that it can always write.
    pub reserve: WireSize,
    /// How long something evicted still waits for its readers before its file goes.
    pub grace: WireDuration,
}

/// When hosted content that nothing needs goes. What a repository keeps is in its document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Gc {
    /// From the end of one round through all hosted names to the next.
    pub interval: WireDuration,
    /// How long a pushed blob is kept that no manifest lists: a push sends blobs first. Longer than
    /// any push takes.
    pub blob_grace: WireDuration,
    /// How long an upload is kept that no byte comes for.
    pub upload_ttl: WireDuration,
}

/// Downloads from upstreams.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Fills {
    /// Downloads at once; further ones wait. Bounds memory and open files.
    #[schemars(range(min = 1, max = 65536))]
    pub max_concurrent: u32,
    /// How long a download that nobody waits for any more goes on before it is parked.
    pub linger: WireDuration,
    /// Most bytes of parked downloads, kept to be resumed; the oldest go first.
    pub parts_max_bytes: WireSize,
}

/// Tokens that clients get at `/token`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Tokens {
    /// Directory of the keys that sign them; `keys/` in the data directory if left out. Replicas that
    /// share it take each other's tokens.
    pub keys_dir: Option<PathBuf>,
}

/// Bounds on connections of clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Server {
    /// Connections at once, all listeners together; further ones wait to be accepted.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
    /// For the head of a request; against clients that send one byte at a time.
    pub header_timeout: WireDuration,
    /// Between two requests of a connection; longer than clients keep theirs (Go: 90 s).
    pub idle_timeout: WireDuration,
    /// For a client that takes or sends nothing of a body.
    pub body_stall_timeout: WireDuration,
    /// For transfers in flight when the process is told to stop.
    pub drain_timeout: WireDuration,
}

/// What is written to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Log {
    /// Lines for people, or one JSON object per line.
    pub format: LogFormat,
    /// Least level, for all or for parts: `info`, or `info,upstream=debug`.
    #[schemars(length(min = 1, max = 1024))]
    pub level: String,
    /// Whether one line is written per request.
    pub access: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

fn address(text: &str) -> SocketAddress {
    SocketAddress::try_from(text.to_owned()).expect("a constant that tests read")
}

fn size_mib(mib: u64) -> WireSize {
    WireSize::from_bytes(mib << 20)
}

fn seconds(count: u64) -> WireDuration {
    Duration::from_secs(count).into()
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listeners: vec![Listener::default()],
            data_dir: None,
            resources_dir: None,
            cache: Cache::default(),
            gc: Gc::default(),
            fills: Fills::default(),
            tokens: Tokens::default(),
            server: Server::default(),
            log: Log::default(),
            workers: None,
        }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            address: address("127.0.0.1:5050"),
            tls: None,
            http2: false,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            public_urls: Vec::new(),
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            max_bytes: None,
            high_watermark: WirePercent::clamped(90),
            low_watermark: WirePercent::clamped(85),
            reserve: size_mib(256),
            grace: seconds(300),
        }
    }
}

impl Default for Gc {
    fn default() -> Self {
        let (interval, day) = (seconds(3600), seconds(24 * 3600));
        Self { interval, blob_grace: day.clone(), upload_ttl: day }
    }
}

impl Default for Fills {
    fn default() -> Self {
        Self { max_concurrent: 256, linger: seconds(60), parts_max_bytes: size_mib(20 << 10) }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            header_timeout: seconds(10),
            idle_timeout: seconds(120),
            body_stall_timeout: seconds(60),
            drain_timeout: seconds(30),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned(), access: true }
    }
}

impl Settings {
    /// The directory that belongs to this process.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(default_data_dir)
    }
}

/// The command socket of a data directory (contracts §10).
pub(crate) fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("lockgate.sock")
}

/// The platform's place for data: the system's for root, the user's for others (XDG base
/// directory specification), a directory here if the user has no home.
pub(crate) fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/lockgate");
    }
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map_or_else(|| PathBuf::from("lockgate-data"), |data| data.join("lockgate"))
}
