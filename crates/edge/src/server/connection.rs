//! What is known of a connection, and what of it a proxy in front may say.

use super::forwarded::{self, Statement};
use super::{Address, Error, ForwardedStyle};
use http::uri::Authority;
use http::{HeaderMap, Uri, header};
use policy::Network;
use rustls_pki_types::CertificateDer;
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A client's connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Counts up from 1 in this process.
    pub id: u64,
    /// Who connected: the peer, or whom the PROXY protocol names in its stead. Meaningless (port 0)
    /// for Unix sockets.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// The listener it came by.
    pub listener: Arc<ListenerInfo>,
    /// With TLS, what was agreed on.
    pub tls: Option<TlsInfo>,
    /// For Unix sockets, who is at the other end.
    pub unix: Option<UnixPeer>,
    /// How long the client may send nothing of a body that it owes
    /// ([`Limits::body_stall_timeout`](super::Limits::body_stall_timeout)).
    pub body_stall_timeout: Duration,
}

/// A listener that is open.
#[derive(Clone, Debug)]
pub struct ListenerInfo {
    /// The address it really has.
    pub address: Address,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Whether it offers HTTP/2.
    pub http2: bool,
    /// Whose forwarded headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Which of them.
    pub forwarded: ForwardedStyle,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// The addresses clients use.
    pub public_urls: Vec<PublicBase>,
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsInfo {
    /// The name the client asked for.
    pub server_name: Option<String>,
    /// Whether HTTP/2 was agreed on (ALPN `h2`).
    pub http2: bool,
    /// The certificates the client showed, its own first. It has proven that it holds the key; whether
    /// anybody trusts them is not judged here.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// The process at the other end of a Unix socket, by the kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixPeer {
    /// Its user.
    pub uid: u32,
    /// Its process id, where the system tells.
    pub pid: Option<i32>,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// TLS.
    Https,
}

/// The part of a URL before its path. Displays as `https://registry.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicBase {
    /// The scheme.
    pub scheme: Scheme,
    /// Host name or address in lower case, with the port unless it is the scheme's.
    pub host: String,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        match () {
            () if text.eq_ignore_ascii_case("http") => Some(Self::Http),
            () if text.eq_ignore_ascii_case("https") => Some(Self::Https),
            () => None,
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for PublicBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)
    }
}

impl PublicBase {
    /// Parses `https://registry.example.com:8443`; a single `/` at the end is allowed.
    ///
    /// # Errors
    /// When there is a path, a user, or no host.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = || Error::PublicUrl(text.chars().take(200).collect());
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let scheme = Scheme::parse(scheme).ok_or_else(bad)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        Self::of(scheme, rest).ok_or_else(bad)
    }

    /// A base, if `host` is a host with or without a port and nothing else.
    fn of(scheme: Scheme, host: &str) -> Option<Self> {
        // Longer than any name (RFC 1035 §2.3.4) with a port.
        if host.is_empty() || host.len() > 300 || host.contains(['@', '/', '?', '#']) {
            return None;
        }
        let authority: Authority = host.parse().ok()?;
        let name = authority.host();
        let port = authority.port_u16();
        let rest = authority.as_str().strip_prefix(name)?;
        if name.is_empty() || (!rest.is_empty() && port.is_none()) {
            return None;
        }
        let port = port.filter(|port| *port != scheme.default_port());
        let mut host = name.to_ascii_lowercase();
        if let Some(port) = port {
            host.push_str(&format!(":{port}"));
        }
        Some(Self { scheme, host })
    }
}

impl ListenerInfo {
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }

    fn public(&self, base: &PublicBase) -> Option<&PublicBase> {
        self.public_urls.iter().find(|public| *public == base)
    }
}

impl Connection {
    /// Whether it came by a Unix socket.
    pub fn is_unix(&self) -> bool {
        self.unix.is_some()
    }

    /// The client's address: the peer's, or, as far as the chain of trusted proxies reaches, the
    /// first that is not one of them. `None` for Unix sockets, and when a trusted proxy forwards
    /// what cannot be read: then the address is unknown, which is not the proxy's own.
    pub fn client_address(&self, headers: &HeaderMap) -> Option<IpAddr> {
        if self.is_unix() {
            return None;
        }
        let peer = self.peer.ip();
        if !self.listener.trusts(peer) {
            return Some(peer);
        }
        let hops = match self.listener.forwarded {
            ForwardedStyle::XForwarded => forwarded::x_forwarded_for(headers),
            ForwardedStyle::Rfc7239 => forwarded::rfc7239_for(headers),
        };
        forwarded::client(peer, &hops, |address| self.listener.trusts(address))
    }

    /// The base of the URL by which the client reached us, for `Location` and realms.
    ///
    /// A trusted proxy's word on scheme and host counts, but with public URLs configured only if
    /// it names one of them. Else it is the request's own host (`Host`, or the authority of an
    /// absolute or HTTP/2 target), with the scheme of the public URL that has that host, or the
    /// listener's. A client that lies about its host misleads nobody but itself.
    pub fn public_base(&self, uri: &Uri, headers: &HeaderMap) -> PublicBase {
        let listener = &self.listener;
        let own_scheme = if listener.tls { Scheme::Https } else { Scheme::Http };
        let stated = self.statement(headers);
        let asked = uri.authority().map(Authority::as_str).or_else(|| {
            let host = headers.get(header::HOST)?;
            host.to_str().ok()
        });
        let scheme = stated.scheme.unwrap_or(own_scheme);
        for host in [stated.host.as_deref(), asked].into_iter().flatten() {
            let Some(base) = PublicBase::of(scheme, host) else { continue };
            if listener.public_urls.is_empty() {
                return base;
            }
            // Where TLS ends in front of us, the scheme we see is not the client's, and a port that
            // it wrote may be the default of either.
            let other = match scheme {
                Scheme::Http => Scheme::Https,
                Scheme::Https => Scheme::Http,
            };
            let same_host = PublicBase { scheme: other, host: base.host.clone() };
            let known = listener
                .public(&base)
                .or_else(|| listener.public(&same_host))
                .or_else(|| listener.public(&PublicBase::of(other, host)?));
            if let Some(public) = known {
                return public.clone();
            }
        }
        let own = asked.and_then(|host| PublicBase::of(own_scheme, host));
        own.or_else(|| listener.public_urls.first().cloned())
            .unwrap_or_else(|| PublicBase { scheme: own_scheme, host: self.local.to_string() })
    }

    /// The host the client named, with its port if it gave one: a trusted proxy's word, else the
    /// authority of the target, else `Host`. What cannot be a host is none.
    pub fn asked_host<'r>(&self, uri: &'r Uri, headers: &'r HeaderMap) -> Option<Cow<'r, str>> {
        if !self.listener.trusted_proxies.is_empty() && self.statement(headers).host.is_some() {
            return Some(Cow::Owned(self.public_base(uri, headers).host));
        }
        let host = match uri.authority() {
            Some(authority) => authority.as_str(),
            None => headers.get(header::HOST)?.to_str().ok()?,
        };
        Some(Cow::Borrowed(host))
    }

    /// What a trusted proxy says of scheme and host; nothing, if the peer is none.
    fn statement(&self, headers: &HeaderMap) -> Statement {
        if self.is_unix() || !self.listener.trusts(self.peer.ip()) {
            return Statement::default();
        }
        match self.listener.forwarded {
            ForwardedStyle::XForwarded => forwarded::x_forwarded_base(headers),
            ForwardedStyle::Rfc7239 => forwarded::rfc7239_base(headers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn connection(peer: &str, trusted: &[&str], public: &[&str]) -> Connection {
        let listener = ListenerInfo {
            address: Address::Tcp("127.0.0.1:5050".parse().unwrap()),
            tls: false,
            http2: false,
            trusted_proxies: trusted.iter().map(|net| Network::parse(net).unwrap()).collect(),
            forwarded: ForwardedStyle::XForwarded,
            proxy_protocol: false,
            public_urls: public.iter().map(|url| PublicBase::parse(url).unwrap()).collect(),
        };
        Connection {
            id: 1,
            peer: SocketAddr::new(peer.parse().unwrap(), 1234),
            local: "127.0.0.1:5050".parse().unwrap(),
            listener: Arc::new(listener),
            tls: None,
            unix: None,
            body_stall_timeout: Duration::from_secs(60),
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_client_address_comes_only_from_trusted_proxies() {
        /// Peer, trusted networks, X-Forwarded-For lines, client.
        type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], Option<&'a str>);
        let cases: &[Case<'_>] = &[
            ("198.51.100.9", &[], &["10.9.9.9"], Some("198.51.100.9")),
            ("198.51.100.9", &["10.0.0.0/8"], &["10.9.9.9"], Some("198.51.100.9")),
            ("10.0.0.1", &["10.0.0.0/8"], &["203.0.113.7"], Some("203.0.113.7")),
            ("10.0.0.1", &["10.0.0.0/8"], &["127.0.0.1, 203.0.113.7"], Some("203.0.113.7")),
            ("10.0.0.1", &["10.0.0.0/8"], &["1.1.1.1", "2.2.2.2,10.0.0.2"], Some("2.2.2.2")),
            ("10.0.0.1", &["10.0.0.0/8"], &["10.0.0.3,10.0.0.2"], Some("10.0.0.3")),
            ("10.0.0.1", &["10.0.0.0/8"], &[], Some("10.0.0.1")),
            ("10.0.0.1", &["10.0.0.0/8"], &["junk, 203.0.113.7"], Some("203.0.113.7")),
            ("10.0.0.1", &["10.0.0.0/8"], &["203.0.113.7, junk"], None),
            ("10.0.0.1", &["10.0.0.0/8"], &[""], None),
            ("::ffff:10.0.0.1", &["10.0.0.0/8"], &["[2001:db8::1]:443"], Some("2001:db8::1")),
        ];
        for (peer, trusted, lines, client) in cases {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            let address = connection(peer, trusted, &[]).client_address(&headers(&lines));
            let expected = client.map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!(address, expected, "{peer} {trusted:?} {lines:?}");
        }
    }

    #[test]
    fn the_base_follows_trusted_proxies_and_public_urls() {
        let proxy: &[&str] = &["10.0.0.1"];
        let public: &[&str] = &["https://reg.example.com", "http://reg.lan:5000"];
        let forwarded: &[(&str, &str)] = &[
            ("host", "inner:5050"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "Reg.Example.com"),
        ];
        let evil: &[(&str, &str)] =
            &[("host", "reg.lan:5000"), ("x-forwarded-host", "evil.example")];
        type Case<'a> =
            (&'a str, &'a [&'a str], &'a [&'a str], &'a [(&'static str, &'a str)], &'a str);
        let cases: &[Case<'_>] = &[
            ("10.0.0.1", proxy, &[], forwarded, "https://reg.example.com"),
            ("10.0.0.2", proxy, &[], forwarded, "http://inner:5050"),
            ("10.0.0.1", proxy, public, forwarded, "https://reg.example.com"),
            ("10.0.0.1", proxy, public, evil, "http://reg.lan:5000"),
            ("10.0.0.1", proxy, &[], evil, "http://evil.example"),
            ("10.0.0.9", &[], public, &[("host", "REG.example.com:80")], "https://reg.example.com"),
            ("10.0.0.9", &[], public, &[("host", "reg.example.com")], "https://reg.example.com"),
            (
                "10.0.0.9",
                &[],
                public,
                &[("host", "reg.example.com:443")],
                "https://reg.example.com",
            ),
            ("10.0.0.9", &[], public, &[("host", "other")], "http://other"),
            ("10.0.0.9", &[], public, &[("host", "user@other")], "https://reg.example.com"),
            ("10.0.0.9", &[], &[], &[("host", "a b")], "http://127.0.0.1:5050"),
            ("10.0.0.9", &[], &[], &[], "http://127.0.0.1:5050"),
            ("10.0.0.9", &[], &[], &[("host", "[2001:DB8::1]:5000")], "http://[2001:db8::1]:5000"),
        ];
        for (peer, trusted, public, lines, expected) in cases {
            let connection = connection(peer, trusted, public);
            let base = connection.public_base(&Uri::from_static("/v2/"), &headers(lines));
            assert_eq!(base.to_string(), *expected, "{peer} {public:?} {lines:?}");
        }
    }

    #[test]
    fn an_absolute_target_outranks_the_host_header() {
        let uri = Uri::from_static("http://target.example/v2/");
        let base = connection("10.0.0.9", &[], &[]).public_base(&uri, &headers(&[("host", "x")]));
        assert_eq!(base.to_string(), "http://target.example");
    }

    #[test]
    fn public_urls_have_no_path() {
        for (text, base) in [
            ("https://a.example/", Some("https://a.example")),
            ("HTTPS://A.example:443", Some("https://a.example")),
            ("http://a.example:8080", Some("http://a.example:8080")),
            ("http://[::1]:5050", Some("http://[::1]:5050")),
            ("https://a.example/v2", None),
            ("https://u@a.example", None),
            ("https://", None),
            ("https://a:b", None),
            ("ftp://a", None),
            ("a.example", None),
        ] {
            let parsed = PublicBase::parse(text).ok().map(|base| base.to_string());
            assert_eq!(parsed.as_deref(), base, "{text}");
        }
    }
}
