//! Origins (scheme, host, port) and the patterns that a trust boundary is made of.

use std::fmt;
use std::str::FromStr;
use url::Url;

/// A pattern for origins: `https://host[:port]` or `https://*.domain[:port]`, where `*` stands for
/// one or more labels. Without a port, the scheme's default port is meant.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OriginPattern {
    scheme: &'static str,
    host: String,
    has_wildcard: bool,
    port: u16,
}

/// Why a text is not an origin pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not of the form https://host[:port] or https://*.domain[:port]: {problem}")]
pub struct OriginPatternError {
    text: String,
    problem: &'static str,
}

impl OriginPattern {
    /// Parses `http[s]://[*.]host[:port]`; a slash at the end is allowed, a path is not.
    pub fn parse(text: &str) -> Result<Self, OriginPatternError> {
        let wrong = |problem| {
            let text = text.chars().take(100).collect();
            OriginPatternError { text, problem }
        };
        let (scheme, rest) = text.split_once("://").ok_or(wrong("no scheme"))?;
        let scheme = match scheme {
            "https" => "https",
            "http" => "http",
            _ => return Err(wrong("only https and http are known")),
        };
        let (has_wildcard, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if rest.contains(['*', '@', '?', '#']) {
            return Err(wrong("a wildcard may only stand for the first labels"));
        }
        let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| wrong("no host"))?;
        if url.path() != "/" {
            return Err(wrong("a path has no meaning here"));
        }
        let host = url.host_str().ok_or(wrong("no host"))?.trim_end_matches('.').to_owned();
        if host.is_empty() {
            return Err(wrong("no host"));
        }
        if has_wildcard && !matches!(url.host(), Some(url::Host::Domain(_))) {
            return Err(wrong("a wildcard needs a domain"));
        }
        if has_wildcard && !host.contains('.') {
            return Err(wrong("a whole top-level domain is too wide"));
        }
        let port = url.port_or_known_default().ok_or(wrong("no port"))?;
        Ok(Self { scheme, host, has_wildcard, port })
    }

    /// Whether `url` lies in it.
    pub fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let host = host.trim_end_matches('.');
        let host_matches = if self.has_wildcard {
            host.strip_suffix(self.host.as_str())
                .and_then(|labels| labels.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty())
        } else {
            host == self.host
        };
        host_matches
            && url.scheme() == self.scheme
            && url.port_or_known_default() == Some(self.port)
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.has_wildcard { "*." } else { "" };
        write!(f, "{}://{star}{}:{}", self.scheme, self.host, self.port)
    }
}

impl fmt::Debug for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OriginPattern {
    type Err = OriginPatternError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Whether two URLs have the same scheme, host and port.
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// `scheme://host[:port]`: a URL as people may see it, without path, query and user.
pub(crate) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// `host[:port]`, as people know a registry.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, url: &str) -> bool {
        OriginPattern::parse(pattern).unwrap().matches(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_pattern_fixes_scheme_host_and_port() {
        assert!(matches("https://a.example", "https://a.example/x?y"));
        assert!(matches("https://a.example/", "https://A.example:443"));
        assert!(matches("https://a.example:5000", "https://a.example:5000"));
        assert!(!matches("https://a.example", "https://a.example:5000"));
        assert!(!matches("https://a.example", "http://a.example"));
        assert!(!matches("https://a.example", "https://b.a.example"));
        assert!(!matches("https://a.example", "https://a.example.evil"));
    }

    #[test]
    fn a_wildcard_stands_for_whole_labels() {
        assert!(matches("https://*.a.example", "https://b.a.example"));
        assert!(matches("https://*.a.example", "https://c.b.a.example"));
        assert!(!matches("https://*.a.example", "https://a.example"));
        assert!(!matches("https://*.a.example", "https://evila.example"));
        assert!(!matches("https://*.a.example", "https://.a.example"));
    }

    #[test]
    fn refuses_what_is_wider_than_it_looks() {
        for text in [
            "",
            "a.example",
            "ftp://a.example",
            "https://",
            "http://.",
            "https://*",
            "https://*.com",
            "https://a.*.example",
            "https://*a.example",
            "https://a.example/path",
            "https://me@a.example",
            "https://*.10.0.0.1",
            "https://a.example?x",
            "https://*.*.a.b",
        ] {
            assert!(OriginPattern::parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(https?://)?[*a-z0-9.:/@-]{0,30}|\\PC{0,30}") {
            if let Ok(pattern) = OriginPattern::parse(&text) {
                let again = OriginPattern::parse(&pattern.to_string());
                proptest::prop_assert_eq!(again, Ok(pattern));
            }
        }
    }
}
