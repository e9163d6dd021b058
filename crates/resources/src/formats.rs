//! What a text must look like where a type alone does not say it: URLs, patterns, networks, names.
//!
//! One table from the schema's `format` to a check, so that the schema, the reader and the types
//! cannot disagree. Each check answers with the reason and an example, never just "invalid".

use crate::parse::{parse_duration, parse_percent, parse_size};
use std::net::{IpAddr, SocketAddr};
use url::{Host, Url};

/// A format of ours and the check behind it.
pub(crate) type Check = fn(&str) -> Result<(), String>;

/// Every `format` the schemas use for text.
pub(crate) const FORMATS: &[(&str, Check)] = &[
    ("lockgate-duration", |text| parse_duration(text).map(drop)),
    ("lockgate-duration-or-forever", duration_or_forever),
    ("lockgate-size", |text| parse_size(text).map(drop)),
    ("lockgate-percent", |text| parse_percent(text).map(drop)),
    ("lockgate-socket-address", socket_address),
    ("lockgate-http-url", http_url),
    ("lockgate-url-pattern", url_pattern),
    ("lockgate-glob", name_glob),
    ("lockgate-pin-glob", pin_glob),
    ("lockgate-tag-glob", tag_glob),
    ("lockgate-regex", regex_text),
    ("lockgate-text-glob", text_glob),
    ("lockgate-platform", platform),
    ("lockgate-expression", expression),
    ("lockgate-digest", digest),
    ("lockgate-short-text", short_text),
    ("lockgate-time", time),
    ("lockgate-object-prefix", object_prefix),
    ("lockgate-cidr", cidr),
    ("lockgate-host-name", host_name),
    ("lockgate-repository-path", repository_path),
    ("lockgate-name-prefix", name_prefix),
    ("lockgate-resource-name", resource_name),
];

/// The check of a format, if it is one of ours.
pub(crate) fn find(format: &str) -> Option<Check> {
    FORMATS.iter().find(|(name, _)| *name == format).map(|(_, check)| *check)
}

fn duration_or_forever(text: &str) -> Result<(), String> {
    match text {
        "forever" => Ok(()),
        text => parse_duration(text).map(drop).map_err(|error| format!("{error}, or forever")),
    }
}

/// An address of a server: scheme http or https, a host, perhaps a port and a path.
pub(crate) fn http_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|cause| {
        format!("not a URL ({cause}); write one such as https://registry.example")
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the scheme is {:?}; use http:// or https://", url.scheme()));
    }
    if url.host().is_none() {
        return Err("the URL names no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL holds no user name or password; use credentials".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the URL may have no query and no fragment".to_owned());
    }
    Ok(())
}

/// `https://auth.example`, `https://*.example`, perhaps with a port; no path.
pub(crate) fn url_pattern(text: &str) -> Result<(), String> {
    let example = "write one such as https://auth.example or https://*.example:8443";
    let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("no scheme; {example}"))?;
    if !matches!(scheme, "http" | "https") {
        return Err(format!("the scheme is {scheme:?}; use http:// or https://"));
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '@']) {
        return Err(format!("only scheme, host and port count; {example}"));
    }
    let exact = rest.strip_prefix("*.").unwrap_or(rest);
    if exact.contains('*') {
        return Err(format!("a star may only stand for the first labels of a host; {example}"));
    }
    if exact.len() != rest.len() && !exact.trim_end_matches(|c: char| c != '.').contains('.') {
        return Err(format!("{rest:?} would trust a whole top-level domain; {example}"));
    }
    let url = Url::parse(&format!("{scheme}://{exact}"))
        .map_err(|cause| format!("not a URL pattern ({cause}); {example}"))?;
    match (url.host(), exact.len() != rest.len()) {
        (Some(Host::Domain(_)), _) | (Some(_), false) => Ok(()),
        (Some(_), true) => Err("an address has no sub-domains; leave the star out".to_owned()),
        (None, _) => Err(format!("the pattern names no host; {example}")),
    }
}

fn glob(text: &str, example: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("a pattern may not be empty; write one such as {example}"));
    }
    globset::GlobBuilder::new(text).literal_separator(true).build().map(drop).map_err(|cause| {
        format!("not a pattern ({}); use * within a segment and ** across segments", cause.kind())
    })
}

fn name_glob(text: &str) -> Result<(), String> {
    glob(text, "docker.io/**")?;
    if text.contains(['@', ':', ' ']) || text.starts_with('/') {
        return Err("a pattern of names has no tag, digest or leading slash".to_owned());
    }
    Ok(())
}

fn pin_glob(text: &str) -> Result<(), String> {
    glob(text, "library/*:*-lts")?;
    if text.contains(' ') || text.starts_with('/') {
        return Err("a pattern has no spaces and no leading slash".to_owned());
    }
    Ok(())
}

fn tag_glob(text: &str) -> Result<(), String> {
    glob(text, "pr-*")?;
    if text.contains(['/', ':', '@', ' ']) {
        return Err("a pattern of tags has no name, digest or space; write one such as pr-*".into());
    }
    Ok(())
}

fn text_glob(text: &str) -> Result<(), String> {
    glob(text, "shop-*")?;
    if text.chars().any(char::is_control) {
        return Err("a pattern has no line breaks and other control characters".to_owned());
    }
    Ok(())
}

fn platform(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.split('/').collect();
    let is_part = |part: &&str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "*.-_".contains(c))
    };
    if (2..=3).contains(&parts.len()) && parts.iter().all(is_part) {
        return glob(text, "linux/*");
    }
    Err("not a platform; write os/architecture, such as linux/amd64, linux/arm/v7 or linux/*"
        .into())
}

/// Only what can be said without a compiler of expressions: this crate has none.
fn expression(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("an expression may not be empty".to_owned());
    }
    Ok(())
}

fn digest(text: &str) -> Result<(), String> {
    oci::Digest::parse(text).map(drop).map_err(|error| format!("not a digest: {error}"))
}

fn short_text(text: &str) -> Result<(), String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err("one line of text is needed here".to_owned());
    }
    Ok(())
}

fn time(text: &str) -> Result<(), String> {
    text.parse::<jiff::Timestamp>()
        .map(drop)
        .map_err(|_| "not a moment; write it as 2026-12-01T00:00:00Z".to_owned())
}

/// Only what can be said without a compiler of expressions: this crate has none.
fn regex_text(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("an expression may not be empty; write one such as hub/(.*)".to_owned());
    }
    Ok(())
}

/// Segments that mean the same in a path, in a URL and as a key.
fn object_prefix(text: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fits = |segment: &str| {
        !segment.is_empty() && segment.chars().all(is_plain) && !segment.starts_with('.')
    };
    if text.split('/').all(fits) {
        return Ok(());
    }
    Err("not a prefix of keys; write letters, digits, . _ and -, with / in between, such as \
         lockgate/blobs"
        .to_owned())
}

/// `10.0.0.0/8`, `fd00::/8` or one address.
pub(crate) fn cidr(text: &str) -> Result<(), String> {
    let bad = || "not a network; write it as CIDR, such as 10.0.0.0/8 or fd00::/8".to_owned();
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| bad())?;
    let max: u8 = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= max).ok_or_else(bad)?,
        None => max,
    };
    let host_bits = match address {
        IpAddr::V4(ip) => ip.to_bits().checked_shl(bits.into()).unwrap_or(0) != 0,
        IpAddr::V6(ip) => ip.to_bits().checked_shl(bits.into()).unwrap_or(0) != 0,
    };
    if host_bits {
        return Err(format!("{text} has bits set beyond /{bits}; write the network's own address"));
    }
    Ok(())
}

/// An address to listen on.
fn socket_address(text: &str) -> Result<(), String> {
    text.parse::<SocketAddr>().map(drop).map_err(|_| {
        "not an address to listen on; write one such as 127.0.0.1:5050, 0.0.0.0:5050 or [::]:5050"
            .to_owned()
    })
}

/// A host name as clients send it: `docker.io`, `registry.example:8443`, `localhost`.
fn host_name(text: &str) -> Result<(), String> {
    let bad = || "not a host name; write one such as hub.corp.example".to_owned();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err(bad());
    }
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let is_name = host.len() <= 253 && host.split('.').all(is_dns_label);
    if is_address || is_name { Ok(()) } else { Err(bad()) }
}

fn repository_path(text: &str) -> Result<(), String> {
    oci::Name::parse(text).map(drop).map_err(|cause| cause.to_string())
}

/// The beginning of repository names: empty, `corp/`, or `corp/team-`.
fn name_prefix(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    // Whole segments, or the beginning of the last one: some name must be able to follow.
    let whole = text.trim_end_matches(['/', '-', '_', '.']);
    if text.starts_with('/') || text.contains("//") || oci::Name::parse(whole).is_err() {
        return Err("not the beginning of a repository name; write one such as corp/".to_owned());
    }
    Ok(())
}

/// A DNS-1123 subdomain, as `metadata.name` of Kubernetes objects (RFC 1123 §2.1).
pub(crate) fn resource_name(text: &str) -> Result<(), String> {
    if text.len() <= 253 && text.split('.').all(is_dns_label) {
        return Ok(());
    }
    Err("a name is lower-case letters, digits, `-` and `.`, at most 253 of them, and begins and \
         ends with a letter or digit (DNS-1123 subdomain)"
        .to_owned())
}

fn is_dns_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= 63
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(format: &str, good: &[&str], bad: &[&str]) {
        let check = find(format).unwrap();
        for text in good {
            assert_eq!(check(text), Ok(()), "{format} {text:?}");
        }
        for text in bad {
            assert!(check(text).is_err(), "{format} {text:?}");
        }
    }

    #[test]
    fn texts_are_checked_by_their_format() {
        table(
            "lockgate-http-url",
            &["https://a", "http://127.0.0.1:5000", "https://a.b/c", "https://[::1]:5"],
            &["", "a.b", "ftp://a", "https://", "https://u:p@a", "https://a?b", "https://a#b"],
        );
        table(
            "lockgate-url-pattern",
            &["https://a.b", "https://*.a.b", "http://127.0.0.1:5", "https://a.b:8443/"],
            &[
                "",
                "a.b",
                "https://*",
                "https://*.com",
                "https://a.*.b",
                "https://a/b",
                "https://*.1.2.3.4",
                "https://u@a",
                "ftp://a.b",
            ],
        );
        table(
            "lockgate-glob",
            &["**", "docker.io/**", "a/*/b", "{a,b}/c"],
            &["", "a[", "/a", "a b", "a:b"],
        );
        table("lockgate-pin-glob", &["library/*:*-lts", "**"], &["", "a[", "/a"]);
        table(
            "lockgate-tag-glob",
            &["v*", "{a,b}-?", "[0-9]*"],
            &["", "a[", "a:v*", "a/v*", "v *"],
        );
        table("lockgate-text-glob", &["shop-*", "refs/tags/v*", "**", "a b"], &["", "a[", "a\nb"]);
        table(
            "lockgate-platform",
            &["linux/amd64", "linux/*", "linux/arm/v7", "*/*"],
            &["", "linux", "a/b/c/d", "linux/", "linux/a b"],
        );
        table("lockgate-expression", &["a == b", "a\n&& b"], &["", "  "]);
        let digest = format!("sha256:{}", "0a".repeat(32));
        table("lockgate-digest", &[&digest], &["", "sha256:0a", "latest", &digest[7..]]);
        table("lockgate-short-text", &["ask the team"], &["", " ", "a\nb"]);
        table(
            "lockgate-time",
            &["2026-12-01T00:00:00Z", "2026-12-01T00:00:00+02:00"],
            &["", "2026-12-01", "tomorrow"],
        );
        table("lockgate-regex", &["hub/(.*)", "("], &[""]);
        table(
            "lockgate-object-prefix",
            &["lockgate", "a/b-c_d.e"],
            &["", "/a", "a/", "a//b", "..", "a/../b", "a b", "é"],
        );
        table(
            "lockgate-cidr",
            &["10.0.0.0/8", "10.1.2.3", "fd00::/8", "0.0.0.0/0", "::/0", "::1"],
            &["", "x", "10.0.0.1/8", "10.0.0.0/33", "10.0/8", "fd00::1/8", "10.0.0.0/"],
        );
        table(
            "lockgate-host-name",
            &["docker.io", "localhost", "a.b:5000", "127.0.0.1:5", "::1", "[::1]:5"],
            &["", "a_b", "-a", "a.", "A.b", "a:0", "a:x", "a/b"],
        );
        table("lockgate-socket-address", &["127.0.0.1:0", "[::]:5050"], &["", ":5", "localhost:5"]);
        table("lockgate-repository-path", &["docker.io", "proxy/hub"], &["", "/a", "a/", "A"]);
        table(
            "lockgate-name-prefix",
            &["", "corp/", "corp/team-", "corp"],
            &["/", "/a", "a//", "A/"],
        );
        table(
            "lockgate-resource-name",
            &["docker.io", "a", "a-b.c", "0"],
            &["", "a/b", "A", "-a", "a-", ".a", "a..b", "a_b"],
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}|[a-z0-9.:/*@\\[\\]-]{0,60}") {
            for (_, check) in FORMATS {
                let _ = check(&text);
            }
        }
    }
}
