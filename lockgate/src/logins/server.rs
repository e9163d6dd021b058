//! The name of a registry, in the one form under which logins are kept.

use crate::exit::Failure;
use crate::output::clean;
use url::Url;

/// Longer than any host name with a port (RFC 1035 §2.3.4).
const SERVER_MAX_BYTES: usize = 512;

/// Host and perhaps port of a registry, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server(String);

impl Server {
    /// From what clients write: a host, or a URL, whose path is left out.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || {
            let text: String = clean(text).chars().take(80).collect();
            Failure::no(format!("{text:?} is not the name of a registry"))
        };
        let text = text.trim();
        if text.len() > SERVER_MAX_BYTES {
            return Err(wrong());
        }
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        // A scheme without a default port keeps the port that is written.
        let url: Url = format!("server://{authority}").parse().map_err(|_| wrong())?;
        let has_more = !url.username().is_empty() || url.password().is_some();
        let host = url.host_str().filter(|host| !host.is_empty() && !has_more).ok_or_else(wrong)?;
        let host = host.to_ascii_lowercase();
        let is_https = text.starts_with("https://");
        let is_http = text.starts_with("http://");
        Ok(Self(match url.port() {
            Some(443) if is_https => host,
            Some(80) if is_http => host,
            Some(port) => format!("{host}:{port}"),
            None => host,
        }))
    }

    /// Of the plane at a URL.
    pub(crate) fn of(plane: &Url) -> Result<Self, Failure> {
        let host = plane.host_str().unwrap_or_default();
        let port = plane.port().map(|port| format!(":{port}")).unwrap_or_default();
        Self::parse(&format!("{host}{port}"))
    }

    /// As it stands in names of images.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The host alone, and the scheme whose port this is.
    pub(super) fn without_port(&self) -> Option<(&str, &'static str)> {
        let https = self.0.strip_suffix(":443").map(|host| (host, "https"));
        https.or_else(|| self.0.strip_suffix(":80").map(|host| (host, "http")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_known_by_its_host_and_port() {
        for (text, name) in [
            ("plane.example", "plane.example"),
            ("Plane.Example:5050", "plane.example:5050"),
            ("https://index.docker.io/v1/", "index.docker.io"),
            ("https://plane.example:443/v2/", "plane.example"),
            ("http://plane.example:443", "plane.example:443"),
            (" 127.0.0.1:5050\n", "127.0.0.1:5050"),
            ("http://[::1]:5050/", "[::1]:5050"),
            ("plane.example/team/app", "plane.example"),
        ] {
            assert_eq!(Server::parse(text).unwrap().as_str(), name);
        }
        let long = "a".repeat(1000);
        for wrong in ["", "https://", "/x", "a b", "u:p@plane.example", "a:b:c", long.as_str()] {
            assert!(Server::parse(wrong).is_err(), "{wrong}");
        }
    }
}
