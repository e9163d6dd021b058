//! What a listener is told to be, and the bounds of every connection.

use super::connection::PublicBase;
use policy::Network;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Where it listens.
    pub address: Address,
    /// With it, TLS; without, plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whether HTTP/2 is offered: by ALPN with TLS, by prior knowledge without. Off by default,
    /// because HTTP/2 has no reason phrase, and some clients print nothing else.
    pub http2: bool,
    /// Peers whose forwarded headers and PROXY protocol are believed.
    pub trusted_proxies: Vec<Network>,
    /// Which forwarded headers the trusted proxies write.
    pub forwarded: ForwardedStyle,
    /// Whether every connection begins with a PROXY protocol header (version 1 or 2) from a trusted
    /// proxy. Connections without one are refused.
    pub proxy_protocol: bool,
    /// The addresses clients use for this listener, most usual first. If there are any, a proxy can
    /// only choose between them.
    pub public_urls: Vec<PublicBase>,
}

impl ListenerSettings {
    /// Plain HTTP/1.1 at `address`, with no proxy in front.
    pub fn plain(address: Address) -> Self {
        Self {
            address,
            tls: None,
            http2: false,
            trusted_proxies: Vec::new(),
            forwarded: ForwardedStyle::default(),
            proxy_protocol: false,
            public_urls: Vec::new(),
        }
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket, which only this user can open (0600).
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Certificate chain and key, both PEM. They are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub cert_file: PathBuf,
    /// The leaf's private key.
    pub key_file: PathBuf,
    /// Whether clients are asked for a certificate. None is required.
    pub requests_client_certificate: bool,
}

/// Which forwarded headers are believed, from trusted proxies. Only one kind: a proxy that writes
/// one passes the other on as the client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedStyle {
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Rfc7239,
}

/// Bounds of the server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time over TCP; more are answered 503 and closed. Protects memory and file
    /// descriptors. Unix sockets are not counted, so that an operator still gets in.
    pub max_connections: usize,
    /// Size of a request's head in bytes; more is answered 431.
    pub max_header_bytes: usize,
    /// From the first byte of a request's head to its last, for the TLS handshake, and for a
    /// new connection's first byte.
    pub header_timeout: Duration,
    /// Between requests on a connection. Longer than clients keep theirs (Go: 90 s), so that they
    /// close first and never race a request against our close.
    pub idle_timeout: Duration,
    /// How long a client may take no byte of an answer, or send none of a push.
    pub body_stall_timeout: Duration,
    /// Requests at a time on an HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// How long requests in flight may take when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            max_header_bytes: 64 << 10,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            body_stall_timeout: Duration::from_secs(60),
            max_concurrent_streams: 128,
            drain: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// How often a connection is looked at: often enough that no bound is overrun by more than a
    /// quarter.
    pub(super) fn tick(&self) -> Duration {
        let shortest = self.header_timeout.min(self.idle_timeout).min(self.body_stall_timeout);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(5))
    }
}
